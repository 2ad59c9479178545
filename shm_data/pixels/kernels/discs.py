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
    """Return for each pixel the distance in rows to the next pixel outside the region, up or down; at most `most`."""
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
    """Write to `kept` the pixels of a region (H, W) with no pixel outside within a disc; the border erodes nothing.

    `halves` are the half heights of the disc's columns: sqrt(r^2 - d^2) rounded down, for d = 0 to r columns beside
    its middle, at most LARGEST. A pixel is dropped if in any column its disc reaches the next pixel outside, which is
    computed for a whole row at a time.
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
