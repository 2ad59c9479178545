"""Measures the samples per second and core that a training worker reads: from the layout, shards, or recipes alone.

Everything runs in one thread, and CPU time is measured: the figures are those of one worker. The kinds alternate,
sample by sample over the same names; a ratio is the median of the ratios of single samples. All files are in the page
cache. With recipes, the first use of a foreground, which prepares it, is reported separately.
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

# For each size: foregrounds, backgrounds per foreground, and timed samples.
_PEOPLE, _NUMBG, _TIMED = 4, 8, 24


@dataclass
class Row:
    """A function that returns the sample at an index, and its CPU seconds, one per call."""

    kind: str
    make: Callable[[int], object]
    seconds: list[float] = field(default_factory=list)


def write_sets(folder: Path, size: Size) -> tuple[dict[str, Path], str]:
    """Write the same samples as layout, shards and plan; return their folders and a description of the sources."""
    sources = folder / "sources"
    description = write_sources(sources, size[0] * size[1], _PEOPLE, 40)
    options = CompositeOptions.checked(
        inimg=sources / "photos",
        inalp=sources / "alphas",
        bgdir=(sources / "backgrounds",),
        numbg=_NUMBG,
        trainsplit=1.0,
        originals=False,
        augment=(),
    )
    roots = {kind: folder / kind for kind in KINDS}
    composite(options, roots["layout"])
    write_shards(roots["layout"], roots["shards"])
    write_plan(options, roots["recipes"])
    return roots, description


def time_all(rows: list[Row], count: int) -> None:
    """Time `count` samples of each row, alternating, after an untimed pass; the process is tuned like a worker."""
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
    """Return the speed-up of a row over the base: the median over single samples."""
    return median(there / here for there, here in zip(base.seconds, row.seconds, strict=True))


def table(title: str, rows: list[Row]) -> Iterator[str]:
    """Return the rows, compared with the first, in Markdown."""
    yield f"| {title} | speed-up over layout | samples/s per core | ms |"
    yield "|---|---:|---:|---:|"
    for row in rows:
        took = median(row.seconds)
        yield f"| {row.kind} | {ratio(row, rows[0]):.1f}x | {1 / took:.0f} | {1e3 * took:.1f} |"
    yield ""


def rows_of(roots: dict[str, Path], stage: str | None) -> list[Row]:
    """Return a row for each kind: whole samples as they are read or, with a stage, as its training gets them."""
    rows = []
    for kind, root in roots.items():
        dataset = TrainingSet(config_of(kind, root, stage or STAGES[0]))
        make = (lambda index, dataset=dataset: dataset[0, index]) if stage else dataset.source.read
        rows.append(Row(kind, make))
    return rows


def config_of(kind: str, root: Path, stage: str) -> Config:
    """Return the configuration of a stage at the paper's sizes, on the CPU."""
    unused = {"tnet_checkpoint": Path("-"), "mnet_checkpoint": Path("-")} if stage == "end_to_end" else {}
    return Config(mode=stage, data=kind, data_root=root, cuda=False, num_workers=0, **unused)


def first_visits(root: Path) -> float:
    """Return the mean seconds to prepare a foreground that is not in the cache."""
    source = TrainingSet(config_of("recipes", root, STAGES[0])).source
    begun = time.process_time()
    for index in range(0, len(source.names), _NUMBG):
        source.read(index)
    return (time.process_time() - begun) / _PEOPLE


@click.command()
@click.option(
    "--size", "sizes", multiple=True, metavar="WxH", help="Sizes to measure.  [default: 800x600, 1440x1080, 4K]"
)
@click.option("--samples", type=click.IntRange(1), default=_TIMED, show_default=True, help="Number of timed samples.")
def main(sizes: tuple[str, ...], samples: int) -> None:
    """Measure and print Markdown tables."""
    torch.set_num_threads(1)
    click.echo(f"{machine(torch.device('cpu'))}, OpenCV {cv2.__version__}\n")
    for size in [_size(text) for text in sizes] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            roots, description = write_sets(Path(folder), size)
            click.echo(f"#### {size[0]} x {size[1]}: {description}\n")
            seconds = first_visits(roots["recipes"])
            for stage in (None, *STAGES):
                rows = rows_of(roots, stage)
                time_all(rows, min(samples, _PEOPLE * _NUMBG))
                click.echo("\n".join(table(stage or "whole samples", rows)))
            click.echo(f"Time to prepare a foreground for recipes, once: {seconds:.2f} s.\n")


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


if __name__ == "__main__":
    main()
