"""Training, from a configuration to checkpoints: the only module that knows networks, losses and data together."""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import one_hot
from torch.nn.parallel import DistributedDataParallel

from shm_data.errors import ShmDataError
from shm_data.parallel import Progress, quiet
from shm_model import checkpoint, losses
from shm_model.batches import Batch, EndToEndBatch, MNetBatch, TNetBatch
from shm_model.checkpoint import Checkpoint, new_network
from shm_model.config import Config
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.distributed import ProcessContext, all_reduce_sum, broadcast_buffers, process_context
from shm_model.evaluate import draw_panels, mean_sad
from shm_model.log import Log
from shm_model.predict import Predictor
from shm_model.samples import Source, source_of

LAST, BEST = "last.pt", "best.pt"

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PICTURED = 4


@dataclass(slots=True)
class Run:
    """A run and what it changes as it goes: `epoch` epochs are done, and `step` batches of the next.

    `forward` is the network as training calls it.
    """

    config: Config
    context: ProcessContext
    network: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    best: float = math.inf
    step: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the last checkpoint lies, and which epochs this call did: from `begun` to before `done`."""

    last: Path
    begun: int
    done: int


def train(config: Config, progress: Progress = quiet) -> Outcome:
    """Trains as configured, or goes on where a run in `savedir` stopped.

    Raises ShmDataError where configuration, data or checkpoints are at fault, or the loss is no longer finite.
    """
    dataset, val = TrainingSet(config), source_of(config.data, config.data_root, "val", config.cache)
    with process_context(config) as context:
        run = start_run(config, context)
        begun = run.epoch
        epochs = range(begun, config.max_epoch)
        batches = EpochBatches(len(dataset), config, epochs, context.rank, context.world_size, done=run.step)
        if len(batches):
            fit(run, data_loader(dataset, batches), batches, val, progress if context.is_main else quiet)
    return Outcome(config.savedir / LAST, begun, run.epoch)


def fit(
    run: Run, feed: Iterable[Batch | ShmDataError], batches: EpochBatches, val: Source, progress: Progress
) -> None:
    """Trains to the end of what is fed, and scores `val` after each epoch."""
    config, context, per_epoch = run.config, run.context, batches.per_epoch
    first = run.epoch * per_epoch + run.step
    label = f"{config.mode}, images on {context.device.type}" + f" after epoch {run.epoch}" * (run.epoch > 0)
    images = len(batches) * batches.size * context.world_size
    with closing(Log(config.savedir, first, per_epoch)) if context.is_main else nullcontext() as log:
        for _ in progress(train_epochs(run, enumerate(feed, first), batches, val, log), images, label):
            pass


def train_epochs(
    run: Run, feed: Iterable[tuple[int, Batch | ShmDataError]], batches: EpochBatches, val: Source, log: Log | None
) -> Iterator[None]:
    """Trains step by step, and gives something for every image that went through the network."""
    config, per_epoch = run.config, batches.per_epoch
    for step, batch in feed:
        if isinstance(batch, ShmDataError):
            raise batch
        values = train_step(run, batch, step, per_epoch)
        if log:
            log.step(step, values)
        run.epoch, run.step = divmod(step + 1, per_epoch)
        if run.step == 0:
            finish_epoch(run, val, log)
        elif log and config.checkpoint_steps and run.step % (config.checkpoint_steps * config.accumulate) == 0:
            checkpoint.save(config.savedir / LAST, _snapshot(run))
        yield from repeat(None, batches.size * run.context.world_size)


def start_run(config: Config, context: ProcessContext) -> Run:
    """A fresh run, or the one that `savedir` holds, where it stopped."""
    torch.manual_seed(config.seed)
    last = config.savedir / LAST
    resumed = checkpoint.load(last) if config.resume and last.is_file() else None
    if resumed:
        _require_same(resumed.config, config, last, *("batch_size", "accumulate", "ngpu") * (resumed.step > 0))
    run = new_run(checkpoint.restore_network(resumed, last) if resumed else new_network(config), config, context)
    if resumed:
        # What the optimiser has gathered is the checkpoint's, its options are the configuration's.
        groups = run.optimizer.state_dict()["param_groups"]
        try:
            run.optimizer.load_state_dict(resumed.optimizer | {"param_groups": groups})
            run.scaler.load_state_dict(resumed.scaler)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise ShmDataError(path=last, found="the state of another optimiser", expected="resume=false") from error
        run.epoch, run.best, run.step = resumed.epoch, resumed.best, resumed.step
    return run


def new_run(network: nn.Module, config: Config, context: ProcessContext) -> Run:
    """Return a run of a network before its first step, on its device and in the configured form."""
    if config.sync_bn:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.to(context.device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gpu = context.device.type == "cuda"
    # Without weight decay, the default, this is the paper's Adam.
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, fused=gpu)
    scaler = torch.amp.GradScaler(context.device.type, enabled=config.precision == "fp16")
    return Run(config, context, network, training_form(network, config, context), optimizer, scaler)


def training_form(network: nn.Module, config: Config, context: ProcessContext) -> nn.Module:
    """The network as training calls it: in step with other processes, compiled, as configured.

    The network itself stays as it is: scores and checkpoints need neither.
    """
    if context.world_size > 1:
        network = DistributedDataParallel(network, [context.device] if context.device.type == "cuda" else None)
    return torch.compile(network) if config.compile else network  # type: ignore[return-value]


def train_step(run: Run, batch: Batch, step: int, per_epoch: int) -> dict[str, float]:
    """One batch: loss, gradient, and after `accumulate` batches, or at an epoch's end, a step of the optimiser.

    Gives the parts of the loss, as means over the batches of all processes, and the rate. Raises ShmDataError with
    the names of the batch where the loss is not finite.
    """
    config, context = run.config, run.context
    epoch, position = divmod(step, per_epoch)
    group, index_in_group = divmod(position, config.accumulate)
    members = min(config.accumulate, per_epoch - group * config.accumulate)
    groups = math.ceil(per_epoch / config.accumulate)
    lr = learning_rate(epoch * groups + group, config.max_epoch * groups, config)
    run.forward.train()
    precision = _PRECISIONS[config.precision]
    last = index_in_group + 1 == members
    # Gradients are gathered in each process; only with those of the last batch are they exchanged.
    together = last or context.world_size == 1
    with nullcontext() if together else cast(DistributedDataParallel, run.forward).no_sync():
        with torch.autocast(context.device.type, precision, enabled=precision != torch.float32):
            parts = stage_loss(run.forward, to_device(batch, config, context), config)
        values = mean_losses(parts, batch, step, context)
        run.scaler.scale(parts["loss"] / members).backward()  # type: ignore[no-untyped-call]
    if last:
        optimizer_step(run, lr)
    return values | {"lr": lr}


def mean_losses(parts: dict[str, Tensor], batch: Batch, step: int, context: ProcessContext) -> dict[str, float]:
    """The means of the parts of the loss over all processes, which all end where one's loss is not finite."""
    own = {name: float(value.detach()) for name, value in parts.items()}
    means = [value / context.world_size for value in all_reduce_sum(list(own.values()), context)]
    values = dict(zip(own, means, strict=True))
    if not math.isfinite(values["loss"]):
        mine = f"{own['loss']} for {', '.join(batch.name)}"
        found = f"{values['loss']} in another process" if math.isfinite(own["loss"]) else mine
        raise ShmDataError(f"the loss at step {step}", found=found)
    return values


def optimizer_step(run: Run, lr: float) -> None:
    """A step of the optimiser along the gradient gathered, clipped as configured."""
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    if run.config.clip:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)


def learning_rate(step: int, steps: int, config: Config) -> float:
    """The learning rate at an optimiser step: a linear warm-up, then constant or along a cosine down to 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (1 + math.cos(math.pi * min(1.0, done))) / 2


def to_device(batch: Batch, config: Config, context: ProcessContext) -> Batch:
    """Move the tensors of a batch to the device; pixels travel as uint8 and become float in [0, 1] there."""
    moved: dict[str, Any] = {}
    for name, value in batch._asdict().items():
        if isinstance(value, Tensor):
            tensor = value.to(context.device, non_blocking=True)
            is_index = name in ("labels", "box")
            moved[name] = tensor.long() if is_index else tensor.float() / 255
            if config.channels_last and not is_index:
                moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
    return batch._replace(**moved)


def stage_loss(network: nn.Module, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Return the loss of the stage, under "loss", and its parts."""
    if isinstance(batch, TNetBatch):
        return {"loss": losses.trimap_loss(network(batch.image), batch.labels, config.loss)}
    if isinstance(batch, MNetBatch):
        probabilities = one_hot(batch.labels, 3).movedim(-1, 1).float()
        alpha = network(batch.patch, probabilities)
        return {"loss": _prediction_loss(alpha, batch, probabilities[:, 1:2], config)}
    matte = network(batch.image, batch.box, config.mnet_size)
    prediction = _prediction_loss(matte.alpha, batch, _unknown_in_box(batch, config.mnet_size), config)
    trimap = losses.trimap_loss(matte.logits, batch.labels, config.loss)
    total = losses.total_loss(prediction, trimap, config.loss_lambda)
    return {"loss": total, "prediction": prediction, "trimap": trimap}


def finish_epoch(run: Run, val: Source, log: Log | None) -> None:
    """After an epoch: the score of val, by all processes; by the first pictures, and the checkpoints that are due."""
    config, sad = run.config, math.inf
    predictor = Predictor(run.network, run.context.device, config.longest)
    if config.eval:
        broadcast_buffers(run.network, run.context)
        sad = mean_sad(predictor, val, run.context)
    better = sad < run.best
    run.best = min(run.best, sad)
    if log:
        if config.eval:
            log.score("val SAD/1000, whole", sad, run.epoch)
        if run.epoch % config.sample_period == 0:
            some = range(min(_PICTURED, len(val.names)))
            log.picture("val: image, trimap, alpha, truth", draw_panels(predictor, val, some), run.epoch)
        for name in _due(run, better):
            checkpoint.save(config.savedir / name, _snapshot(run))
    if run.context.world_size > 1:
        distributed.barrier()


def _prediction_loss(alpha: Tensor, batch: MNetBatch | EndToEndBatch, unknown: Tensor, config: Config) -> Tensor:
    weight = None if config.unknown_weight == 1 else 1 + (config.unknown_weight - 1) * unknown
    colours = batch.patch, batch.foreground, batch.background
    return losses.prediction_loss(alpha, batch.alpha, *colours, gamma=config.gamma, weight=weight)


def _unknown_in_box(batch: EndToEndBatch, size: int) -> Tensor:
    """Where the trimap is unknown in each sample's box, (N, 1, size, size) in [0, 1]."""
    patches = []
    for labels, (x, y, width, height) in zip(batch.labels, batch.box.tolist(), strict=True):
        window = (labels[y : y + height, x : x + width] == 1).float()
        patches.append(nn.functional.interpolate(window[None, None], (size, size)))
    return torch.cat(patches)


def _due(run: Run, better: bool) -> Iterator[str]:
    """The names under which an epoch is saved; the last one last, so that it vouches for the others."""
    if run.epoch % run.config.checkpoint_period == 0:
        yield run.config.checkpoint_name or f"epoch_{run.epoch:04}.pt"
    if better:
        yield BEST
    yield LAST


def _snapshot(run: Run) -> Checkpoint:
    weights, optimizer = run.network.state_dict(), run.optimizer.state_dict()
    return Checkpoint(run.config, weights, optimizer, run.scaler.state_dict(), run.epoch, run.best, run.step)


def _require_same(old: Config, new: Config, path: Path, *more: str) -> None:
    for field in ("mode", "backbone", "output_stride", "mnet_width", "data_root", "seed", *more):
        before, now = getattr(old, field), getattr(new, field)
        if before != now:
            raise ShmDataError(
                f"{path} is of another run",
                found=f"{field} {before}",
                expected=f"{now} as configured, another savedir, or resume: false",
            )
