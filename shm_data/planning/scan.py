"""Lists the sources that the options name: files, sizes, fingerprints. No pixels are read."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shm_data.dataset.manifest import (
    Manifest,
    by_reason,
    fingerprint,
    refuse_changed_sources,
    refuse_other_options,
)
from shm_data.errors import ShmDataError, Skipped
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet
from shm_data.planning.draw import listed_in_val
from shm_data.planning.splits import count_matches
from shm_data.sources import Background, backgrounds, decoys, foregrounds
from shm_data.sources.backgrounds import Pool
from shm_data.sources.foregrounds import Found


@dataclass(frozen=True, slots=True)
class Sources:
    """The foregrounds, backgrounds and decoys in the user's folders; `fingerprint` is a digest of all their names."""

    foregrounds: Found
    backgrounds: Pool
    decoys: Sequence[str]
    roots: Mapping[str, Path]
    fingerprint: str


def scan(
    options: CompositeOptions,
    previous: Manifest | None = None,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    verify: bool = False,
) -> Sources:
    """List the sources of a data set; those of a `previous` record must be what they were.

    Their sizes and times are compared, with `verify` their contents. Raises ShmDataError where a source is at fault,
    or the previous record has other options or sources.
    """
    if previous is not None:
        refuse_other_options(previous, options)
    recorded = (
        ([foreground.files for foreground in previous.foregrounds], previous.layouts) if previous else ((), None)
    )
    found = foregrounds.scan(options, *recorded)
    _require_group(options, [files.name for files in found.files])
    listed_in_val(found.files, options)  # before anything is read
    pool = _scan_backgrounds(options, found, jobs, progress)
    cutouts = decoys.scan(options.decoys)
    decoy_roots = {} if options.decoys is None else {decoys.LABEL: options.decoys}
    roots = _absolute(found.roots | pool.roots | decoy_roots)
    if previous is not None:
        refuse_changed_sources(previous, roots, verify=verify, jobs=jobs, progress=progress)
    return Sources(found, pool, cutouts, roots, fingerprint(found, pool, cutouts))


def _require_group(options: CompositeOptions, names: Sequence[str]) -> None:
    """Raise ShmDataError where the pattern of --group matches no name: it would keep nobody's photos together."""
    if options.group and not count_matches(names, options.group):
        found = f"{options.group}, which matches none of {len(names)} names, such as {names[0]}"
        raise ShmDataError("--group", found=found, expected="what the names of one person's photos share")


def refuse_inside(option: str, path: Path, options: CompositeOptions) -> None:
    """Raise ShmDataError where what is written to the path of an option would be a source of the next run."""
    for folder in _folders(options):
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise ShmDataError(option, found=f"{path} inside {folder}", expected="a folder outside the sources")


def _folders(options: CompositeOptions) -> Iterator[Path]:
    single = (options.inimg, options.inalp, options.intri, options.pubdir, options.trimapdir, options.decoys)
    masks = options.maskimg, options.inmask
    yield from (folder for folder in (*single, *masks) if folder is not None)
    yield from (*options.vocroot, *options.cocoroot, *options.bgdir)


def _scan_backgrounds(options: CompositeOptions, found: Found, jobs: int, progress: Progress) -> Pool:
    """Return the backgrounds without files that are or may be foregrounds, alphas or trimaps of this set."""
    if options.numbg == 0 or options.inimg is None:
        return Pool((), {}, ())
    pool = backgrounds.scan(
        vocroot=options.vocroot,
        vocset=options.vocset,
        cocoroot=options.cocoroot,
        bgdir=options.bgdir,
        people=options.people,
        people_classes=options.people_class,
        jobs=jobs,
        progress=progress,
    )
    pool = _without_foregrounds(pool, found)
    if not pool.backgrounds and pool.skipped:
        raise ShmDataError(
            "no usable backgrounds",
            found=f"none{skipped_as_phrase(pool.skipped)}",
            expected="photos known to show nobody, a --bgdir, or --people",
        )
    return pool


def skipped_as_phrase(skipped: Sequence[Skipped]) -> str:
    """Return how many files were skipped and why, to follow a number of files; "" where there are none."""
    reasons = "; ".join(f"{len(names)} ({why})" for why, names in by_reason(skipped).items())
    return f", {len(skipped)} skipped: {reasons}" if skipped else ""


def _without_foregrounds(pool: Pool, found: Found) -> Pool:
    """Drop what lies in a folder of foregrounds, unless the backgrounds' own folder lies deeper in it."""
    homes = {root.resolve() for root in found.roots.values()}
    foreign = {label: homes - set(root.resolve().parents) for label, root in pool.roots.items()}

    @functools.cache  # links are resolved once a folder, not once a photo
    def with_parents(folder: Path) -> set[Path]:
        return {folder.resolve(), *folder.resolve().parents}

    def is_foreground(background: Background) -> bool:
        path = background.path.resolve() if background.path.is_symlink() else background.path
        return bool(foreign[background.key.partition("/")[0]] & with_parents(path.parent))

    own = set(filter(is_foreground, pool.backgrounds))
    skipped = [Skipped(b.key, "lies in a folder of the foregrounds") for b in pool.backgrounds if b in own]
    usable = tuple(background for background in pool.backgrounds if background not in own)
    return replace(pool, backgrounds=usable, skipped=(*pool.skipped, *skipped))


def _absolute(roots: Mapping[str, Path]) -> dict[str, Path]:
    """Return absolute paths. Raises ShmDataError for a path that JSON cannot hold."""
    for path in roots.values():
        try:
            str(path.absolute()).encode()
        except UnicodeEncodeError as error:
            raise ShmDataError(f"the folder {os.fsencode(path)!r}", expected="a path in UTF-8") from error
    return {label: path.absolute() for label, path in roots.items()}
