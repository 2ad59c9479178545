"""A cost model for ten million and a billion composites. Prints the tables of docs/scale.md.

It knows three limits: CPU time, the bandwidth of the storage, and its metadata operations per second. The slowest of
them decides how long a job takes.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Figure:
    """A number that the model uses, and its source."""

    value: float
    what: str
    source: str


OURS = "benchmarks/RESULTS.md: 100 composites per foreground against 20"
FLOOR = "benchmarks/RESULTS.md: this stage alone"
PHOTOS = "four portraits of 1 megapixel over 55 photos of Pascal VOC"
CALLS = "counted system calls"
ASSUMED = "assumed"

# All for composites of one megapixel.
PNG_MS = Figure(6.9, "ms of CPU time per composite, PNG", OURS)
JPG_MS = Figure(8.1, "ms of CPU time per composite, JPEG 95 4:4:4", OURS)
COLOURS_MS = Figure(30, "ms of CPU time to estimate the colours of a foreground", FLOOR)
PNG_BYTES = Figure(1_540_000, "bytes per composite, PNG", PHOTOS)
JPG_BYTES = Figure(356_000, "bytes per composite, JPEG 95 4:4:4", PHOTOS)
SHARED_BYTES = Figure(48_000, "bytes of the alpha and trimap that all composites of a foreground share", PHOTOS)
RECIPE_BYTES = Figure(263, "bytes per recipe", PHOTOS)
OPERATIONS = Figure(4, "metadata operations per sample: create, rename, two links", CALLS)
MEASURED = (PNG_MS, JPG_MS, COLOURS_MS, PNG_BYTES, JPG_BYTES, SHARED_BYTES, RECIPE_BYTES, OPERATIONS)

EACH = Figure(1000, "composites per foreground", ASSUMED)
CORES = Figure(256, "cores, such as 16 machines of 16", ASSUMED)
BUSY = Figure(0.85, "share of the time in which cores work, and neither wait nor start", ASSUMED)
BANDWIDTH = Figure(2_000_000_000, "bytes per second that the storage accepts from all machines together", ASSUMED)
OPERATION_RATE = Figure(5000, "metadata operations per second: one NFS server", ASSUMED)
SHARD_BYTES = Figure(1_000_000_000, "bytes per shard", ASSUMED)
HOUR_PRICE = Figure(0.05, "dollars per core-hour", ASSUMED)
MONTH_PRICE = Figure(0.02, "dollars per gigabyte of storage and month", ASSUMED)
CHOSEN = (EACH, CORES, BUSY, BANDWIDTH, OPERATION_RATE, SHARD_BYTES, HOUR_PRICE, MONTH_PRICE)

# Heads of the tables; a column of text ends with a colon.
FIGURES = "figure | meaning: | source:"
AMOUNTS = (
    "composites | format: | core-hours | TB | files and links | operations | shards | CPU, $ | storage, $ a month"
)
HOURS = (
    "composites | format: | CPU | bandwidth, files | operations, files | **as files** "
    "| bandwidth, shards | operations, shards | **as shards**"
)

SIZES = (10_000_000, 1_000_000_000)
FORMATS = {"png": (PNG_MS, PNG_BYTES), "jpg": (JPG_MS, JPG_BYTES)}


@dataclass(frozen=True)
class Job:
    """A number of composites of one megapixel in one format."""

    composites: int
    form: str

    @property
    def foregrounds(self) -> float:
        """The number of foregrounds of which the composites are made."""
        return self.composites / EACH.value

    @property
    def core_hours(self) -> float:
        """The core-hours to pay, waiting included."""
        work = self.composites * FORMATS[self.form][0].value + self.foregrounds * COLOURS_MS.value
        return work / BUSY.value / 3.6e6

    @property
    def bytes(self) -> float:
        """The bytes that are stored; hard links count once."""
        own = FORMATS[self.form][1].value + RECIPE_BYTES.value
        return self.composites * own + self.foregrounds * SHARED_BYTES.value

    @property
    def operations(self) -> float:
        """Metadata operations if each sample is three files on the shared storage."""
        return self.composites * OPERATIONS.value

    @property
    def shards(self) -> float:
        """The number of shards; in them each sample has its own copy of alpha and trimap."""
        return (self.bytes + self.composites * SHARED_BYTES.value) / SHARD_BYTES.value

    def limits(self) -> dict[str, float]:
        """Return the hours that each limit alone takes, with samples as files on the shared storage."""
        return {
            "CPU": self.core_hours / CORES.value,
            "bandwidth": self.bytes / BANDWIDTH.value / 3600,
            "operations": self.operations / OPERATION_RATE.value / 3600,
        }

    def limits_in_shards(self) -> dict[str, float]:
        """Return the same where samples are made on local disks and copied to the shared storage as shards."""
        return self.limits() | {
            "bandwidth": self.shards * SHARD_BYTES.value / BANDWIDTH.value / 3600,
            "operations": self.shards * 2 / OPERATION_RATE.value / 3600,  # create and rename
        }


def short(number: float) -> str:
    """Return a number with two significant digits, and commas."""
    digits = f"{number:.2g}"
    return f"{float(digits):,.0f}" if abs(number) >= 10 else digits


def table(head: str, rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Return the lines of a Markdown table; columns are numbers unless their head ends in a colon."""
    names = head.split(" | ")
    yield f"| {' | '.join(name.removesuffix(':') for name in names)} |"
    yield f"|{'|'.join('---' if name.endswith(':') else '---:' for name in names)}|"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def amounts(job: Job) -> list[str]:
    """Return the row of a job: work and cost."""
    money = job.core_hours * HOUR_PRICE.value, job.bytes / 1e9 * MONTH_PRICE.value
    numbers = (job.core_hours, job.bytes / 1e12, 3 * job.composites, job.operations, job.shards)
    return [f"{job.composites:,}", job.form, *map(short, numbers), *map(short, money)]


def hours(job: Job) -> list[str]:
    """Return the row of a job: the hours of each limit, and the longest."""
    files, shards = job.limits(), job.limits_in_shards()
    of_shards = (shards["bandwidth"], shards["operations"], max(shards.values()))
    return [f"{job.composites:,}", job.form, *map(short, [*files.values(), max(files.values()), *of_shards])]


def tables() -> str:
    """Return all tables of the model in docs/scale.md."""
    jobs = [Job(composites, form) for composites, form in itertools.product(SIZES, FORMATS)]
    figures = ((f"{figure.value:,}", figure.what, figure.source) for figure in MEASURED + CHOSEN)
    parts = (table(FIGURES, figures), table(AMOUNTS, map(amounts, jobs)), table(HOURS, map(hours, jobs)))
    return "\n\n".join("\n".join(lines) for lines in parts)


if __name__ == "__main__":
    click.echo(tables())
