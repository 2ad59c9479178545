"""Predict mattes of files: pictures, folders of pictures and videos."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shm_data.errors import BusyError, ShmDataError, WriteError
from shm_data.files import clear_leftovers, locked, make_folders, safe_stem, unused
from shm_data.images import find
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.sources.pairing import TRIMAP_WORDS, pair
from shm_model.predict.base import BasePredictor
from shm_model.predict.outputs import GREEN, Output, parse_background
from shm_model.predict.pictures import PredictJob, describe_fault, predict_pictures
from shm_model.predict.video import is_video, predict_video

_PICTURE_OUTPUTS: tuple[Output, ...] = ("alpha", "cutout")
_VIDEO_OUTPUTS: tuple[Output, ...] = ("alpha", "composite")


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How files are predicted.

    `outputs` are what is written; without any, alpha and cut-out of pictures, alpha and composite of videos.
    `background` (H, W, 3) uint8 is the background of composites. Up to `batch` consecutive pictures of one size are
    predicted together. `video` is the format of written videos: mp4, avi or mkv. With `skip_if_newer_than`, sources
    are skipped whose outputs are newer than that file and than the source.
    """

    outputs: tuple[Output, ...] = ()
    background: Array = field(default_factory=lambda: parse_background(GREEN))
    batch: int = 1
    video: str = "mp4"
    skip_if_newer_than: Path | None = None


class Outcome(NamedTuple):
    """How many pictures were predicted, the number of frames of each video, and how many sources were skipped."""

    pictures: int
    videos: dict[Path, int]
    skipped: int


def predict_files(
    predictor: BasePredictor,
    sources: Sequence[Path],
    trimap: Path | None,
    savedir: Path,
    progress: Progress = quiet,
    *,
    options: PredictOptions | None = None,
) -> Outcome:
    """Write the mattes of pictures, of folders of pictures, and of videos.

    A picture gives NAME.png, the alpha, NAME_cutout.png, RGBA with estimated colours, and NAME_composite.png, over
    another background; a video NAME_alpha.mp4 and NAME_composite.mp4, without sound. `trimap` is a file for one
    picture, or a folder with a trimap for each by name.
    Raises ShmDataError at once for options that do not fit the sources; and at the end, when all others are written,
    for sources or trimaps that are missing or broken.
    """
    options = options or PredictOptions()
    files = [(path, name) for source in sources for path, name in _list_files(source)]
    videos = {path for path, _ in files if is_video(path)}
    _check_videos(predictor, sorted(videos), options)
    trimaps = _pair_trimaps([(path, name) for path, name in files if path not in videos], trimap)
    make_folders(savedir)
    jobs = list(_plan_jobs([path for path, _ in files], videos, trimaps, savedir, options))
    _check_overwriting(jobs)
    with _shared_lock(savedir):
        undone = [job for job in jobs if not _is_done(job, options.skip_if_newer_than)]
        outcome = _predict_jobs(predictor, undone, videos, options, progress)
    return outcome._replace(skipped=len(jobs) - len(undone))


def _predict_jobs(
    predictor: BasePredictor,
    jobs: Sequence[PredictJob],
    videos: set[Path],
    options: PredictOptions,
    progress: Progress,
) -> Outcome:
    pictures = [job for job in jobs if job.source not in videos]
    faults = predict_pictures(predictor, pictures, options.background, options.batch, progress)
    predicted = len(pictures) - len(faults)
    frames = {}
    for job in jobs:
        if job.source in videos:
            try:
                frames[job.source] = predict_video(predictor, job, options.background, options.batch, progress)
            except WriteError:
                raise
            except ShmDataError as error:
                faults.append(describe_fault(job.source, error))
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(jobs)} could not be predicted", faults=faults)
    return Outcome(predicted, frames, 0)


def _list_files(source: Path) -> list[tuple[Path, str]]:
    """Return a file, or the pictures in a folder, each with its name relative to the folder."""
    if not os.path.isdir(source):
        return [(source, source.name)]
    names = find(source)
    if not names:
        raise ShmDataError(path=source, found="no pictures", expected="some; name each video itself")
    return [(source / name, name) for name in names]


def _check_videos(predictor: BasePredictor, videos: Sequence[Path], options: PredictOptions) -> None:
    if videos and "cutout" in options.outputs:
        expected = "alpha or composite: the video formats have no A channel"
        raise ShmDataError(path=videos[0], found="a video, and the output cutout", expected=expected)
    if videos and predictor.needs_trimap:
        raise ShmDataError(path=videos[0], found="a video", expected="pictures: this M-Net needs a trimap for each")


def _plan_jobs(
    files: Sequence[Path], videos: set[Path], trimaps: dict[Path, Path], savedir: Path, options: PredictOptions
) -> Iterator[PredictJob]:
    """Yield a job for each file; no two outputs share a name."""
    taken: dict[str, int] = {}
    for file in files:
        stem = unused(safe_stem(file.stem), taken)
        kinds = options.outputs or (_VIDEO_OUTPUTS if file in videos else _PICTURE_OUTPUTS)
        names = {
            kind: stem if kind == "alpha" and file not in videos else unused(safe_stem(f"{stem}_{kind}"), taken)
            for kind in kinds
        }
        suffix = options.video if file in videos else "png"
        yield PredictJob(
            file, trimaps.get(file), {kind: savedir / f"{name}.{suffix}" for kind, name in names.items()}
        )


def _check_overwriting(jobs: Sequence[PredictJob]) -> None:
    """Raise ShmDataError where an output would replace a file that it, or another output, is made from."""
    sources = {os.path.realpath(path) for job in jobs for path in (job.source, job.trimap) if path is not None}
    for job in jobs:
        for path in job.outputs.values():
            if os.path.realpath(path) in sources:
                found = f"{path}, which is an input"
                raise ShmDataError(f"the matte of {job.source}", found=found, expected="another --savedir")


def _is_done(job: PredictJob, weights: Path | None) -> bool:
    """Return whether all outputs exist and are newer than the source and the weights."""
    if weights is None:
        return False
    try:
        newest = max(os.stat(path).st_mtime_ns for path in (job.source, weights))
        outputs = [os.stat(path) for path in job.outputs.values()]
    except OSError:
        return False
    return all(output.st_size > 0 and output.st_mtime_ns > newest for output in outputs)


@contextlib.contextmanager
def _shared_lock(savedir: Path) -> Iterator[None]:
    """Share the folder with other predictions; the first one removes leftovers of killed runs."""
    with contextlib.suppress(BusyError), locked(savedir):
        clear_leftovers(savedir)
    with locked(savedir, shared=True):
        yield


def _pair_trimaps(files: Sequence[tuple[Path, str]], trimap: Path | None) -> dict[Path, Path]:
    """Return the trimap of each picture: the file itself for a single picture, else by name in a folder."""
    if trimap is None or not files:
        return {}
    if not os.path.isdir(trimap):
        if len(files) > 1:
            raise ShmDataError(
                "--trimap", found=f"one file for {len(files)} pictures", expected="a folder of trimaps"
            )
        return {files[0][0]: trimap}
    by_name = {name: path for path, name in files}
    if len(by_name) < len(files):
        raise ShmDataError("--trimap", found="several pictures of one name", expected="one folder at a time")
    pairs = pair(list(by_name), find(trimap), TRIMAP_WORDS)
    if pairs.images_left:
        raise ShmDataError(
            f"no trimap in {trimap}", found=f"none for {pairs.images_left[0]}", expected="one for each"
        )
    return {by_name[name]: trimap / other for name, other in pairs.matched.items()}
