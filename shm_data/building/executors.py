"""Who makes the samples: the threads of this process, or one of several runs that share a folder."""

import bisect
import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from shm_data.building.worker import Outcome, Task, build_task
from shm_data.dataset.recipes import parse_line
from shm_data.dataset.store import Dataset, Plan
from shm_data.errors import ShmDataError
from shm_data.parallel import count_workers, spread


class Workers(Protocol):
    """Carry out tasks, several at once."""

    @property
    def count(self) -> int:
        """How many tasks run at once."""

    @property
    def batch(self) -> int:
        """The largest number of samples in a task. Small tasks end together, large ones cost less to hand over."""

    def require(self, plan: Plan, dataset: Dataset) -> None:
        """Raise ShmDataError where a worker lacks what the plan needs."""

    def run(self, tasks: Iterator[Task], size: int) -> Iterator[list[Outcome]]:
        """Carry out tasks of at most `size` samples, drawn as they are needed, and return their outcomes."""


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


@dataclass(frozen=True, slots=True)
class Threads:
    """`jobs` threads of this process (-1: one a core). They share foregrounds, so their tasks may be small."""

    jobs: int = -1
    batch: int = 16
    shared: bool = False

    @property
    def count(self) -> int:
        """How many threads there are."""
        return count_workers(self.jobs)

    def indices(self, total: int) -> range:
        """Return the indices of all samples."""
        return range(total)

    def started(self) -> AbstractContextManager[Workers]:
        """Return the threads themselves: they start with their first task."""
        return contextlib.nullcontext(self)

    def require(self, plan: Plan, dataset: Dataset) -> None:
        """Do nothing: this process has what the plan was made with."""

    def run(self, tasks: Iterator[Task], size: int) -> Iterator[list[Outcome]]:
        """Carry out the tasks."""
        del size
        return spread(build_task, tasks, self.jobs)

    def missing(self, plan: Plan, dataset: Dataset) -> bool:
        """Return False: no other run makes samples."""
        del plan, dataset
        return False


@dataclass(frozen=True, slots=True)
class Part:
    """The part `number`, counted from 1, of `count` disjoint parts of a plan, made by threads of this process.

    Parts may run in any order, at the same time, and on machines with other paths. The last one completes the set.
    """

    number: int
    count: int
    jobs: int = -1
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
        """Return the threads."""
        return Threads(self.jobs).started()

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
