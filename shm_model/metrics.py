"""Errors of a matte: SAD, MSE, MAD, Grad and Conn, and the IoU of trimaps.

The definitions are those of Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting" (CVPR
2009), in the form of Adobe's MATLAB code for "Deep Image Matting" and its port in mmagic. Mattes are (H, W), uint8
where v means v / 255, or floats in [0, 1]. With a trimap (H, W) uint8 in {0, 128, 255} only its unknown pixels
count, in every metric; without one the whole image. Where nothing is unknown sums are 0 and means nan. Published
numbers for the unknown region presuppose that the prediction was set to the truth where the trimap is known: Grad and
Conn depend on pixels beyond the region. Wrong shapes, types and ranges raise ValueError.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import CLASSES, UNKNOWN

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Matte = NDArray[np.uint8] | NDArray[np.floating]


# Sums are given in thousands, as papers print them.
_THOUSAND = 1000.0

# Grad: the derivative of a Gaussian, cut where it falls below 1e-2, which for this sigma is at 4 px.
_SIGMA = 1.4
_HALF = 4

# Conn: a pixel less than theta above the level at which it is connected to the rest counts as connected.
_THETA = 0.15
_STEPS = 10


@dataclass(frozen=True, slots=True)
class Scores:
    """The five errors of one matte, each as the function of its name returns it."""

    sad: float
    mse: float
    mad: float
    grad: float
    conn: float


@dataclass(frozen=True, slots=True)
class ErrorMaps:
    """The error of each pixel of one matte, (H, W) float64: |p - g|, that of Grad and that of Conn."""

    difference: Floats
    grad: Floats
    conn: Floats


def error_maps(prediction: Matte, truth: Matte) -> ErrorMaps:
    """Return the error of each pixel of a prediction (H, W) uint8 or float in [0, 1], to be summed over regions."""
    p, g, _ = _checked(prediction, truth, None)
    return ErrorMaps(np.abs(p - g), _grad_map(p, g), _conn_map(p, g))


def region_scores(maps: ErrorMaps, region: Mask) -> Scores:
    """Return all errors over the pixels of a region (H, W) bool. Where it is empty, sums are 0 and means nan."""
    return Scores(
        sad=_thousands(maps.difference, region),
        mse=_mean(maps.difference**2, region),
        mad=_mean(maps.difference, region),
        grad=_thousands(maps.grad, region),
        conn=_thousands(maps.conn, region),
    )


def scores(prediction: Matte, truth: Matte, trimap: Array | None = None) -> Scores:
    """Return all errors of a prediction (H, W) uint8 or float in [0, 1]."""
    _, _, region = _checked(prediction, truth, trimap)
    return region_scores(error_maps(prediction, truth), region)


def dtssd(predictions: tuple[Matte, Matte], truths: tuple[Matte, Matte]) -> float:
    """Return the dtSSD of two consecutive frames, each (H, W) uint8 or float in [0, 1].

    That is the root of the mean over the whole frame of the squared difference between the changes of prediction and
    truth: sqrt(mean(((p1 - p0) - (g1 - g0))^2)), which RVM and MatAnyone print x 100.
    """
    p0, g0, _ = _checked(predictions[0], truths[0], None)
    p1, g1, _ = _checked(predictions[1], truths[1], None)
    _check_shapes(p0.shape, "the next frame", p1.shape)
    return float(np.sqrt(np.mean(((p1 - p0) - (g1 - g0)) ** 2)))


def sad(prediction: Matte, truth: Matte, trimap: Array | None = None) -> float:
    """Return the sum of |p - g| / 1000 for (H, W) uint8 or float in [0, 1]: thousands of wholly wrong pixels."""
    p, g, region = _checked(prediction, truth, trimap)
    return _thousands(np.abs(p - g), region)


def mse(prediction: Matte, truth: Matte, trimap: Array | None = None) -> float:
    """Return the mean of (p - g)^2 for (H, W) uint8 or float in [0, 1], in [0, 1]; nan where nothing is unknown."""
    p, g, region = _checked(prediction, truth, trimap)
    return _mean((p - g) ** 2, region)


def mad(prediction: Matte, truth: Matte, trimap: Array | None = None) -> float:
    """Return the mean of |p - g| for (H, W) uint8 or float in [0, 1], in [0, 1]; nan where nothing is unknown."""
    p, g, region = _checked(prediction, truth, trimap)
    return _mean(np.abs(p - g), region)


def grad(prediction: Matte, truth: Matte, trimap: Array | None = None) -> float:
    """Return the sum of (|grad p| - |grad g|)^2 / 1000 for (H, W) uint8 or float in [0, 1].

    Each matte is stretched to [0, 1] first (MATLAB's mat2gray) and convolved with a Gaussian derivative of sigma
    1.4 px whose kernel has the L2 norm 1 (gaussgradient.m): one unit is the response to the kernel, not a slope.
    """
    p, g, region = _checked(prediction, truth, trimap)
    return _thousands(_grad_map(p, g), region)


def conn(prediction: Matte, truth: Matte, trimap: Array | None = None) -> float:
    """Return the sum of |phi(p) - phi(g)| / 1000 for (H, W) uint8 or float in [0, 1].

    phi(x) = 1 - d [d >= 0.15] with d = x - l, and l the last of the levels 0, 0.1 ... 1 up to which the pixel stays
    in the largest 4-connected component of (p >= l) & (g >= l).
    """
    p, g, region = _checked(prediction, truth, trimap)
    return _thousands(_conn_map(p, g), region)


def class_iou(prediction: Array, truth: Array) -> tuple[float, float, float]:
    """Return the intersection over union of background, unknown and foreground, of two trimaps (H, W).

    Both are uint8 in {0, 128, 255}; the result is in [0, 1],
    and nan for a class that occurs in neither.
    """
    _check_trimap("prediction", prediction)
    _check_trimap("truth", truth)
    _check_shapes(prediction.shape, "truth", truth.shape)
    background, unknown, foreground = (_iou(prediction == value, truth == value) for value in CLASSES)
    return background, unknown, foreground


def _iou(one: Mask, other: Mask) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else math.nan


def _thousands(errors: Floats, region: Mask) -> float:
    return float(errors[region].sum()) / _THOUSAND


def _mean(errors: Floats, region: Mask) -> float:
    return float(errors[region].mean()) if region.any() else math.nan


def _grad_map(p: Floats, g: Floats) -> Floats:
    return (_gradient(_stretched(p)) - _gradient(_stretched(g))) ** 2


def _stretched(matte: Floats) -> Floats:
    """MATLAB's mat2gray. A flat matte has no gradient, whatever its value; noise of the last bit is flat."""
    low, spread = matte.min(), np.ptp(matte)
    return np.zeros_like(matte) if spread <= np.finfo(np.float64).eps else np.divide(matte - low, spread)


def _gradient(matte: Floats) -> Floats:
    """Return the magnitude of the Gaussian gradient, with the border replicated.

    The kernel is a product of two, and so is its norm: two passes of 9 weights equal one of 81.
    """
    x = np.arange(-_HALF, _HALF + 1, dtype=np.float64)
    gaussian = np.exp(-(x**2) / (2 * _SIGMA**2))
    smooth, derive = _normed(gaussian), _normed(x * gaussian)
    across = cv2.sepFilter2D(matte, cv2.CV_64F, derive, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(matte, cv2.CV_64F, smooth, derive, borderType=cv2.BORDER_REPLICATE)
    magnitude: Floats = np.sqrt(across**2 + down**2)
    return magnitude


def _normed(kernel: Floats) -> Floats:
    return kernel / float(np.linalg.norm(kernel))


def _conn_map(p: Floats, g: Floats) -> Floats:
    level = _connected_level(np.minimum(p, g))
    return np.abs(_height(p - level) - _height(g - level))


def _height(above: Floats) -> Floats:
    """Return 1 - phi: the height of a pixel above the level at which it is connected; 0 below theta."""
    return np.where(above >= _THETA, above, 0.0)


def _connected_level(both: Floats) -> Floats:
    """Return the level of each pixel: how many steps in a row, from 0.1 on, it is in the largest component.

    Steps are k / 10, rounded once. Sums of 0.1 would put the sixth above 0.6, and so above the value 153 / 255.
    """
    reached = np.zeros(both.shape, np.uint8)
    for step in range(1, _STEPS + 1):
        reached += both >= step / _STEPS
    from shm_data.pixels.kernels import components  # noqa: PLC0415  # numba takes its time to load

    parent, size = np.empty((2, both.size), np.int32)
    steps = np.empty(both.shape, np.uint8)
    components.count_connected(reached, _STEPS, parent, size, steps)
    return steps / _STEPS


def _checked(prediction: Matte, truth: Matte, trimap: Array | None) -> tuple[Floats, Floats, Mask]:
    """Return both mattes as floats in [0, 1], and the region."""
    p, g = _to_unit("prediction", prediction), _to_unit("truth", truth)
    _check_shapes(p.shape, "truth", g.shape)
    if trimap is None:
        return p, g, np.ones(p.shape, np.bool_)
    _check_trimap("trimap", trimap)
    _check_shapes(p.shape, "trimap", trimap.shape)
    return p, g, trimap == UNKNOWN


def _to_unit(name: str, matte: Matte) -> Floats:
    _check_plane(name, matte)
    if matte.dtype == np.uint8:
        return np.divide(matte, 255, dtype=np.float64)
    if not np.issubdtype(matte.dtype, np.floating):
        raise ValueError(f"{name}: found {matte.dtype}, expected uint8 or floats in [0, 1]")
    low, high = matte.min(), matte.max()
    if not (low >= 0 and high <= 1):  # so that nan fails too
        raise ValueError(f"{name}: found floats from {low} to {high}, expected floats in [0, 1]")
    return matte.astype(np.float64)


def _check_trimap(name: str, trimap: Array) -> None:
    _check_plane(name, trimap)
    if trimap.dtype != np.uint8:
        raise ValueError(f"{name}: found {trimap.dtype}, expected a trimap in uint8")
    others = np.setdiff1d(trimap, CLASSES)
    if others.size:
        raise ValueError(f"{name}: found the value {others[0]}, expected only 0, 128 and 255 in a trimap")


def _check_plane(name: str, pixels: NDArray[np.generic]) -> None:
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(f"{name}: found the shape {pixels.shape}, expected (H, W) with at least one pixel")


def _check_shapes(expected: tuple[int, ...], name: str, found: tuple[int, ...]) -> None:
    if found != expected:
        raise ValueError(f"{name}: found the shape {found}, expected the prediction's {expected}")
