"""Training, from a configuration to checkpoints: the only module that knows networks, losses and data together."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import one_hot
from torch.nn.parallel import DistributedDataParallel

from shm_data.errors import ShmDataError
from shm_data.layout import make_folders
from shm_data.parallel import Progress, quiet
from shm_model import checkpoint, losses
from shm_model.checkpoint import Checkpoint, new_network
from shm_model.config import Config
from shm_model.dataset import Batches, Item, TrainingSet, loader, names_of
from shm_model.evaluate import evaluate, means, panels
from shm_model.predict import Predictor, device_for

LAST, BEST, LOG = "last.pt", "best.pt", "log.jsonl"

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PICTURED = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs: its device, and which of `world` processes it is."""

    device: torch.device
    rank: int
    world: int


@dataclass(slots=True)
class Run:
    """A run and what it changes as it goes. `forward` is the network as training calls it."""

    config: Config
    place: Place
    network: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    best: float = math.inf


def train(config: Config, progress: Progress = quiet) -> Path:
    """Trains as configured, or goes on where a run in `savedir` stopped, and gives the last checkpoint's path.

    Raises ShmDataError where configuration, data or checkpoints are at fault, or the loss is no longer finite.
    """
    place = find_place(config)
    dataset = TrainingSet(config)
    names_of(config.data_root, "val")
    run = start(config, place)
    batches = Batches(len(dataset), config, range(run.epoch, config.max_epoch), place.rank, place.world)
    first = run.epoch * batches.per_epoch
    log = Log(config, first, batches.per_epoch) if place.rank == 0 else None
    with contextlib.closing(log) if log else contextlib.nullcontext():
        for step, batch in enumerate(progress(loader(dataset, batches), len(batches), config.mode), first):
            if isinstance(batch, ShmDataError):
                raise batch
            parts = train_step(run, batch, step, batches.per_epoch)
            if log:
                log.step(step, parts)
            if (step + 1) % batches.per_epoch == 0:
                run.epoch += 1
                finish_epoch(run, log)
    return config.savedir / LAST


def find_place(config: Config) -> Place:
    """Takes the place that torchrun gives to this process, or the only one.

    Raises ShmDataError where several GPUs are wanted and nobody started a process for each.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if config.ngpu > 1 and world != config.ngpu:
        command = f"torchrun --nproc_per_node={config.ngpu} -m cli.model train CONFIG.yaml"
        raise ShmDataError("ngpu", found=f"{config.ngpu} and {world} process", wanted=f"a launch by `{command}`")
    if world == 1:
        return Place(device_for(config.cuda), 0, 1)
    gpu = config.cuda and torch.cuda.is_available()
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if gpu else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    return Place(device, distributed.get_rank(), world)


def start(config: Config, place: Place) -> Run:
    """A fresh run, or the one that `savedir` holds, where it stopped."""
    torch.manual_seed(config.seed)
    last = config.savedir / LAST
    resumed = checkpoint.load(last) if config.resume and last.is_file() else None
    if resumed:
        _require_same(resumed.config, config, last)
    network = checkpoint.restored(resumed, last) if resumed else new_network(config)
    network.to(place.device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gpu = place.device.type == "cuda"
    optimizer = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, fused=gpu)
    scaler = torch.amp.GradScaler(place.device.type, enabled=config.precision == "fp16")
    run = Run(config, place, network, wrapped(network, config, place), optimizer, scaler)
    if resumed:
        optimizer.load_state_dict(resumed.optimizer)
        scaler.load_state_dict(resumed.scaler)
        run.epoch, run.best = resumed.epoch, resumed.best
    return run


def wrapped(network: nn.Module, config: Config, place: Place) -> nn.Module:
    """The network as training calls it: synchronised among processes, compiled, as configured."""
    if config.sync_bn and place.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    if place.world > 1:
        network = DistributedDataParallel(network, [place.device] if place.device.type == "cuda" else None)
    return torch.compile(network) if config.compile else network  # type: ignore[return-value]


def train_step(run: Run, batch: Item, step: int, per_epoch: int) -> dict[str, float]:
    """One batch: loss, gradient, and every `accumulate` batches, and at the end of an epoch, a step of the optimiser.

    Gives the parts of the loss. Raises ShmDataError with the names of the batch where the loss is not finite.
    """
    config, place = run.config, run.place
    run.forward.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate(step // config.accumulate, per_epoch * config.max_epoch // config.accumulate, config)
    precision = _PRECISIONS[config.precision]
    with torch.autocast(place.device.type, precision, enabled=precision != torch.float32):
        parts = loss_of(run.forward, on_device(batch, config, place), config)
    values = {name: float(value.detach()) for name, value in parts.items()}
    if not math.isfinite(values["loss"]):
        raise ShmDataError(f"the loss at step {step}", found=f"{values['loss']} for {', '.join(batch['name'])}")
    run.scaler.scale(parts["loss"] / config.accumulate).backward()  # type: ignore[no-untyped-call]
    position = step % per_epoch + 1
    if position % config.accumulate == 0 or position == per_epoch:
        update(run)
    return values


def update(run: Run) -> None:
    """A step of the optimiser along the gradient gathered, clipped as configured."""
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


def finish_epoch(run: Run, log: "Log | None") -> None:
    """After an epoch, in the first process: scores and pictures of val, and the checkpoints that are due."""
    if log:
        config, predictor = run.config, Predictor(run.network, run.place.device)
        sad = means(evaluate(predictor, config.data_root)).whole.sad if config.eval else math.inf
        if config.eval:
            log.value("val SAD/1000, whole", sad, run.epoch)
        if run.epoch % config.sample_period == 0:
            log.picture(panels(predictor, config.data_root, names_of(config.data_root, "val")[:_PICTURED]), run.epoch)
        better = sad < run.best
        run.best = min(run.best, sad)
        for name in _due(run, better):
            checkpoint.save(config.savedir / name, _snapshot(run))
    if run.place.world > 1:
        distributed.barrier()


class Log:
    """Writes the loss of every step to log.jsonl and TensorBoard; a resumed run's lines replace those it repeats."""

    def __init__(self, config: Config, first: int, per_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (takes a second to load)

        make_folders(config.savedir)
        path = config.savedir / LOG
        kept = [line for line in _lines(path) if json.loads(line)["step"] < first]
        self._file = path.open("w", encoding="utf-8")
        self._file.writelines(kept)
        self._board = SummaryWriter(str(config.savedir / "tensorboard"), purge_step=first)
        self._per_epoch = per_epoch

    def step(self, step: int, parts: dict[str, float]) -> None:
        """Writes the parts of the loss of a step."""
        self._file.write(json.dumps({"step": step, "epoch": step // self._per_epoch} | parts) + "\n")
        self._file.flush()
        for name, value in parts.items():
            self._board.add_scalar(name, value, step)

    def value(self, name: str, value: float, epoch: int) -> None:
        """Writes a score after an epoch."""
        self._board.add_scalar(name, value, epoch * self._per_epoch)

    def picture(self, pixels: Any, epoch: int) -> None:
        """Writes a picture (H, W, 3) uint8 after an epoch."""
        self._board.add_image("val: image, trimap, alpha, truth", pixels, epoch * self._per_epoch, dataformats="HWC")

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._board.close()


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
    return Checkpoint(run.config, weights, optimizer, run.scaler.state_dict(), run.epoch, run.best)


def _require_same(old: Config, new: Config, path: Path) -> None:
    for field in ("mode", "backbone", "output_stride", "mnet_width", "data_root", "seed"):
        before, now = getattr(old, field), getattr(new, field)
        if before != now:
            raise ShmDataError(
                f"{path} is of another run",
                found=f"{field} {before}",
                wanted=f"{now} as configured, another savedir, or resume: false",
            )


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; one that a crash cut short is dropped."""
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
