"""Readies the memory of the machine for a benchmark that writes files."""

import os
import shutil
from pathlib import Path

_CHUNK = 4 * 2**20  # bytes


def hold_memory(folder: Path) -> None:
    """Has the machine hold all its memory: fills what is idle with the pages of a file, which `folder` keeps.

    They make room as soon as others need it. A virtual machine may lend idle memory to its neighbours; each page of a
    new file must then first be fetched back, which takes several times as long as to write it. What a file that is
    emptied leaves is idle, too, so this holds for some minutes only.
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
