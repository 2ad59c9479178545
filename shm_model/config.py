"""What a training run is: a YAML file, checked key by key, and saved inside its checkpoints."""

import difflib
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shm_data.errors import ShmDataError
from shm_data.options import Augment

# What a value in a message is cut to: one in YAML may stand for any number of others.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80

# What PyYAML raises, also for a value that is not what its tag or its form says.
_BROKEN = (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def _path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path without null bytes")
    return path


# Beyond these no run ends, no picture is drawn, and no network fits into memory.
_Count = Annotated[int, Field(ge=1, le=10**6)]
_Edge = Annotated[int, Field(ge=32, le=2**15)]
_Path = Annotated[Path, AfterValidator(_path)]


class Config(BaseModel):
    """The configuration of a run. Sizes are in px, periods in epochs, `warmup` in optimiser steps.

    `batch_size` is that of each process. A step of the optimiser sees `accumulate` batches of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Literal["pretrain_tnet", "pretrain_mnet", "end_to_end", "test"]
    # What `data_root` is: a data set as shm-data writes it, the shards that it packs one into, or one of which only
    # the plan is needed. From recipes, samples may have other backgrounds in every epoch, and be augmented anew, by
    # these and not as the plan says; prepared foregrounds are kept in `cache`, a folder in `data_root` unless another
    # is told.
    data: Literal["layout", "shards", "recipes"] = "layout"
    data_root: _Path
    resample_backgrounds: bool = False
    augment: tuple[Augment, ...] = ()
    cache: _Path | None = None
    savedir: _Path = Path("runs")

    cuda: bool = True
    ngpu: _Count = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    num_workers: int = Field(default=4, ge=0, le=1024)
    sync_bn: bool = False

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    output_stride: Literal[8, 16] = 8
    mnet_width: float = Field(default=1.0, gt=0, le=4)
    backbone_weights: _Path | None = None
    vgg_weights: _Path | None = None
    tnet_checkpoint: _Path | None = None
    mnet_checkpoint: _Path | None = None
    shm_checkpoint: _Path | None = None

    # What the networks see: T-Net crops of `tnet_size`, end to end of `end_size`, from squares of `least_crop` to
    # all of the short edge; M-Net squares of `patch_sizes`, resized to `mnet_size`.
    tnet_size: _Edge = 400
    mnet_size: _Edge = 320
    end_size: _Edge = 800
    patch_sizes: tuple[_Count, ...] | None = Field(default=None, min_length=1, max_length=100)
    least_crop: float = Field(default=0.5, gt=0, le=1)
    # How far hue, saturation and brightness vary; the paper's do not.
    colour: float = Field(default=0.0, ge=0, le=1)
    # Whole pictures, for scores and predictions, are scaled down to this long edge.
    longest: _Edge = 1500

    loss: Literal["ce", "dice"] = "ce"
    loss_lambda: float = Field(default=0.01, ge=0)
    gamma: float = Field(default=0.5, ge=0, le=1)
    unknown_weight: float = Field(default=1.0, gt=0)

    batch_size: _Count = 8
    accumulate: _Count = 1
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0)
    clip: float | None = Field(default=None, gt=0)
    max_epoch: _Count = 100
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    eval: bool = True
    sample_period: _Count = 1
    checkpoint_period: _Count = 1
    # In epochs that take long, the last checkpoint is also written after so many optimiser steps.
    checkpoint_steps: _Count | None = None
    checkpoint_name: str | None = Field(default=None, pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")
    resume: bool = True

    @property
    def patches(self) -> tuple[int, ...]:
        """The sides of the squares that M-Net sees, before they are resized to `mnet_size`; the paper's if unset."""
        return self.patch_sizes or ((self.mnet_size,) if self.mode == "pretrain_mnet" else (320, 480, 640))

    @model_validator(mode="after")
    def _has_company(self) -> "Config":
        if self.mode == "end_to_end" and self.shm_checkpoint is None:
            for name in ("tnet_checkpoint", "mnet_checkpoint"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name}: end_to_end starts from pretrained networks, never untrained")
        if self.data != "recipes":
            for key in ("resample_backgrounds", "augment", "cache"):
                if getattr(self, key):
                    raise ValueError(f"{key}: only where samples are made from recipes (data: recipes)")
        if self.mode == "test" and not (self.shm_checkpoint or self.tnet_checkpoint or self.mnet_checkpoint):
            raise ValueError("test needs shm_checkpoint, or tnet_checkpoint or mnet_checkpoint alone")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies overrides `key=value`. Raises ShmDataError for whatever is wrong in either."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ShmDataError(f"cannot be read ({reason})", path=path) from error
    try:
        values = yaml.load(text, _Plain)
    except _BROKEN as error:
        raise ShmDataError(path=path, found=f"broken YAML: {_reason(error)}", expected="key: value") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise ShmDataError(path=path, found=found, expected="keys and values")
    return config_of({str(key): value for key, value in values.items()} | dict(map(_override, overrides)), str(path))


class _Plain(yaml.SafeLoader):
    """Plain YAML, of which nothing is run: without merging, which multiplies, and without keys given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter((key.value, key.tag) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for (key, tag), count in keys.items():
            if count > 1 or tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice, or merges others")
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    """What PyYAML says, on one line; where it stumbles over a value, only that."""
    if isinstance(error, RecursionError):
        return "lists in lists without end"
    return " ".join(str(error).split()) if isinstance(error, yaml.YAMLError | ValueError) else "an odd value"


def config_of(values: Mapping[Any, Any], where: str) -> Config:
    """A configuration from plain values. Raises ShmDataError that names the key and, if unknown, the nearest one."""
    for key in values:
        if key not in Config.model_fields:
            near = difflib.get_close_matches(str(key), Config.model_fields, n=1, cutoff=0.5)
            expected = f"{near[0]}?" if near else f"one of {', '.join(Config.model_fields)}"
            raise ShmDataError(f"unknown key in {where}", found=str(key)[:80], expected=expected)
    try:
        return Config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing" or not first["loc"]:
            raise ShmDataError(
                f"{where}: {'.'.join(map(str, first['loc'])) or message}", expected=_plain(first)
            ) from error
        key, found = first["loc"][0], _short(first["input"])
        raise ShmDataError(f"{where}: {key}", found=found, expected=_plain(first)) from error


def _short(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        return f"a huge {type(value).__name__}"


def _plain(error: Mapping[str, Any]) -> str:
    """pydantic's message as the object of "expected", or nothing where the message says it all."""
    if error["type"] == "missing":
        return "a value"
    message = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return message[:1].lower() + message[1:] if error["loc"] else ""


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ShmDataError("an override", found=text, expected="key=value")
    try:
        return key, yaml.load(value, _Plain)
    except _BROKEN as error:
        raise ShmDataError(f"the override {key}", found=value[:80], expected="a YAML value") from error
