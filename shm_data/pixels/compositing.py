"""Cover, shrink and blend: pure functions on arrays."""

import cv2
import numpy as np

from shm_data.pixels.arrays import Array

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # x, y, width, height

# Shapes closer than this are one shape, rounded.
_SAME_SHAPE = 0.01


def cover_box(background: Size, size: Size, across: float, down: float, share: float = 1.0) -> Box:
    """The largest box of the shape of `size` in a background, at a place chosen by two numbers in [0, 1).

    Uniform numbers give every offset the same chance, the last one included. Resizing the box to `size`
    is what "resize to cover, then crop" does, without resizing what is cut away. With `share` below 1 the
    box's sides are that part of the largest.
    """
    scale = max(size[0] / background[0], size[1] / background[1])
    width = min(background[0], max(1, round(share * size[0] / scale)))
    height = min(background[1], max(1, round(share * size[1] / scale)))
    x = int(across * (background[0] - width + 1))
    y = int(down * (background[1] - height + 1))
    return x, y, width, height


def choose_reduction(box: Box, size: Size) -> int:
    """By how much, 1, 2, 4 or 8, a background may be read smaller, and its box still be no smaller than `size`."""
    room = min(box[2] // size[0], box[3] // size[1])
    return next(by for by in (8, 4, 2, 1) if by <= max(1, room))


def reduce_box(box: Box, by: int) -> Box:
    """The box in a background that was read at 1/`by` of its size, in whole pixels."""
    x, y = box[0] // by, box[1] // by
    return x, y, max(1, (box[0] + box[2]) // by - x), max(1, (box[1] + box[3]) // by - y)


def cover(background: Array, box: Box, size: Size, out: Array | None = None) -> Array:
    """The box of a background (H, W, 3) uint8, resized to `size`: by area where smaller, cubic where larger.

    `out`, an array of the shape of the result, takes it if there is one.
    """
    x, y, width, height = box
    return resize(background[y : y + height, x : x + width], size, out)


def fit(size: Size, longest: int | None) -> Size:
    """`size` scaled down so that its long edge is at most `longest` px; None leaves it."""
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def same_aspect(one: Size, other: Size) -> bool:
    """Whether two sizes differ in their scale only, up to rounding."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) < _SAME_SHAPE


def resize(pixels: Array, size: Size, out: Array | None = None) -> Array:
    """Pixels (H, W) or (H, W, 3) uint8 at `size` (width, height): by area where smaller, cubic where larger.

    Where something must be computed, `out` takes it if it is given.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    smaller = size[0] * size[1] < width * height
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(pixels), size, dst=out, interpolation=method)
    return resized.astype(np.uint8, copy=False)


def resize_matte(alpha: Array, size: Size) -> Array:
    """An alpha (H, W) uint8 at `size` (width, height): by area where smaller, linear where larger.

    Cubic interpolation would ring beside a sharp edge, and call background what is foreground by a few levels.
    """
    if alpha.shape[::-1] == size:
        return alpha
    smaller = size[0] * size[1] < alpha.size
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(alpha, size, interpolation=method).astype(np.uint8, copy=False)


def resize_nearest(pixels: Array, size: Size) -> Array:
    """Labels (H, W) uint8, such as a trimap, at `size` (width, height): no value arises that was not there."""
    if pixels.shape[1::-1] == size:
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)


def resize_straight(colours: Array, alpha: Array, size: Size) -> Array:
    """Straight colours (H, W, 3) uint8 at `size`, each pixel weighted by its alpha (H, W) uint8.

    What a cut-out holds where alpha is 0 (black, as a rule) must not bleed into its edge.
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
    """I = rint(alpha F + (1 - alpha) B), exact, with F, B and I (H, W, 3) uint8 and alpha uint8 of 255.

    Alpha is (H, W), or (H, W, 3) from `to_three_channels`, computed once for many backgrounds.
    `out`, contiguous, takes I if it is given; that may be the background, of which the place is taken.
    """
    from shm_data.pixels.kernels import blending  # noqa: PLC0415  # numba takes its time to load, and not every job blends

    image = np.empty(background.shape, np.uint8) if out is None else out
    weights = to_three_channels(alpha) if alpha.ndim == 2 else alpha
    blending.blend(_flat(foreground), _flat(weights), _flat(background), _flat(image))
    return image


def to_three_channels(alpha: Array) -> Array:
    """An alpha (H, W) uint8 for each of three channels: (H, W, 3)."""
    return np.asarray(cv2.merge((alpha, alpha, alpha)), np.uint8)


def _flat(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels).reshape(-1)
