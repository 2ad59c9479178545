"""Says why it takes long: loops are being compiled."""

import contextlib
import logging
import threading
from collections.abc import Iterator

_log = logging.getLogger(__name__)

# Seconds after which this is surely compiling rather than loading.
_COMPILING = 3.0


@contextlib.contextmanager
def warn_if_slow() -> Iterator[None]:
    """Log a line if the loading of compiled loops takes so long that they must be being compiled."""
    message = "compiling loops over pixels: once after an installation, some seconds"
    timer = threading.Timer(_COMPILING, _log.warning, [message])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
