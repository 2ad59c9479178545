"""Faults of the machine while a network trains, as one sentence: memory, killed workers, unguarded scripts."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

import cv2
import torch

from shm_data.errors import ShmDataError

Item = TypeVar("Item")

# The exit code of a worker that imported an unguarded script and came to its train().
_UNGUARDED = 77

_GUARD = 'the call of train() under `if __name__ == "__main__":`, or num_workers=0'
_RESUMES = "the same command resumes the run"

# What torch, NumPy and OpenCV write of a lack of memory, and torch of a lack of shared memory.
_MEMORY = ("allocate memory", "MemoryError", "Unable to allocate", "Insufficient memory", "out of memory")
_SHARED = ("shared memory", "shm_open", "unable to write to file", "unable to open file", "unable to mmap")


@contextlib.contextmanager
def machine_faults() -> Iterator[None]:
    """Turn faults of the machine into ShmDataError; other errors pass."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError, cv2.error) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and any(sign in text for sign in _SHARED):
            raise _too_little_shared_memory() from error
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in text for sign in _MEMORY):
            expected = f"a smaller batch_size with accumulate, or smaller crops (docs/train.md, Memory); {_RESUMES}"
            raise ShmDataError("training", found="too little memory", expected=expected) from error
        raise


def read_batches(loader: Iterable[Item]) -> Iterator[Item]:
    """Yield what a loader's workers read. Raises ShmDataError that says why one of them ended."""
    batches = iter(loader)
    workers = multiprocessing.active_children()
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" in str(error) and "exited unexpectedly" in str(error):
            raise _worker_fault({worker.exitcode for worker in workers}) from error
        raise


def refuse_unguarded_script() -> None:
    """End this process if it is a worker that imports the script which started it: it must not train again."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_UNGUARDED)


def end_with_parent() -> None:
    """Make this worker end when the process that started it ends, even if killed, and leave Ctrl-C to that process.

    With a fork server the parent by number is the server, which does not notice; the sentinel is that of the trainer.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _worker_fault(exit_codes: Collection[int | None]) -> ShmDataError:
    if _UNGUARDED in exit_codes:
        return ShmDataError("a script that trains with num_workers", found="no main guard", expected=_GUARD)
    if -signal.SIGBUS in exit_codes:
        return _too_little_shared_memory()
    expected = f"fewer num_workers if the system ran out of memory; {_RESUMES}"
    return ShmDataError("a process that reads samples", found="that it was killed", expected=expected)


def _too_little_shared_memory() -> ShmDataError:
    expected = f"more of /dev/shm (docker run --shm-size=1g), or num_workers=0; {_RESUMES}"
    return ShmDataError("the processes that read samples", found="too little shared memory", expected=expected)
