"""Finds background photos in Pascal VOC, COCO and plain folders: by default those without people."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shm_data.errors import ShmDataError, Skipped
from shm_data.images import read_size
from shm_data.parallel import Progress, quiet, spread
from shm_data.sources import background_folders, coco, voc
from shm_data.sources.background_folders import SHOWS_PERSON, Candidate, Listing
from shm_data.sources.people import PersonRule
from shm_data.sources.types import Background

__all__ = ["MIN_EDGE", "Pool", "licences", "scan"]

# A background is enlarged until it covers the foreground: a smaller one would only be blur.
MIN_EDGE = 128

# The number of names that a note has, and the letters of each.
_NAMED, _LONGEST = 10, 40

_TINY = f"shorter edge below {MIN_EDGE} px"
_TWICE = "the same photo as another background"


@dataclass(frozen=True, slots=True)
class Pool:
    """The usable backgrounds in the order of their keys, the folders they are from, and what was skipped.

    `notes` say what in the annotations was not understood.
    """

    backgrounds: tuple[Background, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


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
    people_classes: Sequence[str] = (),
    jobs: int = -1,
    progress: Progress = quiet,
) -> Pool:
    """Find the backgrounds in VOC trees, COCO roots and plain folders; without `people`, those known to show none.

    Annotations show a person by the names of their classes; `people_classes` are names that count, too.
    `vocset` limits VOC to ImageSets/Main/VOCSET.txt. All pictures of a plain folder are used: it has no annotations.
    Only headers are read, so a truncated picture passes. Each photo is used once, under its first key.
    Raises ShmDataError for a root without pictures, a missing list, and annotations that are missing or broken.
    """
    vocs = _labelled("voc", (tree for root in vocroot for tree in voc.trees(root)))
    cocos = _labelled("coco", cocoroot)
    folders = _labelled("bgdir", bgdir)
    rule = None if people else PersonRule(tuple(people_classes))
    listings = {label: voc.candidates(root, vocset, rule, jobs) for label, root in vocs.items()}
    listings |= {label: coco.candidates(root, rule) for label, root in cocos.items()}
    listings |= {label: background_folders.candidates(root) for label, root in folders.items()}
    roots = vocs | cocos | folders
    photos, skipped = _choose([*_entries(roots, listings)])
    results = list(progress(spread(_read, photos, jobs, batch=64), len(photos), "reading background headers"))
    backgrounds = [result for result in results if isinstance(result, Background)]
    skipped += [result for result in results if isinstance(result, Skipped)]
    return Pool(
        tuple(sorted(backgrounds, key=lambda background: background.key)),
        roots,
        tuple(sorted(skipped, key=lambda item: item.what)),
        () if rule is None else tuple(_notes(listings, rule)),
    )


def _notes(listings: Mapping[str, Listing], rule: PersonRule) -> Iterator[str]:
    """Yield what in the annotations was not understood, and which classes of the user occur nowhere."""
    annotated = {label: listing.classes for label, listing in listings.items() if listing.classes is not None}
    for label, classes in annotated.items():
        if not classes:
            yield f"{label}: no annotation names anything, so any photo may show a person; --people uses them"
        if names := rule.not_understood(classes):
            some = ", ".join(name[:_LONGEST] for name in names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
            yield f"{label}: used as backgrounds, though these classes may be people: {some}; see --people-class"
    for name in rule.unused(frozenset[str]().union(*annotated.values())):
        yield f"--people-class {name}: no annotation has this class"


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


def _entries(roots: Mapping[str, Path], listings: Mapping[str, Listing]) -> Iterator[_Entry]:
    for label, listing in listings.items():
        folders: dict[Path, str] = {}  # links of a folder are resolved once, not for each photo
        for candidate in listing.candidates:
            path = roots[label] / candidate.name
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
