"""Draws the recipes of a data set, every random choice of it, from foregrounds, backgrounds and options. Pure."""

import itertools
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from shm_data.dataset.recipes import Decoy, Recipe
from shm_data.draws import draws
from shm_data.errors import ShmDataError, counted
from shm_data.files import safe_stem, unused
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels.augmentations import draw_augmentation, need_partner
from shm_data.pixels.compositing import Size, cover_box, fit
from shm_data.pixels.trimap import TrimapRule, kernel_width, mask_rule
from shm_data.planning import partners
from shm_data.planning.resolution import enlargement, limit_share, limit_size, too_small
from shm_data.planning.splits import (
    assign_number,
    assign_splits,
    group_of,
    merge_groups,
    names_in_val,
    splits_of_groups,
)
from shm_data.sources import Background, Files, Foreground

# A background that is drawn again is cropped by up to this share of its side.
_CLOSEST = 0.4

# The share of the composites of train with a decoy, and how high its picture is, in heights of the frame.
_DECOY_SHARE = 0.5
_DECOY_SCALES = 0.3, 0.9


class TooFewBackgroundsError(ShmDataError):
    """A split would have no background."""


def draw_recipes(
    foregrounds: Sequence[Foreground],
    backgrounds: Sequence[Background],
    options: CompositeOptions,
    *,
    unusable: AbstractSet[str] = frozenset(),
    known_splits: Mapping[str, str] | None = None,
    copies: Collection[tuple[str, str]] = (),
    decoys: Sequence[str] = (),
) -> Iterator[Recipe]:
    """Return the recipes of a data set, foreground by foreground: first the original, then its composites.

    Foregrounds that are appended change no other recipe, if the splits of the others are `known_splits`. `unusable`
    are keys of backgrounds that turned out broken; only foregrounds that would have drawn them get other recipes.
    Each two foregrounds in `copies` are in one split. Half of the composites of train have one of the `decoys`.
    Raises ShmDataError where there are too few backgrounds for both splits, or a published split divides a group.
    """
    splits = split_foregrounds(foregrounds, options, known_splits or {}, copies)
    needed = splits_to_composite(foregrounds, splits, options)
    pools = split_backgrounds(backgrounds, options, needed) if needed else {}
    broken = {split: _unusable_indices(pool, unusable, split) for split, pool in pools.items()}
    taken: dict[str, int] = {}
    assigned = _assign_partners(foregrounds, splits, options)
    for foreground in foregrounds:
        name = foreground.files.name
        split = splits[name]
        pool, unusable_here = pools.get(split, ()), broken.get(split, set())
        size = sample_size(foreground, pool, options)
        if _has_original(foreground, options):
            rule = _rule(foreground, size, options, 0)
            recipe = Recipe(f"{unused(name, taken)}{options.extension}", split, name, 0, size, None, None, rule)
            yield _augmented(recipe, options, foreground, None)
        if foreground.files.imported or options.numbg == 0:
            continue
        if options.max_enlarge is not None:
            unusable_here = unusable_here | too_small(size, pool, options.max_enlarge)
            if len(unusable_here) == len(pool):
                raise ShmDataError(
                    f"--max-enlarge {options.max_enlarge:g}", found=f"only broken backgrounds for {name}"
                )
        drawn = _draw_backgrounds(pool, unusable_here, options, name)
        for index, (background, (across, down, drawn_share)) in enumerate(drawn, 1):
            stem = unused(safe_stem(f"{name}_{_stem(background.key)}"), taken)
            share = limit_share(drawn_share, background.size, size, options.max_enlarge)
            crop = cover_box(background.size, size, across, down, share)
            rule = _rule(foreground, size, options, index)
            recipe = Recipe(f"{stem}{options.extension}", split, name, index, size, background.key, crop, rule)
            recipe = replace(recipe, decoy=_draw_decoy(recipe, decoys, options.seed))
            yield _augmented(recipe, options, foreground, assigned.get(name))


def sample_size(foreground: Foreground, pool: Sequence[Background], options: CompositeOptions) -> Size:
    """Return the size (width, height) of a foreground's samples over backgrounds of a pool."""
    size = fit(foreground.size, options.maxsize)
    if options.max_enlarge is None or foreground.files.imported or not pool:
        return size
    return limit_size(foreground.size, max(size), pool, options.max_enlarge, options.numbg)


def draw_crop_position(drawn: Iterator[float], *, again: bool) -> tuple[float, float, float]:
    """Draw where to crop a background, across and down in [0, 1), and the share of the largest crop's side.

    The share is 1 unless the background is drawn `again` for the same foreground.
    """
    across, down, closer = itertools.islice(drawn, 3)
    return across, down, 1 - _CLOSEST * closer if again else 1.0


def draw_augmentations(
    recipe: Recipe,
    numbers: Iterator[float],
    names: Collection[str],
    foreground: Foreground,
    partner: Foreground | None,
) -> Recipe:
    """Return a recipe with newly drawn augmentations of these names in place of its own.

    Its trimap tolerates the noise of the lossier of the two mattes where a partner stands behind.
    """
    partner_name = None if partner is None else partner.files.name
    photo, own = recipe.background is None, recipe.trimap is None
    enlarged = enlargement(recipe) or 1.0
    augment = draw_augmentation(
        numbers, names, photo=photo, own_trimap=own, partner=partner_name, enlargement=enlarged
    )
    rule = recipe.trimap
    if rule is not None:
        both = (foreground, partner) if augment is not None and augment.partner is not None else (foreground,)
        rule = replace(rule, tolerance=max(each.tolerance for each in both if each is not None))
    return replace(recipe, augment=augment, trimap=rule)


def recipe_of_partner(recipe: Recipe, partner: Foreground, options: CompositeOptions) -> Recipe:
    """Return the recipe by which the partner of a recipe is prepared: alone, at its own size."""
    name, size = partner.files.name, fit(partner.size, options.maxsize)
    rule = trimap_rule(name, size, partner.tolerance, options)
    return replace(recipe, foreground=name, size=size, trimap=rule, augment=None)


def split_foregrounds(
    foregrounds: Sequence[Foreground],
    options: CompositeOptions,
    known: Mapping[str, str],
    copies: Collection[tuple[str, str]],
) -> dict[str, str]:
    """Return the split of each foreground by name; those of one group, and copies of each other, go together.

    Foregrounds of published sets stay in their published split, and do not count for --numval. Raises ShmDataError
    where that divides a group, or contradicts --val.
    """
    groups = merge_groups({f.files.name: group_of(f.files.name, options.group) for f in foregrounds}, copies)
    published = {f.files.name: f.files.split for f in foregrounds if f.files.split is not None}
    fixed = {name: split for name, split in known.items() if name in groups} | published
    listed = dict.fromkeys(listed_in_val([f.files for f in foregrounds], options), "val")
    if in_train := [name for name in listed if fixed.get(name) == "train"]:
        found = f"{in_train[0]}, which is in train by its published set, its mask or the recorded plan"
        raise ShmDataError("--val", found=found, expected="foregrounds that may go to val")
    known_groups = splits_of_groups(groups, fixed | listed)
    if options.val:
        assigned = dict.fromkeys(groups.values(), "train") | known_groups
    elif options.numval is not None:
        own = set(groups.values()) - {groups[name] for name in published}
        assigned = known_groups | assign_number("foreground", own, options.numval, options.seed, known_groups)
    else:
        assigned = assign_splits("foreground", groups.values(), options.trainsplit, options.seed, known_groups)
    return {name: assigned[group] for name, group in groups.items()}


def listed_in_val(files: Sequence[Files], options: CompositeOptions) -> set[str]:
    """Return the names of the foregrounds that --val lists by name, group or path of the image.

    Raises ShmDataError that names what fits none.
    """
    if not options.val:
        return set()
    return names_in_val({each.name: _identities(each, options.group) for each in files}, options.val)


def _identities(files: Files, pattern: str | None) -> set[str]:
    path = files.image.partition("/")[2]
    names = (files.name, group_of(files.name, pattern), path, path.rpartition(".")[0])
    return {unicodedata.normalize("NFC", name) for name in names}


def splits_to_composite(
    foregrounds: Sequence[Foreground], splits: Mapping[str, str], options: CompositeOptions
) -> set[str]:
    """Return the splits that need backgrounds."""
    if options.numbg == 0:
        return set()
    return {splits[foreground.files.name] for foreground in foregrounds if not foreground.files.imported}


def split_backgrounds(
    backgrounds: Sequence[Background], options: CompositeOptions, needed: AbstractSet[str]
) -> dict[str, tuple[Background, ...]]:
    """Return the backgrounds of each needed split in the order of their keys; no background is in two splits.

    Raises ShmDataError where a split would have none.
    """
    ordered = sorted(backgrounds, key=lambda background: background.key)
    assigned = assign_splits("background", (b.key for b in ordered), options.trainsplit, options.seed)
    if len(ordered) == len(needed) == 1:
        assigned = dict.fromkeys(assigned, *needed)
    pools = {split: tuple(b for b in ordered if assigned[b.key] == split) for split in needed}
    if len(needed) > 1 and options.trainsplit in (0, 1):
        empty = "val" if options.trainsplit else "train"
        raise ShmDataError(
            f"--trainsplit {options.trainsplit:g}",
            found=f"no background for {empty}, where a published set has foregrounds",
            expected="a share between 0 and 1",
        )
    if not all(pools.values()):
        raise TooFewBackgroundsError(
            "too few backgrounds (--vocroot, --cocoroot, --bgdir) for splits that share none",
            found=str(len(ordered)),
            expected=f"at least {len(needed)}",
        )
    return pools


def trimap_rule(name: str, size: Size, tolerance: int, options: TrimapOptions, index: int = 0) -> TrimapRule:
    """Return the rule for the trimap of a sample; `random` draws both widths independently, from 1 to the size."""
    width = kernel_width(size, options.trimap_size)
    if options.trimap != "random":
        return TrimapRule(options.trimap, width, width, tolerance)
    drawn = itertools.islice(draws(options.seed, "trimap", name, index), 2)
    erode, dilate = (2 * int(number * (width // 2 + 1)) + 1 for number in drawn)
    return TrimapRule("euclid", erode, dilate, tolerance)


def _rule(foreground: Foreground, size: Size, options: CompositeOptions, index: int) -> TrimapRule | None:
    """Return the rule for a sample's trimap, None where the foreground has a trimap of its own."""
    if foreground.files.trimap is not None:
        return None
    if foreground.files.has_mask:
        return mask_rule(size, options.trimap_size)
    return trimap_rule(foreground.files.name, size, foreground.tolerance, options, index)


def _augmented(
    recipe: Recipe, options: CompositeOptions, foreground: Foreground, partner: Foreground | None
) -> Recipe:
    """Return a recipe with its augmentations. Val is never augmented: scores must not depend on them."""
    if not options.augment or recipe.split != "train":
        return recipe
    numbers = draws(options.seed, "augment", recipe.foreground, recipe.index)
    return draw_augmentations(recipe, numbers, options.augment, foreground, partner)


def _draw_decoy(recipe: Recipe, decoys: Sequence[str], seed: int) -> Decoy | None:
    """Draw whether a composite has a decoy, which one, and where. Val has none: scores must not depend on them."""
    if not decoys or recipe.split != "train":
        return None
    coin, choice, scale, across, down = itertools.islice(draws(seed, "decoy", recipe.foreground, recipe.index), 5)
    low, high = _DECOY_SCALES
    position = round(low + scale * (high - low), 4), round(across, 4), round(down, 4)
    return Decoy(decoys[int(choice * len(decoys))], position) if coin < _DECOY_SHARE else None


def _assign_partners(
    foregrounds: Sequence[Foreground], splits: Mapping[str, str], options: CompositeOptions
) -> Mapping[str, Foreground]:
    """Return, by name, the foreground of train that may stand behind each of train."""
    if not need_partner(options.augment):
        return {}
    train = (foreground for foreground in foregrounds if splits[foreground.files.name] == "train")
    return partners.assign_partners(train, options.group, lambda name: draws(options.seed, "over", name))


def _stem(key: str) -> str:
    """Return the file name of a key without extension; `pathlib` would take as long as the rest of a recipe."""
    return key.rpartition("/")[2].rpartition(".")[0]


def _has_original(foreground: Foreground, options: CompositeOptions) -> bool:
    """Return whether the photo itself is a sample. A cut-out has no original: outside alpha it holds no photo."""
    return foreground.files.imported or (options.originals and not foreground.files.is_cutout)


def _unusable_indices(pool: Sequence[Background], unusable: AbstractSet[str], split: str) -> set[int]:
    """Return the indices of unusable backgrounds in the pool of a split. Raises ShmDataError where all are."""
    indices = {index for index, background in enumerate(pool) if background.key in unusable}
    if len(indices) == len(pool):
        what = f"no background of {split} can be used"
        raise ShmDataError(
            what, found=counted(len(pool), "broken or transparent file"), expected="whole, opaque pictures"
        )
    return indices


def _draw_backgrounds(
    pool: Sequence[Background], broken: AbstractSet[int], options: CompositeOptions, name: str
) -> Iterator[tuple[Background, tuple[float, float, float]]]:
    """Draw backgrounds for a foreground, and their crop positions: all different, until each was drawn once.

    After that crops are also smaller, since a photo of the foreground's shape has only one largest crop.
    """
    again = False
    used = set(broken)
    for index in range(1, options.numbg + 1):
        if len(used) == len(pool):
            used, again = set(broken), True
        drawn = draws(options.seed, "background", name, index)
        choice = int(next(drawn) * len(pool))
        while choice in used:
            choice = int(next(drawn) * len(pool))
        used.add(choice)
        yield pool[choice], draw_crop_position(drawn, again=again)
