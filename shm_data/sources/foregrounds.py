"""Finds foregrounds: images with alphas (and trimaps), in folders or as RGBA cut-outs; reads and checks them."""

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from shm_data.errors import ShmDataError, Skipped
from shm_data.files import safe_stem, unused
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.sources import foreground_folders, published_sets
from shm_data.sources.foreground_pixels import inspect, read, tolerance_of
from shm_data.sources.types import Files, Foreground, path_of

__all__ = ["Found", "inspect", "inspect_all", "layout_notes", "read", "scan", "tolerance_of"]

# The folders of foregrounds: those of the images, and of their alphas and trimaps where no known tree has them.
_ROOMS = (("inimg", "inalp", "intri"), ("pubdir", "pubdir", "trimapdir"))


@dataclass(frozen=True, slots=True)
class Found:
    """The foregrounds in a user's folders, in the order of their names, where they are, and what has no partner.

    `layouts` names the known set whose tree a folder is read as.
    """

    files: tuple[Files, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]
    layouts: Mapping[str, str]


def scan(
    options: CompositeOptions, recorded: Sequence[Files] = (), layouts: Mapping[str, str] | None = None
) -> Found:
    """Lists and pairs the foregrounds that the options name; opens none of them.

    Those already `recorded` in a data set come first and keep their names; the others follow in order. Trees are
    recognised unless `layouts` tells, folder by folder, what they were read as.
    Raises ShmDataError where a folder is missing, nothing pairs, a name is ambiguous, or a recorded one is gone.
    """
    roots = {
        label: folder
        for label in ("inimg", "inalp", "intri", "pubdir", "trimapdir")
        if (folder := getattr(options, label)) is not None
    }
    trees = _layouts(options, roots) if layouts is None or options.layout != "auto" else dict(layouts)
    found, skipped = [], []
    for rooms in _ROOMS:
        label = rooms[0]
        if label in roots:
            if label in trees:
                some, left = published_sets.scan(label, roots[label], trees[label], imported=label == "pubdir")
            else:
                some, left = foreground_folders.scan(roots, *rooms, prefix=options.prefix)
            found += some
            skipped += left
    if not found:
        raise ShmDataError("no foregrounds", expected="photos by --inimg and their alphas by --inalp, or --pubdir")
    distinct, twice = _distinct(found, roots, {files.image for files in recorded})
    return Found(_named(distinct, recorded), roots, (*skipped, *twice), trees)


def layout_notes(layouts: Mapping[str, str]) -> list[str]:
    """What the folders of foregrounds are read as, a phrase for each known tree."""
    return [f"{label}: read as {published_sets.TREES[name].title}" for label, name in layouts.items()]


def _layouts(options: CompositeOptions, roots: Mapping[str, Path]) -> dict[str, str]:
    """The known tree of each folder of images that has one: named, or certain where nothing tells how to pair.

    Raises ShmDataError where several trees are certain.
    """
    layouts: dict[str, str] = {}
    for label, alpha_label, trimap_label in _ROOMS:
        name: str | None = None
        if options.layout != "auto" and label == options.layout_of:
            name = options.layout if options.layout in published_sets.TREES else None
        elif label in roots and not options.prefix and not {alpha_label, trimap_label} - {label} & roots.keys():
            name = published_sets.recognised(label, roots[label])
        layouts |= {label: name} if name else {}
    return layouts


def inspect_all(
    found: Found, options: CompositeOptions, jobs: int = -1, progress: Progress = quiet
) -> list[Foreground]:
    """Inspects every foreground, in parallel. Raises one ShmDataError that names those which cannot be used."""

    def attempt(files: Files) -> Foreground | ShmDataError:
        try:
            return inspect(files, found.roots, options)
        except ShmDataError as error:
            return error

    results = spread(attempt, found.files, jobs, ordered=True)
    shown = list(progress(results, len(found.files), "reading foregrounds"))
    bad = [str(result) for result in shown if isinstance(result, ShmDataError)]
    if bad:
        raise ShmDataError(f"{len(bad)} of {len(shown)} foregrounds cannot be used", faults=bad)
    return [result for result in shown if isinstance(result, Foreground)]


def _distinct(
    found: Sequence[Files], roots: Mapping[str, Path], first: AbstractSet[str]
) -> tuple[list[Files], list[Skipped]]:
    """The foregrounds without those whose image is a link to another's: one photo must not be in both splits.

    Of links to one photo the one in `first` counts, else the one that sorts first.
    """
    places: set[str] = set()
    distinct, twice = [], []
    for files in sorted(found, key=lambda files: (files.image not in first, files.image)):
        place = os.path.realpath(path_of(files.image, roots))
        if place in places:
            twice.append(Skipped(files.image, "is a photo already in the set under another name"))
        else:
            places.add(place)
            distinct.append(files)
    return distinct, twice


def _named(found: Sequence[Files], recorded: Sequence[Files]) -> tuple[Files, ...]:
    """The recorded foregrounds as they are, then the others in the order of their paths, each with its own name."""
    by_image = {files.image: files for files in found}
    for files in recorded:
        here = by_image.pop(files.image, None)
        if here is None or replace(here, name=files.name) != files:
            became = "is gone" if here is None else "has other files now"
            raise ShmDataError(
                f"the foreground {files.name} ({files.image}) {became}; the data set was made with it",
                expected="the files of then, or another --savedir",
            )
    taken: dict[str, int] = {}
    for files in recorded:
        unused(files.name, taken)
    ordered = sorted(by_image.values(), key=lambda files: (files.name, files.image))
    return (*recorded, *(replace(files, name=unused(safe_stem(files.name), taken)) for files in ordered))
