"""Makes the samples in processes of this machine: each has a lock of the interpreter for itself."""

import contextlib
import itertools
import logging
import logging.handlers
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from shm_data.building.executors import OwnWorkers, Work, in_threads
from shm_data.building.worker import ForegroundJob, Outcome, RunContext
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, counted
from shm_data.host.logs import log_once
from shm_data.parallel import tune_worker
from shm_data.sources import Foreground

# The most and the fewest samples of one foreground that a process takes at a time: each time it reads the foreground.
_MOST_SAMPLES, _FEWEST_SAMPLES = 256, 16

# Processes that may die before the job is given up, and seconds in which a process ends by itself.
_MOST_DEATHS = 3
_PATIENCE = 5.0

# Loaded once for all processes.
_PRELOADED = ["shm_data.building.processes", "shm_data.pixels.kernels"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Processes(OwnWorkers):
    """`count` processes of this machine with `threads` threads each make all samples.

    A process that dies is replaced, and its samples are made again. All end with this process, however it ends.
    A script that uses them needs `if __name__ == "__main__":`, as with `multiprocessing`. `jobs` threads of this
    process look through the sources.
    """

    count: int
    threads: int = 1
    jobs: int = -1
    shared: bool = False

    def run(self, jobs: Iterator[ForegroundJob], work: Work) -> Iterator[list[Outcome]]:
        """Make the samples of all jobs. Raises ShmDataError where process after process dies."""
        pieces = _Pieces(jobs, work.samples, self.count * self.threads)
        batch = work.batch(self.count * self.threads)
        with _Crew(self.count, self.threads, batch) as crew:
            yield from crew.make(pieces)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Samples of one foreground that one process makes."""

    foreground: Foreground
    partners: Mapping[str, Foreground]
    recipes: list[Recipe]
    context: RunContext

    def job(self) -> ForegroundJob:
        return ForegroundJob(self.foreground, self.recipes, self.context, self.partners)


class _Pieces:
    """Whole foregrounds as long as there are enough for all workers, then smaller and smaller parts of them."""

    def __init__(self, jobs: Iterator[ForegroundJob], samples: int, workers: int) -> None:
        self._jobs, self._left, self._workers = jobs, samples, workers
        self._job: ForegroundJob | None = None
        self._recipes: Iterator[Recipe] = iter(())
        self._again: deque[_Piece] = deque()

    def next(self) -> _Piece | None:
        """Return the next piece, None if there is none."""
        if self._again:
            return self._again.popleft()
        size = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, self._left // (2 * self._workers)))
        recipes = list(itertools.islice(self._recipes, size))
        if not recipes:
            self._job = next(self._jobs, None)
            if self._job is None:
                return None
            self._recipes = iter(self._job.recipes)
            recipes = list(itertools.islice(self._recipes, size))
        self._left -= len(recipes)
        job = self._job
        return None if job is None else _Piece(job.foreground, job.partners, recipes, job.context)

    def put_back(self, piece: _Piece) -> None:
        """Return a piece that was not made."""
        self._again.append(piece)


@dataclass(slots=True)
class _Worker:
    """A process, our end of its pipe, and the pieces that it has not finished, by the names of missing samples."""

    process: BaseProcess
    pipe: Connection
    pieces: dict[str, tuple[_Piece, Recipe]] = field(default_factory=dict)
    dismissed: bool = False

    def give(self, piece: _Piece | None) -> None:
        """Send a piece, or None if there are no more. A process that has just died is noticed when it is read."""
        self.dismissed = piece is None
        if piece is not None:
            self.pieces |= {recipe.name: (piece, recipe) for recipe in piece.recipes}
        with contextlib.suppress(OSError):
            self.pipe.send(piece)

    def unfinished(self) -> Iterator[_Piece]:
        """Return pieces with the samples of which nothing is known."""
        for _, some in itertools.groupby(self.pieces.values(), key=lambda pair: id(pair[0])):
            pairs = list(some)
            whole = pairs[0][0]
            yield _Piece(whole.foreground, whole.partners, [recipe for _, recipe in pairs], whole.context)


class _Crew:
    """Processes that ask for pieces; those that die are replaced."""

    def __init__(self, count: int, threads: int, batch: int) -> None:
        self._count, self._threads, self._batch = count, threads, batch
        self._workers: dict[Connection, _Worker] = {}
        self._deaths = 0

    def __enter__(self) -> "_Crew":
        for _ in range(self._count):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the processes end their samples, and end those that take too long."""
        for pipe in self._workers:
            pipe.close()
        for worker in self._workers.values():
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()

    def make(self, pieces: _Pieces) -> Iterator[list[Outcome]]:
        """Have all pieces made. Raises what a process raises, and ShmDataError where one after the other dies."""
        while self._workers:
            for pipe in wait(list(self._workers)):
                worker = self._workers[pipe]  # type: ignore[index]
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    self._ended(worker, pieces)
                    continue
                if message is None:
                    worker.give(pieces.next())
                elif isinstance(message, BaseException):
                    raise message
                elif isinstance(message, logging.LogRecord):
                    log_once(message.name, message.levelno, message.getMessage())
                else:
                    for outcome in message:
                        worker.pieces.pop(outcome.name, None)
                    yield message

    def _start(self) -> None:
        context = _context()
        ours, theirs = context.Pipe()
        arguments = theirs, self._threads, self._batch
        process = context.Process(target=_work, args=arguments, daemon=True, name="shm-data worker")
        with _no_interrupts(), theirs:
            process.start()
        self._workers[ours] = _Worker(process, ours)

    def _ended(self, worker: _Worker, pieces: _Pieces) -> None:
        """Forget a process that has ended; replace it if it still had to work."""
        del self._workers[worker.pipe]
        worker.pipe.close()
        worker.process.join()
        if worker.dismissed and not worker.pieces:
            return
        self._deaths += 1
        how = _how(worker.process.exitcode)
        if self._deaths > _MOST_DEATHS:
            raise ShmDataError(
                f"{self._deaths} processes that made samples ended, the last {how}",
                expected="the same command again, with fewer --jobs if memory is short",
            )
        lost = list(worker.unfinished())
        count = sum(len(piece.recipes) for piece in lost)
        _log.warning("a process that made samples ended %s; %s are made again", how, counted(count, "sample"))
        for piece in lost:
            pieces.put_back(piece)
        self._start()


def _how(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None or code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _context() -> ForkServerContext | SpawnContext:
    """Return how processes are started: from one that has loaded all libraries, where the system can fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: they end with this one, and print nothing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # noqa: PLC0415  # Windows has none

    resource_tracker.ensure_running()  # else it would start with the processes, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# What follows runs in the processes.

# What a pipe raises whose other end is closed.
_NOBODY = (BrokenPipeError, ConnectionResetError, EOFError)


def _work(pipe: Connection, threads: int, batch: int) -> None:
    """Ask for pieces and report what was made, until there are no more or nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows has no mask for it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tune_worker()
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            pipe.send(message)

    def jobs() -> Iterator[ForegroundJob]:
        while True:
            send(None)
            piece = pipe.recv()
            if piece is None:
                return
            yield piece.job()

    logging.getLogger().addHandler(_Forward(send))
    with contextlib.suppress(*_NOBODY):
        try:
            for outcomes in in_threads(jobs(), threads, batch):
                send(outcomes)
        except _NOBODY:
            raise
        except Exception as error:  # noqa: BLE001  # it is raised again in the main process
            send(_portable(error))


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent: a bug with its traceback as a note."""
    if not isinstance(error, ShmDataError):
        error.add_note("".join(traceback.format_exception(error)))
    return error


class _Forward(logging.handlers.QueueHandler):
    """Sends the records of loggers to the main process."""

    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__(queue.SimpleQueue())  # not used: it would need a thread
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that was prepared for it."""
        with contextlib.suppress(OSError):
            self._send(record)


def _end_with_parent() -> None:
    """End at once when the main process is gone: every file is whole or absent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
