"""Opens picture files with Pillow without changing its settings, which belong to the host process."""

import contextlib
import io
import math
import re
import stat
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import cv2
from PIL import Image, UnidentifiedImageError

from shm_data.errors import ShmDataError, as_machine_fault, is_machine_fault
from shm_data.host.settings import HostSetting, Restore
from shm_data.images import containers
from shm_data.images.containers import Metadata
from shm_data.images.formats import FORMATS, plugins

# The most pixels that a picture may have: half a GiB of RGB, more than any camera takes at once. A small file can
# claim far more. Pillow's own limit is global, and it does not say which size it found.
MAX_PIXELS = 2**29 // 3

# Of a page of a TIFF: bits for a smaller version of another page, and for its mask.
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101
_MOST_PAGES = 1000

# What Pillow and OpenCV raise for files that are broken, cut short, or no pictures at all.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, OverflowError, MemoryError, struct.error),
    *(Image.DecompressionBombError, cv2.error),
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture file in memory, and the name that errors give it."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open the file for reading."""
        del mode
        return io.BytesIO(self.data)

    def read_bytes(self) -> bytes:
        """Return the whole file."""
        return self.data


File = Path | Encoded


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture whose header is read, and its metadata; `data` is the file without them where it is PNG or WebP.

    `page` is that of a TIFF which is read: the first that is no thumbnail.
    """

    image: Image.Image
    metadata: Metadata
    data: bytes = b""
    page: int = 0

    @property
    def has_more(self) -> bool:
        """Whether the file has further frames or pages, not counting smaller versions of the picture."""
        if self.image.format in ("JPEG", "MPO"):
            return False
        if self.image.format == "TIFF":
            return self.page + 1 < _count_pages(self.image)
        return self.metadata.frames > 1 or bool(getattr(self.image, "is_animated", False))


@contextlib.contextmanager
def opened(path: File, *, pixels: bool = True) -> Iterator[Opened]:
    """Open a picture of a known format and an allowed size; without `pixels` only its header is read.

    Raises ShmDataError, also for faults of decoding inside the context, with the path of the file.
    """
    try:
        # Opening a pipe would wait for a writer.
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
            found = "a folder" if path.is_dir() else "a pipe or a device"
            raise ShmDataError("cannot be read", path=path, found=found, expected="a picture file")
        with _SILENT_DECODERS, path.open("rb") as file:
            picture = _open(file, pixels=pixels)
            _refuse_huge(path, *picture.image.size)
            yield picture
    except ShmDataError as error:
        if error.path is not None:
            raise
        raise ShmDataError(error.what, path=path, found=error.found, expected=error.expected) from error
    except UNREADABLE as error:
        if is_machine_fault(error):
            raise as_machine_fault(error, path) from error
        raise _unreadable(path, error) from error


def open_image(file: BinaryIO) -> Image.Image:
    """Open a picture of a known format as `Image.open` does, which has a global limit on the size."""
    file.seek(0)
    start = file.read(16)
    for plugin in plugins(start):
        file.seek(0)
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            return plugin(file, "")
    raise UnidentifiedImageError


def _open(file: BinaryIO, *, pixels: bool) -> Opened:
    """Open a picture; PNG and WebP without their metadata, which may be broken beside whole pixels."""
    if containers.is_png(file):
        data, metadata = containers.bare_png(file, pixels=pixels)
    elif containers.is_webp(file):
        data, metadata = containers.bare_webp(file.read())
    else:
        image = open_image(file)
        page = _seek_page(image) if image.format == "TIFF" else 0
        exif, xmp, profile = (_bytes(image.info.get(key)) for key in ("exif", "xmp", "icc_profile"))
        return Opened(image, Metadata(exif, xmp, profile), page=page)
    return Opened(open_image(io.BytesIO(data)), metadata, data)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _seek_page(image: Image.Image) -> int:
    """Go to the first page of a TIFF that is no thumbnail, or else to the first; return its number."""
    for page in range(_count_pages(image)):
        image.seek(page)
        if not _is_reduced(image):
            return page
    image.seek(0)
    return 0


def _count_pages(image: Image.Image) -> int:
    """Return the number of pages up to the last that is no thumbnail or mask; leaves the image at its page."""
    here, count = image.tell(), 0
    for page in range(min(_MOST_PAGES, getattr(image, "n_frames", 1))):
        image.seek(page)
        count = count if _is_reduced(image) else page + 1
    image.seek(here)
    return count


def _is_reduced(image: Image.Image) -> bool:
    return bool(getattr(image, "tag_v2").get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK)  # noqa: B009


def _silence() -> Restore:
    """Keep Pillow's warnings and OpenCV's log from the terminal: they do not name the file, our errors do."""
    ignore = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    filters = cast(list[object], warnings.filters)  # catch_warnings is not safe with threads
    filters.insert(0, ignore)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def restore() -> None:
        filters[:] = [each for each in filters if each is not ignore]
        cv2.utils.logging.setLogLevel(level)

    return restore


_SILENT_DECODERS = HostSetting(_silence)


def _refuse_huge(path: File, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        megapixels = math.ceil(width * height / 1e5) / 10
        raise ShmDataError(
            "cannot be read",
            path=path,
            found=f"{width}x{height} = {megapixels:g} megapixels",
            expected=f"at most {MAX_PIXELS / 1e6:.1f}",
        )


def _unreadable(path: File, error: BaseException) -> ShmDataError:
    if isinstance(error, FileNotFoundError):
        return ShmDataError("does not exist", path=path)
    if isinstance(error, UnidentifiedImageError):
        kinds = ", ".join(FORMATS)
        return ShmDataError(
            "cannot be read as a picture", path=path, found="a broken or unknown file", expected=f"one of {kinds}"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ShmDataError(f"cannot be read as a picture ({reason or type(error).__name__})", path=path)
