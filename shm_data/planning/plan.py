"""Plans: draws the recipes of a data set, every random choice of it, from foregrounds, backgrounds and options."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from shm_data.dataset.recipes import Recipe
from shm_data.draws import draws
from shm_data.errors import ShmDataError, counted
from shm_data.files import safe_stem, unused
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels.augmentations import draw_augmentation, need_partner
from shm_data.pixels.compositing import Size, cover_box, fit
from shm_data.pixels.trimap import TrimapRule, kernel_width
from shm_data.planning import partners
from shm_data.planning.splits import group_of, of_groups, split
from shm_data.sources.types import Background, Foreground

# By how much of its side a crop of a background that is drawn again may be smaller than the largest.
_CLOSEST = 0.4


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
    needed = splits_to_composite(foregrounds, sides, options)
    pools = split_backgrounds(backgrounds, options, needed) if needed else {}
    broken = {side: _places(pool, unusable, side) for side, pool in pools.items()}
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
        if foreground.files.imported or options.numbg == 0:
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
    augment, rule = draw_augmentation(numbers, names, photo=photo, own_trimap=own, partner=behind), recipe.trimap
    if rule is not None:
        both = (foreground, partner) if augment is not None and augment.partner is not None else (foreground,)
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
    return {sides[foreground.files.name] for foreground in foregrounds if not foreground.files.imported}


def split_backgrounds(
    backgrounds: Sequence[Background], options: CompositeOptions, needed: AbstractSet[str]
) -> dict[str, tuple[Background, ...]]:
    """The backgrounds of each of the `needed` splits, in the order of their keys; no background serves two.

    Raises ShmDataError where a split has none, as when all are to be in one and foregrounds are in both.
    """
    ordered = sorted(backgrounds, key=lambda background: background.key)
    sides = split("background", (b.key for b in ordered), options.trainsplit, options.seed)
    if len(ordered) == len(needed) == 1:
        sides = dict.fromkeys(sides, *needed)
    pools = {side: tuple(b for b in ordered if sides[b.key] == side) for side in needed}
    if len(needed) > 1 and options.trainsplit in (0, 1):
        empty = "val" if options.trainsplit else "train"
        raise ShmDataError(
            f"--trainsplit {options.trainsplit:g}",
            found=f"no background for {empty}, where a published set has foregrounds",
            expected="a share between 0 and 1",
        )
    if not all(pools.values()):
        raise ShmDataError(
            "too few backgrounds (--vocroot, --cocoroot, --bgdir) for splits that share none",
            found=str(len(ordered)),
            expected=f"at least {len(needed)}",
        )
    return pools


def trimap_rule(name: str, size: Size, tolerance: int, options: TrimapOptions, index: int = 0) -> TrimapRule:
    """The rule for the trimap of a sample; `random` draws both widths from 1 to the size, each for itself."""
    width = kernel_width(size, options.trimap_size)
    if options.trimap != "random":
        return TrimapRule(options.trimap, width, width, tolerance)
    drawn = itertools.islice(draws(options.seed, "trimap", name, index), 2)
    erode, dilate = (2 * int(number * (width // 2 + 1)) + 1 for number in drawn)
    return TrimapRule("euclid", erode, dilate, tolerance)


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
    if not need_partner(options.augment):
        return {}
    train = (foreground for foreground in foregrounds if sides[foreground.files.name] == "train")
    return partners.assign_partners(train, options.group, lambda name: draws(options.seed, "over", name))


def _stem(key: str) -> str:
    """The name of a key's file without its extension; `pathlib` would take as long as the rest of a recipe."""
    return key.rpartition("/")[2].rpartition(".")[0]


def _has_original(foreground: Foreground, options: CompositeOptions) -> bool:
    """A cut-out has no original photo: what it holds behind its edge is no background."""
    return foreground.files.imported or (options.originals and foreground.files.alpha is not None)


def _places(pool: Sequence[Background], unusable: AbstractSet[str], side: str) -> set[int]:
    """Where the unusable ones are in the pool of a split. Raises ShmDataError where no other is left."""
    places = {place for place, background in enumerate(pool) if background.key in unusable}
    if len(places) == len(pool):
        what = f"no background of {side} can be read"
        raise ShmDataError(what, found=counted(len(pool), "broken file"), expected="whole pictures")
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
