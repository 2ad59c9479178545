"""Settings of the whole process, changed only while they are needed: a library is a guest. Standard library only."""

import threading
from collections.abc import Callable
from types import TracebackType

Restore = Callable[[], object]


class HostSetting:
    """A context in which a process-wide setting is changed; restored when the last thread has left it.

    `change` changes the setting and returns the function that restores it.
    """

    def __init__(self, change: Callable[[], Restore]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._inside = 0
        self._restore: Restore = lambda: None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore = self._change()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()
