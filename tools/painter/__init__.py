"""Paints the people and scenes of the embedded example anew: `python -m tools.painter shm_data/demo/assets`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
from PIL import Image

from shm_data.demo import tint
from shm_data.images import write_jpeg, write_png
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import blend, cover, cover_box
from tools.painter import brush, portraits
from tools.painter.scenes import SCENES, bokeh, studio, sunset

_SIZE = (brush.WIDTH, brush.HEIGHT)

# What each person stands in front of.
_WALLS: dict[str, Callable[[], Array]] = {
    "june": lambda: studio(_SIZE, (186, 204, 214), (96, 116, 134)),
    "amara": lambda: _defocused(sunset()),
    "mateo": lambda: _defocused(tint("grass.png", (22, 44, 14), (206, 222, 128))),
    "edith": lambda: _defocused(bokeh()),
}


def people() -> Iterator[tuple[str, Array, Array, Array]]:
    """Yield the name, photo (H, W, 3), alpha (H, W) and true colours (H, W, 3) of each person, all uint8."""
    for person in portraits.PEOPLE:
        colours, alpha = portraits.draw(person)
        yield person.name, blend(colours, alpha, _WALLS[person.name]()), alpha, colours


def repaint(folder: Path) -> None:
    """Write the assets that are painted to `folder`. The outline of the astronaut is in tests/test_astronaut.py."""
    for name, photo, alpha, colours in people():
        write_png(folder / "photos" / f"{name}.png", photo)
        write_png(folder / "alphas" / f"{name}.png", alpha)
        Image.fromarray(colours).save(folder / "truth" / f"{name}.webp", lossless=True, quality=100, method=6)
    for name, paint in SCENES.items():
        write_jpeg(folder / "VOC2012" / "JPEGImages" / f"{name}.jpg", paint(), quality=92)


def _defocused(scene: Array) -> Array:
    """Return a scene (H, W, 3) uint8 as a portrait lens shows it behind a person."""
    box = cover_box((scene.shape[1], scene.shape[0]), _SIZE, 0.5, 0.5)
    return cv2.GaussianBlur(cover(scene, box, _SIZE), (0, 0), 9).astype(scene.dtype, copy=False)
