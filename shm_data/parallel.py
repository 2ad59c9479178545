"""Runs one function over many items on all cores, with progress. The only module that knows joblib."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import cv2
from joblib import Parallel, delayed, effective_n_jobs

from shm_data.allocator import FREED_MEMORY_KEPT, tune_allocator
from shm_data.errors import ShmDataError
from shm_data.host import HostSetting, Restore

# Threads beside those that work: three of joblib, the one of a progress bar, and the timer of compiled loops.
_OTHER_THREADS = 6

Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress(Protocol):
    """Shows how many of `total` items have passed, and passes them on."""

    def __call__(self, items: Iterable[Result], total: int, label: str) -> Iterable[Result]:
        """Return the items while it shows progress."""


def quiet(items: Iterable[Result], total: int, label: str) -> Iterable[Result]:
    """Return the items and show nothing."""
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
    """Yield `function` of each item from `jobs` threads (-1: one per core), as results come or in order.

    Threads, not processes: decoding, blending and encoding release the interpreter's lock, and an array is shared
    instead of copied. OpenCV starts no threads of its own meanwhile: they would compete with ours. Items are consumed
    as they are needed, `batch` at a time: where each takes less than a millisecond, single ones cost more to pass.
    Raises ShmDataError where the system allows fewer threads.
    """
    _require_threads(count_workers(jobs))

    def apply_all(some: list[Item]) -> list[Result]:
        return [function(item) for item in some]

    remaining = iter(items)
    batches = iter(lambda: list(itertools.islice(remaining, batch)), [])
    kind = "generator" if ordered else "generator_unordered"
    workers = Parallel(n_jobs=jobs, prefer="threads", return_as=kind, batch_size=1)
    with _ONE_OPENCV_THREAD:
        yield from itertools.chain.from_iterable(workers(delayed(apply_all)(some) for some in batches))


def _require_threads(count: int) -> None:
    """Raise ShmDataError unless so many threads can be started: joblib would fail halfway, and wait for ever."""
    if count == 1:
        return
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count + _OTHER_THREADS):
            thread = threading.Thread(target=done.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        possible = max(1, len(started) - _OTHER_THREADS)
        what = f"{count} threads cannot be started: the system limits threads or processes"
        raise ShmDataError(what, expected=f"--jobs {possible} or fewer") from error
    finally:
        done.set()
        for thread in started:
            thread.join()


def _limit_opencv() -> Restore:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return lambda: cv2.setNumThreads(threads)


_ONE_OPENCV_THREAD = HostSetting(_limit_opencv)


def tune_worker(kept: int = FREED_MEMORY_KEPT) -> None:
    """Tune a process of our own, one worker of several: one OpenCV thread, and `kept` bytes of freed memory a thread.

    Both last as long as the process, so this is for programs and their workers, not for a library's caller.
    """
    cv2.setNumThreads(1)
    tune_allocator(kept)


def count_workers(jobs: int) -> int:
    """Return how many threads `jobs` means: -1 is one per core."""
    count: int = effective_n_jobs(jobs)
    return count
