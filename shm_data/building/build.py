"""Carries a plan out: has every sample made that is not there yet, then writes the lists."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shm_data import images
from shm_data.building.worker import (
    Easel,
    Link,
    Order,
    Outcome,
    Task,
    build_task,
    encode_image,
    make_alone,
)
from shm_data.dataset.card import Share, card, write_card
from shm_data.dataset.layout import SPLITS, Layout, write_lists
from shm_data.dataset.manifest import Manifest, write_manifest
from shm_data.dataset.recipes import Recipe, read_recipes
from shm_data.errors import ShmDataError
from shm_data.files import locked, make_folders
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, count_workers, quiet, spread
from shm_data.planning.decide import Decision, decide, record
from shm_data.sources.types import Foreground


class Crew(Protocol):
    """Who makes the samples: so many `hands` at once, of tasks with at `most` so many samples each."""

    @property
    def hands(self) -> int:
        """How many tasks are in work at once."""

    @property
    def most(self) -> int:
        """Few samples in a task, and all hands end together; many, and a task costs nothing."""

    def make(self, tasks: Iterator[Task], size: int) -> Iterator[list[Outcome]]:
        """Carries tasks of at most `size` samples out, drawn as they are needed; tells what became of these."""


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of this process, which share easels: so their tasks may be small."""

    jobs: int = -1
    most: int = 16

    @property
    def hands(self) -> int:
        """How many there are."""
        return count_workers(self.jobs)

    def make(self, tasks: Iterator[Task], size: int) -> Iterator[list[Outcome]]:
        """Carries the tasks out."""
        del size
        return spread(build_task, tasks, self.jobs)


_ALL_CORES = Threads()


def composite(
    options: CompositeOptions,
    savedir: Path,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    verify: bool = False,
) -> Manifest:
    """Builds a data set in `savedir`, or completes one that was begun, and gives its record.

    Samples with the same alpha or trimap share one file by hard `link`s. A set that is gone on with must have the
    sources of then; to `verify` that is to read them all.
    Raises ShmDataError where the input or the folder is at fault, or samples could not be made; what was
    written stays, and the same call goes on from there.
    """
    layout = Layout(savedir)
    decision = decide(options, savedir, jobs, progress, verify=verify)
    make_folders(layout.root)
    with locked(layout.root):
        layout.clear_leftovers()
        decision = record(decision, layout)
        carry_out(decision, layout, Threads(jobs), progress, link=link)
        return finish(decision, layout)


def record_plan(options: CompositeOptions, savedir: Path, jobs: int = -1, progress: Progress = quiet) -> Manifest:
    """Writes down what `composite` would make in `savedir`, and makes nothing of it; gives the record.

    Raises ShmDataError as `composite` does.
    """
    layout = Layout(savedir)
    decision = decide(options, savedir, jobs, progress)
    if decision.recorded and decision.found is not None:
        return decision.found
    make_folders(layout.root)
    with locked(layout.root):
        layout.clear_leftovers()
        return record(decision, layout).manifest


def carry_out(
    decision: Decision,
    layout: Layout,
    crew: Crew = _ALL_CORES,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    only: range | None = None,
) -> None:
    """Makes every sample of a recorded plan, or those whose places in it are in `only`, that is not there yet.

    Raises ShmDataError that names the samples which could not be made, once all others are.
    """
    make_folders(*layout.folders)
    places = range(decision.manifest.counts.samples) if only is None else only
    total = len(places)

    def recipes() -> Iterator[Recipe]:
        return read_recipes(layout.recipes, places.stop, places.start)

    if only is None:
        present = layout.present(decision.manifest.options.extension)
    else:  # many parts that all list a large folder would take longer over it than over their work
        present = {recipe.name for recipe in recipes() if layout.holds(recipe.name)}
    missing = sum(recipe.name not in present for recipe in recipes()) if present else total
    if not missing:
        return
    hands = crew.hands
    size = min(crew.most, max(1, missing // (4 * hands)))
    order = Order(decision.manifest.options, decision.manifest.roots, layout, link)
    people = {foreground.files.name: foreground for foreground in decision.manifest.foregrounds}
    tasks = _abreast(_easels(recipes(), people, present, order), hands, size)
    outcomes = itertools.chain.from_iterable(crew.make(tasks, size))
    faults = [outcome for outcome in progress(outcomes, missing, "compositing") if outcome.fault]
    if faults:
        faults.sort(key=lambda outcome: outcome.name)
        what = f"{len(faults)} of {total} samples could not be made; the others are kept"
        raise ShmDataError(what, faults=[f"{outcome.name}: {outcome.fault}" for outcome in faults])


def finish(decision: Decision, layout: Layout) -> Manifest:
    """Writes the lists, the card and then, last of all, that the data set is complete."""
    shares = {split: Share() for split in SPLITS}

    def places() -> Iterator[tuple[str, str]]:
        for recipe in decision.recipes():
            shares[recipe.split].count(recipe)
            yield recipe.split, recipe.name

    write_lists(layout.root, places())
    manifest = decision.manifest.model_copy(update={"complete": True})
    write_card(layout, card(manifest, shares))
    write_manifest(layout, manifest)
    return manifest


def estimate_bytes(decision: Decision, count: int = 4) -> int:
    """About how many bytes the whole data set will take, from `count` samples made in memory.

    Alphas and trimaps count once a foreground, since its samples share them; random trimaps once a sample, and so
    does what is arranged anew.
    """
    manifest = decision.manifest
    options = manifest.options
    by_name = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    own, shared, area = 0, 0, 0
    for recipe in some_recipes(decision, count):
        sample = make_alone(recipe, by_name, manifest)
        own += len(encode_image(sample.image, options))
        alpha, trimap = len(images.encode(sample.alpha)), len(images.encode(sample.trimap))
        alone = recipe.has_own_alpha
        own += alpha * alone + trimap * (alone or options.trimap == "random")
        shared += alpha * (not alone) + trimap * (not alone and options.trimap != "random")
        area += recipe.size[0] * recipe.size[1]
    share = manifest.counts.foregrounds / manifest.counts.samples
    return round((own + shared * share) / area * sum(r.size[0] * r.size[1] for r in decision.recipes()))


def some_recipes(decision: Decision, count: int) -> list[Recipe]:
    """`count` recipes or all, spread over the whole plan: the middle ones of so many equal parts."""
    total = decision.manifest.counts.samples
    count = min(count, total)
    chosen = {(2 * part + 1) * total // (2 * count) for part in range(count)}
    return [recipe for place, recipe in enumerate(decision.recipes()) if place in chosen]


def _easels(
    recipes: Iterator[Recipe], people: Mapping[str, Foreground], present: set[str], order: Order
) -> Iterator[Easel]:
    """The foregrounds that have samples to be made, one by one, with the recipes of these."""
    for name, some in itertools.groupby(recipes, key=lambda recipe: recipe.foreground):
        if missing := [recipe for recipe in some if recipe.name not in present]:
            behind = {recipe.partner for recipe in missing if recipe.partner is not None}
            yield Easel(people[name], missing, order, {partner: people[partner] for partner in behind})


def _abreast(easels: Iterator[Easel], count: int, size: int) -> Iterator[Task]:
    """Tasks of at most `size` samples, of `count` foregrounds in turn.

    So each worker prepares a foreground of its own, when it would else wait for the one that prepares theirs.
    """
    open_ = deque(map(_in_tasks, itertools.islice(easels, count), itertools.repeat(size)))
    while open_:
        tasks = open_.popleft()
        if task := next(tasks, None):
            yield task
            open_.append(tasks)
        else:
            open_.extend(map(_in_tasks, itertools.islice(easels, 1), itertools.repeat(size)))


def _in_tasks(easel: Easel, size: int) -> Iterator[Task]:
    recipes: Iterable[Recipe] = iter(easel.recipes)
    while some := tuple(itertools.islice(recipes, size)):
        yield Task(easel, some)
