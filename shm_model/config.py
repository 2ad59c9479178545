"""The configuration of a training run: a YAML file, checked key by key, and saved inside its checkpoints."""

import difflib
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from shm_data.errors import ShmDataError
from shm_data.options import Augment

# Values in messages are shortened: an alias in YAML may stand for any number of values.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80

# What PyYAML raises, also for a value that does not fit its tag or form.
_BROKEN = (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def _path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path without null bytes")
    return path


# Beyond these limits no run ends, no picture is drawn, and no network fits into memory.
_Count = Annotated[int, Field(ge=1, le=10**6)]
_Edge = Annotated[int, Field(ge=32, le=2**15)]
_Path = Annotated[Path, AfterValidator(_path)]
_Kind = Literal["layout", "shards", "recipes"]

# The keys that name weights to start from, by mode; any other of them would do nothing.
_WEIGHTS = {
    "pretrain_tnet": ("backbone_weights", "tnet_checkpoint", "shm_checkpoint"),
    "pretrain_mnet": ("vgg_weights", "mnet_checkpoint", "shm_checkpoint"),
    "end_to_end": ("tnet_checkpoint", "mnet_checkpoint", "shm_checkpoint"),
    "test": ("tnet_checkpoint", "mnet_checkpoint", "shm_checkpoint"),
}
_ALL_WEIGHTS = tuple(dict.fromkeys(key for keys in _WEIGHTS.values() for key in keys))

# Files of a run that no other checkpoint may replace.
_RESERVED = ("last.pt", "best.pt", "log.jsonl", "tensorboard")

# The long edge of a photo in short edges: between 4:3 and 3:2.
_ASPECT = 1.4

# The long edge of photos as M-Net sees them, unless `longest` says otherwise.
_MNET_LONGEST = 1500


class Root(BaseModel):
    """One of several data sets to train on; `share` is relative to those of the others, `data` what the folder holds.

    A root without a share is scored, but not trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    root: _Path
    share: float = Field(default=1.0, ge=0, le=10**6)
    data: _Kind | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: object) -> object:
        is_root = isinstance(value, Mapping) and "root" in value and value.keys() <= cls.model_fields.keys()
        if not is_root and not isinstance(value, Root):
            raise ValueError("a folder with its share, and no other keys than {root: FOLDER, share: 0.3, data: KIND}")
        return value


def _form_of(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "path"


_Roots = Annotated[Annotated[_Path, Tag("path")] | Annotated[tuple[Root, ...], Tag("list")], Discriminator(_form_of)]


class Config(BaseModel):
    """The configuration of a run. Sizes are in px, periods in epochs.

    `batch_size` is that of each process. A step of the optimiser sees `accumulate` batches of each process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Literal["pretrain_tnet", "pretrain_mnet", "end_to_end", "test"]
    # What `data_root` holds: a data set as shm-data writes it, shards of one, or a plan whose recipes the workers
    # composite. Only from recipes: `resample_backgrounds` draws another background in every epoch, `augment` draws
    # these augmentations in place of those of the plan, and `cache` is the folder of prepared foregrounds, by
    # default the one in `data_root`. Several data sets are a list, from which samples are drawn by their shares;
    # `data` is what those hold that do not say it themselves.
    data: _Kind = "layout"
    data_root: _Roots
    # How often an untouched photo is seen where a data set has composites, too; by default as often as any sample.
    originals: float | None = Field(default=None, ge=0, le=1)
    # Whether each batch shows its people before two backgrounds each.
    pairs: bool = False
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

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "efficientnet_lite0"] = "resnet50"
    # Of the ResNets: how much smaller their features are than the picture.
    output_stride: Literal[8, 16] = 8
    mnet_width: float = Field(default=1.0, gt=0, le=4)
    # What the networks start from: files of ImageNet weights, or checkpoints of earlier runs (warm start).
    # EfficientNet-Lite0 starts from the weights of an installed package ("packaged") unless this is "none".
    backbone_weights: Literal["packaged", "none"] | _Path | None = None
    vgg_weights: _Path | None = None
    tnet_checkpoint: _Path | None = None
    mnet_checkpoint: _Path | None = None
    shm_checkpoint: _Path | None = None

    # What the networks see: T-Net crops of `tnet_size`, end to end of `end_size`, cut from squares of `least_crop` to
    # all of the short edge; M-Net squares of `patch_sizes`, resized to `mnet_size`.
    tnet_size: _Edge = 400
    mnet_size: _Edge = 320
    end_size: _Edge = 800
    patch_sizes: tuple[_Count, ...] | None = Field(default=None, min_length=1, max_length=100)
    least_crop: float = Field(default=0.5, gt=0, le=1)
    # How far hue, saturation and brightness vary; in the paper they do not.
    colour: float = Field(default=0.0, ge=0, le=1)
    # Whether every crop is scaled down by 1 to 2 and up again, and gets noise of 2 to 8 levels and a JPEG of quality
    # 70 to 95, so that sharpness, noise and JPEG do not separate a person from a pasted background.
    degrade: bool = False
    # Whole pictures are scaled down to this long edge for scores and predictions, and before M-Net's squares are cut.
    # By default the scale that the network is trained at.
    longest: _Edge | None = None

    loss: Literal["ce", "dice"] = "ce"
    loss_lambda: float = Field(default=0.01, ge=0)
    gamma: float = Field(default=0.5, ge=0, le=1)
    unknown_weight: float = Field(default=1.0, gt=0)
    # The weight of the loss of PSPNet's auxiliary classifier, on the third stage of T-Net's ResNet: T-Net is
    # pretrained with it, and used without it. 0: no such classifier; PSPNet has 0.4.
    aux_weight: float = Field(default=0.0, ge=0, le=10)

    batch_size: _Count = 8
    accumulate: _Count = 1
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    # Whether biases and the weights of norms do not decay.
    decay_matrices_only: bool = False
    # The learning rate of T-Net's backbone and M-Net's encoder, as a share of `lr`.
    pretrained_lr: float = Field(default=1.0, gt=0, le=1)
    # The weights' moving average keeps this share of itself in each optimiser step, such as 0.999; it is what is
    # scored, saved and exported. 0: no average.
    ema: float = Field(default=0.0, ge=0, lt=1)
    # Whether batch norm keeps the means and deviations that it starts with.
    freeze_bn: bool = False
    schedule: Literal["constant", "cosine"] = "constant"
    # In optimiser steps, or, below 1, as a share of all steps.
    warmup: float = Field(default=0, ge=0, le=10**9)
    # The largest norm of the gradient; longer gradients are scaled down to it.
    clip: float | None = Field(default=10.0, gt=0)
    max_epoch: _Count = 100
    # Number of optimiser steps after which the run ends, even within an epoch.
    max_steps: Annotated[int, Field(ge=1, le=10**9)] | None = None
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    eval: bool = True
    # Val is scored every `eval_period` epochs on a fixed choice of `eval_samples`, and at the end of the run on all.
    eval_period: _Count = 1
    eval_samples: _Count | None = 500
    # A line is printed after every epoch and, if set, every `log_steps` optimiser steps.
    log_steps: _Count | None = None
    sample_period: _Count = 1
    checkpoint_period: _Count = 1
    # Only the newest `keep` of the files epoch_NNNN.pt stay; all of them if null.
    keep: _Count | None = 3
    # Number of optimiser steps after which the last checkpoint is written again, for long epochs.
    checkpoint_steps: _Count | None = None
    checkpoint_name: str | None = Field(default=None, pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")
    resume: bool = True

    @property
    def roots(self) -> tuple[Root, ...]:
        """The data sets."""
        return self.data_root if isinstance(self.data_root, tuple) else (Root(root=self.data_root),)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the data sets."""
        return tuple(root.share for root in self.roots)

    @property
    def patches(self) -> tuple[int, ...]:
        """The sides of the squares that M-Net sees, before they are resized to `mnet_size`; the paper's if unset."""
        return self.patch_sizes or ((self.mnet_size,) if self.mode == "pretrain_mnet" else (320, 480, 640))

    @property
    def long_edge(self) -> int:
        """The long edge that pictures are scaled down to: `longest`, or the scale of the crops in training.

        A crop of `size` px shows a share of the short edge between `least_crop` and 1, so that in the mean a photo's
        short edge is seen at size / share px.
        """
        if self.longest is not None:
            return self.longest
        if self.mode == "pretrain_mnet":
            return _MNET_LONGEST
        size = self.tnet_size if self.mode == "pretrain_tnet" else self.end_size
        return round(_ASPECT * size / ((1 + self.least_crop) / 2))

    @property
    def starting_backbone(self) -> Path | Literal["packaged"] | None:
        """What the backbone of a new T-Net starts from: a file, the installed package, or random weights."""
        if self.backbone_weights == "none":
            return None
        is_packaged = self.backbone_weights is None and self.backbone == "efficientnet_lite0"
        return "packaged" if is_packaged else self.backbone_weights

    def warmup_steps(self, steps: int) -> int:
        """Return the optimiser steps of the warm-up in a run of `steps`."""
        return round(self.warmup if self.warmup >= 1 else self.warmup * steps)

    @field_validator("warmup")
    @classmethod
    def _whole_steps(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("a number of steps, or a share below 1")
        return value

    @field_validator("checkpoint_name")
    @classmethod
    def _not_reserved(cls, value: str | None) -> str | None:
        if value is not None and value.casefold() in _RESERVED:
            raise ValueError(f"another name than {', '.join(_RESERVED)}")
        return value

    @model_validator(mode="after")
    def _check_weights(self) -> "Config":
        allowed = _WEIGHTS[self.mode]
        given = [key for key in _ALL_WEIGHTS if getattr(self, key) is not None]
        for key in given:
            if key not in allowed:
                raise ValueError(f"{key}: does nothing in {self.mode}, which starts from {', '.join(allowed)}")
        if self.mode == "end_to_end" and "shm_checkpoint" not in given:
            for key in ("tnet_checkpoint", "mnet_checkpoint"):
                if key not in given:
                    raise ValueError(f"{key}: end_to_end starts from pretrained networks, never untrained")
        elif self.mode == "test" and not given:
            raise ValueError("test needs shm_checkpoint, or tnet_checkpoint or mnet_checkpoint alone")
        elif len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: only one of them would be used")
        elif self.backbone_weights == "packaged" and self.backbone != "efficientnet_lite0":
            raise ValueError("backbone_weights: packaged only for efficientnet_lite0")
        return self

    @model_validator(mode="after")
    def _check_auxiliary(self) -> "Config":
        if self.aux_weight and (self.mode != "pretrain_tnet" or self.backbone == "efficientnet_lite0"):
            raise ValueError("aux_weight: only for pretrain_tnet with a ResNet")
        return self

    @model_validator(mode="after")
    def _check_data(self) -> "Config":
        if not any(self.shares):
            raise ValueError("data_root: found no share above 0, expected at least one")
        folders = Counter(root.root for root in self.roots)
        for folder, count in folders.items():
            if count > 1:
                raise ValueError(f"data_root: found {folder} {count} times, expected each folder once")
        if "recipes" not in {root.data or self.data for root in self.roots}:
            for key in ("resample_backgrounds", "augment", "cache"):
                if getattr(self, key):
                    raise ValueError(f"{key}: only where samples are made from recipes (data: recipes)")
        return self

    @model_validator(mode="after")
    def _check_pairs(self) -> "Config":
        if self.pairs and self.batch_size % 2:
            raise ValueError(f"batch_size: found {self.batch_size}, expected an even number with pairs: true")
        if self.pairs and self.originals is not None:
            raise ValueError("originals: does nothing with pairs: true, which takes all samples alike")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply overrides `key=value`. Raises ShmDataError for whatever is wrong in either."""
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
    """Plain YAML that runs no code: without merge keys, which multiply, and without duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter((key.value, key.tag) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for (key, tag), count in keys.items():
            if count > 1 or tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is a duplicate or a merge key")
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    """Return PyYAML's message on one line."""
    if isinstance(error, RecursionError):
        return "lists nested too deeply"
    return (
        " ".join(str(error).split())
        if isinstance(error, yaml.YAMLError | ValueError)
        else "a value that does not fit its tag"
    )


def config_of(values: Mapping[Any, Any], where: str) -> Config:
    """Return the configuration of plain values. Raises ShmDataError that names the key, or the one nearest to it."""
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
        found = _short(first["input"])
        raise ShmDataError(f"{where}: {_key_of(first['loc'])}", found=found, expected=_plain(first)) from error


def _key_of(location: Sequence[int | str]) -> str:
    """Return where a value stands: its key, and in the list of roots its entry, too."""
    key, *inner = location
    if key != "data_root" or len(inner) < 2:  # the first is the form of the value
        return str(key)
    return ", ".join([str(key), f"entry {int(inner[1]) + 1}", *map(str, inner[2:3])])


def _short(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        return f"a huge {type(value).__name__}"


def _plain(error: Mapping[str, Any]) -> str:
    """Return pydantic's message as the object of "expected", or "" where the message says it all."""
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
