"""A simple script that makes a training set as public matting scripts do: the baseline of the benchmarks.

All files of every composite are written with OpenCV's defaults. Photo, alpha and trimap are read or made once per
foreground, backgrounds once per composite. OpenCV may use its threads; all else is one thread in one process.
"""

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def composite_all(sources: Path, savedir: Path, numbg: int) -> None:
    """Write every foreground over `numbg` backgrounds to input/, mask/ and trimap/ in `savedir`."""
    backgrounds = sorted((sources / "backgrounds").iterdir())
    draw = np.random.default_rng(0)
    for name in ("input", "mask", "trimap"):
        (savedir / name).mkdir(parents=True)
    for photo in sorted((sources / "photos").iterdir()):
        image = cv2.imread(str(photo))
        alpha = cv2.imread(str(sources / "alphas" / f"{photo.stem}.png"))
        trimap = trimap_of(alpha)
        for number in range(numbg):
            background = cv2.imread(str(backgrounds[draw.integers(len(backgrounds))]))
            result = blend(image, alpha, cover(background, image.shape[1], image.shape[0], draw))
            name = f"{photo.stem}_{number}.png"
            cv2.imwrite(str(savedir / "input" / name), result)
            cv2.imwrite(str(savedir / "mask" / name), alpha)
            cv2.imwrite(str(savedir / "trimap" / name), trimap)


def trimap_of(alpha: Pixels) -> Pixels:
    """Return a trimap (H, W, 3) by erosion and dilation of alpha > 0."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    shown = (alpha > 0).astype(np.uint8)
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[cv2.erode(shown, kernel) == 1] = 255
    trimap[cv2.dilate(shown, kernel) == 0] = 0
    return trimap


def cover(background: Pixels, width: int, height: int, draw: np.random.Generator) -> Pixels:
    """Return a background resized to cover the size, then cropped at a random position."""
    scale = max(width / background.shape[1], height / background.shape[0])
    size = max(width, round(background.shape[1] * scale)), max(height, round(background.shape[0] * scale))
    resized = cv2.resize(background, size, interpolation=cv2.INTER_CUBIC)
    x, y = draw.integers(size[0] - width + 1), draw.integers(size[1] - height + 1)
    return resized[y : y + height, x : x + width]


def blend(image: Pixels, alpha: Pixels, background: Pixels) -> Pixels:
    """Return the composite, computed in float32 and truncated."""
    a = alpha.astype(np.float32) / 255.0
    return (image * a + background * (1 - a)).astype(np.uint8)


@click.command()
@click.argument("sources", type=click.Path(path_type=Path))
@click.argument("savedir", type=click.Path(path_type=Path))
@click.option("--numbg", type=int, required=True, help="Backgrounds per foreground.")
def main(sources: Path, savedir: Path, numbg: int) -> None:
    """Composite the pictures of SOURCES into SAVEDIR."""
    composite_all(sources, savedir, numbg)


if __name__ == "__main__":
    main()
