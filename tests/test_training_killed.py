"""A trainer that is killed leaves no process behind, whatever the signal, and resumes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import config, write_set

from shm_model.checkpoint import load
from shm_model.train import train

WITH_WORKERS = """
import json, sys, torch
torch.set_num_threads(1)
from shm_model.config import config_of
from shm_model.train import train
if __name__ == "__main__":
    train(config_of(json.loads(sys.argv[1]), "x"))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


def alive_in_group(group):
    """The processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def trainer(root, tmp_path):
    """A script that trains with two workers, in a process group of its own, once it has done some steps."""
    script = tmp_path / "script.py"
    script.write_text(WITH_WORKERS)
    given = config(root, savedir=tmp_path / "run", num_workers=2, max_epoch=2000, batch_size=2)
    text = json.dumps(given.model_dump(mode="json"))
    with (tmp_path / "err").open("w") as errors:
        job = subprocess.Popen([sys.executable, script, text], start_new_session=True, stderr=errors)
    log = tmp_path / "run" / "log.jsonl"
    assert until(lambda: log.is_file() and log.read_bytes().count(b"\n") > 3, 120), (tmp_path / "err").read_text()
    yield job
    for process in alive_in_group(job.pid):
        os.kill(process, signal.SIGKILL)
    job.wait()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_a_trainer_that_is_stopped_alone(trainer, how):
    assert len(alive_in_group(trainer.pid)) >= 4  # itself, the fork server, two workers
    trainer.send_signal(how)
    trainer.wait(30)
    assert until(lambda: not alive_in_group(trainer.pid), 20), alive_in_group(trainer.pid)


def test_ctrl_c_to_all_processes_says_its_sentence_once(root, tmp_path):
    """And the same command resumes the run."""
    given = config(root, savedir=tmp_path / "run", num_workers=2, max_epoch=2000, batch_size=2)
    (tmp_path / "run.yaml").write_text(json.dumps(given.model_dump(mode="json")))
    program = [Path(sys.executable).with_name("shm-model"), "train", tmp_path / "run.yaml"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    job = subprocess.Popen(program, start_new_session=True, env=environment, **pipes)
    log = tmp_path / "run" / "log.jsonl"
    assert until(lambda: (tmp_path / "run" / "last.pt").is_file() and log.read_bytes().count(b"\n") > 8, 120)
    os.killpg(job.pid, signal.SIGINT)
    out, err = job.communicate(timeout=30)
    sentences = [line for line in err.splitlines() if not line.startswith(("T-Net", "epoch", "pretrain"))]
    assert job.returncode == 130 and not out and len(sentences) == 1 and "Interrupted" in sentences[0], err
    assert until(lambda: not alive_in_group(job.pid), 20)
    done = log.read_bytes().count(b"\n") // 7 + 2
    result = subprocess.run([*program, f"max_epoch={done}"], env=environment, check=True, **pipes)
    assert f"to {done} are done" in result.stdout and "resumed" in result.stderr


def start(given):
    """The program, in a process group of its own, with two workers."""
    path = given.savedir.with_suffix(".yaml")
    path.write_text(json.dumps(given.model_dump(mode="json") | {"num_workers": 2}))
    command = [Path(sys.executable).with_name("shm-model"), "train", path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, start_new_session=True, env=environment, **pipes)


def steps_in(savedir):
    log = savedir / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def test_three_stages_with_workers_die_by_every_signal_and_resume_to_the_same_weights(root, tmp_path, one_thread):
    """Each stage is stopped once, by another signal, and starts from the stages before."""
    last = {}
    for mode, how in (
        ("pretrain_tnet", signal.SIGTERM),
        ("pretrain_mnet", signal.SIGINT),
        ("end_to_end", signal.SIGKILL),
    ):
        keys = last if mode == "end_to_end" else {}
        more = {"max_epoch": 4, "batch_size": 1, **keys}
        given = config(root, mode, savedir=tmp_path / mode, **more)
        job = start(given)
        assert until(lambda: (given.savedir / "last.pt").is_file() and steps_in(given.savedir) > 8, 120)  # noqa: B023
        assert len(alive_in_group(job.pid)) >= 4
        job.send_signal(how)
        job.communicate(timeout=30)
        assert job.returncode != 0 and steps_in(given.savedir) < 32
        assert until(lambda: not alive_in_group(job.pid), 20), alive_in_group(job.pid)  # noqa: B023
        again = start(given)
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0 and "to 4 are done" in out and "resumed" in err, err
        assert until(lambda: not alive_in_group(again.pid), 20), alive_in_group(again.pid)  # noqa: B023
        whole = train(given.model_copy(update={"savedir": tmp_path / "whole" / mode})).last
        resumed = given.savedir / "last.pt"
        weights = load(whole).network, load(resumed).network
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
        assert steps_in(given.savedir) == steps_in(tmp_path / "whole" / mode)
        last["mnet_checkpoint" if mode == "pretrain_mnet" else "tnet_checkpoint"] = resumed
