"""Whenever a job is killed, every existing file is whole, and the same command completes the job with the same bytes.

`make torture` does this for longer, with more commands, and on real photos.
"""

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import AtCall, AtChange, Send, shm_data
from torture import (
    draw_sources,
    everything,
    faults,
    faults_of_end,
    faults_of_next_run,
    few,
    finish,
    finish_forked,
    jobs,
    strike_before_each_change,
    torture,
    truth_of,
)

from shm_data.errors import BusyError
from shm_data.files import locked

KILLS = {"composite": 8, "prepare": 4, "part": 4, "trimap": 6}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with small sources, which nothing may change."""
    folder = tmp_path_factory.mktemp("work")
    draw_sources(folder / "sources", foregrounds=6, backgrounds=12, mattes=60)
    before = everything(folder)
    yield folder
    assert everything(folder) == before


@pytest.fixture(scope="module")
def by_name(work):
    """The commands by their names, with enough to do for half a second."""
    return {job.name: job for job in jobs(work / "sources", numbg=12)}


@pytest.fixture(scope="module", params=["composite", "trimap"])
def job(request, by_name):
    """One of two commands; the others work as the first does."""
    return by_name[request.param]


@pytest.fixture(scope="module", params=["composite", "trimap"])
def small(request, small_jobs):
    """A small job and what it leaves, one of two."""
    return small_jobs[request.param]


@pytest.fixture(scope="module")
def small_jobs(tmp_path_factory):
    return few(tmp_path_factory.mktemp("few"))


@pytest.mark.parametrize("name", KILLS)
def test_killed_at_random_moments_a_job_is_resumed_to_the_same_bytes(by_name, name, tmp_path):
    strikes = torture(tmp_path, KILLS[name], seed=3, some=[by_name[name]])
    assert [(strike, strike.faults) for strike in strikes if strike.faults] == []
    assert any(strike.phase != "too late" for strike in strikes)


def test_killed_before_each_change_to_the_disk_a_job_is_resumed_to_the_same_bytes(small, tmp_path):
    job, truth = small
    changes, wrong = strike_before_each_change(job, tmp_path / "out", truth, Send(signal.SIGKILL), signal.SIGKILL)
    assert wrong == [] and changes > 2 * len(truth.files)


def test_stopped_at_any_change_a_job_prints_how_to_resume(small, tmp_path):
    job, truth = small
    changes, wrong = strike_before_each_change(job, tmp_path / "out", truth, Send(signal.SIGTERM), signal.SIGTERM)
    assert wrong == [] and changes > 2 * len(truth.files)


@pytest.mark.parametrize("caller", ["model_dump_json", "whole_file", "walk", "open"])
def test_stopped_in_the_middle_of_a_library_a_job_prints_how_to_resume(small_jobs, tmp_path, caller):
    """Some call us back, and take what we raise for an error of their own."""
    job, truth = small_jobs["composite"]
    root = tmp_path / "out"
    ended = shm_data(*job.arguments, root, before=AtCall(caller, Send(signal.SIGINT)))
    assert ended.code == 130, ended
    assert faults_of_end(signal.SIGINT, ended.code, ended.err) == []
    assert faults(root, truth) == [] == faults_of_next_run(job, root, truth, finish_forked)


@pytest.mark.parametrize("change", [5, 7])
def test_a_demo_killed_while_its_folders_are_made_can_be_run_again(tmp_path, change):
    root = tmp_path / "demo"
    assert shm_data("demo", root, before=AtChange(root, change, Send(signal.SIGKILL))).code == -signal.SIGKILL
    again = shm_data("demo", root)
    assert again.code == 0, again.err


def test_stopped_many_times_a_job_prints_one_line(small_jobs, tmp_path):
    """Who is impatient presses Ctrl-C again."""
    job, truth = small_jobs["composite"]
    process = job.start(tmp_path / "out")
    while process.poll() is None and not (tmp_path / "out" / "recipes.jsonl").exists():
        time.sleep(0.001)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert faults_of_end(signal.SIGINT, process.returncode, errors) == []
    assert faults_of_next_run(job, tmp_path / "out", truth) == []


def test_at_any_moment_of_a_run_every_file_is_whole(job, tmp_path):
    truth, root = truth_of(job, tmp_path / "whole"), tmp_path / "out"
    process = job.start(root)
    seen = set()
    while process.poll() is None:
        seen.add(_wrong_now(root, truth))
    process.communicate()
    assert seen <= {(), None} and () in seen
    assert everything(root) == (truth.files, truth.facts)


def _wrong_now(root, truth):
    """The faults that are seen now, None where a file was renamed while they were looked for."""
    try:
        return tuple(faults(root, truth))
    except FileNotFoundError:
        return None


def test_a_job_is_one_process_so_no_worker_can_be_killed_alone(job, tmp_path):
    process = job.start(tmp_path / "out")
    seen = set()
    while process.poll() is None:
        seen |= _group(process.pid)
        time.sleep(0.01)
    process.communicate()
    assert process.returncode == 0 and seen == {process.pid}


def _group(leader):
    """The processes of a group that live."""
    members = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(path.read_text().rpartition(")")[2].split()[2]) == leader:
                members.add(int(path.parent.name))
    return members


# Two runs at once.


def test_while_a_job_writes_a_second_one_is_refused(small, tmp_path):
    job, truth = small
    root = tmp_path / "out"
    root.mkdir()
    with locked(root):
        code, errors = finish(job, root)
    assert code == 1 and errors.endswith(f"Error: {root} is being written to: found another run, expected its end\n")
    assert list(root.iterdir()) == []
    assert faults_of_next_run(job, root, truth) == []


@pytest.mark.parametrize("name", ["composite", "part", "trimap"])
def test_of_simultaneous_runs_at_least_one_succeeds_and_none_does_harm(by_name, name, tmp_path):
    job = by_name[name]
    truth = truth_of(job, tmp_path / "whole")
    generator = random.Random(0)
    for attempt in range(2):
        root = tmp_path / f"out {attempt}"
        processes = []
        for _ in range(3):
            processes.append(job.start(root))
            time.sleep(generator.choice([0, 0.01, 0.1]))
        ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
        assert any(code == 0 for _, code in ends), ends
        for errors, code in ends:
            refused = "is being written to" in errors or "was changed by another run" in errors
            assert code == 0 or (code == 1 and refused), errors
        assert everything(root) == (truth.files, truth.facts)


def test_parts_made_at_once_of_which_one_is_killed_make_the_same_set(by_name, tmp_path):
    job = by_name["composite"]
    truth, root = truth_of(job, tmp_path / "whole"), tmp_path / "out"
    parts = [job.with_options("--part", f"{number}/3") for number in (1, 2, 3)]
    processes = [part.start(root) for part in parts]
    while processes[1].poll() is None and len(list(root.glob("input/*.png"))) < 10:
        time.sleep(0.001)
    processes[1].kill()
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in ends] == [0, -signal.SIGKILL, 0], ends
    assert faults(root, truth) == []
    assert faults_of_next_run(parts[1], root, truth) == []


def test_the_lock_of_a_killed_run_is_gone(tmp_path):
    script = "import sys, time; from pathlib import Path; from shm_data.files import locked\n"
    script += "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(BusyError), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_program_started_by_the_holder_does_not_keep_the_lock(tmp_path):
    with locked(tmp_path):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with locked(tmp_path):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_fork_of_the_holder_keeps_the_lock_until_it_ends(tmp_path):
    """Forked while it held the lock, it may write: were the lock free, two would."""
    script = f"""
import os, signal, sys, time
from pathlib import Path
from shm_data.files import locked
with locked(Path({str(tmp_path)!r})):
    copy = os.fork()
    if copy == 0:
        os.close(1)
        time.sleep(60)
    print(copy, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    holder = subprocess.run([sys.executable, "-c", script], check=False, stdout=subprocess.PIPE, timeout=60)
    copy = int(holder.stdout)
    try:
        with pytest.raises(BusyError), locked(tmp_path):
            pass
    finally:
        os.kill(copy, signal.SIGKILL)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.close(handle)
