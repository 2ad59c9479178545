"""Networks from configurations and files. A checkpoint holds plain values and tensors, its configuration inside."""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from shm_data.errors import ShmDataError
from shm_data.files import make_folders, write_bytes
from shm_model.augment import seeded_weights
from shm_model.config import Config, config_of
from shm_model.efficientnet import load_efficientnet, packaged_weights
from shm_model.mnet import MNet, load_vgg16_bn
from shm_model.resnet import ResNet, load_resnet
from shm_model.shm import SHM
from shm_model.tnet import TNet
from shm_model.weights import read


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds: the configuration, the weights, and where the run stood.

    `epoch` epochs are done and `step` batches of the next, `total` batches in all, by `world_size` processes. `data`
    is the digest of the samples. Optimiser and scaler are empty in a file that no run can resume from.

    `network` holds the weights to use. `training` holds those of the optimiser where they differ: all of them beside
    a moving average, and those of an auxiliary classifier. The scores of an `unscored` checkpoint are still due.
    """

    config: Config
    network: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    epoch: int
    best: float
    step: int = 0
    total: int = 0
    world_size: int = 0
    data: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    unscored: bool = False


_KINDS = {
    "config": dict,
    "network": dict,
    "optimizer": dict,
    "scaler": dict,
    "epoch": int,
    "best": float,
    "step": int,
    "total": int,
    "world_size": int,
    "data": str,
    "training": dict,
    "unscored": bool,
}

# The fields that older files lack.
_DEFAULTS: dict[str, object] = {
    "step": 0,
    "total": 0,
    "world_size": 0,
    "data": "",
    "training": {},
    "unscored": False,
}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all, so that it outlives a loss of power. Raises WriteError."""
    plain = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    plain["config"] = checkpoint.config.model_dump(mode="json")
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    make_folders(path.parent)
    write_bytes(path, buffer.getbuffer(), durable=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; code in the file is never run. Raises ShmDataError where the file is no checkpoint."""
    expected = "a checkpoint that training wrote"
    plain = read(path, expected)
    if isinstance(plain, dict):
        plain = _DEFAULTS | plain
    if (
        not isinstance(plain, dict)
        or set(plain) != set(Checkpoint.__slots__)
        or not all(isinstance(plain[name], kind) for name, kind in _KINDS.items())
    ):
        raise ShmDataError(path=path, found="other contents", expected=expected)
    return Checkpoint(**plain | {"config": config_of(plain["config"], str(path))})


def new_network(config: Config) -> nn.Module:
    """Return the network that a configuration trains, with the weights it names; others are drawn from `seed`.

    Raises ShmDataError where a file is missing or does not fit: end to end never starts untrained.
    """
    with seeded_weights(config.seed):
        if config.mode == "pretrain_tnet":
            return _with_auxiliary(_new_tnet(config), config)
        if config.mode == "pretrain_mnet":
            return _new_mnet(config)
        return _new_shm(config)


def _new_tnet(config: Config) -> TNet:
    if config.tnet_checkpoint:
        return _pretrained_tnet(config)
    if config.shm_checkpoint:
        return _pretrained_shm(config, "backbone", "output_stride").tnet
    tnet, start = TNet(config.backbone, config.output_stride), config.starting_backbone
    if start is not None:
        path = packaged_weights() if start == "packaged" else start
        if isinstance(tnet.backbone, ResNet):
            load_resnet(tnet.backbone, path)
        else:
            load_efficientnet(tnet.backbone, path)
    return tnet


def _with_auxiliary(tnet: TNet, config: Config) -> TNet:
    if config.aux_weight:
        tnet.add_auxiliary()
    return tnet


def _new_mnet(config: Config) -> MNet:
    if config.mnet_checkpoint:
        return _pretrained_mnet(config)
    if config.shm_checkpoint:
        return _pretrained_shm(config, "mnet_width").mnet
    mnet = MNet(config.mnet_width)
    if config.vgg_weights:
        load_vgg16_bn(mnet, config.vgg_weights)
    return mnet


def _new_shm(config: Config) -> SHM:
    if config.shm_checkpoint:
        return _pretrained_shm(config, "backbone", "output_stride", "mnet_width")
    return SHM(_pretrained_tnet(config), _pretrained_mnet(config))


def _pretrained_tnet(config: Config) -> TNet:
    return cast(TNet, _pretrained(config, "tnet_checkpoint", "pretrain_tnet", "backbone", "output_stride"))


def _pretrained_mnet(config: Config) -> MNet:
    return cast(MNet, _pretrained(config, "mnet_checkpoint", "pretrain_mnet", "mnet_width"))


def _pretrained_shm(config: Config, *fields: str) -> SHM:
    return cast(SHM, _pretrained(config, "shm_checkpoint", "end_to_end", *fields))


def restore_network(checkpoint: Checkpoint, path: Path) -> nn.Module:
    """Return the network of a checkpoint. Raises ShmDataError where its weights do not fit or are not finite."""
    return _fill(_empty(checkpoint.config), checkpoint, path)


def restore_training_network(checkpoint: Checkpoint, path: Path) -> nn.Module:
    """Return the network as the optimiser left it. Raises ShmDataError as `restore_network` does."""
    network = _empty(checkpoint.config)
    if isinstance(network, TNet):
        network = _with_auxiliary(network, checkpoint.config)
    return _fill(network, replace(checkpoint, network=checkpoint.network | checkpoint.training), path)


def _fill(network: nn.Module, checkpoint: Checkpoint, path: Path) -> nn.Module:
    kinds = {name: value.is_floating_point() for name, value in network.state_dict().items()}
    other = ShmDataError(path=path, found="weights of another network", expected=checkpoint.config.mode)
    for name, value in checkpoint.network.items():
        if not isinstance(value, Tensor) or value.is_floating_point() != kinds.get(name):
            raise other
    try:
        network.load_state_dict(checkpoint.network)
    except RuntimeError as error:
        raise other from error
    if not is_finite(network):
        raise ShmDataError(path=path, found="weights that are not finite", expected="those of a run that went well")
    return network


def is_finite(network: nn.Module) -> bool:
    """Return whether all weights and buffers of a network are finite."""
    return bool(torch.stack([value.isfinite().all() for value in network.state_dict().values()]).all())


def _empty(config: Config) -> nn.Module:
    if config.mode == "pretrain_tnet":
        return TNet(config.backbone, config.output_stride)
    if config.mode == "pretrain_mnet":
        return MNet(config.mnet_width)
    return SHM(TNet(config.backbone, config.output_stride), MNet(config.mnet_width))


def _pretrained(config: Config, key: str, mode: str, *fields: str) -> nn.Module:
    """Return the network of the checkpoint under `key`, which must be of `mode` and agree with the configuration."""
    path = getattr(config, key)
    checkpoint = load(path)
    if checkpoint.config.mode != mode:
        found = f"a checkpoint of {checkpoint.config.mode}"
        raise ShmDataError(f"{key} {path}", found=found, expected=f"one of {mode}")
    for name in fields:
        there, here = getattr(checkpoint.config, name), getattr(config, name)
        if there != here:
            raise ShmDataError(f"{key} {path}", found=f"{name} {there}", expected=f"{here} as in the configuration")
    return restore_network(checkpoint, path)
