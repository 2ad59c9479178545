"""Finds faults of alphas by their pixels. All thresholds were tried on the mattes of twelve public sets."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.check.findings import Finding, error, warning
from shm_data.images import HIGHEST_OF_LABELS, is_gray
from shm_data.pixels.arrays import Array
from shm_data.pixels.matte_faults import FLAT as _FLAT
from shm_data.pixels.matte_faults import (
    border_and_centre,
    contour_length,
    is_binary,
    is_flat,
    is_inverted,
    is_trimap,
    islands,
    soft_share_of_photo,
)
from shm_data.pixels.trimap import TrimapRule, flat_levels, kernel_width, missing_classes_by

# Mattes that are made with care are flat, that is near 0 or 255, in 78 % of their pixels at least.
_FLAT_IN_MATTES = 0.7

# Peaks in flat areas for each pixel of the contour: up to 0.25 in clean mattes, made by hand or by networks; 0.5 to
# 1.7 as a rule where they went through JPEG of quality 75 to 95, and 0.5 to 11 in the output of solvers.
_NOISY = 0.4

# Specks that keying leaves inside a body are of a few pixels; the smallest true gap (between leaves, fingers, curls)
# of that depth is 0.014 % of its foreground. Depth is the distance from other background over the root of the area.
_SPECK, _SMALLEST_SPECK, _DEEP = 1e-4, 4, 0.1

# A straight cut-out has colours above its alpha in 35 % to 84 % of its soft pixels, a premultiplied one in none.
# If fewer than 10 % are expected from its opaque colours, it is too dark to decide.
_EXPECTED, _SEEN, _ENOUGH = 0.1, 0.05, 50


def faults_of(what: str, alpha: Array, image: Array | None = None, *, lossy: bool = False) -> list[Finding]:
    """Return the faults of an alpha (H, W) uint8, compared with its image (H, W, 3) uint8 if that is given.

    `lossy` says whether its file is lossy. An alpha that is blank or swapped with its image has no other findings.
    """
    if alpha.max() <= HIGHEST_OF_LABELS:
        found = f"an alpha that is nowhere above {alpha.max()}"
        return [error("blank", what, found, "0 for background to 255 for foreground")]
    if alpha.min() >= 255 - _FLAT:
        return [error("blank", what, f"an alpha that is nowhere below {alpha.min()}", "some background")]
    if image is not None and looks_like_matte(image) and not looks_like_matte(alpha):
        return [swapped(what)]
    return [*_grave_faults(what, alpha), *_oddities(what, alpha, lossy=lossy)]


def swapped(what: str) -> Finding:
    """Return the finding that image and alpha are swapped."""
    return error("swapped", what, "an image like a matte and an alpha like a photo", "the photo as image")


def looks_like_matte(pixels: Array) -> bool:
    """Return whether pixels (H, W) or (H, W, 3) uint8 are gray and mostly black or white."""
    plane = pixels if pixels.ndim == 2 else pixels[..., 0]
    if np.mean(is_flat(plane)) <= _FLAT_IN_MATTES:
        return False
    return pixels.ndim == 2 or is_gray(pixels)


def cutout_faults(what: str, colours: Array, alpha: Array) -> list[Finding]:
    """Return whether the colours (H, W, 3) uint8 of a cut-out are premultiplied by its alpha (H, W) uint8.

    Premultiplied colours are nowhere above alpha. How often straight colours would be is estimated from the colours
    of opaque pixels.
    """
    brightest = colours.max(axis=2)
    soft, opaque = (alpha > _FLAT) & (alpha < 230), brightest[alpha >= 255 - _FLAT]
    if np.count_nonzero(soft) < _ENOUGH or not opaque.size:
        return []
    above = 1 - np.cumsum(np.bincount(opaque, minlength=256)) / opaque.size
    limits = alpha[soft].astype(np.int64) + 2  # for rounding
    expected, seen = np.mean(above[limits]), np.mean(brightest[soft] > limits)
    if expected < _EXPECTED or seen > _SEEN * expected:
        return []
    found = "colours that darken with alpha, as if over black"
    return [error("premultiplied", what, found, "straight colours: those of the foreground itself")]


def _grave_faults(what: str, alpha: Array) -> Iterator[Finding]:
    if shades := soft_share_of_photo(alpha):
        found = f"shades of gray in {shades:.0%} of the pixels, as in a photo"
        yield error("swapped", what, found, "a matte, mostly 0 and 255")
    elif is_trimap(alpha):
        yield error("is_trimap", what, "three levels, the middle one in a wide band", "the soft edges of a matte")
    if is_inverted(alpha):
        found = "alpha {:.2f} along the border and {:.2f} in the centre".format(*border_and_centre(alpha))
        yield error("inverted", what, found, "255 for the foreground, 0 for the background")


def _oddities(what: str, alpha: Array, *, lossy: bool) -> Iterator[Finding]:
    contour = max(1, contour_length(alpha))
    if is_binary(alpha):
        yield warning("binary", what, "a binary alpha", "soft edges")
    noise = _peaks(alpha) / contour
    if lossy or noise > _NOISY:
        found = "a lossy file" if lossy else f"{noise:.1f} stray levels for each pixel of the contour"
        yield warning("noise", what, found, "0 in the background and 255 in the foreground, exactly")
    tolerance = max(flat_levels(alpha))
    band = kernel_width(alpha.shape[::-1], "auto")
    if "foreground" in missing_classes_by(alpha, TrimapRule("euclid", band, band, tolerance)):
        found = f"no foreground of the trimap's band within {tolerance} levels of 255"
        yield warning("maximum", what, found, "a flat foreground")
    if parts := islands(alpha):
        column, row = parts[0]
        found = f"{len(parts)} small parts far from the largest, one at x {column}, y {row}"
        yield warning("islands", what, found, "one person")
    specks = _specks(alpha)
    if specks:
        column, row = specks[0]
        found = f"{len(specks)} specks of background inside the foreground, one at x {column}, y {row}"
        yield warning("holes", what, found, "a foreground without holes")


def _peaks(alpha: Array) -> int:
    """Count the pixels that differ from both neighbours in a row or column, where all around is near 0 or near 255.

    A soft edge that runs out falls towards 0 steadily; noise goes up and down.
    """
    count = 0
    for levels in (alpha, 255 - alpha):
        flat = cv2.dilate(levels, np.ones((3, 3), np.uint8))[1:-1, 1:-1] <= _FLAT + 3
        middle = levels[1:-1, 1:-1]
        across = (middle > levels[1:-1, :-2]) & (middle > levels[1:-1, 2:])
        down = (middle > levels[:-2, 1:-1]) & (middle > levels[2:, 1:-1])
        count += int(np.count_nonzero(flat & (across | down)))
    return count


def _specks(alpha: Array) -> list[tuple[int, int]]:
    """Where, as (x, y), small spots of background lie deep inside the sure foreground, soft rims included."""
    sure = alpha >= 255 - _FLAT
    area = np.count_nonzero(sure)
    number, labels, boxes, _ = cv2.connectedComponentsWithStats((~sure).astype(np.uint8), connectivity=8)
    small = boxes[:, cv2.CC_STAT_AREA] <= max(_SMALLEST_SPECK, _SPECK * area)
    small[0] = False  # the sure foreground itself
    spots = small[labels]
    lowest, depth = np.full(number, 255, np.uint8), np.full(number, np.inf, np.float32)
    np.minimum.at(lowest, labels[spots], alpha[spots])
    np.minimum.at(depth, labels[spots], _distance_to(~(sure | spots))[spots])
    deep = small & (lowest <= _FLAT) & (depth >= _DEEP * np.sqrt(area))
    return [(int(x), int(y)) for x, y in boxes[deep, :2]]


def _distance_to(region: NDArray[np.bool_]) -> cv2.typing.MatLike:
    """Return the distance in px of each pixel to the region or the border of the picture, whichever is nearer."""
    padded = np.pad((~region).astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
