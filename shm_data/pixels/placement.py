"""Moves people in the frame, and composites one over another: pure functions on colours and alpha."""

from dataclasses import dataclass

import cv2
import numpy as np

from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, blend, resize_matte, resize_straight
from shm_data.pixels.trimap import LOSSY_TOLERANCE

# Alpha from which a person counts as cut by the frame: less would hardly be seen if it ended in the middle.
_CUT = 26


def place_in_frame(colours: Array, alpha: Array, size: Size, position: tuple[float, ...]) -> tuple[Array, Array]:
    """Return colours (H, W, 3) and alpha (H, W), uint8, scaled and moved in a frame of `size` (width, height).

    `position` is (scale, across, down): at scale 1 the picture is as high as the frame; across and down move the
    person, which may be smaller than the picture, from 0 at one end of the free space to 1 at the other. A side that
    cuts the person still does so afterwards: there the person stays, and between two such sides it is no smaller than
    the frame. What exceeds the frame is cut.
    """
    scale, across, down = position
    cut = _cut_ends(alpha), _cut_ends(alpha.T)
    scales = size[0] / alpha.shape[1], size[1] / alpha.shape[0]
    scale = max(scale * scales[1], *(least for least, ends in zip(scales, cut, strict=True) if all(ends)), 0)
    columns = _along(_extent(alpha), size[0], scale, cut[0], across)
    rows = _along(_extent(alpha.T), size[1], scale, cut[1], down)
    window, new = (rows.shown, columns.shown), (columns.new, rows.new)
    colours, alpha = (np.ascontiguousarray(pixels[window]) for pixels in (colours, alpha))
    margins = (rows.before, rows.after), (columns.before, columns.after)
    shown = cv2.copyMakeBorder(resize_straight(colours, alpha, new), *margins[0], *margins[1], cv2.BORDER_REPLICATE)
    return shown.astype(np.uint8, copy=False), np.pad(resize_matte(alpha, new), margins)


def composite_over(front: tuple[Array, Array], back: tuple[Array, Array]) -> tuple[Array, Array]:
    """Composite one foreground over another: return colours (H, W, 3) and alpha (H, W), uint8, of both together.

    A = 1 - (1 - a) (1 - b) and F = (a F_a + (1 - a) b F_b) / A (Porter and Duff, "Compositing Digital Images",
    SIGGRAPH 1984), so that A F + (1 - A) B is front over back over B. Where A is 0, F is F_a.
    """
    (colours, alpha), (others, behind) = front, back
    a, b = alpha.astype(np.uint16), behind.astype(np.uint16)
    both = a * 255 + (255 - a) * b
    share = np.full(alpha.shape, 255, np.uint8)
    some = both > 0
    share[some] = np.rint(255 * 255 * a[some].astype(np.float32) / both[some])
    return blend(colours, share, others), ((both + 127) // 255).astype(np.uint8)


def _cut_ends(alpha: Array) -> tuple[bool, bool]:
    """Return whether the frame cuts the person of an alpha (H, W) uint8 on the left, and on the right."""
    return bool((alpha[:, 0] >= _CUT).any()), bool((alpha[:, -1] >= _CUT).any())


def _extent(alpha: Array) -> tuple[int, int]:
    """Return the first column and the end of the person in an alpha (H, W) uint8; all columns if nobody is there."""
    found = np.flatnonzero((alpha > LOSSY_TOLERANCE).any(axis=0))
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, alpha.shape[1])


@dataclass(frozen=True, slots=True)
class _Along:
    """One direction: the slice of the picture that is shown, its new length, and the margins before and after it."""

    shown: slice
    new: int
    before: int = 0
    after: int = 0


def _along(extent: tuple[int, int], wide: int, scale: float, cut: tuple[bool, bool], share: float) -> _Along:
    """Return where a scaled person lies along a side of the frame that is `wide` px long."""
    first, last = extent
    new = max(1, round(scale * (last - first)))
    if new >= wide:  # cut before it is scaled: it may be much larger than the frame
        kept = min(last - first, max(1, round(wide / scale)))
        start = first + int(share * (last - first - kept + 1))
        return _Along(slice(start, start + kept), wide)
    before = int(share * (wide - new + 1))
    if any(cut):
        before = 0 if cut[0] else wide - new
    return _Along(slice(first, last), new, before, wide - new - before)
