"""Samples as small pictures that lie inside a page: image, alpha, trimap and cut-out."""

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
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_nearest
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND
from shm_data.report.facts import Facts

# Long edge in px and quality of the pictures. The next pair is taken where the one before makes too many bytes for
# its layer: few photos are so rich, but the page must stay small whatever it shows.
_STEPS = ((560, 78), (560, 45), (320, 45), (96, 20))
MOST = {"image": 44_000, "cutout": 40_000, "veil": 24_000, "band": 14_000, "alpha": 12_000}

# What is laid over an image: red where alpha is 0, as a mask of film that painters cut; amber where it is unknown.
_VEIL, _VEIL_DEPTH = (224, 36, 72), 0.72
_BAND = {"unknown": (255, 176, 32, 190), "background": (14, 16, 22, 150)}


@dataclass(frozen=True, slots=True)
class Card:
    """A sample to look at. `layers` are picture files, and `faults` says why one is not there.

    The layers are "image", "alpha", "cutout", and "veil" and "band", which lie over the image.
    """

    name: str
    split: str
    size: tuple[int, int]
    layers: dict[str, bytes]
    faults: dict[str, str]
    recipe: Recipe | None


def cards_of(layout: Layout, facts: Facts, names: Collection[str], jobs: int, progress: Progress) -> dict[str, Card]:
    """The cards of samples, by name, and of files that belong to none, by path."""
    results = spread(partial(_card, layout, facts), names, jobs, ordered=True)
    return {card.name: card for card in progress(results, len(names), "drawing samples")}


def _card(layout: Layout, facts: Facts, name: str) -> Card:
    faults: dict[str, str] = {}
    recipe = None if facts.tally is None else facts.tally.kept.get(name)
    split = facts.splits.get(name, "")
    if "/" in name:  # a file of no sample
        image = _tried(layout.root / name, read_image, faults, "image")
        alpha = trimap = None
    else:
        paths = layout.sample(name)
        image = _tried(paths[0], read_image, faults, "image")
        alpha = _tried(paths[1], read_alpha, faults, "alpha")
        trimap = _tried(paths[2], read_gray, faults, "trimap")
    known = next((pixels for pixels in (image, alpha, trimap) if pixels is not None), None)
    size = (4, 3) if known is None else (known.shape[1], known.shape[0])
    return Card(name, split, size, _layers(image, alpha, trimap), faults, recipe)


def _tried(path: Path, read: Callable[[Path], Array], faults: dict[str, str], what: str) -> Array | None:
    try:
        return read(path)
    except ShmDataError as error:
        faults[what] = error.reason
        return None


def _layers(image: Array | None, alpha: Array | None, trimap: Array | None) -> dict[str, bytes]:
    """What can be shown of a sample; what lies over an image must be of its size."""
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
    """A picture as WebP, drawn at the largest size, and encoded at the best quality, that stay below the limit."""
    data = b""
    for edge, quality in _STEPS:
        data = bytes(encode(drawn_at(edge), ".webp", quality))
        if len(data) <= most:
            break
    return data


def _in_gray(levels: Array) -> Array:
    return np.repeat(levels[..., None], 3, axis=2)


def _veil(alpha: Array) -> Array:
    """Red (H, W, 4), the denser the less alpha is."""
    veil = np.empty((*alpha.shape, 4), np.uint8)
    veil[..., :3] = _VEIL
    veil[..., 3] = np.rint((255 - alpha.astype(np.float32)) * _VEIL_DEPTH)
    return veil


def _band(trimap: Array) -> Array:
    """Colours (H, W, 4) for what is unknown and for the background; the foreground stays free."""
    band = np.zeros((*trimap.shape, 4), np.uint8)
    band[(trimap != BACKGROUND) & (trimap != FOREGROUND)] = _BAND["unknown"]
    band[trimap == BACKGROUND] = _BAND["background"]
    return band


def _cutout(image: Array, alpha: Array, edge: int) -> Array:
    """The foreground (H, W, 4) freed of its background."""
    size = fit(image.shape[1::-1], edge)
    small, matte = resize(image, size), resize(alpha, size)
    return np.dstack((estimate_foreground(small, matte), matte))
