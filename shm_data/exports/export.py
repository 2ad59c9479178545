"""Writes a data set in the folders that another trainer, or a data set hub, reads; or resumes where a run stopped."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from shm_data.dataset.card import bare_card, card, shares_of, write_card
from shm_data.dataset.hub_header import Packaging
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.picture_table import PICTURES, SOURCES, csv_line, photos_of, sources_of
from shm_data.dataset.recipes import Recipe, from_line
from shm_data.dataset.shard_format import Row
from shm_data.dataset.shards import require_outside
from shm_data.errors import counted
from shm_data.exports.foregrounds import export_foregrounds
from shm_data.exports.packagings import FOLDERS, PACKAGINGS, Folders
from shm_data.exports.record import ExportRecord, Kind, require_own, write_record
from shm_data.exports.samples import SampleSet, open_samples
from shm_data.files import clear_leftovers, locked, make_folders, unused, write_lines
from shm_data.parallel import Progress, quiet, spread

# Samples that a thread links before it reports: one takes less than a millisecond.
_BATCH = 16


def export_dataset(root: Path, savedir: Path, kind: Kind, jobs: int = -1, progress: Progress = quiet) -> ExportRecord:
    """Export a data set, or a folder of shards, to `savedir`, and return the record of the export.

    Pictures are hard links to those of the data set where that is possible, else copies; of shards they are copies.
    Raises ShmDataError where the set is not complete, lacks files or has a leak, where `savedir` holds something
    else, and where another run uses one of the folders.
    """
    require_outside(root, savedir)
    with locked(root, shared=True):
        samples = open_samples(root, jobs, progress, masks=FOLDERS[kind].trimaps is not None)
        make_folders(savedir)
        with locked(savedir):
            require_own(savedir, kind, samples.digests)
            record = ExportRecord(kind=kind, complete=False, dataset=samples.digests)
            write_record(savedir, record)
            if kind == "fg-alpha-bg":
                counts = export_foregrounds(root, samples, savedir, jobs, progress)
            else:
                counts = _export_samples(samples, savedir, kind, jobs, progress)
            clear_leftovers(savedir)
            _write_card(samples, savedir, PACKAGINGS[kind])
            record = record.model_copy(update={"complete": True, "counts": counts})
            write_record(savedir, record)
            return record


def summary(record: ExportRecord) -> str:
    """Return a line for people: what an export holds."""
    sides = (
        f"{split}: {', '.join(counted(count, what) for what, count in counts.items())}"
        for split, counts in record.counts.items()
    )
    return "; ".join(sides)


def _export_samples(
    samples: SampleSet, savedir: Path, kind: Kind, jobs: int, progress: Progress
) -> dict[str, dict[str, int]]:
    folders = FOLDERS[kind]
    for split, rows in samples.rows.items():
        home = [savedir / split / name for name in folders.each if name]
        make_folders(*home)
        clear_leftovers(savedir / split, *home)
        names = _names(rows, listable=kind == "pairs")
        tasks = list(zip(rows, names, strict=True))
        written = spread(partial(_write, samples, savedir / split, folders, split), tasks, jobs, batch=_BATCH)
        for _ in progress(written, len(tasks), f"exporting {split}"):
            pass
        write_lines(savedir / split / "metadata.csv", _table(samples, split, folders, names))
        if kind == "pairs":
            paths = (_paths(folders, name) for name in names)
            write_lines(savedir / f"{split}.txt", (f"{split}/{image} {split}/{alpha}" for image, alpha, *_ in paths))
    return {split: {"sample": len(samples.rows[split])} for split in SPLITS}


def _write(samples: SampleSet, home: Path, folders: Folders, split: str, task: tuple[Row, str]) -> None:
    row, name = task
    paths = [home / path for path in _paths(folders, name)]
    samples.write(split, row, [*paths, *[None] * (3 - len(paths))])


def _names(rows: Sequence[Row], *, listable: bool) -> list[str]:
    """Return the names of the images in an export. In a list that spaces divide, `listable` names have none."""
    if not listable:
        return [row.name for row in rows]
    taken: dict[str, int] = {}
    names = (os.path.splitext(re.sub(r"\s", "_", row.name)) for row in rows)  # noqa: PTH122
    return [unused(stem, taken) + extension for stem, extension in names]


def _paths(folders: Folders, name: str) -> list[str]:
    """Return the paths of a sample's files in the folder of its split. Alphas and trimaps are PNG."""
    png = f"{os.path.splitext(name)[0]}.png"  # noqa: PTH122
    labels = [folder for folder in (folders.alphas, folders.trimaps) if folder]
    return [f"{folders.images}/{name}", *(f"{folder}/{png}" for folder in labels)]


def _table(samples: SampleSet, split: str, folders: Folders, names: Sequence[str]) -> Iterator[str]:
    """Return the lines of metadata.csv: the paths of a sample's files, its sources if they are known, its recipe."""
    pictures = PICTURES if folders.trimaps else PICTURES[:2]
    photos: Mapping[str, str] = {} if samples.manifest is None else photos_of(samples.manifest)
    yield csv_line([*pictures, *SOURCES * bool(photos), "recipe"])
    for row, name in zip(samples.rows[split], names, strict=True):
        line = samples.recipe(split, row).decode().rstrip("\n")
        sources = sources_of(from_line(line), photos) if photos else ()
        yield csv_line([*_paths(folders, name), *sources, line])


def _write_card(samples: SampleSet, savedir: Path, packaging: Packaging) -> None:
    counts = {split: len(samples.rows[split]) for split in SPLITS}
    manifest = samples.manifest
    if manifest is None:
        write_card(savedir / "README.md", bare_card(counts, packaging))
        return
    shares = shares_of(_recipes(samples))
    shown = set().union(*(share.foregrounds for share in shares.values()))
    update = {
        "counts": manifest.counts.model_copy(update=counts | {"samples": sum(counts.values())}),
        "foregrounds": tuple(each for each in manifest.foregrounds if each.files.name in shown),
    }
    write_card(savedir / "README.md", card(manifest.model_copy(update=update), shares, packaging))


def _recipes(samples: SampleSet) -> Iterator[Recipe]:
    for split, rows in samples.rows.items():
        for row in rows:
            yield from_line(samples.recipe(split, row))
