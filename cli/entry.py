"""Run a group of commands as a program. Exit codes: 0, 1 for a user's fault in one sentence, 130 when interrupted."""

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterable, Iterator

import click

from cli.startup import PROGRAM, handle_signals
from shm_data.errors import ShmDataError, is_machine_fault, one_line

# Modules that come with an extra, and its name.
_EXTRAS = {
    "torch": "model",
    "av": "model",
    "yaml": "model",
    "tensorboard": "model",
    "distributed": "cluster",
    "gradio": "app",
    "pymatting": "matte",
}
_EXTRAS |= dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export")


def run(group: click.Group) -> None:
    """Run the group with the program's arguments and exit. Bugs of ours keep their traceback."""
    handle_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal's encoding lacks
    try:
        code = group.main(standalone_mode=False)
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        _fail(message)
    if PROGRAM:
        gc.freeze()  # else Python searches for garbage once more when it ends: 0.2 s after numba was loaded
    sys.exit(code if isinstance(code, int) else 0)


def say(lines: Iterable[str]) -> None:
    """Print lines; line breaks in names are escaped."""
    for line in lines:
        click.echo(one_line(line))


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """Run until Ctrl-C or SIGTERM, which then is a normal end, and let the body clean up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def _message(error: Exception) -> str | None:
    """Return the sentence for the user; None if the error is a bug of ours."""
    match error:
        case click.ClickException():
            return error.format_message()
        case ShmDataError():
            return str(error)
        case ModuleNotFoundError() if error.name in _EXTRAS:
            return f"{error.name} is not installed: run pip install 'shm-matting[{_EXTRAS[error.name]}]'"
    return _message_of_machine(error)


def _message_of_machine(error: Exception) -> str | None:
    """Return the sentence for a fault of the machine; None if it is none."""
    match error:
        case FileNotFoundError() if str(error.strerror).startswith("No usable temporary directory"):
            return "no folder for temporary files can be written to: set TMPDIR to one"
        case OSError() if not error.filename and _stdout_is_lost():
            return f"cannot write to the standard output: {error.strerror}"
        case OSError() if is_machine_fault(error):
            return f"cannot continue: {error.strerror}{f': {error.filename}' * bool(error.filename)}"
        case Exception() if is_machine_fault(error):
            return "cannot continue: too little memory"
        case Exception() if _lacks_threads(error):
            return "cannot start more threads: give fewer --jobs, or raise the limit of processes (ulimit -u)"
    return None


def _lacks_threads(error: BaseException | None) -> bool:
    """Return whether a thread could not be started. A pool of threads may fail again while it cleans up."""
    while error is not None:
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _stdout_is_lost() -> bool:
    """Return whether not even an empty line can be printed, as on a full disk; then stop printing."""
    try:
        print(flush=True)
    except OSError:
        # Python would write its buffer once more when it ends, and report the failure in two lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _fail(message: str) -> None:
    with contextlib.suppress(OSError):  # the error stream may be closed
        click.echo(f"Error: {message}", err=True)
    sys.exit(1)
