"""Recipes: every random choice of a data set, drawn once and written down. The only module with a generator."""

import hashlib
import itertools
import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shm_data import partners
from shm_data.augment import Augmentation, drawn, from_plain, to_plain
from shm_data.compositing import Box, Size, cover_box, fit
from shm_data.errors import ShmDataError
from shm_data.layout import SPLITS, is_plain, safe_stem, unused, write_lines
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.sources import Background, Foreground
from shm_data.splits import group_of, of_groups, split
from shm_data.trimap import TrimapRule, width_for

# By how much of its side a crop of a background that is drawn again may be smaller than the largest.
_CLOSEST = 0.4


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one sample is made.

    `foreground` is the name of a foreground, `background` the key of a background or None for an untouched
    original; `index` counts the composites of a foreground from 1, and is 0 for its original. `size` is
    (width, height) of the sample, `crop` the box (x, y, width, height) of the background photo that fills it.
    `trimap` is None where the user's own trimap is taken, `augment` where nothing is augmented. Where the files of
    its foreground and background are, and whose colours the foreground has, is in dataset.json.
    """

    name: str
    split: str
    foreground: str
    index: int
    size: Size
    background: str | None
    crop: Box | None
    trimap: TrimapRule | None
    augment: Augmentation | None = None

    @property
    def partner(self) -> str | None:
        """The foreground that stands behind its own."""
        return None if self.augment is None else self.augment.partner

    @property
    def has_own_alpha(self) -> bool:
        """Whether its alpha is another than that of its foreground."""
        return self.augment is not None and self.augment.changes_alpha


def draws(seed: int, *key: str | int) -> Iterator[float]:
    """Numbers in [0, 1) for one thing, named by its key: the same on every machine, in every version."""
    named = hashlib.blake2b(json.dumps([seed, *key]).encode())
    for block in itertools.count():
        numbered = named.copy()
        numbered.update(block.to_bytes(8))
        for number in struct.unpack(">8Q", numbered.digest()):
            yield (number >> 11) / 2**53


def plan(
    foregrounds: Sequence[Foreground],
    backgrounds: Sequence[Background],
    options: CompositeOptions,
    *,
    unusable: AbstractSet[str] = frozenset(),
    known: Mapping[str, str] | None = None,
) -> Iterator[Recipe]:
    """The recipes of a data set, foreground by foreground: first the original, then its composites.

    Foregrounds that come last disturb no recipe, if the splits of the others are `known`. `unusable` are keys of
    backgrounds that turned out broken; only foregrounds that would have drawn them have other recipes.
    Raises ShmDataError where there are too few backgrounds for both splits, or a set's own split parts a group.
    """
    sides = split_foregrounds(foregrounds, options, known or {})
    wanted = splits_to_composite(foregrounds, sides, options)
    pools = split_backgrounds(backgrounds, options, wanted) if wanted else {}
    broken = {side: _places(pool, unusable) for side, pool in pools.items()}
    taken: dict[str, int] = {}
    behind = _partners(foregrounds, sides, options)
    for foreground in foregrounds:
        name = foreground.files.name
        size = fit(foreground.size, options.maxsize)
        side = sides[name]
        if _has_original(foreground, options):
            rule = _rule(foreground, size, options, 0)
            recipe = Recipe(f"{unused(name, taken)}{options.extension}", side, name, 0, size, None, None, rule)
            yield _augmented(recipe, options, foreground, None)
        if foreground.files.taken_over or options.numbg == 0:
            continue
        chosen = _draw_backgrounds(pools[side], broken[side], options, name)
        for index, (background, place) in enumerate(chosen, 1):
            stem = unused(safe_stem(f"{name}_{_stem(background.key)}"), taken)
            crop = cover_box(background.size, size, *place)
            rule = _rule(foreground, size, options, index)
            recipe = Recipe(f"{stem}{options.extension}", side, name, index, size, background.key, crop, rule)
            yield _augmented(recipe, options, foreground, behind.get(name))


def draw_place(drawn: Iterator[float], *, again: bool) -> tuple[float, float, float]:
    """Where to crop a background, across and down, and, for one that is drawn `again`, how close."""
    across, down, closer = itertools.islice(drawn, 3)
    return across, down, 1 - _CLOSEST * closer if again else 1.0


def augmented(
    recipe: Recipe,
    numbers: Iterator[float],
    names: Collection[str],
    foreground: Foreground,
    partner: Foreground | None,
) -> Recipe:
    """A recipe with what is drawn for it of the named augmentations, whatever it had.

    Its trimap allows for the noise of a lossy matte, be it that of its foreground or that of the partner behind.
    """
    behind = None if partner is None else partner.files.name
    photo, own = recipe.background is None, recipe.trimap is None
    augment, rule = drawn(numbers, names, photo=photo, own_trimap=own, partner=behind), recipe.trimap
    if rule is not None:
        both = (foreground, partner) if augment is not None and augment.over is not None else (foreground,)
        rule = replace(rule, tolerance=max(each.tolerance for each in both if each is not None))
    return replace(recipe, augment=augment, trimap=rule)


def of_partner(recipe: Recipe, partner: Foreground, options: CompositeOptions) -> Recipe:
    """A recipe of the one who stands behind, alone and at its own size, as its own composites have it."""
    name, size = partner.files.name, fit(partner.size, options.maxsize)
    rule = trimap_rule(name, size, partner.tolerance, options)
    return replace(recipe, foreground=name, size=size, trimap=rule, augment=None)


def split_foregrounds(
    foregrounds: Sequence[Foreground], options: CompositeOptions, known: Mapping[str, str]
) -> dict[str, str]:
    """The split of each foreground by name; those of one group go together.

    Those of published sets that are split stay where they are. Raises ShmDataError where that parts a group.
    """
    groups = {f.files.name: group_of(f.files.name, options.group) for f in foregrounds}
    told = {f.files.name: f.files.split for f in foregrounds if f.files.split is not None}
    known_groups = of_groups(groups, {name: side for name, side in known.items() if name in groups} | told)
    sides = split("foreground", groups.values(), options.trainsplit, options.seed, known_groups)
    return {name: sides[group] for name, group in groups.items()}


def splits_to_composite(
    foregrounds: Sequence[Foreground], sides: Mapping[str, str], options: CompositeOptions
) -> set[str]:
    """The splits that need backgrounds."""
    if options.numbg == 0:
        return set()
    return {sides[foreground.files.name] for foreground in foregrounds if not foreground.files.taken_over}


def split_backgrounds(
    backgrounds: Sequence[Background], options: CompositeOptions, wanted: AbstractSet[str]
) -> dict[str, tuple[Background, ...]]:
    """The backgrounds of each of the `wanted` splits, in the order of their keys; no background serves two.

    Raises ShmDataError where a split has none, as when all are to be in one and foregrounds are in both.
    """
    ordered = sorted(backgrounds, key=lambda background: background.key)
    sides = split("background", (b.key for b in ordered), options.trainsplit, options.seed)
    if len(ordered) == len(wanted) == 1:
        sides = dict.fromkeys(sides, *wanted)
    pools = {side: tuple(b for b in ordered if sides[b.key] == side) for side in wanted}
    if len(wanted) > 1 and options.trainsplit in (0, 1):
        empty = "val" if options.trainsplit else "train"
        raise ShmDataError(
            f"--trainsplit {options.trainsplit:g}",
            found=f"no background for {empty}, where a published set has foregrounds",
            wanted="a share between 0 and 1",
        )
    if not all(pools.values()):
        raise ShmDataError(
            "too few backgrounds (--vocroot, --cocoroot, --bgdir) for splits that share none",
            found=str(len(ordered)),
            wanted=f"at least {len(wanted)}",
        )
    return pools


def trimap_rule(name: str, size: Size, tolerance: int, options: TrimapOptions, index: int = 0) -> TrimapRule:
    """The rule for the trimap of a sample; `random` draws both widths from 1 to the size, each for itself."""
    width = width_for(size, options.trimap_size)
    if options.trimap != "random":
        return TrimapRule(options.trimap, width, width, tolerance)
    drawn = itertools.islice(draws(options.seed, "trimap", name, index), 2)
    erode, dilate = (2 * int(number * (width // 2 + 1)) + 1 for number in drawn)
    return TrimapRule("euclid", erode, dilate, tolerance)


def write_recipes(path: Path, recipes: Iterable[Recipe]) -> str:
    """Writes recipes, one JSON object a line, whole or not at all, and gives the SHA-256 of the file."""
    return write_lines(path, (to_line(recipe) for recipe in recipes))


def read_recipes(path: Path, count: int | None = None, first: int = 0) -> Iterator[Recipe]:
    """Reads recipes one by one, the `first` of the first `count` left out.

    Raises ShmDataError for a missing file or a line that is none.
    """
    for number, line in enumerate(itertools.islice(_lines(path, count), first, None), first + 1):
        yield _parsed(line, f"{path}, line {number}")


def digest_of(path: Path, count: int) -> str:
    """The SHA-256 of the first `count` lines of a file of recipes. Raises ShmDataError where it is missing."""
    digest = hashlib.sha256()
    for line in _lines(path, count):
        digest.update(line)
    return digest.hexdigest()


def _lines(path: Path, count: int | None) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from itertools.islice(file, count)
    except OSError as error:
        raise ShmDataError(f"cannot read {path}: {error.strerror}") from error


def to_line(recipe: Recipe) -> str:
    """A recipe as a JSON object on one line."""
    rule = recipe.trimap
    plain = {name: getattr(recipe, name) for name in Recipe.__slots__}
    plain["trimap"] = rule and {name: getattr(rule, name) for name in TrimapRule.__slots__}
    if recipe.augment is None:
        del plain["augment"]
    else:
        plain["augment"] = to_plain(recipe.augment)
    return json.dumps(plain)


def from_line(line: str | bytes) -> Recipe:
    """The recipe of a JSON object. Raises ValueError, TypeError or KeyError where it is none."""
    plain: dict[str, Any] = json.loads(line)
    crop, rule, augment = plain.pop("crop"), plain.pop("trimap"), plain.pop("augment", None)
    recipe = Recipe(
        **plain | {"size": tuple(plain["size"])},
        crop=None if crop is None else tuple(crop),
        trimap=None if rule is None else TrimapRule(**rule),
        augment=None if augment is None else from_plain(augment),
    )
    if not (_is_plain_name(recipe.name) and recipe.split in SPLITS and type(recipe.index) is int):
        raise ValueError("a name that leads elsewhere, or no split, or no index")
    if type(recipe.foreground) is not str or not isinstance(recipe.background, str | None):
        raise TypeError("no names of a foreground and a background")
    if not (_are_numbers(recipe.size, 2, least=1) and (recipe.crop is None or _are_numbers(recipe.crop, 4, least=0))):
        raise ValueError("no size, or no crop")
    if recipe.trimap is not None and not _is_rule(recipe.trimap):
        raise ValueError("no rule for a trimap")
    return recipe


def _is_plain_name(name: object) -> bool:
    return type(name) is str and is_plain(name)


def _are_numbers(values: tuple[object, ...], count: int, least: int) -> bool:
    return len(values) == count and all(type(value) is int and value >= least for value in values)


def _is_rule(rule: TrimapRule) -> bool:
    widths = rule.erode, rule.dilate, rule.tolerance
    return rule.method in ("ellipse", "euclid") and _are_numbers(widths, 3, least=0) and min(widths[:2]) > 0


def _parsed(line: bytes, where: str) -> Recipe:
    try:
        return from_line(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = repr(line.strip()[:80].decode("utf-8", "replace"))
        raise ShmDataError(where, found=found, wanted="a recipe") from error


def _rule(foreground: Foreground, size: Size, options: CompositeOptions, index: int) -> TrimapRule | None:
    """The rule for a sample's trimap, None where the foreground has a trimap of its own."""
    if foreground.files.trimap is not None:
        return None
    return trimap_rule(foreground.files.name, size, foreground.tolerance, options, index)


def _augmented(
    recipe: Recipe, options: CompositeOptions, foreground: Foreground, partner: Foreground | None
) -> Recipe:
    """A recipe with what is drawn for it. None of val is augmented: what is scored on stays as it is."""
    if not options.augment or recipe.split != "train":
        return recipe
    numbers = draws(options.seed, "augment", recipe.foreground, recipe.index)
    return augmented(recipe, numbers, options.augment, foreground, partner)


def _partners(
    foregrounds: Sequence[Foreground], sides: Mapping[str, str], options: CompositeOptions
) -> Mapping[str, Foreground]:
    """Who may stand behind each foreground of train."""
    if "over" not in options.augment:
        return {}
    train = (foreground for foreground in foregrounds if sides[foreground.files.name] == "train")
    return partners.of_each(train, options.group, lambda name: draws(options.seed, "over", name))


def _stem(key: str) -> str:
    """The name of a key's file without its extension; `pathlib` would take as long as the rest of a recipe."""
    return key.rpartition("/")[2].rpartition(".")[0]


def _has_original(foreground: Foreground, options: CompositeOptions) -> bool:
    """A cut-out has no original photo: what it holds behind its edge is no background."""
    return foreground.files.taken_over or (options.originals and foreground.files.alpha is not None)


def _places(pool: Sequence[Background], unusable: AbstractSet[str]) -> set[int]:
    """Where the unusable ones are. Raises ShmDataError where no other is left."""
    places = {place for place, background in enumerate(pool) if background.key in unusable}
    if len(places) == len(pool):
        raise ShmDataError("no background can be read", found=f"{len(pool)} broken files", wanted="whole pictures")
    return places


def _draw_backgrounds(
    pool: Sequence[Background], broken: AbstractSet[int], options: CompositeOptions, name: str
) -> Iterator[tuple[Background, tuple[float, float, float]]]:
    """Backgrounds for a foreground with where to crop them: all different, until all were drawn.

    From then on crops are smaller, too: a photo of the foreground's shape has but one largest crop.
    """
    again = False
    used = set(broken)
    for index in range(1, options.numbg + 1):
        if len(used) == len(pool):
            used, again = set(broken), True
        drawn = draws(options.seed, "background", name, index)
        place = int(next(drawn) * len(pool))
        while place in used:
            place = int(next(drawn) * len(pool))
        used.add(place)
        yield pool[place], draw_place(drawn, again=again)
