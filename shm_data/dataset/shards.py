"""Packs a data set into shards: tar files in drawn order, the same bytes on every machine and in every run."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shm_data.dataset.card import bare_card, card, shares_of, write_card
from shm_data.dataset.hub_header import Packaging
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.manifest import Manifest, read_manifest
from shm_data.dataset.recipes import from_line, read_recipes, to_line
from shm_data.dataset.shard_format import (
    END,
    INDEX,
    Counts,
    Index,
    Row,
    Shard,
    Table,
    header,
    members,
    padding,
    read_index,
    read_table,
    require_fit,
    size_of,
    table_of,
)
from shm_data.draws import draws
from shm_data.errors import ShmDataError, counted
from shm_data.files import clear_leftovers, locked, make_folders, whole_file, write_bytes
from shm_data.parallel import Progress, quiet, spread

# The largest shard, so that what a kill loses, or a failed transfer sends again, stays small.
_MOST_BYTES = 2**30

_PACKAGING = Packaging(
    configs={"default": ("{split}-*.tar",)},
    files=(
        "SPLIT-NUMBER.tar  samples, each of four files: KEY.image{extension} KEY.alpha.png KEY.trimap.png KEY.json",
        "SPLIT-NUMBER.json what lies where in a tar",
        "index.json        counts, and the size and SHA-256 of each tar",
    ),
    command="shm-data shards --data DATASET --savedir SHARDS",
)


@dataclass(frozen=True, slots=True)
class Packed:
    """The data set that is packed: digests that identify it, and its recipes, as lines, by split and name.

    One without a record, `manifest`, has neither seed nor recipes.
    """

    layout: Layout
    manifest: Manifest | None
    digests: dict[str, str]
    recipes: Mapping[tuple[str, str], bytes]

    @property
    def seed(self) -> int:
        """The seed of the data set, 0 without a record."""
        return 0 if self.manifest is None else self.manifest.options.seed

    def json_line(self, split: str, name: str) -> bytes:
        """Return a JSON object on one line for a sample: its recipe, or else its name and split."""
        return self.recipes.get((split, name)) or f"{json.dumps({'name': name, 'split': split})}\n".encode()


@dataclass(frozen=True, slots=True)
class Draft:
    """A shard to be written: its path and samples."""

    tar: Path
    split: str
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return sum(row.span for row in self.rows) + len(END)


def write_shards(
    root: Path, savedir: Path, maxcount: int = 1000, jobs: int = -1, progress: Progress = quiet
) -> Index:
    """Write a data set as shards of at most `maxcount` samples to `savedir`, or resume where a run stopped.

    Files are packed unchanged. Raises ShmDataError where the data set is not complete, lacks files, or is not the one
    whose shards are there already; and where another run uses one of the folders.
    """
    require_outside(root, savedir)
    with locked(root, shared=True):
        packed = open_packed(Layout(root))
        make_folders(savedir)
        with locked(savedir):
            clear_leftovers(savedir)
            return _write(packed, savedir, maxcount, jobs, progress)


def _write(packed: Packed, savedir: Path, maxcount: int, jobs: int, progress: Progress) -> Index:
    old = read_index(savedir)
    _refuse_other(old, packed, savedir, maxcount)
    rows = {split: measured(packed, split, jobs, progress) for split in SPLITS}
    drafts = [draft for split in SPLITS for draft in _drafts(packed, split, rows[split], savedir, maxcount)]
    if not drafts:
        raise ShmDataError(path=packed.layout.root, found="no samples", expected="at least one")
    missing = [draft for draft in drafts if not _is_done(draft)]
    if old is not None and old.complete and not missing:
        return old
    counts = Counts(train=len(rows["train"]), val=len(rows["val"]))
    index = Index(
        complete=False, maxcount=maxcount, seed=packed.seed, dataset=packed.digests, counts=counts, shards=()
    )
    _write_index(savedir, index)
    written = itertools.chain.from_iterable(spread(partial(write_shard, packed), missing, jobs))
    for _ in progress(written, sum(len(draft.rows) for draft in missing), "packing"):
        pass
    _write_card(packed, counts, savedir)
    index = index.model_copy(update={"complete": True, "shards": tuple(map(_shard, drafts))})
    _write_index(savedir, index)
    return index


def write_shard(packed: Packed, draft: Draft) -> Sequence[Row]:
    """Write a shard and then its table, which marks it as complete; return the samples.

    Raises ShmDataError where a file of the data set cannot be read, WriteError where the shard cannot be written.
    """
    digest = hashlib.sha256()
    with whole_file(draft.tar, durable=True) as target, target.open("wb") as file:
        for chunk in _chunks(packed, draft):
            digest.update(chunk)
            file.write(chunk)
    table = Table(sha256=digest.hexdigest(), samples=draft.rows)
    write_bytes(table_of(draft.tar), f"{table.model_dump_json()}\n".encode(), durable=True)
    return draft.rows


def summary(index: Index) -> str:
    """Return a line for people: what a folder of shards holds."""
    sides = []
    for split in SPLITS:
        count = sum(shard.split == split for shard in index.shards)
        sides.append(f"{getattr(index.counts, split)} {split} in {counted(count, 'shard')}")
    size = sum(shard.bytes for shard in index.shards)
    return f"{counted(index.counts.train + index.counts.val, 'sample')} ({', '.join(sides)}), {size / 1e6:.1f} MB"


def _chunks(packed: Packed, draft: Draft) -> Iterator[bytes]:
    """Return the bytes of a shard, piece by piece."""
    for row in draft.rows:
        contents = _contents(packed, draft.split, row.name)
        for member, size, data in zip(members(draft.split, row), row.sizes, contents, strict=True):
            if len(data) != size:
                found = f"{len(data)} bytes in {member}"
                raise ShmDataError(f"sample {row.name}", found=found, expected=f"{size}, as when packing began")
            yield header(member, size)
            yield data
            yield bytes(padding(size))
    yield END


def _contents(packed: Packed, split: str, name: str) -> Iterator[bytes]:
    """Return the contents of a sample's members. Each file is read: in a tar, hard links would be empty members."""
    for path in packed.layout.sample(name):
        yield _content(path)
    yield packed.json_line(split, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error


def open_packed(layout: Layout) -> Packed:
    """Return the data set to pack. Raises ShmDataError where it is not complete."""
    known = os.path.lexists(layout.manifest)
    manifest = read_manifest(layout) if known else None
    if manifest is not None and not manifest.complete:
        found, expected = "a data set that is not complete", "one that its command has finished"
        raise ShmDataError(path=layout.root, found=found, expected=expected)
    files = [*map(layout.names_of, SPLITS), *[layout.manifest] * known]
    digests = {path.name: hashlib.sha256(_content(path)).hexdigest() for path in files}
    if manifest is None:
        return Packed(layout, None, digests, {})
    recipes = read_recipes(layout.recipes, manifest.counts.samples, belongs=manifest.membership())
    lines = {(recipe.split, recipe.name): f"{to_line(recipe)}\n".encode() for recipe in recipes}
    return Packed(layout, manifest, digests, lines)


def measured(packed: Packed, split: str, jobs: int, progress: Progress) -> list[Row]:
    """Return the samples of a split in the order of its list. Raises ShmDataError that names those without files."""
    names = read_names(packed.layout.root, split)
    found = spread(partial(_measure, packed, split), enumerate(names), jobs, ordered=True)
    results = list(progress(found, len(names), f"looking at {split}"))
    faults = [result for result in results if isinstance(result, ShmDataError)]
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(names)} samples in {split} cannot be packed", faults=faults)
    return [result for result in results if isinstance(result, Row)]


def _measure(packed: Packed, split: str, sample: tuple[int, str]) -> Row | ShmDataError:
    position, name = sample
    try:
        require_fit(name)
    except ValueError as error:
        return ShmDataError(f"sample {name[:255]}", expected=str(error))
    sizes = []
    for path in packed.layout.sample(name):
        size = size_of(path)
        if not size:
            found = f"no {path.parent.name}/{path.name}"
            return ShmDataError(f"sample {name} of {packed.layout.root}", found=found, expected="the file")
        sizes.append(size)
    image, alpha, trimap = sizes
    return Row(position, name, image, alpha, trimap, len(packed.json_line(split, name)))


def _drafts(packed: Packed, split: str, rows: Iterable[Row], savedir: Path, maxcount: int) -> Iterator[Draft]:
    """Return the shards of a split. The order follows numbers drawn from the seed and each sample's name."""

    def drawn(row: Row) -> tuple[float, int]:
        return next(draws(packed.seed, "shard", split, row.name)), row.position

    for number, some in enumerate(_cut(sorted(rows, key=drawn), maxcount)):
        yield Draft(savedir / f"{split}-{number:06}.tar", split, some)


def _cut(rows: Iterable[Row], maxcount: int) -> Iterator[tuple[Row, ...]]:
    some: list[Row] = []
    size = 0
    for row in rows:
        if some and (len(some) == maxcount or size + row.span > _MOST_BYTES):
            yield tuple(some)
            some, size = [], 0
        some.append(row)
        size += row.span
    if some:
        yield tuple(some)


def _is_done(draft: Draft) -> bool:
    """Return whether a shard is complete. Raises ShmDataError where the files of the data set have changed since."""
    table = read_table(draft.tar)
    if table is None:
        return False
    if table.samples != draft.rows:
        found = "files of other sizes in the data set"
        raise ShmDataError(path=draft.tar, found=found, expected="those it was made of, or another --savedir")
    return size_of(draft.tar) == draft.size


def _shard(draft: Draft) -> Shard:
    table = read_table(draft.tar)
    if table is None:
        raise ShmDataError("is gone", path=table_of(draft.tar), expected="a folder that nobody else changes")
    return Shard(
        file=draft.tar.name, split=draft.split, samples=len(draft.rows), bytes=draft.size, sha256=table.sha256
    )


def _write_card(packed: Packed, counts: Counts, savedir: Path) -> None:
    if packed.manifest is None:
        text = bare_card(counts.model_dump(), _PACKAGING)
    else:
        text = card(packed.manifest, shares_of(map(from_line, packed.recipes.values())), _PACKAGING)
    write_card(savedir / "README.md", text)


def _write_index(savedir: Path, index: Index) -> None:
    write_bytes(savedir / INDEX, f"{index.model_dump_json(indent=1)}\n".encode(), durable=True)


def _refuse_other(old: Index | None, packed: Packed, savedir: Path, maxcount: int) -> None:
    """Raise ShmDataError for shards of another data set, or of this one before a change: they are never mixed."""
    if old is None:
        there = sorted(path.name for split in SPLITS for path in savedir.glob(f"{split}-*.tar"))
        if there:
            raise ShmDataError(
                f"holds shards without {INDEX}", path=savedir, found=there[0], expected="another --savedir"
            )
        return
    differing = [name for name in packed.digests | old.dataset if packed.digests.get(name) != old.dataset.get(name)]
    if differing:
        what = "holds shards of another data set, or of this one before it changed"
        raise ShmDataError(
            what, path=savedir, found=f"another {' and '.join(differing)}", expected="another --savedir"
        )
    if old.maxcount != maxcount:
        what, expected = "holds shards made with other options", f"{old.maxcount} as before"
        raise ShmDataError(
            what, path=savedir, found=f"--maxcount {maxcount}", expected=f"{expected}, or another --savedir"
        )


def require_outside(root: Path, savedir: Path) -> None:
    """Raise ShmDataError where `savedir` lies in the data set."""
    if Path(os.path.realpath(savedir)).is_relative_to(os.path.realpath(root)):
        raise ShmDataError("--savedir", found=f"{savedir} inside {root}", expected="a folder outside the data set")
