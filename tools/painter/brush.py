"""Paints on a canvas of premultiplied RGBA, drawn at twice its size so that alpha is truly fractional."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from shm_data.pixels.arrays import Array

Floats = NDArray[np.float64]
Light = NDArray[np.float32]
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 600, 800

# Where heads are: their axis and the line of the eyes, in px.
HEAD_X, HEAD_Y = 300, 318

# Everything is drawn at this scale and reduced by area.
_SCALE = 2
_SHIFT = 4  # bits behind the point in OpenCV's coordinates


def canvas() -> Array:
    """Return an empty canvas: (H, W, 4) uint8 premultiplied RGBA."""
    return np.zeros((HEIGHT * _SCALE, WIDTH * _SCALE, 4), np.uint8)


def area(points: ArrayLike, *, smooth: bool = True) -> Array:
    """Return the mask (H, W) uint8 of a closed outline (N, 2) in px, `smooth` rounds it through its points."""
    outline = np.asarray(points, float)
    mask = np.zeros((HEIGHT * _SCALE, WIDTH * _SCALE), np.uint8)
    cv2.fillPoly(mask, [_fixed(_through(outline) if smooth else outline)], 255, cv2.LINE_AA, _SHIFT)
    return mask


def oval(x: float, y: float, across: float, down: float) -> Array:
    """Return the mask (H, W) uint8 of an ellipse by its centre and radii in px."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return area(np.stack([x + across * np.cos(t), y + down * np.sin(t)], 1), smooth=False)


def line(points: ArrayLike, width: float) -> Array:
    """Return the mask (H, W) uint8 of one curved stroke, thin at both ends."""
    curve = bezier(np.asarray(points, float)[None])
    profile = np.sin(np.linspace(0.05, np.pi - 0.05, curve.shape[1]))
    return area(_ribbons(curve, width * profile[None])[0], smooth=False)


def soften(mask: Array, sigma: float) -> Array:
    """Return a mask blurred by `sigma` px. Blurred small: nobody sees the difference, and it is far faster."""
    step = max(1, int(sigma * _SCALE / 4))
    size = (mask.shape[1] // step, mask.shape[0] // step)
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma * _SCALE / step)
    return cv2.resize(blurred, mask.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def within(mask: Array, limit: Array) -> Array:
    """Return the part of a mask that lies in another."""
    return cv2.multiply(mask, limit, scale=1 / 255).astype(np.uint8, copy=False)


def fill(target: Array, mask: Array, colour: Colour, opacity: float = 1.0) -> None:
    """Lay one colour over the canvas."""
    _over(target, mask, np.array(colour, np.float32), opacity)


def mould(target: Array, mask: Array, bright: Colour, dark: Colour, depth: float) -> None:
    """Lay a rounded body over the canvas, lit from the upper left: `depth` px from its far edge it is `bright`."""
    move = np.array([[1, 0, -depth * _SCALE * 0.55], [0, 1, -depth * _SCALE * 0.4]])
    lit = cv2.warpAffine(soften(mask, depth), move, mask.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    share = np.clip((lit / np.float32(255) - 0.3) / 0.65, 0, 1)[..., None]
    share = share**2 * (3 - 2 * share)
    light, shade = np.array(bright, np.float32), np.array(dark, np.float32)
    _over(target, mask, shade + (light - shade) * share, 1.0)


def strands(target: Array, curves: Floats, widths: Floats, colours: Floats) -> None:
    """Paint hairs over the canvas, each opaque, thinning to its tip.

    `curves` (N, M, 2) in px, `widths` (N,) in px at the root, `colours` (N, 3) of 255.
    """
    taper = np.linspace(1, 0, curves.shape[1]) ** 0.6
    ribbons = _fixed(_ribbons(curves, widths[:, None] * taper))
    for ribbon, colour in zip(ribbons, colours.clip(0, 255), strict=True):
        cv2.fillPoly(target, [ribbon], (*colour.tolist(), 255.0), cv2.LINE_AA, _SHIFT)


def bezier(control: Floats, points: int = 28) -> Floats:
    """Return curves (N, points, 2) of control points (N, K, 2), of degree K - 1, by de Casteljau."""
    t = np.linspace(0, 1, points)[:, None, None]
    levels = np.repeat(control[:, None], points, axis=1)
    while levels.shape[2] > 1:
        levels = levels[:, :, :-1] * (1 - t) + levels[:, :, 1:] * t
    return levels[:, :, 0]


def merge(target: Array, layer: Array, light: Light, opacity: float = 1.0) -> None:
    """Lay a layer over the canvas, its colours times `light` (H, W), its alpha times `opacity`."""
    x, y, width, height = cv2.boundingRect(layer[..., 3])
    part = np.s_[y : y + height, x : x + width]
    alpha = layer[part][..., 3:] * np.float32(opacity)
    colours = np.minimum(layer[part][..., :3] * (light[part][..., None] * np.float32(opacity)), alpha)
    added = np.concatenate([colours, alpha], axis=2)
    target[part] = np.rint(added + target[part] * (1 - alpha / 255)).astype(np.uint8)


def glow(x: float, y: float, across: float, down: float) -> Light:
    """Return a soft spot of light (H, W) in [0, 1] by its centre and its Gaussian radii in px."""
    column = np.exp(-(((np.arange(WIDTH * _SCALE) / _SCALE - x) / across) ** 2) / 2)
    row = np.exp(-(((np.arange(HEIGHT * _SCALE) / _SCALE - y) / down) ** 2) / 2)
    return np.outer(row, column).astype(np.float32)


def finish(target: Array) -> tuple[Array, Array]:
    """Return the canvas at its final size as straight colours (H, W, 3) uint8 and alpha (H, W) uint8."""
    small = cv2.resize(target.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    alpha = small[..., 3:]
    colours = small[..., :3] * 255 / np.maximum(alpha, 1e-3)
    return np.rint(colours.clip(0, 255)).astype(np.uint8), np.rint(alpha[..., 0]).astype(np.uint8)


def _over(target: Array, mask: Array, colours: NDArray[np.float32], opacity: float) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    part = np.s_[y : y + height, x : x + width]
    share = mask[part][..., None] * np.float32(opacity / 255)
    source = colours[part] if colours.ndim == 3 else colours
    below = target[part]
    below[..., :3] = np.rint(source * share + below[..., :3] * (1 - share))
    below[..., 3:] = np.rint(255 * share + below[..., 3:] * (1 - share))


def _through(points: Floats) -> Floats:
    """Return a closed Catmull-Rom curve through points (N, 2)."""
    p0, p1, p2, p3 = (np.roll(points, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    t = np.linspace(0, 1, 12, endpoint=False)[None, :, None]
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return (curve / 2).reshape(-1, 2)


def _ribbons(curves: Floats, widths: Floats) -> Floats:
    """Return outlines (N, 2 M, 2) of curves (N, M, 2) with widths (N, M)."""
    along = np.gradient(curves, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    offset = across * widths[..., None] / 2
    return np.concatenate([curves + offset, (curves - offset)[:, ::-1]], axis=1)


def _fixed(points: Floats) -> NDArray[np.int32]:
    # OpenCV's whole numbers are pixel centres, ours are corners.
    fixed: NDArray[np.int32] = np.rint((points * _SCALE - 0.5) * 2**_SHIFT).astype(np.int32)
    return fixed
