"""Finds faults of alphas in their pixels. All thresholds were tried on the mattes of twelve public sets."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import LOSSY_TOLERANCE

# Levels that count as 0 or 255.
FLAT = LOSSY_TOLERANCE

# Black-and-white photos are flat, that is near 0 or 255, in up to 16 % of their pixels. Mattes are in 40 % (where a
# solver was given few known pixels) to 100 %.
_FLAT_IN_PHOTOS = 0.25

# Soft pixels for each pixel of the contour: 0.8 to 16 in mattes with a soft edge, 0 in binary masks.
_SOFTEST_BINARY = 0.1

# The border of an inverted matte is foreground in most of its length, and more so than the centre. Of matted people
# and things the border is foreground in at most 46 %, and always less than the centre.
_BORDER, _BORDER_OVER_CENTRE = 0.5, 0.05

# A trimap has one level between 0 and 255, in a band of at least `_BAND` pixels for each pixel of the contour. Of the
# soft pixels of mattes at most 12 % are within 2 levels of one level.
_ONE_LEVEL, _BAND = 0.9, 2

# An island is a small part of the foreground, as a share of the largest part, that far from it, over the root of the
# area of the largest part.
_ISLAND, _SMALLEST_ISLAND, _FAR = 0.01, 9, 0.3


def is_flat(alpha: Array) -> NDArray[np.bool_]:
    """Return which pixels of an alpha (H, W) uint8 are near 0 or 255."""
    return (alpha <= FLAT) | (alpha >= 255 - FLAT)


def soft_share_of_photo(alpha: Array) -> float:
    """Return the share of soft pixels if an alpha (H, W) uint8 has the shades of a gray photo, else 0."""
    flat = float(np.mean(is_flat(alpha)))
    return 1 - flat if flat < _FLAT_IN_PHOTOS else 0


def is_trimap(alpha: Array) -> bool:
    """Return whether an alpha (H, W) uint8 is a trimap: its soft pixels are a wide band of a single level."""
    soft = alpha[~is_flat(alpha)]
    if soft.size < _BAND * max(1, contour_length(alpha)):
        return False
    level = int(np.bincount(soft, minlength=256).argmax())
    return bool(np.mean(np.abs(soft.astype(np.int16) - level) <= 2) > _ONE_LEVEL)


def is_binary(alpha: Array) -> bool:
    """Return whether an alpha (H, W) uint8 has no soft edge."""
    return bool(np.count_nonzero(~is_flat(alpha)) < _SOFTEST_BINARY * max(1, contour_length(alpha)))


def is_inverted(alpha: Array) -> bool:
    """Return whether an alpha (H, W) uint8 is foreground at the border and background in the centre."""
    border, centre = border_and_centre(alpha)
    return border > _BORDER and border > centre + _BORDER_OVER_CENTRE


def border_and_centre(alpha: Array) -> tuple[float, float]:
    """Return mean alpha, 0 to 1, of a frame of 2 % of the short edge, and of the middle third each way."""
    height, width = alpha.shape
    band = max(1, round(min(height, width) / 50))
    inside = alpha[band : height - band, band : width - band]
    frame = (alpha.sum(dtype=np.int64) - inside.sum(dtype=np.int64)) / (alpha.size - inside.size) / 255
    centre = alpha[height // 3 : height - height // 3, width // 3 : width - width // 3]
    return float(frame), float(centre.mean() / 255)


def contour_length(alpha: Array) -> int:
    """Return the length in px of the line where alpha crosses one half."""
    half = (alpha >= 128).astype(np.uint8)
    return int(np.count_nonzero(cv2.morphologyEx(half, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))) // 2


def islands(alpha: Array) -> list[tuple[int, int]]:
    """Return the positions (x, y) of small parts of the foreground far from its largest part."""
    number, labels, boxes, _ = cv2.connectedComponentsWithStats((alpha >= 128).astype(np.uint8), connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    if number < 3:
        return []
    largest = int(areas.argmax())
    small = (areas >= _SMALLEST_ISLAND) & (areas <= _ISLAND * areas[largest])
    if not small.any():
        return []
    distance = cv2.distanceTransform((labels != largest).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    nearest = np.full(number, np.inf, np.float32)
    spots = small[labels]
    np.minimum.at(nearest, labels[spots], distance[spots])
    far = small & (nearest >= _FAR * np.sqrt(areas[largest]))
    return [(int(x), int(y)) for x, y in boxes[far, :2]]
