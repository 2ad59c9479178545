"""The least that a composite costs: every unavoidable stage alone, in one thread, with the fastest kept package.

Prints milliseconds as JSON. The library's own function does a stage where none faster is known. As many files are
written as a set has, and kept until all are: a machine that lends its memory to others takes three times as long over
a page that it has not held for a while as over one that was just freed.
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
    """Seconds that each stage took, each time."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def __call__(self, stage: str, work: Callable[[], Result]) -> Result:
        """Times a stage, and gives what it gives."""
        begun = time.perf_counter()
        result = work()
        self.seconds[stage].append(time.perf_counter() - begun)
        return result

    def milliseconds(self) -> dict[str, float]:
        """What each stage takes on average."""
        return {stage: 1000 * mean(seconds) for stage, seconds in self.seconds.items()}


def measure(sources: Path, folder: Path, count: int, formats: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds of each stage, on every foreground and `count` backgrounds for each; fills an empty folder."""
    tune_worker()
    places = sorted((sources / "backgrounds").iterdir())
    photos = sorted((sources / "photos").iterdir())
    clock = Clock()
    warm = Path(tempfile.mkdtemp(dir=folder))
    _measure_one(Clock(), photos[0], places[:1], formats, warm)  # compiles, imports, allocates
    for number, photo in enumerate(photos):
        chosen = [places[(number * count + each) % len(places)] for each in range(count)]
        _measure_one(clock, photo, chosen, formats, folder)
    return clock.milliseconds()


def _measure_one(clock: Clock, photo: Path, places: list[Path], formats: tuple[str, ...], folder: Path) -> None:
    matte = photo.parents[1] / "alphas" / f"{photo.stem}.png"
    image, alpha = clock("read foreground", lambda: (cv2.imread(str(photo)), cv2.imread(str(matte), 0)))
    colours = clock("estimate", lambda: estimate_foreground(np.ascontiguousarray(image[..., ::-1]), alpha))
    width = kernel_width(alpha.shape[::-1], "auto")
    trimap = clock("trimap", lambda: derive_trimap(alpha, TrimapRule("euclid", width, width)))
    gray = clock("encode alpha and trimap", lambda: [images.encode(pixels) for pixels in (alpha, trimap)])
    twin = folder / f"{photo.stem} gray"
    twin.write_bytes(gray[0])
    weights = compositing.to_three_channels(alpha)
    canvas = np.empty_like(image)
    for number, place in enumerate(places):
        background = clock("decode", lambda place=place: cv2.imdecode(np.fromfile(place, np.uint8), cv2.IMREAD_COLOR))
        clock("resize", lambda background=background: _cover(background, canvas))
        clock("blend", lambda: compositing.blend(colours, weights, canvas, canvas))
        path = folder / f"{photo.stem} {number}"
        for form in formats:
            data = clock(form, lambda form=form: images.encode(canvas, f".{form}"))
            written = path.with_suffix(f".{form}")
            clock(f"write {form}", functools.partial(written.write_bytes, data))
            del data  # or the next file could not take its place in memory
        twins = [path.with_suffix(f".{name}") for name in ("alpha", "trimap")]
        clock("link", lambda twins=twins: [os.link(twin, name) for name in twins])


def _cover(background: Pixels, canvas: Pixels) -> Pixels:
    """Crops, then resizes into a canvas that is there already."""
    size = canvas.shape[1::-1]
    x, y, width, height = compositing.cover_box(background.shape[1::-1], size, 0.5, 0.5)
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_CUBIC
    return cv2.resize(background[y : y + height, x : x + width], size, dst=canvas, interpolation=method)


@click.command()
@click.argument("sources", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", required=True, type=int, help="Backgrounds for each foreground.")
@click.option("--format", "formats", multiple=True, default=("png", "jpg"), help="Formats to encode.")
def main(sources: Path, folder: Path, count: int, formats: tuple[str, ...]) -> None:
    """Measure the stages on the pictures of SOURCES, and leave what they write in FOLDER."""
    click.echo(json.dumps(measure(sources, folder, count, formats)))


if __name__ == "__main__":
    main()
