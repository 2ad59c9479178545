"""The state of a training run: how it starts, resumes, and is saved."""

import copy
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from shm_data.errors import ShmDataError, WriteError
from shm_data.files import make_folders
from shm_model import checkpoint
from shm_model.checkpoint import Checkpoint, new_network
from shm_model.config import Config
from shm_model.distributed import ProcessContext
from shm_model.log import BOARD, NAME
from shm_model.mnet import MNet
from shm_model.shm import SHM
from shm_model.tnet import TNet

LAST, BEST = "last.pt", "best.pt"

# What must not change while a run is resumed, and what must not within an epoch.
_FIXED = (
    "mode",
    "backbone",
    "output_stride",
    "mnet_width",
    "seed",
    "pretrained_lr",
    "decay_matrices_only",
    "aux_weight",
)
_FIXED_IN_EPOCH = ("batch_size", "accumulate", "shares", "originals", "pairs")


@dataclass(slots=True)
class Run:
    """A run and its progress: `epoch` epochs are done and `step` batches of the next, `total` batches in all.

    `forward` is the network as training calls it, `average` the moving average of its weights if there is one. `data`
    is the digest of the samples, `best` the least SAD of val. An `unscored` run has its scores, and the files of the
    epoch, still due. `names` are the samples whose gradients are accumulated.
    """

    config: Config
    context: ProcessContext
    network: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    data: str = ""
    epoch: int = 0
    best: float = math.inf
    step: int = 0
    total: int = 0
    unscored: bool = False
    average: nn.Module | None = None
    names: list[str] = field(default_factory=list)

    @property
    def result(self) -> nn.Module:
        """The network to score, show and save: the moving average if there is one."""
        return self.network if self.average is None else self.average


def start_run(config: Config, context: ProcessContext, data: str = "") -> Run:
    """Return a new run, or the one in `savedir` where it stopped. `data` is the digest of the samples.

    Raises ShmDataError where `savedir` holds another run.
    """
    last = config.savedir / LAST
    if not config.resume or not last.is_file():
        run = new_run(new_network(config), config, context)
        run.data = data
        return run
    resumed = checkpoint.load(last)
    _require_same_run(resumed, config, context, data, last)
    run = new_run(checkpoint.restore_training_network(resumed, last), config, context)
    if run.average is not None:
        # The average of an auxiliary classifier is used nowhere, and not saved.
        run.average.load_state_dict(checkpoint.restore_network(resumed, last).state_dict(), strict=False)
    # The optimiser's state is the checkpoint's, its options are those of the configuration.
    groups = run.optimizer.state_dict()["param_groups"]
    try:
        run.optimizer.load_state_dict(resumed.optimizer | {"param_groups": groups})
        if resumed.scaler and run.scaler.is_enabled():  # empty unless the run was in fp16
            run.scaler.load_state_dict(resumed.scaler)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ShmDataError(path=last, found="the state of another optimiser", expected="resume=false") from error
    run.data = data
    run.epoch, run.best, run.step, run.total = resumed.epoch, resumed.best, resumed.step, resumed.total
    run.unscored = resumed.unscored
    return run


def new_run(network: nn.Module, config: Config, context: ProcessContext) -> Run:
    """Return a run of a network before its first step, on its device and in the configured form."""
    if config.sync_bn:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.to(context.device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Without weight decay, the default, this is the paper's Adam.
    fused = context.device.type == "cuda"
    optimizer = torch.optim.AdamW(
        parameter_groups(network, config), config.lr, weight_decay=config.weight_decay, fused=fused
    )
    scaler = torch.amp.GradScaler(context.device.type, enabled=config.precision == "fp16")
    average = copy.deepcopy(network).eval().requires_grad_(False) if config.ema else None
    forward = _training_form(network, config, context)
    return Run(config, context, network, forward, optimizer, scaler, average=average)


@torch.no_grad()
def update_average(run: Run) -> None:
    """Move the moving average towards the weights, and batch norm's statistics: mean = ema mean + (1 - ema) weight.

    In the first n steps the share of the mean is (1 + n) / (10 + n) where that is less, as in TensorFlow.
    """
    if run.average is None:
        return
    steps = run.total // run.config.accumulate
    share = min(run.config.ema, (1 + steps) / (10 + steps))
    pairs = zip(run.average.state_dict().values(), run.network.state_dict().values(), strict=True)
    floats = [(mean, value) for mean, value in pairs if value.is_floating_point()]
    means, values = map(list, zip(*floats, strict=True))
    torch._foreach_lerp_(means, values, 1 - share)


def parameter_groups(network: nn.Module, config: Config) -> list[dict[str, object]]:
    """Return the optimiser's groups; `lr_factor` of a group multiplies the learning rate. By default there is one.

    With `pretrained_lr` the layers that ImageNet weights fit, T-Net's backbone and M-Net's encoder, have a factor;
    with `decay_matrices_only` biases and the weights of norms do not decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        is_pretrained = config.pretrained_lr != 1 and re.match(r"(tnet\.)?backbone\.|(mnet\.)?encoder\.", name)
        is_bare = config.decay_matrices_only and parameter.ndim < 2
        groups.setdefault((bool(is_pretrained), is_bare), []).append(parameter)
    return [
        {"params": parameters, "lr_factor": config.pretrained_lr if is_pretrained else 1.0}
        | ({"weight_decay": 0.0} if is_bare else {})
        for (is_pretrained, is_bare), parameters in groups.items()
    ]


def _training_form(network: nn.Module, config: Config, context: ProcessContext) -> nn.Module:
    """Return the network as training calls it: in step with other processes, compiled, as configured.

    The network itself stays as it is: scores and checkpoints need neither.
    """
    if context.world_size > 1:
        network = DistributedDataParallel(network, [context.device] if context.device.type == "cuda" else None)
    return torch.compile(network) if config.compile else network  # type: ignore[return-value]


def start_lines(run: Run) -> Iterator[str]:
    """Yield what the user should know at the start: what the networks start from, their sizes, and the device."""
    config, device = run.config, run.context.device
    for name, network in _parts(run.network):
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        yield f"{name}: {millions:.1f} million parameters, {_origin(run, name)}, all of them trained"
    if config.ema:
        yield f"A moving average of the weights is scored and saved: ema {config.ema:g}."
    if config.aux_weight:
        yield f"An auxiliary classifier is trained, too, and not used: aux_weight {config.aux_weight:g}."
    if config.freeze_bn:
        yield "Batch norm keeps the means and deviations that it starts with."
    if config.cuda and device.type == "cpu":
        yield "cuda: true, but torch finds no GPU: training on the CPU."
    if device.type == "cpu" and _is_large(config):
        yield "These networks and crops need a GPU: on a CPU a step may take minutes. configs/demo is for CPUs."


def _is_large(config: Config) -> bool:
    """Whether a step takes a CPU very long: of ResNet-50 at 400 px or M-Net at its full width."""
    has_tnet, has_mnet = config.mode != "pretrain_mnet", config.mode != "pretrain_tnet"
    is_deep = config.backbone != "efficientnet_lite0" and (
        config.backbone in ("resnet50", "resnet101") or config.output_stride == 8
    )
    size = config.tnet_size if config.mode == "pretrain_tnet" else config.end_size
    return (has_tnet and is_deep and size >= 320) or (
        has_mnet and config.mnet_width >= 0.5 and config.mnet_size >= 256
    )


def _parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(network, SHM):
        return [("T-Net", network.tnet), ("M-Net", network.mnet)]
    assert isinstance(network, TNet | MNet)
    return [("T-Net" if isinstance(network, TNet) else "M-Net", network)]


def _origin(run: Run, name: str) -> str:
    """Return what the weights of a network start from."""
    config = run.config
    if run.epoch or run.step:
        return f"resumed from {config.savedir / LAST}"
    path = (config.tnet_checkpoint if name == "T-Net" else config.mnet_checkpoint) or config.shm_checkpoint
    if path is not None:
        return f"from {path}"
    weights = config.starting_backbone if name == "T-Net" else config.vgg_weights
    if weights is None:
        return "random weights"
    source = "packaged ImageNet weights" if weights == "packaged" else weights
    return f"{'backbone' if name == 'T-Net' else 'encoder'} from {source}, the rest random"


def save_checkpoint(run: Run, name: str, *, resumable: bool = True) -> None:
    """Write the run to `savedir`; without what only training needs, two thirds of the file, if not `resumable`.

    Raises ShmDataError where a weight is not finite: what is there already is better.
    """
    networks = [run.network] if run.average is None else [run.network, run.average]
    if not all(map(checkpoint.is_finite, networks)):
        expected = f"finite ones; {run.config.savedir} keeps the checkpoints from before"
        raise ShmDataError(
            f"the weights after step {run.total}", found="values that are not finite", expected=expected
        )
    optimizer = run.optimizer.state_dict() if resumable else {}
    scaler = run.scaler.state_dict() if resumable else {}
    used = {name: value for name, value in run.result.state_dict().items() if not name.startswith("auxiliary.")}
    trained = run.network.state_dict() if resumable else {}
    training = {name: value for name, value in trained.items() if run.average is not None or name not in used}
    progress = run.epoch, run.best, run.step, run.total, run.context.world_size, run.data
    saved = Checkpoint(run.config, used, optimizer, scaler, *progress, training=training, unscored=run.unscored)
    checkpoint.save(run.config.savedir / name, saved)


def set_aside(config: Config) -> Path | None:
    """Move the files of an earlier run in `savedir` to a folder in it, and return that; None if there are none.

    The checkpoint that a run resumes from goes first: where this is cut short, no run resumes from half the files.
    Raises WriteError where the file system refuses.
    """
    names = [LAST, BEST, NAME, BOARD, *([config.checkpoint_name] if config.checkpoint_name else [])]
    epochs = sorted(path for path in config.savedir.glob("epoch_*.pt") if _EPOCH.match(path.name))
    found = [path for path in (*(config.savedir / name for name in names), *epochs) if path.exists()]
    if not found:
        return None
    folder = next(folder for n in itertools.count(1) if not (folder := config.savedir / f"earlier_{n:04}").exists())
    make_folders(folder)
    for path in found:
        try:
            path.rename(folder / path.name)
        except OSError as error:
            raise WriteError(f"cannot be moved to {folder} ({error.strerror or error})", path=path) from error
    return folder


def remove_old_epochs(run: Run) -> None:
    """Remove all but the newest `keep` files of epochs, of those up to the present one."""
    if run.config.keep is None:
        return
    numbers = [(match, path) for path in run.config.savedir.glob("epoch_*.pt") if (match := _EPOCH.match(path.name))]
    past = sorted((int(match[1]), path) for match, path in numbers if int(match[1]) <= run.epoch)
    for _, path in past[: -run.config.keep]:
        path.unlink(missing_ok=True)


_EPOCH = re.compile(r"epoch_(\d{4,})\.pt$")


def _require_same_run(old: Checkpoint, config: Config, context: ProcessContext, data: str, path: Path) -> None:
    """Raise ShmDataError where the checkpoint is of another run, or stands within an epoch that was cut otherwise."""
    pairs = [(key, getattr(old.config, key), getattr(config, key)) for key in _FIXED]
    if old.step:
        pairs += [(key, getattr(old.config, key), getattr(config, key)) for key in _FIXED_IN_EPOCH]
        pairs += [("processes", old.world_size, context.world_size)] * bool(old.world_size)
    for key, before, now in pairs:
        if before != now:
            expected = f"{now} as configured, another savedir, or resume: false"
            raise ShmDataError("is of another run", path=path, found=f"{key} {before}", expected=expected)
    if old.data and data and old.data != data:
        folders = ", ".join(str(root.root) for root in config.roots)
        expected = f"those of {folders}; another savedir that starts from this checkpoint, or resume: false"
        raise ShmDataError("is of another run", path=path, found="other samples", expected=expected)
    if not old.optimizer:
        raise ShmDataError(
            path=path, found="a checkpoint without optimiser", expected="one that a run can resume from"
        )
