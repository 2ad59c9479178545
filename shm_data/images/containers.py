"""The parts of PNG and WebP files: pixels and metadata are taken apart, so that broken metadata does no harm."""

import contextlib
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from isal.isal_zlib import crc32
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# The chunks of a PNG that decide about its pixels. All others are for people and programs.
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

# The keyword of the text in an estimated matte.
_ESTIMATE = b"Alpha estimated by shm-data"

# The bytes up to the end of the first chunk, IHDR.
_HEADER = len(_SIGNATURE) + 25

# No text or profile that matters is longer, once unpacked.
_LONGEST_TEXT = 2**24

_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

_RIFF_HEADER = struct.Struct("<4sI4s")
_PIXELS_OF_WEBP = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_ALPHA_AND_ANIMATION = 0b00010010  # bits of VP8X; the others announce metadata


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says about its pixels; each is empty where it says nothing.

    `estimate` is the text of a matte that shm-data estimated, see `marked`.
    """

    exif: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    frames: int = 1
    estimate: bytes = b""

    @property
    def orientation(self) -> int:
        """How the pixels are turned, 1 to 8, by EXIF or else by XMP; 1 where both are missing or broken."""
        exif = Image.Exif()
        with contextlib.suppress(Exception):  # whatever is wrong with it, the pixels are whole
            exif.load(self.exif)
            if (turn := exif.get(_ORIENTATION)) is not None:
                return int(turn) if turn in range(1, 9) else 1
        found = _XMP_ORIENTATION.search(self.xmp)
        return int(found[1]) if found and int(found[1]) in range(1, 9) else 1


def is_png(file: BinaryIO) -> bool:
    """Return whether a file begins as a PNG."""
    file.seek(0)
    return file.read(8) == _SIGNATURE


def is_webp(file: BinaryIO) -> bool:
    """Return whether a file begins as a WebP; leaves it at its start."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def bare_png(file: BinaryIO, *, pixels: bool) -> tuple[bytes, Metadata]:
    """Return a PNG with the chunks that decide about its pixels alone, and its metadata.

    Without `pixels` it has the header only, and nothing is checked. Raises ValueError where such a chunk does not fit
    its checksum or the last one is missing: decoders ignore the checksums, and stop as soon as they have enough.
    Other chunks that are broken are skipped.
    """
    parts: list[bytes] = [_SIGNATURE]
    found: dict[str, Any] = {}
    for kind, data, is_whole in _png_chunks(file, pixels=pixels):
        if kind in _PIXEL_CHUNKS or not kind.isalpha():
            if pixels and not is_whole:
                raise ValueError("it does not fit its checksums")
            parts.append(struct.pack(">I", len(data)) + kind + data + crc32(data, crc32(kind)).to_bytes(4))
        elif is_whole:
            found |= _described(kind, data)
        if kind == b"IEND":
            return b"".join(parts), Metadata(**found)
    if pixels:
        raise ValueError("it is cut short")
    return b"".join(parts), Metadata(**found)


def _png_chunks(file: BinaryIO, *, pixels: bool) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield kind, data, and whether they fit the checksum; without `pixels` IDAT comes empty."""
    file.seek(len(_SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT" and not pixels:
            file.seek(length + 4, os.SEEK_CUR)
            yield kind, b"", True
            continue
        data, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:
            return
        yield kind, data, crc32(data, crc32(kind)) == int.from_bytes(checksum)


def _described(kind: bytes, data: bytes) -> dict[str, Any]:
    """Return what a chunk of metadata says, by the names of `Metadata`; nothing where it is broken."""
    name, _, rest = data.partition(b"\0")
    with contextlib.suppress(zlib.error, ValueError):
        if kind in (b"acTL", b"eXIf"):
            return {"frames": int.from_bytes(data[:4])} if kind == b"acTL" else {"exif": data}
        if kind == b"iCCP":
            return {"profile": _inflated(rest[1:])}
        text = rest if kind == b"tEXt" else _inflated(rest[1:]) if kind == b"zTXt" else b""
        if kind == b"tEXt" and name == _ESTIMATE:
            return {"estimate": text}
        if text and name == b"Raw profile type exif":  # as ImageMagick writes it: name, length, hexadecimal digits
            return {"exif": bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))}
        if kind == b"iTXt" and name == b"XML:com.adobe.xmp":
            text = rest.split(b"\0", 4)[-1]  # flag of compression, method, language and translated name come before
            return {"xmp": _inflated(text) if rest[:1] == b"\1" else text}
    return {}


def marked(png: bytes | memoryview, text: str) -> bytes:
    """Return a PNG file with a text behind its header which says that its pixels are an estimated alpha."""
    kind, data = b"tEXt", _ESTIMATE + b"\0" + text.encode("latin-1")
    chunk = struct.pack(">I", len(data)) + kind + data + crc32(data, crc32(kind)).to_bytes(4)
    return b"".join((png[:_HEADER], chunk, png[_HEADER:]))


def _inflated(data: bytes) -> bytes:
    """Return deflated data. Raises ValueError where it is too long to be worth it."""
    packer = zlib.decompressobj()
    text = packer.decompress(data, _LONGEST_TEXT)
    if packer.unconsumed_tail:
        raise ValueError("too long")
    return text


def bare_webp(data: bytes) -> tuple[bytes, Metadata]:
    """Return a WebP without its metadata, and these. Raises ValueError where its end is missing."""
    _, length, _ = _RIFF_HEADER.unpack(data[: _RIFF_HEADER.size])
    if len(data) < length + 8:
        raise ValueError("it is cut short")
    kept: list[bytes] = []
    found: dict[str, Any] = {"frames": 0}
    for kind, body in _riff_chunks(data[12 : length + 8]):
        if kind == b"VP8X" and body:
            body = bytes([body[0] & _ALPHA_AND_ANIMATION]) + body[1:]  # noqa: PLW2901
        found["frames"] += kind == b"ANMF"
        if kind in _PIXELS_OF_WEBP:
            kept.append(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2))
        elif kind in (b"EXIF", b"XMP ", b"ICCP"):
            found[{b"EXIF": "exif", b"XMP ": "xmp", b"ICCP": "profile"}[kind]] = body
    chunks = b"".join(kept)
    return _RIFF_HEADER.pack(b"RIFF", 4 + len(chunks), b"WEBP") + chunks, Metadata(**found)


def is_lossless_webp(data: bytes) -> bool:
    """Return whether all pixels of a WebP are stored without loss, in VP8L, also those of further frames."""
    kinds = set()
    for kind, body in _riff_chunks(data[12:]):
        kinds.add(kind)
        if kind == b"ANMF":
            kinds |= {inner for inner, _ in _riff_chunks(body[16:])}
    return b"VP8L" in kinds and b"VP8 " not in kinds


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kinds and bodies of RIFF chunks, each of which is padded to an even length."""
    file = io.BytesIO(data)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        yield kind, file.read(length + length % 2)[:length]
