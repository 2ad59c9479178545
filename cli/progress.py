"""Progress with rate and remaining time: a bar on a terminal, a line from time to time in a log."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

from shm_data.errors import one_line

Item = TypeVar("Item")

# Seconds between two lines in a log.
_PAUSE = 10.0


def show(items: Iterable[Item], total: int, label: str) -> Iterable[Item]:
    """Pass the items on, and show on the error stream how many of the `total` have passed."""
    if total == 0:
        return items
    if sys.stderr.isatty():
        from tqdm import tqdm

        # Some terminals, as in containers, report no size; tqdm would show nothing there, so they count as 80x24.
        columns, lines = shutil.get_terminal_size()
        bar: Iterable[Item] = tqdm(items, total=total, desc=label, ncols=columns, nrows=lines)
        return bar
    return _lines(items, total, label)


def print_line(line: str) -> None:
    """Print a line on the error stream, above the bar if there is one."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(one_line(line), file=sys.stderr)
    else:
        _print(one_line(line))


def _lines(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    started = printed = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - printed >= _PAUSE:
            printed = now
            rate = count / (now - started)
            left = (total - count) / rate
            _print(f"{label}: {count} of {total}, {rate:.1f}/s, {left:.0f} s left")
    _print(f"{label}: {count} in {time.monotonic() - started:.1f} s")


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # a full disk or closed stream must not stop the work
        click.echo(line, err=True)
