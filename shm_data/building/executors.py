"""Who makes the samples: the threads of this process, or one of several runs that share a folder."""

import abc
import bisect
import contextlib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from shm_data.building.worker import ForegroundJob, Outcome, Task, build_task
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.recipes import Recipe, parse_line
from shm_data.dataset.store import Dataset, Plan
from shm_data.errors import ShmDataError
from shm_data.parallel import count_workers, spread
from shm_data.pixels.compositing import fit

# The most samples that threads of one process take at a time: few enough to end together.
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Work:
    """How much a run has to make: samples, their mean number of pixels, and that of the largest foreground."""

    samples: int
    pixels: float
    largest: int

    @classmethod
    def of(cls, manifest: Manifest, samples: int) -> Self:
        """Return the work of making so many samples of a data set, all foregrounds alike."""
        longest = manifest.options.maxsize
        areas = [width * height for width, height in (fit(each.size, longest) for each in manifest.foregrounds)]
        largest = max((each.size[0] * each.size[1] for each in manifest.foregrounds), default=0)
        return cls(samples, sum(areas) / max(1, len(areas)), largest)

    def batch(self, count: int, most: int = _BATCH) -> int:
        """Return how many samples each of `count` workers takes at a time, at most `most`."""
        return min(most, max(1, self.samples // (4 * count)))


class Workers(Protocol):
    """Carry out tasks, several at once."""

    def require(self, plan: Plan, dataset: Dataset) -> None:
        """Raise ShmDataError where a worker lacks what the plan needs."""

    def run(self, jobs: Iterator[ForegroundJob], work: Work) -> Iterator[list[Outcome]]:
        """Make the samples of all jobs, drawn as they are needed, together this much `work`; return the outcomes."""


class Executor(Protocol):
    """Says which samples of a plan a run makes, and starts the workers that make them."""

    @property
    def jobs(self) -> int:
        """How many threads of this process look through the sources; -1 is one a core."""

    @property
    def shared(self) -> bool:
        """Whether other runs make samples of the same plan in the same folder at the same time."""

    def indices(self, total: int) -> range:
        """Return the indices of the samples, of `total`, that this run makes."""

    def started(self) -> AbstractContextManager[Workers]:
        """Start the workers; they are stopped at the end of the context."""

    def missing(self, plan: Plan, dataset: Dataset) -> bool:
        """Return whether samples are missing that other runs are to make."""


class OwnWorkers(abc.ABC):
    """An executor whose workers are on this machine, have what the plan was made with, and make all samples."""

    __slots__ = ()

    def indices(self, total: int) -> range:
        """Return the indices of all samples."""
        return range(total)

    def started(self) -> AbstractContextManager[Workers]:
        """Return the workers themselves: they start with their first task."""
        return contextlib.nullcontext(self)

    def require(self, plan: Plan, dataset: Dataset) -> None:
        """Do nothing: they lack nothing."""
        del plan, dataset

    @abc.abstractmethod
    def run(self, jobs: Iterator[ForegroundJob], work: Work) -> Iterator[list[Outcome]]:
        """Make the samples of all jobs."""

    def missing(self, plan: Plan, dataset: Dataset) -> bool:
        """Return False: no other run makes samples."""
        del plan, dataset
        return False


@dataclass(frozen=True, slots=True)
class Threads(OwnWorkers):
    """`jobs` threads of this process (-1: one a core). They share foregrounds, so their tasks may be small."""

    jobs: int = -1
    shared: bool = False

    def run(self, jobs: Iterator[ForegroundJob], work: Work) -> Iterator[list[Outcome]]:
        """Make the samples of all jobs."""
        count = count_workers(self.jobs)
        return in_threads(jobs, count, work.batch(count))


def in_threads(jobs: Iterator[ForegroundJob], count: int, size: int) -> Iterator[list[Outcome]]:
    """Make the samples of all jobs in `count` threads, at most `size` at a time in each."""
    return spread(build_task, interleaved(jobs, count, size), count)


@dataclass(frozen=True, slots=True)
class Part:
    """The part `number`, counted from 1, of `count` disjoint parts of a plan, made by `workers` (None: by threads).

    `jobs` threads look through the sources. Parts may run in any order, at the same time, and on
    machines with other paths. The last one completes the set.
    """

    number: int
    count: int
    jobs: int = -1
    workers: OwnWorkers | None = None
    shared: bool = True

    @classmethod
    def parse(cls, text: str, jobs: int = -1) -> Self:
        """Return the part of a text K/N. Raises ShmDataError where it is none."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ShmDataError("--part", found=text, expected="K/N with K from 1 to N, such as 3/8")
        return cls(int(match[1]), int(match[2]), jobs)

    def indices(self, total: int) -> range:
        """Return the indices of its samples: neighbours, so that few foregrounds belong to two parts."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)

    def started(self) -> AbstractContextManager[Workers]:
        """Return the workers."""
        return (Threads(self.jobs) if self.workers is None else self.workers).started()

    def missing(self, plan: Plan, dataset: Dataset) -> bool:
        """Return whether any part lacks samples."""
        return bool(missing_parts(plan, dataset, self.count))


def missing_parts(plan: Plan, dataset: Dataset, count: int) -> list[int]:
    """Return the numbers of the parts, of `count`, that lack samples.

    As long as some lack their last sample, only these are named: looking at all samples at the end of each of many
    parts would take longer than making them.
    """
    total = plan.manifest.counts.samples
    ends = [Part(number, count).indices(total).stop for number in range(1, count + 1)]
    return _parts_without_last(dataset, ends) or _parts_without_any(plan, dataset, ends)


def _parts_without_last(dataset: Dataset, ends: list[int]) -> list[int]:
    layout = dataset.layout
    numbers = {end: number for number, end in reversed(list(enumerate(ends, 1)))}
    with layout.recipes.open("rb") as file:
        lasts = [
            (numbers[index], parse_line(line, f"{layout.recipes}, line {index}"))
            for index, line in enumerate(file, 1)
            if index in numbers
        ]
    return [number for number, recipe in lasts if not layout.holds(recipe.name)]


def _parts_without_any(plan: Plan, dataset: Dataset, ends: list[int]) -> list[int]:
    return sorted({bisect.bisect_right(ends, index) + 1 for index, _ in dataset.missing(plan)})


def interleaved(jobs: Iterator[ForegroundJob], count: int, size: int) -> Iterator[Task]:
    """Return tasks of at most `size` samples, of `count` foregrounds in turn.

    So each worker prepares a foreground of its own instead of waiting for the one that prepares theirs.
    """
    started = deque(map(_tasks, itertools.islice(jobs, count), itertools.repeat(size)))
    while started:
        tasks = started.popleft()
        if task := next(tasks, None):
            yield task
            started.append(tasks)
        else:
            started.extend(map(_tasks, itertools.islice(jobs, 1), itertools.repeat(size)))


def _tasks(job: ForegroundJob, size: int) -> Iterator[Task]:
    recipes: Iterable[Recipe] = iter(job.recipes)
    while some := tuple(itertools.islice(recipes, size)):
        yield Task(job, some)
