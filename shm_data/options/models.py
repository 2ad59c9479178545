"""The choices a user makes, checked at birth and saved with their results. `table` has their defaults."""

import difflib
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shm_data.errors import ShmDataError
from shm_data.options.table import TABLE, ForegroundColours, ImageFormat, TrimapMethod
from shm_data.pixels.augmentations import AUGMENTATIONS

__all__ = ["Augment", "CompositeOptions", "TrimapOptions"]


def _default(name: str) -> Any:
    """Return the field of an option, with its default from the table."""
    option = TABLE[name]
    return Field(default=option.default or () if option.repeated else option.default)


def _licences(given: Any) -> Any:
    """Return NAME=TEXT of a repeated option as a dictionary."""
    if isinstance(given, dict):
        return given
    pairs = [[part.strip() for part in each.split("=", 1)] for each in given]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError("a source and its licence as NAME=TEXT, such as 'inimg=CC BY 4.0'")
    return dict(pairs)


def _names(given: Any) -> Any:
    """Return the names in a file, one a line, each once; names that are given as such are kept."""
    if not isinstance(given, str | Path):
        return tuple(given) if isinstance(given, list) else given
    expected = "a text file in UTF-8 with one name a line"
    try:
        lines = Path(given).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(expected) from error
    if not any(map(str.strip, lines)):
        raise ValueError(f"{expected}, at least one")
    names = (unicodedata.normalize("NFC", line.strip()) for line in lines)
    return tuple(dict.fromkeys(filter(None, names)))


def _registered(name: str) -> str:
    if name not in AUGMENTATIONS:
        raise ValueError(f"one of {', '.join(AUGMENTATIONS)}")
    return name


# The name of an augmentation.
Augment = Annotated[str, AfterValidator(_registered)]


def _choice(name: str) -> str:
    if expected := TABLE["augment"].expected((name,)):
        raise ValueError(expected)
    return name


# The name of an augmentation, or none.
Way = Annotated[str, AfterValidator(_choice)]


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return each name once, in the order of the registry: the order in which they are typed decides nothing."""
    if "none" in names and set(names) != {"none"}:
        raise ValueError("none alone, or only others")
    return tuple(name for name in AUGMENTATIONS if name in names)


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Return the options from plain values. Raises ShmDataError with the option, what was found and expected."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise _fault(error) from error

    @field_validator("*")
    @classmethod
    def _as_in_table(cls, value: Any, info: ValidationInfo) -> Any:
        if expected := TABLE[str(info.field_name)].expected(value):
            raise ValueError(expected)
        return value


def _fault(error: ValidationError) -> ShmDataError:
    """Return pydantic's first fault with our fields."""
    first = error.errors()[0]
    if not first["loc"]:
        return ShmDataError(_plain(first["msg"]))
    # Of a value that may be of several types there is a fault for each; the last type is the most general.
    last = [each for each in error.errors() if each["loc"][:1] == first["loc"][:1]][-1]
    name = str(last["loc"][0])
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        return ShmDataError("an option", found=name, expected=near[0] if near else f"one of {', '.join(TABLE)}")
    return ShmDataError(TABLE[name].flag, found=repr(last["input"]), expected=_plain(last["msg"]))


def _plain(message: str) -> str:
    """Return pydantic's message as the object of "expected"."""
    message = message.removeprefix("Value error, ")
    text = message.removeprefix("Input should be ")
    return text if text == message else text[:1].lower() + text[1:]


class TrimapOptions(_Options):
    """How trimaps are derived from alphas."""

    trimap: TrimapMethod = _default("trimap")
    trimap_size: Literal["auto"] | int = _default("trimap_size")
    tolerance: Literal["auto"] | int = _default("tolerance")
    seed: int = _default("seed")


class CompositeOptions(TrimapOptions):
    """Everything that decides what a data set will hold. Its folder and the number of workers are not among it."""

    inimg: Path | None = _default("inimg")
    inalp: Path | None = _default("inalp")
    intri: Path | None = _default("intri")
    pubdir: Path | None = _default("pubdir")
    trimapdir: Path | None = _default("trimapdir")
    maskimg: Path | None = _default("maskimg")
    inmask: Path | None = _default("inmask")
    prefix: str | None = _default("prefix")
    resize_alpha: bool = _default("resize_alpha")
    layout: str = _default("layout")

    vocroot: tuple[Path, ...] = _default("vocroot")
    vocset: str | None = _default("vocset")
    cocoroot: tuple[Path, ...] = _default("cocoroot")
    bgdir: tuple[Path, ...] = _default("bgdir")
    decoys: Path | None = _default("decoys")
    people: bool = _default("people")
    people_class: tuple[str, ...] = _default("people_class")

    numbg: int = _default("numbg")
    originals: bool = _default("originals")
    foreground: ForegroundColours = _default("foreground")
    maxsize: int | None = _default("maxsize")
    max_enlarge: float | None = _default("max_enlarge")
    format: ImageFormat = _default("format")
    quality: int | None = _default("quality")

    augment: Annotated[tuple[Way, ...], AfterValidator(_once)] = _default("augment")

    trainsplit: float = _default("trainsplit")
    numval: int | None = _default("numval")
    val: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = _default("val")
    group: str | None = _default("group")

    license: Annotated[dict[str, str], BeforeValidator(_licences)] = {}

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        """Refuse options that would do nothing without another."""
        for name in type(self).model_fields:
            option = TABLE[name]
            if option.needs and getattr(self, name) is not None and not getattr(self, option.needs):
                raise ValueError(f"{option.flag} needs {TABLE[option.needs].flag}")
        if self.val and self.numval is not None:
            raise ValueError("--val and --numval exclude each other: the names are a number, too")
        if self.quality is not None and self.format == "png":
            raise ValueError("--quality needs --format jpg or webp: PNG loses nothing")
        return self

    @model_validator(mode="after")
    def _layout_finds_pairs(self) -> Self:
        """Refuse options that contradict a layout, which says where alphas and trimaps are."""
        if self.layout == "auto":
            return self
        cutouts, label = self.layout == "cutouts", self.layout_of
        if getattr(self, label) is None:
            raise ValueError(f"--layout {self.layout} needs --inimg{'' if cutouts else ' or --pubdir'}")
        others = {"pubdir": ("trimapdir",), "inimg": () if cutouts else ("inalp", "intri")}[label]
        alone = self.inimg is None or self.pubdir is None  # else the word may be meant for the other folder
        alone = alone and not (cutouts and self.inalp)
        for name in (*others, *["prefix"] * alone):
            if getattr(self, name) is not None:
                raise ValueError(f"--layout {self.layout} finds pairs by itself: leave out {TABLE[name].flag}")
        return self

    def without_paths(self) -> Self:
        """Return the options with the name of each folder's option in place of its path."""
        update: dict[str, object] = {}
        for name in type(self).model_fields:
            option, value = TABLE[name], getattr(self, name)
            if option.kind is Path and value:
                update[name] = tuple(Path(name) for _ in value) if option.repeated else Path(name)
        return self.model_copy(update=update)

    @property
    def layout_of(self) -> Literal["inimg", "pubdir"]:
        """Return which folder of foregrounds `layout` describes where two are given."""
        return "inimg" if self.pubdir is None or self.layout == "cutouts" else "pubdir"

    @property
    def extension(self) -> str:
        """Return how the names of the images end, and so those of the samples."""
        return f".{self.format}"
