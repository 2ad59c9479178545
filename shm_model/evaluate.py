"""Score a network on a split: a table per image and in total, with region and scale, and sample pictures."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from shm_data.errors import ShmDataError
from shm_data.files import make_folders, require_own_in, write_bytes
from shm_data.images import encode, with_comment
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize, resize_matte, resize_nearest
from shm_data.pixels.trimap import IGNORED
from shm_model.metrics import Scores, class_iou
from shm_model.predict import Predictor
from shm_model.samples import Source
from shm_model.scoring.folders import score_regions
from shm_model.scoring.protocols import Region

REGIONS: tuple[Region, ...] = ("whole", "unknown")
_UNITS = {"sad": "SAD/1000", "mse": "MSE", "mad": "MAD", "grad": "Grad/1000", "conn": "Conn/1000"}
_CLASSES = ("background", "unknown", "foreground")

# How each file of ours begins, or what it has near its beginning.
_MARKS = {
    "scores.csv": b"name,region,",
    "scores.json": b'{\n "units": {',
    "samples.png": b"shm-model evaluate",
}


def require_own_tables(savedir: Path) -> None:
    """Raise ShmDataError where a folder has files named as the scores that `evaluate` did not write."""
    require_own_in(savedir, _MARKS)


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one image, over the whole image and over the unknown region of its trimap, and T-Net's IoU."""

    name: str
    whole: Scores
    unknown: Scores
    iou: tuple[float, float, float]


def evaluate(predictor: Predictor, source: Source, progress: Progress = quiet) -> list[Row]:
    """Score every sample of a split that has an alpha, at its own size. Raises ShmDataError for a broken sample."""
    count = len(source.names)
    scored = progress((score_sample(predictor, source, index) for index in range(count)), count, "evaluating")
    rows = [row for row in scored if row is not None]
    if not rows:
        raise ShmDataError("nothing to score", found="masks in place of alphas", expected="samples with an alpha")
    return rows


def score_sample(predictor: Predictor, source: Source, index: int) -> Row | None:
    """Score one sample; None where it has a mask, of which the soft edges are not known."""
    image, alpha, trimap = source.read(index)
    if (trimap == IGNORED).any():
        return None
    prediction = predictor(image, trimap)
    scores = score_regions(prediction.alpha, alpha / 255, trimap, REGIONS)
    return Row(source.names[index], scores["whole"], scores["unknown"], class_iou(prediction.trimap, trimap))


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean of each score over the images where it is defined."""
    return Row(
        "mean",
        _mean_scores([row.whole for row in rows]),
        _mean_scores([row.unknown for row in rows]),
        tuple(_mean(row.iou[index] for row in rows) for index in range(3)),  # type: ignore[arg-type]
    )


def format_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table of the mean scores."""
    mean = mean_row(rows)
    lines = [f"{'region':>8}  " + "  ".join(f"{unit:>10}" for unit in _UNITS.values())]
    for region in REGIONS:
        values = asdict(getattr(mean, region))
        lines.append(f"{region:>8}  " + "  ".join(f"{values[key]:10.5f}" for key in _UNITS))
    iou = ", ".join(f"{name} {value:.3f}" for name, value in zip(_CLASSES, mean.iou, strict=True))
    return [*lines, f"mean of {len(rows)} images; trimap IoU: {iou}"]


def write_tables(rows: Sequence[Row], savedir: Path) -> None:
    """Write scores.csv, a line for each image and region, and scores.json, with the means. Raises WriteError."""
    make_folders(savedir)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "region", *_UNITS.values(), *(f"IoU {name}" for name in _CLASSES)])
    for row in [*rows, mean_row(rows)]:
        for region in REGIONS:
            writer.writerow([row.name, region, *asdict(getattr(row, region)).values(), *row.iou])
    write_bytes(savedir / "scores.csv", buffer.getvalue().encode("utf-8", "surrogateescape"))
    report = {"units": _UNITS, "mean": _to_json(mean_row(rows)), "images": [_to_json(row) for row in rows]}
    write_bytes(savedir / "scores.json", (json.dumps(report, indent=1) + "\n").encode())


def write_panels(savedir: Path, panels: Array) -> None:
    """Write samples.png, with the panels (H, W, 3) uint8 that `draw_panels` returns. Raises WriteError."""
    write_bytes(savedir / "samples.png", with_comment(encode(panels), _MARKS["samples.png"]))


def draw_panels(predictor: Predictor, source: Source, indices: Iterable[int], height: int = 256) -> Array:
    """Return a picture (H, W, 3) uint8 with a row for each of some samples: image | trimap | alpha | truth."""
    rows = []
    for index in indices:
        image, alpha, trimap = source.read(index)
        prediction = predictor(image, trimap)
        size = max(1, round(image.shape[1] * height / image.shape[0])), height
        matte = np.rint(prediction.alpha * 255).astype(np.uint8)
        grays = (resize_nearest(prediction.trimap, size), resize_matte(matte, size), resize_matte(alpha, size))
        rows.append(np.hstack([resize(image, size), *(np.repeat(gray[..., None], 3, axis=2) for gray in grays)]))
    widest = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 4), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows])


def _mean_scores(scores: Sequence[Scores]) -> Scores:
    return Scores(**{field.name: _mean(getattr(each, field.name) for each in scores) for field in fields(Scores)})


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _to_json(row: Row) -> dict[str, object]:
    """Return a row for JSON, which has no nan."""
    entry: dict[str, object] = {"name": row.name}
    for region in REGIONS:
        entry[region] = {key: _or_none(value) for key, value in asdict(getattr(row, region)).items()}
    return entry | {"iou": dict(zip(_CLASSES, map(_or_none, row.iou), strict=True))}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
