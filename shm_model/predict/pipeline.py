"""Reading, predicting and writing at the same time, with little held in memory."""

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """The results of `function` over `items`, in order, while threads work on the next ones.

    Items are drawn in the caller's thread, and at most as many as there are threads wait beyond what was taken:
    that bounds the memory, which joblib's generators do not where the caller is the slowest.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def alike(items: Iterable[Item], size: int, key: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    """Neighbours of the same key together, at most `size` of them."""
    for _, run in itertools.groupby(items, key):
        while group := list(itertools.islice(run, size)):
            yield group
