"""Prepares the memory of a virtual machine for a benchmark that writes files."""

import os
import shutil
from pathlib import Path

_CHUNK = 4 * 2**20  # bytes


def hold_memory(folder: Path) -> None:
    """Fill idle memory with the page cache of a file, which stays in `folder`, so that the host leaves it to us.

    The system drops these pages as soon as it needs memory. A host may give the idle memory of a virtual machine to
    others; then each page of a new file must first be fetched back, which takes several times as long as writing it.
    Pages of a truncated file become idle, too, so the effect lasts for some minutes only.
    """
    path = folder / "held"
    if not path.exists():
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, min(_available(), shutil.disk_usage(folder).free // 2))
    chunk = bytearray(_CHUNK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(chunk):
            pass


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
