"""Reads the files that a plan uses, before it is recorded: broken backgrounds are replaced, all are fingerprinted."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from shm_data import images
from shm_data.dataset.fingerprints import Fingerprint, fingerprint_of
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Counts
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, Skipped, is_machine_fault
from shm_data.parallel import Progress, spread
from shm_data.planning.resolution import enlargement
from shm_data.sources import Background, Foreground, path_of

# The recipes of a plan without the backgrounds of these keys.
Draw = Callable[[AbstractSet[str]], Iterator[Recipe]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the recipes of a plan amount to: counts, the keys of the backgrounds, and how much each is enlarged."""

    counts: Counts
    backgrounds: set[str]
    enlargements: Sequence[float]


@dataclass(frozen=True, slots=True)
class Survey:
    """What reading the files of a plan gave: a tally, fingerprints by key, and the broken backgrounds by key."""

    tally: Tally
    fingerprints: dict[str, Fingerprint]
    broken: Mapping[str, Skipped]


def survey(
    draw: Draw,
    foregrounds: Sequence[Foreground],
    backgrounds: Sequence[Background],
    *,
    roots: Mapping[str, Path],
    known: Mapping[str, Fingerprint],
    jobs: int,
    progress: Progress,
) -> Survey:
    """Read every background that the plan uses until none is broken; `known` fingerprints are not taken again."""
    paths = {background.key: background.path for background in backgrounds}
    fingerprints = dict(known)
    broken: dict[str, Skipped] = {}
    while True:
        tally = count(draw(broken.keys()))
        untried = sorted(tally.backgrounds - fingerprints.keys())
        results = spread(_try_background, ((key, paths[key]) for key in untried), jobs, ordered=True, batch=16)
        tried = list(progress(results, len(untried), "reading backgrounds"))
        faults = {result.what: result for result in tried if isinstance(result, Skipped)}
        good = {key: result for key, result in zip(untried, tried, strict=True) if isinstance(result, Fingerprint)}
        fingerprints |= good
        broken |= faults
        if not faults:
            break
    keys = [key for f in foregrounds for key in (f.files.image, f.files.alpha, f.files.trimap) if key is not None]
    unread = [key for key in keys if key not in fingerprints]
    read = spread(lambda key: fingerprint_of(path_of(key, roots)), unread, jobs, ordered=True, batch=16)
    fingerprints |= zip(unread, read, strict=True)
    return Survey(tally, {key: fingerprints[key] for key in (*sorted(tally.backgrounds), *keys)}, broken)


def count(recipes: Iterable[Recipe]) -> Tally:
    """Return what the recipes of a plan amount to."""
    splits = dict.fromkeys(SPLITS, 0)
    names: set[str] = set()
    used: set[str] = set()
    enlargements = array("f")
    for recipe in recipes:
        splits[recipe.split] += 1
        names.add(recipe.foreground)
        if recipe.background is not None:
            used.add(recipe.background)
            enlargements.append(enlargement(recipe) or 1.0)
    samples = sum(splits.values())
    counts = Counts(samples=samples, **splits, foregrounds=len(names), backgrounds=len(used))
    return Tally(counts, used, enlargements)


def _try_background(background: tuple[str, Path]) -> Fingerprint | Skipped:
    key, path = background
    try:
        images.read_background(path)
        return fingerprint_of(path)
    except ShmDataError as error:
        return Skipped(key, error.reason)
    except OSError as error:
        if is_machine_fault(error):
            raise
        return Skipped(key, f"cannot be read ({error.strerror})")
