"""Runs a group of commands as a program: every fault of the user is one sentence and exit code 1."""

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from types import FrameType

INTERRUPTED = 130

# New objects after which Python looks for garbage. A command's libraries are many objects that stay; to look among
# them after each few hundred took a tenth of the time of loading them.
_NEW_OBJECTS = 10_000

_ASKED = "with --skip-done " * (sys.argv[1:2] == ["predict"])
_TOLD = f"Interrupted. What was written is whole; {_ASKED}the same command goes on from there."


def _stop(number: int, frame: FrameType | None) -> None:
    """Says so, and ends at once, wherever the program is: files are whole or absent, so nothing need be finished."""
    del number, frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _deaf)
    os.write(2, f"{_TOLD}\n".encode())
    os._exit(INTERRUPTED)


def _deaf(number: int, frame: FrameType | None) -> None:
    """Does nothing. Of a signal that came before it was to be ignored, Python would tell that it was."""
    del number, frame


def _listen() -> None:
    """A polite kill is told what Ctrl-C is told. A program that was started to ignore one goes on to do so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


# From here on, and only where these are our programs: who imports us has handlers and objects of their own.
_PROGRAM = os.path.basename(sys.argv[0])
_IS_OURS = _PROGRAM in ("shm-data", "shm-model")
if _IS_OURS:
    _listen()
    gc.set_threshold(_NEW_OBJECTS)
if _PROGRAM == "shm-data":
    # It knows no linear algebra, whose threads would wait for work by turning in circles.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click  # noqa: E402

from shm_data.errors import MACHINE, ShmDataError, one_line  # noqa: E402

# What comes with an extra only, and with which.
_EXTRAS = {"torch": "model", "yaml": "model", "tensorboard": "model", "distributed": "cluster", "gradio": "app"}
_EXTRAS |= dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export")


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """Goes on until Ctrl-C or a polite kill, which is then the right way to end, and tidies up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def run(group: click.Group) -> None:
    """Runs the group with the program's arguments and exits. Our own bugs keep their traceback."""
    _listen()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    try:
        code = group.main(standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message())
    except ShmDataError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        _fail(f"{error.name} is not installed: pip install 'shm-matting[{_EXTRAS[error.name]}]' brings it")
    except OSError as error:
        if error.errno in MACHINE:
            _fail(f"cannot go on: {error.strerror}{f': {error.filename}' * bool(error.filename)}")
        if not _has_lost_its_output():
            raise
        _fail(f"cannot write to the standard output: {error.strerror}")
    if _IS_OURS:
        gc.freeze()  # or at its end Python would look for garbage once more, a fifth of a second after numba
    sys.exit(code if isinstance(code, int) else 0)


def say(lines: Iterable[str]) -> None:
    """Prints lines, each on one line, whatever names are in them."""
    for line in lines:
        click.echo(one_line(line))


def _has_lost_its_output() -> bool:
    """Whether not even an empty line can be printed, as on a full disk; then nothing more is tried."""
    try:
        print(flush=True)
    except OSError:
        # What is held back would be tried once more at the end, and be told in two lines of Python's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _fail(message: str) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)
