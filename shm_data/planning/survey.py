"""Reads the files that a plan uses, before it is recorded: broken backgrounds are replaced, all are fingerprinted."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shm_data import images
from shm_data.dataset.fingerprints import Fingerprint, fingerprint_of
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Counts
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, Skipped, is_machine_fault
from shm_data.parallel import Progress, spread
from shm_data.pixels.arrays import Array
from shm_data.pixels.near_duplicates import hashes_of_photo, near_duplicate_pairs
from shm_data.planning.resolution import relative_blur
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
    decoys: Sequence[str],
    roots: Mapping[str, Path],
    known: Mapping[str, Fingerprint],
    jobs: int,
    progress: Progress,
) -> Survey:
    """Read every background that the plan uses until none is broken, and none a copy of another or of a foreground.

    Of copies the one with a fingerprint in `known` stays, else the first by key.
    """
    keys = [key for f in foregrounds for key in (f.files.image, f.files.alpha, f.files.trimap) if key is not None]
    keys += decoys
    unread = [key for key in keys if key not in known]
    read = spread(lambda key: fingerprint_of(path_of(key, roots)), unread, jobs, ordered=True, batch=16)
    fingerprints = dict(known) | dict(zip(unread, read, strict=True))
    photos = {fingerprints[foreground.files.image].digest for foreground in foregrounds}
    paths = {background.key: background.path for background in backgrounds}
    hashes: dict[str, Array | None] = {}
    broken: dict[str, Skipped] = {}
    while True:
        tally = count(draw(broken.keys()))
        untried = sorted(tally.backgrounds - hashes.keys())
        results = spread(_try_background, ((key, paths[key]) for key in untried), jobs, ordered=True, batch=16)
        faults: dict[str, Skipped] = {}
        for key, result in zip(untried, progress(results, len(untried), "reading backgrounds"), strict=True):
            if isinstance(result, Skipped):
                faults[key] = result
            else:
                fingerprints[key], hashes[key] = result
        readable = sorted(tally.backgrounds & hashes.keys(), key=lambda key: (key not in known, key))
        faults |= _copies(readable, fingerprints, hashes, photos)
        broken |= {key: fault for key, fault in faults.items() if key not in known}
        if not faults.keys() - known.keys():
            break
    return Survey(tally, {key: fingerprints[key] for key in (*sorted(tally.backgrounds), *keys)}, broken)


def _copies(
    keys: Sequence[str],
    fingerprints: Mapping[str, Fingerprint],
    hashes: Mapping[str, Array | None],
    photos: AbstractSet[str],
) -> dict[str, Skipped]:
    """Return the backgrounds that are copies of an earlier one, or of a photo with one of these digests."""
    hashed = [(key, found) for key in keys if (found := hashes[key]) is not None]
    pairs = near_duplicate_pairs(np.stack([found for _, found in hashed])) if hashed else []
    alike: dict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        alike[hashed[other][0]].add(hashed[one][0])
    kept: dict[str, str] = {}
    copies = {}
    for key in keys:
        digest = fingerprints[key].digest
        if digest in photos:
            copies[key] = Skipped(key, "the same photo as a foreground")
        elif digest in kept:
            copies[key] = Skipped(key, "the same photo as another background")
        elif not alike[key].isdisjoint(kept.values()):
            copies[key] = Skipped(key, "nearly the same photo as another background")
        else:
            kept[digest] = key
    return copies


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
            enlargements.append(relative_blur(recipe) or 1.0)
    samples = sum(splits.values())
    counts = Counts(samples=samples, **splits, foregrounds=len(names), backgrounds=len(used))
    return Tally(counts, used, enlargements)


def _try_background(background: tuple[str, Path]) -> tuple[Fingerprint, Array | None] | Skipped:
    """Return the fingerprint of a background and its perceptual hashes, or why it cannot be used."""
    key, path = background
    try:
        pixels, _ = images.read_background(path)
        return fingerprint_of(path), hashes_of_photo(pixels)
    except ShmDataError as error:
        return Skipped(key, error.reason)
    except OSError as error:
        if is_machine_fault(error):
            raise
        return Skipped(key, f"cannot be read ({error.strerror})")
