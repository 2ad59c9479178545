"""Nearly the same foreground in another file: found by a perceptual hash, whatever it stands before."""

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize

Places = NDArray[np.int64]

# The low frequencies of a small picture, 16 x 16 without the mean: 255 bits, each a sign. Of different people half
# of the bits differ, with the spread of thrown coins (0.03): of 1891 pairs, drawn ones included, at least 0.34 do,
# however cut or mirrored. Of copies that were scaled to a third, saved as JPEG, or put before something else, up to
# 0.15 do.
_SIDE = 16
ALIKE = 0.2

# What may have been cut off at the bottom and at both sides, as shares of the foreground: photos are cut where people
# touch their border, and a foreground's frame moves with it.
_CUTS = ((0.0, 0.0), (0.03, 0.0), (0.06, 0.0), (0.03, 0.03), (0.06, 0.06))

# The share of alpha beyond each side of the frame: a stray pixel must not move it.
_OUTSIDE = 0.005

# 21 bands of 12 bits: copies agree in at least one as a rule (78 % at the greatest distance, nearly all at half of
# it), and only one of 200 others is looked at.
_BANDS, _WIDTH = 21, 12

# Queries that are looked up at once: bounds the memory.
_AT_ONCE = 128

_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def perceptual_hashes(image: Array, alpha: Array) -> Array | None:
    """The hashes (10, 32) uint8 of a foreground: the whole, cut in four ways, and each mirrored.

    `image` is (H, W, 3) uint8, `alpha` (H, W) uint8. Hashed are the shades of gray over gray, within the frame of
    the foreground, so that neither background nor scale matters. None where alpha is blank.
    """
    if not alpha.any():
        return None
    rows, columns = _frame(alpha, 1), _frame(alpha, 0)
    gray = cv2.cvtColor(np.ascontiguousarray(image[rows, columns]), cv2.COLOR_RGB2GRAY).astype(np.int32)
    shown = ((gray - 128) * alpha[rows, columns] // 255 + 128).astype(np.uint8)
    small = resize(shown, (8 * _SIDE, 8 * _SIDE))
    return np.stack([_hash(_cut(turned, *cut)) for turned in (small, small[:, ::-1]) for cut in _CUTS])


def near_duplicates(ones: Array, others: Array) -> list[tuple[int, int, float]]:
    """For each of `others` (M, 10, 32) uint8 that is like some of `ones` (N, 10, 32) uint8: which is most, and how.

    Told are the place in `ones`, the place in `others` and the distance, the share of bits that differ, at most
    ALIKE. Not all pairs are compared, but those which share a band of bits: the work grows far slower than N times M.
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
    return [(int(partner[place]), int(place), float(nearest[place])) for place in alike]


def _frame(alpha: Array, axis: int) -> slice:
    """The rows (axis 1) or columns (axis 0) that hold the foreground but for a stray pixel."""
    grown = np.cumsum(alpha.sum(axis=axis, dtype=np.int64))
    first, last = np.searchsorted(grown, [_OUTSIDE * grown[-1], (1 - _OUTSIDE) * grown[-1]])
    return slice(int(first), int(last) + 1)


def _cut(small: Array, bottom: float, sides: float) -> Array:
    side = small.shape[0]
    left = round(side * sides)
    return resize(small[: side - round(side * bottom), left : side - left], (4 * _SIDE, 4 * _SIDE))


def _hash(small: Array) -> Array:
    """The signs of the lowest frequencies of a picture (64, 64) uint8, packed into 32 bytes; the mean's is 0."""
    signs = cv2.dct(small.astype(np.float32))[:_SIDE, :_SIDE].ravel() > 0
    signs[0] = False
    return np.packbits(signs)


def _near(queries: Array, whole: Array) -> Iterator[tuple[Places, Places, NDArray[np.float64]]]:
    """Which of `queries` (N, R, 32) have a row like the first row of one of `whole` (M, R, 32), and the distances."""
    index = np.ascontiguousarray(whole[:, 0])
    keys = _bands(index)
    order = np.argsort(keys, axis=0, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=0)
    number, rows, size = queries.shape
    flat = queries.reshape(number * rows, size)
    for begin in range(0, len(flat), _AT_ONCE):
        some = flat[begin : begin + _AT_ONCE]
        for band, expected in enumerate(_bands(some).T):
            first, last = (np.searchsorted(ordered[:, band], expected, side) for side in ("left", "right"))
            query = np.repeat(np.arange(len(some)), last - first)
            place = order[_ranges(first, last), band]
            distance = _ONES[some[query] ^ index[place]].sum(axis=1) / (_SIDE * _SIDE - 1)
            alike = distance <= ALIKE
            yield (begin + query[alike]) // rows, place[alike], distance[alike]


def _bands(hashes: Array) -> Places:
    """The bands (N, 21) of hashes (N, 32) uint8 as numbers; the mean's bit is in none."""
    bits = np.unpackbits(hashes, axis=1)[:, 1 : 1 + _BANDS * _WIDTH]
    bands: Places = bits.reshape(-1, _BANDS, _WIDTH).astype(np.int64) @ (1 << np.arange(_WIDTH))
    return bands


def _ranges(first: Places, last: Places) -> Places:
    """The numbers first[0] .. last[0] - 1, first[1] .. last[1] - 1, and so on."""
    counts = last - first
    places: Places = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return places
