"""Writes the pictures that the benchmarks composite: FOLDER/photos, FOLDER/alphas and FOLDER/backgrounds.

They are real photographs with hair or fur if SHM_REALDATA names their folder, else the drawn people of the demo.
"""

import os
import shutil
import tempfile
from pathlib import Path

import click
import numpy as np

from shm_data import images
from shm_data.demo import write_sources as write_example
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, resize, resize_matte

REALDATA = Path(os.environ.get("SHM_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))

# Five people, two animals and a troll: all the mattes with much hair or fur.
_REAL = (
    *((f"p3m_demo/original/{name}.jpg", f"p3m_demo/alpha/{name}.png") for name in ("p_51c916fc", "p_bc5cfad1")),
    ("p3m_demo/original/p_bd6af989.jpg", "p3m_demo/alpha/p_bd6af989.png"),
    ("tsing90_shm/0000.jpg", "tsing90_shm/0000-AIT.png"),
    ("bluestyle97_shm/sample_image.png", "bluestyle97_shm/sample_alpha.png"),
    ("gfm_samples/original/1.jpg", "gfm_samples/result_alpha/1.png"),
    ("gfm_samples/original/4.jpg", "gfm_samples/result_alpha/4.png"),
    ("alphamatting_gt27/input/GT04.png", "alphamatting_gt27/GT/GT04.png"),
)
_REAL_BACKGROUNDS = ("voc_mini/VOC2012/JPEGImages", "coco_mini/train2017", "coco_mini/val2017")

# Enlarged photos lack grain and would compress too well, so noise of this standard deviation (in levels) is added.
_GRAIN = 2.0


def write_sources(folder: Path, area: int, foregrounds: int, backgrounds: int) -> str:
    """Write the pictures and return their description. Foregrounds keep their shape and get `area` pixels."""
    for name in ("photos", "alphas", "backgrounds"):
        (folder / name).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as drawn:
        pairs, photos = _real(REALDATA) if REALDATA.is_dir() else _drawn(Path(drawn))
        softness = [
            _write_foreground(folder, number, *pairs[number % len(pairs)], area) for number in range(foregrounds)
        ]
        for photo in photos[:backgrounds]:
            shutil.copyfile(photo, folder / "backgrounds" / f"{photo.parent.name}_{photo.name}")
    kind = "real photographs" if REALDATA.is_dir() else "drawn people"
    soft = f"{min(softness):.0%} to {max(softness):.0%} of their pixels soft"
    return f"{foregrounds} {kind} of {area / 1e6:.2f} Mpx, {soft}; {min(len(photos), backgrounds)} backgrounds"


def _real(root: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    pairs = [(root / "fg" / photo, root / "fg" / alpha) for photo, alpha in _REAL]
    return pairs, [path for folder in _REAL_BACKGROUNDS for path in sorted((root / folder).glob("*.jpg"))]


def _drawn(root: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    write_example(root)
    photos = sorted((root / "photos").iterdir())
    pairs = [(photo, root / "alphas" / f"{photo.stem}.png") for photo in photos]
    return pairs, sorted((root / "VOC2012" / "JPEGImages").iterdir())


def _write_foreground(folder: Path, number: int, photo: Path, alpha: Path, area: int) -> float:
    """Write a photo as JPEG and its alpha as PNG; return the share of soft pixels."""
    pixels, matte = images.read_image(photo), images.read_alpha(alpha)
    size = _size_of(pixels, area)
    enlarged = size[0] > pixels.shape[1]
    pixels, matte = resize(pixels, size), resize_matte(matte, size)
    images.write_jpeg(folder / "photos" / f"f{number}.jpg", _grainy(pixels, number) if enlarged else pixels)
    images.write_png(folder / "alphas" / f"f{number}.png", matte)
    return float(np.mean((matte > 0) & (matte < 255)))


def _size_of(pixels: Array, area: int) -> Size:
    scale = (area / (pixels.shape[0] * pixels.shape[1])) ** 0.5
    return round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)


def _grainy(pixels: Array, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(0, _GRAIN, pixels.shape).astype(np.float32)
    return np.rint(pixels + noise).clip(0, 255).astype(np.uint8)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--area", type=click.IntRange(1), required=True, help="Pixels of a foreground.")
@click.option("--foregrounds", type=click.IntRange(1), required=True)
@click.option("--backgrounds", type=click.IntRange(1), required=True)
def main(folder: Path, area: int, foregrounds: int, backgrounds: int) -> None:
    """Write the pictures to a new FOLDER."""
    click.echo(write_sources(folder, area, foregrounds, backgrounds))


if __name__ == "__main__":
    main()
