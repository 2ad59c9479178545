"""Carries a plan out: reads, renders and writes every sample that is not there yet, then the lists."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shm_data import foregrounds, images
from shm_data.arrays import Array
from shm_data.compositing import fit
from shm_data.decide import Decision, decide, record
from shm_data.errors import ShmDataError
from shm_data.layout import SPLITS, Layout, locked, make_folders, write_bytes, write_names
from shm_data.manifest import Manifest, write_manifest
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread, workers
from shm_data.recipes import Recipe
from shm_data.render import Prepared, prepare, render, render_image, render_trimap
from shm_data.sources import Foreground, path_of
from shm_data.trimap import TrimapRule

# Fewer samples than this in one task, and preparing the foreground again for each task would dominate.
_SMALLEST_TASK = 8


@dataclass(frozen=True, slots=True)
class Task:
    """Samples of one foreground that one worker makes."""

    foreground: Foreground
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample: `fault` is empty where it was written."""

    name: str
    fault: str = ""


def composite(options: CompositeOptions, savedir: Path, jobs: int = -1, progress: Progress = quiet) -> Manifest:
    """Builds a data set in `savedir`, or completes one that was begun, and gives its record.

    Raises ShmDataError where the input or the folder is at fault, or samples could not be made; what was
    written stays, and the same call goes on from there.
    """
    layout = Layout(savedir)
    decision = decide(options, savedir, jobs, progress)
    make_folders(layout.root)
    with locked(layout.root):
        decision = record(decision, layout)
        carry_out(decision, layout, jobs, progress)
        return finish(decision, layout)


def carry_out(decision: Decision, layout: Layout, jobs: int = -1, progress: Progress = quiet) -> None:
    """Makes every sample of a recorded plan that is not there yet.

    Raises ShmDataError that names the samples which could not be made, once all others are.
    """
    make_folders(*layout.folders)
    layout.clear_leftovers()
    present = layout.present()
    missing = sum(recipe.name not in present for recipe in decision.recipes())
    tasks = _tasks(decision, present, share=-(-missing // (4 * workers(jobs))))

    def make(task: Task) -> list[Outcome]:
        return build_task(task, decision.manifest, layout)

    outcomes = itertools.chain.from_iterable(spread(make, tasks, jobs))
    faults = [outcome for outcome in progress(outcomes, missing, "compositing") if outcome.fault]
    if faults:
        faults.sort(key=lambda outcome: outcome.name)
        what = f"{len(faults)} of {decision.manifest.counts.samples} samples could not be made; the others are kept"
        raise ShmDataError.of_many(what, [f"{outcome.name}: {outcome.fault}" for outcome in faults])


def finish(decision: Decision, layout: Layout) -> Manifest:
    """Writes the lists and then, last of all, that the data set is complete."""
    for split in SPLITS:
        write_names(layout.root, split, (recipe.name for recipe in decision.recipes() if recipe.split == split))
    manifest = decision.manifest.model_copy(update={"complete": True})
    write_manifest(layout, manifest)
    return manifest


def build_task(task: Task, manifest: Manifest, layout: Layout) -> list[Outcome]:
    """Makes the samples of a task: the foreground is read and prepared, its alpha encoded, once for all of them."""
    try:
        prepared = _prepare(task, manifest)
    except ShmDataError as error:
        return [Outcome(recipe.name, str(error)) for recipe in task.recipes]
    alpha = images.encode_png(prepared.alpha)
    trimaps: dict[TrimapRule | None, bytes] = {}
    outcomes = []
    for recipe in task.recipes:
        if recipe.trimap not in trimaps:
            trimaps[recipe.trimap] = images.encode_png(render_trimap(recipe.trimap, prepared))
        try:
            image = render_image(recipe, prepared, _read_background(recipe, manifest))
        except ShmDataError as error:
            outcomes.append(Outcome(recipe.name, str(error)))
            continue
        write_bytes(layout.trimap / recipe.name, trimaps[recipe.trimap])
        write_bytes(layout.mask / recipe.name, alpha)
        images.write_png(layout.input / recipe.name, image)
        outcomes.append(Outcome(recipe.name))
    return outcomes


def estimate_bytes(decision: Decision, count: int = 4) -> int:
    """About how many bytes the whole data set will take, from `count` samples made in memory."""
    by_name = {foreground.files.name: foreground for foreground in decision.manifest.foregrounds}
    size, area = 0, 0
    for recipe in some_recipes(decision, count):
        prepared = _prepare(Task(by_name[recipe.foreground], (recipe,)), decision.manifest)
        sample = render(recipe, prepared, _read_background(recipe, decision.manifest))
        size += sum(len(images.encode_png(pixels)) for pixels in (sample.image, sample.alpha, sample.trimap))
        area += recipe.size[0] * recipe.size[1]
    return round(size / area * sum(recipe.size[0] * recipe.size[1] for recipe in decision.recipes()))


def some_recipes(decision: Decision, count: int) -> list[Recipe]:
    """`count` recipes or all, spread over the whole plan: the middle ones of so many equal parts."""
    total = decision.manifest.counts.samples
    count = min(count, total)
    wanted = {(2 * part + 1) * total // (2 * count) for part in range(count)}
    return [recipe for place, recipe in enumerate(decision.recipes()) if place in wanted]


def _read_background(recipe: Recipe, manifest: Manifest) -> Array | None:
    return None if recipe.background is None else images.read_image(path_of(recipe.background, manifest.roots))


def _prepare(task: Task, manifest: Manifest) -> Prepared:
    options, files = manifest.options, task.foreground.files
    pixels = foregrounds.read(files, manifest.roots, resize_alpha=options.resize_alpha)
    size, composited = task.recipes[0].size, any(recipe.background is not None for recipe in task.recipes)
    if fit(pixels.image.shape[1::-1], options.maxsize) != size:
        found = f"{pixels.image.shape[1]}x{pixels.image.shape[0]}"
        raise ShmDataError(f"the foreground {files.name}", found=found, wanted="its size when the recipe was drawn")
    return prepare(
        pixels,
        size,
        straight=files.alpha is None,
        estimated=composited and options.foreground == "estimate",
    )


def _tasks(decision: Decision, present: set[str], share: int) -> Iterator[Task]:
    """The samples that are missing, by foreground, a task no larger than the share that keeps all workers busy."""
    by_name = {foreground.files.name: foreground for foreground in decision.manifest.foregrounds}
    for name, recipes in itertools.groupby(decision.recipes(), key=lambda recipe: recipe.foreground):
        missing = (recipe for recipe in recipes if recipe.name not in present)
        while some := tuple(itertools.islice(missing, max(share, _SMALLEST_TASK))):
            yield Task(by_name[name], some)
