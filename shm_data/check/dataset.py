"""A data set on disk against its layout, its lists and its recipes."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shm_data.check.deep import rerender
from shm_data.check.findings import Finding, Verdict, error
from shm_data.check.lookalikes import lookalikes
from shm_data.check.names import Book, leaks, read_book, recipes_of
from shm_data.check.samples import check_task, tasks_of
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array


@dataclass(frozen=True, slots=True)
class _Survey:
    """What all samples amount to: by foreground the first sample in each split, and the hashes."""

    findings: list[Finding]
    samples: Mapping[str, Mapping[str, str]]
    hashes: Mapping[str, Array]


def check_dataset(root: Path, *, deep: int = 0, jobs: int = -1, progress: Progress = quiet) -> Verdict:
    """Checks the data set in a folder, of ours or of the same layout; writes nothing.

    Without recipes.jsonl or dataset.json it checks what it can and says what it could not. With `deep`, so many
    samples, spread over the plan, are made again and compared. Memory grows with the samples by their names, and with
    the foregrounds by their hashes. Raises ShmDataError where there is no data set.
    """
    layout = Layout(root)
    return check_book(layout, read_book(layout), deep=deep, jobs=jobs, progress=progress)


def check_book(layout: Layout, book: Book, *, deep: int = 0, jobs: int = -1, progress: Progress = quiet) -> Verdict:
    """Checks a data set, as `check_dataset` does, of which is known already what it says of itself."""
    survey = _survey(layout, book, jobs, progress)
    findings = [*book.findings, *survey.findings, *_leaks(layout, book, survey), *_lookalikes(survey)]
    left: list[str] = []
    if deep and book.manifest is not None:
        of_deep, left = rerender(layout, book.manifest, deep, jobs, progress)
        findings += of_deep
    return Verdict(
        tuple(findings), _counts(book, survey), tuple(_checked(book, deep)), (*_unchecked(book, deep), *left)
    )


def _survey(layout: Layout, book: Book, jobs: int, progress: Progress) -> _Survey:
    """Reads all samples; what holds for an alpha is told once."""
    findings: list[Finding] = []
    samples: dict[str, dict[str, str]] = {}
    hashes: dict[str, Array] = {}
    alphas: set[str] = set()
    parts = spread(partial(check_task, layout), tasks_of(layout, book), jobs, ordered=True)
    for outcome in progress(itertools.chain.from_iterable(parts), len(book.splits), "checking"):
        findings += outcome.findings
        if outcome.key is None or outcome.alpha is None:
            continue
        samples.setdefault(outcome.key, {}).setdefault(book.splits[outcome.name], outcome.name)
        if outcome.alpha not in alphas:
            findings += outcome.of_alpha
            alphas.add(outcome.alpha)
        if outcome.hashes is not None:
            hashes.setdefault(outcome.key, outcome.hashes)
    return _Survey(findings, samples, hashes)


def _leaks(layout: Layout, book: Book, survey: _Survey) -> Iterator[Finding]:
    """What the splits share: told by the recipes, and of samples without recipes by their alphas."""
    if book.planned is not None:
        group = None if book.manifest is None else book.manifest.options.group
        yield from leaks(recipes_of(layout, book.manifest), book.splits, group)
    for names in survey.samples.values():
        train, val = (names.get(split) for split in SPLITS)
        if train and val and val not in (book.planned or ()):
            yield error("leak", val, f"the alpha of {train} in train", "no foreground in both splits")


def _lookalikes(survey: _Survey) -> Iterator[Finding]:
    """Foregrounds of val that are nearly the same as one of train."""
    sides: dict[str, list[tuple[str, Array]]] = {split: [] for split in (*SPLITS, "")}
    for key, hashes in survey.hashes.items():
        split, name = next(iter(survey.samples[key].items()))
        sides[split].append((name, hashes))
    train, val = (sides[split] for split in SPLITS)
    if train and val:
        stacks = (np.stack([hashes for _, hashes in side]) for side in (train, val))
        for one, other, distance in lookalikes(*stacks):
            found = f"nearly the foreground of {train[one][0]} in train ({distance:.0%} of the hash differs)"
            yield error("lookalike", val[other][0], found, "nobody in both splits")


def _counts(book: Book, survey: _Survey) -> dict[str, int]:
    sides = {split: sum(side == split for side in book.splits.values()) for split in SPLITS}
    return {"samples": len(book.splits), **sides, "foregrounds": len(survey.samples)}


def _checked(book: Book, deep: int) -> Iterator[str]:
    yield "lists, folders, files and their sizes"
    yield "alphas, and trimaps against them"
    if book.planned is not None:
        yield "recipes against lists, and the foregrounds and backgrounds that the splits share"
    if book.manifest is not None and book.manifest.options.group:
        yield "the groups that the splits share"
    yield "foregrounds that are nearly the same in both splits"
    if deep and book.manifest is not None:
        yield "samples made again from their sources"


def _unchecked(book: Book, deep: int) -> Iterator[str]:
    if book.planned is None:
        yield "backgrounds that the splits share (no recipes.jsonl)"
    if book.manifest is None:
        yield "groups that the splits share (no dataset.json)"
    elif not book.manifest.options.group:
        yield "other photos of one person in both splits (made without --group)"
    if not any(book.splits.values()):
        yield "what the splits share (no lists)"
    if deep and book.manifest is None:
        yield "samples against their sources (no dataset.json)"
    if not deep:
        yield "samples against their sources (--deep N makes N of them again)"
