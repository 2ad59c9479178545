"""Makes the samples of one foreground: reads it once and, for each sample, its background; renders and writes."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from shm_data import images
from shm_data.building.render import (
    PreparedForeground,
    ReducedBackground,
    Sample,
    arrange,
    prepare,
    render,
    render_image,
    render_labels,
)
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, WriteError
from shm_data.files import write_bytes, write_twin
from shm_data.options import CompositeOptions
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import choose_reduction, fit
from shm_data.pixels.trimap import TrimapRule
from shm_data.planning.draw import recipe_of_partner
from shm_data.sources import Foreground, foregrounds, path_of

# How samples with the same alpha or trimap share one file on the disk.
Link = Literal["auto", "hard", "copy"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all tasks of a run have in common. It is small, since it is sent with each task to other machines."""

    options: CompositeOptions
    roots: Mapping[str, Path]
    layout: Layout
    link: Link


@dataclass(frozen=True, slots=True)
class Task:
    """Samples of one foreground that one worker makes."""

    job: "ForegroundJob"
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one sample: `fault` is empty where it was written."""

    name: str
    fault: str = ""


class SharedFile:
    """A picture that many samples share: encoded once, written once, then linked to."""

    def __init__(self, pixels: Array, link: Link) -> None:
        self._data = images.encode(pixels)
        self._link = link
        self._lock = threading.Lock()
        self._first: Path | None = None

    def write(self, path: Path) -> None:
        """Write it under one more name. Raises WriteError, also where a hard link is required and impossible."""
        if self._link == "copy":
            write_bytes(path, self._data)
            return
        with self._lock:
            if self._first is None:
                write_bytes(path, self._data)
                self._first = path
                return
            first = self._first
        if write_twin(path, self._data, first):
            return
        if self._link == "hard":
            expected = "a file system with hard links, and room for one more of this file; or --link auto"
            raise WriteError(f"cannot be linked to {first}", path=path, expected=expected)
        self._first = path


class ForegroundJob:
    """All samples to be made of one foreground. The first worker reads and prepares it, the others share it.

    The same holds for its `partners`, the foregrounds that stand behind it in some samples.
    """

    def __init__(
        self,
        foreground: Foreground,
        recipes: Sequence[Recipe],
        context: RunContext,
        partners: Mapping[str, Foreground],
    ) -> None:
        self.foreground, self.recipes, self.context, self.partners = foreground, recipes, context, partners
        self._lock = threading.Lock()
        self._prepared: PreparedForeground | None = None
        self._prepared_partners: dict[str | None, PreparedForeground | None] = {}
        self._alphas: dict[float, SharedFile] = {}
        self._trimaps: dict[tuple[float, TrimapRule | None], SharedFile] = {}

    def prepared(self) -> PreparedForeground:
        """Return the foreground at the size of its samples.

        Raises ShmDataError where the foreground has changed since the plan was made.
        """
        with self._lock:
            if self._prepared is None:
                context = self.context
                self._prepared = read_prepared(self.foreground, self.recipes, context.options, context.roots)
            return self._prepared

    def arranged(self, recipe: Recipe) -> PreparedForeground:
        """Return the foreground as a sample shows it. Raises ShmDataError as `prepared` does."""
        prepared = self.prepared()
        with self._lock:
            if recipe.partner not in self._prepared_partners:
                context = self.context
                partner = read_partner(recipe, self.partners, context.options, context.roots)
                self._prepared_partners[recipe.partner] = partner
            partner = self._prepared_partners[recipe.partner]
        return arrange(recipe, prepared, partner)

    def labels(self, recipe: Recipe) -> tuple[SharedFile, SharedFile]:
        """Return the files of alpha and trimap that all samples with this person, band limit and rule share."""
        prepared = self.prepared()
        factor = 1.0 if recipe.augment is None else recipe.augment.band_factor
        key = factor, recipe.trimap
        with self._lock:
            if key not in self._trimaps:
                alpha, trimap = render_labels(recipe, prepared)
                self._trimaps[key] = SharedFile(trimap, self.context.link)
                if factor not in self._alphas:
                    self._alphas[factor] = SharedFile(alpha, self.context.link)
            return self._alphas[factor], self._trimaps[key]


def build_task(task: Task) -> list[Outcome]:
    """Make the samples of a task. Raises WriteError where nothing can be written any more."""
    job, context = task.job, task.job.context
    try:
        job.prepared()
    except ShmDataError as error:
        return [Outcome(recipe.name, str(error)) for recipe in task.recipes]
    width, height = task.recipes[0].size
    out = np.empty((height, width, 3), np.uint8)
    outcomes = []
    for recipe in task.recipes:
        try:
            arranged = job.arranged(recipe)
            image = render_image(recipe, arranged, read_background(recipe, context.roots), out)
            data = encode_image(image, context.options)
        except ShmDataError as error:
            outcomes.append(Outcome(recipe.name, str(error)))
            continue
        image_path, mask_path, trimap_path = context.layout.sample(recipe.name)
        _write_labels(job, recipe, arranged, mask_path, trimap_path)
        write_bytes(image_path, data)
        del data  # so that the next file can reuse its memory
        outcomes.append(Outcome(recipe.name))
    return outcomes


def _write_labels(job: ForegroundJob, recipe: Recipe, arranged: PreparedForeground, mask: Path, trimap: Path) -> None:
    """Write alpha and trimap: files that samples share, or the sample's own where its person is another one."""
    if recipe.augment is not None and recipe.augment.changes_person:
        alpha_pixels, trimap_pixels = render_labels(recipe, arranged)
        write_bytes(trimap, images.encode(trimap_pixels))
        write_bytes(mask, images.encode(alpha_pixels))
        return
    shared_alpha, shared_trimap = job.labels(recipe)
    shared_trimap.write(trimap)
    shared_alpha.write(mask)


def make_sample(recipe: Recipe, people: Mapping[str, Foreground], manifest: Manifest) -> Sample:
    """Make a single sample in memory. Raises ShmDataError where a source is gone or has changed."""
    options, roots = manifest.options, manifest.roots
    prepared = read_prepared(people[recipe.foreground], [recipe], options, roots)
    arranged = arrange(recipe, prepared, read_partner(recipe, people, options, roots))
    return render(recipe, arranged, read_background(recipe, roots))


def encode_image(pixels: Array, options: CompositeOptions) -> bytes | memoryview:
    """Return the file of an image (H, W, 3) uint8 in the format and quality of the options."""
    return images.encode(pixels, options.extension, options.quality or 95)


def read_background(recipe: Recipe, roots: Mapping[str, Path]) -> ReducedBackground | None:
    """Read the background of a recipe, no larger than it needs, and its decoy.

    Raises ShmDataError where one of them does not decode.
    """
    if recipe.background is None or recipe.crop is None:
        return None
    pixels, factor = images.read_background(
        path_of(recipe.background, roots), choose_reduction(recipe.crop, recipe.size)
    )
    decoy = None if recipe.decoy is None else images.read_cutout(path_of(recipe.decoy.key, roots))
    return ReducedBackground(pixels, factor, decoy)


def read_prepared(
    foreground: Foreground, recipes: Sequence[Recipe], options: CompositeOptions, roots: Mapping[str, Path]
) -> PreparedForeground:
    """Read a foreground and prepare it for these samples. Raises ShmDataError where it has changed."""
    files = foreground.files
    pixels = foregrounds.read(files, roots, resize_alpha=options.resize_alpha)
    size = recipes[0].size
    has_composites = any(recipe.background is not None for recipe in recipes)
    has_originals = any(recipe.background is None for recipe in recipes)
    longest = options.maxsize if options.max_enlarge is None else max(size)
    if fit(pixels.image.shape[1::-1], longest) != size:
        found = f"{pixels.image.shape[1]}x{pixels.image.shape[0]}"
        raise ShmDataError(f"the foreground {files.name}", found=found, expected="its size when the recipe was drawn")
    prepared = prepare(
        pixels,
        size,
        straight=files.is_cutout,
        estimated=has_composites and options.foreground == "estimate",
    )
    return prepared if has_originals else replace(prepared, photo=prepared.colours)


def read_partner(
    recipe: Recipe, people: Mapping[str, Foreground], options: CompositeOptions, roots: Mapping[str, Path]
) -> PreparedForeground | None:
    """Read the foreground that stands behind a recipe's own, None where nobody does. Raises as `read_prepared`."""
    if recipe.partner is None:
        return None
    partner = people[recipe.partner]
    return read_prepared(partner, [recipe_of_partner(recipe, partner, options)], options, roots)
