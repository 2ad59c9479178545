"""The registry of augmentations: what makes a composite look more like a photo of one camera.

A new augmentation is one entry at the end of `_KINDS`, so that the numbers of the others stay as they are. Draws,
recipes, options and the table in docs/augmentations.md follow from it. Nothing here needs numpy: `effects` has the
functions on pixels.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# (lowest, highest) of each number; integers where both ends are integers.
Ranges = tuple[tuple[float, float], ...]
Numbers = tuple[float, ...]

# What an augmentation applies to, in this order:
#   "person"      colours and alpha: apply((colours, alpha), size, numbers, partner) -> (colours, alpha)
#   "background"  before the blend: apply(background, alpha, numbers) -> background
#   "scene"       the person's colours before their background: apply(colours, alpha, background, numbers) -> colours
#   "light"       foreground and background alike: apply(light, numbers) -> light, an `effects.Light`
#   "image"       after the blend: apply(image, numbers) -> image
Stage = Literal["person", "background", "scene", "light", "image"]


@dataclass(frozen=True, slots=True)
class AugmentationKind:
    """One kind of augmentation: `ranges` are drawn from, uniformly; a recipe may hold any `possible` numbers.

    Lengths are shares of the long edge. `share` is the share of the samples that get it. `needs_partner` is true
    where a second person is composited, `limits_band` where the first number is how many half octaves the band limit
    of image and alpha becomes coarser: as many as drawn beyond those of the background's enlargement. `does`, `drawn`
    and `source` are the columns of the table in docs/augmentations.md.
    """

    name: str
    stage: Stage
    ranges: Ranges
    possible: Ranges
    apply: Callable[..., Any]
    does: str
    drawn: str
    source: str
    share: float = 0.5
    needs_partner: bool = False
    limits_band: bool = False

    @property
    def changes_alpha(self) -> bool:
        """Whether alpha changes, so that a user's own trimap no longer fits."""
        return self.stage == "person" or self.limits_band

    @property
    def suits_photos(self) -> bool:
        """Whether it can be applied to an untouched photo, whose background is not known."""
        return self.stage in ("light", "image")


def _effect(name: str) -> Callable[..., Any]:
    """Return the function of this name in `effects`, which is imported with its first call."""

    def apply(*arguments: Any) -> Any:
        from shm_data.pixels import effects  # noqa: PLC0415  # numpy takes its time to load, and --help needs names only

        return getattr(effects, name)(*arguments)

    return apply


_KINDS = (
    AugmentationKind(
        "blur",
        "background",
        ranges=((0.002, 0.01),),  # sigma
        possible=((0.0, 1.0),),
        apply=_effect("blur_background"),
        does="the background is out of focus, by a Gaussian",
        drawn="sigma 0.2 to 1 % of the long edge",
        source="GFM [1]: box kernels of 20 to 60 px, whose sigma is 0.4 to 1.1 % at 1600 px",
    ),
    AugmentationKind(
        "shadow",
        "background",
        ranges=((0.1, 0.3), (-0.08, 0.08), (-0.04, 0.08), (0.01, 0.03)),  # strength, to the right, down, sigma
        possible=((0.0, 1.0), (-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)),
        apply=_effect("cast_shadow"),
        does="the person's alpha, moved and blurred, darkens the background",
        drawn="strength 0.1 to 0.3; moved by up to 8 % of the long edge to the sides, from 4 % up to 8 % down; "
        "sigma 1 to 3 %",
        source="BackgroundMattingV2 [2]: strength up to 0.3, moved by up to 20 %, blurred by 20 to 39 px at 256 to "
        "512 px",
    ),
    AugmentationKind(
        "gamma",
        "light",
        ranges=((0.8, 1.25),),
        possible=((0.01, 100.0),),
        apply=_effect("change_gamma"),
        does="a gamma curve",
        drawn="0.8 to 1.25",
        source="Background Matting [3]: normal around 1, with sigma 0.12",
    ),
    AugmentationKind(
        "colour",
        "light",
        ranges=((-0.1, 0.1), (-0.1, 0.1), (-0.15, 0.15), (-0.02, 0.02)),  # brightness, contrast, saturation, hue
        possible=((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0)),  # hue as a share of the colour circle
        apply=_effect("change_colours"),
        does="brightness, contrast, saturation, hue",
        drawn="up to 10 %, 10 %, 15 % either way; 7 degrees",
        source="BackgroundMattingV2 [2]: 15 %, 15 %, 15 %; 18 degrees",
    ),
    AugmentationKind(
        "noise",
        "image",
        ranges=((1.0, 10.0), (0, 2**32 - 1)),  # sigma in levels, seed of the grains
        possible=((0.0, 255.0), (0, 2**32 - 1)),
        apply=_effect("add_noise"),
        does="Gaussian noise in each channel, clipped",
        drawn="sigma 1 to 10 levels",
        source="GFM [1]: sigma 10; BackgroundMattingV2 [2]: up to 7.65",
    ),
    AugmentationKind(
        "jpeg",
        "image",
        ranges=((70, 95),),  # quality
        possible=((1, 100),),
        apply=_effect("recompress"),
        does="compressed and read again, its colours at half the resolution",
        drawn="quality 70 to 95",
        source="Mask Guided Matting [4] does it; the range is ours",
    ),
    AugmentationKind(
        "over",
        "person",
        ranges=((0.7, 1.0), (0.0, 1.0), (0.0, 1.0)),  # scale and position of the partner, see `place_in_frame`
        possible=((0.1, 10.0), (0.0, 1.0), (0.0, 1.0)),
        apply=_effect("put_partner_behind"),
        does="another person of train stands behind",
        drawn="that picture is 0.7 to 1 times as high as the frame, anywhere in it",
        source="GCA-Matting [5]",
        needs_partner=True,
    ),
    AugmentationKind(
        "place",
        "person",
        ranges=((0.6, 1.2), (0.0, 1.0), (0.0, 1.0)),  # scale and position of the person, see `place_in_frame`
        possible=((0.1, 10.0), (0.0, 1.0), (0.0, 1.0)),
        apply=_effect("place_person"),
        does="the person is scaled, and stands elsewhere in the frame",
        drawn="the picture is 0.6 to 1.2 times as high as the frame, anywhere in it",
        source="MODNet [6]: 0.75 to 1.5; BackgroundMattingV2 [2]: 0.4 to 1, moved by 10 %",
    ),
    AugmentationKind(
        "camera",
        "image",
        ranges=((0, 2), (2.0, 8.0), (0, 2**32 - 1), (70, 95)),  # half octaves, noise in levels, its seed, quality
        possible=((0, 26), (0.0, 255.0), (0, 2**32 - 1), (1, 100)),
        apply=_effect("take_photo"),
        does="one camera takes the whole picture, in **every** sample: person and background get one sharpness, one "
        "grain and one JPEG; both are gray if one of them is",
        drawn="scaled down by 1, 1.4 or 2 times the background's enlargement and up again, alpha alike; noise of 2 "
        "to 8 levels; quality 70 to 95",
        source="GFM [1] brings both to one noise; noise by level is that of [9]; the rest is [ours](gap.md)",
        share=1.0,
        limits_band=True,
    ),
    AugmentationKind(
        "match",
        "scene",
        ranges=((0.1, 0.7), (0.1, 0.7)),  # shares of the way, in lightness and in colours
        possible=((0.0, 1.0), (0.0, 1.0)),
        apply=_effect("match_colours"),
        does="the person's exposure and colours move towards those of the background",
        drawn="0.1 to 0.7 of the way: for mean and spread of the lightness, and for those of the colours, in Lab",
        source="Reinhard et al. [10], who go all the way",
    ),
)

# Every kind by its name, in the order in which numbers are drawn and recipes hold them.
AUGMENTATIONS: dict[str, AugmentationKind] = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one sample: names of kinds and their numbers, in the order of the registry.

    `partner` is the name of the foreground that stands behind, None where nobody does.
    """

    steps: tuple[tuple[str, Numbers], ...] = ()
    partner: str | None = None

    @property
    def changes_alpha(self) -> bool:
        """Whether the alpha of the sample differs from that of its foreground."""
        return self.changes_person or self.band_factor > 1

    @property
    def band_factor(self) -> float:
        """The factor by which the band limit of image and alpha becomes coarser; 1 where it does not."""
        limits = (numbers[0] for name, numbers in self.steps if AUGMENTATIONS[name].limits_band)
        return factor_of(max(limits, default=0))

    @property
    def changes_person(self) -> bool:
        """Whether the person, and so alpha, is another one in this sample alone."""
        return any(AUGMENTATIONS[name].stage == "person" for name, _ in self.steps)

    def numbers(self, name: str) -> Numbers | None:
        """Return the numbers of one kind, None where it is not done."""
        return dict(self.steps).get(name)

    def at(self, stage: Stage) -> Iterator[tuple[AugmentationKind, Numbers]]:
        """Return the kinds of one stage with their numbers, in the order in which they are applied.

        Those that need a partner come last: the person is moved before another one is put behind.
        """
        kinds = [(AUGMENTATIONS[name], numbers) for name, numbers in self.steps]
        yield from sorted((each for each in kinds if each[0].stage == stage), key=lambda each: each[0].needs_partner)


def factor_of(half_octaves: float) -> float:
    """Return the factor of a number of half octaves: 2 to the power of its half."""
    return float(2 ** (half_octaves / 2))


def need_partner(names: Collection[str]) -> bool:
    """Return whether any of these kinds composites a second person."""
    return any(AUGMENTATIONS[name].needs_partner for name in names)


def draw_augmentation(
    numbers: Iterator[float],
    names: Collection[str],
    *,
    photo: bool = False,
    own_trimap: bool = False,
    partner: str | None = None,
    enlargement: float = 1.0,
) -> Augmentation | None:
    """Draw each of the named kinds, by its share, from `numbers` in [0, 1); return None if none is done.

    The same count of numbers is consumed for any names, so that one more name changes none of the others. Skipped is
    what needs the background of an untouched `photo`, what an `own_trimap` would no longer fit, and what lacks a
    `partner`. The background is enlarged `enlargement` times.
    """
    steps = []
    for name, kind in AUGMENTATIONS.items():
        coin, *drawn = itertools.islice(numbers, 1 + len(kind.ranges))
        possible = (kind.suits_photos or not photo) and not (kind.changes_alpha and own_trimap)
        possible &= partner is not None or not kind.needs_partner
        if name in names and possible and coin < kind.share:
            values = [*map(_scale, drawn, kind.ranges)]
            if kind.limits_band:
                values[0] += math.ceil(2 * math.log2(max(1.0, enlargement)))
            steps.append((name, tuple(values)))
    if not steps:
        return None
    return Augmentation(tuple(steps), partner if need_partner([name for name, _ in steps]) else None)


def to_plain(augmentation: Augmentation) -> dict[str, Any]:
    """Return what JSON holds of an augmentation: numbers by name, and the partner."""
    partner = {} if augmentation.partner is None else {"partner": augmentation.partner}
    return {**dict(augmentation.steps), **partner}


def to_words(augmentation: Augmentation) -> list[str]:
    """Return each step with its numbers as text."""
    steps = [f"{name} {' '.join(map(str, numbers))}" for name, numbers in augmentation.steps]
    return steps if augmentation.partner is None else [*steps, f"partner {augmentation.partner}"]


def from_plain(plain: Mapping[str, Any]) -> Augmentation:
    """Return the augmentation that JSON held. Raises TypeError, ValueError or KeyError if it is invalid."""
    values = {name: tuple(numbers) for name, numbers in plain.items() if name != "partner"}
    for name, numbers in values.items():
        _require_numbers(AUGMENTATIONS[name], numbers)
    partner = plain.get("partner")
    if not isinstance(partner, str if need_partner(values) else None.__class__):
        raise ValueError("a partner without another person in the picture, or the other way round")
    return Augmentation(tuple((name, values[name]) for name in AUGMENTATIONS if name in values), partner)


def docs_table() -> str:
    """Return the table of docs/augmentations.md in Markdown."""
    head = "| `--augment` | what is done | drawn uniformly from | comes from |\n|---|---|---|---|\n"
    rows = (f"| `{kind.name}` | {kind.does} | {kind.drawn} | {kind.source} |\n" for kind in AUGMENTATIONS.values())
    return head + "".join(rows)


def _scale(number: float, ends: tuple[float, float]) -> float:
    """Return the value between two ends for a number in [0, 1), of four digits; every integer is equally likely."""
    low, high = ends
    if isinstance(low, int) and isinstance(high, int):
        return low + int(number * (high - low + 1))
    return round(low + number * (high - low), 4)


def _require_numbers(kind: AugmentationKind, values: Numbers) -> None:
    if list(map(type, values)) != [type(low) for low, _ in kind.possible]:
        raise ValueError(f"other numbers than {kind.name} takes")
    if not all(low <= value <= high for value, (low, high) in zip(values, kind.possible, strict=True)):
        raise ValueError(f"numbers that {kind.name} cannot take")
