"""Makes the plan of a data set from its sources, or takes up the recorded one."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Manifest, by_reason, versions
from shm_data.dataset.recipes import Recipe
from shm_data.dataset.store import Dataset, Plan
from shm_data.errors import ShmDataError, Skipped
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet
from shm_data.planning.draw import TooFewBackgroundsError, draw_recipes, listed_in_val, split_foregrounds
from shm_data.planning.notes import notes
from shm_data.planning.scan import Sources, refuse_inside, scan, skipped_as_phrase
from shm_data.planning.survey import Survey, survey
from shm_data.sources import Foreground, backgrounds, decoys, foregrounds
from shm_data.sources.foregrounds import Inspected


def make_plan(
    sources: Sources,
    options: CompositeOptions,
    recorded: Plan | None = None,
    jobs: int = -1,
    progress: Progress = quiet,
) -> Plan:
    """Return the recorded plan where the sources are the same; else draw a new one, which begins with the recorded.

    Every foreground, and every background that the plan uses, is read. Raises ShmDataError where a foreground cannot
    be used, a split has no backgrounds, or other sources would change recorded samples.
    """
    previous = recorded.manifest if recorded else None
    options = _with_licences(options, previous, sources.roots)
    if recorded is not None and recorded.manifest.fingerprint == sources.fingerprint:
        if options.val != recorded.manifest.options.val:
            split_foregrounds(recorded.manifest.foregrounds, options, _splits(recorded), ())
        return _resume(recorded, options, sources.roots)
    known = _splits(recorded) if recorded else {}
    inspected = foregrounds.inspect_all(sources.foregrounds, options, jobs, progress)
    listed = dict.fromkeys(listed_in_val(sources.foregrounds.files, options), "val")
    people, copies, conflicts = _without_conflicts(inspected, known, listed | known)
    pool = sources.backgrounds.backgrounds
    decoys.require_cutouts(sources.decoys, sources.roots, jobs, progress)

    def draw(broken: AbstractSet[str]) -> Iterator[Recipe]:
        return draw_recipes(
            people, pool, options, unusable=broken, known_splits=known, copies=copies, decoys=sources.decoys
        )

    known_files = previous.sources if previous else {}
    try:
        files = survey(
            draw,
            people,
            pool,
            decoys=sources.decoys,
            roots=sources.roots,
            known=known_files,
            jobs=jobs,
            progress=progress,
        )
    except TooFewBackgroundsError as error:
        found = f"{error.found}{skipped_as_phrase(sources.backgrounds.skipped)}"
        raise ShmDataError(error.what, found=found, expected=error.expected) from error
    if recorded is not None:
        _require_same_beginning(recorded, draw(files.broken.keys()))
    remarks = notes(sources, people, files, options, known_splits=known, copies=copies, oddities=inspected.oddities)
    skipped = [*sources.foregrounds.skipped, *conflicts, *sources.backgrounds.skipped, *files.broken.values()]
    all_notes = (*remarks, *sources.backgrounds.notes)
    manifest = _manifest(sources, options, people, files, skipped=by_reason(skipped), remarks=all_notes)
    # Copies among recorded backgrounds stay.
    manifest = manifest.model_copy(update={"distinct": previous is None or previous.distinct})
    return Plan(manifest, lambda: draw(files.broken.keys()), previous=previous)


def _splits(recorded: Plan) -> dict[str, str]:
    """Return the recorded split of each foreground by name."""
    return {recipe.foreground: recipe.split for recipe in recorded.recipes()}


def _without_conflicts(
    inspected: Inspected, known: Mapping[str, str], chosen: Mapping[str, str]
) -> tuple[tuple[Foreground, ...], tuple[tuple[str, str], ...], list[Skipped]]:
    """Return the foregrounds and copies without copies whose splits are fixed and differ, and what is skipped.

    Of such two, recorded ones stay; else that of train is skipped.
    """
    by_name = {foreground.files.name: foreground for foreground in inspected.foregrounds}
    fixed = {name: chosen.get(name) or foreground.files.split for name, foreground in by_name.items()}
    dropped: dict[str, Skipped] = {}
    for pair in inspected.copies:
        if {fixed[name] for name in pair} != set(SPLITS) or not dropped.keys().isdisjoint(pair):
            continue
        for name in sorted(set(pair) - known.keys(), key=lambda name: fixed[name] != "train")[:1]:
            dropped[name] = Skipped(by_name[name].files.image, "nearly a copy of a foreground in the other split")
    people = tuple(foreground for name, foreground in by_name.items() if name not in dropped)
    copies = tuple(
        pair
        for pair in inspected.copies
        if dropped.keys().isdisjoint(pair) and {fixed[name] for name in pair} != set(SPLITS)
    )
    return people, copies, list(dropped.values())


def current_plan(
    dataset: Dataset,
    options: CompositeOptions,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    verify: bool = False,
) -> Plan:
    """Return the plan for a folder as it is now; write nothing. Raises ShmDataError as `scan` and `make_plan` do."""
    refuse_inside("--savedir", dataset.root, options)
    recorded = dataset.recorded_plan()
    sources = scan(options, recorded.manifest if recorded else None, jobs, progress, verify=verify)
    return make_plan(sources, options, recorded, jobs, progress)


def _resume(recorded: Plan, options: CompositeOptions, roots: Mapping[str, Path]) -> Plan:
    """Return the recorded plan, to be completed."""
    old = recorded.manifest
    changed = [f"{name} {now}" for name, now in versions().items() if old.versions.get(name) != now]
    remarks = [f"resumed with {', '.join(changed)}: new files may differ in their last bits"] if changed else []
    update = {
        "roots": dict(roots),
        "options": options.without_paths(),
        "complete": False,
        "notes": tuple(dict.fromkeys([*old.notes, *remarks])),
    }
    return Plan(old.model_copy(update=update), recorded.recipes, recorded=True, previous=old)


def _manifest(
    sources: Sources,
    options: CompositeOptions,
    people: tuple[Foreground, ...],
    files: Survey,
    *,
    skipped: dict[str, tuple[str, ...]],
    remarks: tuple[str, ...],
) -> Manifest:
    if files.tally.counts.samples == 0:
        raise ShmDataError("nothing to make", found="--numbg 0 without originals", expected="--numbg 1 or more")
    return Manifest(
        complete=False,
        options=options.without_paths(),
        versions=versions(),
        roots=dict(sources.roots),
        counts=files.tally.counts,
        notes=remarks,
        skipped=skipped,
        sources=files.fingerprints,
        fingerprint=sources.fingerprint,
        digest="",
        foregrounds=people,
        layouts=dict(sources.foregrounds.layouts),
        licences=backgrounds.licences(sources.roots, files.fingerprints),
    )


def _require_same_beginning(recorded: Plan, recipes: Iterator[Recipe]) -> None:
    """Raise ShmDataError unless the new plan begins with the recorded one."""
    for old in recorded.recipes():
        if next(recipes, None) != old:
            raise ShmDataError(
                "the data set was made from other sources",
                found=f"another recipe for {old.name}",
                expected="the same backgrounds as before (foregrounds may be added), or another --savedir",
            )


def _with_licences(
    options: CompositeOptions, previous: Manifest | None, roots: Mapping[str, Path]
) -> CompositeOptions:
    """Return the options with the licences given before, too. Raises ShmDataError for a licence of no source."""
    unknown = [name for name in options.license if name not in roots]
    if unknown:
        raise ShmDataError("--license", found=f"{unknown[0]}, which is no source", expected=" or ".join(roots))
    licences = (previous.options.license if previous else {}) | options.license
    return options.model_copy(update={"license": licences})
