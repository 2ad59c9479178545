"""Crop and resize backgrounds, and blend: pure functions on arrays."""

import cv2
import numpy as np

from shm_data.pixels.arrays import Array, require_bytes

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # x, y, width, height

# Aspect ratios closer than this differ by rounding alone.
_SAME_ASPECT = 0.01


def cover_box(background: Size, size: Size, across: float, down: float, share: float = 1.0) -> Box:
    """Return the largest box with the aspect ratio of `size` in a background, at an offset by two numbers in [0, 1).

    Uniform numbers give every offset the same chance, the last one included. To resize the box to `size` is to
    "resize to cover, then crop" without resizing what is cut away. With `share` below 1 the sides of the box are that
    part of the largest.
    """
    scale = max(size[0] / background[0], size[1] / background[1])
    width = min(background[0], max(1, round(share * size[0] / scale)))
    height = min(background[1], max(1, round(share * size[1] / scale)))
    x = int(across * (background[0] - width + 1))
    y = int(down * (background[1] - height + 1))
    return x, y, width, height


def choose_reduction(box: Box, size: Size) -> int:
    """Return the largest of 1, 2, 4 and 8 by which a background can be reduced and its box still cover `size`."""
    most = min(box[2] // size[0], box[3] // size[1])
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(1, most))


def reduce_box(box: Box, factor: int) -> Box:
    """Return the box in a background that was read at 1/`factor` of its size, in whole pixels."""
    x, y = box[0] // factor, box[1] // factor
    return x, y, max(1, (box[0] + box[2]) // factor - x), max(1, (box[1] + box[3]) // factor - y)


def cover(background: Array, box: Box, size: Size, out: Array | None = None) -> Array:
    """Return the box of a background (H, W, 3) uint8, resized to `size`: by area if smaller, cubic if larger.

    The result is written to `out`, an array of its shape, if that is given and anything is to be resized.
    """
    x, y, width, height = box
    return resize(background[y : y + height, x : x + width], size, out)


def fit(size: Size, longest: int | None) -> Size:
    """Return `size` scaled down so that its long edge is at most `longest` px; None keeps it."""
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def same_aspect(one: Size, other: Size) -> bool:
    """Return whether two sizes have the same aspect ratio, up to rounding."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) < _SAME_ASPECT


def resize(pixels: Array, size: Size, out: Array | None = None) -> Array:
    """Resize pixels (H, W) or (H, W, 3) uint8 to `size` (width, height): by area if smaller, cubic if larger.

    Pixels that have this size are returned themselves; else the result is written to `out` if that is given.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    smaller = size[0] * size[1] < width * height
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(pixels), size, dst=out, interpolation=method)
    return resized.astype(np.uint8, copy=False)


def resize_matte(alpha: Array, size: Size) -> Array:
    """Resize an alpha (H, W) uint8 to `size` (width, height): by area if smaller, linear if larger.

    Cubic interpolation would ring beside a sharp edge: background would become foreground by a few levels.
    """
    if alpha.shape[::-1] == size:
        return alpha
    smaller = size[0] * size[1] < alpha.size
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(alpha, size, interpolation=method).astype(np.uint8, copy=False)


def resize_nearest(pixels: Array, size: Size) -> Array:
    """Resize labels (H, W) uint8, such as a trimap, to `size` (width, height), without new values."""
    if pixels.shape[1::-1] == size:
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)


def resize_straight(colours: Array, alpha: Array, size: Size) -> Array:
    """Resize straight colours (H, W, 3) uint8 to `size`, each pixel weighted by its alpha (H, W) uint8.

    The colours of a cut-out where alpha is 0, mostly black, must not bleed into its edge.
    """
    if alpha.shape[1::-1] == size:
        return colours
    method = cv2.INTER_AREA if size[0] * size[1] < alpha.size else cv2.INTER_LINEAR
    weights = alpha.astype(np.float32)
    summed = cv2.resize(colours * weights[..., None], size, interpolation=method)
    total = cv2.resize(weights, size, interpolation=method)[..., None]
    plain = resize(colours, size)
    straight = np.rint(summed / np.maximum(total, 1e-6)).clip(0, 255).astype(np.uint8)
    return np.where(total > 0, straight, plain)


def blend(foreground: Array, alpha: Array, background: Array, out: Array | None = None) -> Array:
    """Return I = rint(alpha F + (1 - alpha) B), exact, with F, B and I (H, W, 3) uint8 and alpha / 255.

    Alpha is (H, W), or (H, W, 3) from `to_three_channels`, computed once for many backgrounds. I is written to `out`,
    a contiguous array of its shape, if that is given; it may be the background itself. Raises ShmDataError where
    shapes or types differ.
    """
    require_bytes("background", background, None, None, 3)
    require_bytes("foreground", foreground, *background.shape)
    require_bytes("alpha", alpha, *background.shape[: max(2, np.ndim(alpha))])
    if out is not None:
        require_bytes("out", out, *background.shape)
    from shm_data.pixels.kernels import blending  # noqa: PLC0415  # numba takes its time to load, and not every job blends

    image = np.empty(background.shape, np.uint8) if out is None else out
    weights = to_three_channels(alpha) if alpha.ndim == 2 else alpha
    blending.blend(_flat(foreground), _flat(weights), _flat(background), _flat(image))
    return image


def to_three_channels(alpha: Array) -> Array:
    """Return an alpha (H, W) uint8 repeated for three channels: (H, W, 3)."""
    return np.asarray(cv2.merge((alpha, alpha, alpha)), np.uint8)


def _flat(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels).reshape(-1)
