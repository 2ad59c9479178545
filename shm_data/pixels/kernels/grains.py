"""Adds noise to a picture from a tile that repeats, in whole numbers: the same bytes on any machine."""

import numpy as np
from numba import int8, int32, types, uint8, void
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.kernels.jit import compiled

_READ = types.Array(uint8, 2, "C", readonly=True)

# Bits behind the binary point of grains and of sigma.
GRAIN_BITS, SIGMA_BITS = 5, 5

# The largest v (255 - v), so that half of sigma and 4 v (255 - v) / 255^2 of its other half add up to it.
_HIGHEST = 127 * 128


@compiled(void(_READ, int8[:, ::1], int32, int32, uint8[:, ::1]))
def add(image: Array, tile: NDArray[np.int8], sigma: int, start: int, noisy: Array) -> None:
    """Write an image (H, 3 W) of three interleaved channels with noise to `noisy`, clipped to 0 and 255.

    The noise is the tile (T, 3 T) from its pixel `start` on, times `sigma` at middle levels, half of it at 0 and 255.
    """
    shift = GRAIN_BITS + SIGMA_BITS + 15  # v (255 - v) + _HIGHEST is at most 2^15 - 256
    half = np.int64(1) << (shift - 1)
    side = tile.shape[0]
    top, left = start // side, 3 * (start % side)
    for y in range(image.shape[0]):
        grains = tile[(y + top) % side]
        first, offset = 0, left
        while first < image.shape[1]:
            last = min(first + grains.size - offset, image.shape[1])
            values, drawn, results = (
                image[y, first:last],
                grains[offset : offset + last - first],
                noisy[y, first:last],
            )
            for index in range(last - first):
                level = np.int32(values[index])
                scale = np.int32(_HIGHEST + level * (255 - level))
                noise = (np.int64(sigma * np.int32(drawn[index])) * scale + half) >> shift
                results[index] = min(max(level + noise, 0), 255)
            first, offset = last, 0
