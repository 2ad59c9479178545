"""Reads alphas and trimaps, from whichever channel a file keeps them in."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.images.decoding import read_channels, read_deep_channels, read_straight, to_bytes
from shm_data.images.opening import File
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import LOSSY_TOLERANCE, normalise_trimap

# Rounding and JPEG chroma may separate the channels of a gray picture by this much.
_GRAY_TOLERANCE = 12

# A share of pixels that a stray touch of the brush may change, and levels that count as 0 or 255.
_FEW = 0.001
_FLAT = LOSSY_TOLERANCE

# A matte whose highest value is at most this is in percent, of labels, or of fewer bits: nobody is so transparent.
HIGHEST_OF_LABELS = 100


def read_alpha(path: File) -> Array:
    """Read a matte as (H, W) uint8, 0 background to 255 foreground, from whichever channel has it.

    That is the A channel, unless it is 255 except for a few pixels, or cuts a matte out of gray or equal colour
    channels. Raises ShmDataError where the file is broken, has a colour picture instead of a matte, or where A and
    the colours could both be the matte.
    """
    pixels = read_channels(path)
    if pixels.shape[2] in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1]
        if _is_transparent(alpha) and not _is_cut_out_matte(path, colours, alpha):
            return np.ascontiguousarray(alpha)
        pixels = colours
    return _gray(path, pixels, "a matte with equal colour channels")


def read_matte(path: File) -> NDArray[np.float64]:
    """Read a matte as `read_alpha` does, as (H, W) float64 in [0, 1] that keeps all of 16 bits."""
    alpha = read_alpha(path)
    deep = read_deep_channels(path)
    if deep is None:
        return alpha / 255
    is_alpha = [np.array_equal(channel, alpha) for channel in np.moveaxis(to_bytes(deep), 2, 0)]
    return deep[..., is_alpha.index(True)] / 65535 if True in is_alpha else alpha / 255


def require_opacities(path: File, alpha: Array) -> None:
    """Raise ShmDataError where an alpha (H, W) uint8 is empty, or has labels or percent instead of opacities."""
    highest = int(alpha.max())
    if highest <= HIGHEST_OF_LABELS:
        found = {0: "only 0", 1: "only 0 and 1"}.get(highest, f"values of at most {highest}")
        raise ShmDataError(
            "cannot be used as a matte", path=path, found=found, expected="0 for background to 255 for foreground"
        )


def read_cutout(path: Path) -> tuple[Array, Array]:
    """Read an RGBA cut-out as straight colours (H, W, 3) uint8 in sRGB and alpha (H, W) uint8.

    Raises ShmDataError where the file is broken, or its A channel is missing or 255 everywhere.
    """
    colours, alpha = read_straight(path)
    if alpha is None:
        raise ShmDataError(path=path, found="no A channel", expected="an RGBA cut-out, or alphas in --inalp")
    if alpha.min() == 255:
        raise ShmDataError(
            path=path, found="an A channel of 255 everywhere", expected="a cut-out with its matte in A"
        )
    return colours, alpha


def read_gray(path: File) -> Array:
    """Read a gray picture, such as a trimap, as (H, W) uint8; an A channel is dropped.

    Raises ShmDataError where the file is broken or coloured.
    """
    pixels = read_channels(path)
    return _gray(path, pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels, "a gray picture")


def read_trimap(path: Path) -> Array:
    """Read a trimap of any convention as (H, W) uint8 in {0, 128, 255}.

    Raises ShmDataError where the file is broken, or is no trimap.
    """
    pixels = read_gray(path)
    try:
        return normalise_trimap(pixels)
    except ShmDataError as error:
        raise ShmDataError(error.what, path=path, found=error.found, expected=error.expected) from error


def is_gray(channels: Array) -> bool:
    """Return whether the channels of pixels (H, W, C) uint8 are equal, up to rounding and the noise of JPEG."""
    return bool(np.quantile(np.ptp(channels, axis=2), 0.999) <= _GRAY_TOLERANCE)


def _gray(path: File, channels: Array, expected: str) -> Array:
    """Return the one channel of a gray picture, which may be stored in several equal ones."""
    if channels.shape[2] == 1:
        return np.ascontiguousarray(channels[..., 0])
    spread = channels.max(axis=2) - channels.min(axis=2)
    if spread.max() == 0:
        return np.ascontiguousarray(channels[..., 0])
    if not is_gray(channels):
        raise ShmDataError(path=path, found="a colour picture", expected=expected)
    return cv2.cvtColor(np.ascontiguousarray(channels), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _is_transparent(alpha: Array) -> bool:
    return bool(np.mean(alpha < 255 - _FLAT) > _FEW)


def _is_cut_out_matte(path: File, colours: Array, alpha: Array) -> bool:
    """Return whether the colours have the matte, and A with hard edges only hides where that is empty.

    A photo in gray has soft values almost everywhere. What is left could be a matte or a drawing in black and white:
    it is a matte where A hides exactly its zeros, else ShmDataError is raised.
    """
    shown = colours[alpha > 0]
    if np.mean(_is_soft(alpha)) > _FEW or not shown.size or np.ptp(shown, axis=1).max() > _GRAY_TOLERANCE:
        return False
    soft = np.mean(_is_soft(shown[:, 0]))
    if soft == 0 or soft >= 0.5:
        return False
    if np.mean((colours[..., 0] > 0) != (alpha > 0)) <= _FEW or np.mean(shown[:, 0] == 0) <= _FEW:
        return True
    found = "an A channel with hard edges over gray, nearly black-and-white colours"
    raise ShmDataError(path=path, found=found, expected="a file with the matte alone: both could be it")


def _is_soft(values: Array) -> NDArray[np.bool_]:
    return (values > _FLAT) & (values < 255 - _FLAT)
