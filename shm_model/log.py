"""What a run writes about itself: log.jsonl with the losses of every step, and TensorBoard."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from shm_data.errors import WriteError
from shm_data.files import make_folders, write_bytes

NAME, BOARD = "log.jsonl", "tensorboard"

_scalar: Callable[..., Summary] = summary.scalar
_image: Callable[..., Summary] = summary.image


class Log:
    """The log of a run that starts, or resumes, at step `first`: lines of later steps, done again, are replaced.

    So are the scores after the step before, if the run is still `unscored`. Raises WriteError where the file system
    refuses.
    """

    def __init__(self, savedir: Path, first: int, *, unscored: bool = False) -> None:
        make_folders(savedir)
        self._path = savedir / NAME
        with _write_errors(self._path):
            kept = [line for line in _lines(self._path) if _step(line) < first - (unscored and _is_score(line))]
        write_bytes(self._path, b"".join(kept))
        self._board = _EventFile(savedir / BOARD, first)
        with _write_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")

    def step(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Write the values of a step: the parts of the loss, and the learning rate."""
        self._write({"step": step, "epoch": epoch} | values)
        self._board.write(step, *(_scalar(name, value) for name, value in values.items()))

    def score(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Write scores of val after step `step`; `epoch` epochs are done."""
        self._write({"step": step, "epochs_done": epoch} | values)
        self._board.write(step, *(_scalar(f"val/{name}", value) for name, value in values.items()))

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Write a picture (H, W, 3) uint8."""
        self._board.write(step, _image(name, pixels, dataformats="HWC"))

    def close(self) -> None:
        """Close the files."""
        with _write_errors(self._path):
            self._file.close()
        self._board.close()

    def _write(self, line: dict[str, Any]) -> None:
        with _write_errors(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


class _EventFile:
    """A file for TensorBoard. torch's SummaryWriter writes in a thread, whose errors come late and as tracebacks."""

    def __init__(self, folder: Path, first: int) -> None:
        make_folders(folder)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        with _write_errors(self._path):
            self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # TensorBoard then drops what earlier files hold of this step and later ones.
        self._add(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, *summaries: Summary) -> None:
        for each in summaries:
            self._add(Event(wall_time=time.time(), step=step, summary=each))

    def close(self) -> None:
        with _write_errors(self._path):
            self._file.close()

    def _add(self, event: Any) -> None:
        with _write_errors(self._path):
            self._records.write(event.SerializeToString())
            self._file.flush()


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines of a log; one that a crash cut short is dropped."""
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _is_score(line: bytes) -> bool:
    return b'"epochs_done"' in line


def _step(line: bytes) -> float:
    """Return the step of a line; of one that is not ours infinity, so that it is dropped."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
    return step if isinstance(step, int) else float("inf")
