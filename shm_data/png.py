"""Encodes PNG: rows filtered in bands that stay in the cache, then deflated by ISA-L."""

import struct

import numpy as np

from shm_data.arrays import Array

try:
    from isal import isal_zlib as deflate
except ImportError:  # a machine that ISA-L is not built for: the same pixels, some times slower
    import zlib as deflate  # type: ignore[no-redef]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # channels -> gray, RGB, RGBA

# Of the five filters of PNG the one that suits photographs best: what is left of a value without the mean of
# its left and upper neighbours.
_AVERAGE = 3

# Bytes of a band: with its neighbours and the scratch it stays in a core's own cache.
_BAND = 1 << 18

# Higher levels of ISA-L are hardly smaller on filtered photographs.
_LEVEL = 1


def encode(pixels: Array) -> bytes:
    """A PNG file of (H, W) uint8 gray, (H, W, 3) uint8 RGB or (H, W, 4) uint8 RGBA."""
    height, width = pixels.shape[:2]
    channels = pixels.size // (height * width)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = _filtered(np.ascontiguousarray(pixels).reshape(height, width * channels), channels)
    data = deflate.compress(rows, _LEVEL)
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", data), *_chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    checksum = deflate.crc32(data, deflate.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)


def _filtered(rows: Array, step: int) -> Array:
    """Rows (H, N) uint8 as (H, 1 + N): a byte that names the filter, then each value minus, modulo 256, the mean,
    rounded down, of the values `step` before it and above it, which count as 0 beyond the picture's edge.

    The mean of two bytes, without a ninth bit, is (a & b) + ((a ^ b) >> 1).
    """
    height, length = rows.shape
    filtered = np.empty((height, 1 + length), np.uint8)
    filtered[:, 0] = _AVERAGE
    filtered[0, 1 : 1 + step] = rows[0, :step]
    filtered[0, 1 + step :] = rows[0, step:] - (rows[0, :-step] >> 1)
    band = max(1, _BAND // length)
    means, common = np.empty((2, band, length - step), np.uint8)
    for top in range(1, height, band):
        here, above = rows[top : top + band], rows[top - 1 : top - 1 + band][: height - top]
        left, up = here[:, :-step], above[:, step:]
        mean, both = means[: len(here)], common[: len(here)]
        np.bitwise_xor(left, up, out=mean)
        np.right_shift(mean, 1, out=mean)
        np.bitwise_and(left, up, out=both)
        np.add(mean, both, out=mean)
        out = filtered[top : top + band, 1:]
        np.subtract(here[:, :step], above[:, :step] >> 1, out=out[:, :step])
        np.subtract(here[:, step:], mean, out=out[:, step:])
    return filtered
