"""One step of training: loss, gradient, and the optimiser's update."""

import math
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import interpolate, one_hot
from torch.nn.parallel import DistributedDataParallel

from shm_data.errors import ShmDataError
from shm_model import losses
from shm_model.batches import Batch, EndToEndBatch, MNetBatch, TNetBatch
from shm_model.config import Config
from shm_model.distributed import ProcessContext
from shm_model.run import Run, update_average
from shm_model.tnet import TwoLogits
from shm_model.validation import PRECISIONS

# Names of a batch that a message shows.
_NAMED = 20


def train_step(run: Run, batch: Batch, step: int, per_epoch: int) -> dict[str, float]:
    """Train on one batch; after `accumulate` batches, or at an epoch's end, update the weights.

    Returns the parts of the loss, as means over the batches of all processes, the learning rate, and with an update
    the norm of the gradient before it is clipped. Raises ShmDataError with the names of the samples where loss or
    gradient are not finite: the weights are then as they were.
    """
    config, context = run.config, run.context
    epoch, position = divmod(step, per_epoch)
    group, index_in_group = divmod(position, config.accumulate)
    members = min(config.accumulate, per_epoch - group * config.accumulate)
    groups = math.ceil(per_epoch / config.accumulate)
    steps = config.max_epoch * groups
    lr = learning_rate(epoch * groups + group, min(steps, config.max_steps or steps), config)
    set_training_mode(run)
    precision = PRECISIONS[config.precision]
    is_last = index_in_group + 1 == members
    # Each process accumulates gradients; they are exchanged only with those of the last batch.
    exchange = is_last or context.world_size == 1
    with nullcontext() if exchange else cast(DistributedDataParallel, run.forward).no_sync():
        with torch.autocast(context.device.type, precision, enabled=precision != torch.float32):
            parts = stage_loss(run.forward, to_device(batch, config, context), config)
        run.scaler.scale(parts["loss"] / members).backward()  # type: ignore[no-untyped-call]
    run.names += batch.name
    values = _checked(run, step, parts, gradient_norm(run) if is_last else None)
    if is_last:
        optimizer_step(run, lr)
        update_average(run)
    return values | {"lr": lr}


def set_training_mode(run: Run) -> None:
    """Put the network into training mode; with `freeze_bn` batch norm uses, and keeps, its running statistics."""
    run.forward.train()
    if run.config.freeze_bn:
        for module in run.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def gradient_norm(run: Run) -> Tensor:
    """Return the norm of the accumulated gradient, and scale the gradient down to the norm `clip` if it is longer."""
    run.scaler.unscale_(run.optimizer)
    return nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip or math.inf)


def _checked(run: Run, step: int, parts: dict[str, Tensor], norm: Tensor | None) -> dict[str, float]:
    """Return the means of the parts over all processes, and the norm, read from the device at once.

    All processes end where loss or gradient of one are not finite. In fp16 a gradient that is not finite is usual:
    the scaler skips the update and scales the next loss less.
    """
    own = torch.stack([value.detach().double() for value in parts.values()])
    joint = own.clone()
    if run.context.world_size > 1:
        distributed.all_reduce(joint)
    numbers = torch.cat([own, joint, *([] if norm is None else [norm.double().reshape(1)])]).tolist()
    count = len(parts)
    values = dict(zip(parts, (total / run.context.world_size for total in numbers[count : 2 * count]), strict=True))
    names = ", ".join(run.names[:_NAMED]) + f" and {len(run.names) - _NAMED} more" * (len(run.names) > _NAMED)
    own_loss = dict(zip(parts, numbers, strict=False))["loss"]
    if not math.isfinite(values["loss"]):
        mine = f"{own_loss} for {names}"
        found = f"{values['loss']} in another process" if math.isfinite(own_loss) else mine
        raise ShmDataError(f"the loss at step {step}", found=found)
    if norm is None:
        return values
    if math.isfinite(numbers[-1]):
        return values | {"gradient": numbers[-1]}
    if run.scaler.is_enabled():
        return values
    expected = "a finite one: a smaller lr, clip, or precision: fp32"
    raise ShmDataError(f"the gradient at step {step}", found=f"norm {numbers[-1]} for {names}", expected=expected)


def optimizer_step(run: Run, lr: float) -> None:
    """Update the weights along the accumulated gradient, and drop it."""
    for group in run.optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    run.names.clear()


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Return the rate at an optimiser step of `steps`: a linear warm-up, then constant or a cosine down to 0."""
    warmup = config.warmup_steps(steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - warmup) / max(1, steps - warmup)
    return config.lr * (1 + math.cos(math.pi * min(1.0, done))) / 2


def to_device(batch: Batch, config: Config, context: ProcessContext) -> Batch:
    """Move the tensors of a batch to the device; pixels travel as uint8 and become float in [0, 1] there.

    The box stays on the host, which cuts by it: read from the device it would make the host wait.
    """
    moved: dict[str, Any] = {}
    for name, value in batch._asdict().items():
        if not isinstance(value, Tensor) or name == "box":
            continue
        tensor = value.to(context.device, non_blocking=True)
        moved[name] = tensor.long() if name == "labels" else tensor.float() / 255
        if config.channels_last and name != "labels":
            moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
    return batch._replace(**moved)


def stage_loss(network: nn.Module, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Return the loss of the stage, under "loss", and its parts."""
    if isinstance(batch, TNetBatch):
        return _trimap_losses(network(batch.image), batch.labels, config)
    if isinstance(batch, MNetBatch):
        probabilities = one_hot(batch.labels, 3).movedim(-1, 1).float()
        alpha = network(batch.patch, probabilities)
        return {"loss": _prediction_loss(alpha, batch, config)}
    matte = network(batch.image, batch.box, config.mnet_size)
    prediction = _prediction_loss(matte.alpha, batch, config)
    trimap = losses.trimap_loss(matte.logits, batch.labels, config.loss)
    total = losses.total_loss(prediction, trimap, config.loss_lambda)
    return {"loss": total, "prediction": prediction, "trimap": trimap}


def _trimap_losses(found: Tensor | TwoLogits, labels: Tensor, config: Config) -> dict[str, Tensor]:
    if isinstance(found, Tensor):
        return {"loss": losses.trimap_loss(found, labels, config.loss)}
    trimap, auxiliary = (losses.trimap_loss(logits, labels, config.loss) for logits in found)
    return {"loss": trimap + config.aux_weight * auxiliary, "trimap": trimap, "auxiliary": auxiliary}


def _prediction_loss(alpha: Tensor, batch: MNetBatch | EndToEndBatch, config: Config) -> Tensor:
    weight = batch.known
    if config.unknown_weight != 1:
        weight = weight * (1 + (config.unknown_weight - 1) * _unknown(batch, config.mnet_size))
    colours = batch.patch, batch.foreground, batch.background
    return losses.prediction_loss(alpha, batch.alpha, *colours, gamma=config.gamma, weight=weight)


def _unknown(batch: MNetBatch | EndToEndBatch, size: int) -> Tensor:
    """Return where the trimap of each sample's patch is unknown, (N, 1, size, size) in [0, 1]."""
    if isinstance(batch, MNetBatch):
        return (batch.labels == 1).float()[:, None]
    patches = []
    for labels, (x, y, width, height) in zip(batch.labels, batch.box.tolist(), strict=True):
        window = (labels[y : y + height, x : x + width] == 1).float()
        patches.append(interpolate(window[None, None], (size, size)))
    return torch.cat(patches)
