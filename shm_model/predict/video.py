"""Predict the mattes of a video: frames stream through in bounded memory, and keep their times."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import repeat, takewhile
from typing import NamedTuple

from shm_data.parallel import Progress, count_workers
from shm_data.pixels.arrays import Array
from shm_model.predict.base import BasePredictor, Floats
from shm_model.predict.jobs import PredictJob, PredictOptions
from shm_model.predict.outputs import Output, render_outputs
from shm_model.predict.pipeline import group_neighbours, map_ahead
from shm_model.predict.record import PredictionRecord, digest_inputs
from shm_model.predict.video_files import Frame, can_hold_sound, has_sound, open_reader, open_writer


class VideoOutcome(NamedTuple):
    """How many frames were predicted, how many are missing, and whether sound was copied; None: there was none."""

    frames: int
    missing: int
    sound: bool | None


class _Predicted(NamedTuple):
    frame: Frame
    alpha: Floats


def predict_video(
    predictor: BasePredictor,
    job: PredictJob,
    options: PredictOptions,
    record: PredictionRecord,
    progress: Progress,
) -> VideoOutcome:
    """Write and record the outputs of a video, alpha and composite, at its size, with its times and its sound.

    Files are whole or absent. Raises ShmDataError where the video is broken, and WriteError where nothing can be
    written.
    """
    reader = open_reader(job.source)
    inputs = digest_inputs(job)
    source = reader.frames()
    read = takewhile(lambda frame: frame is not None, map_ahead(lambda _: next(source, None), repeat(None), 1))
    predicted = _predict_frames(predictor, (frame for frame in read if frame is not None), options.batch)
    rendered = map_ahead(partial(_render, tuple(job.outputs), options.background), predicted, count_workers(-1))
    count = 0
    with contextlib.ExitStack() as stack:
        write: dict[Output, Callable[[Frame], None]] = {}
        for time, outputs in progress(rendered, reader.count, job.source.name):
            count += 1
            for kind, pixels in outputs.items():
                if kind not in write:
                    size = pixels.shape[1], pixels.shape[0]
                    write[kind] = stack.enter_context(open_writer(job.outputs[kind], reader, size))
                write[kind](Frame(pixels, time))
    record.add(job, inputs)
    sound = all(can_hold_sound(path, job.source) for path in job.outputs.values()) if has_sound(job.source) else None
    return VideoOutcome(count, reader.missing, sound)


def _predict_frames(predictor: BasePredictor, read: Iterable[Frame], batch: int) -> Iterator[_Predicted]:
    for group in group_neighbours(read, batch, lambda frame: frame.pixels.shape):
        predictions = predictor.predict_batch([frame.pixels for frame in group], [None] * len(group))
        for frame, prediction in zip(group, predictions, strict=True):
            yield _Predicted(frame, prediction.alpha)


def _render(
    kinds: Sequence[Output], background: Array, predicted: _Predicted
) -> tuple[Fraction, dict[Output, Array]]:
    frame, alpha = predicted
    return frame.time, render_outputs(frame.pixels, alpha, kinds, background)
