"""Decides what a data set will hold: scans the sources and plans, or takes up the plan that is recorded."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from shm_data import images
from shm_data.dataset.fingerprints import Fingerprint, fingerprint_of
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.manifest import (
    Counts,
    Manifest,
    by_reason,
    fingerprint,
    read_manifest,
    refuse_changed_sources,
    refuse_other_options,
    versions,
    write_manifest,
)
from shm_data.dataset.recipes import Recipe, read_recipes, write_recipes
from shm_data.errors import MACHINE, BusyError, ShmDataError, Skipped, counted
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.planning import partners
from shm_data.planning.plan import plan, split_backgrounds, split_foregrounds, splits_to_composite
from shm_data.planning.splits import group_of
from shm_data.sources import backgrounds, foregrounds
from shm_data.sources.backgrounds import Pool
from shm_data.sources.foregrounds import Found
from shm_data.sources.types import Background, Foreground, path_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: the record, and the recipes one by one as often as asked.

    `found` is the record that was in the folder before; if it is `recorded`, the plan is the one found.
    """

    manifest: Manifest
    recipes: Callable[[], Iterator[Recipe]]
    recorded: bool
    found: Manifest | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What reading all files of a plan gave: counts, the files' fingerprints, and the broken backgrounds."""

    counts: Counts
    fingerprints: dict[str, Fingerprint]
    broken: Mapping[str, Skipped]


@dataclass(frozen=True, slots=True)
class Planned:
    """Everything that a plan depends on, but for the backgrounds that turn out broken."""

    foregrounds: tuple[Foreground, ...]
    backgrounds: tuple[Background, ...]
    roots: Mapping[str, Path]
    options: CompositeOptions
    known: Mapping[str, str]
    layouts: Mapping[str, str]

    def recipes(self, unusable: AbstractSet[str]) -> Iterator[Recipe]:
        """The recipes without the unusable backgrounds."""
        return plan(self.foregrounds, self.backgrounds, self.options, unusable=unusable, known=self.known)


def decide(
    options: CompositeOptions, savedir: Path, jobs: int = -1, progress: Progress = quiet, *, verify: bool = False
) -> Decision:
    """Scans the sources and plans, or takes up the plan recorded in `savedir`; writes nothing.

    Raises ShmDataError where a source is at fault, or `savedir` holds a set of other options or sources; to
    `verify` these is to read all of their files.
    """
    layout = Layout(savedir)
    refuse_inside("--savedir", savedir, options)
    return _decide(options, layout, read_manifest(layout), jobs, progress, verify=verify)


def decide_anew(options: CompositeOptions, jobs: int = -1, progress: Progress = quiet) -> Decision:
    """What a data set in a new folder would hold. Raises ShmDataError where a source is at fault."""
    return _decide(options, Layout(Path()), None, jobs, progress, verify=False)


def _decide(
    options: CompositeOptions, layout: Layout, old: Manifest | None, jobs: int, progress: Progress, *, verify: bool
) -> Decision:
    """The plan, after that of the `old` record in the folder of the layout, if there is one."""
    if old is not None:
        refuse_other_options(old, options, layout)
    then = ([foreground.files for foreground in old.foregrounds], old.layouts) if old else ((), None)
    found = foregrounds.scan(options, *then)
    pool = _scan_backgrounds(options, found, jobs, progress)
    roots = _absolute(found.roots | pool.roots)
    options = _licensed(options, old, roots)
    if old is not None:
        refuse_changed_sources(old, roots, verify=verify, jobs=jobs, progress=progress)
    mark = fingerprint(found, pool)
    if old is not None and old.fingerprint == mark:
        return _resumed(old, options, roots, layout)
    known = {} if old is None else {recipe.foreground: recipe.split for recipe in _recorded(old, layout)}
    people = tuple(foregrounds.inspect_all(found, options, jobs, progress))
    planned = Planned(people, pool.backgrounds, roots, options, known, found.layouts)
    survey = _survey(planned, old.sources if old else {}, jobs, progress)
    if old is not None:
        _require_extension(_recorded(old, layout), planned.recipes(survey.broken.keys()), layout)
    skipped = [*found.skipped, *pool.skipped, *survey.broken.values()]
    manifest = _manifest(planned, survey, roots, by_reason(skipped), mark)
    return Decision(manifest, lambda: planned.recipes(survey.broken.keys()), recorded=False, found=old)


def record(decision: Decision, layout: Layout) -> Decision:
    """Writes the plan down: first the recipes, then the record that vouches for them.

    A run killed between the two leaves recipes that the old record, if any, still finds its own among.
    Raises BusyError where another run has written since the decision.
    """
    if read_manifest(layout) != decision.found:
        raise BusyError(f"{layout.root} has been written to by another run", expected="the same command again")
    manifest = decision.manifest
    if not decision.recorded:
        manifest = manifest.model_copy(update={"digest": write_recipes(layout.recipes, decision.recipes())})
    write_manifest(layout, manifest)
    return Decision(manifest, lambda: _recorded(manifest, layout), recorded=True, found=manifest)


def recorded(layout: Layout) -> Decision | None:
    """The plan that is recorded in a folder, None where there is none. Raises ShmDataError where it is broken."""
    manifest = read_manifest(layout)
    if manifest is None:
        return None
    return Decision(manifest, lambda: _recorded(manifest, layout), recorded=True, found=manifest)


def _recorded(manifest: Manifest, layout: Layout) -> Iterator[Recipe]:
    return read_recipes(layout.recipes, manifest.counts.samples)


def _resumed(old: Manifest, options: CompositeOptions, roots: dict[str, Path], layout: Layout) -> Decision:
    """The recorded plan, to be gone on with."""
    changed = [f"{name} {now}" for name, now in versions().items() if old.versions.get(name) != now]
    notes = [f"gone on with {', '.join(changed)}: new files may differ in their last bits"] if changed else []
    update = {
        "roots": roots,
        "options": options,
        "complete": False,
        "notes": tuple(dict.fromkeys([*old.notes, *notes])),
    }
    return Decision(old.model_copy(update=update), lambda: _recorded(old, layout), recorded=True, found=old)


def _manifest(
    planned: Planned,
    survey: Survey,
    roots: dict[str, Path],
    skipped: dict[str, tuple[str, ...]],
    mark: str,
) -> Manifest:
    if survey.counts.samples == 0:
        raise ShmDataError("nothing to make", found="--numbg 0 without originals", expected="--numbg 1 or more")
    return Manifest(
        complete=False,
        options=planned.options,
        versions=versions(),
        roots=roots,
        counts=survey.counts,
        notes=tuple(_notes(planned, survey.broken.keys())),
        skipped=skipped,
        sources=survey.fingerprints,
        fingerprint=mark,
        digest="",
        foregrounds=planned.foregrounds,
        layouts=dict(planned.layouts),
        licences=backgrounds.licences(roots, survey.fingerprints),
    )


def _scan_backgrounds(options: CompositeOptions, found: Found, jobs: int, progress: Progress) -> Pool:
    """The backgrounds, without files that are or may be foregrounds, alphas or trimaps of this very set."""
    if options.numbg == 0 or options.inimg is None:
        return Pool((), {}, ())
    pool = backgrounds.scan(
        vocroot=options.vocroot,
        vocset=options.vocset,
        cocoroot=options.cocoroot,
        bgdir=options.bgdir,
        people=options.people,
        jobs=jobs,
        progress=progress,
    )
    pool = _without_foregrounds(pool, found)
    if not pool.backgrounds and pool.skipped:
        why = "; ".join(f"{len(what)} ({reason})" for reason, what in by_reason(pool.skipped).items())
        raise ShmDataError(
            "no usable backgrounds",
            found=f"{len(pool.skipped)} left out: {why}",
            expected="photos known to show nobody, a --bgdir, or --people",
        )
    return pool


def _without_foregrounds(pool: Pool, found: Found) -> Pool:
    """Drops what lies in a folder of foregrounds, unless the backgrounds' own folder lies deeper in it."""
    homes = {root.resolve() for root in found.roots.values()}
    strange = {label: homes - set(root.resolve().parents) for label, root in pool.roots.items()}

    @functools.cache  # a folder's links are followed once, not once for each of its photos
    def around(folder: Path) -> set[Path]:
        return {folder.resolve(), *folder.resolve().parents}

    def is_own(background: Background) -> bool:
        place = background.path.resolve() if background.path.is_symlink() else background.path
        return bool(strange[background.key.partition("/")[0]] & around(place.parent))

    own = set(filter(is_own, pool.backgrounds))
    skipped = [Skipped(b.key, "lies in a folder of the foregrounds") for b in pool.backgrounds if b in own]
    usable = tuple(background for background in pool.backgrounds if background not in own)
    return replace(pool, backgrounds=usable, skipped=(*pool.skipped, *skipped))


def _survey(planned: Planned, known: Mapping[str, Fingerprint], jobs: int, progress: Progress) -> Survey:
    """Reads all that the plan uses. What replaces a background that does not decode is tried in turn."""
    files = [(f.files.image, f.files.alpha, f.files.trimap) for f in planned.foregrounds]
    keys = [key for some in files for key in some if key is not None]
    paths = {background.key: background.path for background in planned.backgrounds}
    fingerprints: dict[str, Fingerprint] = dict(known)
    broken: dict[str, Skipped] = {}
    while True:
        counts, used = _count(planned.recipes(broken.keys()))
        untried = sorted(used - fingerprints.keys())
        results = spread(_try_background, ((key, paths[key]) for key in untried), jobs, ordered=True, batch=16)
        tried = list(progress(results, len(untried), "reading backgrounds"))
        faults = {result.what: result for result in tried if isinstance(result, Skipped)}
        fingerprints |= {
            key: result for key, result in zip(untried, tried, strict=True) if isinstance(result, Fingerprint)
        }
        broken |= faults
        if not faults:
            break
    unread = [key for key in keys if key not in fingerprints]
    stamped = spread(lambda key: fingerprint_of(path_of(key, planned.roots)), unread, jobs, ordered=True, batch=16)
    fingerprints |= zip(unread, stamped, strict=True)
    return Survey(counts, {key: fingerprints[key] for key in (*sorted(used), *keys)}, broken)


def _try_background(background: tuple[str, Path]) -> Fingerprint | Skipped:
    key, path = background
    try:
        images.read_image(path)
        return fingerprint_of(path)
    except ShmDataError as error:
        return Skipped(key, error.reason)
    except OSError as error:
        if error.errno in MACHINE:
            raise
        return Skipped(key, f"cannot be read: {error.strerror}")


def _require_extension(recorded: Iterator[Recipe], recipes: Iterator[Recipe], layout: Layout) -> None:
    """Raises ShmDataError unless the new plan begins with the recorded one."""
    for awaited in recorded:
        if next(recipes, None) != awaited:
            raise ShmDataError(
                f"{layout.root} was made from other sources",
                found=f"another recipe for {awaited.name}",
                expected="the same backgrounds as then (foregrounds may be added), or another --savedir",
            )


def _count(recipes: Iterable[Recipe]) -> tuple[Counts, set[str]]:
    """How many samples there are, and the keys of the backgrounds that are used."""
    splits = dict.fromkeys(SPLITS, 0)
    names: set[str] = set()
    used: set[str] = set()
    for recipe in recipes:
        splits[recipe.split] += 1
        names.add(recipe.foreground)
        if recipe.background is not None:
            used.add(recipe.background)
    samples = sum(splits.values())
    return Counts(samples=samples, **splits, foregrounds=len(names), backgrounds=len(used)), used


def _licensed(options: CompositeOptions, old: Manifest | None, roots: Mapping[str, Path]) -> CompositeOptions:
    """The options with the licences that were told before, too. Raises ShmDataError for one of no source."""
    strange = [name for name in options.license if name not in roots]
    if strange:
        raise ShmDataError("--license", found=f"{strange[0]}, which is no source", expected=" or ".join(roots))
    told = (old.options.license if old else {}) | options.license
    return options.model_copy(update={"license": told})


def _absolute(roots: Mapping[str, Path]) -> dict[str, Path]:
    """Where the sources are, wherever the next run starts. Raises ShmDataError for a path that JSON cannot hold."""
    for path in roots.values():
        try:
            str(path.absolute()).encode()
        except UnicodeEncodeError as error:
            raise ShmDataError(f"the folder {os.fsencode(path)!r}", expected="a path in UTF-8") from error
    return {label: path.absolute() for label, path in roots.items()}


def _notes(planned: Planned, unusable: AbstractSet[str]) -> Iterator[str]:
    """What a user should know before training on the set."""
    options, people = planned.options, planned.foregrounds
    yield from foregrounds.layout_notes(planned.layouts)
    sides = split_foregrounds(people, options, planned.known)
    needed = splits_to_composite(people, sides, options)
    pools = split_backgrounds(planned.backgrounds, options, needed) if needed else {}
    for side, some in sorted(pools.items()):
        usable = sum(background.key not in unusable for background in some)
        if usable < options.numbg:
            has = f"{side} has {counted(usable, 'background')} for --numbg {options.numbg}"
            yield f"{has}: drawn again, with other crops"
    if len(set(sides.values())) == 1 and 0 < options.trainsplit < 1:
        yield f"all foregrounds are in {sides[people[0].files.name]}: the other split has no samples"
    if options.group:
        yield _note_on_groups([foreground.files.name for foreground in people], options.group)
    yield from _notes_on_augmenting(planned, sides)
    if options.originals and any(foreground.files.alpha is None for foreground in people):
        yield "cut-outs have no original photo: they give composites only"
    for foreground in people:
        if foreground.missing:
            yield f"{foreground.files.name}: its trimap has no {' and no '.join(foreground.missing)}"


def _notes_on_augmenting(planned: Planned, sides: Mapping[str, str]) -> Iterator[str]:
    """What was asked for, and cannot be done to a single foreground."""
    options = planned.options
    train = [foreground for foreground in planned.foregrounds if sides[foreground.files.name] == "train"]
    able = sum(map(partners.can_pair, train))
    for name, least in (("over", 2), ("place", 1)):
        if name in options.augment and able < least:
            has = f"train has {counted(able, 'foreground')} without a trimap of its own"
            yield f"--augment {name} changes nothing: {has}"


def _note_on_groups(names: Sequence[str], pattern: str) -> str:
    fitting = sum(re.search(pattern, name) is not None for name in names)
    groups = len({group_of(name, pattern) for name in names})
    return f"--group fits {fitting} of {len(names)} names; all in all there are {groups} groups"


def refuse_inside(option: str, path: Path, options: CompositeOptions) -> None:
    """Raises ShmDataError where what is written to the path of an option would be a source of the next run."""
    single = (options.inimg, options.inalp, options.intri, options.pubdir, options.trimapdir)
    for folder in (*single, *options.vocroot, *options.cocoroot, *options.bgdir):
        if folder is not None and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise ShmDataError(option, found=f"{path} inside {folder}", expected="a folder outside the sources")
