"""Reads the lists, folders and recipes of a data set and compares them: names only, no pixels."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from shm_data.check.findings import Finding, error, of_fault, warning
from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.manifest import Manifest, read_manifest
from shm_data.dataset.recipes import Recipe, read_recipes
from shm_data.errors import ShmDataError
from shm_data.files import is_plain
from shm_data.planning.splits import group_of


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """The samples of a data set by its lists and recipes.

    `splits` has the split of each sample by name, in the order of the lists ("" where no list has it). `planned` has
    the splits by the recipes, None where there are none to go by; `manifest` is None where no record can be trusted.
    """

    splits: dict[str, str]
    planned: dict[str, str] | None
    manifest: Manifest | None
    findings: tuple[Finding, ...]


def read_index(layout: Layout) -> DatasetIndex:
    """Read lists, record, recipes and folders and compare them. Raises ShmDataError where there is no data set."""
    _require(layout)
    manifest, findings = _read_record(layout)
    planned, of_recipes = _read_planned(layout, manifest)
    findings += of_recipes
    if manifest is not None and not manifest.complete:
        findings.append(error("record", "dataset.json", "an unfinished set", "the command that made it, once more"))
        splits, absent = dict[str, str](), set(SPLITS)
    else:
        splits, absent, of_lists = _read_lists(layout)
        findings += of_lists
    if planned is not None:
        findings += _compared(planned, splits, absent)
    if absent:
        splits |= {name: split for name, split in _there(layout, planned).items() if name not in splits}
    findings += _of_folders(layout, splits.keys() | (planned or {}).keys())
    return DatasetIndex(splits, planned, manifest, tuple(findings))


def recipes_of(layout: Layout, manifest: Manifest | None) -> Iterator[Recipe]:
    """Return the recipes of a data set: as many as its record counts, or all."""
    if manifest is None:
        return read_recipes(layout.recipes)
    return read_recipes(layout.recipes, manifest.counts.samples, belongs=manifest.membership())


def leaks(
    recipes: Iterable[Recipe],
    splits: Mapping[str, str],
    pattern: str | None,
    digests: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return the foregrounds, groups (by the pattern of --group) and backgrounds that samples of both splits share.

    Two files with one of the `digests`, by the name of a foreground or the key of a background, are the same.
    """
    contents = digests or {}
    first: dict[tuple[str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
    for recipe in recipes:
        split = splits.get(recipe.name)
        if split:
            for kind, thing in _ingredients(recipe, pattern):
                first[kind, contents.get(thing, thing)].setdefault(split, (recipe.name, thing))
    return [
        _leak(kind, *by_split["train"], *by_split["val"])
        for (kind, _), by_split in first.items()
        if len(by_split) == len(SPLITS)
    ]


def _leak(kind: str, train: str, in_train: str, val: str, in_val: str) -> Finding:
    """Return the finding that a sample of val has the same foreground, group or background as one of train."""
    copy = f", the same file as {in_val}" * (in_train != in_val)
    return error("leak", val, f"the {kind} {in_train} of {train} in train{copy}", f"no {kind} in both splits", train)


def digests_of(manifest: Manifest) -> dict[str, str]:
    """Return the digests of the image of each foreground, by name, and of each background, by key."""
    images = {f.files.name: f.files.image for f in manifest.foregrounds}
    return {name: manifest.sources[key].digest for name, key in images.items() if key in manifest.sources} | {
        key: fingerprint.digest for key, fingerprint in manifest.sources.items()
    }


def _ingredients(recipe: Recipe, pattern: str | None) -> Iterator[tuple[str, str]]:
    for name in filter(None, (recipe.foreground, recipe.partner)):
        yield "foreground", name
        group = group_of(name, pattern)
        if group != name:
            yield "group", group
    if recipe.background is not None:
        yield "background", recipe.background


def is_there(path: Path) -> bool:
    """Return whether a path exists; True where it cannot be accessed, so that opening it gives the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def _require(layout: Layout) -> None:
    if not layout.root.is_dir():
        raise ShmDataError(
            path=layout.root, found="a file" if layout.root.exists() else "no folder", expected="a data set"
        )
    if not any(folder.is_dir() for folder in layout.folders):
        expected = "input/, mask/ and trimap/; folders of other names are checked by --inimg and --inalp"
        raise ShmDataError(f"{layout.root} is no data set", expected=expected)


def _read_record(layout: Layout) -> tuple[Manifest | None, list[Finding]]:
    if not layout.manifest.exists():
        return None, []
    try:
        return read_manifest(layout), []
    except ShmDataError as fault:
        return None, [of_fault("record", "dataset.json", fault, "the record of this set")]


def _read_planned(layout: Layout, manifest: Manifest | None) -> tuple[dict[str, str] | None, list[Finding]]:
    if not layout.recipes.exists():
        return None, []
    planned: dict[str, str] = {}
    findings = []
    try:
        for recipe in recipes_of(layout, manifest):
            if recipe.name in planned:
                findings.append(error("record", recipe.name, "several recipes", "one"))
            planned[recipe.name] = recipe.split
    except ShmDataError as fault:
        return None, [of_fault("record", "recipes.jsonl", fault, "a recipe a line")]
    return planned, findings


def _read_lists(layout: Layout) -> tuple[dict[str, str], set[str], list[Finding]]:
    """Return the split of each name by the first list that has it, the splits without a list, and the findings."""
    splits: dict[str, str] = {}
    absent = {split for split in SPLITS if not layout.names_of(split).exists()}
    findings = [error("list", f"{split}.txt", "no file", "the names of a split") for split in sorted(absent)]
    for split in (split for split in SPLITS if split not in absent):
        names, of_list = _read_list(layout.names_of(split))
        findings += of_list
        both = [name for name in names if splits.setdefault(name, split) != split]
        findings += [error("list", name, "in train.txt and in val.txt", "one of them") for name in both]
    if not splits and not findings:
        findings.append(error("list", "train.txt", "no names, and none in val.txt", "the names of the samples"))
    return splits, absent, findings


def _read_list(path: Path) -> tuple[list[str], list[Finding]]:
    """Return the plain names in a list file, each once, and the findings."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as fault:
        return [], [error("list", path.name, f"no access: {fault.strerror}", "the names of a split, one a line")]
    counts = Counter(name for line in text.split("\n") if (name := line.rstrip("\r")))
    outside = {name for name in counts if not is_plain(name)}
    findings = [error("list", path.name, f"the name {name!r}", "plain file names") for name in sorted(outside)]
    plain = [name for name in counts if name not in outside]
    findings += [
        error("list", name, f"{counts[name]} times in {path.name}", "once") for name in plain if counts[name] > 1
    ]
    return plain, findings


def _compared(planned: Mapping[str, str], splits: Mapping[str, str], absent: AbstractSet[str]) -> Iterator[Finding]:
    """Yield where recipes and lists differ; lists that are absent are not compared."""
    for name, split in planned.items():
        if name not in splits and split not in absent:
            yield error("record", name, "a recipe, and its name in no list", f"the name in {split}.txt")
        elif splits.get(name, split) != split:
            yield error("record", name, f"the name in {splits[name]}.txt", f"{split}.txt, as its recipe says")
    for name, split in splits.items():
        if name not in planned:
            yield error("record", name, f"the name in {split}.txt, and no recipe", "a recipe")


def _there(layout: Layout, planned: Mapping[str, str] | None) -> dict[str, str]:
    """Return the samples where a list is absent: those of the recipes whose files all exist, or all images."""
    if planned is None:
        return dict.fromkeys(_files(layout.input), "")
    plain = ((name, split) for name, split in planned.items() if is_plain(name))
    return {name: split for name, split in plain if all(map(is_there, layout.sample(name)))}


def _of_folders(layout: Layout, known: AbstractSet[str]) -> Iterator[Finding]:
    for place, folder in enumerate(layout.folders):
        if not folder.is_dir():
            yield error("missing", f"{folder.name}/", "no folder", "one with a file for each sample")
            continue
        expected = {layout.sample(name)[place].name for name in known}
        for name in _files(folder):
            if name not in expected:
                yield warning("orphan", f"{folder.name}/{name}", "a file of no sample", "its name in a list")


def _files(folder: Path) -> list[str]:
    """Return the files in a folder without hidden ones, sorted. Raises ShmDataError where it cannot be listed."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as fault:
        raise ShmDataError(f"cannot be listed ({fault.strerror})", path=folder) from fault
