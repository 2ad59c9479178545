"""Everything a first run needs, made on the spot: people with alphas, and backgrounds. Nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path

import cv2

from shm_data.demo import astronaut, brush, portraits, voc
from shm_data.demo.scenes import bokeh, meadow, studio, sunset
from shm_data.errors import ShmDataError
from shm_data.files import make_folders
from shm_data.images import write_jpeg, write_png
from shm_data.options import CompositeOptions
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import blend, cover, cover_box

_SIZE = (brush.WIDTH, brush.HEIGHT)

# Where each drawn person was "photographed".
_WALLS: dict[str, Callable[[], Array]] = {
    "june": lambda: studio(_SIZE, (186, 204, 214), (96, 116, 134)),
    "amara": lambda: _defocused(sunset()),
    "mateo": lambda: _defocused(meadow()),
    "edith": lambda: _defocused(bokeh()),
}


def options(folder: Path) -> CompositeOptions:
    """The job that turns what `draw_sources` wrote to `folder` into a data set.

    With this seed a drawn person falls to val: a network that has seen three others can be expected to know it,
    as it cannot the only photo. The size is one that a CPU can train at in minutes.
    """
    return CompositeOptions.checked(
        inimg=folder / "photos",
        inalp=folder / "alphas",
        vocroot=(folder / "VOC2012",),
        numbg=16,
        seed=10,
        maxsize=480,
    )


def refuse_other(folder: Path) -> None:
    """Raises ShmDataError where a folder holds anything but an earlier demo: nothing of a user's is overwritten."""
    begun = (folder / "sources" / "truth").is_dir()
    if not begun and any(not path.is_dir() for path in folder.rglob("*")):
        raise ShmDataError(path=folder, found="other files", expected="a new folder, or one with an earlier demo")


def draw_sources(folder: Path) -> None:
    """Writes the inputs of a job to `folder`, the same bytes each time, each file whole or not at all.

    photos/ and alphas/ hold one real portrait and the drawn ones, truth/ the true foreground colours of those,
    VOC2012/ backgrounds with annotations, of which some show people. Raises WriteError.
    """
    photos, alphas, truth = folder / "photos", folder / "alphas", folder / "truth"
    make_folders(photos, alphas, truth)
    photo, alpha = astronaut.portrait()
    write_jpeg(photos / "astronaut.jpg", photo)
    write_png(alphas / "astronaut.png", alpha)
    for person in portraits.PEOPLE:
        colours, alpha = portraits.draw(person)
        write_png(photos / f"{person.name}.png", blend(colours, alpha, _WALLS[person.name]()))
        write_png(alphas / f"{person.name}.png", alpha)
        write_png(truth / f"{person.name}.png", colours)
    voc.write(folder / "VOC2012")


def _defocused(scene: Array) -> Array:
    """A scene (H, W, 3) uint8 as a portrait lens shows it behind a person."""
    box = cover_box((scene.shape[1], scene.shape[0]), _SIZE, 0.5, 0.5)
    return cv2.GaussianBlur(cover(scene, box, _SIZE), (0, 0), 9).astype(scene.dtype, copy=False)
