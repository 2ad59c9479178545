"""Predict the mattes of a video: frames stream through, by OpenCV's FFmpeg, in bounded memory."""

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
from shm_model.predict.base import BasePredictor, Floats
from shm_model.predict.outputs import Output, render_outputs
from shm_model.predict.pictures import PredictJob
from shm_model.predict.pipeline import group_neighbours, map_ahead

# The codec of each kind of file that can be written. FFV1 has no loss.
CODECS = {"mp4": "mp4v", "avi": "MJPG", "mkv": "FFV1"}

_SUFFIXES = frozenset(".avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())

# The first bytes of such files, and their offset; an MPEG transport stream repeats a G in each packet.
_SIGNATURES = (
    *((4, box) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, MOV
    *((8, b"AVI "), (0, b"\x1aE\xdf\xa3"), (0, b"\x30\x26\xb2\x75"), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba")),
)
_PACKETS = ((0, 188), (4, 192))

# Headers of whole videos may be wrong about the number of frames by this share.
_MISCOUNT = 0.05

_HIGHEST_RATE = 1000

# FFmpeg prints faults of broken files without their names; errors name them.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

Frame = dict[Output, Array]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video file: its frames per second, and the number of frames in its header; 0 if unknown."""

    path: Path
    rate: float
    count: int


def is_video(path: Path) -> bool:
    """Return whether a file has the first bytes or the extension of a video."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and (_has_signature(path) or path.suffix.lower() in _SUFFIXES)
    except OSError:  # reading it will raise the reason
        return False


def probe_video(path: Path) -> VideoInfo:
    """Read the header of a video. Raises ShmDataError where it is broken or no video.

    Playlists and the like are refused: FFmpeg would follow them to other files and addresses.
    """
    with _opened(path) as capture:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not 0 < rate <= _HIGHEST_RATE:
        raise ShmDataError("cannot be read", path=path, found=f"{rate:g} frames a second", expected="a video")
    return VideoInfo(path, rate, max(0, int(count)) if math.isfinite(count) else 0)


def frames(info: VideoInfo) -> Iterator[Array]:
    """Yield the frames of a video, (H, W, 3) uint8 RGB, upright.

    Raises ShmDataError where there are none, or far fewer than in the header.
    """
    count = 0
    with _opened(info.path) as capture:
        while True:
            decoded, pixels = capture.read()
            if not decoded:
                break
            count += 1
            yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if count == 0 or count < (1 - _MISCOUNT) * info.count - 1:
        found = f"{count} of {info.count} readable frames"
        raise ShmDataError("cannot be read", path=info.path, found=found, expected="a whole video")


def predict_video(
    predictor: BasePredictor, job: PredictJob, background: Array, batch: int, progress: Progress
) -> int:
    """Write the outputs of a video, alpha and composite, at its size and rate, without sound; return their length.

    OpenCV drops the last column or row of an odd width or height. Files are whole or absent.
    Raises ShmDataError where the video is broken, and WriteError where nothing can be written.
    """
    info = probe_video(job.source)
    source = frames(info)
    read = takewhile(lambda frame: frame is not None, map_ahead(lambda _: next(source, None), repeat(None), 1))
    predicted = _predict_frames(predictor, (frame for frame in read if frame is not None), batch)
    rendered = map_ahead(partial(_render, tuple(job.outputs), background), predicted, count_workers(-1))
    count = 0
    with contextlib.ExitStack() as stack:
        write: dict[Output, Callable[[Array], None]] = {}
        for frame in progress(rendered, info.count, job.source.name):
            count += 1
            for kind, pixels in frame.items():
                if kind not in write:
                    size = pixels.shape[1], pixels.shape[0]
                    write[kind] = stack.enter_context(_writer(job.outputs[kind], info.rate, size))
                write[kind](pixels)
    return count


def _predict_frames(predictor: BasePredictor, read: Iterable[Array], batch: int) -> Iterator[tuple[Array, Floats]]:
    for group in group_neighbours(read, batch, np.shape):
        for image, prediction in zip(group, predictor.predict_batch(group, [None] * len(group)), strict=True):
            yield image, prediction.alpha


def _render(kinds: Sequence[Output], background: Array, predicted: tuple[Array, Floats]) -> Frame:
    return render_outputs(*predicted, kinds, background)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not _has_signature(path):
        raise ShmDataError(
            "cannot be read", path=path, found="no video", expected="MP4, MOV, AVI, MKV, WebM or the like"
        )
    try:
        # An absolute path: FFmpeg takes text before a colon for a protocol.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    except (UnicodeEncodeError, TypeError, cv2.error) as error:
        raise ShmDataError(
            "cannot be read", path=path, found="a name that is not UTF-8", expected="another name"
        ) from error
    try:
        if not capture.isOpened():
            raise ShmDataError(f"cannot read {path}: the video is broken or cut short, or its codec is unknown")
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def _writer(path: Path, rate: float, size: Size) -> Iterator[Callable[[Array], None]]:
    """Yield a function that writes a frame (H, W) or (H, W, 3) uint8 RGB; the file appears at the end, if whole."""
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
                raise WriteError(f"cannot write {path}: OpenCV lacks the encoder, or the folder is not writable")
            yield write
        finally:
            video.release()
        # OpenCV does not report a full disk.
        if not _holds(target, count):
            raise WriteError(f"cannot write {path}: not all frames were written; is the disk full?")


def _holds(path: Path, count: int) -> bool:
    try:
        return abs(probe_video(path).count - count) <= 1
    except ShmDataError:
        return False


def _has_signature(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.read(256)
    packets = any(first[at : at + 1] == first[at + step : at + step + 1] == b"G" for at, step in _PACKETS)
    return packets or any(first.startswith(text, at) for at, text in _SIGNATURES)
