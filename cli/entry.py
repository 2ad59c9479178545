"""Runs a group of commands as a program: every fault of the user is one sentence and exit code 1."""

import os
import signal
import sys

import click

from shm_data.errors import ShmDataError

INTERRUPTED = 130

# What comes with an extra only, and with which.
_EXTRAS = {"torch": "model", "yaml": "model", "tensorboard": "model"}


def run(group: click.Group) -> None:
    """Runs the group with the program's arguments and exits. Our own bugs keep their traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is told what Ctrl-C is told
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
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was written is whole; the same command goes on from there.", err=True)
        # Threads that are in the middle of a sample need not finish it: files are whole or absent.
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)
