"""Faults that decoders pass over in silence, found by the bytes and tags of JPEG and TIFF files."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shm_data.errors import ShmDataError

# Any marker of JPEG but those within a scan, in which the end marker's two bytes do not occur.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START, _SCAN, _END = b"\xff\xd8", b"\xda", b"\xff\xd9"
# Segments with the size: C0 to CF without those that hold tables.
_FRAMES = [bytes((0xC0 + kind,)) for kind in range(16) if kind not in (4, 8, 12)]

# Eight bytes of ones, as a scan holds them: decoders look so far ahead, and no code is all ones.
_ONES = b"\xff\x00" * 8
# Bits that are no flat gray, also behind each of the marks that a scan may be divided by.
_NOISE = b"".join(mark + bytes(range(1, 255, 2)) for mark in (b"", *(bytes((0xFF, 0xD0 + n)) for n in range(8))))

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _SAMPLE_FORMAT = 258, 259, 262, 277, 284, 338, 339
_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate"}
_JPEG_IN_TIFF = (6, 7)
_PREMULTIPLIED = 1


def _segments(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the kinds of a JPEG's segments and where each begins; guesses behind the first scan."""
    position = 2
    while marker := _MARKER.search(data, position):
        yield marker[1], marker.end()
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])


def channels_of_jpeg(data: bytes) -> int:
    """Return how many channels a JPEG has, 1, 3 or 4; 0 where the data are no JPEG."""
    segments = _segments(data) if data.startswith(_START) else ()
    start = next((start for kind, start in segments if kind in _FRAMES), len(data))
    return int.from_bytes(data[start + 7 : start + 8])


def end_of_jpeg(data: bytes) -> int:
    """Return where the end marker of a JPEG's first picture is. Raises ValueError where there is none.

    A file whose last part was never written holds zeros there, which decode as pixels.
    """
    scan = next((start for kind, start in _segments(data) if kind == _SCAN), len(data))
    end = data.find(_END, scan)
    if end < 0:
        raise ValueError("it is cut short")
    return end


def without_end(data: bytes) -> bytes:
    """Return a JPEG without its end marker, so that decoders do not fill up with gray what is missing before it.

    So this decodes only if no more than the last block or two is missing; a progressive one never does.
    """
    return data[: end_of_jpeg(data)] + _ONES


def with_noise(data: bytes) -> bytes:
    """Return a JPEG with more bits behind its last: the same picture, unless decoders need them."""
    end = end_of_jpeg(data)
    return data[:end] + _NOISE + data[end:]


def is_jpeg_in_tiff(tags: Mapping[int, Any]) -> bool:
    """Return whether the pixels of a TIFF with these tags are compressed as JPEG."""
    return tags.get(_COMPRESSION) in _JPEG_IN_TIFF


def check_tiff(tags: Mapping[int, Any]) -> None:
    """Raise ShmDataError for the many kinds of TIFF that are neither plain gray nor RGB(A) of 8 or 16 bits.

    Decoders read some of them, but not for what they hold.
    """
    depths = sorted(set(tags.get(_BITS, (1,))))
    compression, samples = tags.get(_COMPRESSION, 1), tags.get(_SAMPLES, 1)
    faults = {
        f"{' and '.join(map(str, depths))} bits a channel": depths not in ([8], [16]),
        "signed or floating-point numbers": set(tags.get(_SAMPLE_FORMAT, (1,))) != {1},
        f"compression {compression}": compression not in _COMPRESSIONS,
        f"colours of kind {tags.get(_PHOTOMETRIC)}": tags.get(_PHOTOMETRIC) not in (1, 2, *[6] * (compression == 7)),
        f"{samples} channels": samples > 4,
        "separate planes": tags.get(_PLANES, 1) != 1 and samples > 1,
        "premultiplied colours": _PREMULTIPLIED in tags.get(_EXTRA, ()),
    }
    if found := [fault for fault, is_there in faults.items() if is_there]:
        expected = "plain gray or RGB(A) of 8 or 16 bits, not compressed or by LZW, deflate or JPEG"
        raise ShmDataError("is a TIFF that is not read", found=", ".join(found), expected=expected)
