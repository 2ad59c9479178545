"""What a user should know about a plan before training on its data set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from shm_data.errors import counted
from shm_data.options import CompositeOptions
from shm_data.planning import partners
from shm_data.planning.draw import split_backgrounds, split_foregrounds, splits_to_composite
from shm_data.planning.splits import group_of
from shm_data.sources import Background, Foreground, foregrounds


def notes(
    people: Sequence[Foreground],
    backgrounds: Sequence[Background],
    options: CompositeOptions,
    *,
    broken: AbstractSet[str],
    known_splits: Mapping[str, str],
    layouts: Mapping[str, str],
) -> Iterator[str]:
    """Return sentences about the plan for these foregrounds and backgrounds; `broken` are keys of backgrounds."""
    yield from foregrounds.layout_notes(layouts)
    splits = split_foregrounds(people, options, known_splits)
    yield from _notes_on_backgrounds(people, backgrounds, splits, options, broken)
    if len(set(splits.values())) == 1 and 0 < options.trainsplit < 1:
        yield f"all foregrounds are in {splits[people[0].files.name]}: the other split has no samples"
    if options.group:
        yield _note_on_groups([foreground.files.name for foreground in people], options.group)
    yield from _notes_on_augmentations(people, splits, options)
    if options.originals and any(foreground.files.alpha is None for foreground in people):
        yield "cut-outs have no original photo: they give composites only"
    for foreground in people:
        if foreground.missing:
            yield f"{foreground.files.name}: its trimap has no {' and no '.join(foreground.missing)}"


def _notes_on_backgrounds(
    people: Sequence[Foreground],
    backgrounds: Sequence[Background],
    splits: Mapping[str, str],
    options: CompositeOptions,
    broken: AbstractSet[str],
) -> Iterator[str]:
    needed = splits_to_composite(people, splits, options)
    pools = split_backgrounds(backgrounds, options, needed) if needed else {}
    for split, pool in sorted(pools.items()):
        usable = sum(background.key not in broken for background in pool)
        if usable < options.numbg:
            has = f"{split} has {counted(usable, 'background')} for --numbg {options.numbg}"
            yield f"{has}: each is used several times, with other crops"


def _notes_on_augmentations(
    people: Sequence[Foreground], splits: Mapping[str, str], options: CompositeOptions
) -> Iterator[str]:
    train = [foreground for foreground in people if splits[foreground.files.name] == "train"]
    able = sum(map(partners.can_pair, train))
    for name, least in (("over", 2), ("place", 1)):
        if name in options.augment and able < least:
            has = f"train has {counted(able, 'foreground')} without a trimap of its own"
            yield f"--augment {name} changes nothing: {has}"


def _note_on_groups(names: Sequence[str], pattern: str) -> str:
    fitting = sum(re.search(pattern, name) is not None for name in names)
    groups = len({group_of(name, pattern) for name in names})
    return f"--group fits {fitting} of {len(names)} names, which makes {counted(groups, 'group')}"
