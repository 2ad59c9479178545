"""Which foreground and which background each sample of a data set shows, as its recipes say."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import Recipe, from_line, read_recipes


class Origin(NamedTuple):
    """The name of a sample's foreground, and the key of its background: None for a photo as it was taken."""

    foreground: str
    background: str | None


def read_origins(layout: Layout, names: Sequence[str]) -> list[Origin | None]:
    """Return the origins of samples by their names; None for samples without a recipe.

    Raises ShmDataError where the record is broken or does not fit the recipes.
    """
    manifest = read_manifest(layout) if os.path.lexists(layout.manifest) else None
    if manifest is None:
        return [None] * len(names)
    recipes = read_recipes(layout.recipes, manifest.counts.samples, belongs=manifest.membership())
    origins = {recipe.name: _origin(recipe) for recipe in recipes}
    return [origins.get(name) for name in names]


def parse_origin(line: bytes) -> Origin | None:
    """Return the origin in the JSON object of a sample in a shard; None where that is no recipe."""
    try:
        return _origin(from_line(line))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _origin(recipe: Recipe) -> Origin:
    return Origin(recipe.foreground, recipe.background)
