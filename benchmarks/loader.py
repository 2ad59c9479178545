"""Samples a second and core that training is fed: from the layout, from shards, and from recipes alone.

Everything runs in one thread, and what is measured is the time of its core: the figures are those of one worker.
Sources take turns, sample by sample over the same names; a ratio is the median of those of single samples. All files
are in the page cache. Of recipes the first visit of each foreground, which prepares it, is told on its own.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
import cv2
import torch

from benchmarks.sources import write_sources
from benchmarks.train_step import machine
from shm_data.building.build import composite, write_plan
from shm_data.dataset.shards import write_shards
from shm_data.options import CompositeOptions
from shm_data.parallel import tune_worker
from shm_data.pixels.compositing import Size
from shm_model.config import Config
from shm_model.dataset import FREED_MEMORY_KEPT, TrainingSet

SIZES: tuple[Size, ...] = ((800, 600), (1440, 1080), (3840, 2160))
STAGES = ("pretrain_tnet", "pretrain_mnet", "end_to_end")
KINDS = ("layout", "shards", "recipes")

# Of each size: foregrounds, backgrounds of each, and samples that are timed.
_PEOPLE, _NUMBG, _TIMED = 4, 8, 24


@dataclass
class Row:
    """What is timed: a call that makes the sample of an index, and what it took each time."""

    kind: str
    make: Callable[[int], object]
    seconds: list[float] = field(default_factory=list)


def write_sets(folder: Path, size: Size) -> tuple[dict[str, Path], str]:
    """The same samples as layout, as shards, and as a plan; and what they are made of."""
    sources = folder / "sources"
    told = write_sources(sources, size[0] * size[1], _PEOPLE, 40)
    options = CompositeOptions.checked(
        inimg=sources / "photos",
        inalp=sources / "alphas",
        bgdir=(sources / "backgrounds",),
        numbg=_NUMBG,
        trainsplit=1.0,
        originals=False,
    )
    roots = {kind: folder / kind for kind in KINDS}
    composite(options, roots["layout"])
    write_shards(roots["layout"], roots["shards"])
    write_plan(options, roots["recipes"])
    return roots, told


def time_all(rows: list[Row], count: int) -> None:
    """Makes `count` samples with each row in turn, after one that is not timed; in a process like a worker's."""
    tune_worker(FREED_MEMORY_KEPT)
    for index in range(count):
        for row in rows:
            row.make(index)
    for index in range(count):
        for row in rows:
            begun = time.process_time()
            row.make(index)
            row.seconds.append(time.process_time() - begun)


def ratio(row: Row, base: Row) -> float:
    """How many times as fast as the base a row is, sample by sample."""
    return median(there / here for there, here in zip(base.seconds, row.seconds, strict=True))


def table(title: str, rows: list[Row]) -> Iterator[str]:
    """The rows against the first, in Markdown."""
    yield f"| {title} | samples/s, against layout | samples/s and core | ms |"
    yield "|---|---:|---:|---:|"
    for row in rows:
        took = median(row.seconds)
        yield f"| {row.kind} | {ratio(row, rows[0]):.1f}x | {1 / took:.0f} | {1e3 * took:.1f} |"
    yield ""


def rows_of(roots: dict[str, Path], stage: str | None) -> list[Row]:
    """A row for each kind: whole samples as they are read or, with a stage, as its training sees them."""
    rows = []
    for kind, root in roots.items():
        dataset = TrainingSet(config_of(kind, root, stage or STAGES[0]))
        make = (lambda index, dataset=dataset: dataset[0, index]) if stage else dataset.source.read
        rows.append(Row(kind, make))
    return rows


def config_of(kind: str, root: Path, stage: str) -> Config:
    """The configuration of a stage at the paper's sizes, on the CPU."""
    unused = {"tnet_checkpoint": Path("-"), "mnet_checkpoint": Path("-")} if stage == "end_to_end" else {}
    return Config(mode=stage, data=kind, data_root=root, cuda=False, num_workers=0, **unused)


def first_visits(root: Path) -> float:
    """Seconds that preparing a foreground takes, on average, before any worker has it."""
    source = TrainingSet(config_of("recipes", root, STAGES[0])).source
    begun = time.process_time()
    for index in range(0, len(source.names), _NUMBG):
        source.read(index)
    return (time.process_time() - begun) / _PEOPLE


@click.command()
@click.option(
    "--size", "sizes", multiple=True, metavar="WxH", help="Sizes to measure.  [default: 800x600, 1440x1080, 4K]"
)
@click.option("--samples", type=click.IntRange(1), default=_TIMED, show_default=True, help="How many are timed.")
def main(sizes: tuple[str, ...], samples: int) -> None:
    """Measure and print Markdown tables."""
    torch.set_num_threads(1)
    click.echo(f"{machine(torch.device('cpu'))}, OpenCV {cv2.__version__}\n")
    for size in [_size(text) for text in sizes] or SIZES:
        with tempfile.TemporaryDirectory() as place:
            roots, told = write_sets(Path(place), size)
            click.echo(f"#### {size[0]} x {size[1]}: {told}\n")
            seconds = first_visits(roots["recipes"])
            for stage in (None, *STAGES):
                rows = rows_of(roots, stage)
                time_all(rows, min(samples, _PEOPLE * _NUMBG))
                click.echo("\n".join(table(stage or "whole samples", rows)))
            click.echo(f"Preparing a foreground for recipes, once: {seconds:.2f} s.\n")


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


if __name__ == "__main__":
    main()
