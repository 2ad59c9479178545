"""One data set made in parts, by machines that share nothing but the folder."""

import bisect
import contextlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shm_data.building.build import Threads, carry_out, finish
from shm_data.building.worker import Link
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest, read_manifest
from shm_data.dataset.recipes import from_line
from shm_data.errors import BusyError, ShmDataError
from shm_data.files import locked, make_folders
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet
from shm_data.planning.decide import Decision, decide, record, recorded

# Seconds between two looks at a folder that another run has, and for which a part may have it to itself, since it
# writes the plan or the lists.
_PAUSE = 1.0
_PATIENCE = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """The `number`-th, from 1 on, of `count` disjoint parts that are the whole plan together."""

    number: int
    count: int

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The part of a text K/N. Raises ShmDataError where it is none."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ShmDataError("--part", found=text, expected="K/N with K from 1 to N, such as 3/8")
        return cls(int(match[1]), int(match[2]))

    def places(self, total: int) -> range:
        """Which of `total` recipes are its own: neighbours, so that few foregrounds belong to two parts."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)


def composite_part(
    options: CompositeOptions,
    savedir: Path,
    part: Part,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    verify: bool = False,
) -> tuple[Manifest, list[int]]:
    """Makes one part of a data set, and the lists if it is the last; gives the record and the parts yet to be made.

    Parts may run in any order, at once, and on machines with other paths. Raises ShmDataError as
    `build.composite` does.
    """
    layout = Layout(savedir)
    decision = _agreed(options, layout, jobs, progress, verify=verify)
    places = part.places(decision.manifest.counts.samples)
    with _among_others(layout.root):
        carry_out(decision, layout, Threads(jobs), progress, link=link, only=places)
    missing = _missing(decision, layout, part.count)
    if missing:
        return decision.manifest, missing
    try:
        with locked(layout.root):
            layout.clear_leftovers()
            return finish(decision, layout), []
    except BusyError:  # another part ends at this very moment, and will see that all are there
        return decision.manifest, []


def complete(savedir: Path) -> Manifest:
    """Writes the lists of a data set all of whose samples are there. Raises ShmDataError that names those missing."""
    layout = Layout(savedir)
    with locked(layout.root):
        decision = recorded(layout)
        if decision is None:
            raise ShmDataError(path=savedir, found="no dataset.json", expected="a data set begun with --part")
        layout.clear_leftovers()
        missing = [name for _, name in _absent(decision, layout)]
        if missing:
            found = f"{len(missing)} missing: {', '.join(missing[:5])}" + ", ..." * (len(missing) > 5)
            expected = f"all {decision.manifest.counts.samples} samples"
            raise ShmDataError(path=savedir, found=found, expected=expected)
        return finish(decision, layout)


@contextlib.contextmanager
def _among_others(root: Path) -> Iterator[None]:
    """Shares a folder with other parts. Raises BusyError where another run keeps it to itself for long."""
    deadline = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as lock:
        while True:
            try:
                lock.enter_context(locked(root, shared=True))
                break
            except BusyError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)
        yield


def _agreed(options: CompositeOptions, layout: Layout, jobs: int, progress: Progress, *, verify: bool) -> Decision:
    """The plan, recorded by the first part that is here; the others wait for it and take it up."""
    decision = decide(options, layout.root, jobs, progress, verify=verify)
    waited = False
    while not decision.recorded:
        make_folders(layout.root)
        try:
            with locked(layout.root):
                return record(decision, layout)
        except BusyError:
            if not waited:
                _log.warning("%s is being written to: this part waits until it can take up the plan", layout.root)
            waited = True
        time.sleep(_PAUSE)
        if read_manifest(layout) != decision.found:
            decision = decide(options, layout.root, jobs, progress, verify=verify)
    return decision


def _missing(decision: Decision, layout: Layout, count: int) -> list[int]:
    """The numbers of the parts that lack samples.

    As long as some lack their last one, these are told and no other is looked at: of many parts each would else
    look at all samples.
    """
    total = decision.manifest.counts.samples
    ends = [Part(number, count).places(total).stop for number in range(1, count + 1)]
    return _lacking_their_last(layout, ends) or _lacking_any(decision, layout, ends)


def _lacking_their_last(layout: Layout, ends: list[int]) -> list[int]:
    numbers = {end: number for number, end in reversed(list(enumerate(ends, 1)))}
    with layout.recipes.open("rb") as file:
        lasts = [(numbers[place], from_line(line)) for place, line in enumerate(file, 1) if place in numbers]
    return [number for number, recipe in lasts if not layout.holds(recipe.name)]


def _lacking_any(decision: Decision, layout: Layout, ends: list[int]) -> list[int]:
    return sorted({bisect.bisect_right(ends, place) + 1 for place, _ in _absent(decision, layout)})


def _absent(decision: Decision, layout: Layout) -> Iterator[tuple[int, str]]:
    """The places in the plan, and the names, of the samples that are not there."""
    present = layout.present(decision.manifest.options.extension)
    return ((place, r.name) for place, r in enumerate(decision.recipes()) if r.name not in present)
