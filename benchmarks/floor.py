"""Measures the floor, a lower bound for the time of a composite: each necessary stage alone, in one thread.

Each stage uses the fastest maintained package, or the library's own function if that is faster. Prints milliseconds
as JSON. All files of a set are written and kept until the end: where the host takes back idle memory of a virtual
machine, a page that was not used for a while takes three times as long as one that was just freed.
"""

import functools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data import images
from shm_data.parallel import tune_worker
from shm_data.pixels import compositing
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import TrimapRule, derive_trimap, kernel_width

Pixels = NDArray[Any]
Result = TypeVar("Result")


class Clock:
    """The seconds of each stage, one for each call."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def __call__(self, stage: str, work: Callable[[], Result]) -> Result:
        """Run a stage, record its time, and return its result."""
        begun = time.perf_counter()
        result = work()
        self.seconds[stage].append(time.perf_counter() - begun)
        return result

    def milliseconds(self) -> dict[str, float]:
        """Return the mean of each stage."""
        return {stage: 1000 * mean(seconds) for stage, seconds in self.seconds.items()}


def measure(sources: Path, folder: Path, count: int, formats: tuple[str, ...]) -> dict[str, float]:
    """Return the milliseconds of each stage, for all foregrounds with `count` backgrounds each; fill the folder."""
    tune_worker()
    backgrounds = sorted((sources / "backgrounds").iterdir())
    photos = sorted((sources / "photos").iterdir())
    clock = Clock()
    warm = Path(tempfile.mkdtemp(dir=folder))
    _measure_one(Clock(), photos[0], backgrounds[:1], formats, warm)  # compiles, imports, allocates
    for number, photo in enumerate(photos):
        chosen = [backgrounds[(number * count + each) % len(backgrounds)] for each in range(count)]
        _measure_one(clock, photo, chosen, formats, folder)
    return clock.milliseconds()


def _measure_one(clock: Clock, photo: Path, backgrounds: list[Path], formats: tuple[str, ...], folder: Path) -> None:
    matte = photo.parents[1] / "alphas" / f"{photo.stem}.png"
    image, alpha = clock("read foreground", lambda: (cv2.imread(str(photo)), cv2.imread(str(matte), 0)))
    colours = clock("estimate", lambda: estimate_foreground(np.ascontiguousarray(image[..., ::-1]), alpha))
    width = kernel_width(alpha.shape[::-1], "auto")
    trimap = clock("trimap", lambda: derive_trimap(alpha, TrimapRule("euclid", width, width)))
    gray = clock("encode alpha and trimap", lambda: [images.encode(pixels) for pixels in (alpha, trimap)])
    twin = folder / f"{photo.stem} gray"
    twin.write_bytes(gray[0])
    weights = compositing.to_three_channels(alpha)
    out = np.empty_like(image)
    for number, file in enumerate(backgrounds):
        background = clock("decode", lambda file=file: cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR))
        clock("resize", lambda background=background: _cover(background, out))
        clock("blend", lambda: compositing.blend(colours, weights, out, out))
        path = folder / f"{photo.stem} {number}"
        for form in formats:
            data = clock(form, lambda form=form: images.encode(out, f".{form}"))
            written = path.with_suffix(f".{form}")
            clock(f"write {form}", functools.partial(written.write_bytes, data))
            del data  # so that the next file can reuse its memory
        twins = [path.with_suffix(f".{name}") for name in ("alpha", "trimap")]
        clock("link", lambda twins=twins: [os.link(twin, name) for name in twins])


def _cover(background: Pixels, out: Pixels) -> Pixels:
    """Crop, then resize into an existing array."""
    size = out.shape[1::-1]
    x, y, width, height = compositing.cover_box(background.shape[1::-1], size, 0.5, 0.5)
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_CUBIC
    return cv2.resize(background[y : y + height, x : x + width], size, dst=out, interpolation=method)


@click.command()
@click.argument("sources", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", required=True, type=int, help="Backgrounds per foreground.")
@click.option("--format", "formats", multiple=True, default=("png", "jpg"), help="Formats to encode.")
def main(sources: Path, folder: Path, count: int, formats: tuple[str, ...]) -> None:
    """Measure the stages on the pictures of SOURCES; their files stay in FOLDER."""
    click.echo(json.dumps(measure(sources, folder, count, formats)))


if __name__ == "__main__":
    main()
