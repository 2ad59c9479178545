"""Finds foregrounds, images with alphas (and trimaps) or RGBA cut-outs, reads and checks them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shm_data.errors import ShmDataError, Skipped
from shm_data.files import safe_stem, unused
from shm_data.options import CompositeOptions
from shm_data.options.published_sets import PUBLISHED_SETS
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.near_duplicates import near_duplicate_pairs
from shm_data.sources import foreground_folders, published_folders
from shm_data.sources.foreground_pixels import Inspection, inspect, read, tolerance_of
from shm_data.sources.types import Files, Foreground, path_of

__all__ = ["Found", "inspect", "inspect_all", "layout_notes", "read", "scan", "tolerance_of"]

# The options for folders of images, and those for their alphas or masks and trimaps where no published layout has
# them.
_FOLDERS = (("inimg", "inalp", "intri"), ("pubdir", "pubdir", "trimapdir"), ("maskimg", "inmask", ""))


@dataclass(frozen=True, slots=True)
class Found:
    """The foregrounds in the user's folders in the order of their names, the folders, and what was skipped.

    `layouts` has the published set as which a folder was read.
    """

    files: tuple[Files, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]
    layouts: Mapping[str, str]


def scan(
    options: CompositeOptions, recorded: Sequence[Files] = (), layouts: Mapping[str, str] | None = None
) -> Found:
    """List and pair the foregrounds in the folders of the options; open none of them.

    Those already `recorded` in a data set come first and keep their names; the others follow in order. Published sets
    are recognised, unless `layouts` has the set as which each folder was read before.
    Raises ShmDataError where a folder is missing, nothing pairs, a name is ambiguous, or a recorded file is missing.
    """
    roots = {
        label: folder
        for label in ("inimg", "inalp", "intri", "pubdir", "trimapdir", "maskimg", "inmask")
        if (folder := getattr(options, label)) is not None
    }
    published = _layouts(options, roots) if layouts is None or options.layout != "auto" else dict(layouts)
    found, skipped = [], []
    for labels in _FOLDERS:
        label = labels[0]
        if label in roots:
            if label in published:
                some, left = published_folders.scan(label, roots[label], published[label], imported=label == "pubdir")
            else:
                some, left = foreground_folders.scan(roots, *labels, prefix=options.prefix)
            if label == "inimg" and options.layout == "cutouts":
                some = [replace(files, colours=files.alpha is not None) for files in some]
            found += some
            skipped += left
    if not found:
        raise ShmDataError("no foregrounds", expected="--inimg with --inalp, --pubdir, or --maskimg with --inmask")
    distinct, copies = _distinct(found, roots, {files.image for files in recorded})
    return Found(_named(distinct, recorded), roots, (*skipped, *copies), published)


def layout_notes(layouts: Mapping[str, str]) -> list[str]:
    """Return a phrase for each folder that is read as a published set."""
    return [f"{label}: read as {PUBLISHED_SETS[name].title}" for label, name in layouts.items()]


def _layouts(options: CompositeOptions, roots: Mapping[str, Path]) -> dict[str, str]:
    """Return the published set in each folder of images: given, or recognised where no option says how to pair.

    Raises ShmDataError where a folder has the trees of several sets.
    """
    layouts: dict[str, str] = {}
    for label, alpha_label, trimap_label in _FOLDERS:
        name: str | None = None
        if options.layout != "auto" and label == options.layout_of:
            name = options.layout if options.layout in PUBLISHED_SETS else None
        elif label in roots and not options.prefix and not {alpha_label, trimap_label} - {label} & roots.keys():
            name = published_folders.recognise(label, roots[label])
        layouts |= {label: name} if name else {}
    return layouts


@dataclass(frozen=True, slots=True)
class Inspected:
    """Foregrounds that were read and fit.

    `copies` are pairs of their names that are nearly the same picture, `oddities` the names with each oddity.
    """

    foregrounds: tuple[Foreground, ...]
    copies: tuple[tuple[str, str], ...]
    oddities: Mapping[str, tuple[str, ...]]


def inspect_all(found: Found, options: CompositeOptions, jobs: int = -1, progress: Progress = quiet) -> Inspected:
    """Inspect every foreground in parallel. Raises one ShmDataError with all that cannot be used."""

    def attempt(files: Files) -> Inspection | ShmDataError:
        try:
            return inspect(files, found.roots, options)
        except ShmDataError as error:
            return error

    results = spread(attempt, found.files, jobs, ordered=True)
    shown = list(progress(results, len(found.files), "reading foregrounds"))
    bad = [result for result in shown if isinstance(result, ShmDataError)]
    if bad:
        raise ShmDataError(f"{len(bad)} of {len(shown)} foregrounds cannot be used", faults=bad)
    good = [result for result in shown if not isinstance(result, ShmDataError)]
    oddities: dict[str, tuple[str, ...]] = {}
    for each in good:
        for oddity in each.oddities:
            oddities[oddity] = (*oddities.get(oddity, ()), each.foreground.files.name)
    return Inspected(tuple(each.foreground for each in good), tuple(_copies(good)), oddities)


def _copies(inspected: Sequence[Inspection]) -> Iterator[tuple[str, str]]:
    """Yield the names of each two foregrounds that are nearly the same picture."""
    hashed = {each.foreground.files.name: each.hashes for each in inspected if each.hashes is not None}
    if hashed:
        names = list(hashed)
        for one, other in near_duplicate_pairs(np.stack(list(hashed.values()))):
            yield names[one], names[other]


def _distinct(
    found: Sequence[Files], roots: Mapping[str, Path], first: AbstractSet[str]
) -> tuple[list[Files], list[Skipped]]:
    """Return the foregrounds whose image is no link to the image of another: one photo must not be in both splits.

    Of several links to one photo, the one in `first` is used, else the one that sorts first.
    """
    real_paths: set[str] = set()
    distinct, copies = [], []
    for files in sorted(found, key=lambda files: (files.image not in first, files.image)):
        real = os.path.realpath(path_of(files.image, roots))
        if real in real_paths:
            copies.append(Skipped(files.image, "the same photo as another foreground"))
        else:
            real_paths.add(real)
            distinct.append(files)
    return distinct, copies


def _named(found: Sequence[Files], recorded: Sequence[Files]) -> tuple[Files, ...]:
    """Return the recorded foregrounds as they are, then the others in the order of their paths, with unique names."""
    by_image = {files.image: files for files in found}
    for files in recorded:
        now = by_image.pop(files.image, None)
        if now is None or replace(now, name=files.name) != files:
            became = "is missing" if now is None else "has other files now"
            raise ShmDataError(
                f"the foreground {files.name} ({files.image}) {became}; the data set was made with it",
                expected="the same files, or another --savedir",
            )
    taken: dict[str, int] = {}
    for files in recorded:
        unused(files.name, taken)
    ordered = sorted(by_image.values(), key=lambda files: (files.name, files.image))
    return (*recorded, *(replace(files, name=unused(safe_stem(files.name), taken)) for files in ordered))
