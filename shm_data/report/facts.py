"""The facts of a data set that need no pixels: from its lists, folders, dataset.json and recipes."""

import heapq
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from shm_data.check.index import DatasetIndex, recipes_of
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.recipes import Recipe
from shm_data.draws import draws
from shm_data.parallel import Progress
from shm_data.pixels.compositing import Size
from shm_data.planning.resolution import enlargement
from shm_data.planning.splits import group_of

# The number of samples on a page, and the least number of each split.
SHOWN, LEAST = 22, 5


@dataclass(frozen=True, slots=True)
class Disk:
    """The bytes of the files by folder, hard links counted once, and the bytes that hard links save."""

    folders: dict[str, int]
    records: int
    saved: int

    @property
    def total(self) -> int:
        """Return all bytes on disk."""
        return sum(self.folders.values()) + self.records


@dataclass(slots=True)
class Tally:
    """The recipes, counted. The sets are by split.

    `enlargements` has how many times the background of each composite is enlarged; `kept` are the recipes of the
    samples on the page, and of those that were measured.
    """

    originals: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    foregrounds: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    groups: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    backgrounds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kept: dict[str, Recipe] = field(default_factory=dict)
    enlargements: MutableSequence[float] = field(default_factory=lambda: array("f"))

    @property
    def people(self) -> int:
        """Return the number of foregrounds."""
        return len(set[str]().union(*self.foregrounds.values()))

    @property
    def uses(self) -> Counter[str]:
        """Return how often each background is used."""
        return sum(self.backgrounds.values(), Counter())


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a data set: `splits` as in the lists, `tally` is None where there are no recipes."""

    name: str
    manifest: Manifest | None
    splits: Mapping[str, str]
    counts: dict[str, int]
    disk: Disk
    tally: Tally | None


def facts_of(layout: Layout, index: DatasetIndex, names: AbstractSet[str], progress: Progress) -> Facts:
    """Return the facts of a data set, with the recipes of the samples in `names`; recipes are read one by one."""
    sides = Counter(index.splits.values())
    counts = {split: sides[split] for split in (*SPLITS, "") if split or sides[split]}
    name = Path(os.path.realpath(layout.root)).name
    tally = None if index.planned is None else _tally(layout, index, names, progress)
    return Facts(name, index.manifest, index.splits, counts, _disk(layout), tally)


def choose(names: Iterable[str], seed: int, count: int) -> list[str]:
    """Return at most `count` of the names, chosen by the seed: the same ones whatever their order."""
    return heapq.nsmallest(count, names, key=lambda name: next(draws(seed, "report", name)))


def names_to_show(splits: Mapping[str, str], seed: int) -> list[str]:
    """Return the names of the samples that a page shows, split by split."""
    sides = Counter(splits.values())
    shares = {side: max(LEAST, round(SHOWN * number / len(splits))) for side, number in sides.items()}
    return [
        name
        for side in (*SPLITS, "")
        for name in choose((name for name in splits if splits[name] == side), seed, shares.get(side, 0))
    ]


def _tally(layout: Layout, index: DatasetIndex, names: AbstractSet[str], progress: Progress) -> Tally:
    tally = Tally()
    pattern = None if index.manifest is None else index.manifest.options.group
    recipes = progress(recipes_of(layout, index.manifest), len(index.planned or ()), "reading recipes")
    for recipe in recipes:
        if recipe.name in index.splits:
            side = index.splits[recipe.name]
            tally.sizes[recipe.size] += 1
            tally.foregrounds[side].add(recipe.foreground)
            tally.groups[side].add(group_of(recipe.foreground, pattern))
            if recipe.background is None:
                tally.originals += 1
            else:
                tally.backgrounds[side][recipe.background] += 1
                tally.enlargements.append(enlargement(recipe) or 1.0)
        if recipe.name in names:
            tally.kept[recipe.name] = recipe
    return tally


def _disk(layout: Layout) -> Disk:
    seen: set[tuple[int, int]] = set()
    folders, saved = {}, 0
    for folder in layout.folders:
        used = 0
        for status in _files(folder):
            identity = status.st_dev, status.st_ino
            if identity in seen:
                saved += status.st_size
                continue
            used += status.st_size
            if status.st_nlink > 1:
                seen.add(identity)
        folders[folder.name] = used
    records = (layout.recipes, layout.manifest, *map(layout.names_of, SPLITS))
    return Disk(folders, sum(path.stat().st_size for path in records if path.is_file()), saved)


def _files(folder: Path) -> Iterator[os.stat_result]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from (entry.stat() for entry in entries if entry.is_file())
