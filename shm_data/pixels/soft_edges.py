"""Estimates alpha from a photo and a mask: near the edge of the mask by the colours, elsewhere as the mask.

The matte is the minimum of a^T L a + sum w (a - m)^2 with the matting Laplacian L of the photo (Levin et al. 2008,
"A closed-form solution to natural image matting", by pymatting) and the mask m. The weight w of the mask grows from
its edge, of which it says little, to the end of the band, beyond which it is certain.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array, require_bytes

# The parts of a photo that are solved by themselves, in px, so that memory does not grow with the photo, and how much
# is seen around each: the influence of a pixel is lost within some dozen pixels.
_TILE, _AROUND = 256, 48

# How far the band reaches outside and inside, in radii: hair lies outside. On portraits whose mattes were made masks
# (thresholded, simplified to polygons, and enlarged from a fifth) wider bands find more hair, and more that is none.
_OUTSIDE, _INSIDE = 2, 1

# The weight of the mask at the end of its band, and at its edge, where it must only keep the system regular.
_SURE, _LEAST = 1.0, 1e-4

# The regularisation of the Laplacian, for colours in [0, 1].
_EPSILON = 1e-6

# The solver stops at this share of the first residual, or after so many steps: a level of 255 needs some dozens.
_RESIDUAL, _STEPS = 1e-4, 1000

# What the solver leaves of a level is flat, as in a matte: shares of alpha so near to 0 or 1.
_FLAT = 0.03

Floats = NDArray[np.float64]


def estimate_alpha(photo: Array, mask: Array, radius: int) -> Array:
    """Return alpha (H, W) uint8 of the people in a photo (H, W, 3) uint8 in sRGB.

    `mask` (H, W) uint8 is 255 where they are, else 0. Pixels farther than `radius` px inside it, or 2 * `radius`
    outside, keep its value. Needs pymatting. Raises ShmDataError for other arrays.
    """
    require_bytes("photo", photo, None, None, 3)
    require_bytes("mask", mask, *photo.shape[:2])
    inside, outside = _distance(mask >= 128), _distance(mask < 128)
    depth = np.maximum(inside / (_INSIDE * radius), outside / (_OUTSIDE * radius))
    alpha = np.where(mask >= 128, 255, 0).astype(np.uint8)
    for tile, around in _tiles(depth < 1):
        found = _solve(photo[around] / 255, mask[around] >= 128, depth[around])
        y, x = (each.start - outer.start for each, outer in zip(tile, around, strict=True))
        height, width = alpha[tile].shape
        alpha[tile] = np.rint(255 * found[y : y + height, x : x + width]).astype(np.uint8)
    return alpha


def _distance(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far each pixel of a region is from its end, in px; 0 outside."""
    return np.asarray(cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _tiles(band: NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the tiles in which a pixel is in the band, and each with what is seen around it."""
    height, width = band.shape
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            tile = slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))
            if band[tile].any():
                first, second = (slice(max(0, each.start - _AROUND), each.stop + _AROUND) for each in tile)
                yield tile, (first, second)


def _solve(colours: Floats, person: NDArray[np.bool_], depth: NDArray[np.float32]) -> Floats:
    """Return alpha (H, W) in [0, 1] of a tile, whose `depth` is 1 or more where the mask is certain."""
    import pymatting  # noqa: PLC0415  # of an extra

    free = (depth < 1).ravel()
    alpha = person.ravel().astype(np.float64)
    laplacian = pymatting.cf_laplacian(colours, epsilon=_EPSILON, is_known=~free)[free]
    system, given = laplacian[:, free], alpha[free]
    weight = np.maximum(_SURE * depth.ravel()[free], _LEAST).astype(np.float64)
    system.setdiag(system.diagonal() + weight)
    right = weight * given - laplacian[:, ~free] @ alpha[~free]
    try:
        preconditioner = pymatting.ichol(system.tocsc())
        options = {"x0": given, "M": preconditioner, "rtol": _RESIDUAL, "atol": _RESIDUAL, "maxiter": _STEPS}
        alpha[free] = pymatting.cg(system, right, **options)
    except ValueError as error:
        raise ShmDataError("no matte can be estimated", found=str(error)) from error
    return np.clip((alpha - _FLAT) / (1 - 2 * _FLAT), 0, 1).reshape(person.shape)
