"""What people give and get: pictures, folders of them and videos go in, files beside each other come out."""

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
from shm_model.predict.mattes import AnyPredictor
from shm_model.predict.outputs import GREEN, Output, background_of
from shm_model.predict.pictures import Task, predict_pictures, told
from shm_model.predict.video import is_video, predict_video

_OF_PICTURES: tuple[Output, ...] = ("alpha", "cutout")
_OF_VIDEOS: tuple[Output, ...] = ("alpha", "composite")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is made of each picture and video; without `outputs`, alpha and cut-out, of videos alpha and composite.

    `background` (H, W, 3) uint8 is that of composites. `batch` neighbours of one size are predicted at once. Videos
    are written as `video`: mp4, avi or mkv. Where `unless_newer` names a file, pictures and videos are left out whose
    outputs are newer than it and than themselves.
    """

    outputs: tuple[Output, ...] = ()
    background: Array = field(default_factory=lambda: background_of(GREEN))
    batch: int = 1
    video: str = "mp4"
    unless_newer: Path | None = None


class Outcome(NamedTuple):
    """How many pictures were predicted, the frames of each video, and how many of both were there already."""

    pictures: int
    videos: dict[Path, int]
    there: int


def predict_files(
    predictor: AnyPredictor,
    sources: Sequence[Path],
    trimap: Path | None,
    savedir: Path,
    progress: Progress = quiet,
    *,
    wishes: Wishes | None = None,
) -> Outcome:
    """Writes the mattes of pictures, of folders of them, and of videos.

    Of a picture come NAME.png, the alpha, NAME_cutout.png, RGBA with estimated colours, and NAME_composite.png, over
    another background; of a video NAME_alpha.mp4 and NAME_composite.mp4, without sound. `trimap` is a file for one
    picture, or a folder with a trimap for each by name.
    Raises ShmDataError for a wish that cannot be fulfilled; and, once all others are done, one that names the files
    which are missing or broken, or whose trimap is.
    """
    wishes = wishes or Wishes()
    files = [(path, name) for source in sources for path, name in _files(source)]
    videos = {path for path, _ in files if is_video(path)}
    _require_possible(predictor, sorted(videos), wishes)
    trimaps = _trimaps([(path, name) for path, name in files if path not in videos], trimap)
    make_folders(savedir)
    tasks = list(_tasks([path for path, _ in files], videos, trimaps, savedir, wishes))
    _require_no_overwriting(tasks)
    with _shared(savedir):
        left = [task for task in tasks if not _is_done(task, wishes.unless_newer)]
        return _predict(predictor, left, videos, wishes, progress)._replace(there=len(tasks) - len(left))


def _predict(
    predictor: AnyPredictor, tasks: Sequence[Task], videos: set[Path], wishes: Wishes, progress: Progress
) -> Outcome:
    pictures = [task for task in tasks if task.source not in videos]
    faults = predict_pictures(predictor, pictures, wishes.background, wishes.batch, progress)
    done = len(pictures) - len(faults)
    counts = {}
    for task in tasks:
        if task.source in videos:
            try:
                counts[task.source] = predict_video(predictor, task, wishes.background, wishes.batch, progress)
            except WriteError:
                raise
            except ShmDataError as error:
                faults.append(told(task.source, error))
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(tasks)} could not be predicted", faults=faults)
    return Outcome(done, counts, 0)


def _files(source: Path) -> list[tuple[Path, str]]:
    """A file, or the pictures in a folder, with their names there."""
    if not os.path.isdir(source):
        return [(source, source.name)]
    names = find(source)
    if not names:
        raise ShmDataError(path=source, found="no pictures", expected="some; videos are given one by one")
    return [(source / name, name) for name in names]


def _require_possible(predictor: AnyPredictor, videos: Sequence[Path], wishes: Wishes) -> None:
    """Raises ShmDataError where a video is to be what it cannot be."""
    if videos and "cutout" in wishes.outputs:
        expected = "alpha or composite: what OpenCV writes of a video holds no A channel"
        raise ShmDataError(str(videos[0]), found="a video, and the output cutout", expected=expected)
    if videos and predictor.needs_trimap:
        raise ShmDataError(str(videos[0]), found="a video", expected="pictures: this M-Net needs a trimap for each")


def _tasks(
    files: Sequence[Path], videos: set[Path], trimaps: dict[Path, Path], savedir: Path, wishes: Wishes
) -> Iterator[Task]:
    """What is to be done, under names that no two outputs share."""
    taken: dict[str, int] = {}
    for file in files:
        stem = unused(safe_stem(file.stem), taken)
        kinds = wishes.outputs or (_OF_VIDEOS if file in videos else _OF_PICTURES)
        names = {
            kind: stem if kind == "alpha" and file not in videos else unused(safe_stem(f"{stem}_{kind}"), taken)
            for kind in kinds
        }
        suffix = wishes.video if file in videos else "png"
        yield Task(file, trimaps.get(file), {kind: savedir / f"{name}.{suffix}" for kind, name in names.items()})


def _require_no_overwriting(tasks: Sequence[Task]) -> None:
    """Raises ShmDataError where an output would take the place of what it, or another, is made from."""
    sources = {os.path.realpath(path) for task in tasks for path in (task.source, task.trimap) if path is not None}
    for task in tasks:
        for path in task.outputs.values():
            if os.path.realpath(path) in sources:
                given = f"{path}, which is given"
                raise ShmDataError(f"the matte of {task.source}", found=given, expected="another --savedir")


def _is_done(task: Task, weights: Path | None) -> bool:
    """Whether all outputs are there, and newer than the source and the weights."""
    if weights is None:
        return False
    try:
        begun = max(os.stat(path).st_mtime_ns for path in (task.source, weights))
        outputs = [os.stat(path) for path in task.outputs.values()]
    except OSError:
        return False
    return all(output.st_size > 0 and output.st_mtime_ns > begun for output in outputs)


@contextlib.contextmanager
def _shared(savedir: Path) -> Iterator[None]:
    """Keeps the folder for this run and others like it; the first clears what one that was killed left."""
    with contextlib.suppress(BusyError), locked(savedir):
        clear_leftovers(savedir)
    with locked(savedir, shared=True):
        yield


def _trimaps(files: Sequence[tuple[Path, str]], trimap: Path | None) -> dict[Path, Path]:
    """The trimap of each picture: the file itself for a single one, or by name in a folder."""
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
