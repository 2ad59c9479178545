"""Training, from a configuration to checkpoints: the only module that knows networks, losses and data together."""

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import one_hot
from torch.nn.parallel import DistributedDataParallel

from shm_data.errors import ShmDataError
from shm_data.parallel import Progress, quiet
from shm_model import checkpoint, losses
from shm_model.checkpoint import Checkpoint, new_network
from shm_model.config import Config
from shm_model.dataset import Batches, Item, TrainingSet, loader
from shm_model.evaluate import mean_sad, panels
from shm_model.log import Log
from shm_model.place import Place, as_in_the_first, summed, taken_place
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
    place: Place
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
    with taken_place(config) as place:
        run = start(config, place)
        begun = run.epoch
        epochs = range(begun, config.max_epoch)
        batches = Batches(len(dataset), config, epochs, place.rank, place.world, done=run.step)
        if len(batches):
            go(run, loader(dataset, batches), batches, val, progress if place.first else quiet)
    return Outcome(config.savedir / LAST, begun, run.epoch)


def go(run: Run, feed: Iterable[Item | ShmDataError], batches: Batches, val: Source, progress: Progress) -> None:
    """Trains to the end of what is fed, and scores `val` after each epoch."""
    config, place, per_epoch = run.config, run.place, batches.per_epoch
    first = run.epoch * per_epoch + run.step
    label = f"{config.mode}, images on {place.device.type}" + f" after epoch {run.epoch}" * (run.epoch > 0)
    images = len(batches) * batches.size * place.world
    with closing(Log(config.savedir, first, per_epoch)) if place.first else nullcontext() as log:
        for _ in progress(_passed(run, enumerate(feed, first), batches, val, log), images, label):
            pass


def _passed(
    run: Run, feed: Iterable[tuple[int, Item | ShmDataError]], batches: Batches, val: Source, log: Log | None
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
        yield from repeat(None, batches.size * run.place.world)


def start(config: Config, place: Place) -> Run:
    """A fresh run, or the one that `savedir` holds, where it stopped."""
    torch.manual_seed(config.seed)
    last = config.savedir / LAST
    resumed = checkpoint.load(last) if config.resume and last.is_file() else None
    if resumed:
        _require_same(resumed.config, config, last, *("batch_size", "accumulate", "ngpu") * (resumed.step > 0))
    run = run_of(checkpoint.restored(resumed, last) if resumed else new_network(config), config, place)
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


def run_of(network: nn.Module, config: Config, place: Place) -> Run:
    """A run of a network from its first step, on its place and in the form that is configured."""
    if config.sync_bn:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.to(place.device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gpu = place.device.type == "cuda"
    # Without weight decay, the default, this is the paper's Adam.
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, fused=gpu)
    scaler = torch.amp.GradScaler(place.device.type, enabled=config.precision == "fp16")
    return Run(config, place, network, wrapped(network, config, place), optimizer, scaler)


def wrapped(network: nn.Module, config: Config, place: Place) -> nn.Module:
    """The network as training calls it: in step with other processes, compiled, as configured.

    The network itself stays as it is: scores and checkpoints need neither.
    """
    if place.world > 1:
        network = DistributedDataParallel(network, [place.device] if place.device.type == "cuda" else None)
    return torch.compile(network) if config.compile else network  # type: ignore[return-value]


def train_step(run: Run, batch: Item, step: int, per_epoch: int) -> dict[str, float]:
    """One batch: loss, gradient, and after `accumulate` batches, or at an epoch's end, a step of the optimiser.

    Gives the parts of the loss, as means over the batches of all processes, and the rate. Raises ShmDataError with
    the names of the batch where the loss is not finite.
    """
    config, place = run.config, run.place
    epoch, position = divmod(step, per_epoch)
    group, place_in_group = divmod(position, config.accumulate)
    members = min(config.accumulate, per_epoch - group * config.accumulate)
    groups = math.ceil(per_epoch / config.accumulate)
    lr = rate(epoch * groups + group, config.max_epoch * groups, config)
    run.forward.train()
    precision = _PRECISIONS[config.precision]
    last = place_in_group + 1 == members
    # Gradients are gathered in each process; only with those of the last batch are they exchanged.
    together = last or place.world == 1
    with nullcontext() if together else cast(DistributedDataParallel, run.forward).no_sync():
        with torch.autocast(place.device.type, precision, enabled=precision != torch.float32):
            parts = loss_of(run.forward, on_device(batch, config, place), config)
        values = joint(parts, batch, step, place)
        run.scaler.scale(parts["loss"] / members).backward()  # type: ignore[no-untyped-call]
    if last:
        update(run, lr)
    return values | {"lr": lr}


def joint(parts: dict[str, Tensor], batch: Item, step: int, place: Place) -> dict[str, float]:
    """The means of the parts of the loss over all processes, which all end where one's loss is not finite."""
    own = {name: float(value.detach()) for name, value in parts.items()}
    means = [value / place.world for value in summed(list(own.values()), place)]
    values = dict(zip(own, means, strict=True))
    if not math.isfinite(values["loss"]):
        mine = f"{own['loss']} for {', '.join(batch['name'])}"
        found = f"{values['loss']} in another process" if math.isfinite(own["loss"]) else mine
        raise ShmDataError(f"the loss at step {step}", found=found)
    return values


def update(run: Run, lr: float) -> None:
    """A step of the optimiser along the gradient gathered, clipped as configured."""
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    if run.config.clip:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)


def rate(step: int, steps: int, config: Config) -> float:
    """The learning rate at an optimiser step: a linear warm-up, then constant or along a cosine down to 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (1 + math.cos(math.pi * min(1.0, done))) / 2


def on_device(batch: Item, config: Config, place: Place) -> dict[str, Tensor]:
    """The tensors of a batch on the device; pictures go over as uint8 and become float in [0, 1] there."""
    moved = {}
    for key, value in batch.items():
        if isinstance(value, Tensor):
            tensor = value.to(place.device, non_blocking=True)
            whole = key in ("labels", "box")
            moved[key] = tensor.long() if whole else tensor.float() / 255
            if config.channels_last and not whole:
                moved[key] = moved[key].contiguous(memory_format=torch.channels_last)
    return moved


def loss_of(network: nn.Module, batch: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    """The loss of the stage, under "loss", and its parts."""
    if config.mode == "pretrain_tnet":
        return {"loss": losses.trimap_loss(network(batch["image"]), batch["labels"], config.loss)}
    if config.mode == "pretrain_mnet":
        probabilities = one_hot(batch["labels"], 3).movedim(-1, 1).float()
        alpha = network(batch["patch"], probabilities)
        return {"loss": _prediction_loss(alpha, batch, probabilities[:, 1:2], config)}
    matte = network(batch["image"], batch["box"], config.mnet_size)
    prediction = _prediction_loss(matte.alpha, batch, _unknown_in_box(batch, config.mnet_size), config)
    trimap = losses.trimap_loss(matte.logits, batch["labels"], config.loss)
    total = losses.total_loss(prediction, trimap, config.loss_lambda)
    return {"loss": total, "prediction": prediction, "trimap": trimap}


def finish_epoch(run: Run, val: Source, log: Log | None) -> None:
    """After an epoch: the score of val, by all processes; by the first pictures, and the checkpoints that are due."""
    config, sad = run.config, math.inf
    predictor = Predictor(run.network, run.place.device, config.longest)
    if config.eval:
        as_in_the_first(run.network, run.place)
        sad = mean_sad(predictor, val, run.place)
    better = sad < run.best
    run.best = min(run.best, sad)
    if log:
        if config.eval:
            log.score("val SAD/1000, whole", sad, run.epoch)
        if run.epoch % config.sample_period == 0:
            some = range(min(_PICTURED, len(val.names)))
            log.picture("val: image, trimap, alpha, truth", panels(predictor, val, some), run.epoch)
        for name in _due(run, better):
            checkpoint.save(config.savedir / name, _snapshot(run))
    if run.place.world > 1:
        distributed.barrier()


def _prediction_loss(alpha: Tensor, batch: dict[str, Tensor], unknown: Tensor, config: Config) -> Tensor:
    weight = None if config.unknown_weight == 1 else 1 + (config.unknown_weight - 1) * unknown
    colours = batch["patch"], batch["foreground"], batch["background"]
    return losses.prediction_loss(alpha, batch["alpha"], *colours, gamma=config.gamma, weight=weight)


def _unknown_in_box(batch: dict[str, Tensor], size: int) -> Tensor:
    """Where the trimap is unknown in each sample's box, (N, 1, size, size) in [0, 1]."""
    patches = []
    for labels, (x, y, width, height) in zip(batch["labels"], batch["box"].tolist(), strict=True):
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
