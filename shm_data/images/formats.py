"""Which picture formats are read, by extension and by content, and which are known but not read."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  # two of them register formats

try:
    from PIL import AvifImagePlugin

    _AVIF = AvifImagePlugin.SUPPORTED
except ImportError:  # Pillow before 11.3
    _AVIF = False

Image.preinit()  # registers BMP, GIF, JPEG, PNG and PPM

# HEIC, the format of phones, needs the extra `heif`; AVIF a Pillow that was built with it.
_HEIF = importlib.util.find_spec("pillow_heif") is not None
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

# The formats that are read. Pillow knows more, of which some start other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", *["AVIF"] * _AVIF, *["HEIF"] * _HEIF)

EXTENSIONS = frozenset(
    [
        *".bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split(),
        *[".avif"] * _AVIF,
        *[".heic", ".heif"] * _HEIF,
    ]
)

# Extensions of pictures that are not read: newer formats, those of programs, and the raw files of cameras.
_UNREAD = """
    .3fr .arw .avif .cr2 .cr3 .dng .erf .exr .hdr .heic .heif .hif .j2c .j2k .jp2 .jpf .jpx .jxl .mrw .nef .nrw .orf
    .pef .psb .psd .raf .raw .rw2 .sr2 .srf .srw .svg .tga .x3f .xcf
"""
UNREAD_EXTENSIONS = frozenset(_UNREAD.split()) - EXTENSIONS


def plugins(start: bytes) -> Sequence[Callable[[BinaryIO, str], Image.Image]]:
    """Return what may open a file that starts with these 16 bytes."""
    if _HEIF and start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        from pillow_heif.as_plugin import HeifImageFile  # noqa: PLC0415  # an extra

        return [HeifImageFile]
    found = []
    for kind in FORMATS:
        factory, accepts = Image.OPEN.get(kind, (None, None))
        if factory is not None and (accepts is None or accepts(start) is True):
            found.append(factory)
    return found
