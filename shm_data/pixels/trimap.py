"""Alpha -> trimap: 0 background, 128 unknown, 255 foreground."""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array, require_bytes

BACKGROUND, UNKNOWN, FOREGROUND = CLASSES = (0, 128, 255)

# In the trimap of a photo with a mask: near the mask's edge the class of a pixel is not known.
IGNORED = 64

# JPEG and the like leave a few levels of noise where a matte is flat; some networks never reach 255.
LOSSY_TOLERANCE = 5

# The most levels by which a flat region may differ from 0 or 255.
_NEAR_END = 16

# How many times as wide the band around the edge of a mask is as that of an alpha.
_WIDER = 3

TrimapKernel = Literal["euclid", "ellipse", "mask"]


@dataclass(frozen=True, slots=True)
class TrimapRule:
    """How a trimap is derived from alpha.

    `erode` and `dilate` are widths in px, odd, of the kernels that widen the unknown band into the foreground and
    into the background; a width of 1 widens nothing. Values within `tolerance` of 0 or 255 are not fractional.
    `ellipse` is OpenCV's elliptic kernel; `euclid` the exact disc of radius width // 2; `mask` the same disc, for a
    mask in place of an alpha: the band is not labelled. Raises ShmDataError for other values.
    """

    method: TrimapKernel
    erode: int
    dilate: int
    tolerance: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(TrimapKernel):
            expected = " or ".join(map(repr, get_args(TrimapKernel)))
            raise ShmDataError("method of a trimap rule", found=repr(self.method), expected=expected)
        for name, width in (("erode", self.erode), ("dilate", self.dilate)):
            if not isinstance(width, int) or width < 1 or width % 2 == 0:
                raise ShmDataError(f"{name} of a trimap rule", found=repr(width), expected="an odd number of pixels")
        if not isinstance(self.tolerance, int) or not 0 <= self.tolerance < UNKNOWN - 1:
            raise ShmDataError("tolerance of a trimap rule", found=repr(self.tolerance), expected="0 to 126 levels")


def derive_trimap(alpha: Array, rule: TrimapRule) -> Array:
    """Return the trimap (H, W) uint8 in {0, 128, 255} of an alpha (H, W) uint8; of a mask in {0, 64, 255}.

    Foreground is the erosion of alpha == 255 and background the erosion of alpha == 0 (up to the tolerance), so every
    fractional pixel is unknown. The border of the picture erodes nothing. Raises ShmDataError for another array.
    """
    require_bytes("alpha", alpha, None, None)
    shrink = _shrink_ellipse if rule.method == "ellipse" else _shrink_euclid
    trimap = np.full(alpha.shape, IGNORED if rule.method == "mask" else UNKNOWN, np.uint8)
    trimap[shrink(alpha >= 255 - rule.tolerance, rule.erode)] = FOREGROUND
    trimap[shrink(alpha <= rule.tolerance, rule.dilate)] = BACKGROUND
    return trimap


def flat_levels(alpha: Array) -> tuple[int, int]:
    """Return how many levels from 0, and how many from 255, count as flat in an alpha (H, W) uint8.

    Networks write interiors of 250 to 254 with a few stray 255, and JPEG spreads flat regions over a few levels. So
    what is flat follows from the histogram: near each end its mode, all levels beyond the mode, and those on its
    inner side that hold at least a twentieth of its pixels and stand out from the levels further inside. An exact
    matte gives (0, 0).
    """
    counts = np.bincount(alpha.ravel(), minlength=256)
    return _flat_from(counts), _flat_from(counts[::-1])


def _flat_from(counts: NDArray[np.intp]) -> int:
    """Return the last flat level of a histogram (256,), counted from its start."""
    mode = int(counts[:_NEAR_END].argmax())
    least = max(counts[mode] / 20, 4 * float(np.median(counts[_NEAR_END : 3 * _NEAR_END])))
    if counts[mode] < max(least, counts.sum() / 1000):
        return 0
    last = mode
    while last + 1 < _NEAR_END and counts[last + 1] >= least:
        last += 1
    return last


def flat_distance(alpha: Array, tolerance: int = 0) -> NDArray[np.uint16]:
    """Return how far each pixel of an alpha (H, W) uint8 is from the end of its flat region, in px; 0 if fractional.

    `trimap_from_distance` compares it with whole radii, so it is rounded up and loses nothing.
    """
    found = np.zeros(alpha.shape, np.float32)
    for region in (alpha >= 255 - tolerance, alpha <= tolerance):
        found += _distance(region)
    return np.minimum(np.ceil(found), 65535).astype(np.uint16)


def trimap_from_distance(alpha: Array, deep: NDArray[np.uint16], rule: TrimapRule) -> Array:
    """Return the trimap of `derive_trimap` from `flat_distance`, for a rule of discs: cheap for many rules."""
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    opaque = alpha >= 128
    trimap[opaque & (deep > rule.erode // 2)] = FOREGROUND
    trimap[~opaque & (deep > rule.dilate // 2)] = BACKGROUND
    return trimap


def kernel_width(size: tuple[int, int], requested: int | Literal["auto"]) -> int:
    """Return the kernel width in px for a picture of `size` (width, height): as requested, or by its size if "auto".

    "auto" is a radius of 1 % of the long edge. At 1250 px this is the 25 px kernel that portrait benchmarks use; the
    band is the same share of the picture at any resolution.
    """
    return 2 * max(1, round(max(size) / 100)) + 1 if requested == "auto" else requested


def mask_rule(size: tuple[int, int], requested: int | Literal["auto"]) -> TrimapRule:
    """Return the rule for a photo of `size` (width, height) with a mask: a band three times as wide as for an alpha.

    Masks end some pixels beside the edge of a person, and hair begins far from it.
    """
    width = 2 * (_WIDER * (kernel_width(size, requested) // 2)) + 1
    return TrimapRule("mask", width, width)


def normalise_trimap(pixels: Array) -> Array:
    """Return a trimap of any convention, (H, W) uint8, as {0, 128, 255}.

    Unknown may be any level between (102, 127, 128 ...), and {0, 1, 2} are the classes in order. Raises ShmDataError
    where the levels between differ, as in a matte or a photo, or are other labels.
    """
    highest = pixels.max()
    if highest <= 2:
        return np.array(CLASSES, np.uint8)[pixels]
    if highest <= LOSSY_TOLERANCE:
        raise ShmDataError("not a trimap", found=f"labels up to {highest}", expected="0, 1 and 2, or 0 to 255")
    between = pixels[(pixels > LOSSY_TOLERANCE) & (pixels < 255 - LOSSY_TOLERANCE)]
    if between.size and np.mean(np.abs(between - np.median(between)) <= 16) < 0.5:
        raise ShmDataError("not a trimap", found="many gray levels", expected="0, one unknown level, and 255")
    trimap = np.full(pixels.shape, UNKNOWN, np.uint8)
    trimap[pixels <= LOSSY_TOLERANCE] = BACKGROUND
    trimap[pixels >= 255 - LOSSY_TOLERANCE] = FOREGROUND
    return trimap


def missing_classes_by(alpha: Array, rule: TrimapRule) -> tuple[str, ...]:
    """Return the names of the classes that are missing in the trimap of an alpha (H, W) uint8 by a rule.

    Where alpha has fractional pixels, and a square of the kernel's width in either region, none is missing: then the
    trimap need not be derived.
    """
    square = np.ones((max(rule.erode, rule.dilate),) * 2, np.uint8)
    flat = (alpha >= 255 - rule.tolerance).astype(np.uint8), (alpha <= rule.tolerance).astype(np.uint8)
    if not (flat[0] | flat[1]).all() and all(cv2.erode(region, square).any() for region in flat):
        return ()
    return missing_classes(derive_trimap(alpha, rule))


def missing_classes(trimap: Array) -> tuple[str, ...]:
    """Return the names of the classes that are missing in a trimap (H, W) uint8."""
    names = ((BACKGROUND, "background"), (UNKNOWN, "unknown"), (FOREGROUND, "foreground"))
    return tuple(name for value, name in names if not (trimap == value).any())


def _shrink_ellipse(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return cv2.erode(region.astype(np.uint8), kernel) > 0


def _shrink_euclid(region: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the pixels that are farther than the radius from everything outside the region; exact.

    Compiled loops take a tenth of a distance transform's time for common radii; the cost of the transform, used for
    very large ones, does not grow with the radius.
    """
    from shm_data.pixels.kernels import discs  # noqa: PLC0415  # numba takes its time to load

    radius = width // 2
    if radius > discs.LARGEST:
        return _distance(region) > radius
    beside = np.arange(radius + 1)
    kept = np.empty(region.shape, np.bool_)
    discs.erode(np.ascontiguousarray(region), np.sqrt(radius**2 - beside**2).astype(np.uint8), kept)
    return kept


def _distance(region: NDArray[np.bool_]) -> cv2.typing.MatLike:
    return cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
