"""Decides what a data set will hold: scans the sources and plans, or takes up the plan that is recorded."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from shm_data import backgrounds, foregrounds, images
from shm_data.backgrounds import Pool
from shm_data.errors import ShmDataError, Skipped
from shm_data.layout import SPLITS, Layout, make_folders
from shm_data.manifest import (
    Counts,
    Manifest,
    by_reason,
    fingerprint,
    read_manifest,
    refuse_other_options,
    versions,
    write_manifest,
)
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.recipes import (
    Recipe,
    plan,
    read_recipes,
    split_backgrounds,
    split_foregrounds,
    splits_to_composite,
    write_recipes,
)
from shm_data.sources import Background, Foreground


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: the record, and the recipes one by one as often as asked."""

    manifest: Manifest
    recipes: Callable[[], Iterator[Recipe]]
    recorded: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """Everything that a plan depends on, but for the backgrounds that turn out broken."""

    foregrounds: tuple[Foreground, ...]
    backgrounds: tuple[Background, ...]
    options: CompositeOptions
    known: Mapping[str, str]

    def recipes(self, unusable: AbstractSet[str]) -> Iterator[Recipe]:
        """The recipes without the unusable backgrounds."""
        return plan(self.foregrounds, self.backgrounds, self.options, unusable=unusable, known=self.known)


def decide(options: CompositeOptions, savedir: Path, jobs: int = -1, progress: Progress = quiet) -> Decision:
    """Scans the sources and plans, or takes up the plan recorded in `savedir`; writes nothing.

    Raises ShmDataError where a source is at fault, or `savedir` holds another data set.
    """
    layout = Layout(savedir)
    _refuse_inside(savedir, options)
    old = read_manifest(layout)
    if old is not None:
        refuse_other_options(old, options, layout)
    found = foregrounds.scan(options)
    pool = _scan_backgrounds(options, jobs, progress)
    roots = {label: path.absolute() for label, path in (found.roots | pool.roots).items()}
    mark = fingerprint(found, pool)
    if old is not None and old.fingerprint == mark:
        moved = old.model_copy(update={"roots": roots, "options": options, "complete": False})
        return Decision(moved, lambda: read_recipes(layout.recipes), recorded=True)
    subjects = foregrounds.inspect_all(found, options, jobs, progress)
    known = {} if old is None else {recipe.foreground: recipe.split for recipe in read_recipes(layout.recipes)}
    planned = Planned(tuple(subjects), pool.backgrounds, options, known)
    broken = _find_broken(planned, jobs, progress)

    def recipes() -> Iterator[Recipe]:
        return planned.recipes(broken.keys())

    if old is not None:
        _require_extension(layout, recipes())
    manifest = Manifest(
        complete=False,
        options=options,
        versions=versions(),
        roots=roots,
        counts=_count(recipes()),
        notes=tuple(_notes(planned)),
        skipped=by_reason([*found.skipped, *pool.skipped, *broken.values()]),
        fingerprint=mark,
        foregrounds=planned.foregrounds,
    )
    if manifest.counts.samples == 0:
        raise ShmDataError("nothing to make", found="--numbg 0 without originals", wanted="--numbg 1 or more")
    return Decision(manifest, recipes, recorded=False)


def record(decision: Decision, layout: Layout) -> None:
    """Writes the plan down: first the recipes, then the record that vouches for them."""
    make_folders(layout.root)
    if not decision.recorded:
        write_recipes(layout.recipes, decision.recipes())
    write_manifest(layout, decision.manifest)


def _scan_backgrounds(options: CompositeOptions, jobs: int, progress: Progress) -> Pool:
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
    if not pool.backgrounds and pool.skipped:
        why = "; ".join(f"{len(what)} ({reason})" for reason, what in by_reason(pool.skipped).items())
        raise ShmDataError(
            "no usable backgrounds",
            found=f"{len(pool.skipped)} left out: {why}",
            wanted="photos known to show nobody, a --bgdir, or --people",
        )
    return pool


def _find_broken(planned: Planned, jobs: int, progress: Progress) -> dict[str, Skipped]:
    """The backgrounds that a plan would use and that do not decode. What replaces them is tried in turn."""
    by_key = {background.key: background for background in planned.backgrounds}
    broken: dict[str, Skipped] = {}
    tried: set[str] = set()
    while True:
        used = {recipe.background for recipe in planned.recipes(broken.keys()) if recipe.background is not None}
        untried = sorted(used - tried)
        results = spread(_try_background, (by_key[key] for key in untried), jobs, ordered=True)
        faults = [fault for fault in progress(results, len(untried), "reading backgrounds") if fault is not None]
        if not faults:
            return broken
        tried.update(untried)
        broken |= {fault.what: fault for fault in faults}


def _try_background(background: Background) -> Skipped | None:
    try:
        images.read_image(background.path)
    except ShmDataError:
        return Skipped(background.key, "is broken")
    return None


def _require_extension(layout: Layout, recipes: Iterable[Recipe]) -> None:
    """Raises ShmDataError unless the new plan holds every recipe of the old one, in its order, and adds to them."""
    recorded = read_recipes(layout.recipes)
    awaited = next(recorded, None)
    for recipe in recipes:
        if recipe == awaited:
            awaited = next(recorded, None)
    if awaited is not None:
        raise ShmDataError(
            f"{layout.root} was made from other sources",
            found=f"no way to make {awaited.name} as it was recorded",
            wanted="all the foregrounds and backgrounds of then (more foregrounds are welcome), or another --savedir",
        )


def _count(recipes: Iterable[Recipe]) -> Counts:
    splits = dict.fromkeys(SPLITS, 0)
    subjects, used = set(), set()
    for recipe in recipes:
        splits[recipe.split] += 1
        subjects.add(recipe.foreground)
        used.add(recipe.background)
    return Counts(samples=sum(splits.values()), **splits, foregrounds=len(subjects), backgrounds=len(used - {None}))


def _notes(planned: Planned) -> Iterator[str]:
    """What a user should know before training on the set."""
    options, subjects = planned.options, planned.foregrounds
    sides = split_foregrounds(subjects, options, planned.known)
    wanted = splits_to_composite(subjects, sides, options)
    pools = split_backgrounds(planned.backgrounds, options, wanted) if wanted else {}
    for side, some in sorted(pools.items()):
        if len(some) < options.numbg:
            yield f"{side} has {len(some)} backgrounds for --numbg {options.numbg}: drawn again, with other crops"
    if len(set(sides.values())) == 1 and 0 < options.trainsplit < 1:
        yield f"all foregrounds are in {sides[subjects[0].files.name]}: the other split has no samples"
    if options.originals and any(subject.files.alpha is None for subject in subjects):
        yield "cut-outs have no original photo: they give composites only"
    for subject in subjects:
        if subject.missing:
            yield f"{subject.files.name}: its trimap has no {' and no '.join(subject.missing)}"


def _refuse_inside(savedir: Path, options: CompositeOptions) -> None:
    """What is written must not become a source of the next run."""
    single = (options.inimg, options.inalp, options.intri, options.pubdir, options.trimapdir)
    for folder in (*single, *options.vocroot, *options.cocoroot, *options.bgdir):
        if folder is not None and savedir.resolve().is_relative_to(folder.resolve()):
            raise ShmDataError("--savedir", found=f"{savedir} inside {folder}", wanted="a folder outside the sources")
