"""Regions over which errors are summed, and the rules of published test sets for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import (
    BACKGROUND,
    FOREGROUND,
    UNKNOWN,
    TrimapRule,
    derive_trimap,
    flat_levels,
    kernel_width,
)

Region = Literal["whole", "unknown", "foreground", "background", "edge"]
REGIONS: tuple[Region, ...] = ("whole", "unknown", "foreground", "background", "edge")

# Regions that a trimap defines.
OF_TRIMAP: dict[Region, int] = {"unknown": UNKNOWN, "foreground": FOREGROUND, "background": BACKGROUND}

# The edge: pixels at most so far from fractional alpha, or from the step of a hard edge. As wide as hair.
_EDGE_RADIUS = 3


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a published test set is scored: regions, scale, whether files are frames, and the rule of trimaps.

    `derive` returns the trimap (H, W) of a truth (H, W) uint8, where none is given; None: a trimap must be given.
    """

    regions: tuple[Region, ...]
    convention: str
    summary: str
    derive: Callable[[Array], Array] | None = None
    frames: bool = False


def edge_of(truth: Array) -> NDArray[np.bool_]:
    """Return the pixels (H, W) at most 3 px from fractional alpha or from a hard edge of a truth (H, W) uint8."""
    width = 2 * _EDGE_RADIUS + 1
    return np.asarray(derive_trimap(truth, TrimapRule("euclid", width, width)) == UNKNOWN)


def derive_default(truth: Array) -> Array:
    """Return the trimap of a truth by the rule of `shm-data`: discs of 1 % of the long edge."""
    width = kernel_width((truth.shape[1], truth.shape[0]), "auto")
    return derive_trimap(truth, TrimapRule("euclid", width, width, max(flat_levels(truth))))


def derive_ellipse_25(truth: Array) -> Array:
    """Return the trimap of a truth by an elliptic kernel of 25 px, as GFM and PaddleSeg score portraits."""
    return derive_trimap(truth, TrimapRule("ellipse", 25, 25))


def derive_photomatte85(truth: Array) -> Array:
    """Return the trimap of a truth as BackgroundMattingV2 describes it for PhotoMatte85.

    Alpha between 0.06 and 0.96 is unknown; 10 dilations, then 10 erosions with a round kernel of 3x3 close its gaps.
    """
    unknown = ((truth >= 0.06 * 255) & (truth <= 0.96 * 255)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    closed = cv2.erode(cv2.dilate(unknown, kernel, iterations=10), kernel, iterations=10) > 0
    return np.where(closed, UNKNOWN, np.where(truth > 0.5 * 255, FOREGROUND, BACKGROUND)).astype(np.uint8)


_PORTRAITS: tuple[Region, ...] = ("whole", "unknown", "foreground", "background")

PROTOCOLS = {
    "adobe": Protocol(("unknown",), "adobe", "Composition-1k, alphamatting.com: with the trimaps of the set"),
    "p3m": Protocol(
        _PORTRAITS,
        "adobe",
        "P3M-500-P and -NP, AIM-500, AM-2k: whole images, and the regions of a 25 px trimap",
        derive_ellipse_25,
    ),
    "ppm100": Protocol(("whole",), "adobe", "PPM-100: whole images"),
    "photomatte85": Protocol(
        ("unknown",), "adobe", "PhotoMatte85: trimaps by the rule of BackgroundMattingV2", derive_photomatte85
    ),
    "video": Protocol(("whole",), "video", "VideoMatte, YouTubeMatte: whole frames and dtSSD", frames=True),
    "shm": Protocol(("whole",), "mean", '"Semantic Human Matting": means over whole images'),
}
