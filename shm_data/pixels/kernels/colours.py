"""Estimates the colours F and B that a photo mixes by its alpha, from one pixel to the whole picture in levels."""

import numpy as np
from numba import boolean, float32, int64, njit, types, uint8
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.kernels.jit import compiled

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

# As published: how strongly neighbours are alike where alpha is flat; sweeps of small levels and of larger ones.
_REGULARIZATION = np.float32(1e-5)
_SMALL, _SMALL_SWEEPS, _SWEEPS = 32, 10, 2

# The first colours are means over alphas of more than 0.9 and less than 0.1.
SURE_FOREGROUND, SURE_BACKGROUND = 229, 26

_IMAGE = types.Array(uint8, 3, "A", readonly=True)
_ALPHA = types.Array(uint8, 2, "A", readonly=True)
_NEEDED = types.Array(boolean, 2, "C", readonly=True)
_SIZES = types.Array(int64, 2, "C", readonly=True)


@njit(nogil=True)
def _with_neighbours(marked: Bools) -> Bools:
    """Return what is marked, and the pixels above, below, left and right of it."""
    height, width = marked.shape
    wider = marked.copy()
    for y in range(height):
        for x in range(width):
            if marked[y, x]:
                wider[max(y - 1, 0), x] = wider[min(y + 1, height - 1), x] = True
                wider[y, max(x - 1, 0)] = wider[y, min(x + 1, width - 1)] = True
    return wider


@njit(nogil=True)
def _solved(needed: Bools, sizes: NDArray[np.int64]) -> list[Bools]:
    """Return the pixels to solve on each level: the needed ones with their neighbours, and what these start from.

    Small levels are solved as a whole.
    """
    levels = [_with_neighbours(needed)]
    for level in range(len(sizes) - 2, -1, -1):
        height, width = sizes[level]
        if max(height, width) <= _SMALL:
            levels.append(np.ones((height, width), np.bool_))
            continue
        shown, below = _with_neighbours(levels[-1]), np.zeros((height, width), np.bool_)
        for y in range(shown.shape[0]):
            for x in range(shown.shape[1]):
                if shown[y, x]:
                    below[y * height // shown.shape[0], x * width // shown.shape[1]] = True
        levels.append(below)
    return levels[::-1]


@njit(nogil=True)
def _mean_colours(image: Array, alpha: Array) -> Floats:
    """Return the means of the sure foreground and the sure background, as (1, 1, 6)."""
    sums, counts = np.zeros(6), np.zeros(2)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            if SURE_BACKGROUND <= alpha[y, x] <= SURE_FOREGROUND:
                continue
            side = 0 if alpha[y, x] > SURE_FOREGROUND else 1
            counts[side] += 1
            for channel in range(3):
                sums[3 * side + channel] += image[y, x, channel]
    means = np.empty((1, 1, 6), np.float32)
    for index in range(6):
        means[0, 0, index] = sums[index] / (255 * max(1, counts[index // 3]))
    return means


@njit(nogil=True)
def _enlarged(colours: Floats, shown: Bools) -> Floats:
    """Return the colours of the level before, enlarged by nearest; undefined where `shown` is false."""
    (height, width), (below, beside) = shown.shape, colours.shape[:2]
    larger = np.empty((height, width, 6), np.float32)
    for y in range(height):
        row = y * below // height
        for x in range(width):
            if shown[y, x]:
                column = x * beside // width
                for channel in range(6):
                    larger[y, x, channel] = colours[row, column, channel]
    return larger


@njit(nogil=True)
def _sampled(image: Array, alpha: Array, shown: Bools) -> tuple[Floats, Floats]:
    """Return photo (h, w, 3) and alpha (h, w) on a level, in [0, 1], by nearest; undefined where `shown` is false."""
    (height, width), (rows, columns) = shown.shape, alpha.shape
    photo, opacity = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
    unit = np.float32(255)
    for y in range(height):
        row = y * rows // height
        for x in range(width):
            if shown[y, x]:
                column = x * columns // width
                opacity[y, x] = np.float32(alpha[row, column]) / unit
                for channel in range(3):
                    photo[y, x, channel] = np.float32(image[row, column, channel]) / unit
    return photo, opacity


@njit(nogil=True)
def _sweep(photo: Floats, opacity: Floats, solved: Bools, colours: Floats) -> None:
    """Solve each pixel for its own F and B with those of its neighbours fixed, one pixel after the other.

    These minimise (a F + (1 - a) B - I)^2 + sum over neighbours n of w_n ((F - F_n)^2 + (B - B_n)^2), with w_n the
    regularization plus the difference of the alphas: two linear equations with the same matrix for every channel
    (Germer et al. 2020, eq. 4 to 8).
    """
    height, width = opacity.shape
    one, zero = np.float32(1), np.float32(0)
    for y in range(height):
        for x in range(width):
            if not solved[y, x]:
                continue
            front = opacity[y, x]
            back = one - front
            weights, f0, f1, f2, b0, b1, b2 = zero, zero, zero, zero, zero, zero, zero
            for side in range(4):
                row, column = max(y - 1, 0), x
                if side == 1:
                    row = min(y + 1, height - 1)
                elif side == 2:
                    row, column = y, max(x - 1, 0)
                elif side == 3:
                    row, column = y, min(x + 1, width - 1)
                weight = _REGULARIZATION + abs(front - opacity[row, column])
                weights += weight
                f0 += weight * colours[row, column, 0]
                f1 += weight * colours[row, column, 1]
                f2 += weight * colours[row, column, 2]
                b0 += weight * colours[row, column, 3]
                b1 += weight * colours[row, column, 4]
                b2 += weight * colours[row, column, 5]
            both, front_too, back_too = front * back, front * front + weights, back * back + weights
            scale = one / (front_too * back_too - both * both)
            for channel, f_n, b_n in ((0, f0, b0), (1, f1, b1), (2, f2, b2)):
                light = photo[y, x, channel]
                f, b = f_n + front * light, b_n + back * light
                colours[y, x, channel] = min(max(scale * (back_too * f - both * b), zero), one)
                colours[y, x, 3 + channel] = min(max(scale * (front_too * b - both * f), zero), one)


@compiled(float32[:, :, ::1](_IMAGE, _ALPHA, _NEEDED, _SIZES))
def separate(image: Array, alpha: Array, needed: Bools, sizes: NDArray[np.int64]) -> Floats:
    """Return F and B (H, W, 6) float32 in [0, 1] of an image (H, W, 3) with alpha (H, W), at the `needed` pixels.

    `sizes` (L, 2) are the heights and widths of the levels, the last of them H and W. Colours start as the means of
    sure foreground and background; each level starts from the one before and fits the photo and the neighbours. Only
    pixels that a needed one depends on are computed, the rest of F and B is undefined.
    """
    solved = _solved(needed, sizes)
    colours = _mean_colours(image, alpha)
    for level in range(len(sizes)):
        shown = _with_neighbours(solved[level])
        colours = _enlarged(colours, shown)
        photo, opacity = _sampled(image, alpha, shown)
        small = max(solved[level].shape) <= _SMALL
        for _ in range(_SMALL_SWEEPS if small else _SWEEPS):
            _sweep(photo, opacity, solved[level], colours)
    return colours
