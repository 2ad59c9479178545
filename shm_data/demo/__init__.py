"""The embedded example: sources for a first run. They come from the package and from scikit-image's wheel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from shm_data.errors import ShmDataError
from shm_data.files import make_folders, write_bytes
from shm_data.images import read_channels, write_jpeg
from shm_data.options import CompositeOptions
from shm_data.pixels.arrays import Array

ASSETS = Path(__file__).with_name("assets")


def options(folder: Path) -> CompositeOptions:
    """Return the options that make a data set of what `write_sources` wrote to `folder`.

    With this seed a drawn person is in val: a network that was trained on three of them can be expected to
    generalize to the fourth, but not to the only photograph. A CPU can train at this size in minutes.
    """
    return CompositeOptions.checked(
        inimg=folder / "photos",
        inalp=folder / "alphas",
        vocroot=(folder / "VOC2012",),
        numbg=16,
        augment=(),
        seed=10,
        maxsize=480,
    )


def refuse_other(folder: Path) -> None:
    """Raise ShmDataError where a folder holds anything but an earlier demo: no file of the user is overwritten."""
    begun = (folder / "sources" / "truth").is_dir()
    if not begun and any(not path.is_dir() for path in folder.rglob("*")):
        raise ShmDataError(path=folder, found="other files", expected="a new folder, or one with an earlier demo")


def write_sources(folder: Path) -> None:
    """Write the sources of the example to `folder`: the same bytes each time, each file whole or absent.

    photos/ and alphas/ hold one photograph and four drawn people, truth/ the true foreground colours of the drawn
    people, VOC2012/ annotated backgrounds, two of which show people. Raises WriteError.
    """
    assets = [path for path in sorted(ASSETS.rglob("*")) if path.is_file()]
    make_folders(folder / "truth", *dict.fromkeys(folder / path.relative_to(ASSETS).parent for path in assets))
    for path in assets:
        write_bytes(folder / path.relative_to(ASSETS), path.read_bytes())
    write_jpeg(folder / "photos" / "astronaut.jpg", photo("astronaut.png"))
    for name, read in _PHOTOS.items():
        write_jpeg(folder / "VOC2012" / "JPEGImages" / f"{name}.jpg", read(), quality=92)


def photo(name: str) -> Array:
    """Return a photo (H, W, 3) uint8 of scikit-image's wheel."""
    import skimage  # noqa: PLC0415

    # As stored, without its profile: the example's files stay the same.
    return read_channels(Path(skimage.__file__).parent / "data" / name)


def tint(name: str, dark: ArrayLike, bright: ArrayLike) -> Array:
    """Return a gray photo as a gradient between two colours, (H, W, 3) uint8."""
    gray = photo(name)[..., :1]
    low, high = np.quantile(gray, (0.01, 0.99))
    share = np.clip((gray - low) / (high - low), 0, 1)
    tinted = np.asarray(dark) + (np.asarray(bright, float) - np.asarray(dark)) * share
    pixels: Array = np.rint(np.clip(tinted, 0, 255)).astype(np.uint8)
    return pixels


# The backgrounds that are photographs; the others are among the assets.
_PHOTOS: dict[str, Callable[[], Array]] = {
    "brick": lambda: tint("brick.png", (96, 40, 30), (222, 158, 128)),
    "camera": lambda: photo("camera.png"),
    "cat": lambda: photo("chelsea.png"),
    "coffee": lambda: photo("coffee.png"),
    "crew": lambda: photo("astronaut.png")[:384],
    "galaxies": lambda: photo("hubble_deep_field.jpg"),
    "garage": lambda: photo("motorcycle_left.png"),
    "gravel": lambda: tint("gravel.png", (44, 44, 52), (232, 224, 212)),
    "meadow": lambda: tint("grass.png", (22, 44, 14), (206, 222, 128)),
    "moon": lambda: tint("moon.png", (30, 32, 40), (236, 232, 224)),
    "rocket": lambda: photo("rocket.jpg"),
}
