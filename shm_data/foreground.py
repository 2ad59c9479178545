"""Foreground colours freed of the old background."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shm_data.arrays import Array

Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)

# Seconds after which the first use is surely compiling rather than loading.
_COMPILING = 5.0

# The estimate starts from a picture of a few pixels; less than that cannot be halved.
_SMALLEST = 4

_one_at_a_time = threading.Lock()


def estimate(image: Array, alpha: Array) -> Array:
    """The foreground colours F (H, W, 3) uint8 of an image (H, W, 3) uint8 with alpha (H, W) uint8.

    Multi-level estimation (Germer et al., "Fast Multi-Level Foreground Estimation", ICPR 2020) as pymatting
    does it by default. Where alpha is 255 the photo is kept; a binary alpha needs no estimate.
    The first use after an installation compiles for about half a minute, which is logged.
    """
    return separate(image, alpha)[0]


def separate(image: Array, alpha: Array) -> tuple[Array, Array]:
    """The colours F and B (H, W, 3) uint8 that an image (H, W, 3) uint8 mixes by its alpha (H, W) uint8.

    Both are estimated together, as in `estimate`; the photo is kept as F where alpha is 255 and as B where it is 0.
    """
    if not ((alpha > 0) & (alpha < 255)).any() or min(alpha.shape) < _SMALLEST:
        return image, image
    foreground, background = (_bytes(colours) for colours in _multi_level(_unit(image), _unit(alpha)))
    kept = alpha[..., None]
    return np.where(kept == 255, image, foreground), np.where(kept == 0, image, background)


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
