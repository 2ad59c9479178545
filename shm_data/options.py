"""The choices a user makes, checked at birth and saved with their results."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shm_data.errors import ShmDataError


def _odd(width: int | Literal["auto"]) -> int | Literal["auto"]:
    if width != "auto" and width % 2 == 0:
        raise ValueError(f"an odd width such as {width + 1}, since even kernels shift the trimap")
    return width


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return pattern


def _licences(told: Any) -> Any:
    """NAME=TEXT, as often as it was given, as a dictionary."""
    if isinstance(told, dict):
        return told
    pairs = [[part.strip() for part in each.split("=", 1)] for each in told]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError("a source and its licence as NAME=TEXT, such as 'inimg=CC BY 4.0'")
    return dict(pairs)


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """The options from plain values. Raises ShmDataError that names the option, what it is and should be."""
        try:
            return cls(**values)
        except ValidationError as error:
            if not error.errors()[0]["loc"]:
                raise ShmDataError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
            first = error.errors()[-1]  # of a choice between kinds of value the last kind is the most general
            option = "--" + str(first["loc"][0]).replace("_", "-")
            raise ShmDataError(option, found=repr(first["input"]), expected=_plain(first["msg"])) from error


def _plain(message: str) -> str:
    """pydantic's message as the object of "expected"."""
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


# How a folder of foregrounds is read: as a known set, as cut-outs, or as the set that it certainly is, if it is one.
FolderLayout = Literal[
    "auto", "cutouts",
    "composition1k", "distinctions646", "aim500", "p3m", "ppm100", "aisegment", "alphamatting",
]  # fmt: skip


# What may be done to samples so that they look more like photos; shm_data.pixels.augmentations tells how.
Augment = Literal["blur", "shadow", "gamma", "colour", "noise", "jpeg", "over", "place"]


def _once(names: tuple[Augment, ...]) -> tuple[Augment, ...]:
    """Each name once, in one order: how they are typed decides nothing."""
    return tuple(name for name in get_args(Augment) if name in names)


class TrimapOptions(_Options):
    """How trimaps are derived from alphas."""

    trimap: Literal["euclid", "ellipse", "random"] = "euclid"
    trimap_size: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=999)], AfterValidator(_odd)] = "auto"
    seed: int = 0


class CompositeOptions(TrimapOptions):
    """Everything that decides what a data set will hold. Where it is made, and by how many workers, does not."""

    inimg: Path | None = None
    inalp: Path | None = None
    intri: Path | None = None
    pubdir: Path | None = None
    trimapdir: Path | None = None
    prefix: Annotated[str, Field(min_length=1)] | None = None
    resize_alpha: bool = False
    layout: FolderLayout = "auto"

    vocroot: tuple[Path, ...] = ()
    vocset: str | None = None
    cocoroot: tuple[Path, ...] = ()
    bgdir: tuple[Path, ...] = ()
    people: bool = False

    numbg: Annotated[int, Field(ge=0)] = 20
    originals: bool = True
    foreground: Literal["estimate", "photo"] = "estimate"
    maxsize: Annotated[int, Field(ge=16)] | None = None
    format: Literal["png", "jpg", "webp"] = "png"
    quality: Annotated[int, Field(ge=1, le=100)] | None = None

    augment: Annotated[tuple[Augment, ...], AfterValidator(_once)] = ()

    trainsplit: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.8
    group: Annotated[str, AfterValidator(_regex)] | None = None

    license: Annotated[dict[str, str], BeforeValidator(_licences)] = {}

    @model_validator(mode="after")
    def _needs_company(self) -> Self:
        """Options that would silently do nothing without another."""
        needs = {"inalp": "inimg", "intri": "inimg", "trimapdir": "pubdir", "vocset": "vocroot"}
        for name, other in needs.items():
            if getattr(self, name) is not None and not getattr(self, other):
                raise ValueError(f"--{name} needs --{other}")
        if self.quality is not None and self.format == "png":
            raise ValueError("--quality needs --format jpg or webp: PNG loses nothing")
        return self

    @model_validator(mode="after")
    def _layout_finds_pairs(self) -> Self:
        """Options that would say otherwise than a layout where alphas and trimaps are."""
        if self.layout == "auto":
            return self
        cutouts, label = self.layout == "cutouts", self.layout_of
        if getattr(self, label) is None:
            raise ValueError(f"--layout {self.layout} needs --inimg{'' if cutouts else ' or --pubdir'}")
        others = {"pubdir": ("trimapdir",), "inimg": ("inalp",) if cutouts else ("inalp", "intri")}[label]
        alone = self.inimg is None or self.pubdir is None  # else the word may be meant for the other folder
        for name in (*others, *["prefix"] * alone):
            if getattr(self, name) is not None:
                raise ValueError(f"--layout {self.layout} finds what belongs together by itself: leave out --{name}")
        return self

    @property
    def layout_of(self) -> Literal["inimg", "pubdir"]:
        """Which folder of foregrounds `layout` speaks of, where there are two."""
        return "inimg" if self.pubdir is None or self.layout == "cutouts" else "pubdir"

    @property
    def extension(self) -> str:
        """How the names of the images end, and so of the samples."""
        return f".{self.format}"
