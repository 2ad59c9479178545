"""Samples as small pictures for a page: image, alpha, trimap and cut-out."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError
from shm_data.images import encode, encode_indexed, read_alpha, read_gray, read_image
from shm_data.parallel import Progress, spread
from shm_data.pixels import augmentations
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, fit, resize, resize_nearest
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND
from shm_data.report.facts import Facts

# Long edge in px and quality of the pictures. Where a pair gives more bytes than MOST allows, the next is tried:
# few photos need it, but it bounds the size of a page.
_STEPS = ((560, 78), (560, 45), (320, 45), (96, 20))
MOST = {"image": 44_000, "cutout": 40_000, "veil": 24_000, "band": 14_000, "alpha": 12_000}

# The largest long edge of a cut-out: its colours are estimated, which takes longer than all other pictures.
_CUTOUT = 420

# The colours of alphas and trimaps by level. Over an image, red is where alpha is low; amber is the unknown region of
# the trimap, dark is its background.
_LEVELS = np.arange(256, dtype=np.uint8)
_GRAY = np.full((256, 4), 255, np.uint8)
_GRAY[:, :3] = _LEVELS[:, None]
_VEIL = np.full((256, 4), (224, 36, 72, 0), np.uint8)
_VEIL[:, 3] = np.rint((255 - _LEVELS) * 0.72)
_BAND = np.full((256, 4), (255, 176, 32, 190), np.uint8)
_BAND[BACKGROUND], _BAND[FOREGROUND] = (14, 16, 22, 150), (0, 0, 0, 0)

# Cards are never narrower or wider than this.
_NARROWEST, _WIDEST = 0.5, 2.4


@dataclass(frozen=True, slots=True)
class View:
    """What a card can show: its title, the layers it needs, and the file that the last of them is made from."""

    title: str
    layers: tuple[str, ...]
    file: str


VIEWS = {
    "image": View("Image", ("image",), "image"),
    "veil": View("+ alpha", ("image", "veil"), "alpha"),
    "band": View("+ trimap", ("image", "band"), "trimap"),
    "alpha": View("Alpha", ("alpha",), "alpha"),
    "cutout": View("Cut-out", ("cutout",), "alpha"),
}


@dataclass(frozen=True, slots=True)
class Card:
    """A sample as pictures, WebP or PNG, in `layers`; `faults` has the files that cannot be read, and why.

    The layers are "image", "alpha", "cutout", and "veil" and "band", which lie over the image.
    """

    name: str
    split: str
    size: tuple[int, int]
    layers: dict[str, bytes]
    faults: dict[str, str]
    recipe: Recipe | None

    @property
    def ratio(self) -> float:
        """Return the width of the card divided by its height."""
        return min(_WIDEST, max(_NARROWEST, self.size[0] / self.size[1]))

    def why_missing(self, file: str) -> str:
        """Return why a view that needs this file cannot be shown."""
        fault = self.faults.get(file) or self.faults.get("image")
        return fault or ("not of the size of the image" if file in self.layers else "no file")

    def details(self) -> dict[str, str]:
        """Return what is written below the enlarged sample."""
        details = {"Sample": self.name}
        if self.split:
            details["Split"] = self.split
        if self.layers:
            details["Size"] = f"{self.size[0]} \N{MULTIPLICATION SIGN} {self.size[1]}"
        recipe = self.recipe
        if recipe is not None:
            rule = recipe.trimap
            details["Foreground"] = recipe.foreground
            details["Background"] = recipe.background or "none: the original photo"
            details["Trimap"] = "given" if rule is None else f"{rule.method}, {rule.erode} and {rule.dilate} px"
            if recipe.augment is not None:
                details["Augmented"] = "; ".join(augmentations.to_words(recipe.augment))
        return details


class Gallery:
    """The cards of some samples, drawn while a check has their files in memory, and of some more, drawn later."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._drawn: dict[str, tuple[Size, dict[str, bytes]]] = {}

    def visit(self, name: str, image: Array | None, alpha: Array | None, trimap: Array | None) -> None:
        """Draw a sample if it is one of those and whole."""
        if name in self._names and image is not None and alpha is not None and trimap is not None:
            self._drawn[name] = (image.shape[1], image.shape[0]), _layers(image, alpha, trimap)

    def cards(
        self, layout: Layout, facts: Facts, names: Collection[str], jobs: int, progress: Progress
    ) -> dict[str, Card]:
        """Return the cards of samples by name, and of files that belong to no sample by path."""
        results = spread(partial(self._card, layout, facts), names, jobs, ordered=True)
        return {card.name: card for card in progress(results, len(names), "drawing samples")}

    def _card(self, layout: Layout, facts: Facts, name: str) -> Card:
        faults: dict[str, str] = {}
        size, layers = self._drawn[name] if name in self._drawn else _draw(layout, name, faults)
        recipe = None if facts.tally is None else facts.tally.kept.get(name)
        return Card(name, facts.splits.get(name, ""), size, layers, faults, recipe)


def _draw(layout: Layout, name: str, faults: dict[str, str]) -> tuple[Size, dict[str, bytes]]:
    """Return the size and the layers of a sample as far as its files can be read; `faults` gets what is wrong."""
    if "/" in name:  # a file that belongs to no sample
        image = _read(layout.root / name, read_image, faults, "image")
        alpha = trimap = None
    else:
        paths = layout.sample(name)
        image = _read(paths[0], read_image, faults, "image")
        alpha = _read(paths[1], read_alpha, faults, "alpha")
        trimap = _read(paths[2], read_gray, faults, "trimap")
    known = next((pixels for pixels in (image, alpha, trimap) if pixels is not None), None)
    size = (4, 3) if known is None else (known.shape[1], known.shape[0])
    return size, _layers(image, alpha, trimap)


def _read(path: Path, read: Callable[[Path], Array], faults: dict[str, str], what: str) -> Array | None:
    try:
        return read(path)
    except ShmDataError as error:
        faults[what] = error.reason
        return None


def _layers(image: Array | None, alpha: Array | None, trimap: Array | None) -> dict[str, bytes]:
    """Return the layers of a sample; those that lie over the image need its size."""
    encoders: dict[str, Callable[[int, int], bytes]] = {}
    if image is not None:
        small = cache(partial(_reduced, image))
        encoders["image"] = lambda edge, quality: bytes(encode(small(edge), ".webp", quality))
    if alpha is not None:
        matte = cache(partial(_reduced, alpha))
        encoders["alpha"] = lambda edge, _: encode_indexed(matte(edge), _GRAY)
    if image is not None and alpha is not None and alpha.shape == image.shape[:2]:
        encoders["veil"] = lambda edge, _: encode_indexed(matte(edge), _VEIL)
        encoders["cutout"] = lambda edge, quality: _cutout(
            small(min(edge, _CUTOUT)), matte(min(edge, _CUTOUT)), quality
        )
    if trimap is not None:
        colours = _BAND if image is not None and trimap.shape == image.shape[:2] else _GRAY
        labels = partial(resize_nearest, trimap)
        encoders["band"] = lambda edge, _: encode_indexed(labels(fit(trimap.shape[1::-1], edge)), colours)
    return {kind: _first_below(encode_at, MOST[kind]) for kind, encode_at in encoders.items()}


def _first_below(encode_at: Callable[[int, int], bytes], most: int) -> bytes:
    """Return the picture of the first size and quality that fits into `most` bytes."""
    data = b""
    for edge, quality in _STEPS:
        data = encode_at(edge, quality)
        if len(data) <= most:
            break
    return data


def _reduced(pixels: Array, edge: int) -> Array:
    """Return pixels that fit into a square: by area for a whole factor, which is fast, then linearly."""
    size = fit(pixels.shape[1::-1], edge)
    factor = max(pixels.shape) // edge
    if factor > 1 and min(pixels.shape[:2]) >= factor:
        height, width = (length // factor for length in pixels.shape[:2])
        pixels = resize(pixels[: height * factor, : width * factor], (width, height))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _cutout(image: Array, alpha: Array, quality: int) -> bytes:
    """Return the foreground with its colours estimated, so without the old background."""
    return bytes(encode(np.dstack((estimate_foreground(image, alpha), alpha)), ".webp", quality))
