"""What a run tells of itself: log.jsonl with the loss of every step, and TensorBoard."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from shm_data.files import make_folders, write_bytes

NAME = "log.jsonl"


class Log:
    """The log of a run that begins, or goes on, at step `first`: what was told of later steps is replaced."""

    def __init__(self, savedir: Path, first: int, per_epoch: int) -> None:
        make_folders(savedir)
        kept = [line for line in _lines(savedir / NAME) if json.loads(line)["step"] < first]
        write_bytes(savedir / NAME, b"".join(kept))
        self._file = (savedir / NAME).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(savedir / "tensorboard"), purge_step=first)
        self._per_epoch = per_epoch

    def step(self, step: int, values: dict[str, float]) -> None:
        """Writes the values of a step: the parts of the loss, and the rate."""
        self._file.write(json.dumps({"step": step, "epoch": step // self._per_epoch} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def score(self, name: str, value: float, epoch: int) -> None:
        """Writes a score after an epoch."""
        self._board.add_scalar(name, value, epoch * self._per_epoch)

    def picture(self, name: str, pixels: NDArray[np.uint8], epoch: int) -> None:
        """Writes a picture (H, W, 3) uint8 after an epoch."""
        step = epoch * self._per_epoch
        self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._board.close()


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a log; one that a crash cut short is dropped."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
