"""What a training run is: a YAML file, checked key by key, and saved inside its checkpoints."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from shm_data.errors import ShmDataError


class Config(BaseModel):
    """The configuration of a run. Sizes are in px, periods in epochs, `warmup` in optimiser steps.

    `batch_size` is that of each process. A step of the optimiser sees `accumulate` batches of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["pretrain_tnet", "pretrain_mnet", "end_to_end", "test"]
    data_root: Path
    savedir: Path = Path("runs")

    cuda: bool = True
    ngpu: PositiveInt = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    num_workers: int = Field(default=4, ge=0)
    sync_bn: bool = False

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    output_stride: Literal[8, 16] = 8
    mnet_width: float = Field(default=1.0, gt=0)
    backbone_weights: Path | None = None
    vgg_weights: Path | None = None
    tnet_checkpoint: Path | None = None
    mnet_checkpoint: Path | None = None
    shm_checkpoint: Path | None = None

    # What the networks see: T-Net crops of `tnet_size`, end to end of `end_size`, from squares of `least_crop` to
    # all of the short edge; M-Net squares of `patch_sizes`, resized to `mnet_size`.
    tnet_size: int = Field(default=400, ge=32)
    mnet_size: int = Field(default=320, ge=32)
    end_size: int = Field(default=800, ge=32)
    patch_sizes: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    least_crop: float = Field(default=0.5, gt=0, le=1)
    # How far hue, saturation and brightness vary; the paper's do not.
    colour: float = Field(default=0.0, ge=0, le=1)
    # Whole pictures, for scores and predictions, are scaled down to this long edge.
    longest: int = Field(default=1500, ge=32)

    loss: Literal["ce", "dice"] = "ce"
    loss_lambda: float = Field(default=0.01, ge=0)
    gamma: float = Field(default=0.5, ge=0, le=1)
    unknown_weight: float = Field(default=1.0, gt=0)

    batch_size: PositiveInt = 8
    accumulate: PositiveInt = 1
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0)
    clip: float | None = Field(default=None, gt=0)
    max_epoch: PositiveInt = 100
    seed: int = 0

    eval: bool = True
    sample_period: PositiveInt = 1
    checkpoint_period: PositiveInt = 1
    checkpoint_name: str | None = Field(default=None, pattern=r"^[^/\\]+$")
    resume: bool = True

    @property
    def patches(self) -> tuple[int, ...]:
        """The sides of the squares that M-Net sees, before they are resized to `mnet_size`; the paper's if unset."""
        return self.patch_sizes or ((self.mnet_size,) if self.mode == "pretrain_mnet" else (320, 480, 640))

    @model_validator(mode="after")
    def _has_its_checkpoints(self) -> "Config":
        if self.mode == "end_to_end" and self.shm_checkpoint is None:
            for name in ("tnet_checkpoint", "mnet_checkpoint"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name}: end_to_end starts from pretrained networks, never untrained")
        if self.mode == "test" and not (self.shm_checkpoint or self.tnet_checkpoint or self.mnet_checkpoint):
            raise ValueError("test needs shm_checkpoint, or tnet_checkpoint or mnet_checkpoint alone")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies overrides `key=value`. Raises ShmDataError for whatever is wrong in either."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ShmDataError(f"cannot read the configuration {path}: {reason}") from error
    except yaml.YAMLError as error:
        raise ShmDataError(
            str(path), found="broken YAML: " + " ".join(str(error).split()), wanted="key: value"
        ) from error
    if not isinstance(values, dict):
        raise ShmDataError(str(path), found=type(values).__name__, wanted="keys and values")
    return config_of({str(key): value for key, value in values.items()} | dict(map(_override, overrides)), str(path))


def config_of(values: Mapping[str, Any], where: str) -> Config:
    """A configuration from plain values. Raises ShmDataError that names the key and, if unknown, the nearest one."""
    for key in values:
        if key not in Config.model_fields:
            near = difflib.get_close_matches(key, Config.model_fields, n=1, cutoff=0.5)
            wanted = f"{near[0]}?" if near else f"one of {', '.join(Config.model_fields)}"
            raise ShmDataError(f"unknown key in {where}", found=key, wanted=wanted)
    try:
        return Config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing" or not first["loc"]:
            raise ShmDataError(
                f"{where}: {'.'.join(map(str, first['loc'])) or message}", wanted=_plain(first)
            ) from error
        raise ShmDataError(f"{where}: {first['loc'][0]}", found=repr(first["input"]), wanted=_plain(first)) from error


def _plain(error: Mapping[str, Any]) -> str:
    """pydantic's message as the object of "wanted", or nothing where the message says it all."""
    if error["type"] == "missing":
        return "a value"
    message = str(error["msg"]).removeprefix("Input should be ")
    return "" if error["type"] == "value_error" else message[:1].lower() + message[1:]


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ShmDataError("an override", found=text, wanted="key=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ShmDataError(f"the override {key}", found=value, wanted="a YAML value") from error
