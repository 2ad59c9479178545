"""Networks from configurations and files. A checkpoint holds plain values and tensors, its configuration inside."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from shm_data.errors import ShmDataError
from shm_data.files import make_folders, write_bytes
from shm_model.config import Config, config_of
from shm_model.mnet import MNet, load_vgg16_bn
from shm_model.resnet import load_resnet
from shm_model.shm import SHM
from shm_model.tnet import TNet
from shm_model.weights import read


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds: the configuration, the weights, and where the run stood.

    `epoch` epochs are done, and `step` batches of the next.
    """

    config: Config
    network: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    epoch: int
    best: float
    step: int = 0


_KINDS = {
    "config": dict,
    "network": dict,
    "optimizer": dict,
    "scaler": dict,
    "epoch": int,
    "best": float,
    "step": int,
}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, whole or not at all. Raises WriteError."""
    plain = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    plain["config"] = checkpoint.config.model_dump(mode="json")
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    make_folders(path.parent)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; code in the file is never run. Raises ShmDataError where the file is no checkpoint."""
    expected = "a checkpoint that training wrote"
    plain = read(path, expected)
    if isinstance(plain, dict):
        plain = {"step": 0} | plain  # older ones were written after whole epochs only
    if (
        not isinstance(plain, dict)
        or set(plain) != set(Checkpoint.__slots__)
        or not all(isinstance(plain[name], kind) for name, kind in _KINDS.items())
    ):
        raise ShmDataError(path=path, found="other contents", expected=expected)
    return Checkpoint(**plain | {"config": config_of(plain["config"], str(path))})


def new_network(config: Config) -> nn.Module:
    """The network that a configuration trains, with the weights it names.

    Raises ShmDataError where a file is missing or does not fit: end to end never starts untrained.
    """
    if config.mode == "pretrain_tnet":
        tnet = TNet(config.backbone, config.output_stride)
        if config.backbone_weights:
            load_resnet(tnet.backbone, config.backbone_weights)
        return tnet
    if config.mode == "pretrain_mnet":
        mnet = MNet(config.mnet_width)
        if config.vgg_weights:
            load_vgg16_bn(mnet, config.vgg_weights)
        return mnet
    if config.shm_checkpoint:
        return _load_pretrained(config, "shm_checkpoint", "end_to_end", "backbone", "output_stride", "mnet_width")
    trained_tnet = _load_pretrained(config, "tnet_checkpoint", "pretrain_tnet", "backbone", "output_stride")
    trained_mnet = _load_pretrained(config, "mnet_checkpoint", "pretrain_mnet", "mnet_width")
    return SHM(cast(TNet, trained_tnet), cast(MNet, trained_mnet))


def restore_network(checkpoint: Checkpoint, path: Path) -> nn.Module:
    """The network of a checkpoint, with its weights. Raises ShmDataError where they do not fit, or are not finite."""
    network = _empty(checkpoint.config)
    kinds = {name: value.is_floating_point() for name, value in network.state_dict().items()}
    other = ShmDataError(path=path, found="weights of another network", expected=checkpoint.config.mode)
    for name, value in checkpoint.network.items():
        if not isinstance(value, Tensor) or value.is_floating_point() != kinds.get(name):
            raise other
    try:
        network.load_state_dict(checkpoint.network)
    except RuntimeError as error:
        raise other from error
    if not all(value.isfinite().all() for value in network.state_dict().values()):
        raise ShmDataError(path=path, found="weights that are not finite", expected="those of a run that went well")
    return network


def _empty(config: Config) -> nn.Module:
    if config.mode == "pretrain_tnet":
        return TNet(config.backbone, config.output_stride)
    if config.mode == "pretrain_mnet":
        return MNet(config.mnet_width)
    return SHM(TNet(config.backbone, config.output_stride), MNet(config.mnet_width))


def _load_pretrained(config: Config, key: str, mode: str, *fields: str) -> nn.Module:
    """The network of the checkpoint under `key`, which must be of a mode and agree with the configuration."""
    path = getattr(config, key)
    checkpoint = load(path)
    if checkpoint.config.mode != mode:
        raise ShmDataError(
            f"{key} {path}", found=f"a checkpoint of {checkpoint.config.mode}", expected=f"one of {mode}"
        )
    for field in fields:
        there, here = getattr(checkpoint.config, field), getattr(config, field)
        if there != here:
            raise ShmDataError(f"{key} {path}", found=f"{field} {there}", expected=f"{here} as in the configuration")
    return restore_network(checkpoint, path)
