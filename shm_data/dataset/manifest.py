"""dataset.json: the record of what a data set was made of and how."""

import hashlib
import json
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, NonNegativeInt, model_validator

from shm_data import __version__
from shm_data.dataset.fingerprints import Fingerprint, changed
from shm_data.dataset.json_model import read_json_model
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.local import read_roots, require_roots, write_roots
from shm_data.dataset.recipes import Recipe, digest_of, read_recipes
from shm_data.errors import ShmDataError, Skipped, counted
from shm_data.files import is_component, write_bytes
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.sources import Foreground, path_of
from shm_data.sources.backgrounds import Pool
from shm_data.sources.foregrounds import Found

# Options that do not decide the contents of a data set: where sources lie (they may be moved before a set is
# resumed), how their layout was recognised (what was found decides), and their licences.
_NOT_DECISIVE = frozenset(
    "inimg inalp intri pubdir trimapdir maskimg inmask vocroot cocoroot bgdir decoys layout license".split()
)

# The number of skipped names that are printed for each reason. The record holds all.
_NAMED = 5

_PACKAGES = ("numba", "numpy", "opencv-python-headless", "pillow")


class Counts(BaseModel):
    """The numbers of samples, in all and by split, and of the foregrounds and backgrounds that they use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: NonNegativeInt
    train: NonNegativeInt
    val: NonNegativeInt
    foregrounds: NonNegativeInt
    backgrounds: NonNegativeInt


class Manifest(BaseModel):
    """The record of a data set.

    `roots` has the folder of each source by its label: its name in dataset.json, its path in local.json. `options`
    name folders by their options alone. `skipped` has the files that are not used by reason. `layouts`
    names the published sets that folders of foregrounds were read as. `licences` counts the used backgrounds of a
    source by the licence in its annotations, "" for none. `sources` has the fingerprint of every file used, by key.
    `distinct` says that the backgrounds were compared with each other, so that none is a copy of another.
    `fingerprint` is a digest of the names of all files found, used or not. `digest` is the SHA-256 of the first
    `counts.samples` lines of recipes.jsonl, which belong to this record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    complete: bool
    options: CompositeOptions
    versions: dict[str, str]
    roots: dict[str, Path]
    counts: Counts
    notes: tuple[str, ...]
    skipped: dict[str, tuple[str, ...]]
    sources: dict[str, Fingerprint]
    fingerprint: str
    digest: str
    foregrounds: tuple[Foreground, ...]
    layouts: dict[str, str] = {}
    licences: dict[str, dict[str, int]] = {}
    distinct: bool = False

    @model_validator(mode="after")
    def _require_sources(self) -> Self:
        """Raise ValueError where a file is in no folder of the record, or leads out of it."""
        files = [each.files for each in self.foregrounds]
        for key in filter(None, (*self.sources, *(key for f in files for key in (f.image, f.alpha, f.trimap)))):
            root, *parts = key.split("/")
            if root not in self.roots or not parts or not all(map(is_component, parts)):
                raise ValueError(f"{key!r} is no file in a folder of {', '.join(self.roots)}")
        return self

    @property
    def used(self) -> Counter[str]:
        """The number of files used of each source, by its label."""
        return Counter(key.partition("/")[0] for key in self.sources)

    def membership(self) -> Callable[[Recipe], bool]:
        """Return a function that says whether the sources of a recipe are in this record."""
        names = {foreground.files.name for foreground in self.foregrounds}
        partners = names | {None}
        backgrounds = self.sources.keys() | {None}

        def belongs(recipe: Recipe) -> bool:
            used = {recipe.background, recipe.decoy and recipe.decoy.key}
            return recipe.foreground in names and recipe.partner in partners and used <= backgrounds

        return belongs

    def keys_of(self, recipe: Recipe) -> Iterator[str]:
        """Return the keys of the sources that a sample is made of."""
        for foreground in self.foregrounds:
            files = foreground.files
            if files.name in (recipe.foreground, recipe.partner):
                yield from filter(None, (files.image, files.alpha, files.trimap))
        if recipe.background is not None:
            yield recipe.background
        if recipe.decoy is not None:
            yield recipe.decoy.key


def bare_label(label: str) -> str:
    """Return the label of a source without its number."""
    return label.rstrip("0123456789")


def read_manifest(layout: Layout) -> Manifest | None:
    """Return the record of the data set in a folder, None where there is none.

    Raises ShmDataError where the record is broken or does not fit the recipes, or the folder holds a data set
    without a record.
    """
    manifest = read_json_model(layout.manifest, Manifest, "the record as shm-data wrote it")
    if manifest is None:
        _refuse_foreign(layout)
        return None
    if digest_of(layout.recipes, manifest.counts.samples) != manifest.digest:
        raise ShmDataError(
            path=layout.recipes,
            found="other recipes than dataset.json belongs to",
            expected="the file as it was written",
        )
    return manifest.model_copy(update={"roots": read_roots(layout, manifest.roots)})


def refuse_changed_sources(
    manifest: Manifest,
    roots: Mapping[str, Path],
    *,
    verify: bool = False,
    jobs: int = -1,
    progress: Progress = quiet,
) -> None:
    """Raise ShmDataError that names the sources of a data set which are gone or have changed.

    Files with the recorded size and time are trusted, unless `verify` asks to compare their contents.
    """
    require_roots(roots)
    faults = list(changed_sources(manifest, roots, verify=verify, jobs=jobs, progress=progress).values())
    if faults:
        what = "sources have changed since the data set was made; restore them, or use another --savedir"
        raise ShmDataError(what, faults=[f"{what}: {faults[0]}"] if len(faults) == 1 else faults)


def changed_sources(
    manifest: Manifest,
    roots: Mapping[str, Path],
    *,
    verify: bool = False,
    jobs: int = -1,
    progress: Progress = quiet,
) -> dict[str, ShmDataError]:
    """Return a fault for the key of each source of a data set that is gone or has changed."""

    def fault_of(source: tuple[str, Fingerprint]) -> ShmDataError | None:
        key, then = source
        known = key.partition("/")[0] in roots
        differing = changed(then, path_of(key, roots), verify=verify) if known else ("nothing", f"{then.size} bytes")
        return ShmDataError(key, found=differing[0], expected=differing[1]) if differing else None

    results = spread(fault_of, manifest.sources.items(), jobs, ordered=True, batch=64)
    faults = progress(results, len(manifest.sources), "checking sources")
    return {key: fault for key, fault in zip(manifest.sources, faults, strict=True) if fault is not None}


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Write local.json and then dataset.json, each whole or not at all. Raises WriteError."""
    write_roots(layout, manifest.roots)
    names = {label: Path(path.name) for label, path in manifest.roots.items()}
    manifest = manifest.model_copy(update={"roots": names})
    write_bytes(layout.manifest, (manifest.model_dump_json(indent=1) + "\n").encode(), durable=True)


def refuse_other_options(old: Manifest, options: CompositeOptions) -> None:
    """Raise ShmDataError where a data set was made with other options: two are never mixed in one folder."""
    before, now = old.options.model_dump(exclude=set(_NOT_DECISIVE)), options.model_dump(exclude=set(_NOT_DECISIVE))
    if before["val"] and set(before["val"]) <= set(now["val"] or ()):
        before["val"] = now["val"]  # names of foregrounds that are added; those of others are refused later
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        raise ShmDataError(
            "the folder holds a data set made with other options",
            found=", ".join(f"--{name.replace('_', '-')} {_in_words(now[name])}" for name in differing),
            expected=f"{', '.join(_in_words(before[name]) for name in differing)} as before, or another --savedir",
        )


def _in_words(value: object) -> str:
    """Return the value of an option as text."""
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def fingerprint(found: Found, pool: Pool, decoys: Sequence[str] = ()) -> str:
    """Return a digest of the names of all sources: the files of each foreground, the backgrounds and decoys."""
    names: list[object] = [
        [[f.name, f.image, f.alpha, f.trimap, f.imported, *filter(None, [f.split, f.colours])] for f in found.files],
        [[b.key, b.size] for b in pool.backgrounds],
        *[list(decoys)] * bool(decoys),
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def by_reason(skipped: Iterable[Skipped]) -> dict[str, tuple[str, ...]]:
    """Return the names of skipped files by reason, both sorted."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in skipped:
        reasons[item.why].append(item.what)
    return {why: tuple(sorted(reasons[why])) for why in sorted(reasons)}


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of a sample."""
    found = {"shm_data": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # opencv may come under another name
            found[package] = "unknown"
    return found


def summary(manifest: Manifest, *, recorded: bool = True) -> list[str]:
    """Return lines for people: counts, notes, and what was skipped, with a pointer to the record if it is written."""
    counts = manifest.counts
    made_of = f"from {counted(counts.foregrounds, 'foreground')} and {counted(counts.backgrounds, 'background')}"
    lines = [f"{counted(counts.samples, 'sample')} ({counts.train} train, {counts.val} val) {made_of}"]
    lines += [f"note: {note}" for note in manifest.notes]
    for why, what in manifest.skipped.items():
        pointer = ", see dataset.json" if recorded else ""
        more = f" and {len(what) - _NAMED} more{pointer}" if len(what) > _NAMED else ""
        lines.append(f"skipped: {len(what)} ({why}): {', '.join(what[:_NAMED])}{more}")
    return lines


def _refuse_foreign(layout: Layout) -> None:
    """Raise ShmDataError for files that we did not write. Recipes alone may be ours, of a run killed early."""
    there = [path.name for path in (*layout.folders, *map(layout.names_of, SPLITS)) if path.exists()]
    if not there and layout.recipes.exists():
        next(read_recipes(layout.recipes), None)
    if layout.root.exists() and not layout.root.is_dir():
        raise ShmDataError(f"--savedir {layout.root}", found="a file", expected="a folder")
    if there:
        raise ShmDataError(
            "holds a data set without dataset.json",
            path=layout.root,
            found=", ".join(there),
            expected="a new folder, or one that shm-data made",
        )
