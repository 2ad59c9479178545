"""Predict the mattes of picture files: threads read ahead, the network predicts batches, threads write."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from shm_data.errors import ShmDataError, WriteError
from shm_data.images import read_image, read_size, read_trimap, write_png
from shm_data.parallel import Progress, count_workers
from shm_data.pixels.arrays import Array
from shm_model.predict.base import BasePredictor, Floats
from shm_model.predict.jobs import PredictJob, PredictOptions, describe_fault
from shm_model.predict.outputs import render_outputs
from shm_model.predict.pipeline import group_neighbours, map_ahead
from shm_model.predict.record import Inputs, PredictionRecord, digest_inputs


@dataclass(frozen=True, slots=True)
class _Loaded:
    job: PredictJob
    inputs: Inputs
    image: Array
    trimap: Array | None


@dataclass(frozen=True, slots=True)
class _Predicted:
    loaded: _Loaded
    alpha: Floats


@dataclass(frozen=True, slots=True)
class _Failed:
    job: PredictJob
    fault: str


def predict_pictures(
    predictor: BasePredictor,
    jobs: Sequence[PredictJob],
    options: PredictOptions,
    record: PredictionRecord,
    progress: Progress,
) -> list[str]:
    """Write and record the outputs of each picture, and return a sentence for each that could not be predicted.

    Up to `options.batch` consecutive pictures of one size are predicted together.
    Raises WriteError where nothing can be written.
    """
    threads = count_workers(-1)
    loaded = map_ahead(partial(_load, predictor), jobs, threads)
    predicted = _predict(predictor, loaded, options.batch)
    written = map_ahead(partial(_write, options.background, record), predicted, threads)
    return [failed.fault for failed in progress(written, len(jobs), "predicting") if failed]


def _load(predictor: BasePredictor, job: PredictJob) -> _Loaded | _Failed:
    try:
        for path in filter(None, (job.source, job.trimap)):
            read_size(path)  # refuses what is no picture; a pipe could not be digested
        inputs = digest_inputs(job)
        image = read_image(job.source)
        trimap = None if job.trimap is None else read_trimap(job.trimap)
        predictor.check(image, trimap)
        return _Loaded(job, inputs, image, trimap)
    except ShmDataError as error:
        return _Failed(job, describe_fault(job.source, error))


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
            yield _Predicted(each, prediction.alpha)


def _write(background: Array, record: PredictionRecord, predicted: _Predicted | _Failed) -> _Failed | None:
    if isinstance(predicted, _Failed):
        return predicted
    job = predicted.loaded.job
    try:
        outputs = render_outputs(predicted.loaded.image, predicted.alpha, list(job.outputs), background)
        for kind, pixels in outputs.items():
            write_png(job.outputs[kind], pixels)
        record.add(job, predicted.loaded.inputs)
    except WriteError:
        raise
    except ShmDataError as error:
        return _Failed(job, describe_fault(job.source, error))
    return None
