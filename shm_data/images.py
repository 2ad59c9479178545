"""The only module that opens or writes a picture. Arrays are RGB, uint8, upright; files are whole or absent."""

import contextlib
import io
import logging
import math
import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shm_data import intact, png
from shm_data.arrays import Array
from shm_data.errors import MACHINE, ShmDataError
from shm_data.layout import write_bytes
from shm_data.trimap import LOSSY_TOLERANCE, normalise

EXTENSIONS = frozenset(".bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split())

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

_log = logging.getLogger(__name__)

# Rounding and JPEG chroma may part the channels of a gray picture by this much.
_GRAY_TOLERANCE = 12

# A share of pixels that a stray touch of the brush may account for, and levels that count as 0 or 255.
_FEW = 0.001
_FLAT = LOSSY_TOLERANCE

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


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's first bytes tell. `size` is (width, height), upright."""

    size: tuple[int, int]
    lossy: bool


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


def find(root: Path, without: Iterable[Path] = ()) -> list[str]:
    """The pictures in a folder and its subfolders, by extension: sorted relative paths with forward slashes.

    Folders in `without` are passed over with all they hold, and so are hidden files and folders. Links to
    folders are followed, but no folder is entered twice. A name that is not UTF-8, which no list can hold, is
    left out, and logged. Raises ShmDataError where `root` is not a folder, or one below it cannot be listed.
    """
    require_folder(root)
    entered = {os.path.realpath(folder) for folder in (root, *without)}
    found = []
    for folder, folders, files in os.walk(root, onerror=_not_listed, followlinks=True):
        here = Path(folder)
        folders[:] = _not_entered(here, folders, entered)
        pictures = [name for name in files if _is_picture(here / name)]
        found += [(here.relative_to(root) / name).as_posix() for name in _in_utf8(here, pictures)]
    return sorted(found)


def require_folder(root: Path) -> None:
    """Raises ShmDataError where `root` is not a folder that can be listed and its files looked at."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise ShmDataError(str(root), found="a file", wanted="a folder")
        os.stat(f"{root}/.")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShmDataError(str(root), found="no folder", wanted="a folder") from error
    except OSError as error:
        raise ShmDataError(f"cannot look into {root}: {error.strerror}") from error


def _not_entered(folder: Path, names: list[str], entered: set[str]) -> list[str]:
    """The subfolders to enter, in order; marks them as entered."""
    unseen = []
    for name in _in_utf8(folder, [name for name in names if not name.startswith(".")]):
        place = os.path.realpath(folder / name)
        if place not in entered:
            entered.add(place)
            unseen.append(name)
    return unseen


def _in_utf8(folder: Path, names: Sequence[str]) -> list[str]:
    """The names in order, without those that are not UTF-8."""
    strange = [name for name in names if name != name.encode("utf-8", "replace").decode()]
    for name in strange:
        _log.warning("%r is left out: its name is not UTF-8", os.fsencode(folder / name))
    return sorted(set(names).difference(strange))


def _is_picture(path: Path) -> bool:
    """Whether it is named like a picture and is a file; a dangling link is kept, so that somebody tells of it."""
    if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
        return False
    try:
        return path.is_file() or path.is_symlink()
    except OSError as error:
        raise ShmDataError(f"cannot look at {path}: {error.strerror}") from error


def _not_listed(error: OSError) -> None:
    raise ShmDataError(f"cannot list the folder {error.filename}: {error.strerror}") from error


def read_header(path: Path) -> Header:
    """Reads a picture's header only. Raises ShmDataError where it is no picture, or has more than MOST_PIXELS."""
    with _opened(path) as image:
        width, height = image.size
        turned = _orientation(image) in _ON_ITS_SIDE
        return Header((height, width) if turned else (width, height), _is_lossy(path, image))


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
    with _opened(path) as image:
        plain = image.format in _JPEG and image.mode in ("L", "RGB")
    if not plain:
        return read_image(path), 1
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), _REDUCED[by])
    if pixels is None:
        raise ShmDataError(f"cannot read {path}", found="pixels that do not decode", wanted="a whole picture")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), by


def read_alpha(path: File) -> Array:
    """Reads a matte as (H, W) uint8, 0 background to 255 foreground, from wherever the file keeps it.

    That is the A channel, unless it says nothing (is 255 but for a few pixels) or merely cuts out a matte that
    is in the gray or equal colour channels. Raises ShmDataError where the file is broken, or holds a colour
    picture instead of a matte.
    """
    pixels = read_channels(path)
    if pixels.shape[2] in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1]
        if _is_transparent(alpha) and not _is_cut_out_matte(colours, alpha):
            return np.ascontiguousarray(alpha)
        pixels = colours
    return _gray(path, pixels, "a matte with equal colour channels")


def read_cutout(path: Path) -> tuple[Array, Array]:
    """Reads an RGBA cut-out as straight colours (H, W, 3) uint8 and alpha (H, W) uint8.

    Raises ShmDataError where the file is broken, or its A channel is missing or 255 everywhere.
    """
    pixels = read_channels(path)
    if pixels.shape[2] not in (2, 4):
        raise ShmDataError(str(path), found="no A channel", wanted="an RGBA cut-out, or alphas in --inalp")
    if pixels[..., -1].min() == 255:
        raise ShmDataError(str(path), found="an A channel of 255 everywhere", wanted="a cut-out with its matte in A")
    colours = np.broadcast_to(pixels[..., :-1], (*pixels.shape[:2], 3))
    return np.ascontiguousarray(colours), np.ascontiguousarray(pixels[..., -1])


def read_gray(path: File) -> Array:
    """Reads a gray picture, such as a trimap, as (H, W) uint8; an A channel is dropped.

    Raises ShmDataError where the file is broken or coloured.
    """
    pixels = read_channels(path)
    return _gray(path, pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels, "a gray picture")


def read_trimap(path: Path) -> Array:
    """Reads a trimap of any convention as (H, W) uint8 in {0, 128, 255}.

    Raises ShmDataError where the file is broken, or holds no trimap.
    """
    pixels = read_gray(path)
    try:
        return normalise(pixels)
    except ShmDataError as error:
        raise ShmDataError(f"{path}: {error}") from error


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


def is_gray(channels: Array) -> bool:
    """Whether the channels of pixels (H, W, C) uint8 are equal, up to rounding and what JPEG does to colours."""
    return bool(np.quantile(np.ptp(channels, axis=2), 0.999) <= _GRAY_TOLERANCE)


def encode(pixels: Array, extension: str = ".png", quality: int = 95) -> bytes:
    """A picture file of (H, W, 3) uint8 RGB; as PNG of (H, W) gray, as PNG and WebP of (H, W, 4) RGBA, too.

    JPEG keeps its colours at full resolution: halving them costs 4 dB where alpha is fractional.
    """
    if extension == ".png":
        return png.encode(pixels)
    try:
        return _encode_jpeg(pixels, quality) if extension == ".jpg" else _encode_webp(pixels, quality)
    except (cv2.error, ValueError) as error:
        size = f"{pixels.shape[1]}x{pixels.shape[0]} pixels"
        raise ShmDataError(f"cannot encode as {extension}", found=size, wanted="fewer, or PNG") from error


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


def write_png(path: Path, pixels: Array) -> None:
    """Writes uint8 RGB, RGBA or gray pixels as PNG, whole or not at all. Raises WriteError."""
    write_bytes(path, encode(pixels))


def write_jpeg(path: Path, pixels: Array, quality: int = 95) -> None:
    """Writes (H, W, 3) uint8 RGB as JPEG, whole or not at all. Raises WriteError."""
    write_bytes(path, encode(pixels, ".jpg", quality))


_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


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
            raise ShmDataError(f"cannot read {path}", found=found, wanted="a picture file")
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
            f"cannot read {path}",
            found=f"{width}x{height} = {megapixels:g} megapixels",
            wanted=f"at most {MOST_PIXELS / 1e6:.1f}",
        )


def _check(path: File, image: Image.Image) -> None:
    """Raises ValueError for faults that the decoders would pass over."""
    if image.format == "PNG":
        with path.open("rb") as file:
            intact.check_png(file)
    elif image.format == "TIFF":
        intact.check_tiff(getattr(image, "tag_v2"))  # noqa: B009
    elif image.format == "JPEG2000":
        intact.check_jpeg2000(path.read_bytes())


def _whole_jpeg(data: bytes, image: Image.Image) -> Image.Image:
    """The picture in a JPEG file, decoded. Raises ValueError where the decoder would fill it up with gray."""
    if "progressive" not in image.info:
        # Decodes a whole file, and no faster one would tell. Nor need every Pillow go without an end marker.
        with contextlib.suppress(OSError):
            return _decoded(intact.without_end(data))
    decoded = _decoded(data)
    if decoded != _decoded(intact.with_noise(data)):
        raise ValueError("it is cut short, and ends as if it were whole")
    return decoded


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.load()
    return image


def _read_by_pillow(path: File, image: Image.Image) -> NDArray[np.generic]:
    """Pillow's pixels in the narrowest of L, LA, RGB, RGBA that holds them, or 16-bit gray."""
    if image.mode in ("F", "I"):
        raise ShmDataError(str(path), found="floating-point or 32-bit pixels", wanted="8 or 16 bits a channel")
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
        raise ShmDataError(f"cannot read {path}", found="pixels that do not decode", wanted="a whole picture")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _to_bytes(pixels: NDArray[np.generic]) -> Array:
    """16 bits to 8, rounded to nearest: 65535 becomes 255."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _gray(path: File, channels: Array, wanted: str) -> Array:
    """The one channel of a gray picture, however many equal ones it is stored in."""
    if channels.shape[2] == 1:
        return np.ascontiguousarray(channels[..., 0])
    spread = channels.max(axis=2) - channels.min(axis=2)
    if spread.max() == 0:
        return np.ascontiguousarray(channels[..., 0])
    if not is_gray(channels):
        raise ShmDataError(str(path), found="a colour picture", wanted=wanted)
    return cv2.cvtColor(np.ascontiguousarray(channels), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _is_transparent(alpha: Array) -> bool:
    return bool(np.mean(alpha < 255 - _FLAT) > _FEW)


def _is_cut_out_matte(colours: Array, alpha: Array) -> bool:
    """Whether the colours hold a matte that A, with hard edges, cuts out: gray, flat almost everywhere, yet soft."""
    shown = colours[alpha > 0]
    if np.mean(_is_soft(alpha)) > _FEW or not shown.size or np.ptp(shown, axis=1).max() > _GRAY_TOLERANCE:
        return False
    return bool(0 < np.mean(_is_soft(shown[:, 0])) < 0.5)


def _is_soft(values: Array) -> NDArray[np.bool_]:
    return (values > _FLAT) & (values < 255 - _FLAT)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _is_lossy(path: Path, image: Image.Image) -> bool:
    """Whether the pixels went through lossy compression; WebP tells it by its first chunk."""
    if image.format == "WEBP":
        with path.open("rb") as file:
            return b"VP8L" not in file.read(64)
    return image.format in ("JPEG", "MPO", "JPEG2000")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation still to be applied: TIFF decoders turn the picture themselves."""
    told = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
    return told if told in _UPRIGHT else 1


def _unreadable(path: File, error: BaseException) -> ShmDataError:
    if isinstance(error, FileNotFoundError):
        return ShmDataError(f"{path} does not exist")
    if isinstance(error, UnidentifiedImageError):
        kinds = ", ".join(_FORMATS)
        return ShmDataError(f"cannot read {path} as a picture: it is broken, or no {kinds} that can be read")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ShmDataError(f"cannot read {path} as a picture: {reason or type(error).__name__}")
