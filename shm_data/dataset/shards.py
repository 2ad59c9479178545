"""A data set -> a folder of shards: tar files in drawn order, the same bytes wherever and however often it runs."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import read_recipes, to_line
from shm_data.dataset.shard_format import (
    END,
    INDEX,
    Counts,
    Index,
    Row,
    Shard,
    Table,
    filling,
    header,
    members,
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

# A shard ends before it grows beyond this: what is lost by a kill, or sent again after a fault, stays small.
_MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Packed:
    """The data set that is packed: what tells it from others, and the recipes, as lines, by split and name."""

    layout: Layout
    seed: int
    marks: dict[str, str]
    recipes: Mapping[tuple[str, str], bytes]

    def told(self, split: str, name: str) -> bytes:
        """What is known of a sample, a JSON object on one line: its recipe, or else its name and split."""
        return self.recipes.get((split, name)) or f"{json.dumps({'name': name, 'split': split})}\n".encode()


@dataclass(frozen=True, slots=True)
class Draft:
    """A shard to be written: where, and the samples that it will hold."""

    tar: Path
    split: str
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        """How many bytes it will have."""
        return sum(row.span for row in self.rows) + len(END)


def write_shards(
    root: Path, savedir: Path, maxcount: int = 1000, jobs: int = -1, progress: Progress = quiet
) -> Index:
    """Writes a data set as shards of at most `maxcount` samples into `savedir`, or goes on where a run stopped.

    Files go in as they are. Raises ShmDataError where the data set is not complete, lacks files, or is not the one
    whose shards are there already; and where another run has one of the folders.
    """
    _refuse_inside(root, savedir)
    with locked(root, shared=True):
        packed = _packed(Layout(root))
        make_folders(savedir)
        with locked(savedir):
            clear_leftovers(savedir)
            return _write(packed, savedir, maxcount, jobs, progress)


def _write(packed: Packed, savedir: Path, maxcount: int, jobs: int, progress: Progress) -> Index:
    old = read_index(savedir)
    _refuse_other(old, packed, savedir, maxcount)
    rows = {split: _measured(packed, split, jobs, progress) for split in SPLITS}
    drafts = [draft for split in SPLITS for draft in _drafts(packed, split, rows[split], savedir, maxcount)]
    if not drafts:
        raise ShmDataError(path=packed.layout.root, found="no samples", expected="at least one")
    missing = [draft for draft in drafts if not _is_done(draft)]
    if old is not None and old.complete and not missing:
        return old
    counts = Counts(train=len(rows["train"]), val=len(rows["val"]))
    index = Index(complete=False, maxcount=maxcount, seed=packed.seed, dataset=packed.marks, counts=counts, shards=())
    _write_index(savedir, index)
    written = itertools.chain.from_iterable(spread(partial(write_shard, packed), missing, jobs))
    for _ in progress(written, sum(len(draft.rows) for draft in missing), "packing"):
        pass
    index = index.model_copy(update={"complete": True, "shards": tuple(map(_shard, drafts))})
    _write_index(savedir, index)
    return index


def write_shard(packed: Packed, draft: Draft) -> Sequence[Row]:
    """Writes a shard and then its table, which vouches for it; gives the samples.

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
    """What a folder of shards holds, in a line for people."""
    sides = []
    for split in SPLITS:
        count = sum(shard.split == split for shard in index.shards)
        sides.append(f"{getattr(index.counts, split)} {split} in {counted(count, 'shard')}")
    size = sum(shard.bytes for shard in index.shards)
    return f"{counted(index.counts.train + index.counts.val, 'sample')} ({', '.join(sides)}), {size / 1e6:.1f} MB"


def _chunks(packed: Packed, draft: Draft) -> Iterator[bytes]:
    """The bytes of a shard."""
    for row in draft.rows:
        contents = _contents(packed, draft.split, row.name)
        for member, size, data in zip(members(draft.split, row), row.sizes, contents, strict=True):
            if len(data) != size:
                found = f"{len(data)} bytes in {member}"
                raise ShmDataError(f"sample {row.name}", found=found, expected=f"{size} as a moment ago")
            yield header(member, size)
            yield data
            yield bytes(filling(size))
    yield END


def _contents(packed: Packed, split: str, name: str) -> Iterator[bytes]:
    """The bytes of a sample's members, each file read by itself: a tar of hard links would hold but the first."""
    for path in packed.layout.sample(name):
        yield _content(path)
    yield packed.told(split, name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error


def _packed(layout: Layout) -> Packed:
    """A data set that is complete, as far as it tells: one without dataset.json has neither seed nor recipes."""
    known = os.path.lexists(layout.manifest)
    manifest = read_manifest(layout) if known else None
    if manifest is not None and not manifest.complete:
        found, expected = "a data set that is not complete", "the end of the command that makes it"
        raise ShmDataError(path=layout.root, found=found, expected=expected)
    files = [*map(layout.names_of, SPLITS), *[layout.manifest] * known]
    marks = {path.name: hashlib.sha256(_content(path)).hexdigest() for path in files}
    if manifest is None:
        return Packed(layout, 0, marks, {})
    recipes = read_recipes(layout.recipes, manifest.counts.samples)
    told = {(recipe.split, recipe.name): f"{to_line(recipe)}\n".encode() for recipe in recipes}
    return Packed(layout, manifest.options.seed, marks, told)


def _measured(packed: Packed, split: str, jobs: int, progress: Progress) -> list[Row]:
    """The samples of a split in the order of its list. Raises ShmDataError that names those which lack files."""
    names = read_names(packed.layout.root, split)
    measured = spread(partial(_measure, packed, split), enumerate(names), jobs, ordered=True)
    results = list(progress(measured, len(names), f"looking at {split}"))
    faults = [result for result in results if isinstance(result, ShmDataError)]
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(names)} samples in {split} cannot be packed", faults=faults)
    return [result for result in results if isinstance(result, Row)]


def _measure(packed: Packed, split: str, sample: tuple[int, str]) -> Row | ShmDataError:
    place, name = sample
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
    return Row(place, name, image, alpha, trimap, len(packed.told(split, name)))


def _drafts(packed: Packed, split: str, rows: Iterable[Row], savedir: Path, maxcount: int) -> Iterator[Draft]:
    """The shards of a split. Each sample has a number of its own, drawn from seed and name, and they go by these."""

    def drawn(row: Row) -> tuple[float, int]:
        return next(draws(packed.seed, "shard", split, row.name)), row.place

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
    """Whether a shard is there, whole. Raises ShmDataError where the data set now has other files than it."""
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
        raise ShmDataError(f"{table_of(draft.tar)} is gone", expected="a folder that nobody else changes")
    return Shard(
        file=draft.tar.name, split=draft.split, samples=len(draft.rows), bytes=draft.size, sha256=table.sha256
    )


def _write_index(savedir: Path, index: Index) -> None:
    write_bytes(savedir / INDEX, f"{index.model_dump_json(indent=1)}\n".encode(), durable=True)


def _refuse_other(old: Index | None, packed: Packed, savedir: Path, maxcount: int) -> None:
    """Shards of two data sets, or of one before and after a change, are never mixed in one folder."""
    if old is None:
        there = sorted(path.name for split in SPLITS for path in savedir.glob(f"{split}-*.tar"))
        if there:
            raise ShmDataError(
                f"{savedir} holds shards without {INDEX}", found=there[0], expected="another --savedir"
            )
        return
    differing = [name for name in packed.marks | old.dataset if packed.marks.get(name) != old.dataset.get(name)]
    if differing:
        what = f"{savedir} holds shards of another data set, or of this one as it was"
        raise ShmDataError(what, found=f"another {' and '.join(differing)}", expected="another --savedir")
    if old.maxcount != maxcount:
        what, expected = f"{savedir} holds shards made with other options", f"{old.maxcount} as before"
        raise ShmDataError(what, found=f"--maxcount {maxcount}", expected=f"{expected}, or another --savedir")


def _refuse_inside(root: Path, savedir: Path) -> None:
    if Path(os.path.realpath(savedir)).is_relative_to(os.path.realpath(root)):
        raise ShmDataError("--savedir", found=f"{savedir} inside {root}", expected="a folder outside the data set")
