"""Predict mattes of files: pictures, folders of pictures and videos."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from shm_data.errors import ShmDataError, WriteError
from shm_data.files import make_folders, safe_stem, shared_folder, unused
from shm_data.images import find
from shm_data.parallel import Progress, quiet
from shm_data.sources.pairing import TRIMAP_WORDS, pair
from shm_model.predict.base import BasePredictor
from shm_model.predict.jobs import PredictJob, PredictOptions, describe_fault
from shm_model.predict.outputs import Output
from shm_model.predict.pictures import predict_pictures
from shm_model.predict.record import PredictionRecord
from shm_model.predict.video import VideoOutcome, predict_video
from shm_model.predict.video_files import is_video

_PICTURE_OUTPUTS: tuple[Output, ...] = ("alpha", "cutout")
_VIDEO_OUTPUTS: tuple[Output, ...] = ("alpha", "composite")


class Outcome(NamedTuple):
    """How many pictures were predicted, what became of each video, and how many sources were skipped."""

    pictures: int
    videos: dict[Path, VideoOutcome]
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
    another background; a video NAME_alpha.mp4 and NAME_composite.mp4, with its sound. `trimap` is a file for one
    picture, or a folder with a trimap for each by name. predictions.jsonl records what outputs were made from.
    Raises ShmDataError at once for options that do not fit the sources, and for outputs that would replace files that
    no prediction wrote; and at the end, when all others are written,
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
    with shared_folder(savedir):
        record = PredictionRecord(savedir, predictor.settings, options.background)
        undone = [job for job in jobs if not record.is_done(job)] if options.skip_done else jobs
        record.check_overwriting(undone)
        record.begin(undone)
        outcome = _predict_jobs(predictor, undone, options, record, progress)
    return outcome._replace(skipped=len(jobs) - len(undone))


def _predict_jobs(
    predictor: BasePredictor,
    jobs: Sequence[PredictJob],
    options: PredictOptions,
    record: PredictionRecord,
    progress: Progress,
) -> Outcome:
    pictures = [job for job in jobs if not job.is_video]
    faults = predict_pictures(predictor, pictures, options, record, progress)
    predicted = len(pictures) - len(faults)
    frames = {}
    for job in jobs:
        if job.is_video:
            try:
                frames[job.source] = predict_video(predictor, job, options, record, progress)
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
            file,
            file in videos,
            trimaps.get(file),
            {kind: savedir / f"{name}.{suffix}" for kind, name in names.items()},
        )


def _check_overwriting(jobs: Sequence[PredictJob]) -> None:
    """Raise ShmDataError where an output would replace a file that it, or another output, is made from."""
    sources = {os.path.realpath(path) for job in jobs for path in (job.source, job.trimap) if path is not None}
    for job in jobs:
        for path in job.outputs.values():
            if os.path.realpath(path) in sources:
                found = f"{path}, which is an input"
                raise ShmDataError(f"the matte of {job.source}", found=found, expected="another --savedir")


def _pair_trimaps(files: Sequence[tuple[Path, str]], trimap: Path | None) -> dict[Path, Path]:
    """Return the trimap of each picture that has one: the file itself for a single picture, else by name."""
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
    return {by_name[name]: trimap / other for name, other in pairs.matched.items()}
