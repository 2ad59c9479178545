"""The mattes of a video: frames stream from one file into others, by OpenCV's FFmpeg, and few are held in memory."""

import contextlib
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat, takewhile
from pathlib import Path

import cv2
import numpy as np

from shm_data.errors import ShmDataError, WriteError
from shm_data.files import whole_file
from shm_data.parallel import Progress, count_workers
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size
from shm_model.predict.mattes import AnyPredictor, Floats
from shm_model.predict.outputs import Output, rendered
from shm_model.predict.pictures import Task
from shm_model.predict.pipeline import ahead, alike

# The codec of each kind of file that can be written. FFV1 has no loss.
CODECS = {"mp4": "mp4v", "avi": "MJPG", "mkv": "FFV1"}

_SUFFIXES = frozenset(".avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())

# What such files begin with: from which byte on, and with what; MPEG's transport stream in packets.
_BEGINNINGS = (
    *((4, box) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, MOV
    *((8, b"AVI "), (0, b"\x1aE\xdf\xa3"), (0, b"\x30\x26\xb2\x75"), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba")),
)
_PACKETS = ((0, 188), (4, 192))

# A header may be wrong about the number of frames by this share, and still nothing is missing.
_MISCOUNTED = 0.05

_FASTEST = 1000

# FFmpeg reports on broken files to the terminal, but does not name them. We do.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

Frame = dict[Output, Array]


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file: its frames a second, and how many its header promises; 0 where it tells no number."""

    path: Path
    rate: float
    count: int


def is_video(path: Path) -> bool:
    """Whether a file begins like a video, or is at least named like one."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and (_begins_like_one(path) or path.suffix.lower() in _SUFFIXES)
    except OSError:  # who reads it says what is wrong
        return False


def clip_of(path: Path) -> Clip:
    """What the header of a video tells. Raises ShmDataError where it is broken, or no video at all.

    Playlists and the like, which FFmpeg would follow to other files and addresses, are none.
    """
    with _opened(path) as capture:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not 0 < rate <= _FASTEST:
        raise ShmDataError("cannot be read", path=path, found=f"{rate:g} frames a second", expected="a video")
    return Clip(path, rate, max(0, int(count)) if math.isfinite(count) else 0)


def frames(clip: Clip) -> Iterator[Array]:
    """The frames of a video one by one, (H, W, 3) uint8 RGB, upright.

    Raises ShmDataError where there are none, or far fewer than the header promises.
    """
    count = 0
    with _opened(clip.path) as capture:
        while True:
            there, pixels = capture.read()
            if not there:
                break
            count += 1
            yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if count == 0 or count < (1 - _MISCOUNTED) * clip.count - 1:
        found = f"{count} of {clip.count} frames that can be read"
        raise ShmDataError("cannot be read", path=clip.path, found=found, expected="a whole video")


def predict_video(predictor: AnyPredictor, task: Task, background: Array, batch: int, progress: Progress) -> int:
    """Writes the outputs of a video, alpha and composite, at its size and rate, without sound; gives their frames.

    Of an odd width or height OpenCV leaves out the last column or row. What is written is whole or absent.
    Raises ShmDataError where the video is broken, and WriteError where nothing can be written.
    """
    clip = clip_of(task.source)
    source = frames(clip)
    read = takewhile(lambda frame: frame is not None, ahead(lambda _: next(source, None), repeat(None), 1))
    predicted = _predicted(predictor, (frame for frame in read if frame is not None), batch)
    made = ahead(partial(_rendered, tuple(task.outputs), background), predicted, count_workers(-1))
    count = 0
    with contextlib.ExitStack() as stack:
        write: dict[Output, Callable[[Array], None]] = {}
        for frame in progress(made, clip.count, task.source.name):
            count += 1
            for kind, pixels in frame.items():
                if kind not in write:
                    size = pixels.shape[1], pixels.shape[0]
                    write[kind] = stack.enter_context(_writer(task.outputs[kind], clip.rate, size))
                write[kind](pixels)
    return count


def _predicted(predictor: AnyPredictor, read: Iterable[Array], batch: int) -> Iterator[tuple[Array, Floats]]:
    for group in alike(read, batch, np.shape):
        for image, prediction in zip(group, predictor.of_many(group, [None] * len(group)), strict=True):
            yield image, prediction.alpha


def _rendered(expected: Sequence[Output], background: Array, predicted: tuple[Array, Floats]) -> Frame:
    return rendered(*predicted, expected, background)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not _begins_like_one(path):
        raise ShmDataError(
            "cannot be read", path=path, found="no video", expected="MP4, MOV, AVI, MKV, WebM or the like"
        )
    try:
        # From the root: FFmpeg would take what stands before a colon for a protocol.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    except (UnicodeEncodeError, TypeError, cv2.error) as error:
        raise ShmDataError(
            "cannot be read", path=path, found="a name that is not UTF-8", expected="another name"
        ) from error
    try:
        if not capture.isOpened():
            raise ShmDataError(
                f"cannot read {path}: the video is broken or cut short, or of a codec that is not known"
            )
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def _writer(path: Path, rate: float, size: Size) -> Iterator[Callable[[Array], None]]:
    """Gives what writes a frame (H, W) or (H, W, 3) uint8 RGB; the file appears at the end if all are in it."""
    count = 0

    def write(pixels: Array) -> None:
        nonlocal count
        count += 1
        video.write(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR))

    with whole_file(path, suffix=path.suffix) as target:
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix[1:]])
        video = cv2.VideoWriter(str(target.absolute()), cv2.CAP_FFMPEG, codec, rate, size)
        try:
            if not video.isOpened():
                raise WriteError(f"cannot write {path}: OpenCV has no such encoder, or the folder takes no files")
            yield write
        finally:
            video.release()
        # OpenCV does not tell when the disk is full.
        if not _holds(target, count):
            raise WriteError(f"cannot write {path}: not all frames got into the file; is the disk full?")


def _holds(path: Path, count: int) -> bool:
    try:
        return abs(clip_of(path).count - count) <= 1
    except ShmDataError:
        return False


def _begins_like_one(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.read(256)
    packets = any(first[at : at + 1] == first[at + step : at + step + 1] == b"G" for at, step in _PACKETS)
    return packets or any(first.startswith(text, at) for at, text in _BEGINNINGS)
