"""Exact erosion by discs."""

import numpy as np
from numba import boolean, njit, types, uint8, void
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.kernels.jit import compiled

# Distances are counted in bytes, and one more than the radius must fit.
LARGEST = 254

_REGION = types.Array(boolean, 2, "C", readonly=True)
_HALVES = types.Array(uint8, 1, "C", readonly=True)


@njit(nogil=True)
def _count_rows(region: NDArray[np.bool_], most: np.uint8) -> Array:
    """How many rows up or down from each pixel the next one is that lies outside the region, `most` if not nearer."""
    height, width = region.shape
    one = np.uint8(1)
    rows = np.empty((height, width), np.uint8)
    for y in range(height):
        now, above, inside = rows[y], rows[max(0, y - 1)], region[y]
        for x in range(width):
            farther = np.uint8(min(above[x], np.uint8(most - one)) + one) if y else most
            now[x] = farther if inside[x] else np.uint8(0)
    for y in range(height - 2, -1, -1):
        now, below = rows[y], rows[y + 1]
        for x in range(width):
            now[x] = min(now[x], np.uint8(min(below[x], np.uint8(most - one)) + one))
    return rows


@compiled(void(_REGION, _HALVES, boolean[:, ::1]))
def erode(region: NDArray[np.bool_], halves: Array, kept: NDArray[np.bool_]) -> None:
    """Keeps the pixels of a region (H, W) of which no pixel outside is within a disc; beyond the picture is nothing.

    `halves` are the halves of the disc's columns: in the one that is d beside its middle it reaches so far up and
    down, sqrt(r^2 - d^2) rounded down for d from 0 to r, at most LARGEST. So a pixel goes if in any column its disc
    reaches as far as the next pixel outside: what is the same for a row of pixels, and done for many at once.
    """
    height, width = region.shape
    most = np.uint8(halves[0] + np.uint8(1))
    rows = _count_rows(region, most)
    for y in range(height):
        row, out = rows[y], kept[y]
        nearest = most
        for x in range(width):
            out[x] = row[x] > halves[0]
            nearest = min(nearest, row[x])
        if nearest == most:
            continue
        for beside in range(1, min(halves.size, width)):
            half = halves[beside]
            left, right = out[: width - beside], out[beside:]
            for x in range(width - beside):
                left[x] &= row[x + beside] > half
            for x in range(width - beside):
                right[x] &= row[x] > half
