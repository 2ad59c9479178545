"""The mattes of picture files: read ahead, predicted in batches, written behind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shm_data.errors import ShmDataError, WriteError
from shm_data.images import read_image, read_trimap, write_png
from shm_data.parallel import Progress, count_workers
from shm_data.pixels.arrays import Array
from shm_model.predict.mattes import AnyPredictor, Floats
from shm_model.predict.outputs import Output, rendered
from shm_model.predict.pipeline import ahead, alike


@dataclass(frozen=True, slots=True)
class Task:
    """A picture or a video, its trimap if it has one, and the file of each output."""

    source: Path
    trimap: Path | None
    outputs: Mapping[Output, Path]


@dataclass(frozen=True, slots=True)
class _Read:
    task: Task
    image: Array
    trimap: Array | None


@dataclass(frozen=True, slots=True)
class _Predicted:
    task: Task
    image: Array
    alpha: Floats


def predict_pictures(
    predictor: AnyPredictor, tasks: Sequence[Task], background: Array, batch: int, progress: Progress
) -> list[str]:
    """Writes the outputs of each picture, and gives the faults of those that are broken, a sentence each.

    Neighbours of one size are predicted together, up to `batch`. Raises WriteError where nothing can be written.
    """
    threads = count_workers(-1)
    read = ahead(partial(_read, predictor), tasks, threads)
    predicted = _predicted(predictor, read, batch)
    written = ahead(partial(_write, background), predicted, threads)
    return [fault for fault in progress(written, len(tasks), "predicting") if fault]


def told(source: Path, error: ShmDataError) -> str:
    """The fault of a file in a sentence that names it."""
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _read(predictor: AnyPredictor, task: Task) -> _Read | str:
    try:
        image = read_image(task.source)
        trimap = None if task.trimap is None else read_trimap(task.trimap)
        predictor.check(image, trimap)
    except ShmDataError as error:
        return told(task.source, error)
    return _Read(task, image, trimap)


def _predicted(predictor: AnyPredictor, read: Iterable[_Read | str], batch: int) -> Iterator[_Predicted | str]:
    for group in alike(read, batch, lambda each: "" if isinstance(each, str) else each.image.shape):
        whole = [each for each in group if isinstance(each, _Read)]
        if not whole:
            yield from (each for each in group if isinstance(each, str))
            continue
        try:
            predictions = predictor.of_many([each.image for each in whole], [each.trimap for each in whole])
        except ShmDataError as error:
            yield from (told(each.task.source, error) for each in whole)
            continue
        for each, prediction in zip(whole, predictions, strict=True):
            yield _Predicted(each.task, each.image, prediction.alpha)


def _write(background: Array, predicted: _Predicted | str) -> str:
    """Writes what is expected of a picture; gives its fault, or nothing."""
    if isinstance(predicted, str):
        return predicted
    image, outputs = predicted.image, predicted.task.outputs
    try:
        for kind, pixels in rendered(image, predicted.alpha, list(outputs), background).items():
            write_png(outputs[kind], pixels)
    except WriteError:
        raise
    except ShmDataError as error:
        return told(predicted.task.source, error)
    return ""
