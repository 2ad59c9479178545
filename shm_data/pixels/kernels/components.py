"""The largest connected component of each level of a picture."""

import numpy as np
from numba import int32, njit, types, uint8, void
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.kernels.jit import compiled

_LEVELS = types.Array(uint8, 2, "C", readonly=True)

Indices = NDArray[np.int32]


@njit(nogil=True)
def _root(parent: Indices, pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(nogil=True)
def _join(parent: Indices, size: Indices, one: int, other: int) -> None:
    """Join the components of two pixels; the root is the first pixel in reading order."""
    one, other = _root(parent, one), _root(parent, other)
    if one != other:
        first, second = min(one, other), max(one, other)
        parent[second] = first
        size[first] += size[second]


@njit(nogil=True)
def _grow(levels: Array, level: int, parent: Indices, size: Indices) -> None:
    """Add the pixels of a level to the forest, joined to their neighbours of this and of higher levels."""
    height, width = levels.shape
    for y in range(height):
        for x in range(width):
            if levels[y, x] != level:
                continue
            pixel = y * width + x
            parent[pixel], size[pixel] = pixel, 1
            if x > 0 and levels[y, x - 1] >= level:
                _join(parent, size, pixel, pixel - 1)
            if y > 0 and levels[y - 1, x] >= level:
                _join(parent, size, pixel, pixel - width)
            if x + 1 < width and levels[y, x + 1] > level:
                _join(parent, size, pixel, pixel + 1)
            if y + 1 < height and levels[y + 1, x] > level:
                _join(parent, size, pixel, pixel + width)


@njit(nogil=True)
def _largest(levels: Array, level: int, parent: Indices, size: Indices) -> int:
    """Return the root of the largest component of a level, the first in reading order; -1 if there is none."""
    flat = levels.ravel()
    largest = -1
    for pixel in range(flat.size):
        if flat[pixel] >= level and parent[pixel] == pixel and (largest < 0 or size[pixel] > size[largest]):
            largest = pixel
    return largest


@compiled(void(_LEVELS, uint8, int32[::1], int32[::1], uint8[:, ::1]))
def count_connected(levels: Array, highest: int, parent: Indices, size: Indices, count: Array) -> None:
    """Write to `count` how many levels in a row, from 1 on, each pixel is in the largest component of its level.

    The region of level k are the pixels with `levels` (H, W) >= k, for k = 1 to `highest`; neighbours share an edge,
    and of components of one size the first in reading order is the largest. `parent` and `size` (H * W) are scratch:
    a disjoint-set forest that grows from the highest level to the lowest.
    """
    flat, out = levels.ravel(), count.ravel()
    out[:] = 0
    for level in range(highest, 0, -1):
        _grow(levels, level, parent, size)
        largest = _largest(levels, level, parent, size)
        for pixel in range(flat.size):
            if flat[pixel] >= level:  # a count that a lower level interrupts starts anew
                out[pixel] = out[pixel] + 1 if _root(parent, pixel) == largest else 0
