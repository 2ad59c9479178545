"""A Dask scheduler and workers as processes of their own, on loopback, whose samples can be made slow or deadly."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# Runs in each worker, and in what looks after it: `pace` holds the seconds that a sample takes more, `deadly` the
# name of one that ends its worker.
_HANDICAP = """
import functools, os, signal, time
from pathlib import Path
from shm_data.building import worker

def handicapped(render, recipe, *rest):
    if Path({deadly!r}).exists() and Path({deadly!r}).read_text() == recipe.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if Path({pace!r}).exists():
        time.sleep(float(Path({pace!r}).read_text()))
    return render(recipe, *rest)

if not isinstance(worker.render_image, functools.partial):
    worker.render_image = functools.partial(handicapped, worker.render_image)
"""


@dataclass
class Grid:
    """A scheduler, which is on its way once this is made, and what else was started; all lives in a folder."""

    folder: Path
    port: int = 0
    processes: list = field(default_factory=list)

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)
        files = {name: str(self.folder / name) for name in ("deadly", "pace")}
        (self.folder / "handicap.py").write_text(_HANDICAP.format(**files))
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "dask_scheduler", "--port", self.port, "--dashboard-address", "127.0.0.1:0", "--scheduler-file", self.file
        )

    @property
    def file(self):
        """Where the scheduler tells how it is reached."""
        return self.folder / "scheduler.json"

    @property
    def address(self):
        """Of the scheduler, once it is there."""
        until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"), "the scheduler started")
        return json.loads(self.file.read_text())["address"]

    def worker(self, *arguments, cwd=None):
        """Starts a worker with one thread."""
        more = ("--nthreads", 1, "--dashboard-address", "127.0.0.1:0", "--preload", self.folder / "handicap.py")
        return self._start("dask_worker", "--scheduler-file", self.file, *more, *arguments, cwd=cwd)

    def _start(self, module, *arguments, cwd=None):
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", *map(str, arguments)]
        environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def close(self):
        """Ends all that was started, with what it started itself."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition, what, seconds=20):
    """Waits for a condition to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.02)
