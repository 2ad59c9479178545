"""Foreground colours freed of the old background."""

import contextlib
import itertools
import logging
import sys
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shm_data.arrays import Array

Floats = NDArray[np.float32]
Window = tuple[slice, slice]  # rows, columns

_log = logging.getLogger(__name__)

# Seconds after which the first use is surely compiling rather than loading.
_COMPILING = 5.0

# The estimate starts from a picture of a few pixels; less than that cannot be halved.
_SMALLEST = 4

# The least to look at around fractional pixels, and what the estimate takes its first colours from.
_SMALLEST_MARGIN = 32
_SURE_FOREGROUND, _SURE_BACKGROUND = 229, 26

_one_at_a_time = threading.Lock()


def estimate(image: Array, alpha: Array) -> Array:
    """The foreground colours F (H, W, 3) uint8 of an image (H, W, 3) uint8 with alpha (H, W) uint8.

    Multi-level estimation (Germer et al., "Fast Multi-Level Foreground Estimation", ICPR 2020) as pymatting
    does it by default. Where alpha is 255 the photo is kept; a binary alpha needs no estimate.
    The first use after an installation compiles for about half a minute, which is logged.
    """
    return _kept_or_estimated(image, alpha, 1)[0]


def separate(image: Array, alpha: Array) -> tuple[Array, Array]:
    """The colours F and B (H, W, 3) uint8 that an image (H, W, 3) uint8 mixes by its alpha (H, W) uint8.

    Both are estimated together, as in `estimate`; where alpha is 0 or 255 both are the photo.
    """
    foreground, background = _kept_or_estimated(image, alpha, 2)
    return foreground, background


def _kept_or_estimated(image: Array, alpha: Array, count: int) -> tuple[Array, ...]:
    """The first `count` of F and B: the image itself, but for its fractional pixels.

    Only the surroundings of fractional pixels are looked at, a tile at a time: it takes a quarter of the time of the
    whole picture and bounds the memory, and on known colours it came out no worse.
    """
    fractional = (alpha > 0) & (alpha < 255)
    if not fractional.any() or min(alpha.shape) < _SMALLEST:
        return (image,) * count
    wanted = tuple(image.copy() for _ in range(count))
    for core in _cores(fractional):
        window = _window(core, alpha)
        inside = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, window, strict=True))
        estimated = _multi_level(_unit(image[window]), _unit(alpha[window]))
        for whole, colours in zip(wanted, estimated, strict=False):
            whole[core][fractional[core]] = _bytes(colours[inside][fractional[core]])
    return wanted


def _cores(fractional: NDArray[np.bool_]) -> Iterator[Window]:
    """The boxes of the fractional pixels in each tile that has any."""
    side = 4 * _margin(fractional.shape)
    height, width = fractional.shape
    for top, left in itertools.product(range(0, height, side), range(0, width, side)):
        tile = fractional[top : top + side, left : left + side]
        rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
        if rows.size:
            yield slice(top + rows[0], top + rows[-1] + 1), slice(left + columns[0], left + columns[-1] + 1)


def _window(core: Window, alpha: Array) -> Window:
    """A box with so much around it that it holds sure foreground and sure background, if the picture does."""
    margin = _margin(alpha.shape)
    while True:
        window = tuple(
            slice(max(0, part.start - margin), min(length, part.stop + margin))
            for part, length in zip(core, alpha.shape, strict=True)
        )
        sure = alpha[window].max() > _SURE_FOREGROUND and alpha[window].min() < _SURE_BACKGROUND
        if sure or alpha[window].shape == alpha.shape:
            return window[0], window[1]
        margin *= 2


def _margin(shape: tuple[int, ...]) -> int:
    """How far around fractional pixels to look: the same share of a picture at any size."""
    return max(_SMALLEST_MARGIN, max(shape) // 32)


def _bytes(colours: Floats) -> Array:
    return np.rint(colours * 255).clip(0, 255).astype(np.uint8)


def _unit(pixels: Array) -> Floats:
    return np.divide(pixels, 255, dtype=np.float32)


def _multi_level(image: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    # Imported here: numba takes a second to load, and not every job needs it.
    with _one_at_a_time, told_if_slow():
        import numba  # noqa: PLC0415
        from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml  # noqa: PLC0415

    numba.set_num_threads(1)  # of this thread: its callers are many already
    with _gate(numba):
        foreground, background = estimate_foreground_ml(image, alpha, return_background=True)
    return foreground, background


@contextlib.contextmanager
def told_if_slow() -> Iterator[None]:
    """Around an import of pymatting: logs a line if it takes so long that it must be compiling."""
    if "pymatting" in sys.modules:
        yield
        return
    message = "compiling the estimator of foreground colours: once after an installation, about half a minute"
    timer = threading.Timer(_COMPILING, _log.warning, [message])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _gate(numba: object) -> contextlib.AbstractContextManager[object]:
    """Keeps threads apart where numba needs it: its fallback layer ends the process when two enter at once."""
    try:
        layer = numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:  # nothing has run yet
        layer = "unknown"
    return contextlib.nullcontext() if layer in ("omp", "tbb") else _one_at_a_time
