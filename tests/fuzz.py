"""The law of bad input: it is refused in time, without a traceback, in one sentence that names the file."""

import contextlib
import faulthandler
import os
import signal
import sys

import torch
from torch import nn

from shm_data.errors import ShmDataError
from shm_model.predict import Predictor
from shm_model.tnet import TNet

LIMIT = 30


class Unsure(TNet):
    """A T-Net that costs nothing: every class is equally likely."""

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, image):
        return torch.zeros(image.shape[0], 3, *image.shape[2:])


PREDICTOR = Predictor(Unsure(), torch.device("cpu"), 64)


@contextlib.contextmanager
def in_time(seconds=LIMIT):
    """Fail a test that hangs. Where no signal reaches it, end the process and show where it hung."""

    def too_late(number, frame):
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=sys.__stderr__)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def fault_of(call, *arguments, named):
    """Return the sentence with which a call refuses its input, "" if it accepts it. Nothing else may be raised."""
    try:
        with in_time():
            call(*arguments)
    except ShmDataError as error:
        sentence = str(error)
        assert str(named) in sentence, sentence
        assert "\n" not in sentence and len(sentence) < 1000, sentence
        return sentence
    return ""


def no_file(path, kind):
    """Put something that is no file at a path, or nothing; return the path to read."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "below a file":
        path.write_bytes(b"")
        return path / "deeper"
    elif kind == "too long":
        return path.with_name("x" * 300)
    elif kind != "absent":
        path.symlink_to({"dangling": path.with_name("nowhere"), "loop": path, "device": "/dev/null"}[kind])
    return path
