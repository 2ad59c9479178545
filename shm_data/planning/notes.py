"""What a user should know about a plan before training on its data set."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from statistics import median

from shm_data.errors import counted
from shm_data.options import CompositeOptions
from shm_data.pixels.compositing import fit
from shm_data.planning import partners
from shm_data.planning.draw import sample_size, split_backgrounds, split_foregrounds, splits_to_composite
from shm_data.planning.resolution import VISIBLE_ENLARGEMENT
from shm_data.planning.scan import Sources
from shm_data.planning.splits import count_matches, group_of
from shm_data.planning.survey import Survey
from shm_data.sources import Background, Foreground, foregrounds

# The number of foregrounds that a note names.
_NAMED = 5


def notes(
    sources: Sources,
    people: Sequence[Foreground],
    files: Survey,
    options: CompositeOptions,
    *,
    known_splits: Mapping[str, str],
    copies: Collection[tuple[str, str]],
    oddities: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Return sentences about the plan for these sources, of which `files` were read."""
    yield from foregrounds.layout_notes(sources.foregrounds.layouts)
    splits = split_foregrounds(people, options, known_splits, copies)
    needed = splits_to_composite(people, splits, options)
    pools = split_backgrounds(sources.backgrounds.backgrounds, options, needed) if needed else {}
    yield from _notes_on_backgrounds(pools, options, files.broken.keys())
    yield from _notes_on_sharpness(files.tally.enlargements)
    yield from _notes_on_sizes(people, splits, pools, options)
    if len(set(splits.values())) == 1 and 0 < options.trainsplit < 1:
        yield f"all foregrounds are in {splits[people[0].files.name]}: the other split has no samples"
    masks = sum(foreground.files.has_mask for foreground in people)
    if masks:
        yield f"{counted(masks, 'photo')} with a mask in place of an alpha: in train only, and without composites"
    if options.group:
        yield _note_on_groups([foreground.files.name for foreground in people], options.group)
    yield from _notes_on_copies(copies)
    for oddity, names in oddities.items():
        some = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
        yield f"{len(names)} of {counted(len(people), 'foreground')}: {oddity}: {some}"
    yield from _notes_on_augmentations(people, splits, options)
    if options.originals and any(foreground.files.is_cutout for foreground in people):
        yield "cut-outs have no original photo: they give composites only"
    for foreground in people:
        if foreground.missing:
            yield f"{foreground.files.name}: its trimap has no {' and no '.join(foreground.missing)}"


def _notes_on_sharpness(enlargements: Sequence[float]) -> Iterator[str]:
    middle = median(enlargements) if enlargements else 0.0
    if middle > VISIBLE_ENLARGEMENT:
        found = f"backgrounds are enlarged {middle:.1f} times in the median (largest {max(enlargements):.1f})"
        yield f"{found}: sharpness alone gives the person away; see --max-enlarge and docs/gap.md"


def _notes_on_sizes(
    people: Sequence[Foreground],
    splits: Mapping[str, str],
    pools: Mapping[str, Sequence[Background]],
    options: CompositeOptions,
) -> Iterator[str]:
    if options.max_enlarge is None:
        return
    sizes = {each: sample_size(each, pools.get(splits[each.files.name], ()), options) for each in people}
    scales = [max(size) / max(fit(each.size, options.maxsize)) for each, size in sizes.items()]
    smaller = [scale for scale in scales if scale < 1]
    if smaller:
        found = f"samples of {counted(len(smaller), 'foreground')} are {median(smaller):.2f} of their size"
        yield f"--max-enlarge {options.max_enlarge:g}: {found} in the median (smallest {min(smaller):.2f})"


def _notes_on_backgrounds(
    pools: Mapping[str, Sequence[Background]], options: CompositeOptions, broken: AbstractSet[str]
) -> Iterator[str]:
    for split, pool in sorted(pools.items()):
        usable = sum(background.key not in broken for background in pool)
        if usable < options.numbg:
            has = f"{split} has {counted(usable, 'background')} for --numbg {options.numbg}"
            yield f"{has}: each is used several times, with other crops"


def _notes_on_copies(copies: Collection[tuple[str, str]]) -> Iterator[str]:
    some = ", ".join(f"{other} of {one}" for one, other in list(copies)[:_NAMED])
    if copies:
        more = ", ..." * (len(copies) > _NAMED)
        yield f"foregrounds that are nearly copies of others are in the same split: {some}{more}"


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
    fitting = count_matches(names, pattern)
    groups = len({group_of(name, pattern) for name in names})
    return f"--group fits {fitting} of {len(names)} names, which makes {counted(groups, 'group')}"
