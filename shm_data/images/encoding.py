"""Writes pixels as picture files, whole or absent."""

import io
import struct
import zlib
from pathlib import Path

import cv2
from PIL import Image

from shm_data.errors import ShmDataError
from shm_data.files import write_bytes
from shm_data.images.containers import marked
from shm_data.pixels.arrays import Array

# The length of a PNG file up to the end of its first chunk.
_END_OF_HEADER = 33


def encode(pixels: Array, extension: str = ".png", quality: int = 95) -> bytes | memoryview:
    """Return a picture file of (H, W, 3) uint8 RGB; PNG also of (H, W) gray, PNG and WebP also of (H, W, 4) RGBA.

    JPEG keeps its chroma at full resolution: halving it costs 4 dB where alpha is fractional. Raises ShmDataError
    where a side is too long for the format.
    """
    if extension == ".png":
        from shm_data.images import png  # noqa: PLC0415  # numba takes its time to load, and JPEG does without

        return png.encode(pixels)
    try:
        return _encode_jpeg(pixels, quality) if extension == ".jpg" else _encode_webp(pixels, quality)
    except (cv2.error, ValueError) as error:
        size = f"{pixels.shape[1]}x{pixels.shape[0]} pixels"
        raise ShmDataError(f"cannot encode as {extension}", found=size, expected="fewer, or PNG") from error


def encode_indexed(indices: Array, colours: Array) -> bytes:
    """Return a PNG file of indices (H, W) uint8 into colours (N, 4) uint8 RGBA."""
    from shm_data.images import png  # noqa: PLC0415

    return png.encode_indexed(indices, colours)


def with_comment(file: bytes | memoryview, text: bytes) -> bytes:
    """Return a PNG file with a comment near its beginning."""
    chunk = b"tEXt" + b"Comment\0" + text
    comment = struct.pack(">I", len(chunk) - 4) + chunk + zlib.crc32(chunk).to_bytes(4)
    return bytes(file[:_END_OF_HEADER]) + comment + bytes(file[_END_OF_HEADER:])


def _encode_jpeg(pixels: Array, quality: int) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    parameters += [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError("too long a side")
    return data.tobytes()


def _encode_webp(pixels: Array, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=0)  # 0: many times as fast as the default
    return file.getvalue()


def write_png(path: Path, pixels: Array, *, estimate: str = "") -> None:
    """Write uint8 RGB, RGBA or gray pixels as PNG, whole or not at all. Raises WriteError.

    An alpha that is an `estimate` is marked with that text, which `read_estimate` returns.
    """
    data = encode(pixels)
    write_bytes(path, marked(data, estimate) if estimate else data)


def write_jpeg(path: Path, pixels: Array, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG, whole or not at all. Raises WriteError."""
    write_bytes(path, encode(pixels, ".jpg", quality))
