"""Checks a data set on disk against its layout, its lists and its recipes."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from shm_data import images
from shm_data.check.deep import rerender
from shm_data.check.findings import Finding, Unchecked, Verdict, error, warning
from shm_data.check.index import DatasetIndex, digests_of, leaks, read_index, recipes_of
from shm_data.check.samples import Visit, check_task, no_visit, tasks_of
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.local import require_roots
from shm_data.dataset.manifest import Manifest
from shm_data.errors import ShmDataError
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.pixels.near_duplicates import hashes_of_photo, near_duplicates
from shm_data.planning.resolution import VISIBLE_ENLARGEMENT, relative_blur
from shm_data.planning.splits import count_matches
from shm_data.sources import path_of


@dataclass(frozen=True, slots=True)
class _Survey:
    """The findings in all samples; the first sample of each foreground in each split; the foregrounds' hashes."""

    findings: list[Finding]
    samples: Mapping[str, Mapping[str, str]]
    hashes: Mapping[str, Array]


def check_dataset(root: Path, *, deep: int = 0, jobs: int = -1, progress: Progress = quiet) -> Verdict:
    """Check a data set in a folder, made by shm-data or of the same layout; write nothing.

    Without recipes.jsonl or dataset.json it checks what it can and reports what it could not. `deep` is the number
    of samples, spread over the plan, that are made again and compared. Memory grows with the names of the samples
    and with the hashes of the foregrounds. Raises ShmDataError where there is no data set.
    """
    layout = Layout(root)
    return check_index(layout, read_index(layout), deep=deep, jobs=jobs, progress=progress)


def check_index(
    layout: Layout,
    index: DatasetIndex,
    *,
    deep: int = 0,
    jobs: int = -1,
    progress: Progress = quiet,
    visit: Visit = no_visit,
) -> Verdict:
    """Check a data set as `check_dataset` does, from an index that was read before; `visit` sees each sample."""
    survey = _survey(layout, index, visit, jobs, progress)
    findings = [*index.findings, *survey.findings, *_leaks(layout, index, survey), *_near_duplicates(survey)]
    findings += _enlarged(layout, index)
    of_backgrounds, left = _near_backgrounds(layout, index, jobs, progress, always=deep > 0)
    findings += of_backgrounds
    if deep and index.manifest is not None and index.planned is not None:
        of_deep, more = rerender(layout, index.manifest, deep, jobs, progress)
        findings += of_deep
        left += more
    return Verdict(
        tuple(findings), _counts(index, survey), tuple(_checked(index, deep)), (*_unchecked(index, deep), *left)
    )


def _survey(layout: Layout, index: DatasetIndex, visit: Visit, jobs: int, progress: Progress) -> _Survey:
    """Read all samples; a finding about an alpha is reported once for all samples that share it."""
    findings: list[Finding] = []
    samples: dict[str, dict[str, str]] = {}
    hashes: dict[str, Array] = {}
    alphas: set[str] = set()
    parts = spread(partial(check_task, layout, visit), tasks_of(layout, index), jobs, ordered=True)
    for outcome in progress(itertools.chain.from_iterable(parts), len(index.splits), "checking"):
        findings += outcome.findings
        if outcome.key is None or outcome.alpha is None:
            continue
        samples.setdefault(outcome.key, {}).setdefault(index.splits[outcome.name], outcome.name)
        if outcome.alpha not in alphas:
            findings += outcome.of_alpha
            alphas.add(outcome.alpha)
        if outcome.hashes is not None:
            hashes.setdefault(outcome.key, outcome.hashes)
    return _Survey(findings, samples, hashes)


def _leaks(layout: Layout, index: DatasetIndex, survey: _Survey) -> Iterator[Finding]:
    """Yield what the splits share: by the recipes, and for samples without recipes by their alphas."""
    if index.planned is not None:
        group = None if index.manifest is None else index.manifest.options.group
        digests = None if index.manifest is None else digests_of(index.manifest)
        yield from leaks(recipes_of(layout, index.manifest), index.splits, group, digests)
    for names in survey.samples.values():
        train, val = (names.get(split) for split in SPLITS)
        if train and val and val not in (index.planned or ()):
            yield error("leak", val, f"the alpha of {train} in train", "no foreground in both splits", train)


def _near_duplicates(survey: _Survey) -> Iterator[Finding]:
    """Yield the foregrounds of val that are near duplicates of one of train."""
    sides: dict[str, list[tuple[str, Array]]] = {split: [] for split in (*SPLITS, "")}
    for key, hashes in survey.hashes.items():
        split, name = next(iter(survey.samples[key].items()))
        sides[split].append((name, hashes))
    yield from _pairs(sides, "foreground")


def _near_backgrounds(
    layout: Layout, index: DatasetIndex, jobs: int, progress: Progress, *, always: bool
) -> tuple[list[Finding], list[Unchecked]]:
    """Return the backgrounds of val that are near duplicates of one of train, and what could not be compared.

    They are read unless the record says that they were compared when the set was planned, or `always`.
    """
    manifest = index.manifest
    if manifest is None or index.planned is None or (manifest.distinct and not always):
        return [], []
    recipes = (recipe for recipe in recipes_of(layout, manifest) if recipe.background is not None)
    splits = {str(recipe.background): index.splits.get(recipe.name) or recipe.split for recipe in recipes}
    results = spread(partial(_hashes_of_background, manifest), splits, jobs, ordered=True, batch=16)
    sides: dict[str, list[tuple[str, Array]]] = {split: [] for split in SPLITS}
    faults = []
    hashed = progress(results, len(splits), "comparing backgrounds")
    for (key, split), hashes in zip(splits.items(), hashed, strict=True):
        if isinstance(hashes, ShmDataError):
            faults.append(hashes)
        elif hashes is not None:
            sides[split].append((key, hashes))
    phrase = f"{len(faults)} of {len(splits)} backgrounds against those of the other split"
    left = [Unchecked("near_duplicate", f"{phrase} ({faults[0]})")] if faults else []
    return list(_pairs(sides, "background")), left


def _hashes_of_background(manifest: Manifest, key: str) -> Array | ShmDataError | None:
    """Return the hashes of a background, None where it is too plain, or why it cannot be read."""
    try:
        require_roots(manifest.roots)
        return hashes_of_photo(images.read_background(path_of(key, manifest.roots))[0])
    except ShmDataError as fault:
        return fault
    except OSError as fault:
        return ShmDataError(key, found=fault.strerror, expected="the picture as recorded")


def _pairs(sides: Mapping[str, list[tuple[str, Array]]], kind: str) -> Iterator[Finding]:
    """Yield what is in val and nearly the same as one in train, of the names and hashes of each split."""
    train, val = (sides[split] for split in SPLITS)
    if train and val:
        stacks = (np.stack([hashes for _, hashes in side]) for side in (train, val))
        for one, other, distance in near_duplicates(*stacks):
            name = train[one][0]
            of = " of" * (kind == "foreground")  # which is known by a sample; a background by itself
            found = f"nearly the {kind}{of} {name} in train ({distance:.0%} of the hash differs)"
            yield error("near_duplicate", val[other][0], found, f"different {kind}s in both splits", name)


def _enlarged(layout: Layout, index: DatasetIndex) -> Iterator[Finding]:
    """Yield a warning where the backgrounds of the recipes are visibly enlarged."""
    if index.planned is None:
        return
    factors = [
        factor for recipe in recipes_of(layout, index.manifest) if (factor := relative_blur(recipe)) is not None
    ]
    if factors and (middle := median(factors)) > VISIBLE_ENLARGEMENT:
        expected = f"at most {VISIBLE_ENLARGEMENT}, by larger backgrounds or --max-enlarge; see docs/gap.md"
        yield warning("enlarged", "recipes.jsonl", f"{middle:.1f} times in the median", expected)


def _counts(index: DatasetIndex, survey: _Survey) -> dict[str, int]:
    sides = {split: sum(side == split for side in index.splits.values()) for split in SPLITS}
    return {"samples": len(index.splits), **sides, "foregrounds": len(survey.samples)}


def _checked(index: DatasetIndex, deep: int) -> Iterator[str]:
    yield "lists, folders, files and their sizes"
    yield "alphas, and trimaps against them"
    if index.planned is not None:
        yield "recipes against lists, and the foregrounds and backgrounds that the splits share"
    if index.manifest is not None and index.manifest.options.group:
        yield "the groups that the splits share"
    yield "foregrounds that are nearly the same in both splits"
    if index.manifest is not None and index.planned is not None:
        yield "backgrounds that are nearly the same in both splits"
    if deep and index.manifest is not None and index.planned is not None:
        yield "samples made again from their sources"


def _caveat_about_groups(manifest: Manifest) -> str:
    """Return why photos of one person may be in several groups, "" where --group matches every name."""
    if not manifest.options.group:
        return "made without --group"
    names = [foreground.files.name for foreground in manifest.foregrounds]
    matched = count_matches(names, manifest.options.group)
    return "" if matched == len(names) else f"--group matches {matched} of {len(names)} names"


def _unchecked(index: DatasetIndex, deep: int) -> Iterator[Unchecked]:
    if index.planned is None:
        yield Unchecked("leak", "backgrounds that the splits share (no recipes.jsonl)")
    if index.manifest is None:
        yield Unchecked("leak", "groups that the splits share (no dataset.json)")
    elif caveat := _caveat_about_groups(index.manifest):
        yield Unchecked("leak", f"other photos of one person in both splits ({caveat})")
    if not any(index.splits.values()):
        yield Unchecked("leak", "what the splits share (no lists)")
    if deep and (index.manifest is None or index.planned is None):
        yield Unchecked("rerender", "samples against their sources (no dataset.json with its recipes.jsonl)")
    if not deep:
        yield Unchecked("rerender", "samples against their sources (--deep N makes N of them again)")
