"""Carries a plan out: reads, renders and writes every sample that is not there yet, then the lists."""

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from shm_data import foregrounds, images
from shm_data.arrays import Array
from shm_data.card import Share, card, write_card
from shm_data.compositing import fit, reduction
from shm_data.decide import Decision, decide, record
from shm_data.errors import ShmDataError, WriteError
from shm_data.layout import SPLITS, Layout, locked, make_folders, write_bytes, write_names, write_twin
from shm_data.manifest import Manifest, write_manifest
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread, workers
from shm_data.recipes import Recipe, of_partner, read_recipes
from shm_data.render import Behind, Prepared, Sample, arrange, canvas, prepare, render, render_image, render_trimap
from shm_data.sources import Foreground, path_of
from shm_data.trimap import TrimapRule

# How samples that have the same alpha or trimap share it on the disk.
Link = Literal["auto", "hard", "copy"]


@dataclass(frozen=True, slots=True)
class Order:
    """What all tasks of a run have in common: little, so that it can go with each to another machine."""

    options: CompositeOptions
    roots: Mapping[str, Path]
    layout: Layout
    link: Link


@dataclass(frozen=True, slots=True)
class Task:
    """Samples of one foreground that one worker makes."""

    easel: "Easel"
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample: `fault` is empty where it was written."""

    name: str
    fault: str = ""


class Copies:
    """A picture that many samples share: encoded once, written once, and then linked to."""

    def __init__(self, pixels: Array, link: Link) -> None:
        self._data = images.encode(pixels)
        self._link = link
        self._lock = threading.Lock()
        self._first: Path | None = None

    def write(self, path: Path) -> None:
        """Writes it once more. Raises WriteError, also where it must be a hard link and cannot."""
        if self._link == "copy":
            write_bytes(path, self._data)
            return
        with self._lock:
            if self._first is None:
                write_bytes(path, self._data)
                self._first = path
                return
            twin = self._first
        if write_twin(path, self._data, twin):
            return
        if self._link == "hard":
            raise WriteError(
                f"cannot link {path} to {twin}: the file system has no hard links, or no more of this file"
            )
        self._first = path


class Easel:
    """A foreground in work: read and prepared once, by the worker that comes first, and shared by all.

    So are its `partners`, which stand behind it in some samples.
    """

    def __init__(
        self, foreground: Foreground, recipes: Sequence[Recipe], order: Order, partners: Mapping[str, Foreground]
    ) -> None:
        self.foreground, self.recipes, self.order, self.partners = foreground, recipes, order, partners
        self._lock = threading.Lock()
        self._prepared: tuple[Prepared, Copies] | None = None
        self._behind: dict[str | None, Prepared | None] = {}
        self._trimaps: dict[TrimapRule | None, Copies] = {}

    def prepared(self) -> tuple[Prepared, Copies]:
        """The foreground at the size of its samples, and their alpha.

        Raises ShmDataError where it is not what it was.
        """
        with self._lock:
            if self._prepared is None:
                order = self.order
                prepared = read_prepared(self.foreground, self.recipes, order.options, order.roots)
                self._prepared = prepared, Copies(prepared.alpha, order.link)
            return self._prepared

    def arranged(self, recipe: Recipe) -> Prepared:
        """The foreground as it stands in a sample. Raises ShmDataError as `prepared` does."""
        prepared, _ = self.prepared()
        with self._lock:
            if recipe.partner not in self._behind:
                order = self.order
                self._behind[recipe.partner] = read_partner(recipe, self.partners, order.options, order.roots)
            partner = self._behind[recipe.partner]
        return arrange(recipe, prepared, partner)

    def trimap(self, rule: TrimapRule | None) -> Copies:
        """The trimap of those of its samples that have this rule, and its alpha."""
        prepared, _ = self.prepared()
        with self._lock:
            if rule not in self._trimaps:
                self._trimaps[rule] = Copies(render_trimap(rule, prepared), self.order.link)
            return self._trimaps[rule]


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
        return workers(self.jobs)

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
        raise ShmDataError.of_many(what, [f"{outcome.name}: {outcome.fault}" for outcome in faults])


def finish(decision: Decision, layout: Layout) -> Manifest:
    """Writes the lists, the card and then, last of all, that the data set is complete."""
    shares = {split: Share() for split in SPLITS}
    for split, share in shares.items():
        here = (recipe for recipe in decision.recipes() if recipe.split == split)
        write_names(layout.root, split, (recipe.name for recipe in share.counting(here)))
    manifest = decision.manifest.model_copy(update={"complete": True})
    write_card(layout, card(manifest, shares))
    write_manifest(layout, manifest)
    return manifest


def build_task(task: Task) -> list[Outcome]:
    """Makes the samples of a task."""
    easel = task.easel
    try:
        easel.prepared()
    except ShmDataError as error:
        return [Outcome(recipe.name, str(error)) for recipe in task.recipes]
    room = canvas(task.recipes[0].size)
    order = easel.order
    outcomes = []
    for recipe in task.recipes:
        try:
            prepared = easel.arranged(recipe)
            image = render_image(recipe, prepared, read_background(recipe, order.roots), room)
            data = encode_image(image, order.options)
        except ShmDataError as error:
            outcomes.append(Outcome(recipe.name, str(error)))
            continue
        places = order.layout.sample(recipe.name)
        _write_labels(easel, recipe, prepared, *places[1:])
        write_bytes(places[0], data)
        outcomes.append(Outcome(recipe.name))
    return outcomes


def _write_labels(easel: Easel, recipe: Recipe, prepared: Prepared, mask: Path, trimap: Path) -> None:
    """Writes alpha and trimap: those that its foreground's samples share, or its own where it is arranged."""
    if recipe.has_own_alpha:
        write_bytes(trimap, images.encode(render_trimap(recipe.trimap, prepared)))
        write_bytes(mask, images.encode(prepared.alpha))
        return
    easel.trimap(recipe.trimap).write(trimap)
    easel.prepared()[1].write(mask)


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
    wanted = {(2 * part + 1) * total // (2 * count) for part in range(count)}
    return [recipe for place, recipe in enumerate(decision.recipes()) if place in wanted]


def make_alone(recipe: Recipe, people: Mapping[str, Foreground], manifest: Manifest) -> Sample:
    """The sample of a recipe, from its sources. Raises ShmDataError where one is gone or has changed."""
    options, roots = manifest.options, manifest.roots
    prepared = read_prepared(people[recipe.foreground], [recipe], options, roots)
    arranged = arrange(recipe, prepared, read_partner(recipe, people, options, roots))
    return render(recipe, arranged, read_background(recipe, roots))


def encode_image(pixels: Array, options: CompositeOptions) -> bytes:
    """The file of an image (H, W, 3) uint8, in the format and quality that the options ask for."""
    return images.encode(pixels, options.extension, options.quality or 95)


def read_background(recipe: Recipe, roots: Mapping[str, Path]) -> Behind | None:
    """The background of a recipe, no larger than it needs. Raises ShmDataError where it does not decode."""
    if recipe.background is None or recipe.crop is None:
        return None
    pixels, by = images.read_reduced(path_of(recipe.background, roots), reduction(recipe.crop, recipe.size))
    return Behind(pixels, by)


def read_prepared(
    foreground: Foreground, recipes: Sequence[Recipe], options: CompositeOptions, roots: Mapping[str, Path]
) -> Prepared:
    """A foreground at the size of these of its samples. Raises ShmDataError where it is not what it was."""
    files = foreground.files
    pixels = foregrounds.read(files, roots, resize_alpha=options.resize_alpha)
    size, composited = recipes[0].size, any(recipe.background is not None for recipe in recipes)
    if fit(pixels.image.shape[1::-1], options.maxsize) != size:
        found = f"{pixels.image.shape[1]}x{pixels.image.shape[0]}"
        raise ShmDataError(f"the foreground {files.name}", found=found, wanted="its size when the recipe was drawn")
    return prepare(
        pixels,
        size,
        straight=files.alpha is None,
        estimated=composited and options.foreground == "estimate",
    )


def read_partner(
    recipe: Recipe, people: Mapping[str, Foreground], options: CompositeOptions, roots: Mapping[str, Path]
) -> Prepared | None:
    """Who stands behind the foreground of a recipe, None where nobody does. Raises as `read_prepared` does."""
    if recipe.partner is None:
        return None
    partner = people[recipe.partner]
    return read_prepared(partner, [of_partner(recipe, partner, options)], options, roots)


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
