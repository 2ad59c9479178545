"""Makes the samples of a plan when they are asked for: no composite needs to be on the disk."""

import hashlib
import itertools
import json
import math
import mmap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np
from isal.isal_zlib import crc32
from numpy.typing import NDArray

from shm_data import images
from shm_data.building.render import PreparedForeground, Sample, arrange, render, render_labels
from shm_data.building.worker import read_background, read_prepared
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest, read_manifest, refuse_changed_sources, versions
from shm_data.dataset.recipes import Recipe, from_line, parse_line
from shm_data.draws import draws
from shm_data.errors import EmptySplitError, ShmDataError
from shm_data.files import make_folders, write_bytes
from shm_data.parallel import Progress, quiet
from shm_data.pixels.arrays import Array
from shm_data.pixels.augmentations import need_partner
from shm_data.pixels.compositing import cover_box, to_three_channels
from shm_data.pixels.trimap import flat_distance, trimap_from_distance
from shm_data.planning import partners
from shm_data.planning.draw import draw_augmentations, draw_crop_position, recipe_of_partner
from shm_data.planning.resolution import least_enlargement, limit_share
from shm_data.sources import Foreground, path_of

# Bytes of the CRC-32 at the end of a file of the cache.
_CHECKSUM = 4


@dataclass(frozen=True, slots=True)
class PlannedSamples:
    """The samples of one split of a plan, in the order of its recipes. Any process can make any of them.

    `offsets` (N,) int64 are the bytes at which their recipes begin, `backgrounds` the keys of all backgrounds of the
    split, `partners` the foregrounds that may stand behind others. `cache` is the folder of prepared foregrounds,
    made with these `versions` of the libraries; this process found the files `intact` in it.
    """

    layout: Layout
    manifest: Manifest
    foregrounds: Mapping[str, Foreground]
    names: Sequence[str]
    offsets: NDArray[np.int64]
    backgrounds: Sequence[str]
    partners: Sequence[Foreground]
    cache: Path
    versions: Mapping[str, str]
    intact: set[str] = field(default_factory=set)

    def recipe(self, index: int) -> Recipe:
        """Return the recipe of a sample."""
        with self.layout.recipes.open("rb") as file:
            file.seek(int(self.offsets[index]))
            return from_line(file.readline())

    def with_new_background(self, recipe: Recipe, epoch: int, beside: Recipe | None = None) -> Recipe:
        """Return the recipe with another background of its split, and another crop, in every epoch.

        An original stays as it is. What is drawn depends on the plan's seed, the sample and the epoch alone, and it
        differs from what is drawn for the recipe `beside`, which has the same foreground and another background.
        """
        if recipe.background is None:
            return recipe
        excluded = None if beside is None else self.with_new_background(beside, epoch).background
        options = self.manifest.options
        drawn = draws(options.seed, "fresh", recipe.name, epoch)
        limit = math.inf if options.max_enlarge is None else options.max_enlarge
        while True:  # its own background is one of them, and within the limit; so is that of the one beside it
            key = self.backgrounds[int(next(drawn) * len(self.backgrounds))]
            if key == excluded:
                continue
            size = images.read_size(path_of(key, self.manifest.roots))
            if least_enlargement(size, recipe.size) <= limit:
                break
        across, down, share = draw_crop_position(drawn, again=True)
        share = limit_share(share, size, recipe.size, options.max_enlarge)
        return replace(recipe, background=key, crop=cover_box(size, recipe.size, across, down, share))

    def with_new_augmentations(self, recipe: Recipe, names: Collection[str], epoch: int) -> Recipe:
        """Return the recipe with newly drawn augmentations of these names alone, others in every epoch.

        What is drawn depends on the plan's seed, the sample and the epoch alone. Any other foreground may be its
        partner.
        """
        options, foreground = self.manifest.options, self.foregrounds[recipe.foreground]
        numbers = draws(options.seed, "augment", recipe.name, epoch)
        partner = None
        if need_partner(names):
            others = draws(options.seed, "over", recipe.name, epoch)
            partner = partners.draw_partner(others, foreground, self.partners, options.group)
        return draw_augmentations(recipe, numbers, names, foreground, partner)

    def sample(self, recipe: Recipe) -> Sample:
        """Make the sample of a recipe. Raises ShmDataError where a source is gone or has changed."""
        prepared = self._prepared(recipe)
        if recipe.has_own_alpha:
            prepared = arrange(recipe, prepared, self._partner(recipe))
            prepared = replace(prepared, trimap=render_labels(recipe, prepared)[1])
        return render(replace(recipe, trimap=None), prepared, read_background(recipe, self.manifest.roots))

    def _partner(self, recipe: Recipe) -> PreparedForeground | None:
        """Return the foreground that stands behind a recipe's own."""
        if recipe.partner is None:
            return None
        return self._prepared(recipe_of_partner(recipe, self.foregrounds[recipe.partner], self.manifest.options))

    def _prepared(self, recipe: Recipe) -> PreparedForeground:
        """Return the foreground of a recipe with its trimap, from the cache if it is there."""
        width, height = recipe.size
        cached = self._cached(recipe)
        planes = np.split(cached, np.cumsum([3, 1]) * width * height)
        colours, alpha = planes[0].reshape(height, width, 3), planes[1].reshape(height, width)
        if recipe.trimap is not None and self._has_drawn_trimap(recipe):
            distance = planes[2].view(np.uint16).reshape(height, width)
            trimap = trimap_from_distance(alpha, distance, recipe.trimap)
        else:
            trimap = planes[2].reshape(height, width)
        return PreparedForeground(colours, colours, alpha, to_three_channels(alpha), trimap)

    def _cached(self, recipe: Recipe) -> Array:
        """Return the cached bytes of a foreground; write them first where they are missing."""
        width, height = recipe.size
        path = self.cache / self._cache_name(recipe)
        try:
            with path.open("rb") as file:  # np.memmap takes a third of a millisecond
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            cached = np.frombuffer(mapped, np.uint8)
        except (OSError, ValueError):  # missing or empty
            cached = np.empty(0, np.uint8)
        size = width * height * (6 if self._has_drawn_trimap(recipe) else 5)
        if cached.size == size + _CHECKSUM and self._is_intact(path.name, cached):
            return cached[:-_CHECKSUM]
        return self._write_cache(recipe, path)

    def _is_intact(self, name: str, cached: Array) -> bool:
        """Return whether a file of the cache fits its checksum: after a loss of power it may be full of zeros.

        Each process checks each file once, in 0.3 ms for 1440 x 1080 px.
        """
        if (
            name not in self.intact
            and crc32(cached[:-_CHECKSUM]).to_bytes(_CHECKSUM) == cached[-_CHECKSUM:].tobytes()
        ):
            self.intact.add(name)
        return name in self.intact

    def _write_cache(self, recipe: Recipe, path: Path) -> Array:
        """Prepare the foreground of a recipe and cache its colours, alpha, and trimap or distances."""
        manifest = self.manifest
        prepared = read_prepared(self.foregrounds[recipe.foreground], [recipe], manifest.options, manifest.roots)
        last: NDArray[np.generic] = (
            flat_distance(prepared.alpha, recipe.trimap.tolerance)
            if recipe.trimap is not None and self._has_drawn_trimap(recipe)
            else render_labels(replace(recipe, augment=None), prepared)[1]
        )
        colours = prepared.photo if recipe.background is None else prepared.colours
        data = b"".join(np.ascontiguousarray(plane).tobytes() for plane in (colours, prepared.alpha, last))
        make_folders(self.cache)
        write_bytes(path, data + crc32(data).to_bytes(_CHECKSUM))
        return np.frombuffer(data, np.uint8)

    def _has_drawn_trimap(self, recipe: Recipe) -> bool:
        """Return whether every sample of the foreground has a trimap of its own."""
        drawn = self.manifest.options.trimap == "random"
        return drawn and recipe.trimap is not None and recipe.trimap.method != "mask"

    def _cache_name(self, recipe: Recipe) -> str:
        """Return the name of a file in the cache: a digest of all that decides its contents."""
        options, files = self.manifest.options, self.foregrounds[recipe.foreground].files
        sources = [self.manifest.sources[key].digest for key in (files.image, files.alpha, files.trimap) if key]
        drawn = self._has_drawn_trimap(recipe)
        rule = recipe.trimap and [recipe.trimap.tolerance if drawn else astuple(recipe.trimap)]
        colours = "photo" if recipe.background is None else options.foreground
        parts = [sources, recipe.size, colours, options.resize_alpha, rule, dict(self.versions)]
        return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.planes"


def open_plan(root: Path, split: str, cache: Path, jobs: int = -1, progress: Progress = quiet) -> PlannedSamples:
    """Open one split of the plan in a folder, whether or not its samples were made.

    Raises ShmDataError where there is no plan, the split is empty, or its sources are gone or have changed.
    """
    layout = Layout(root)
    manifest = read_manifest(layout)
    if manifest is None:
        expected = "a folder that shm-data composite or plan made"
        raise ShmDataError(path=root, found="no dataset.json", expected=expected)
    refuse_changed_sources(manifest, manifest.roots, jobs=jobs, progress=progress)
    names, offsets, used, shown = _split_of(layout, manifest, split)
    if not names:
        raise EmptySplitError(path=layout.recipes, found=f"no samples in {split}", expected="at least one")
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    able = [people[name] for name in sorted(shown) if partners.can_pair(people[name])]
    starts = np.array(offsets, np.int64)
    return PlannedSamples(layout, manifest, people, names, starts, sorted(used), able, cache, versions())


def _split_of(layout: Layout, manifest: Manifest, split: str) -> tuple[list[str], list[int], set[str], set[str]]:
    """Return the names of a split's samples, their recipes' offsets, and the backgrounds and foregrounds they use."""
    names, offsets, offset = [], [], 0
    used: set[str] = set()
    shown: set[str] = set()
    belongs = manifest.membership()
    with layout.recipes.open("rb") as file:
        for number, line in enumerate(itertools.islice(file, manifest.counts.samples), 1):
            recipe = parse_line(line, f"{layout.recipes}, line {number}", belongs)
            if recipe.split == split:
                names.append(recipe.name)
                offsets.append(offset)
                used |= {recipe.background} if recipe.background else set()
                shown.add(recipe.foreground)
            offset += len(line)
    return names, offsets, used, shown
