"""The scores as a page: one HTML file with the means, and the worst images as pictures."""

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from shm_data.files import make_folders, write_bytes
from shm_data.images import encode, find, read_image, read_matte
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize
from shm_data.sources.pairing import ALPHA_WORDS, pair
from shm_model.scoring.conventions import Convention
from shm_model.scoring.folders import ImageScores, ScoreOptions, read_prediction
from shm_model.scoring.tables import describe_rows, mean_scores, scaled_scores

_WORST = 12
_HEIGHT = 300


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    caption: str
    pictures: list[tuple[str, str]]


def write_page(
    rows: Sequence[ImageScores],
    convention: Convention,
    header: dict[str, str],
    savedir: Path,
    *,
    options: ScoreOptions,
    images: Path | None = None,
) -> None:
    """Write scores.html. The worst images are shown: photo (from the folder `images`), truth, prediction, error."""
    make_folders(savedir)
    metric = next(iter(convention.columns))
    region = next(iter(rows[0].regions))
    worst = sorted(rows, key=lambda row: _rank(scaled_scores(row, region, convention)[metric]))[:_WORST]
    photos = _pair_photos([row.pair.truth.name for row in worst], images)
    means = {each: mean_scores(rows, each, convention) for each in rows[0].regions}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(files("shm_model.scoring").joinpath("page.html").read_text("utf-8"))
    html = template.render(
        header=header,
        columns=[convention.columns[key] for key in means[region]],
        means={each: list(values.values()) for each, values in means.items()},
        summary=describe_rows(rows),
        ranked_by=f"{convention.columns[metric]}, {region}",
        worst=[_to_case(row, convention, photos.get(row.pair.truth.name), options) for row in worst],
    )
    write_bytes(savedir / "scores.html", html.encode("utf-8", "surrogateescape"))


def _rank(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _pair_photos(names: Sequence[str], images: Path | None) -> dict[str, Path]:
    """Return the photo of each truth that has one."""
    if images is None:
        return {}
    matched = pair(find(images), list(dict.fromkeys(names)), ALPHA_WORDS).matched
    return {name: images / photo for photo, name in matched.items()}


def _to_case(row: ImageScores, convention: Convention, photo: Path | None, options: ScoreOptions) -> _Case:
    truth = read_matte(row.pair.truth)
    prediction, _ = read_prediction(row.pair, truth.shape, options)
    pictures = [] if photo is None else [("image", _to_data(read_image(photo)))]
    for label, values in (("truth", truth), ("prediction", prediction), ("error", np.abs(prediction - truth))):
        gray = np.rint(values * 255).astype(np.uint8)
        pictures.append((label, _to_data(np.repeat(gray[..., None], 3, axis=2))))
    captions = []
    for region in row.regions:
        values_of = scaled_scores(row, region, convention).items()
        defined = [f"{convention.columns[key]} {value:.4g}" for key, value in values_of if not math.isnan(value)]
        numbers = ", ".join(defined)
        captions.append(f"{region}: {numbers}")
    return _Case(row.pair.name, "; ".join(captions), pictures)


def _to_data(pixels: Array) -> str:
    """Return a picture (H, W, 3) uint8, scaled down to the height of a row, as a data URI."""
    height = min(_HEIGHT, pixels.shape[0])
    small = resize(pixels, (max(1, round(pixels.shape[1] * height / pixels.shape[0])), height))
    return "data:image/png;base64," + b64encode(encode(small)).decode()
