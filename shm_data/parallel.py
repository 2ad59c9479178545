"""Runs one function over many items on all cores, with progress."""

import contextlib
import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

import cv2

from shm_data.errors import ShmDataError
from shm_data.host.allocator import FREED_MEMORY_KEPT, tune_allocator
from shm_data.host.settings import HostSetting, Restore

# Threads beside those that work: of the progress bar, and the timer of compiled loops.
_OTHER_THREADS = 3

# What Linux lets the processes of a container use: microseconds of processor time in each period.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")

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

    def apply_all(some: list[Item]) -> list[Result]:
        return [function(item) for item in some]

    remaining = iter(items)
    batches = iter(lambda: list(itertools.islice(remaining, batch)), [])
    count = count_workers(jobs)
    with _ONE_OPENCV_THREAD:
        if count == 1:
            results: Iterator[list[Result]] = map(apply_all, batches)
        else:
            _require_threads(count)
            results = _from_threads(apply_all, batches, count, ordered=ordered)
        yield from itertools.chain.from_iterable(results)


def _from_threads(
    function: Callable[[Item], Result], items: Iterator[Item], count: int, *, ordered: bool
) -> Iterator[Result]:
    """Yield `function` of each item from `count` threads. One task for each waits, so that none has to."""
    with ThreadPoolExecutor(count) as pool:
        pending: deque[Future[Result]] = deque()
        finished: SimpleQueue[Future[Result]] = SimpleQueue()

        def submit(item: Item) -> None:
            pending.append(future := pool.submit(function, item))
            if not ordered:
                future.add_done_callback(finished.put)

        try:
            for item in itertools.islice(items, 2 * count):
                submit(item)
            while pending:
                future = pending[0] if ordered else finished.get()
                result = future.result()
                pending.remove(future)
                for item in itertools.islice(items, 1):
                    submit(item)
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _require_threads(count: int) -> None:
    """Raise ShmDataError, with the number of threads that can be started, if it is lower."""
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
    """Return how many threads `jobs` means: -1 is one per core that this process may use."""
    return jobs if jobs > 0 else max(1, _count_cores() + 1 + jobs)


def _count_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # a container's share; "max" if it has no limit
        quota, period = _CGROUP_LIMIT.read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)
