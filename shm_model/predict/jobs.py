"""How files are predicted, and a unit of it: one source and the files that are made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_model.predict.outputs import GREEN, Output, parse_background


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How files are predicted.

    `outputs` are what is written; without any, alpha and cut-out of pictures, alpha and composite of videos.
    `background` (H, W, 3) uint8 is the background of composites. Up to `batch` consecutive pictures of one size are
    predicted together. `video` is the format of written videos: mp4, avi or mkv. `skip_done` skips sources whose
    outputs are whole and, by their record, made from the same files with the same settings.
    """

    outputs: tuple[Output, ...] = ()
    background: Array = field(default_factory=lambda: parse_background(GREEN))
    batch: int = 1
    video: str = "mp4"
    skip_done: bool = False


@dataclass(frozen=True, slots=True)
class PredictJob:
    """A picture or a video, its trimap if it has one, and the file of each output."""

    source: Path
    is_video: bool
    trimap: Path | None
    outputs: Mapping[Output, Path]


def describe_fault(source: Path, error: ShmDataError) -> str:
    """Return the fault of a file as a sentence that names the file."""
    return str(error) if str(source) in str(error) else f"{source}: {error}"
