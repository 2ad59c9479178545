"""Processes make what threads make; one that dies is replaced, and none outlives the run."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from faults import fault_of
from small import contents

from shm_data import images
from shm_data.building import processes
from shm_data.building.build import composite
from shm_data.building.executors import Part, Threads
from shm_data.building.processes import Processes
from shm_data.errors import WriteError
from shm_data.host.logs import log_once
from shm_data.options import CompositeOptions

# A run of two processes, with the manners of the program `shm-data`: one sentence when it is interrupted.
PROGRAM = """
import sys

from cli import data
from shm_data.building.processes import Processes

if __name__ == "__main__":
    data._executor = lambda part, cluster, jobs: Processes(jobs)
    data.main()
"""


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 20}
    return CompositeOptions(**plain | more)


@pytest.fixture
def truth(sources, tmp_path):
    """What one thread makes."""
    composite(options(sources), tmp_path / "truth", Threads(1))
    return contents(tmp_path / "truth")


def at_first_outcome(act):
    """Acts once, after the first outcome."""

    def progress(items, total, label):
        del total
        for number, item in enumerate(items):
            yield item
            if label == "compositing" and number == 0:
                act()

    return progress


def kill_workers():
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("workers", [Processes(1), Processes(3), Processes(2, 2)])
def test_any_number_of_processes_and_threads_makes_the_same_bytes(sources, tmp_path, truth, workers):
    composite(options(sources), tmp_path / "out", workers)
    assert contents(tmp_path / "out") == truth
    assert multiprocessing.active_children() == []


def test_augmented_samples_are_the_same(sources, tmp_path):
    given = options(sources, augment=("over", "place", "camera"), trimap="random", format="jpg")
    composite(given, tmp_path / "threads", Threads(2))
    composite(given, tmp_path / "processes", Processes(2))
    assert contents(tmp_path / "processes") == contents(tmp_path / "threads")


def test_processes_that_import_all_anew_make_the_same_bytes(sources, tmp_path, truth, monkeypatch):
    monkeypatch.setattr(processes.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    composite(options(sources), tmp_path / "out", Processes(2))
    assert contents(tmp_path / "out") == truth


def test_the_samples_of_a_killed_process_are_made_again(sources, tmp_path, truth, caplog):
    composite(options(sources), tmp_path / "out", Processes(2), at_first_outcome(kill_workers))
    assert contents(tmp_path / "out") == truth
    assert [record.args[0] for record in caplog.records] == ["by SIGKILL"] * 2


def test_where_each_process_is_killed_one_error_names_the_way_out_and_the_job_can_be_resumed(
    sources, tmp_path, truth
):
    ended = threading.Event()

    def kill_all():
        while not ended.wait(0.005):
            kill_workers()

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        fault = fault_of(composite, options(sources), tmp_path / "out", Processes(2))
    finally:
        ended.set()
        killer.join()
    assert "SIGKILL" in fault.what and "--jobs" in fault.expected
    assert multiprocessing.active_children() == []
    composite(options(sources), tmp_path / "out", Processes(2))
    assert contents(tmp_path / "out") == truth


def test_a_process_that_cannot_write_ends_the_run_with_its_error(sources, tmp_path):
    def take_the_folder():
        (tmp_path / "out" / "mask").rename(tmp_path / "gone")

    with pytest.raises(WriteError) as raised:
        composite(options(sources), tmp_path / "out", Processes(2), at_first_outcome(take_the_folder))
    assert Path(raised.value.path).parent == tmp_path / "out" / "mask"
    assert multiprocessing.active_children() == []


def test_a_background_that_breaks_meanwhile_costs_its_samples_only(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root, Threads(1))
    images_made = list((root / "input").iterdir())
    for path in images_made:
        path.unlink()
    place = next((sources / "places").iterdir())
    whole = place.read_bytes()
    place.write_bytes(bytes(len(whole)))
    stat = place.stat()
    try:
        fault = fault_of(composite, options(sources), root, Processes(2))
    finally:
        place.write_bytes(whole)
    assert place.name in str(fault) and stat.st_size == len(whole)


def test_what_processes_warn_of_is_logged_once(sources, tmp_path, caplog):
    images.write_png(sources / "photos" / "p0.png", np.full((48, 64, 4), 200, np.uint8))

    def forget(items, total, label):
        """Forget what was logged while the sources were read."""
        del total
        if label == "compositing":
            caplog.clear()
            log_once.cache_clear()
        return items

    composite(options(sources), tmp_path / "out", Processes(2), forget)
    assert [record.getMessage() for record in caplog.records] == [
        f"{sources / 'photos' / 'p0.png'} is transparent: it is composited over white"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def members(group):
    """The processes of a session that live."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see which processes live")
@pytest.mark.parametrize(
    ("number", "everyone"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)]
)
def test_however_a_run_ends_it_leaves_no_process_behind(sources, tmp_path, truth, number, everyone):
    program = tmp_path / "shm-data"
    program.write_text(PROGRAM)
    root = tmp_path / "out"
    folders = ("--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places")
    command = [sys.executable, program, "composite", *folders, "--numbg", "20", "--savedir", root, "--jobs", "2"]
    run = subprocess.Popen(
        list(map(str, command)), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while run.poll() is None and not any((root / "input").glob("*.png")):
        time.sleep(0.001)
    assert len(members(run.pid)) >= 3, "it has processes"
    (os.killpg if everyone else os.kill)(run.pid, number)
    _, errors = run.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while members(run.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert members(run.pid) == set() and run.returncode == (-number if number == signal.SIGKILL else 130)
    assert "Traceback" not in errors and errors.count("Interrupted") == (number != signal.SIGKILL)
    composite(options(sources), root, Processes(2))
    assert contents(root) == truth


def test_a_part_can_be_made_by_processes(sources, tmp_path, truth):
    for number in (1, 2):
        composite(options(sources), tmp_path / "out", Part(number, 2, workers=Processes(2)))
    assert contents(tmp_path / "out") == truth
