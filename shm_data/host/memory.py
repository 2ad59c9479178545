"""How much memory is free. Standard library only."""

import contextlib
from pathlib import Path

_SYSTEM = Path("/proc/meminfo")

# The limit of a container and what is used of it; "max" where there is none.
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int | None:
    """Return the bytes that programs may still use; None where the system is not Linux."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _SYSTEM.read_text(encoding="ascii").splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):
        found.append(int(_LIMIT.read_text(encoding="ascii")) - int(_USED.read_text(encoding="ascii")))
    return min(found, default=None)
