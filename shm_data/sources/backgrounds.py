"""Finds background photos in Pascal VOC, COCO and plain folders: by default those without people."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shm_data.errors import ShmDataError, Skipped
from shm_data.images import read_size
from shm_data.parallel import Progress, quiet, spread
from shm_data.sources import background_folders, coco, voc
from shm_data.sources.background_folders import SHOWS_PERSON, Candidate
from shm_data.sources.types import Background

__all__ = ["MIN_EDGE", "Pool", "licences", "scan"]

# A background is enlarged until it covers the foreground: a smaller one would only be blur.
MIN_EDGE = 128

_TINY = f"shorter edge below {MIN_EDGE} px"
_TWICE = "the same photo as another background"


@dataclass(frozen=True, slots=True)
class Pool:
    """The usable backgrounds in the order of their keys, the folders they are from, and what was skipped."""

    backgrounds: tuple[Background, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A candidate with its key; photos that share one of their `names` are the same photo."""

    key: str
    path: Path
    candidate: Candidate
    names: set[str]


def scan(
    *,
    vocroot: Sequence[Path] = (),
    vocset: str | None = None,
    cocoroot: Sequence[Path] = (),
    bgdir: Sequence[Path] = (),
    people: bool = False,
    jobs: int = -1,
    progress: Progress = quiet,
) -> Pool:
    """Find the backgrounds in VOC trees, COCO roots and plain folders; without `people`, those known to show none.

    `vocset` limits VOC to ImageSets/Main/VOCSET.txt. All pictures of a plain folder are used: it has no annotations.
    Only headers are read, so a truncated picture passes. Each photo is used once, under its first key.
    Raises ShmDataError for a root without pictures, a missing list, and annotations that are missing or broken.
    """
    vocs = _labelled("voc", (tree for root in vocroot for tree in voc.trees(root)))
    cocos = _labelled("coco", cocoroot)
    folders = _labelled("bgdir", bgdir)
    entries = [
        *_entries(vocs, lambda root: voc.candidates(root, vocset, people=people, jobs=jobs)),
        *_entries(cocos, lambda root: coco.candidates(root, people=people)),
        *_entries(folders, background_folders.candidates),
    ]
    photos, skipped = _choose(entries)
    results = list(progress(spread(_read, photos, jobs, batch=64), len(photos), "reading background headers"))
    backgrounds = [result for result in results if isinstance(result, Background)]
    skipped += [result for result in results if isinstance(result, Skipped)]
    return Pool(
        tuple(sorted(backgrounds, key=lambda background: background.key)),
        vocs | cocos | folders,
        tuple(sorted(skipped, key=lambda item: item.what)),
    )


def licences(roots: Mapping[str, Path], keys: Iterable[str]) -> dict[str, dict[str, int]]:
    """Count the backgrounds among `keys` by COCO root and licence, "" where its annotations name none."""
    names: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        label, _, name = key.partition("/")
        if label.startswith("coco"):
            names[label].append(name)
    return {label: coco.licences(roots[label], some) for label, some in sorted(names.items())}


def _labelled(kind: str, roots: Iterable[Path]) -> dict[str, Path]:
    """Return the roots by label, KIND, KIND2, KIND3 ... in the order given; a root given twice counts once."""
    distinct: dict[str, Path] = {}
    for root in roots:
        distinct.setdefault(os.path.realpath(root), root)
    return {kind if number == 1 else f"{kind}{number}": root for number, root in enumerate(distinct.values(), 1)}


def _entries(roots: dict[str, Path], candidates: Callable[[Path], list[Candidate]]) -> Iterator[_Entry]:
    for label, root in roots.items():
        folders: dict[Path, str] = {}  # links of a folder are resolved once, not for each photo
        for candidate in candidates(root):
            path = root / candidate.name
            if path.parent not in folders:
                folders[path.parent] = os.path.realpath(path.parent)
            real = os.path.realpath(path) if os.path.islink(path) else f"{folders[path.parent]}{os.sep}{path.name}"
            yield _Entry(f"{label}/{candidate.name}", path, candidate, {real, candidate.photo} - {""})


def _choose(entries: Sequence[_Entry]) -> tuple[list[_Entry], list[Skipped]]:
    """Return the photos to use, each once, and the skipped ones. A person known in one copy counts in all."""
    persons = {name for entry in entries if entry.candidate.why == SHOWS_PERSON for name in entry.names}
    used: set[str] = set()
    chosen, skipped = [], []
    for entry in entries:
        if not entry.candidate.selected:
            continue
        if why := _why(entry, persons, used):
            skipped.append(Skipped(entry.key, why))
        else:
            chosen.append(entry)
            used |= entry.names
    return chosen, skipped


def _why(entry: _Entry, persons: set[str], used: set[str]) -> str:
    if entry.names & persons:
        return SHOWS_PERSON
    return entry.candidate.why or (_TWICE if entry.names & used else "")


def _read(entry: _Entry) -> Background | Skipped:
    try:
        size = read_size(entry.path)
    except ShmDataError as error:
        return Skipped(entry.key, error.reason)
    return Background(entry.key, entry.path, size) if min(size) >= MIN_EDGE else Skipped(entry.key, _TINY)
