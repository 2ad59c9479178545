"""Alphas and trimaps, from wherever a file keeps them."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.images.decoding import read_channels
from shm_data.images.opening import File
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import LOSSY_TOLERANCE, normalise_trimap

# Rounding and JPEG chroma may part the channels of a gray picture by this much.
_GRAY_TOLERANCE = 12

# A share of pixels that a stray touch of the brush may account for, and levels that count as 0 or 255.
_FEW = 0.001
_FLAT = LOSSY_TOLERANCE


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
        raise ShmDataError(path=path, found="no A channel", expected="an RGBA cut-out, or alphas in --inalp")
    if pixels[..., -1].min() == 255:
        raise ShmDataError(
            path=path, found="an A channel of 255 everywhere", expected="a cut-out with its matte in A"
        )
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
        return normalise_trimap(pixels)
    except ShmDataError as error:
        raise ShmDataError(error.what, path=path, found=error.found, expected=error.expected) from error


def is_gray(channels: Array) -> bool:
    """Whether the channels of pixels (H, W, C) uint8 are equal, up to rounding and what JPEG does to colours."""
    return bool(np.quantile(np.ptp(channels, axis=2), 0.999) <= _GRAY_TOLERANCE)


def _gray(path: File, channels: Array, expected: str) -> Array:
    """The one channel of a gray picture, however many equal ones it is stored in."""
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


def _is_cut_out_matte(colours: Array, alpha: Array) -> bool:
    """Whether the colours hold a matte that A, with hard edges, cuts out: gray, flat almost everywhere, yet soft."""
    shown = colours[alpha > 0]
    if np.mean(_is_soft(alpha)) > _FEW or not shown.size or np.ptp(shown, axis=1).max() > _GRAY_TOLERANCE:
        return False
    return bool(0 < np.mean(_is_soft(shown[:, 0])) < 0.5)


def _is_soft(values: Array) -> NDArray[np.bool_]:
    return (values > _FLAT) & (values < 255 - _FLAT)
