"""Runs a command in a copy of a process that has loaded everything: 50 ms, not half a second, so sweeps are cheap.

The copy is a process of its own, ended by a signal or an exit code like any other. What is to be done to it, such as
a limit, or a failure of its n-th change to the disk, is done by a function just before the command begins.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_LOADED = [
    "__main__",
    __name__,
    "cli.data",
    "cli.progress",
    "shm_data.building.build",
    "shm_data.demo",
    "shm_data.building.executors",
]
_LOADED += ["shm_data.pixels.kernels", "shm_data.report.contact_sheet", "shm_data.building.trimaps"]
_CHANGES = {"os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,), "os.mkdir": (0,), "os.remove": (0,)}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_LOADED)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or the negative number of the signal, and what it printed."""

    code: int
    out: str
    err: str


def shm_data(*arguments, before=None, timeout=60):
    """Runs `shm-data ARGUMENTS`, after `before()` in the same process."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("out", "err")]
        process = _context.Process(target=_run, args=([*map(str, arguments)], before, outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"shm-data {arguments} hangs")
        return Ended(process.exitcode, *(path.read_text(errors="replace") for path in outputs))


def _run(arguments, before, outputs):
    from cli import startup
    from cli.data import main

    startup._is_child = lambda: False  # it stands for a program, not for a worker whose parent prints the sentence
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["shm-data", *arguments]
    multiprocessing.process._parent_process = None  # it plays the program, not a worker of one
    if before:
        before()
    main()


@dataclass
class AtChange:
    """Does `act` just before the `first`-th change to the disk in `root`, and, if `lasting`, before all that follow.

    With `reading` what counts is not the changes, but the files that are opened to be read.
    """

    root: Path
    first: int
    act: Callable[[str], None]
    lasting: bool = False
    reading: bool = False
    seen: int = 0

    def __call__(self):
        sys.addaudithook(self._heard)

    def _heard(self, event, arguments):
        counts = _reads if self.reading else _changes
        if counts(event, arguments, str(self.root)):
            self.seen += 1
            if self.seen == self.first or (self.lasting and self.seen > self.first):
                self.act(event)


def _changes(event, arguments, root):
    """Whether an event of the interpreter is about to change something in a folder."""
    if event == "open":
        path, _, flags = arguments
        return flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and _is_in(path, root)
    return event in _CHANGES and any(_is_in(arguments[index], root) for index in _CHANGES[event])


def _reads(event, arguments, root):
    return event == "open" and not _changes(event, arguments, root) and _is_in(arguments[0], root)


def _is_in(path, root):
    return not isinstance(path, int) and (os.fsdecode(path) + "/").startswith(root + "/")


@dataclass(frozen=True)
class AtCall:
    """Does `act` in the first function of Python that a function of the name `caller` calls."""

    caller: str
    act: Callable[[str], None]

    def __call__(self):
        sys.setprofile(self._heard)

    def _heard(self, frame, event, argument):
        del argument
        if event == "call" and frame.f_back and frame.f_back.f_code.co_name == self.caller:
            sys.setprofile(None)
            self.act(event)


@dataclass(frozen=True)
class Send:
    """Sends this process a signal."""

    how: signal.Signals

    def __call__(self, event):
        del event
        os.kill(os.getpid(), self.how)


@dataclass(frozen=True)
class Fail:
    """Fails with an error number, as the kernel does; with `only`, but for that kind of event."""

    number: int
    only: str = ""

    def __call__(self, event):
        if self.only in ("", event):
            raise OSError(self.number, os.strerror(self.number))


@dataclass(frozen=True)
class Forbid:
    """Takes away the right to write in a folder and in those in it."""

    root: Path

    def __call__(self, event):
        del event
        for folder in (self.root, *(path for path in self.root.rglob("*") if path.is_dir())):
            folder.chmod(0o555)


@dataclass(frozen=True)
class Take:
    """Moves something away."""

    path: Path
    target: Path

    def __call__(self, event):
        del event
        if self.path.exists():
            self.path.rename(self.target)


@dataclass(frozen=True)
class Unprivileged:
    """Takes from this process what a superuser may do beyond its rights to a file; then does what `after` does."""

    after: Callable[[], None]

    def __call__(self):
        version_3 = struct.pack("=Ii", 0x20080522, 0)
        if ctypes.CDLL(None).capset(version_3, bytes(24)):
            raise RuntimeError("capset failed")
        self.after()


@dataclass(frozen=True)
class FewFiles:
    """Lets this process open `more` files, and no further one."""

    more: int

    def __call__(self):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + self.more, free + self.more))
