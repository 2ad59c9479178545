"""Scores of a network on a split: a table per image and in total, with region and scale named, and pictures."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from shm_data.files import make_folders, write_bytes
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize, resize_matte, resize_nearest
from shm_data.pixels.trimap import UNKNOWN
from shm_model.distributed import ProcessContext, all_reduce_sum
from shm_model.metrics import Scores, class_iou, sad, scores
from shm_model.predict import Predictor
from shm_model.samples import Source

REGIONS = ("whole", "unknown")
_UNITS = {"sad": "SAD/1000", "mse": "MSE", "mad": "MAD", "grad": "Grad/1000", "conn": "Conn/1000"}
_CLASSES = ("background", "unknown", "foreground")


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one image, over the whole image and over the unknown region of its trimap, and T-Net's IoU."""

    name: str
    whole: Scores
    unknown: Scores
    iou: tuple[float, float, float]


def evaluate(predictor: Predictor, source: Source, progress: Progress = quiet) -> list[Row]:
    """Scores every sample of a split, whole images, at their own size. Raises ShmDataError for a broken sample."""
    count = len(source.names)
    return list(progress((score(predictor, source, index) for index in range(count)), count, "evaluating"))


def score(predictor: Predictor, source: Source, index: int) -> Row:
    """Scores one sample."""
    image, alpha, trimap = source.read(index)
    prediction = predictor(image, trimap)
    # As is usual with a trimap: what it knows is taken from it, since Grad and Conn look beyond the region.
    known = np.where(trimap == UNKNOWN, prediction.alpha, trimap / np.float32(255))
    whole, unknown = scores(prediction.alpha, alpha), scores(known, alpha, trimap)
    return Row(source.names[index], whole, unknown, class_iou(prediction.trimap, trimap))


def mean_sad(predictor: Predictor, source: Source, context: ProcessContext) -> float:
    """The mean SAD/1000 over whole images alone, for training: Grad and Conn take longer than the prediction.

    Of several processes each scores its share, and all are told the figure that one alone would come to.
    """
    sads = [0.0] * len(source.names)
    for index in range(context.rank, len(sads), context.world_size):
        image, alpha, trimap = source.read(index)
        sads[index] = sad(predictor(image, trimap).alpha, alpha)
    return sum(all_reduce_sum(sads, context)) / len(sads)


def means(rows: Sequence[Row]) -> Row:
    """The mean of each score; images in which one is undefined do not count for it."""
    return Row(
        "mean",
        _mean_scores([row.whole for row in rows]),
        _mean_scores([row.unknown for row in rows]),
        tuple(_mean(row.iou[place] for row in rows) for place in range(3)),  # type: ignore[arg-type]
    )


def table(rows: Sequence[Row]) -> list[str]:
    """The mean scores in lines for people."""
    mean = means(rows)
    lines = [f"{'region':>8}  " + "  ".join(f"{unit:>10}" for unit in _UNITS.values())]
    for region in REGIONS:
        values = asdict(getattr(mean, region))
        lines.append(f"{region:>8}  " + "  ".join(f"{values[key]:10.5f}" for key in _UNITS))
    iou = ", ".join(f"{name} {value:.3f}" for name, value in zip(_CLASSES, mean.iou, strict=True))
    return [*lines, f"mean of {len(rows)} images; trimap IoU: {iou}"]


def write_tables(rows: Sequence[Row], savedir: Path) -> None:
    """Writes scores.csv, a line for each image and region, and scores.json with the means, too. Raises WriteError."""
    make_folders(savedir)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "region", *_UNITS.values(), *(f"IoU {name}" for name in _CLASSES)])
    for row in [*rows, means(rows)]:
        for region in REGIONS:
            writer.writerow([row.name, region, *asdict(getattr(row, region)).values(), *row.iou])
    write_bytes(savedir / "scores.csv", buffer.getvalue().encode("utf-8", "surrogateescape"))
    report = {"units": _UNITS, "mean": _plain(means(rows)), "images": [_plain(row) for row in rows]}
    write_bytes(savedir / "scores.json", (json.dumps(report, indent=1) + "\n").encode())


def panels(predictor: Predictor, source: Source, indices: Iterable[int], height: int = 256) -> Array:
    """A picture (H, W, 3) uint8 with a row for each of some samples: image | trimap | alpha | truth."""
    rows = []
    for index in indices:
        image, alpha, trimap = source.read(index)
        prediction = predictor(image, trimap)
        size = max(1, round(image.shape[1] * height / image.shape[0])), height
        shown = np.rint(prediction.alpha * 255).astype(np.uint8)
        grays = (resize_nearest(prediction.trimap, size), resize_matte(shown, size), resize_matte(alpha, size))
        rows.append(np.hstack([resize(image, size), *(np.repeat(gray[..., None], 3, axis=2) for gray in grays)]))
    widest = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def _mean_scores(some: Sequence[Scores]) -> Scores:
    return Scores(**{field.name: _mean(getattr(one, field.name) for one in some) for field in fields(Scores)})


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _plain(row: Row) -> dict[str, object]:
    """A row for JSON, which knows no nan."""
    plain: dict[str, object] = {"name": row.name}
    for region in REGIONS:
        plain[region] = {key: _or_none(value) for key, value in asdict(getattr(row, region)).items()}
    return plain | {"iou": dict(zip(_CLASSES, map(_or_none, row.iou), strict=True))}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
