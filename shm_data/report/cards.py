"""Samples as small pictures for a page: image, alpha, trimap and cut-out."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError
from shm_data.images import encode, read_alpha, read_gray, read_image
from shm_data.parallel import Progress, spread
from shm_data.pixels import augmentations
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_nearest
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND
from shm_data.report.facts import Facts

# Long edge in px and quality of the pictures. Where a pair gives more bytes than MOST allows, the next is tried:
# few photos need it, but it bounds the size of a page.
_STEPS = ((560, 78), (560, 45), (320, 45), (96, 20))
MOST = {"image": 44_000, "cutout": 40_000, "veil": 24_000, "band": 14_000, "alpha": 12_000}

# The colours over an image: red where alpha is 0; amber where the trimap is unknown, dark where it is background.
_VEIL, _VEIL_DEPTH = (224, 36, 72), 0.72
_BAND = {"unknown": (255, 176, 32, 190), "background": (14, 16, 22, 150)}


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
    """A sample as WebP pictures in `layers`; `faults` has the files that cannot be read, and why.

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


def cards_of(layout: Layout, facts: Facts, names: Collection[str], jobs: int, progress: Progress) -> dict[str, Card]:
    """Return the cards of samples by name, and of files that belong to no sample by path."""
    results = spread(partial(_card, layout, facts), names, jobs, ordered=True)
    return {card.name: card for card in progress(results, len(names), "drawing samples")}


def _card(layout: Layout, facts: Facts, name: str) -> Card:
    faults: dict[str, str] = {}
    recipe = None if facts.tally is None else facts.tally.kept.get(name)
    split = facts.splits.get(name, "")
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
    return Card(name, split, size, _layers(image, alpha, trimap), faults, recipe)


def _read(path: Path, read: Callable[[Path], Array], faults: dict[str, str], what: str) -> Array | None:
    try:
        return read(path)
    except ShmDataError as error:
        faults[what] = error.reason
        return None


def _layers(image: Array | None, alpha: Array | None, trimap: Array | None) -> dict[str, bytes]:
    """Return the layers of a sample; those that lie over the image need its size."""
    drawn: dict[str, Callable[[int], Array]] = {}
    if image is not None:
        drawn["image"] = lambda edge: resize(image, fit(image.shape[1::-1], edge))
    if alpha is not None:
        drawn["alpha"] = lambda edge: _in_gray(resize(alpha, fit(alpha.shape[1::-1], edge)))
    if image is not None and alpha is not None and alpha.shape == image.shape[:2]:
        drawn["veil"] = lambda edge: _veil(resize(alpha, fit(alpha.shape[1::-1], edge)))
        drawn["cutout"] = lambda edge: _cutout(image, alpha, edge)
    if trimap is not None:
        paint = _band if image is not None and trimap.shape == image.shape[:2] else _in_gray
        drawn["band"] = lambda edge: paint(resize_nearest(trimap, fit(trimap.shape[1::-1], edge)))
    return {kind: _picture(draw, MOST[kind]) for kind, draw in drawn.items()}


def _picture(drawn_at: Callable[[int], Array], most: int) -> bytes:
    """Return a picture as WebP of the first size and quality that stay below the limit."""
    data = b""
    for edge, quality in _STEPS:
        data = bytes(encode(drawn_at(edge), ".webp", quality))
        if len(data) <= most:
            break
    return data


def _in_gray(levels: Array) -> Array:
    return np.repeat(levels[..., None], 3, axis=2)


def _veil(alpha: Array) -> Array:
    """Return red (H, W, 4), the more opaque the lower alpha is."""
    veil = np.empty((*alpha.shape, 4), np.uint8)
    veil[..., :3] = _VEIL
    veil[..., 3] = np.rint((255 - alpha.astype(np.float32)) * _VEIL_DEPTH)
    return veil


def _band(trimap: Array) -> Array:
    """Return colours (H, W, 4) for the unknown region and the background; the foreground stays transparent."""
    band = np.zeros((*trimap.shape, 4), np.uint8)
    band[(trimap != BACKGROUND) & (trimap != FOREGROUND)] = _BAND["unknown"]
    band[trimap == BACKGROUND] = _BAND["background"]
    return band


def _cutout(image: Array, alpha: Array, edge: int) -> Array:
    """Return the foreground (H, W, 4) with its colours estimated, so without the old background."""
    size = fit(image.shape[1::-1], edge)
    small, matte = resize(image, size), resize(alpha, size)
    return np.dstack((estimate_foreground(small, matte), matte))
