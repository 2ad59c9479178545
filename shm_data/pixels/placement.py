"""Where people stand in the frame, and before whom: pure functions on colours and alpha."""

from dataclasses import dataclass

import cv2
import numpy as np

from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, blend, resize_matte, resize_straight
from shm_data.pixels.trimap import LOSSY_TOLERANCE

# Alpha from which on a figure counts as cut by the frame: less would hardly be seen if it ended in the middle.
_CUT = 26


def place_in_frame(colours: Array, alpha: Array, size: Size, place: tuple[float, ...]) -> tuple[Array, Array]:
    """Colours (H, W, 3) and alpha (H, W), both uint8, in a frame of `size` (width, height).

    The place is (scale, across, down): at scale 1 the picture is as high as the frame, and from 0 to 1 the figure,
    which may be less than the picture, goes from one end of where it has room to the other. A side that cuts
    the figure does so afterwards, too: there it stays, and between two such sides it is no smaller than the frame.
    What is larger than the frame is cut.
    """
    scale, across, down = place
    cut = _cut_ends(alpha), _cut_ends(alpha.T)
    scales = size[0] / alpha.shape[1], size[1] / alpha.shape[0]
    by = max(scale * scales[1], *(least for least, ends in zip(scales, cut, strict=True) if all(ends)), 0)
    columns = _along(_extent(alpha), size[0], by, cut[0], across)
    rows = _along(_extent(alpha.T), size[1], by, cut[1], down)
    window, new = (rows.shown, columns.shown), (columns.new, rows.new)
    colours, alpha = (np.ascontiguousarray(pixels[window]) for pixels in (colours, alpha))
    margins = (rows.before, rows.after), (columns.before, columns.after)
    shown = cv2.copyMakeBorder(resize_straight(colours, alpha, new), *margins[0], *margins[1], cv2.BORDER_REPLICATE)
    return shown.astype(np.uint8, copy=False), np.pad(resize_matte(alpha, new), margins)


def composite_over(front: tuple[Array, Array], back: tuple[Array, Array]) -> tuple[Array, Array]:
    """One foreground over another: colours (H, W, 3) and alpha (H, W), uint8, of both together.

    A = 1 - (1 - a) (1 - b) and F = (a F_a + (1 - a) b F_b) / A (Porter and Duff, "Compositing Digital Images",
    SIGGRAPH 1984), so that A F + (1 - A) B is the one composited over the other over B. Where A is 0, F is F_a.
    """
    (colours, alpha), (others, behind) = front, back
    a, b = alpha.astype(np.uint16), behind.astype(np.uint16)
    both = a * 255 + (255 - a) * b
    share = np.full(alpha.shape, 255, np.uint8)
    some = both > 0
    share[some] = np.rint(255 * 255 * a[some].astype(np.float32) / both[some])
    return blend(colours, share, others), ((both + 127) // 255).astype(np.uint8)


def _cut_ends(alpha: Array) -> tuple[bool, bool]:
    """Whether the frame cuts the figure of an alpha (H, W) uint8 on the left, and on the right."""
    return bool((alpha[:, 0] >= _CUT).any()), bool((alpha[:, -1] >= _CUT).any())


def _extent(alpha: Array) -> tuple[int, int]:
    """From which column of an alpha (H, W) uint8 to which there is a figure; all of them if there is none."""
    found = np.flatnonzero((alpha > LOSSY_TOLERANCE).any(axis=0))
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, alpha.shape[1])


@dataclass(frozen=True, slots=True)
class _Along:
    """What is shown along one side of the frame, how long it is there, and the room left before and after it."""

    shown: slice
    new: int
    before: int = 0
    after: int = 0


def _along(extent: tuple[int, int], wide: int, by: float, cut: tuple[bool, bool], share: float) -> _Along:
    """Where a figure that is scaled `by` comes to lie along a frame that is so `wide`."""
    first, last = extent
    new = max(1, round(by * (last - first)))
    if new >= wide:  # cut before it is scaled: it may be much larger than the frame
        kept = min(last - first, max(1, round(wide / by)))
        start = first + int(share * (last - first - kept + 1))
        return _Along(slice(start, start + kept), wide)
    before = int(share * (wide - new + 1))
    if any(cut):
        before = 0 if cut[0] else wide - new
    return _Along(slice(first, last), new, before, wide - new - before)
