"""Runs commands and measures their time and memory.

This module imports little: a child process starts with the memory of its parent, which counts towards its peak.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass
class Usage:
    """What a process used: seconds, CPU seconds, bytes at its peak; and the CPU seconds of all other processes."""

    wall: float
    cpu: float
    peak: int
    others: float


class NotAvailableError(Exception):
    """The command does not have an option."""


def run(command: Sequence[str], *, watched: bool = False) -> Usage:
    """Run a command and return its usage. If `watched`, the memory of all its child processes counts, too."""
    with tempfile.TemporaryFile() as log:
        busy, begun = _busy(), time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peak = _watch(process.pid) if watched else 0
        _, status, usage = os.wait4(process.pid, 0)
        wall, busy = time.perf_counter() - begun, _busy() - busy
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            _refuse(command, process.returncode, log.read().decode(errors="replace"))
    own = usage.ru_utime + usage.ru_stime
    return Usage(wall, own, max(peak, usage.ru_maxrss * 1024), max(0, busy - own))


def _refuse(command: Sequence[str], code: int, output: str) -> None:
    last = output.strip().splitlines()[-1:] or [""]
    if any(words in output for words in ("No such option", "Invalid value", "is not one of")):
        raise NotAvailableError(last[0].removeprefix("Error: "))
    raise click.ClickException(f"{' '.join(command)} ended with exit code {code}:\n{output[-2000:]}")


def _busy() -> float:
    """Return the busy seconds of all cores since the machine started, with those that its host took."""
    user, nice, system, _, _, irq, softirq, steal = map(int, _text(Path("/proc/stat")).split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _watch(pid: int) -> int:
    """Return the peak of the memory of a process and its children until it ends (PSS: shared pages count once)."""
    peak = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        peak = max(peak, sum(map(_pss, _tree(pid))))
        time.sleep(0.02)
    return peak


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _text(path).split():
            yield from _tree(int(child))


def _pss(pid: int) -> int:
    lines = _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _text(path: Path) -> str:
    """Return the text of a file in /proc, empty once the process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def disk_use(folder: Path) -> int:
    """Return the bytes that a folder takes on disk; hard links count once."""
    stats = [path.lstat() for path in folder.rglob("*")]
    return sum({(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in stats}.values())
