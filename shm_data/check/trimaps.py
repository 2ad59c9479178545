"""Finds faults of trimaps: in their values, and against the alpha."""

import numpy as np

from shm_data.check.findings import Finding, error, warning
from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import (
    BACKGROUND,
    CLASSES,
    FOREGROUND,
    IGNORED,
    LOSSY_TOLERANCE,
    TrimapRule,
    derive_trimap,
    missing_classes,
    normalise_trimap,
)

# A share of pixels that a rescaled or hand-drawn trimap may have on the wrong side: real ones have none.
_FEW = 0.001

# Another version of OpenCV may draw a band that is narrower by a pixel here and there.
_REDRAWN = 0.01


def trimap_faults(what: str, stored: Array, alpha: Array, rule: TrimapRule | None = None) -> list[Finding]:
    """Return the faults of a trimap (H, W) uint8 as stored, for an alpha (H, W) uint8.

    With a rule, the trimap must be what the rule makes of alpha. Without, it is somebody's own and may be narrower
    than the soft edge: that is a warning.
    """
    if rule is not None and rule.method == "mask":
        return _derived(what, stored, alpha, rule)
    try:
        trimap = normalise_trimap(stored)
    except ShmDataError:
        return [error("trimap", what, "many gray levels", "0, 128 and 255")]
    strange = sorted(set(np.flatnonzero(np.bincount(stored.ravel(), minlength=256)).tolist()) - {*CLASSES, IGNORED})
    if strange:
        levels = ", ".join(map(str, strange[:5])) + (" ..." if len(strange) > 5 else "")
        return [
            warning("trimap", what, f"the values {levels}", "0, 128 and 255"),
            *_against(what, trimap, alpha, rule),
        ]
    return _against(what, trimap, alpha, rule)


def _against(what: str, trimap: Array, alpha: Array, rule: TrimapRule | None) -> list[Finding]:
    contrary = ((trimap == FOREGROUND) & (alpha < 128)) | ((trimap == BACKGROUND) & (alpha >= 128))
    if np.mean(contrary) > _FEW:
        found = f"{np.mean(contrary):.1%} of the pixels on the wrong side of alpha"
        return [error("trimap", what, found, "foreground where alpha is 255, background where it is 0")]
    if rule is not None:
        return _derived(what, trimap, alpha, rule)
    narrow = _known_but_soft(trimap, alpha)
    if narrow > _FEW:
        found = f"{narrow:.1%} of the pixels known, though alpha is fractional there"
        return [warning("trimap", what, found, "every fractional pixel unknown")]
    lacking = [name for name in missing_classes(trimap) if name != "background"]
    if lacking:
        return [warning("trimap", what, f"no {' and no '.join(lacking)}", "all three classes")]
    return []


def _known_but_soft(trimap: Array, alpha: Array) -> float:
    """Return the share of pixels with fractional alpha that the trimap has as known."""
    foreground = (trimap == FOREGROUND) & (alpha < 255 - LOSSY_TOLERANCE)
    return float(np.mean(foreground | ((trimap == BACKGROUND) & (alpha > LOSSY_TOLERANCE))))


def _derived(what: str, trimap: Array, alpha: Array, rule: TrimapRule) -> list[Finding]:
    differing = float(np.mean(trimap != derive_trimap(alpha, rule)))
    if differing == 0:
        return []
    found = f"{differing:.2%} of the pixels other than its recipe makes of alpha"
    return [(error if differing > _REDRAWN else warning)("trimap", what, found, "the trimap of the recipe")]
