"""Makes a data set: scan, plan, make every sample that is missing, then write the lists."""

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from shm_data import images
from shm_data.building.executors import Executor, Threads, Work, Workers
from shm_data.building.worker import ForegroundJob, Link, RunContext
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest, changed_sources
from shm_data.dataset.recipes import Recipe, read_recipes
from shm_data.dataset.store import Dataset, Plan
from shm_data.errors import BusyError, ShmDataError
from shm_data.files import make_folders
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.planning.plan import current_plan
from shm_data.sources import Foreground

# Seconds between two looks at a folder that another part is writing to, and for which a part waits for its turn:
# the others keep the folder to themselves only while they write the plan or the lists.
_PAUSE = 1.0
_PATIENCE = 10.0

_log = logging.getLogger(__name__)

THREADS = Threads()


def composite(
    options: CompositeOptions,
    savedir: Path,
    executor: Executor = THREADS,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    verify: bool = False,
) -> Manifest:
    """Make a data set in `savedir`, or complete one that was begun, and return its record.

    Samples with the same alpha or trimap share one file by a hard `link`. When a set is resumed, its sources must be
    what they were. `verify` compares their contents, and makes samples again whose files do not decode. A `Part`
    leaves the set incomplete until all parts are made.
    Raises ShmDataError where the input or the folder is at fault, or samples could not be made; what was written
    stays, and the same call resumes.
    """
    dataset = Dataset(savedir)
    with executor.started() as workers:
        plan = adopt_plan(options, dataset, executor, workers, progress, verify=verify)
        with _turn(dataset, executor):
            make_samples(plan, dataset, executor, workers, progress, link=link, verify=verify)
    return _finish(plan, dataset, executor)


def write_plan(options: CompositeOptions, savedir: Path, jobs: int = -1, progress: Progress = quiet) -> Manifest:
    """Record what `composite` would make in `savedir`, make nothing of it, and return the record.

    Raises ShmDataError as `composite` does.
    """
    dataset = Dataset(savedir)
    plan = current_plan(dataset, options, jobs, progress)
    if plan.recorded and plan.previous is not None:
        return plan.previous
    with dataset.locked():
        dataset.layout.clear_leftovers()
        return dataset.adopt(plan).manifest


def finish_parts(savedir: Path) -> Manifest:
    """Complete a data set of which all parts are made. Raises ShmDataError that names missing samples."""
    dataset = Dataset(savedir)
    if not savedir.is_dir():
        raise ShmDataError(path=savedir, found="no folder", expected="a data set begun with --part")
    with dataset.locked():
        plan = dataset.recorded_plan()
        if plan is None:
            raise ShmDataError(path=savedir, found="no dataset.json", expected="a data set begun with --part")
        dataset.layout.clear_leftovers()
        missing = [name for _, name in dataset.missing(plan)]
        if missing:
            found = f"{len(missing)} missing: {', '.join(missing[:5])}" + ", ..." * (len(missing) > 5)
            raise ShmDataError(path=savedir, found=found, expected=f"all {plan.manifest.counts.samples} samples")
        return dataset.finish(plan)


def adopt_plan(
    options: CompositeOptions,
    dataset: Dataset,
    executor: Executor,
    workers: Workers,
    progress: Progress = quiet,
    *,
    verify: bool = False,
) -> Plan:
    """Return the recorded plan, after recording it where it is new. Of several parts the first records it."""
    waited = False
    while True:
        plan = current_plan(dataset, options, executor.jobs, progress, verify=verify)
        if plan.recorded and executor.shared:
            return plan
        try:
            with dataset.locked():
                dataset.layout.clear_leftovers()
                workers.require(plan, dataset)
                return dataset.adopt(plan)
        except BusyError:
            if not executor.shared:
                raise
        if not waited:
            _log.warning("%s is being written to: this part waits for the plan", dataset.root)
        waited = True
        time.sleep(_PAUSE)


def make_samples(
    plan: Plan,
    dataset: Dataset,
    executor: Executor,
    workers: Workers,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    verify: bool = False,
) -> None:
    """Make the samples of a recorded plan that are this run's and are missing, or, to `verify`, broken.

    Raises ShmDataError that names the samples which could not be made, once all others are made.
    """
    layout = Layout(dataset.root.absolute())
    if not layout.manifest.exists():  # without its record, the next run would not know the folder
        raise BusyError("was removed meanwhile", path=dataset.root, expected="the same command again")
    make_folders(*layout.folders, parents=False)
    indices = executor.indices(plan.manifest.counts.samples)
    belongs = plan.manifest.membership()

    def recipes() -> Iterator[Recipe]:
        return read_recipes(layout.recipes, indices.stop, indices.start, belongs=belongs)

    present = _present(layout, plan, recipes(), shared=executor.shared)
    if verify:
        present -= _broken(layout, present, executor.jobs, progress)
    missing = sum(recipe.name not in present for recipe in recipes()) if present else len(indices)
    if not missing:
        return
    context = RunContext(plan.manifest.options, plan.manifest.roots, layout, link)
    people = {foreground.files.name: foreground for foreground in plan.manifest.foregrounds}
    jobs = _jobs(recipes(), people, present, context)
    outcomes = itertools.chain.from_iterable(workers.run(jobs, Work.of(plan.manifest, missing)))
    faults = [outcome for outcome in progress(outcomes, missing, "compositing") if outcome.fault]
    changes = changed_sources(plan.manifest, plan.manifest.roots)
    _remove_made_of(changes, plan.manifest, layout, (recipe for recipe in recipes() if recipe.name not in present))
    if faults:
        faults.sort(key=lambda outcome: outcome.name)
        what = f"{len(faults)} of {len(indices)} samples could not be made; the others are kept"
        raise ShmDataError(what, faults=[f"{outcome.name}: {outcome.fault}" for outcome in faults])
    if changes:
        what = "sources changed while samples were made of them; restore them, and run the same command again"
        raise ShmDataError(
            what, faults=[f"{what}: {fault}" if len(changes) == 1 else fault for fault in changes.values()]
        )


def _remove_made_of(
    changes: Mapping[str, object], manifest: Manifest, layout: Layout, made: Iterator[Recipe]
) -> None:
    """Remove the images of samples made of sources that changed meanwhile, so that the next run makes them again."""
    for recipe in made if changes else ():
        if not changes.keys().isdisjoint(manifest.keys_of(recipe)):
            layout.sample(recipe.name)[0].unlink(missing_ok=True)


@contextlib.contextmanager
def _turn(dataset: Dataset, executor: Executor) -> Iterator[None]:
    """Lock the folder for making samples; a part shares it, and waits a while for its turn."""
    deadline = time.monotonic() + _PATIENCE * executor.shared
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(dataset.locked(shared=executor.shared))
                break
            except BusyError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)
        yield


def _finish(plan: Plan, dataset: Dataset, executor: Executor) -> Manifest:
    """Complete the data set, unless other parts are not made yet."""
    if executor.missing(plan, dataset):
        return plan.manifest
    try:
        with dataset.locked():
            dataset.layout.clear_leftovers()
            return dataset.finish(plan)
    except BusyError:
        if executor.shared:  # another part ends at this moment, and will see that all samples are there
            return plan.manifest
        raise


def _present(layout: Layout, plan: Plan, recipes: Iterator[Recipe], *, shared: bool) -> set[str]:
    """Return the names of samples that are there. A part looks at its own alone: the folder may be huge."""
    if shared:
        return {recipe.name for recipe in recipes if layout.holds(recipe.name)}
    return layout.present(plan.manifest.options.extension)


def _broken(layout: Layout, names: set[str], jobs: int, progress: Progress) -> set[str]:
    """Return the names of samples with a file that does not decode; they are named in the log."""

    def check(name: str) -> str:
        try:
            for path in layout.sample(name):
                images.read_channels(path)
        except ShmDataError as error:
            _log.warning("%s; it is made again", error)
            return name
        return ""

    checked = spread(check, sorted(names), jobs, ordered=True, batch=16)
    return set(progress(checked, len(names), "reading samples")) - {""}


def _jobs(
    recipes: Iterator[Recipe], people: Mapping[str, Foreground], present: set[str], context: RunContext
) -> Iterator[ForegroundJob]:
    """Return the foregrounds with missing samples, one by one, with the recipes of these."""
    for name, some in itertools.groupby(recipes, key=lambda recipe: recipe.foreground):
        if missing := [recipe for recipe in some if recipe.name not in present]:
            partners = {recipe.partner for recipe in missing if recipe.partner is not None}
            yield ForegroundJob(people[name], missing, context, {partner: people[partner] for partner in partners})
