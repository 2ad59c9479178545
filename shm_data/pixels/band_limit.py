"""Brings pictures to a coarser band limit, as if their camera had fewer pixels, at their own size. Pure."""

import math
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array

Floats = NDArray[np.float32]
Pixels = TypeVar("Pixels", Array, Floats)


def limit_band(pixels: Array, factor: float) -> Array:
    """Return pixels (H, W) or (H, W, 3) uint8, scaled down `factor` times and up to their size again.

    Applied to image and alpha alike, alpha stays what the foreground covers of each pixel.
    """
    return _limit(pixels, factor)


def limit_band_of_layers(foreground: Array, alpha: Array, background: Array, factor: float) -> tuple[Array, Array]:
    """Return F and B (H, W, 3) uint8 that the band-limited image mixes by the band-limited alpha, (H, W) uint8.

    The band limit L is linear: L(I) = L(alpha F) + L((1 - alpha) B). So L(I) = L(alpha) F' + (1 - L(alpha)) B' with
    F' = L(alpha F) / L(alpha), and B' likewise. Where a layer has no share, its colours are only band-limited.
    """
    if factor == 1:
        return foreground, background
    share = alpha.astype(np.float32) / np.float32(255)
    return _limit_weighted(foreground, share, factor), _limit_weighted(background, np.float32(1) - share, factor)


def _limit_weighted(colours: Array, share: Floats, factor: float) -> Array:
    summed, total = _limit(colours * share[..., None], factor), _limit(share, factor)[..., None]
    shown = total > 1 / 510  # else the layer's share rounds to 0
    straight = np.divide(summed, total, out=summed.copy(), where=shown)
    return np.where(shown, np.rint(straight).clip(0, 255).astype(np.uint8), limit_band(colours, factor))


def _limit(pixels: Pixels, factor: float) -> Pixels:
    """Scale down and up again by bilinear interpolation, in equal steps.

    At steps of at most 2 it skips no pixel on the way down, and leaves no corners of large pixels on the way up.
    """
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    steps = math.ceil(math.log2(factor))
    parts = [factor ** (step / steps) for step in range(steps + 1)]
    sizes: list[tuple[int, int]] = [(max(1, round(width / part)), max(1, round(height / part))) for part in parts]
    limited: NDArray[Any] = pixels
    for size in (*sizes[1:], *sizes[-2::-1]):
        limited = cv2.resize(limited, size, interpolation=cv2.INTER_LINEAR)
    return limited.astype(pixels.dtype, copy=False)
