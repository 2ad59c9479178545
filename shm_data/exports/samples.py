"""The samples of a set that is exported: files of a data set, or members of shards."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.shard_format import INDEX, Row, read_index, read_line, read_pictures, rows_of, size_of
from shm_data.dataset.shards import Packed, measured, open_packed
from shm_data.errors import ShmDataError
from shm_data.files import link_or_copy, write_bytes
from shm_data.parallel import Progress


class SampleSet(Protocol):
    """A set to export: `rows` has its samples by split, `digests` identifies it."""

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of the files that identify the set."""

    @property
    def manifest(self) -> Manifest | None:
        """The record of the set, if there is one."""

    @property
    def rows(self) -> Mapping[str, Sequence[Row]]:
        """The samples of each split in order, with the bytes of their files."""

    def recipe(self, split: str, row: Row) -> bytes:
        """Return the recipe of a sample, or its name and split: a JSON object on one line."""

    def write(self, split: str, row: Row, targets: Sequence[Path | None]) -> None:
        """Write image, alpha and trimap of a sample to those of three paths that are not None or there already."""


@dataclass(frozen=True, slots=True)
class _Files:
    packed: Packed
    rows: Mapping[str, Sequence[Row]]

    @property
    def digests(self) -> dict[str, str]:
        return self.packed.digests

    @property
    def manifest(self) -> Manifest | None:
        return self.packed.manifest

    def recipe(self, split: str, row: Row) -> bytes:
        return self.packed.json_line(split, row.name)

    def write(self, split: str, row: Row, targets: Sequence[Path | None]) -> None:
        del split
        for source, (target, size) in zip(self.packed.layout.sample(row.name), _sized(targets, row), strict=True):
            if target is not None and size_of(target) != size:
                link_or_copy(source, target)


@dataclass(frozen=True, slots=True)
class _Shards:
    digests: dict[str, str]
    rows: Mapping[str, Sequence[Row]]
    offsets: Mapping[tuple[str, int], tuple[Path, int]]
    manifest: None = None

    def recipe(self, split: str, row: Row) -> bytes:
        tar, offset = self.offsets[split, row.position]
        return read_line(tar, split, row, offset)

    def write(self, split: str, row: Row, targets: Sequence[Path | None]) -> None:
        missing = [target for target, size in _sized(targets, row) if target is not None and size_of(target) != size]
        if not missing:
            return
        tar, offset = self.offsets[split, row.position]
        for target, (_, data) in zip(targets, read_pictures(tar, split, row, offset), strict=True):
            if target is not None and target in missing:
                write_bytes(target, data)


def _sized(targets: Sequence[Path | None], row: Row) -> Iterator[tuple[Path | None, int]]:
    """Yield each target with the bytes of its file."""
    yield from zip(targets, row.sizes[:3], strict=True)


def open_samples(root: Path, jobs: int, progress: Progress, *, masks: bool) -> SampleSet:
    """Return the samples of a data set or of a folder of shards; without `masks` those that have alphas.

    Raises ShmDataError where the set is not complete, lacks files, has no samples, or has a leak: a sample, a
    foreground or a background in both splits.
    """
    found = _open_shards(root) if (root / INDEX).is_file() else _open_files(root, jobs, progress)
    samples = found if masks else _without_masks(found)
    if not any(samples.rows.values()):
        raise ShmDataError(path=root, found="no samples", expected="at least one")
    used = [set(_used(samples, split)) for split in SPLITS]
    if shared := sorted(set.intersection(*used)):
        leak = f"{' '.join(shared[0])} in both splits"
        raise ShmDataError("has a leak", path=root, found=leak, expected="splits that share nothing")
    return samples


def _open_files(root: Path, jobs: int, progress: Progress) -> _Files:
    packed = open_packed(Layout(root))
    return _Files(packed, {split: measured(packed, split, jobs, progress) for split in SPLITS})


def _open_shards(root: Path) -> _Shards:
    index = read_index(root)
    if index is None or not index.complete:
        raise ShmDataError(path=root, found="shards that are not complete", expected="those of a finished command")
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    offsets = {}
    for shard in index.shards:
        for row, offset in rows_of(root, shard):
            rows[shard.split].append(row)
            offsets[shard.split, row.position] = root / shard.file, offset
    for some in rows.values():
        some.sort()
    return _Shards({INDEX: hashlib.sha256((root / INDEX).read_bytes()).hexdigest()}, rows, offsets)


def _without_masks(samples: _Files | _Shards) -> SampleSet:
    """Return the samples that have alphas: of masks, only trimaps say where they are none."""

    def has_alpha(split: str, row: Row) -> bool:
        rule = json.loads(samples.recipe(split, row)).get("trimap") or {}
        return rule.get("method") != "mask"

    rows = {split: [row for row in some if has_alpha(split, row)] for split, some in samples.rows.items()}
    return replace(samples, rows=rows)


def _used(samples: SampleSet, split: str) -> Iterator[tuple[str, str]]:
    """Yield what a split uses: the names of its samples and, as far as known, of foregrounds and backgrounds."""
    for row in samples.rows[split]:
        yield "sample", row.name
        recipe: dict[str, Any] = json.loads(samples.recipe(split, row))
        partner = (recipe.get("augment") or {}).get("partner")
        for kind, name in (
            ("foreground", recipe.get("foreground")),
            ("foreground", partner),
            ("background", recipe.get("background")),
        ):
            if isinstance(name, str):
                yield kind, name
