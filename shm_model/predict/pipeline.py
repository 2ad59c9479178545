"""Read, predict and write at the same time, in bounded memory."""

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `function(item)` in order, while `threads` threads compute the next results.

    The caller's thread draws the items. At most `threads` results wait to be taken, which bounds the memory
    where the caller is the slowest part.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def group_neighbours(items: Iterable[Item], size: int, key: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    """Yield groups of at most `size` consecutive items with the same key."""
    for _, run in itertools.groupby(items, key):
        while group := list(itertools.islice(run, size)):
            yield group
