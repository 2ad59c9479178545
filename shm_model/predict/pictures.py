"""Predict the mattes of picture files: threads read ahead, the network predicts batches, threads write."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shm_data.errors import ShmDataError, WriteError
from shm_data.images import read_image, read_trimap, write_png
from shm_data.parallel import Progress, count_workers
from shm_data.pixels.arrays import Array
from shm_model.predict.base import BasePredictor, Floats
from shm_model.predict.outputs import Output, render_outputs
from shm_model.predict.pipeline import group_neighbours, map_ahead


@dataclass(frozen=True, slots=True)
class PredictJob:
    """A picture or a video, its trimap if it has one, and the file of each output."""

    source: Path
    trimap: Path | None
    outputs: Mapping[Output, Path]


@dataclass(frozen=True, slots=True)
class _Loaded:
    job: PredictJob
    image: Array
    trimap: Array | None


@dataclass(frozen=True, slots=True)
class _Predicted:
    job: PredictJob
    image: Array
    alpha: Floats


@dataclass(frozen=True, slots=True)
class _Failed:
    job: PredictJob
    fault: str


def predict_pictures(
    predictor: BasePredictor, jobs: Sequence[PredictJob], background: Array, batch: int, progress: Progress
) -> list[str]:
    """Write the outputs of each picture, and return a sentence for each that could not be predicted.

    Up to `batch` consecutive pictures of one size are predicted together. Raises WriteError where nothing can be
    written.
    """
    threads = count_workers(-1)
    loaded = map_ahead(partial(_load, predictor), jobs, threads)
    predicted = _predict(predictor, loaded, batch)
    written = map_ahead(partial(_write, background), predicted, threads)
    return [failed.fault for failed in progress(written, len(jobs), "predicting") if failed]


def describe_fault(source: Path, error: ShmDataError) -> str:
    """Return the fault of a file as a sentence that names the file."""
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _load(predictor: BasePredictor, job: PredictJob) -> _Loaded | _Failed:
    try:
        image = read_image(job.source)
        trimap = None if job.trimap is None else read_trimap(job.trimap)
        predictor.check(image, trimap)
    except ShmDataError as error:
        return _Failed(job, describe_fault(job.source, error))
    return _Loaded(job, image, trimap)


def _predict(
    predictor: BasePredictor, loaded: Iterable[_Loaded | _Failed], batch: int
) -> Iterator[_Predicted | _Failed]:
    for group in group_neighbours(loaded, batch, lambda each: each.image.shape if isinstance(each, _Loaded) else ""):
        pictures = [each for each in group if isinstance(each, _Loaded)]
        yield from (each for each in group if isinstance(each, _Failed))
        if not pictures:
            continue
        try:
            predictions = predictor.predict_batch(
                [each.image for each in pictures], [each.trimap for each in pictures]
            )
        except ShmDataError as error:
            yield from (_Failed(each.job, describe_fault(each.job.source, error)) for each in pictures)
            continue
        for each, prediction in zip(pictures, predictions, strict=True):
            yield _Predicted(each.job, each.image, prediction.alpha)


def _write(background: Array, predicted: _Predicted | _Failed) -> _Failed | None:
    if isinstance(predicted, _Failed):
        return predicted
    outputs = predicted.job.outputs
    try:
        for kind, pixels in render_outputs(predicted.image, predicted.alpha, list(outputs), background).items():
            write_png(outputs[kind], pixels)
    except WriteError:
        raise
    except ShmDataError as error:
        return _Failed(predicted.job, describe_fault(predicted.job.source, error))
    return None
