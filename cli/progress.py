"""Progress with rate and time left: a bar on a terminal, now and then a line in a log."""

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
    """Passes the items on and shows on the error stream how many of the `total` have passed."""
    if total == 0:
        return items
    if sys.stderr.isatty():
        from tqdm import tqdm

        # A terminal that tells no size, as in a container, counts as 80x24; tqdm would show nothing there.
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
        _tell(one_line(line))


def _lines(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    begun = told = time.monotonic()
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= _PAUSE:
            told = now
            rate = count / (now - begun)
            left = (total - count) / rate
            _tell(f"{label}: {count} of {total}, {rate:.1f}/s, {left:.0f} s left")
    _tell(f"{label}: {count} in {time.monotonic() - begun:.1f} s")


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # the work goes on where a log can grow no more
        click.echo(line, err=True)
