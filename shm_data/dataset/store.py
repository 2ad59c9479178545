"""A folder with a data set: its record, its plan, its lock, and the step that completes it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shm_data.dataset.card import Share, card, write_card
from shm_data.dataset.layout import SPLITS, Layout, write_lists
from shm_data.dataset.manifest import Manifest, read_manifest, write_manifest
from shm_data.dataset.picture_table import open_tables
from shm_data.dataset.recipes import Recipe, read_recipes, write_recipes
from shm_data.errors import BusyError
from shm_data.files import locked, make_folders


@dataclass(frozen=True, slots=True)
class Plan:
    """What a data set will hold: its record, and the recipes of its samples one by one, as often as asked.

    A `recorded` plan is the one that the folder holds already. `previous` is the record that the folder held before.
    """

    manifest: Manifest
    recipes: Callable[[], Iterator[Recipe]]
    recorded: bool = False
    previous: Manifest | None = None

    def examples(self, count: int) -> list[Recipe]:
        """Return at most `count` composites, spread evenly over the plan, or originals where it has no composites."""
        composites = sum(recipe.background is not None for recipe in self.recipes())
        kind = (recipe for recipe in self.recipes() if (recipe.background is not None) == (composites > 0))
        total = composites or self.manifest.counts.samples
        count = min(count, total)
        chosen = {(2 * part + 1) * total // (2 * count) for part in range(count)}
        return [recipe for index, recipe in enumerate(kind) if index in chosen]

    def some_recipes(self, count: int) -> list[Recipe]:
        """Return `count` recipes, or all, spread evenly over the plan: the middle recipe of each of `count` parts."""
        total = self.manifest.counts.samples
        count = min(count, total)
        chosen = {(2 * part + 1) * total // (2 * count) for part in range(count)}
        return [recipe for index, recipe in enumerate(self.recipes()) if index in chosen]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder that holds a data set, or will."""

    root: Path

    @property
    def layout(self) -> Layout:
        """Where each file lies."""
        return Layout(self.root)

    def manifest(self) -> Manifest | None:
        """Return the record, None in a new folder. Raises ShmDataError where it is broken."""
        return read_manifest(self.layout)

    def recorded_plan(self) -> Plan | None:
        """Return the plan that the folder holds, None in a new folder. Raises ShmDataError as `manifest` does."""
        manifest = self.manifest()
        return None if manifest is None else self._recorded(manifest)

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Keep the folder, which is created, to this run, or to runs that share it. Raises BusyError, WriteError."""
        make_folders(self.root)
        with locked(self.root, shared=shared):
            yield

    def adopt(self, plan: Plan) -> Plan:
        """Record a plan: first the recipes, then the record that vouches for them.

        A run killed between the two leaves recipes among which the previous record, if any, still finds its own.
        Raises BusyError where another run has written a record since the plan was made.
        """
        self._require(plan.previous)
        manifest = plan.manifest
        if not plan.recorded:
            digest = write_recipes(self.layout.recipes, plan.recipes())
            manifest = manifest.model_copy(update={"digest": digest})
        write_manifest(self.layout, manifest)
        return self._recorded(manifest)

    def missing(self, plan: Plan) -> Iterator[tuple[int, str]]:
        """Return index and name of each sample of a plan that lacks a file."""
        present = self.layout.present(plan.manifest.options.extension)
        return ((index, r.name) for index, r in enumerate(plan.recipes()) if r.name not in present)

    def finish(self, plan: Plan) -> Manifest:
        """Write the lists and tables, the card and, last of all, that the data set is complete. Return the record.

        Raises BusyError where another run has changed the record.
        """
        self._require(plan.manifest)
        shares = {split: Share() for split in SPLITS}

        with open_tables(self.layout, plan.manifest) as add_row:

            def names() -> Iterator[tuple[str, str]]:
                for recipe in plan.recipes():
                    shares[recipe.split].count(recipe)
                    add_row(recipe)
                    yield recipe.split, recipe.name

            write_lists(self.root, names())
        manifest = plan.manifest.model_copy(update={"complete": True})
        write_card(self.layout.card, card(manifest, shares))
        write_manifest(self.layout, manifest)
        return manifest

    def _require(self, manifest: Manifest | None) -> None:
        if self.manifest() != manifest:
            raise BusyError("was changed by another run", path=self.root, expected="the same command again")

    def _recorded(self, manifest: Manifest) -> Plan:
        count, belongs = manifest.counts.samples, manifest.membership()

        def recipes() -> Iterator[Recipe]:
            return read_recipes(self.layout.recipes, count, belongs=belongs)

        return Plan(manifest, recipes, recorded=True, previous=manifest)
