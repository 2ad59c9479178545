"""Makes the samples on the workers of a Dask scheduler. The only module that imports Dask."""

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

from shm_data.building.executors import Work, Workers, interleaved
from shm_data.building.worker import ForegroundJob, Outcome, RunContext, Task, build_task
from shm_data.dataset.fingerprints import Fingerprint, changed
from shm_data.dataset.manifest import versions
from shm_data.dataset.recipes import Recipe
from shm_data.dataset.store import Dataset, Plan
from shm_data.errors import ShmDataError
from shm_data.files import write_bytes
from shm_data.parallel import tune_worker
from shm_data.sources import Foreground, path_of

# The most samples that are sent to a worker together. Tasks share nothing, not even foregrounds: so they are large.
_BATCH = 256

# Tasks that are sent to a worker together.
Batch = list[Task]

# A task as it is sent: a foreground, its partners, and the recipes.
_PlainTask = tuple[Foreground, Mapping[str, Foreground], tuple[Recipe, ...]]
Sent = Future[list[Outcome]]

# Seconds within which a scheduler answers, and for which it may be without any worker.
_ANSWER = 5.0
_PATIENCE = 30.0

# What Dask raises when the other side speaks another protocol.
_FOREIGN_PROTOCOL = (MemoryError, ValueError, struct.error)

# Seconds between two looks at the number of workers while no result comes.
_LOOK = 1.0

# The number of tasks that are sent ahead for each thread of the workers, and a few more, by which an adaptive cluster
# sees that it should grow.
_AHEAD = 3
_MORE = 16


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a worker needs to make the same samples in the same folder.

    `known` holds one source file of each root by its path; `probe` is a file in the folder of the data set.
    """

    versions: Mapping[str, str]
    roots: Mapping[str, Path]
    known: Mapping[Path, Fingerprint]
    probe: Path

    def missing(self) -> list[str]:
        """Return what this process lacks, a phrase each."""
        return [*self._other_versions(), *self._other_sources(), *self._other_folder()]

    def _other_versions(self) -> Iterator[str]:
        for name, expected in self.versions.items():
            if (found := _versions().get(name)) != expected:
                yield str(ShmDataError(f"the version of {name}", found=found or "none", expected=expected))

    def _other_sources(self) -> Iterator[str]:
        absent = [root for root in self.roots.values() if not root.is_dir()]
        yield from (str(ShmDataError(path=root, found="no such folder")) for root in absent)
        for path, then in self.known.items():
            if not any(path.is_relative_to(root) for root in absent) and (differing := changed(then, path)):
                yield str(ShmDataError(path=path, found=differing[0], expected=differing[1]))

    def _other_folder(self) -> Iterator[str]:
        folder = self.probe.parent
        if not self.probe.exists():
            found = "another folder" if folder.is_dir() else "no such folder"
            yield str(ShmDataError(path=folder, found=found, expected="the folder that the main process sees"))
            return
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield str(ShmDataError(f"cannot be written to ({error.strerror})", path=folder))


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """An executor: the workers of the Dask scheduler at `address` (tcp://HOST:PORT) make all samples.

    They find the sources and the data set's folder at the same paths, and have the same packages. `jobs` threads of
    this process look through the sources.
    """

    address: str
    jobs: int = -1
    shared: bool = False

    def indices(self, total: int) -> range:
        """Return the indices of all samples."""
        return range(total)

    def missing(self, plan: Plan, dataset: Dataset) -> bool:
        """Return False: no other run makes samples."""
        del plan, dataset
        return False

    @contextlib.contextmanager
    def started(self) -> Iterator[Workers]:
        """Connect to the scheduler. At the end, or that of this process, it forgets what was not begun.

        Raises ShmDataError where no scheduler answers.
        """
        with _silenced():
            _require_scheduler(self.address)
            try:
                client = Client(self.address, timeout=_ANSWER, set_as_default=False)
            except OSError as error:
                raise _no_answer(self.address) from error
            try:
                yield DaskWorkers(client, self.address)
            finally:
                with contextlib.suppress(TimeoutError):
                    client.close(timeout=_ANSWER)


class DaskWorkers:
    """The threads of all workers of a scheduler."""

    def __init__(self, client: Client, address: str) -> None:
        self._client, self._address = client, address
        self._requirements: Requirements | None = None

    def threads(self) -> int:
        """Return how many threads there are. Raises ShmDataError where the scheduler is gone."""
        if self._client.status != "running":
            raise self._gone()
        try:
            return sum(self._client.nthreads(callback_timeout=_PATIENCE).values())
        except (OSError, CancelledError) as error:
            raise self._gone() from error

    def require(self, plan: Plan, dataset: Dataset) -> None:
        """Wait for the first worker. Raises ShmDataError where none comes, or that says which worker lacks what."""
        self._requirements = _requirements(plan, dataset)
        with _probe(self._requirements.probe):
            try:
                self._client.wait_for_workers(1, timeout=_PATIENCE)
                answers = self._client.run(self._requirements.missing, on_error="return")
            except TimeoutError as error:
                found = f"no workers in {_PATIENCE:.0f} s"
                raise ShmDataError(self._scheduler, found=found, expected="at least one") from error
            except (OSError, CancelledError) as error:
                raise self._gone() from error
        faults = [f"worker {worker}: {_phrase(missing)}" for worker, missing in sorted(answers.items()) if missing]
        if faults:
            raise ShmDataError(f"workers of {self._address} lack what they need", faults=faults)

    def run(self, jobs: Iterator[ForegroundJob], work: Work) -> Iterator[list[Outcome]]:
        """Make the samples of all jobs; the tasks of a worker that is lost are done again by others.

        When a task kills a worker, all tasks of that worker are suspects: in the end each is tried alone.
        Raises ShmDataError where the scheduler is gone, or all workers are.
        """
        if self._requirements is None:
            raise ValueError("the workers must be required before they run")
        count = max(1, self.threads())  # or others are awaited
        size = work.batch(count, _BATCH)
        with _probe(self._requirements.probe):
            suspects: list[tuple[Batch, KilledWorker]] = []
            yield from self._send(_batches(interleaved(jobs, count, size), size), suspects)
            for task in itertools.chain.from_iterable(batch for batch, _ in suspects):
                killers: list[tuple[Batch, KilledWorker]] = []
                yield from self._send(iter([[task]]), killers)
                for _, error in killers:
                    yield [Outcome(recipe.name, _killed(error)) for recipe in task.recipes]

    @property
    def _scheduler(self) -> str:
        return f"the scheduler at {self._address}"

    def _send(self, batches: Iterator[Batch], killers: list[tuple[Batch, KilledWorker]]) -> Iterator[list[Outcome]]:
        """Have batches made, some ahead of each worker; those that seem to kill their workers go to `killers`."""
        ended: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        waiting: dict[object, Batch] = {}
        for threads in self._watched_threads():
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

    def _watched_threads(self) -> Iterator[int]:
        """Return again and again how many threads there are. Raises ShmDataError after a long time without any."""
        looked, last_seen = -math.inf, time.monotonic()
        threads = 0
        while True:
            now = time.monotonic()
            if now - looked >= _LOOK:
                threads, looked = self.threads(), now
                last_seen = now if threads else last_seen
            if now - last_seen > _PATIENCE:
                found = f"all workers lost, and no new one in {_PATIENCE:.0f} s"
                raise ShmDataError(self._scheduler, found=found, expected="at least one; the same command resumes")
            yield threads

    def _submit(self, batch: Batch) -> Sent:
        context = batch[0].job.context
        plain = [(task.job.foreground, task.job.partners, task.recipes) for task in batch]
        try:
            return self._client.submit(_build, self._requirements, context, plain, pure=False)
        except (CommClosedError, ClosedClientError) as error:
            raise self._gone() from error

    def _outcomes(self, future: Sent) -> list[Outcome]:
        try:
            return future.result(timeout=_ANSWER)
        except (CommClosedError, CancelledError) as error:
            raise self._gone() from error

    def _gone(self) -> ShmDataError:
        return ShmDataError(f"{self._scheduler} is gone", expected="the same command once it is back")


def _require_scheduler(address: str) -> None:
    """Raise ShmDataError where no scheduler answers: a client would wait without end, or fail in odd ways."""
    if re.fullmatch(r"tcp://\S+:\d+", address) is None:
        expected = "the address of a Dask scheduler, such as tcp://10.0.0.1:8786"
        raise ShmDataError("--cluster", found=address, expected=expected)

    async def kind() -> object:
        async with rpc(address, timeout=_ANSWER) as peer:
            return (await asyncio.wait_for(peer.identity(), _ANSWER)).get("type")

    with ThreadPoolExecutor(1) as other_thread:  # a notebook's thread already has an event loop
        try:
            found = other_thread.submit(asyncio.run, kind()).result()
        except (OSError, *_FOREIGN_PROTOCOL) as error:
            raise _no_answer(address) from error
    if found != "Scheduler":
        raise ShmDataError(address, found=f"a {found}", expected="a Dask scheduler")


def _no_answer(address: str) -> ShmDataError:
    return ShmDataError(f"no Dask scheduler answers at {address}")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep Dask's loggers silent: they print a traceback for each lost connection, and our errors say it all."""
    loggers = [
        logging.getLogger(name)
        for name in ("distributed", *logging.root.manager.loggerDict)
        if name.partition(".")[0] == "distributed"
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _probe(path: Path) -> Iterator[None]:
    """Write the file by which workers recognise the folder; after a kill it is cleared as a leftover."""
    write_bytes(path, b"")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _requirements(plan: Plan, dataset: Dataset) -> Requirements:
    manifest = plan.manifest
    first: dict[str, tuple[Path, Fingerprint]] = {}
    for key, fingerprint in manifest.sources.items():
        root = key.partition("/")[0]
        if root not in first and root in manifest.roots:
            first[root] = path_of(key, manifest.roots), fingerprint
    probe = dataset.root.absolute() / f".{secrets.token_hex(8)}.shm-tmp"
    return Requirements(versions(), manifest.roots, dict(first.values()), probe)


def _killed(error: KilledWorker) -> str:
    times, last = error.allowed_failures + 1, error.last_worker.address
    return f"{times} workers in a row died while making it; the log of {last} may say why"


def _batches(tasks: Iterator[Task], size: int) -> Iterator[Batch]:
    """Return tasks together that have at most `size` samples: Dask spends about a millisecond on each batch."""
    batch: list[Task] = []
    for task in tasks:
        if batch and sum(len(each.recipes) for each in (*batch, task)) > size:
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch


def _build(requirements: Requirements, context: RunContext, plain: list[_PlainTask]) -> list[Outcome]:
    """Run on a worker, which may have joined late, or have lost a file system since."""
    if missing := requirements.missing():
        raise ShmDataError(f"worker {get_worker().address}: {_phrase(missing)}")
    tune_worker()
    jobs = (
        (ForegroundJob(foreground, recipes, context, partners), recipes) for foreground, partners, recipes in plain
    )
    return [outcome for job, recipes in jobs for outcome in build_task(Task(job, recipes))]


@functools.cache
def _versions() -> Mapping[str, str]:
    return versions()


def _phrase(missing: list[str] | BaseException) -> str:
    """Return what a worker lacks; where not even our package is there, Dask's words for it."""
    return "; ".join(missing) if isinstance(missing, list) else f"cannot run our code: {missing}"
