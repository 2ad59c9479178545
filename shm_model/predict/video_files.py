"""Read and write video files by FFmpeg (PyAV): frames with their times, upright; sound is copied as it is."""

import contextlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from shm_data.errors import ShmDataError, WriteError
from shm_data.files import whole_file
from shm_data.pixels.arrays import Array

if TYPE_CHECKING:  # PyAV takes a while to import, and pictures do without it
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

# Codec, pixel format and encoder options of each kind of file that is written. FFV1 is lossless; the others get a
# constant, high quality instead of a bit rate.
CODECS: dict[str, tuple[Literal["mpeg4", "mjpeg", "ffv1"], str, dict[str, str]]] = {
    "mp4": ("mpeg4", "yuv420p", {"qmin": "2", "qmax": "3"}),
    "avi": ("mjpeg", "yuvj420p", {"qmin": "2", "qmax": "3"}),
    "mkv": ("ffv1", "bgr0", {}),
}

_SUFFIXES = frozenset(".avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split())

# The first bytes of such files, and their offset; an MPEG transport stream repeats a G in each packet.
_SIGNATURES = (
    *((4, box) for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, MOV
    *((8, b"AVI "), (0, b"\x1aE\xdf\xa3"), (0, b"\x30\x26\xb2\x75"), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba")),
)
_PACKETS = ((0, 188), (4, 192))

# A video that lacks a larger share of its frames, or of its duration, is refused.
_MOST_MISSING = 0.05

# The share of frame intervals that must equal the nominal one for the times to be regular.
_REGULAR = 0.9

_MICROSECONDS = 1_000_000

# Above this a rate is a time base in disguise: files without a frame duration report 1000.
_HIGHEST_RATE = 480
_DEFAULT_RATE = Fraction(25)

# MPEG-4 stores times in 16 bits; 1/30000 s holds the times of all common rates exactly.
_LARGEST_DENOMINATOR = 65535
_TICK = Fraction(1, 30000)


class Frame(NamedTuple):
    """Pixels (H, W, 3) uint8 RGB, and their time in seconds from the start of the video."""

    pixels: Array
    time: Fraction


@dataclass(slots=True)
class VideoReader:
    """The frames of a video; `count` of its header (0 if unknown), and after reading, how many `missing` frames.

    `rate` is the nominal rate in frames per second; times need not follow it.
    """

    path: Path
    rate: Fraction
    count: int
    time_base: Fraction
    missing: int = 0

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, upright, with their times. A frame that cannot be decoded is skipped and counted.

        Raises ShmDataError where no frames, or far too few, can be decoded, or the file is cut short.
        """
        times: list[Fraction] = []
        skipped = failed = 0
        end = Fraction(0)
        with _open_video(self.path) as (container, stream):
            start, duration = _start_time(container), Fraction(container.duration or 0, _MICROSECONDS)
            for packet in _demux(container):
                if packet.dts is not None:
                    end = max(end, (packet.dts + (packet.duration or 0)) * packet.time_base - start)
                if packet.stream.index != stream.index:
                    continue
                skipped += packet.is_discard
                for frame in _decode(packet):
                    failed += frame is None or frame.is_corrupt
                    if frame is not None:
                        after = times[-1] + 1 / self.rate if times else Fraction(0)
                        times.append(after if frame.pts is None else frame.pts * frame.time_base - start)
                        yield Frame(_to_pixels(frame), times[-1])
        self.missing = max(failed, self.count - skipped - len(times), _count_gaps(times, self.rate), 0)
        if not times or self.missing > _MOST_MISSING * (len(times) + self.missing) + 1 or end < duration * 0.95 - 1:
            seconds = f"{float(end):.1f} of {float(duration):.1f} seconds"
            found = f"{len(times)} frames, {self.missing} missing, {seconds}"
            raise ShmDataError("cannot be read", path=self.path, found=found, expected="a whole video")


def _count_gaps(times: list[Fraction], rate: Fraction) -> int:
    """Return how many frames are missing between times that else follow the rate; irregular times have no gaps."""
    steps = np.rint(np.diff(np.array(times, np.float64)) * float(rate))
    is_regular = steps.size > 0 and np.mean(steps == 1) >= _REGULAR
    return int((steps[steps > 1] - 1).sum()) if is_regular else 0


def is_video(path: Path) -> bool:
    """Return whether a file has the first bytes or the extension of a video."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and (_has_signature(path) or path.suffix.lower() in _SUFFIXES)
    except OSError:  # reading it will raise the reason
        return False


def open_reader(path: Path) -> VideoReader:
    """Read the header of a video. Raises ShmDataError where it is broken or no video.

    Playlists and the like are refused: FFmpeg would follow them to other files and addresses.
    """
    with _open_video(path) as (_, stream):
        rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        rate = next((rate for rate in rates if rate and 0 < rate <= _HIGHEST_RATE), _DEFAULT_RATE)
        return VideoReader(path, Fraction(rate), stream.frames, Fraction(stream.time_base or 1 / Fraction(rate)))


def has_sound(path: Path) -> bool:
    """Return whether a video has an audio stream. Raises ShmDataError where it is broken or no video."""
    with _open_video(path) as (container, _):
        return bool(container.streams.audio)


@contextlib.contextmanager
def open_writer(path: Path, source: VideoReader, size: tuple[int, int]) -> Iterator[Callable[[Frame], None]]:
    """Yield a function that writes a frame, gray (H, W) or RGB (H, W, 3) uint8; the file is whole or absent.

    `size` is (width, height). The sound of `source` is copied, if this kind of file can hold it. Raises ShmDataError
    where the times of frames do not fit the kind of file, and WriteError.
    """
    import av  # noqa: PLC0415

    codec, pixel_format, options = CODECS[path.suffix[1:]]
    with whole_file(path, suffix=path.suffix) as target, contextlib.ExitStack() as stack:
        try:
            output = stack.enter_context(av.open(str(target.absolute()), "w"))
            stream = output.add_stream(codec, rate=source.rate, options=dict(options))
            stream.width, stream.height, stream.pix_fmt = *size, pixel_format
            stream.codec_context.time_base = stream.time_base = _time_base_for(path, source)
            copy_sound = _sound_copier(stack, output, source.path)
            write = _frame_writer(output, stream, copy_sound, path)
            yield write
            output.mux(stream.encode())
            copy_sound(None)
            output.close()
        except av.error.FFmpegError as error:
            raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error


def can_hold_sound(path: Path, source: Path) -> bool:
    """Return whether the sound of a video can be copied into a file with the suffix of `path`."""
    with _open_video(source) as (container, _):
        return bool(container.streams.audio) and _codec_name(container.streams.audio[0]) in _AUDIO[path.suffix[1:]]


# Codecs that players expect in each kind of file; the others could be written, but not played.
_AUDIO = {
    "mp4": frozenset(("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac")),
    "avi": frozenset(("mp3", "ac3", "pcm_s16le", "pcm_u8")),
    "mkv": frozenset(("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "alac", "flac", "pcm_s16le", "pcm_s24le")),
}


def _codec_name(stream: Any) -> str:
    return str(stream.codec_context.codec.canonical_name)


def _sound_copier(stack: contextlib.ExitStack, output: "OutputContainer", source: Path) -> Callable[[Any], None]:
    """Return a function that copies the sound up to a time, or all the rest for None."""
    if not can_hold_sound(Path(output.name), source):
        return lambda time: None
    container, _ = stack.enter_context(_open_video(source))
    audio = container.streams.audio[0]
    copied = output.add_stream_from_template(audio)
    start = _start_time(container)
    packets = (packet for packet in _demux(container, audio) if packet.dts is not None)
    waiting = next(packets, None)

    def copy(time: Fraction | None) -> None:
        nonlocal waiting
        while waiting is not None and (time is None or waiting.dts * waiting.time_base - start <= time):
            packet, waiting = waiting, next(packets, None)
            shift = round(start / packet.time_base)
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts -= shift
            packet.stream = copied
            output.mux(packet)

    return copy


def _frame_writer(
    output: "OutputContainer", stream: "VideoStream", copy_sound: Callable[[Any], None], path: Path
) -> Callable[[Frame], None]:
    import av  # noqa: PLC0415

    last, count = -1, 0

    def write(frame: Frame) -> None:
        nonlocal last, count
        height, width = frame.pixels.shape[:2]
        if (width, height) != (stream.width, stream.height):
            found = f"frames of {stream.width}x{stream.height} and {width}x{height}"
            raise ShmDataError("the video cannot be written", found=found, expected="one size")
        time_base = stream.codec_context.time_base
        tick = round(frame.time / time_base)
        if path.suffix == ".avi" and abs(tick - count) > 1:
            raise ShmDataError(
                "--video avi", found="a variable frame rate, or frames missing", expected="--video mp4 or mkv"
            )
        encoded = av.VideoFrame.from_ndarray(frame.pixels, "gray" if frame.pixels.ndim == 2 else "rgb24")
        encoded.pts, encoded.time_base = max(last + 1, tick), time_base
        last, count = encoded.pts, count + 1
        output.mux(stream.encode(encoded))
        copy_sound(frame.time)

    return write


def _time_base_for(path: Path, source: VideoReader) -> Fraction:
    if path.suffix == ".avi":  # its index has one entry per tick
        return 1 / source.rate
    fine = source.time_base.denominator <= _LARGEST_DENOMINATOR
    return source.time_base if fine else _TICK


@contextlib.contextmanager
def _open_video(path: Path) -> Iterator["tuple[InputContainer, VideoStream]"]:
    import av  # noqa: PLC0415

    if not _has_signature(path):
        raise ShmDataError(
            "cannot be read", path=path, found="no video", expected="MP4, MOV, AVI, MKV, WebM or the like"
        )
    try:
        # An absolute path: FFmpeg takes text before a colon for a protocol.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            if not container.streams.video:
                raise ShmDataError("cannot be read", path=path, found="no video stream", expected="a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except UnicodeEncodeError as error:
        raise ShmDataError(
            "cannot be read", path=path, found="a name that is not UTF-8", expected="another name"
        ) from error
    except av.error.FFmpegError as error:
        reason = error.strerror or "its codec is unknown, or it is cut short"
        raise ShmDataError(f"cannot be read ({reason})", path=path) from error


def _demux(container: "InputContainer", *streams: Any) -> Iterator[Any]:
    """Yield the packets up to the end or the first fault of the file itself."""
    import av  # noqa: PLC0415

    with contextlib.suppress(av.error.InvalidDataError):
        yield from container.demux(*streams)


def _decode(packet: Any) -> Iterator[Any]:
    """Yield the frames of a packet, and None for one that cannot be decoded."""
    import av  # noqa: PLC0415

    try:
        yield from packet.decode()
    except av.error.InvalidDataError:
        yield None


def _to_pixels(frame: Any) -> Array:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _start_time(container: "InputContainer") -> Fraction:
    return Fraction(container.start_time or 0, _MICROSECONDS)


def _has_signature(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(256)
    except FileNotFoundError as error:
        raise ShmDataError("does not exist", path=path) from error
    packets = any(first[at : at + 1] == first[at + step : at + step + 1] == b"G" for at, step in _PACKETS)
    return packets or any(first.startswith(text, at) for at, text in _SIGNATURES)
