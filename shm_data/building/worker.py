"""Makes the samples of a foreground: reads it once, and for each its background, renders and writes."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from shm_data import images
from shm_data.building.render import (
    Prepared,
    ReducedBackground,
    Sample,
    arrange,
    prepare,
    render,
    render_image,
    render_trimap,
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
from shm_data.planning.plan import of_partner
from shm_data.sources import foregrounds
from shm_data.sources.types import Foreground, path_of

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


def build_task(task: Task) -> list[Outcome]:
    """Makes the samples of a task."""
    easel = task.easel
    try:
        easel.prepared()
    except ShmDataError as error:
        return [Outcome(recipe.name, str(error)) for recipe in task.recipes]
    width, height = task.recipes[0].size
    room = np.empty((height, width, 3), np.uint8)
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
        del data  # or the next file could not take its place in memory
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


def make_alone(recipe: Recipe, people: Mapping[str, Foreground], manifest: Manifest) -> Sample:
    """The sample of a recipe, from its sources. Raises ShmDataError where one is gone or has changed."""
    options, roots = manifest.options, manifest.roots
    prepared = read_prepared(people[recipe.foreground], [recipe], options, roots)
    arranged = arrange(recipe, prepared, read_partner(recipe, people, options, roots))
    return render(recipe, arranged, read_background(recipe, roots))


def encode_image(pixels: Array, options: CompositeOptions) -> bytes | memoryview:
    """The file of an image (H, W, 3) uint8, in the format and quality that the options ask for."""
    return images.encode(pixels, options.extension, options.quality or 95)


def read_background(recipe: Recipe, roots: Mapping[str, Path]) -> ReducedBackground | None:
    """The background of a recipe, no larger than it needs. Raises ShmDataError where it does not decode."""
    if recipe.background is None or recipe.crop is None:
        return None
    pixels, by = images.read_reduced(path_of(recipe.background, roots), choose_reduction(recipe.crop, recipe.size))
    return ReducedBackground(pixels, by)


def read_prepared(
    foreground: Foreground, recipes: Sequence[Recipe], options: CompositeOptions, roots: Mapping[str, Path]
) -> Prepared:
    """A foreground at the size of these of its samples. Raises ShmDataError where it is not what it was."""
    files = foreground.files
    pixels = foregrounds.read(files, roots, resize_alpha=options.resize_alpha)
    size = recipes[0].size
    composited = any(recipe.background is not None for recipe in recipes)
    shown = any(recipe.background is None for recipe in recipes)
    if fit(pixels.image.shape[1::-1], options.maxsize) != size:
        found = f"{pixels.image.shape[1]}x{pixels.image.shape[0]}"
        raise ShmDataError(f"the foreground {files.name}", found=found, expected="its size when the recipe was drawn")
    prepared = prepare(
        pixels,
        size,
        straight=files.alpha is None,
        estimated=composited and options.foreground == "estimate",
    )
    return prepared if shown else replace(prepared, photo=prepared.colours)


def read_partner(
    recipe: Recipe, people: Mapping[str, Foreground], options: CompositeOptions, roots: Mapping[str, Path]
) -> Prepared | None:
    """Who stands behind the foreground of a recipe, None where nobody does. Raises as `read_prepared` does."""
    if recipe.partner is None:
        return None
    partner = people[recipe.partner]
    return read_prepared(partner, [of_partner(recipe, partner, options)], options, roots)
