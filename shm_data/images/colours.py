"""Colours as a viewer shows them: converted to sRGB by the ICC profile in the file."""

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from shm_data.pixels.arrays import Array

# A profile that moves no colour by more than this many levels is sRGB: its pixels stay as they are.
_SAME = 2

_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# Gray is converted level by level; the tables that LittleCMS makes to be faster are off by up to ten levels.
_EXACT = ImageCms.Flags.NOOPTIMIZE

# The name of a profile's colour space -> Pillow's mode.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(colours: Array, profile: bytes) -> Array:
    """Return colours (H, W, 1) or (H, W, 3) uint8 in sRGB (H, W, 3), by the ICC profile of their file.

    A missing or broken profile, one of another colour space than the colours have, and one that is sRGB change
    nothing.
    """
    is_gray = colours.shape[2] == 1
    triple = np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    if not profile:
        return triple
    if is_gray:
        levels = _gray_levels(profile)
        return triple if levels is None else levels[colours[..., 0]]
    convert = _conversion(profile, "RGB")
    return triple if convert is None else np.asarray(convert(Image.fromarray(triple)))


def cmyk_to_srgb(image: Image.Image, profile: bytes) -> Array:
    """Return the pixels (H, W, 3) uint8 of a CMYK picture in sRGB, without a usable profile by the plain formula."""
    convert = _conversion(profile, "CMYK") if profile else None
    return np.asarray(image.convert("RGB") if convert is None else convert(image))


@functools.lru_cache(maxsize=16)
def _gray_levels(profile: bytes) -> Array | None:
    """Return the colour (256, 3) of each gray level; None where they stay as they are."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    for mode, pixels in (("L", ramp), ("RGB", np.repeat(ramp[..., None], 3, axis=2))):
        if (convert := _conversion(profile, mode)) is not None:
            return np.asarray(convert(Image.fromarray(pixels)))[:, 0]
    return None


@functools.lru_cache(maxsize=16)
def _conversion(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Return what converts pictures of a mode to sRGB; None where the profile is broken, of another mode, or sRGB.

    By relative colorimetry with black point compensation, as browsers and editors do.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=_FLAGS | _EXACT * (mode == "L"),
        )
        return None if mode != "CMYK" and _is_identity(transform.apply, mode) else transform.apply
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _is_identity(convert: Callable[[Image.Image], Image.Image], mode: str) -> bool:
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    if mode == "L":
        cube = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    given = Image.fromarray(cube[..., 0] if mode == "L" else cube)
    return bool(np.abs(np.asarray(convert(given)).astype(int) - cube).max() <= _SAME)
