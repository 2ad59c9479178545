"""Picture files -> pixels as they are stored, upright, of 8 bits. Faults name the file in one sentence."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shm_data.errors import ShmDataError
from shm_data.host.logs import log_once
from shm_data.images import containers, integrity
from shm_data.images.colours import cmyk_to_srgb, to_srgb
from shm_data.images.opening import File, Opened, open_image, opened
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import blend
from shm_data.pixels.trimap import LOSSY_TOLERANCE

_JPEG = ("JPEG", "MPO")  # many cameras write MPO: a JPEG, and smaller ones behind it

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

# A picture of 16 bits whose values are all lower was stored with fewer bits: it would be nearly black.
_LEAST_OF_16_BITS = 4096

# A share of pixels that may be transparent by mistake.
_FEW = 0.001

_ON_ITS_SIDE = (5, 6, 7, 8)

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def read_size(path: Path) -> tuple[int, int]:
    """Return a picture's width and height, upright, without decoding its pixels.

    Raises ShmDataError where the file is no picture, or has more than MAX_PIXELS.
    """
    with opened(path, pixels=False) as picture:
        width, height = picture.image.size
        return (height, width) if _orientation(picture) in _ON_ITS_SIDE else (width, height)


def read_orientation(path: Path) -> int:
    """Return a picture's EXIF orientation, 1 to 8. Raises ShmDataError where it is no picture."""
    with opened(path, pixels=False) as picture:
        return picture.metadata.orientation


def read_estimate(path: Path) -> str:
    """Return the text that marks an alpha as estimated, "" where there is none. Raises ShmDataError."""
    with opened(path, pixels=False) as picture:
        return picture.metadata.estimate.decode("latin-1")


def is_lossy(path: Path) -> bool:
    """Return whether a picture's pixels are compressed with loss. Raises ShmDataError where it is no picture."""
    with opened(path, pixels=False) as picture:
        if picture.image.format in ("AVIF", "HEIF"):
            return True
        if picture.image.format == "WEBP":
            return not containers.is_lossless_webp(picture.data)
        if picture.image.format == "TIFF":
            return integrity.is_jpeg_in_tiff(getattr(picture.image, "tag_v2"))  # noqa: B009
        return picture.image.format in _JPEG


def read_channels(path: File) -> Array:
    """Read a picture as (H, W, C) uint8: gray, gray + A, RGB or RGBA, upright. Raises ShmDataError."""
    return _read(path)[0]


def read_image(path: File) -> Array:
    """Read a photo as (H, W, 3) uint8 in sRGB, as a viewer shows it. Raises ShmDataError where it is no picture.

    Gray, palette, CMYK and 16-bit pictures are converted, and other colours by their ICC profile. Where a photo is
    transparent it is white, which is logged.
    """
    pixels, profile = _read(path)
    colours, alpha = _separate(pixels)
    colours = to_srgb(colours, profile)
    if alpha is None or alpha.min() == 255:
        return colours
    log_once(__name__, logging.WARNING, f"{path} is transparent: it is composited over white")
    return blend(colours, np.ascontiguousarray(alpha), np.full_like(colours, 255))


def read_straight(path: File) -> tuple[Array, Array | None]:
    """Read straight colours (H, W, 3) uint8 in sRGB, and the A channel (H, W) uint8 if the file has one."""
    pixels, profile = _read(path)
    colours, alpha = _separate(pixels)
    return to_srgb(colours, profile), None if alpha is None else np.ascontiguousarray(alpha)


def read_background(path: Path, factor: int = 1) -> tuple[Array, int]:
    """Read a background photo as `read_image` does; a JPEG that is known to be whole at 1/`factor` of its size.

    OpenCV's decoder is faster than Pillow's, more so where it may skip high frequencies; `factor` is 1, 2, 4 or 8.
    Returns the pixels and the factor by which they are really reduced. Raises ShmDataError where it is transparent:
    the colours of transparent pixels are not meant to be seen.
    """
    with opened(path, pixels=False) as picture:
        data = path.read_bytes() if picture.image.format in _JPEG else b""
        if integrity.channels_of_jpeg(data) in (1, 3):
            flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION  # so that all roles agree about it
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if pixels is None:
                raise ValueError("its pixels do not decode")
            upright = _upright(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), _orientation(picture))
            return to_srgb(upright, picture.metadata.profile), factor
    pixels, profile = _read(path)
    colours, alpha = _separate(pixels)
    if alpha is not None and np.mean(alpha < 255 - LOSSY_TOLERANCE) > _FEW:
        raise ShmDataError("is transparent", path=path)
    return to_srgb(colours, profile), 1


def _read(path: File) -> tuple[Array, bytes]:
    """Return the pixels of a picture (H, W, C) uint8, upright, and its ICC profile."""
    with opened(path) as picture:
        # First the pixels: asking for the orientation may load the picture, which then forgets its depth.
        pixels = _decode(path, picture)
        if picture.has_more:
            log_once(__name__, logging.WARNING, f"{path} has several frames or pages: only the first one is used")
        return _upright(pixels, _orientation(picture)), picture.metadata.profile


def _separate(pixels: Array) -> tuple[Array, Array | None]:
    """Return colours (H, W, 1 or 3) and A (H, W), None if there is none."""
    return (pixels[..., :-1], pixels[..., -1]) if pixels.shape[2] in (2, 4) else (pixels, None)


def _decode(path: File, picture: Opened) -> NDArray[np.generic]:
    """Return the pixels of a picture as they lie in the file, (H, W) or (H, W, C) of 8 or 16 bits."""
    image, data = picture.image, picture.data
    if image.format == "PNG" and (pixels := _by_ourselves(data)) is not None:
        return pixels
    if image.format in _JPEG:
        return _by_pillow(_whole_jpeg(path.read_bytes(), image), picture.metadata.profile)
    if image.format == "TIFF":
        integrity.check_tiff(getattr(image, "tag_v2"))  # noqa: B009
    if _beyond_pillow(image):
        return _by_opencv(data or path.read_bytes(), picture.page)
    return _by_pillow(image, picture.metadata.profile)


def read_deep_channels(path: File) -> NDArray[np.uint16] | None:
    """Return the channels (H, W, C) of a picture of 16 bits as stored, upright; None for one of 8 bits."""
    with opened(path, pixels=False) as picture:
        image = picture.image
        if not image.mode.startswith("I;16") and ";16" not in str(getattr(image, "tile", "")):
            return None
    with opened(path) as picture:
        pixels = _decode(path, picture)
        return _turn(pixels, _orientation(picture)) if pixels.dtype == np.uint16 else None


def read_indices(path: File) -> Array | None:
    """Return the indices (H, W) uint8 of a picture with a palette of colours, upright; None of any other picture.

    A palette of grays only stores a gray picture, so its indices mean nothing. Raises ShmDataError where the file is
    broken.
    """
    with opened(path, pixels=False) as picture:
        if picture.image.mode != "P":
            return None
    with opened(path) as picture:
        _check_palette(picture.image)
        indices = np.asarray(picture.image)
        palette = np.array(picture.image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        if np.ptp(palette[np.unique(indices)], axis=1).max() == 0:
            return None
        return _turn(indices, _orientation(picture))[..., 0]


def _by_ourselves(data: bytes) -> Array | None:
    from shm_data.images import png  # noqa: PLC0415  # loads numba

    return png.decode(data)


def _upright(pixels: NDArray[np.generic], orientation: int) -> Array:
    """Return pixels (H, W) or (H, W, C) of 8 or 16 bits as (H, W, C) uint8, turned."""
    return to_bytes(_turn(pixels, orientation))


def _turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return _UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels


def _whole_jpeg(data: bytes, image: Image.Image) -> Image.Image:
    """Return the decoded picture of a JPEG file. Raises ValueError where the decoder would fill it up with gray."""
    if "progressive" not in image.info:
        # Decodes a whole file, and no faster one would tell. Nor need every Pillow go without an end marker.
        with contextlib.suppress(OSError):
            return _decoded(integrity.without_end(data))
    decoded = _decoded(data)
    if decoded != _decoded(integrity.with_noise(data)):
        raise ValueError("it is cut short, and ends as if it were whole")
    return decoded


def _decoded(data: bytes) -> Image.Image:
    image = open_image(io.BytesIO(data))
    image.load()
    return image


def _by_pillow(image: Image.Image, profile: bytes) -> NDArray[np.generic]:
    """Return Pillow's pixels in the narrowest of L, LA, RGB, RGBA that holds them, or 16-bit gray."""
    if image.mode in ("F", "I"):
        raise ShmDataError(found="floating-point or 32-bit pixels", expected="8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "CMYK":
        return cmyk_to_srgb(image, profile)
    if image.mode == "P":
        _check_palette(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image.convert("RGBA" if _has_alpha(image) else "RGB"))
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image)


def _check_palette(image: Image.Image) -> None:
    """Raise ValueError where pixels have colours that the palette lacks: decoders show them black."""
    highest = int(np.asarray(image).max())
    if image.palette is not None and highest >= (count := len(image.palette.palette) // len(image.palette.mode)):
        raise ValueError(f"its pixels have colour {highest} of a palette of {count}")


def _beyond_pillow(image: Image.Image) -> bool:
    """Return whether Pillow would keep only 8 of 16 bits, or garble the picture (a TIFF on its side)."""
    deep = ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I;16")
    return deep or (image.format == "TIFF" and image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE)


def _by_opencv(data: bytes, page: int) -> NDArray[np.generic]:
    _, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    if not pages:
        raise ValueError("its pixels do not decode")
    pixels = pages[0]
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def to_bytes(pixels: NDArray[np.generic]) -> Array:
    """Return 16 bits as 8, rounded to nearest: 65535 becomes 255."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if 0 < (highest := int(pixels.max())) < _LEAST_OF_16_BITS:
        found = f"16 bits a channel, of which {highest.bit_length()} are used: values up to {highest}"
        raise ShmDataError("cannot be read", found=found, expected="values up to 65535")
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _orientation(picture: Opened) -> int:
    """Return the orientation still to be applied: TIFF decoders turn the picture themselves."""
    return 1 if picture.image.format == "TIFF" else picture.metadata.orientation
