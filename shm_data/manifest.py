"""dataset.json: what a data set was made of and how, for people and for the next run."""

import hashlib
import json
import platform
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from shm_data import __version__
from shm_data.backgrounds import Pool
from shm_data.errors import ShmDataError, Skipped
from shm_data.foregrounds import Found
from shm_data.layout import Layout, write_bytes
from shm_data.options import CompositeOptions
from shm_data.sources import Foreground

FORMAT = 1

# Where things lie does not decide what a data set holds: it may be resumed from moved folders.
_PLACES = frozenset(("inimg", "inalp", "intri", "pubdir", "trimapdir", "vocroot", "cocoroot", "bgdir"))

_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "pymatting")


class Counts(BaseModel):
    """How many of each there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    train: int
    val: int
    foregrounds: int
    backgrounds: int


class Manifest(BaseModel):
    """The record of a data set. `skipped` is by reason; `fingerprint` tells whether the sources are the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    complete: bool
    options: CompositeOptions
    versions: dict[str, str]
    roots: dict[str, Path]
    counts: Counts
    notes: tuple[str, ...]
    skipped: dict[str, tuple[str, ...]]
    fingerprint: str
    foregrounds: tuple[Foreground, ...]


def read_manifest(layout: Layout) -> Manifest | None:
    """The record of the data set in a folder, None where there is none.

    Raises ShmDataError where the file is broken, or the folder holds a data set without a record.
    """
    try:
        text = layout.manifest.read_text(encoding="utf-8")
    except FileNotFoundError:
        _refuse_foreign(layout)
        return None
    except OSError as error:
        raise ShmDataError(f"cannot read {layout.manifest}: {error.strerror}") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ShmDataError(
            str(layout.manifest), found="no record this version reads", wanted="dataset.json"
        ) from error


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Writes dataset.json, whole or not at all. Raises WriteError."""
    write_bytes(layout.manifest, (manifest.model_dump_json(indent=1) + "\n").encode("utf-8", "surrogateescape"))


def refuse_other_options(old: Manifest, options: CompositeOptions, layout: Layout) -> None:
    """Raises ShmDataError where a data set was made with other options: two are never mixed in one folder."""
    before, now = old.options.model_dump(exclude=set(_PLACES)), options.model_dump(exclude=set(_PLACES))
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        raise ShmDataError(
            f"{layout.root} holds a data set made with other options",
            found=", ".join(f"--{name.replace('_', '-')} {now[name]}" for name in differing),
            wanted=f"{', '.join(str(before[name]) for name in differing)} as before, or another --savedir",
        )


def fingerprint(found: Found, pool: Pool) -> str:
    """A digest of all sources by name: which files make which foreground, and which backgrounds there are."""
    names = [
        [[f.name, f.image, f.alpha, f.trimap, f.ready] for f in found.files],
        [[b.key, b.size] for b in pool.backgrounds],
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def by_reason(skipped: Iterable[Skipped]) -> dict[str, tuple[str, ...]]:
    """What was left out, grouped by why."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in skipped:
        reasons[item.why].append(item.what)
    return {why: tuple(sorted(reasons[why])) for why in sorted(reasons)}


def versions() -> dict[str, str]:
    """The versions of all that decides the bytes of a sample."""
    found = {"shm_data": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # opencv may come under another name
            found[package] = "unknown"
    return found


def summary(manifest: Manifest) -> list[str]:
    """What a data set holds, what to know about it, and what was left out, in lines for people."""
    counts = manifest.counts
    made_of = f"from {_some(counts.foregrounds, 'foreground')} and {_some(counts.backgrounds, 'background')}"
    lines = [f"{_some(counts.samples, 'sample')} ({counts.train} train, {counts.val} val) {made_of}"]
    lines += [f"note: {note}" for note in manifest.notes]
    for why, what in manifest.skipped.items():
        lines.append(f"left out: {len(what)} ({why}): {', '.join(what[:3])}{' ...' * (len(what) > 3)}")
    return lines


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _refuse_foreign(layout: Layout) -> None:
    """Files that are no work of ours are never mixed with."""
    lists = [layout.names_of(split) for split in ("train", "val")]
    there = [path.name for path in (*layout.folders, *lists) if path.exists()]
    if there:
        raise ShmDataError(
            f"{layout.root} holds a data set without dataset.json",
            found=", ".join(there),
            wanted="a new folder, or one that shm-data made",
        )
