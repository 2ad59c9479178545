"""Picture files -> pixels as they are stored, upright, of 8 bits. Broken and huge files are told in a sentence."""

import contextlib
import io
import math
import stat
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shm_data.errors import MACHINE, ShmDataError
from shm_data.images import integrity
from shm_data.pixels.arrays import Array

# A picture may have so many pixels: half a GiB of RGB, and more than any camera of today takes at once.
# A small file can claim far more. Pillow would refuse the same number, but not say which size it found, and warn
# from half of it on; OpenCV allows six times as much.
MOST_PIXELS = 2**29 // 3
Image.MAX_IMAGE_PIXELS = None

# The formats behind the extensions. Pillow knows more, of which some start other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_JPEG = ("JPEG", "MPO")  # what many cameras write: a JPEG, and smaller ones behind it

# What Pillow raises for files that are broken, cut short, or no pictures at all.
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, OverflowError, MemoryError, struct.error, cv2.error),
)

# Both decoders report on broken files and metadata to the terminal, but do not name them. We do.
warnings.filterwarnings("ignore", module=r"PIL\.")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# EXIF orientation -> what makes the stored array upright.
_UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture file that is in memory, and what it is called where something is wrong with it."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """The file, to be read."""
        del mode
        return io.BytesIO(self.data)

    def read_bytes(self) -> bytes:
        """All of it."""
        return self.data


File = Path | Encoded


def read_size(path: Path) -> tuple[int, int]:
    """A picture's width and height, upright, without its pixels.

    Raises ShmDataError where it is no picture, or has more than MOST_PIXELS.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _is_on_its_side(path, image) else (width, height)


def is_lossy(path: Path) -> bool:
    """Whether a picture's pixels went through lossy compression. Raises ShmDataError where it is no picture."""
    with _opened(path) as image:
        if image.format != "WEBP":
            return image.format in (*_JPEG, "JPEG2000")
    with path.open("rb") as file:
        return b"VP8L" not in file.read(64)  # the first chunk of one without loss


def read_channels(path: File) -> Array:
    """A picture as (H, W, C) uint8: gray, gray + A, RGB or RGBA, upright. Raises ShmDataError where it is broken."""
    with _opened(path) as image:
        _check(path, image)
        # First the pixels: asking for the orientation may load the picture, which then forgets its depth.
        if image.format in _JPEG:
            pixels = _read_by_pillow(path, _whole_jpeg(path.read_bytes(), image))
        else:
            pixels = _read_by_opencv(path) if _beyond_pillow(image) else _read_by_pillow(path, image)
        orientation = _orientation(image)
    return _upright(pixels, orientation)


def read_image(path: File) -> Array:
    """Reads a photo as (H, W, 3) uint8 RGB. Gray, palette, CMYK and 16-bit pictures are converted, A is dropped.

    Raises ShmDataError where the file is missing, broken or no picture.
    """
    return _colours(read_channels(path))


def read_reduced(path: Path, by: int) -> tuple[Array, int]:
    """Reads a photo that was found whole before, as `read_image` does; of a JPEG at 1/`by` of its size, rounded up.

    OpenCV's decoder is faster than Pillow's, more so where it may leave out the higher frequencies; `by` is 1, 2, 4
    or 8. Gives the pixels, and by how much they really are reduced.
    """
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # what is wrong is told below
    if integrity.channels_of_jpeg(data) not in (1, 3):
        return read_image(path), 1
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[by])
    if pixels is None:
        raise ShmDataError("cannot be read", path=path, found="pixels that do not decode", expected="a whole picture")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), by


def _upright(pixels: NDArray[np.generic], orientation: int) -> Array:
    """Pixels (H, W) or (H, W, C) of 8 or 16 bits as (H, W, C) uint8, turned."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return _to_bytes(_UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels)


def _colours(pixels: Array) -> Array:
    """Of (H, W, C) the colours (H, W, 3)."""
    colours = pixels[..., :1] if pixels.shape[2] < 3 else pixels[..., :3]
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


@contextlib.contextmanager
def _opened(path: File) -> Iterator[Image.Image]:
    """A picture that is a file of a known format and an allowed size. What is wrong with it names the file."""
    try:
        # Opening a pipe would wait for a writer.
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
            found = "a folder" if path.is_dir() else "a pipe or a device"
            raise ShmDataError("cannot be read", path=path, found=found, expected="a picture file")
        with Image.open(path if isinstance(path, Path) else path.open("rb"), formats=_FORMATS) as image:
            _refuse_huge(path, *image.size)
            yield image
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in MACHINE:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise _unreadable(path, error) from error


def _refuse_huge(path: File, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        megapixels = math.ceil(width * height / 1e5) / 10
        raise ShmDataError(
            "cannot be read",
            path=path,
            found=f"{width}x{height} = {megapixels:g} megapixels",
            expected=f"at most {MOST_PIXELS / 1e6:.1f}",
        )


def _check(path: File, image: Image.Image) -> None:
    """Raises ValueError for faults that the decoders would pass over."""
    if image.format == "PNG":
        with path.open("rb") as file:
            integrity.check_png(file)
    elif image.format == "TIFF":
        integrity.check_tiff(getattr(image, "tag_v2"))  # noqa: B009
    elif image.format == "JPEG2000":
        integrity.check_jpeg2000(path.read_bytes())


def _whole_jpeg(data: bytes, image: Image.Image) -> Image.Image:
    """The picture in a JPEG file, decoded. Raises ValueError where the decoder would fill it up with gray."""
    if "progressive" not in image.info:
        # Decodes a whole file, and no faster one would tell. Nor need every Pillow go without an end marker.
        with contextlib.suppress(OSError):
            return _decoded(integrity.without_end(data))
    decoded = _decoded(data)
    if decoded != _decoded(integrity.with_noise(data)):
        raise ValueError("it is cut short, and ends as if it were whole")
    return decoded


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    return image


def _read_by_pillow(path: File, image: Image.Image) -> NDArray[np.generic]:
    """Pillow's pixels in the narrowest of L, LA, RGB, RGBA that holds them, or 16-bit gray."""
    if image.mode in ("F", "I"):
        raise ShmDataError(path=path, found="floating-point or 32-bit pixels", expected="8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image.convert("RGBA" if _has_alpha(image) else "RGB"))
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image)


def _beyond_pillow(image: Image.Image) -> bool:
    """Whether Pillow would keep but the upper 8 of 16 bits, or garble the picture (a TIFF turned on its side).

    Of a JPEG 2000 it tells no depth, and takes one without pixels for black.
    """
    if image.format == "JPEG2000":
        return True
    deep = ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I;16")
    return deep or (image.format == "TIFF" and image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE)


def _read_by_opencv(path: File) -> NDArray[np.generic]:
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ShmDataError("cannot be read", path=path, found="pixels that do not decode", expected="a whole picture")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _to_bytes(pixels: NDArray[np.generic]) -> Array:
    """16 bits to 8, rounded to nearest: 65535 becomes 255."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _is_on_its_side(path: Path, image: Image.Image) -> bool:
    """Whether a picture of which no pixels are read yet is to be turned by a quarter."""
    if image.format == "PNG":
        with path.open("rb") as file:
            if not integrity.is_described_late(file):  # or Pillow would read all pixels to look behind them
                return Image.Image.getexif(image).get(_ORIENTATION) in _ON_ITS_SIDE
    return _orientation(image) in _ON_ITS_SIDE


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation still to be applied: TIFF decoders turn the picture themselves."""
    told = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
    return told if told in _UPRIGHT else 1


def _unreadable(path: File, error: BaseException) -> ShmDataError:
    if isinstance(error, FileNotFoundError):
        return ShmDataError("does not exist", path=path)
    if isinstance(error, UnidentifiedImageError):
        kinds = ", ".join(_FORMATS)
        return ShmDataError(
            "cannot be read as a picture", path=path, found="a broken or unknown file", expected=f"one of {kinds}"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ShmDataError(f"cannot be read as a picture ({reason or type(error).__name__})", path=path)
