"""Keeps backgrounds as sharp as people: how much a background is enlarged, and how to limit it. Pure.

A background that is enlarged is blurred. If all backgrounds are, a network can tell the person by sharpness alone,
which it cannot in photographs.
"""

import math
from collections.abc import Sequence

from shm_data.dataset.recipes import Recipe
from shm_data.pixels.compositing import Size, fit
from shm_data.sources.types import Background

# Beyond this median enlargement of the backgrounds a person can be recognised by sharpness.
VISIBLE_ENLARGEMENT = 1.5

# With a limit, at least this share of a split's backgrounds stays usable for each foreground, so that they vary.
_KEPT = 0.5


def enlargement(recipe: Recipe) -> float | None:
    """Return how many times the background of a recipe is enlarged (below 1: reduced); None for an original."""
    if recipe.crop is None:
        return None
    return max(recipe.size[0] / recipe.crop[2], recipe.size[1] / recipe.crop[3])


def relative_blur(recipe: Recipe) -> float | None:
    """Return how many times coarser the background of a recipe is than its person; None for an original.

    That is its enlargement, unless one band limit was laid over both.
    """
    factor = enlargement(recipe)
    return factor if factor is None or recipe.augment is None else factor / recipe.augment.band_factor


def least_enlargement(background: Size, size: Size) -> float:
    """Return how many times a background must be enlarged to cover a sample of `size` (width, height)."""
    return max(size[0] / background[0], size[1] / background[1])


def limit_size(size: Size, longest: int, pool: Sequence[Background], limit: float, count: int) -> Size:
    """Return `size` scaled so that enough backgrounds cover it when they are enlarged at most `limit` times.

    Enough is `count`, and at least half of the pool. The long edge is at most `longest` px.
    """
    enough = min(len(pool), max(count, math.ceil(_KEPT * len(pool))))
    largest = sorted((each.size for each in pool), key=lambda each: least_enlargement(each, size))[:enough]
    longest = max(1, min(longest, int(max(size) * limit / least_enlargement(largest[-1], size))))
    while longest > 1 and max(least_enlargement(each, fit(size, longest)) for each in largest) > limit:
        longest -= 1  # the short edge was rounded up
    return fit(size, longest)


def too_small(size: Size, pool: Sequence[Background], limit: float) -> set[int]:
    """Return the indices of backgrounds that would be enlarged more than `limit` times for a sample of `size`."""
    return {index for index, each in enumerate(pool) if least_enlargement(each.size, size) > limit}


def limit_share(share: float, background: Size, size: Size, limit: float | None) -> float:
    """Return the share of the largest crop's side, raised so that the crop is enlarged at most `limit` times."""
    return share if limit is None else max(share, min(1.0, least_enlargement(background, size) / limit))
