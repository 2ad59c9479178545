"""The samples of a plan, made when they are asked for: no composite need be on the disk."""

import hashlib
import itertools
import json
import mmap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shm_data import images
from shm_data.building.render import Prepared, Scene, arrange, mix, render_trimap
from shm_data.building.worker import read_background, read_prepared
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest, read_manifest, refuse_changed_sources, versions
from shm_data.dataset.recipes import Recipe, from_line
from shm_data.draws import draws
from shm_data.errors import ShmDataError
from shm_data.files import make_folders, write_bytes
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.pixels.augmentations import need_partner
from shm_data.pixels.compositing import cover_box, to_three_channels
from shm_data.pixels.trimap import flat_distance, trimap_from_distance
from shm_data.planning import partners
from shm_data.planning.plan import augmented, draw_place, of_partner
from shm_data.sources.types import Foreground, path_of


@dataclass(frozen=True, slots=True)
class Replay:
    """The samples of one split of a plan, in the order of its recipes, to be made in any order by any process.

    `places` (N,) int64 are the bytes at which their recipes begin, `backgrounds` the keys of all that they use, and
    `partners` those of their foregrounds that may stand behind others.
    `cache` is where foregrounds are kept as they are once prepared, by these `versions` of the libraries.
    """

    layout: Layout
    manifest: Manifest
    foregrounds: Mapping[str, Foreground]
    names: Sequence[str]
    places: NDArray[np.int64]
    backgrounds: Sequence[str]
    partners: Sequence[Foreground]
    cache: Path
    versions: Mapping[str, str]

    def recipe(self, index: int) -> Recipe:
        """The recipe of a sample."""
        with self.layout.recipes.open("rb") as file:
            file.seek(int(self.places[index]))
            return from_line(file.readline())

    def fresh(self, recipe: Recipe, epoch: int) -> Recipe:
        """The recipe with another background of its split, and another crop, in every epoch; an original as it is.

        What is drawn depends on the plan's seed, the sample and the epoch alone.
        """
        if recipe.background is None:
            return recipe
        drawn = draws(self.manifest.options.seed, "fresh", recipe.name, epoch)
        key = self.backgrounds[int(next(drawn) * len(self.backgrounds))]
        size = images.read_size(path_of(key, self.manifest.roots))
        return replace(recipe, background=key, crop=cover_box(size, recipe.size, *draw_place(drawn, again=True)))

    def augmented(self, recipe: Recipe, names: Collection[str], epoch: int) -> Recipe:
        """The recipe with other augmentations in every epoch, of these names only, whatever it records itself.

        What is drawn depends on the plan's seed, the sample and the epoch alone. Any other foreground may be its
        partner.
        """
        options, foreground = self.manifest.options, self.foregrounds[recipe.foreground]
        numbers = draws(options.seed, "augment", recipe.name, epoch)
        others = draws(options.seed, "over", recipe.name, epoch)
        partner = (
            partners.draw_partner(others, foreground, self.partners, options.group) if need_partner(names) else None
        )
        return augmented(recipe, numbers, names, foreground, partner)

    def scene(self, recipe: Recipe) -> Scene:
        """The sample of a recipe. Raises ShmDataError where a source is gone, or is no longer what it was."""
        prepared, trimap = self._prepared(recipe)
        if recipe.has_own_alpha:
            prepared = arrange(recipe, prepared, self._partner(recipe))
            trimap = render_trimap(recipe.trimap, prepared)
        mixed = mix(recipe, prepared, read_background(recipe, self.manifest.roots))
        return Scene(mixed.image, prepared.alpha, trimap, mixed.foreground, mixed.background)

    def _partner(self, recipe: Recipe) -> Prepared | None:
        """Who stands behind the foreground of a recipe."""
        if recipe.partner is None:
            return None
        partner = self.foregrounds[recipe.partner]
        return self._prepared(of_partner(recipe, partner, self.manifest.options))[0]

    def _prepared(self, recipe: Recipe) -> tuple[Prepared, Array]:
        """The foreground of a recipe and its trimap, from the cache if they are there."""
        width, height = recipe.size
        path = self.cache / self._kept_as(recipe)
        try:
            with path.open("rb") as file:  # np.memmap takes a third of a millisecond
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            kept = np.frombuffer(mapped, np.uint8)
        except (OSError, ValueError):  # not there, or empty
            kept = np.empty(0, np.uint8)
        if kept.size != width * height * (6 if self._is_drawn(recipe) else 5):
            kept = self._keep(recipe, path)
        planes = np.split(kept, np.cumsum([3, 1]) * width * height)
        colours, alpha = planes[0].reshape(height, width, 3), planes[1].reshape(height, width)
        prepared = Prepared(colours, colours, alpha, to_three_channels(alpha), None)
        if recipe.trimap is None or not self._is_drawn(recipe):
            return prepared, planes[2].reshape(height, width)
        return prepared, trimap_from_distance(alpha, planes[2].view(np.uint16).reshape(height, width), recipe.trimap)

    def _keep(self, recipe: Recipe, path: Path) -> Array:
        """Prepare the foreground of a recipe and cache its colours, alpha, and trimap or distances."""
        prepared = read_prepared(
            self.foregrounds[recipe.foreground], [recipe], self.manifest.options, self.manifest.roots
        )
        last: NDArray[np.generic] = (
            flat_distance(prepared.alpha, recipe.trimap.tolerance)
            if recipe.trimap is not None and self._is_drawn(recipe)
            else render_trimap(recipe.trimap, prepared)
        )
        colours = prepared.photo if recipe.background is None else prepared.colours
        data = b"".join(np.ascontiguousarray(plane).tobytes() for plane in (colours, prepared.alpha, last))
        make_folders(self.cache)
        write_bytes(path, data)
        return np.frombuffer(data, np.uint8)

    def _is_drawn(self, recipe: Recipe) -> bool:
        """Whether every sample of the foreground has a trimap of its own."""
        return self.manifest.options.trimap == "random" and recipe.trimap is not None

    def _kept_as(self, recipe: Recipe) -> str:
        """The name of a file in the cache, which tells all that decides what it holds."""
        options, files = self.manifest.options, self.foregrounds[recipe.foreground].files
        sources = [self.manifest.sources[key].digest for key in (files.image, files.alpha, files.trimap) if key]
        rule = recipe.trimap and [recipe.trimap.tolerance if self._is_drawn(recipe) else astuple(recipe.trimap)]
        colours = "photo" if recipe.background is None else options.foreground
        told = [sources, recipe.size, colours, options.resize_alpha, rule, dict(self.versions)]
        return f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}.planes"


def replay_of(root: Path, split: str, cache: Path, jobs: int = -1, progress: Progress = quiet) -> Replay:
    """Opens the plan in a folder, whether or not its samples were made.

    Raises ShmDataError where there is none, its split is empty, or its sources are gone or have changed.
    """
    layout = Layout(root)
    manifest = read_manifest(layout)
    if manifest is None:
        raise ShmDataError(
            path=root, found="no dataset.json", expected="a folder that shm-data composite or plan made"
        )
    refuse_changed_sources(manifest, manifest.roots, jobs=jobs, progress=progress)
    names, places, used, shown = _of_split(layout, manifest.counts.samples, split)
    if not names:
        raise ShmDataError(path=layout.recipes, found=f"no samples in {split}", expected="at least one")
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    behind = [people[name] for name in sorted(shown) if partners.can_pair(people[name])]
    starts = np.array(places, np.int64)
    return Replay(layout, manifest, people, names, starts, sorted(used), behind, cache, versions())


def _of_split(layout: Layout, count: int, split: str) -> tuple[list[str], list[int], set[str], set[str]]:
    """The names of a split's samples, where their recipes begin, and the backgrounds and foregrounds they use."""
    names, places, place = [], [], 0
    used: set[str] = set()
    shown: set[str] = set()
    with layout.recipes.open("rb") as file:
        for line in itertools.islice(file, count):
            recipe = from_line(line)
            if recipe.split == split:
                names.append(recipe.name)
                places.append(place)
                used |= {recipe.background} if recipe.background else set()
                shown.add(recipe.foreground)
            place += len(line)
    return names, places, used, shown
