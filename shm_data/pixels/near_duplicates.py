"""Finds nearly the same foreground in another file by a perceptual hash that ignores the background."""

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize

Indices = NDArray[np.int64]

# The low frequencies of a small picture, 16 x 16 without the mean: 255 bits, each a sign. Half of the bits of
# different people differ, with the standard deviation of fair coins (0.03): of 1891 pairs, drawn people included, at
# least 0.34 do, however cropped or mirrored. Of copies at a third of the size, saved as JPEG, or on another
# background, up to 0.15 do.
_SIDE = 16
ALIKE = 0.2

# What may have been cropped at the bottom and at both sides, as shares of the foreground: people touch the border of
# their photo there, so the bounding box moves with the crop.
_CUTS = ((0.0, 0.0), (0.03, 0.0), (0.06, 0.0), (0.03, 0.03), (0.06, 0.06))

# The share of alpha beyond each side of the frame: a stray pixel must not move it.
_OUTSIDE = 0.005

# 21 bands of 12 bits: copies agree in at least one as a rule (78 % at the greatest distance, nearly all at half of
# it), and only one of 200 others is looked at.
_BANDS, _WIDTH = 21, 12

# A picture with fewer frequencies above this amplitude is too plain: the signs of the others are noise.
_PLAIN, _NOISE = 48, 8

# Queries that are looked up at once: bounds the memory.
_AT_ONCE = 128

_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def perceptual_hashes(image: Array, alpha: Array) -> Array | None:
    """Return the hashes (10, 32) uint8 of a foreground: whole, cropped in four ways, and each mirrored.

    `image` is (H, W, 3) uint8, `alpha` (H, W) uint8. The foreground is hashed in gray over gray, within its bounding
    box, so that neither background nor scale matters. None where alpha is empty, or the foreground so plain that
    the signs would be noise.
    """
    if not alpha.any():
        return None
    rows, columns = _frame(alpha, 1), _frame(alpha, 0)
    gray = cv2.cvtColor(np.ascontiguousarray(image[rows, columns]), cv2.COLOR_RGB2GRAY).astype(np.int32)
    shown = ((gray - 128) * alpha[rows, columns] // 255 + 128).astype(np.uint8)
    small = resize(shown, (8 * _SIDE, 8 * _SIDE))
    if _is_plain(small):
        return None
    return np.stack([_hash(_cut(turned, *cut)) for turned in (small, small[:, ::-1]) for cut in _CUTS])


def hashes_of_photo(image: Array) -> Array | None:
    """Return the hashes (10, 32) uint8 of a whole photo (H, W, 3) uint8; None where it is too plain."""
    return perceptual_hashes(image, np.full(image.shape[:2], 255, np.uint8))


def near_duplicate_pairs(hashes: Array) -> list[tuple[int, int]]:
    """Return the sorted pairs of indices, the smaller first, of `hashes` (N, 10, 32) uint8 that are alike."""
    found = (np.sort(np.stack([ones, others], axis=1)) for ones, others, _ in _near(hashes, hashes))
    return sorted({(int(one), int(other)) for pairs in found for one, other in pairs if one != other})


def near_duplicates(ones: Array, others: Array) -> list[tuple[int, int, float]]:
    """Return the nearest of `ones` (N, 10, 32) uint8 for each of `others` (M, 10, 32) uint8 that is like any of them.

    A match is the index in `ones`, the index in `others` and the distance: the share of bits that differ, at most
    ALIKE. Only pairs that share a band of bits are compared: the work grows far slower than N times M.
    """
    nearest = np.full(len(others), np.inf)
    partner = np.zeros(len(others), np.int64)
    found = itertools.chain(
        ((one, other, distance) for other, one, distance in _near(others, ones)), _near(ones, others)
    )
    for one, other, distance in found:
        better = np.flatnonzero(distance < nearest[other])
        last_is_least = better[np.argsort(-distance[better], kind="stable")]
        nearest[other[last_is_least]] = distance[last_is_least]
        partner[other[last_is_least]] = one[last_is_least]
    alike = np.flatnonzero(np.isfinite(nearest))
    return [(int(partner[index]), int(index), float(nearest[index])) for index in alike]


def _frame(alpha: Array, axis: int) -> slice:
    """Return the rows (axis 1) or columns (axis 0) of the foreground, without stray pixels."""
    grown = np.cumsum(alpha.sum(axis=axis, dtype=np.int64))
    first, last = np.searchsorted(grown, [_OUTSIDE * grown[-1], (1 - _OUTSIDE) * grown[-1]])
    return slice(int(first), int(last) + 1)


def _is_plain(small: Array) -> bool:
    """Return whether a picture has too little detail for a hash: gradients have up to 32 frequencies, photos 114."""
    frequencies = cv2.dct(resize(small, (4 * _SIDE, 4 * _SIDE)).astype(np.float32))[:_SIDE, :_SIDE]
    return bool(np.count_nonzero(np.abs(frequencies.ravel()[1:]) > _NOISE) < _PLAIN)


def _cut(small: Array, bottom: float, sides: float) -> Array:
    side = small.shape[0]
    left = round(side * sides)
    return resize(small[: side - round(side * bottom), left : side - left], (4 * _SIDE, 4 * _SIDE))


def _hash(small: Array) -> Array:
    """Return the signs of the lowest frequencies of a picture (64, 64) uint8 in 32 bytes; that of the mean is 0."""
    signs = cv2.dct(small.astype(np.float32))[:_SIDE, :_SIDE].ravel() > 0
    signs[0] = False
    return np.packbits(signs)


def _near(queries: Array, whole: Array) -> Iterator[tuple[Indices, Indices, NDArray[np.float64]]]:
    """Yield which of `queries` (N, R, 32) have a row like the first row of one of `whole` (M, R, 32), and how far."""
    first_rows = np.ascontiguousarray(whole[:, 0])
    keys = _bands(first_rows)
    order = np.argsort(keys, axis=0, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=0)
    number, rows, size = queries.shape
    flat = queries.reshape(number * rows, size)
    for begin in range(0, len(flat), _AT_ONCE):
        some = flat[begin : begin + _AT_ONCE]
        for band, expected in enumerate(_bands(some).T):
            first, last = (np.searchsorted(ordered[:, band], expected, side) for side in ("left", "right"))
            query = np.repeat(np.arange(len(some)), last - first)
            index = order[_ranges(first, last), band]
            distance = _ONES[some[query] ^ first_rows[index]].sum(axis=1) / (_SIDE * _SIDE - 1)
            alike = distance <= ALIKE
            yield (begin + query[alike]) // rows, index[alike], distance[alike]


def _bands(hashes: Array) -> Indices:
    """Return the bands (N, 21) of hashes (N, 32) uint8 as numbers, without the bit of the mean."""
    bits = np.unpackbits(hashes, axis=1)[:, 1 : 1 + _BANDS * _WIDTH]
    bands: Indices = bits.reshape(-1, _BANDS, _WIDTH).astype(np.int64) @ (1 << np.arange(_WIDTH))
    return bands


def _ranges(first: Indices, last: Indices) -> Indices:
    """Return the numbers first[0] .. last[0] - 1, first[1] .. last[1] - 1, and so on."""
    counts = last - first
    indices: Indices = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return indices
