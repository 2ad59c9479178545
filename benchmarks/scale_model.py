"""What ten million and a billion composites cost: a model. Prints the tables of docs/scale.md.

It knows three walls: cores, the bytes that a storage takes in a second, and the names that it can change in a second.
A job takes as long as the highest of them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Figure:
    """A number that goes into the model, and where it is from."""

    value: float
    what: str
    source: str


OURS = "benchmarks/RESULTS.md, what 100 composites a foreground take more than 20"
FLOOR = "benchmarks/RESULTS.md, its stage alone"
PHOTOS = "four portraits of 1 megapixel over 55 photos of Pascal VOC"
CALLS = "the calls to the system, counted"
ASSUMED = "assumed"

# All for composites of one megapixel.
PNG_MS = Figure(6.9, "ms of a core for a composite, PNG", OURS)
JPG_MS = Figure(8.1, "ms of a core for a composite, JPEG 95 4:4:4", OURS)
COLOURS_MS = Figure(30, "ms of a core for the colours of a foreground", FLOOR)
PNG_BYTES = Figure(1_540_000, "bytes of a composite, PNG", PHOTOS)
JPG_BYTES = Figure(356_000, "bytes of a composite, JPEG 95 4:4:4", PHOTOS)
SHARED_BYTES = Figure(48_000, "bytes of the alpha and trimap that a foreground's composites share", PHOTOS)
RECIPE_BYTES = Figure(263, "bytes of a recipe", PHOTOS)
CHANGES = Figure(4, "changes of names for a sample: create, rename, two links", CALLS)
MEASURED = (PNG_MS, JPG_MS, COLOURS_MS, PNG_BYTES, JPG_BYTES, SHARED_BYTES, RECIPE_BYTES, CHANGES)

EACH = Figure(1000, "composites of each foreground", ASSUMED)
CORES = Figure(256, "cores, such as 16 machines of 16", ASSUMED)
BUSY = Figure(0.85, "of their time cores are at work, not waiting for each other or starting", ASSUMED)
WRITTEN = Figure(2_000_000_000, "bytes a second that the storage takes from all machines together", ASSUMED)
CHANGED = Figure(5000, "changes of names a second that it takes: one NFS server", ASSUMED)
SHARD_BYTES = Figure(1_000_000_000, "bytes of a shard", ASSUMED)
HOUR_PRICE = Figure(0.05, "dollars for an hour of a core", ASSUMED)
MONTH_PRICE = Figure(0.02, "dollars for a gigabyte of storage, each month", ASSUMED)
CHOSEN = (EACH, CORES, BUSY, WRITTEN, CHANGED, SHARD_BYTES, HOUR_PRICE, MONTH_PRICE)

# Heads of the tables; a colon marks words.
GIVEN = "figure | of: | from:"
AMOUNTS = "composites | format: | core-hours | TB | names | changes of names | shards | cores, $ | storage, $ a month"
HOURS = "composites | format: | cores | bytes | names | **files** | bytes of shards | their names | **shards**"

SIZES = (10_000_000, 1_000_000_000)
FORMATS = {"png": (PNG_MS, PNG_BYTES), "jpg": (JPG_MS, JPG_BYTES)}


@dataclass(frozen=True)
class Job:
    """So many composites of one megapixel in one format."""

    composites: int
    form: str

    @property
    def foregrounds(self) -> float:
        """How many the composites are made of."""
        return self.composites / EACH.value

    @property
    def core_hours(self) -> float:
        """What all cores are paid for, waiting included."""
        work = self.composites * FORMATS[self.form][0].value + self.foregrounds * COLOURS_MS.value
        return work / BUSY.value / 3.6e6

    @property
    def bytes(self) -> float:
        """What is stored, links counted once."""
        own = FORMATS[self.form][1].value + RECIPE_BYTES.value
        return self.composites * own + self.foregrounds * SHARED_BYTES.value

    @property
    def changes(self) -> float:
        """Changes of names, if each sample is three files of the shared storage."""
        return self.composites * CHANGES.value

    @property
    def shards(self) -> float:
        """How many shards hold it; in them each sample has its own alpha and trimap."""
        return (self.bytes + self.composites * SHARED_BYTES.value) / SHARD_BYTES.value

    def walls(self) -> dict[str, float]:
        """The hours that it takes at least, for each of the three reasons, as files."""
        return {
            "cores": self.core_hours / CORES.value,
            "bytes": self.bytes / WRITTEN.value / 3600,
            "names": self.changes / CHANGED.value / 3600,
        }

    def walls_in_shards(self) -> dict[str, float]:
        """The same, if samples are made on the machines' own disks and come to the shared storage as shards."""
        return self.walls() | {
            "bytes": self.shards * SHARD_BYTES.value / WRITTEN.value / 3600,
            "names": self.shards * 2 / CHANGED.value / 3600,  # create and rename
        }


def short(number: float) -> str:
    """A number with two digits that count, and commas."""
    digits = f"{number:.2g}"
    return f"{float(digits):,.0f}" if abs(number) >= 10 else digits


def table(head: str, rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines of a table; all columns but those whose head ends in a colon are numbers."""
    names = head.split(" | ")
    yield f"| {' | '.join(name.removesuffix(':') for name in names)} |"
    yield f"|{'|'.join('---' if name.endswith(':') else '---:' for name in names)}|"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def amounts(job: Job) -> list[str]:
    """What there is to do and to pay."""
    money = job.core_hours * HOUR_PRICE.value, job.bytes / 1e9 * MONTH_PRICE.value
    numbers = (job.core_hours, job.bytes / 1e12, 3 * job.composites, job.changes, job.shards)
    return [f"{job.composites:,}", job.form, *map(short, numbers), *map(short, money)]


def hours(job: Job) -> list[str]:
    """How high each wall is, and the highest."""
    files, shards = job.walls(), job.walls_in_shards()
    numbers = [*files.values(), max(files.values()), shards["bytes"], shards["names"], max(shards.values())]
    return [f"{job.composites:,}", job.form, *map(short, numbers)]


def tables() -> str:
    """All that docs/scale.md shows of the model."""
    jobs = [Job(composites, form) for composites, form in itertools.product(SIZES, FORMATS)]
    given = ((f"{figure.value:,}", figure.what, figure.source) for figure in MEASURED + CHOSEN)
    parts = (table(GIVEN, given), table(AMOUNTS, map(amounts, jobs)), table(HOURS, map(hours, jobs)))
    return "\n\n".join("\n".join(lines) for lines in parts)


if __name__ == "__main__":
    click.echo(tables())
