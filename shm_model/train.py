"""Training, from a configuration to checkpoints: the only module that knows networks, losses and data together."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import torch
from torch import distributed

from shm_data.errors import ShmDataError
from shm_data.files import clear_leftovers, locked, make_folders
from shm_data.parallel import Progress, quiet
from shm_model.augment import draw_samples
from shm_model.batches import Batch
from shm_model.config import Config
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.distributed import broadcast_buffers, process_context
from shm_model.evaluate import draw_panels
from shm_model.faults import machine_faults, read_batches, refuse_unguarded_script
from shm_model.log import Log
from shm_model.predict import Predictor
from shm_model.roots import digest_of_roots, validation_source
from shm_model.run import BEST, LAST, Run, remove_old_epochs, save_checkpoint, set_aside, start_lines, start_run
from shm_model.samples import Source
from shm_model.step import train_step
from shm_model.validation import validation_sad

# Samples of val whose mattes TensorBoard shows.
_PICTURED = 4

Report = Callable[[str], None]


def silent(line: str) -> None:
    """Report nothing."""
    del line


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last checkpoint, and the epochs and batches of this call: epochs from `begun` to before `done`.

    `is_main` is false in all but one of several processes.
    """

    last: Path
    begun: int
    done: int
    batches: int
    is_main: bool


@dataclass(slots=True)
class Meter:
    """What a line for the user says of the steps since the line before."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    steps: int = 0
    images: int = 0
    loss: float = 0.0
    lr: float = 0.0

    def timed(self, feed: Iterable[Batch | ShmDataError]) -> Iterator[Batch | ShmDataError]:
        """Pass the batches on, and add up the time until each of them is there."""
        batches = iter(feed)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def add(self, values: dict[str, float], images: int) -> None:
        """Add a step."""
        self.steps += 1
        self.images += images
        self.loss += values["loss"]
        self.lr = values["lr"]

    def text(self) -> str:
        """Return the mean loss, the rate, and the speed."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        speed = f"{self.images / seconds:.1f} images/s, {self.waited / seconds:.0%} of the time waiting for data"
        return f"loss {self.loss / max(1, self.steps):.4f}, rate {self.lr:.2g}, {speed}"

    def restart(self) -> None:
        """Begin anew."""
        self.started, self.waited, self.steps, self.images, self.loss = time.perf_counter(), 0.0, 0, 0, 0.0


def train(config: Config, progress: Progress = quiet, report: Report = silent) -> Outcome:
    """Train as configured, or resume the run in `savedir` where it stopped.

    `report` is called with lines for the user: what the networks start from, and loss and score after each epoch.
    Raises ShmDataError where configuration, data, checkpoints or the machine are at fault, where another run uses
    `savedir`, and where loss or gradient are not finite.
    """
    refuse_unguarded_script()
    with ExitStack() as stack:
        stack.enter_context(machine_faults())
        dataset = TrainingSet(config)
        order = dataset.order()
        context = stack.enter_context(process_context(config))
        if context.is_main:
            make_folders(config.savedir)
            stack.enter_context(locked(config.savedir))
            clear_leftovers(config.savedir)
        else:
            progress, report = quiet, silent
        val = _open_val(config, report)
        run = start_run(config, context, digest_of_roots(config))
        begun, position = run.epoch, {"epoch": run.epoch, "step": run.step}
        batches = EpochBatches(order, config, context.rank, context.world_size, **position)
        run.total = run.total or batches.first
        if context.is_main and not config.resume and (folder := set_aside(config)):
            report(f"resume: false: the files of the run before are kept in {folder}.")
        if len(batches) or run.unscored:
            for line in (*start_lines(run), *order.notes):
                report(line)
            fit(run, data_loader(dataset, batches), batches, val, progress, report)
    return Outcome(config.savedir / LAST, begun, run.epoch, len(batches), context.is_main)


def fit(  # noqa: PLR0917
    run: Run,
    feed: Iterable[Batch | ShmDataError],
    batches: EpochBatches,
    val: Source | None,
    progress: Progress = quiet,
    report: Report = silent,
) -> None:
    """Train on all batches, and score val when it is due."""
    config, context = run.config, run.context
    label = f"{config.mode}, images on {context.device.type}" + f" after epoch {run.epoch}" * (run.epoch > 0)
    images = len(batches) * batches.size * context.world_size
    # Crops have one size, for which cuDNN may look for its fastest kernels; the host's setting comes back.
    fixed_sizes = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=context.device.type == "cuda",
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=torch.backends.cudnn.allow_tf32,
    )
    log_context = closing(Log(config.savedir, run.total, unscored=run.unscored)) if context.is_main else nullcontext()
    with log_context as log, fixed_sizes:
        for _ in progress(train_epochs(run, read_batches(feed), batches, val, log, report), images, label):
            pass


def train_epochs(  # noqa: PLR0917
    run: Run,
    feed: Iterable[Batch | ShmDataError],
    batches: EpochBatches,
    val: Source | None,
    log: Log | None,
    report: Report,
) -> Iterator[None]:
    """Train step by step, and yield once for every image that went through the network."""
    config, per_epoch, meter = run.config, batches.per_epoch, Meter()
    images = batches.size * run.context.world_size
    if run.unscored and (run.step == 0 or not len(batches)):
        report(f"{_position(run)}: resumed{finish_epoch(run, val, log, is_end=not len(batches))}")
    run.unscored = False
    for number, batch in zip(range(batches.first, batches.last), meter.timed(feed), strict=False):
        if isinstance(batch, ShmDataError):
            raise batch
        values = train_step(run, batch, number, per_epoch)
        meter.add(values, images)
        if log:
            log.step(run.total, run.epoch, values)
        run.epoch, run.step = divmod(number + 1, per_epoch)
        run.total += 1
        is_end = number + 1 == batches.last
        if run.step == 0 or is_end:
            text = meter.text()
            score = finish_epoch(run, val, log, is_end=is_end)
            report(f"{_position(run)}: {text}{score}")
            meter.restart()
        else:
            if log and _is_due(run, config.checkpoint_steps):
                save_checkpoint(run, LAST)
            if _is_due(run, config.log_steps):
                report(f"{_position(run)}: {meter.text()}")
                meter.restart()
        yield from repeat(None, images)


def finish_epoch(run: Run, val: Source | None, log: Log | None, *, is_end: bool = False) -> str:
    """Score val if it is due, by all processes; the main one writes scores, pictures and due checkpoints.

    The run is saved before, so that a crash while scoring costs no training. Returns the scores for the user's line.
    At the end of the run all of val is scored, too.
    """
    config, scores, better = run.config, {}, False
    is_shown = val is not None and (is_end or run.epoch % config.sample_period == 0)
    is_scored = val is not None and config.eval and (is_end or run.epoch % config.eval_period == 0)
    if log and not run.unscored and (is_scored or is_shown):
        run.unscored = True
        save_checkpoint(run, LAST)
    if val and is_scored:
        broadcast_buffers(run.result, run.context)
        scores["sad"] = validation_sad(run.result, val, config, run.context, config.eval_samples)
        better = scores["sad"] < run.best
        run.best = min(run.best, scores["sad"])
        if is_end and len(draw_samples(config.seed, len(val.names), config.eval_samples)) < len(val.names):
            scores["sad_of_all"] = validation_sad(run.result, val, config, run.context)
    run.unscored = False
    if log:
        if scores:
            log.score(run.total - 1, run.epoch, scores)
        if val and is_shown:
            predictor = Predictor(run.result, run.context.device, config.long_edge)
            pictures = draw_panels(predictor, val, range(min(_PICTURED, len(val.names))))
            log.picture(run.total - 1, "val: image, trimap, alpha, truth", pictures)
        _save_due(run, better, is_end)
    if run.context.world_size > 1:
        distributed.barrier()
    whole = f", of all of val {scores['sad_of_all']:.3f}" if "sad_of_all" in scores else ""
    return f", val SAD {scores['sad']:.3f} (best {run.best:.3f}){whole}" if scores else ""


def _save_due(run: Run, better: bool, is_end: bool) -> None:
    """Write the checkpoints of an epoch; the last one last, so that it vouches for the others."""
    config = run.config
    if run.step == 0 and run.epoch % config.checkpoint_period == 0:
        save_checkpoint(run, config.checkpoint_name or f"epoch_{run.epoch:04}.pt")
        remove_old_epochs(run)
    if better:
        save_checkpoint(run, BEST, resumable=False)
    save_checkpoint(run, LAST)


def _is_due(run: Run, steps: int | None) -> bool:
    """Return whether a multiple of `steps` optimiser steps of this epoch are done."""
    return steps is not None and run.step % (steps * run.config.accumulate) == 0


def _position(run: Run) -> str:
    last = f" of {run.config.max_epoch}" if run.config.max_steps is None else ""  # the steps end it earlier
    return f"epoch {run.epoch}{last}" if run.step == 0 else f"epoch {run.epoch + 1}{last}, batch {run.step}"


def _open_val(config: Config, report: Report) -> Source | None:
    """Return the samples of val, or None if there are none and nothing is scored."""
    try:
        return validation_source(config)
    except ShmDataError as error:
        if config.eval:
            raise
        report(f"No pictures of val are shown: {error}")
        return None
