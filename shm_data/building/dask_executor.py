"""The samples made by the workers of a Dask scheduler: tasks go there, and what became of each comes back.

The only module that knows Dask.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import math
import queue
import re
import secrets
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, Future, KilledWorker, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.core import rpc

from shm_data.building.build import carry_out, finish
from shm_data.building.worker import Easel, Link, Order, Outcome, Task, build_task
from shm_data.dataset.fingerprints import Fingerprint, changed
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest, versions
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError
from shm_data.files import locked, make_folders, write_bytes
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, make_ready, quiet
from shm_data.planning.decide import Decision, decide, record
from shm_data.sources.types import Foreground, path_of

# Tasks that go to a worker together, and what is on its way until it says what became of their samples.
Batch = list[Task]

# A task as it is sent: a foreground, those who stand behind it, and the recipes.
_Plain = tuple[Foreground, Mapping[str, Foreground], tuple[Recipe, ...]]
Sent = Future[list[Outcome]]

# Seconds within which a scheduler answers, and for which it may be without any worker.
_ANSWER = 5.0
_PATIENCE = 30.0

# What Dask raises when the other side speaks not its language.
_ODD_SPEECH = (MemoryError, ValueError, struct.error)

# Seconds between two looks at whether there still is a scheduler with workers, while no result comes.
_LOOK = 1.0

# So many tasks for each thread of the workers are sent ahead, and a few more, from which an adaptive cluster learns
# that it should grow.
_AHEAD = 3
_MORE = 16


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker must have to make the same samples in the same folder.

    `known` holds one source file of each root by its path; `probe` is a file in the folder of the data set.
    """

    versions: Mapping[str, str]
    roots: Mapping[str, Path]
    known: Mapping[Path, Fingerprint]
    probe: Path

    def lacking(self) -> list[str]:
        """What this process lacks, a phrase each."""
        return [*self._other_versions(), *self._strange_sources(), *self._strange_folder()]

    def _other_versions(self) -> Iterator[str]:
        for name, expected in self.versions.items():
            if (found := _versions().get(name)) != expected:
                yield str(ShmDataError(name, found=found or "none", expected=f"{expected} as here"))

    def _strange_sources(self) -> Iterator[str]:
        absent = [root for root in self.roots.values() if not root.is_dir()]
        yield from (f"{root}: found no such folder" for root in absent)
        for path, then in self.known.items():
            if not any(path.is_relative_to(root) for root in absent) and (differing := changed(then, path)):
                yield str(ShmDataError(path=path, found=differing[0], expected=differing[1]))

    def _strange_folder(self) -> Iterator[str]:
        folder = self.probe.parent
        if not self.probe.exists():
            found = "another folder" if folder.is_dir() else "no such folder"
            yield str(ShmDataError(path=folder, found=found, expected="the one that is here"))
            return
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield f"{folder}: cannot be written to ({error.strerror})"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The threads of all workers of a scheduler, as those who make the samples.

    Tasks share nothing here, and each prepares its foreground: so they are large.
    """

    client: Client
    address: str
    place: Place
    most: int = 256

    @property
    def hands(self) -> int:
        """How many threads there are by now, or 1 while others are awaited. Raises ShmDataError as `threads` does."""
        return max(1, self.threads())

    def threads(self) -> int:
        """How many threads there are. Raises ShmDataError where the scheduler is gone."""
        if self.client.status != "running":
            raise self._gone()
        try:
            return sum(self.client.nthreads(callback_timeout=_PATIENCE).values())
        except (OSError, CancelledError) as error:
            raise self._gone() from error

    def require_workers(self) -> None:
        """Waits for the first worker. Raises ShmDataError where none comes, or that says which worker lacks what."""
        try:
            self.client.wait_for_workers(1, timeout=_PATIENCE)
            told = self.client.run(self.place.lacking, on_error="return")
        except TimeoutError as error:
            raise ShmDataError(
                f"the scheduler at {self.address}", found=f"no workers in {_PATIENCE:.0f} s", expected="at least one"
            ) from error
        except (OSError, CancelledError) as error:
            raise self._gone() from error
        faults = [f"worker {worker}: {_phrase(lacking)}" for worker, lacking in sorted(told.items()) if lacking]
        if faults:
            raise ShmDataError(f"workers of {self.address} lack what they need", faults=faults)

    def make(self, tasks: Iterator[Task], size: int) -> Iterator[list[Outcome]]:
        """Carries the tasks out; those of a worker that is lost are done again by others.

        What is with a worker when another task kills it is under suspicion, too: in the end each is tried alone.
        Raises ShmDataError where the scheduler is gone, or all workers are.
        """
        suspects: list[tuple[Batch, KilledWorker]] = []
        yield from self._send(_batches(tasks, size), suspects)
        for task in itertools.chain.from_iterable(batch for batch, _ in suspects):
            killers: list[tuple[Batch, KilledWorker]] = []
            yield from self._send(iter([[task]]), killers)
            for _, error in killers:
                yield [Outcome(recipe.name, _deadly(error)) for recipe in task.recipes]

    def _send(self, batches: Iterator[Batch], killers: list[tuple[Batch, KilledWorker]]) -> Iterator[list[Outcome]]:
        """Has batches made, some ahead of each worker; those that seem to kill their workers are put to `killers`."""
        ended: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        waiting: dict[object, Batch] = {}
        for threads in self._looks():
            for batch in itertools.islice(batches, max(0, threads * _AHEAD + _MORE - len(waiting))):
                future = self._submit(batch)
                waiting[future.key] = batch
                future.add_done_callback(ended.put)
            if not waiting:
                return
            try:
                future = ended.get(timeout=_LOOK)
                outcomes = self._outcomes(future)
            except queue.Empty:
                continue
            except TimeoutError:  # its worker was lost before it gave the result: it is done again
                future.add_done_callback(ended.put)
                continue
            except KilledWorker as error:
                killers.append((waiting.pop(future.key), error))
                continue
            del waiting[future.key]
            yield outcomes

    def _looks(self) -> Iterator[int]:
        """How many threads there are, looked at once in a while. Raises ShmDataError after long without any."""
        looked, manned = -math.inf, time.monotonic()
        threads = 0
        while True:
            now = time.monotonic()
            if now - looked >= _LOOK:
                threads, looked = self.threads(), now
                manned = now if threads else manned
            if now - manned > _PATIENCE:
                found = f"all workers lost, and no new one in {_PATIENCE:.0f} s"
                expected = "at least one; the same command goes on"
                raise ShmDataError(f"the scheduler at {self.address}", found=found, expected=expected)
            yield threads

    def _submit(self, batch: Batch) -> Sent:
        order = batch[0].easel.order
        plain = [(task.easel.foreground, task.easel.partners, task.recipes) for task in batch]
        try:
            return self.client.submit(_make, self.place, order, plain, pure=False)
        except (CommClosedError, ClosedClientError) as error:
            raise self._gone() from error

    def _outcomes(self, future: Sent) -> list[Outcome]:
        try:
            return future.result(timeout=_ANSWER)
        except (CommClosedError, CancelledError) as error:
            raise self._gone() from error

    def _gone(self) -> ShmDataError:
        return ShmDataError(f"the scheduler at {self.address} is gone; once it is back, the same command goes on")


def composite_on(
    address: str,
    options: CompositeOptions,
    savedir: Path,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    link: Link = "auto",
    verify: bool = False,
) -> Manifest:
    """`build.composite` with the samples made by the workers of the Dask scheduler at `address`.

    They find the sources and `savedir` at the same paths, and have the same packages. The sources are looked
    through here, by `jobs` threads. Raises ShmDataError also where the scheduler or a worker is at fault.
    """
    layout = Layout(savedir.absolute())
    with _connected(address) as client:
        decision = decide(options, layout.root, jobs, progress, verify=verify)
        make_folders(layout.root)
        with locked(layout.root):
            layout.clear_leftovers()
            with _probe(layout) as probe:
                cluster = Cluster(client, address, _place(decision, probe))
                cluster.require_workers()
                decision = record(decision, layout)
                carry_out(decision, layout, cluster, progress, link=link)
            layout.clear_leftovers()  # of workers that were lost
            return finish(decision, layout)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A connection to a scheduler; at its end, or that of this process, the scheduler forgets what was not begun."""
    _hush()
    _require_scheduler(address)
    try:
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    except OSError as error:
        raise _nobody(address) from error
    try:
        yield client
    finally:
        with contextlib.suppress(TimeoutError):
            client.close(timeout=_ANSWER)


def _require_scheduler(address: str) -> None:
    """Raises ShmDataError where no scheduler answers, but a client would wait for ever, or fail in odd ways."""
    if re.fullmatch(r"tcp://\S+:\d+", address) is None:
        expected = "the address of a Dask scheduler, such as tcp://10.0.0.1:8786"
        raise ShmDataError("--cluster", found=address, expected=expected)

    async def kind() -> object:
        async with rpc(address, timeout=_ANSWER) as peer:
            return (await asyncio.wait_for(peer.identity(), _ANSWER)).get("type")

    with ThreadPoolExecutor(1) as beside:  # where a notebook has its event loop, there can be no other
        try:
            found = beside.submit(asyncio.run, kind()).result()
        except (OSError, *_ODD_SPEECH) as error:
            raise _nobody(address) from error
    if found != "Scheduler":
        raise ShmDataError(address, found=f"a {found}", expected="a Dask scheduler")


def _nobody(address: str) -> ShmDataError:
    return ShmDataError(f"no Dask scheduler answers at {address}")


def _hush() -> None:
    """Dask logs each lost connection with its traceback, to the end of the process; our errors say it all."""
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def _probe(layout: Layout) -> Iterator[Path]:
    """A file by which workers know the folder; its name is that of a leftover, to be cleared after a kill."""
    path = layout.root / f".{secrets.token_hex(8)}.shm-tmp"
    write_bytes(path, b"")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _place(decision: Decision, probe: Path) -> Place:
    manifest = decision.manifest
    first: dict[str, tuple[Path, Fingerprint]] = {}
    for key, stamp in manifest.sources.items():
        root = key.partition("/")[0]
        if root not in first and root in manifest.roots:
            first[root] = path_of(key, manifest.roots), stamp
    return Place(versions(), manifest.roots, dict(first.values()), probe)


def _deadly(error: KilledWorker) -> str:
    times, last = error.allowed_failures + 1, error.last_worker.address
    return f"each worker that was to make it died, {times} in a row; the log of {last} may say why"


def _batches(tasks: Iterator[Task], size: int) -> Iterator[Batch]:
    """As many tasks together as have at most `size` samples: many small ones would keep Dask busier than us."""
    batch: list[Task] = []
    for task in tasks:
        if batch and sum(len(each.recipes) for each in (*batch, task)) > size:
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch


def _make(place: Place, order: Order, plain: list[_Plain]) -> list[Outcome]:
    """Runs on a worker, which may have come long after the start, or lost a file system since."""
    if lacking := place.lacking():
        raise ShmDataError(f"worker {get_worker().address}: {_phrase(lacking)}")
    make_ready()
    tasks = (Task(Easel(foreground, recipes, order, partners), recipes) for foreground, partners, recipes in plain)
    return [outcome for task in tasks for outcome in build_task(task)]


@functools.cache
def _versions() -> Mapping[str, str]:
    return versions()


def _phrase(lacking: list[str] | BaseException) -> str:
    """What a worker lacks; where not even our package is there, Dask's words for it."""
    return "; ".join(lacking) if isinstance(lacking, list) else f"cannot take up the work: {lacking}"
