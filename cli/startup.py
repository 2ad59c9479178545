"""What the programs set in their own process, before anything else is imported.

Nothing here happens where another program imports `cli`: its process belongs to it.
"""

import gc
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130

# The name of our program that this process runs; empty in any other process.
PROGRAM = os.path.splitext(os.path.basename(sys.argv[0]))[0]  # noqa: PTH122  # pathlib takes time to import
PROGRAM = PROGRAM if PROGRAM in ("shm-data", "shm-model") else ""

# Number of new objects after which Python's garbage collector runs. With the usual 700, it took a tenth of the time
# of loading libraries, whose objects stay.
_NEW_OBJECTS = 10_000

# What to do next; `predict` makes everything anew unless it gets --skip-done.
_ADVICE = "add --skip-done to the same command" if sys.argv[1:2] == ["predict"] else "run the same command again"
MESSAGE = f"Interrupted. Every written file is complete; {_ADVICE} to resume."


def tune_process() -> None:
    """Set what holds for the whole process and for the processes it starts."""
    gc.set_threshold(_NEW_OBJECTS)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to find them it would search all installed packages
    if PROGRAM == "shm-data":
        # It uses no linear algebra, and waiting threads of OpenBLAS would keep cores busy. OpenCV's own threads would
        # wait for ours, which already use all cores.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
        # Numba looks for it to compile linear algebra, which only `matte` has; loading SciPy is a fifth of a start.
        if sys.argv[1:2] != ["matte"]:
            sys.modules["scipy.linalg.cython_blas"] = None  # type: ignore[assignment]
        from shm_data.host.allocator import tune_allocator

        tune_allocator()


def open_standard_streams() -> None:
    """Open the null device for a standard stream that is closed.

    Otherwise the next file that is opened would get its number, and messages would be written into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def use_utf8() -> None:
    """Start again in Python's UTF-8 mode where file names have another encoding: lists of names are UTF-8."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def handle_signals() -> None:
    """End by Ctrl-C and SIGTERM with one sentence. A signal that the parent process ignores stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once, wherever the program is: files are whole or absent, so nothing needs to be finished."""
    del number, frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _do_nothing)
    if not _is_child():
        os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


def _is_child() -> bool:
    """Return whether `multiprocessing` started this process: its parent prints the sentence."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Ignore a signal. Python reports one that arrived just before it was set to SIG_IGN; this reports nothing."""
    del number, frame


if PROGRAM:
    handle_signals()
    open_standard_streams()
    use_utf8()
    tune_process()
