"""Runs one function over many items on all cores, with progress. The only module that knows joblib."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import cv2
from joblib import Parallel, delayed, effective_n_jobs

from shm_data.allocator import tune_allocator

# Bytes of freed memory that a thread keeps: two pictures of a megapixel. With twice as much, memory grows.
_KEPT = 2**23

Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress(Protocol):
    """Shows that `items` pass by, of which `total` are expected, and passes them on."""

    def __call__(self, items: Iterable[Result], total: int, label: str) -> Iterable[Result]:
        """Gives each of `items` while it shows how far they are."""


def quiet(items: Iterable[Result], total: int, label: str) -> Iterable[Result]:
    """The progress that shows nothing."""
    del total, label
    return items


def spread(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int = -1,
    *,
    ordered: bool = False,
    batch: int = 1,
) -> Iterator[Result]:
    """The results of `function` over `items` as they come (or in order), from `jobs` threads (-1: all cores).

    Threads, not processes: decoding, blending and encoding release the interpreter's lock, and an array
    is shared instead of copied. The items are drawn as they are needed, so many in a `batch`: where each takes less
    than a millisecond, handing them over one by one takes longer.
    """

    def apply_all(some: list[Item]) -> list[Result]:
        return [function(item) for item in some]

    left = iter(items)
    batches = iter(lambda: list(itertools.islice(left, batch)), [])
    kind = "generator" if ordered else "generator_unordered"
    workers = Parallel(n_jobs=jobs, prefer="threads", return_as=kind, batch_size=1)
    return itertools.chain.from_iterable(workers(delayed(apply_all)(some) for some in batches))


def make_ready(kept: int = _KEPT) -> None:
    """Prepare a process of ours that is one of several: OpenCV starts no threads, and each thread keeps freed memory.

    The setting outlives the call. `kept` is the most bytes that a thread keeps for its next picture.
    """
    cv2.setNumThreads(1)
    tune_allocator(kept)


def count_workers(jobs: int) -> int:
    """How many threads `jobs` stands for: -1 is one a core."""
    count: int = effective_n_jobs(jobs)
    return count
