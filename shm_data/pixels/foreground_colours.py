"""Estimates the colours of a foreground without the old background that its soft pixels mix in."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array, require_bytes

Floats = NDArray[np.float32]
Window = tuple[slice, slice]  # rows, columns

# The estimate starts from a picture of a few pixels; a smaller one cannot be halved.
_SMALLEST = 4

# The smallest margin around fractional pixels, in px.
_SMALLEST_MARGIN = 32


def estimate_foreground(image: Array, alpha: Array) -> Array:
    """Return the foreground colours F (H, W, 3) uint8 of an image (H, W, 3) uint8 with alpha (H, W) uint8.

    Multi-level estimation (Germer et al., "Fast Multi-Level Foreground Estimation", ICPR 2020). Only fractional
    pixels change; a binary alpha needs no estimate. Raises ShmDataError for other arrays.
    """
    return _kept_or_estimated(image, alpha, 1)[0]


def separate_colours(image: Array, alpha: Array) -> tuple[Array, Array]:
    """Return the colours F and B (H, W, 3) uint8 that an image (H, W, 3) uint8 mixes by its alpha (H, W) uint8.

    Both are estimated together, as by `estimate_foreground`; where alpha is 0 or 255 both are the photo.
    """
    foreground, background = _kept_or_estimated(image, alpha, 2)
    return foreground, background


def _kept_or_estimated(image: Array, alpha: Array, count: int) -> tuple[Array, ...]:
    """Return the first `count` of F and B: the image itself, except for its fractional pixels.

    Only the surroundings of fractional pixels are used, one tile at a time: that takes a fraction of the time of the
    whole picture and bounds the memory, and on known colours it came out no worse.
    """
    require_bytes("image", image, None, None, 3)
    require_bytes("alpha", alpha, *image.shape[:2])
    fractional = (alpha > 0) & (alpha < 255)
    if not fractional.any() or min(alpha.shape) < _SMALLEST:
        return (image,) * count
    from shm_data.pixels.kernels import colours  # noqa: PLC0415  # numba takes its time to load

    results = tuple(image.copy() for _ in range(count))
    for core in _cores(fractional):
        window = _window(core, alpha)
        inside = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, window, strict=True))
        needed = np.zeros(alpha[window].shape, np.bool_)
        needed[inside] = fractional[core]
        estimated = colours.separate(image[window], alpha[window], needed, _level_sizes(needed.shape))[needed]
        for number, whole in enumerate(results):
            whole[core][fractional[core]] = _bytes(estimated[:, 3 * number : 3 * number + 3])
    return results


def _level_sizes(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return heights and widths (L, 2) from one pixel to the whole picture, at most doubled from level to level."""
    levels = math.ceil(math.log2(max(shape)))
    return np.array([[round(side ** (level / levels)) for side in shape] for level in range(levels + 1)], np.int64)


def _cores(fractional: NDArray[np.bool_]) -> Iterator[Window]:
    """Yield the box of the fractional pixels in each tile that has any."""
    side = 4 * _margin(fractional.shape)
    height, width = fractional.shape
    for top, left in itertools.product(range(0, height, side), range(0, width, side)):
        tile = fractional[top : top + side, left : left + side]
        rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
        if rows.size:
            yield slice(top + rows[0], top + rows[-1] + 1), slice(left + columns[0], left + columns[-1] + 1)


def _window(core: Window, alpha: Array) -> Window:
    """Return a box with a margin, so wide that it has sure foreground and sure background if the picture has them."""
    from shm_data.pixels.kernels.colours import SURE_BACKGROUND, SURE_FOREGROUND  # noqa: PLC0415

    margin = _margin(alpha.shape)
    while True:
        window = tuple(
            slice(max(0, part.start - margin), min(length, part.stop + margin))
            for part, length in zip(core, alpha.shape, strict=True)
        )
        sure = alpha[window].max() > SURE_FOREGROUND and alpha[window].min() < SURE_BACKGROUND
        if sure or alpha[window].shape == alpha.shape:
            return window[0], window[1]
        margin *= 2


def _margin(shape: tuple[int, ...]) -> int:
    """Return the margin around fractional pixels in px: the same share of a picture at any size."""
    return max(_SMALLEST_MARGIN, max(shape) // 32)


def _bytes(colours: Floats) -> Array:
    return np.rint(colours * 255).clip(0, 255).astype(np.uint8)
