"""Every option of a data set, once: the options of the commands and the checks in `models` come from this table.

It loads neither numpy nor pydantic, so `--help` is fast. A new option is one entry here and one field in `models`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from shm_data.options.published_sets import PUBLISHED_SETS
from shm_data.pixels.augmentations import AUGMENTATIONS

TrimapMethod = Literal["euclid", "ellipse", "random"]
ForegroundColours = Literal["estimate", "photo"]
ImageFormat = Literal["png", "jpg", "webp"]


def _odd(width: int | str) -> str:
    return f"an odd width such as {width + 1}" if isinstance(width, int) and width % 2 == 0 else ""


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"a regular expression ({error})"
    return ""


@dataclass(frozen=True, slots=True)
class Option:
    """An option: `--name` on the command line, `name` in Python and in dataset.json.

    `kind` is the type of one value. Numbers lie between `low` and `high`, and `word` may stand for a number. `unset`
    is what a default of None stands for. Of a `repeated` option users give several. Without the option that it
    `needs` it is refused. `check` returns what was expected instead of a bad value, else an empty string.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str] | type[Path]
    help: str
    default: Any = None
    unset: str = ""
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    word: str = ""
    metavar: str | None = None
    repeated: bool = False
    needs: str = ""
    check: Callable[[Any], str] | None = None

    @property
    def flag(self) -> str:
        """The option as users type it."""
        return "--" + self.name.replace("_", "-")

    @property
    def limits(self) -> str:
        """The limits of a number as a phrase, empty if it has none."""
        if self.low is None:
            return ""
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def expected(self, value: Any) -> str:
        """Return what was expected instead of a value of the right type; an empty string for a good one."""
        for each in value if self.repeated and not isinstance(value, Mapping) else (value,):
            if each is None or (self.word and each == self.word):
                continue
            if self.choices and each not in self.choices:
                return _either(self.choices)
            if self.limits and not self._within(each):
                return self.limits + f" or {self.word}" * bool(self.word)
            if self.check and (expected := self.check(each)):
                return expected
        return ""

    def _within(self, number: float) -> bool:
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)


def _either(choices: tuple[str, ...]) -> str:
    return f"one of {', '.join(choices)}"


_TRIMAPS = (
    Option(
        "trimap",
        str,
        "Kernel that erodes and dilates: an exact disc, OpenCV's ellipse, or discs of random sizes.",
        default="euclid",
        choices=get_args(TrimapMethod),
    ),
    Option(
        "trimap_size",
        int,
        "Kernel width, odd; for random the largest. auto is 2 % of the long edge.",
        default="auto",
        word="auto",
        low=1,
        high=999,
        metavar="PX",
        check=_odd,
    ),
    Option(
        "tolerance",
        int,
        "Levels from 0 and 255 that count as background and foreground; auto measures them in each alpha.",
        default="auto",
        word="auto",
        low=0,
        high=100,
    ),
    Option("seed", int, "Change it to get other random choices.", default=0),
)

_PUBLISHED = (
    Option(
        "pubdir",
        Path,
        "Folder of photos and alphas, mixed or in image/ and mask/; its images are imported unchanged.",
    ),
    Option("trimapdir", Path, "Folder of the trimaps of --pubdir.", needs="pubdir"),
)

_SET = (
    Option("inimg", Path, "Folder of photos, or of RGBA cut-outs if you give no --inalp."),
    Option("inalp", Path, "Folder of their alphas, paired by name.", needs="inimg"),
    Option("intri", Path, "Folder of their trimaps; overrides derived ones.", needs="inimg"),
    Option(
        "maskimg",
        Path,
        "Folder of photos of people with masks in place of alphas; they join train. See docs/your-photos.md.",
        needs="inmask",
    ),
    Option("inmask", Path, "Folder of their masks, paired by name: black and white, or labels.", needs="maskimg"),
    Option(
        "prefix",
        str,
        "Word before or after the names of the alphas or masks.",
        unset="alpha, matte, mask",
        check=lambda word: "" if word else "at least one letter",
    ),
    Option(
        "layout",
        str,
        "Read the folder of photos as this published set, whose split is kept, or as cut-outs; auto recognises "
        "the trees of published sets. See docs/layouts.md.",
        default="auto",
        choices=("auto", "cutouts", *PUBLISHED_SETS),
    ),
    Option("resize_alpha", bool, "Resize alphas and masks to photos of the same shape.", default=False),
    Option("vocroot", Path, "Backgrounds: a Pascal VOC 2007 or 2012 tree.", repeated=True),
    Option(
        "vocset",
        str,
        "Use only the photos in ImageSets/Main/NAME.txt, for example trainval.",
        metavar="NAME",
        needs="vocroot",
    ),
    Option("cocoroot", Path, "Backgrounds: COCO images and annotations.", repeated=True),
    Option("bgdir", Path, "Backgrounds: any folder of photos without people.", repeated=True),
    Option(
        "decoys",
        Path,
        "Folder of RGBA cut-outs that show no people; half of the composites of train have one behind the person.",
        needs="inimg",
    ),
    Option("people", bool, "Use backgrounds that show people, too.", default=False),
    Option(
        "people_class",
        str,
        "Another class in the annotations of VOC and COCO that is people; give it once for each class.",
        metavar="NAME",
        repeated=True,
    ),
    Option("numbg", int, "Backgrounds for each foreground.", default=20, low=0),
    Option("originals", bool, "Keep the photos themselves as samples.", default=True),
    Option(
        "foreground",
        str,
        "Colours of soft edges: estimated without the old background, or as in the photo (shows halos).",
        default="estimate",
        choices=get_args(ForegroundColours),
    ),
    Option("maxsize", int, "Scale samples down to this long edge.", low=16, metavar="PX"),
    Option(
        "max_enlarge",
        float,
        "Never enlarge a background more than X times; samples become smaller where it needs that. See docs/gap.md.",
        metavar="X",
        check=lambda factor: "" if factor > 0 else "more than 0",
    ),
    Option(
        "format",
        str,
        "Format of the images; alphas and trimaps are always PNG.",
        default="png",
        choices=get_args(ImageFormat),
    ),
    Option("quality", int, "Quality of jpg and webp.", unset="95", low=1, high=100),
    Option(
        "augment",
        str,
        "Make train samples look more like photos, in this way; give it once for each way, or none. "
        "See docs/augmentations.md.",
        default=("camera",),
        choices=(*AUGMENTATIONS, "none"),
        repeated=True,
    ),
    Option("trainsplit", float, "Share of the foregrounds and backgrounds that goes to train.", 0.8, low=0, high=1),
    Option(
        "numval",
        int,
        "Foregrounds (with --group, groups) that go to val, exactly; --trainsplit then counts for backgrounds alone.",
        low=0,
        metavar="N",
    ),
    Option(
        "val",
        str,
        "File with the names of the foregrounds or groups that go to val, one a line; all others go to train.",
        metavar="FILE",
    ),
    Option(
        "group",
        str,
        "The part of the file names that all photos of one person share.",
        metavar="REGEX",
        check=_regex,
    ),
    Option(
        "license",
        str,
        "Licence of a source, for the set's README.md: inimg='CC BY 4.0'. Backgrounds are voc, coco and bgdir.",
        metavar="NAME=TEXT",
        repeated=True,
    ),
)

TABLE: Mapping[str, Option] = {option.name: option for option in (*_PUBLISHED, *_SET, *_TRIMAPS)}

# The options that a command may have, in the order in which `--help` shows them.
TRIMAP_OPTIONS = tuple(option.name for option in _TRIMAPS)
SET_OPTIONS = tuple(option.name for option in (*_SET, *_TRIMAPS))
PUBLISHED_OPTIONS = tuple(option.name for option in _PUBLISHED)
