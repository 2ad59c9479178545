"""What picture files tell by their bytes and tags alone: faults that decoders pass over, and their kind."""

import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

# The chunks of a PNG in which programs keep EXIF.
_DESCRIPTIONS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")

# Any marker of JPEG but those within a scan, in which the end marker's two bytes do not occur.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START, _SCAN, _END = b"\xff\xd8", b"\xda", b"\xff\xd9"
# What tells the size: C0 to CF without those that bring tables.
_FRAMES = [bytes((0xC0 + kind,)) for kind in range(16) if kind not in (4, 8, 12)]

# Eight bytes of ones, as a scan holds them: decoders look so far ahead, and no code is all ones.
_ONES = b"\xff\x00" * 8
# Bits that are no flat gray, also behind each of the marks that a scan may be divided by.
_NOISE = b"".join(mark + bytes(range(1, 255, 2)) for mark in (b"", *(bytes((0xFF, 0xD0 + n)) for n in range(8))))

_SIZES_OF_JPEG2000 = b"\xff\x4f\xff\x51"
_PIXELS_OF_JPEG2000 = b"\xff\x93"

_BITS, _PHOTOMETRIC, _PLANES, _EXTRA, _SAMPLE_FORMAT = 258, 262, 284, 338, 339


def check_png(file: BinaryIO) -> None:
    """Raises ValueError where a chunk of a PNG does not fit its checksum, or the last one is missing.

    Decoders leave the checksums of pixels aside, and stop as soon as they have enough.
    """
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it is cut short")
        length, kind = struct.unpack(">I4s", head)
        data, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:
            raise ValueError("it is cut short")
        if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(checksum):
            raise ValueError("it does not fit its checksums")


def is_described_late(file: BinaryIO) -> bool:
    """Whether a PNG has chunks behind its pixels that may tell how it is turned."""
    file.seek(8)
    behind = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if behind and kind in _DESCRIPTIONS:
            return True
        behind |= kind == b"IDAT"
        file.seek(length + 4, os.SEEK_CUR)
    return False


def _segments(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kinds of a JPEG's segments, and where each begins behind its marker; guesses behind the first scan."""
    place = 2
    while marker := _MARKER.search(data, place):
        yield marker[1], marker.end()
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])


def channels_of_jpeg(data: bytes) -> int:
    """How many channels a JPEG has, 1, 3 or 4; 0 where it is none."""
    segments = _segments(data) if data.startswith(_START) else ()
    place = next((place for kind, place in segments if kind in _FRAMES), len(data))
    return int.from_bytes(data[place + 7 : place + 8])


def end_of_jpeg(data: bytes) -> int:
    """Where the end marker of a JPEG's first picture is. Raises ValueError where there is none.

    A file whose last part was never written holds zeros there, which decode as pixels.
    """
    scan = next((place for kind, place in _segments(data) if kind == _SCAN), len(data))
    end = data.find(_END, scan)
    if end < 0:
        raise ValueError("it is cut short")
    return end


def without_end(data: bytes) -> bytes:
    """A JPEG without its end marker, which makes decoders fill up with gray what is missing before it.

    So this decodes only if no more than the last block or two is missing; a progressive one never does.
    """
    return data[: end_of_jpeg(data)] + _ONES


def with_noise(data: bytes) -> bytes:
    """A JPEG with more bits behind its last: the same picture, unless decoders need them."""
    end = end_of_jpeg(data)
    return data[:end] + _NOISE + data[end:]


def check_jpeg2000(data: bytes) -> None:
    """Raises ValueError where the end marker is missing, or the depth is none that OpenCV tells truly."""
    if _END not in data[data.find(_PIXELS_OF_JPEG2000) :]:
        raise ValueError("it is cut short")
    sizes = data[data.find(_SIZES_OF_JPEG2000) + 4 :][:16422]
    depths = {depth + 1 for depth in sizes[38::3][: int.from_bytes(sizes[36:38])]}
    if not depths <= {8, 16}:
        raise ValueError(f"it has {_some(depths)} bits a channel, expected 8 or 16")


def check_tiff(tags: Mapping[int, Any]) -> None:
    """Raises ValueError for the kinds of TIFF that decoders read, but not for what they hold."""
    depths = set(tags.get(_BITS, (1,)))
    if not set(tags.get(_SAMPLE_FORMAT, (1,))) <= {1, 4}:
        raise ValueError("it has floating-point or signed pixels, expected 8 or 16 unsigned bits a channel")
    if not depths <= {1, 2, 4, 8, 16}:
        raise ValueError(f"it has {_some(depths)} bits a channel, expected 8 or 16")
    odd = {
        "with white as 0": tags.get(_PHOTOMETRIC) == 0,
        "of CMYK": tags.get(_PHOTOMETRIC) == 5,
        "in separate planes": tags.get(_PLANES) == 2 and len(tags.get(_BITS, (1,))) > 1,
        "with premultiplied colours": 1 in tags.get(_EXTRA, ()),
    }
    if 16 in depths and any(odd.values()):
        kinds = " and ".join(kind for kind, is_it in odd.items() if is_it)
        raise ValueError(f"it has 16 bits a channel {kinds}, expected 8 bits, or plain gray, RGB or straight RGBA")


def _some(depths: set[int]) -> str:
    return " and ".join(map(str, sorted(depths)))
