"""Compiles a loop for one signature, and keeps the result for the next start where that is possible."""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.errors import NumbaError

Loop = TypeVar("Loop", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


def compiled(signature: object) -> Callable[[Loop], Loop]:
    """Return a decorator that compiles a function for numba's `signature`, or loads it from numba's cache.

    Numba writes its cache without syncing it, and believes what it finds: a broken entry (0 bytes are what a loss of
    power leaves) is made anew. Where nothing can be kept, the function is compiled at each start, which is logged.
    """

    def compile_or_load(function: Loop) -> Loop:
        cached = njit(signature, cache=True, nogil=True)
        try:
            return cast(Loop, cached(function))
        except NumbaError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a broken pickle raises, a full disk, no folder at all
            reason = error
        with contextlib.suppress(Exception):
            cast(Any, njit(cache=True)(function))._cache.flush()
            return cast(Loop, cached(function))
        _warn(str(reason))
        return cast(Loop, njit(signature, nogil=True)(function))

    return compile_or_load


@functools.cache  # each loop has the same reason
def _warn(reason: str) -> None:
    advice = "NUMBA_CACHE_DIR may name a folder that can be written to"
    _log.warning("compiled loops cannot be kept, so every start takes some seconds longer: %s; %s", reason, advice)
