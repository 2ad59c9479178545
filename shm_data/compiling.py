"""Tells that something takes long because it is being compiled."""

import contextlib
import logging
import threading
from collections.abc import Iterator

_log = logging.getLogger(__name__)

# Seconds after which a first use is surely compiling rather than loading.
_COMPILING = 3.0


@contextlib.contextmanager
def told_if_slow(what: str, time: str) -> Iterator[None]:
    """Around the first use of what is compiled once: logs a line if it takes so long that it must be compiling."""
    timer = threading.Timer(_COMPILING, _log.warning, [f"compiling {what}: once after an installation, {time}"])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
