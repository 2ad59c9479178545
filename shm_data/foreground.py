"""Foreground colours freed of the old background."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]
Floats = NDArray[np.float32]

_log = logging.getLogger(__name__)

# Seconds after which the first use is surely compiling rather than loading.
_COMPILING = 5.0

_one_at_a_time = threading.Lock()


def estimate(image: Array, alpha: Array) -> Array:
    """The foreground colours F (H, W, 3) uint8 of an image (H, W, 3) uint8 with alpha (H, W) uint8.

    Multi-level estimation (Germer et al., "Fast Multi-Level Foreground Estimation", ICPR 2020) as pymatting
    does it by default. Where alpha is 255 the photo is kept; a binary alpha needs no estimate.
    The first use after an installation compiles for about half a minute, which is logged.
    """
    if not ((alpha > 0) & (alpha < 255)).any():
        return image
    colours = _multi_level(_unit(image), _unit(alpha))
    estimated = np.rint(colours * 255).clip(0, 255).astype(np.uint8)
    return np.where((alpha == 255)[..., None], image, estimated)


def _unit(pixels: Array) -> Floats:
    return np.divide(pixels, 255, dtype=np.float32)


def _multi_level(image: Floats, alpha: Floats) -> Floats:
    # Imported here: numba takes a second to load, and not every job needs it.
    with _one_at_a_time, _told_if_slow():
        import numba  # noqa: PLC0415
        from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml  # noqa: PLC0415

    numba.set_num_threads(1)  # of this thread: its callers are many already
    with _gate(numba):
        colours: Floats = estimate_foreground_ml(image, alpha)
    return colours


@contextlib.contextmanager
def _told_if_slow() -> Iterator[None]:
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
