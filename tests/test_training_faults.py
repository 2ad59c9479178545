"""Faults of the machine, of the numbers and of the environment: one sentence, and nothing that was good is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training_killed import alive_in_group, until
from tiny import CPU, batches_of, config, write_set

import shm_model.step as training_step
from shm_data.errors import ShmDataError, WriteError
from shm_model.checkpoint import load
from shm_model.dataset import EpochBatches, TrainingSet
from shm_model.distributed import process_context
from shm_model.faults import machine_faults
from shm_model.run import save_checkpoint, start_run
from shm_model.step import gradient_norm, train_step
from shm_model.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


def weights(run):
    return {name: value.clone() for name, value in run.network.state_dict().items() if "running" not in name}


# Gradients.


@pytest.mark.parametrize("clip", [None, 10.0])
def test_a_gradient_that_is_not_finite_is_named_and_changes_nothing(root, tmp_path, monkeypatch, clip):
    """The loss may be finite where its gradient is not: the root of 0 has no slope."""
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1, clip=clip))
    good = (tmp_path / "last.pt").read_bytes()
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2, clip=clip), CPU)
    before, batch = weights(run), batches_of(run)[0]
    loss_of = training_step.stage_loss

    def with_a_root(*given):
        parts = loss_of(*given)
        return {"loss": parts["loss"] + (0 * parts["loss"]).sqrt()}

    monkeypatch.setattr(training_step, "stage_loss", with_a_root)
    with pytest.raises(ShmDataError) as error:
        train_step(run, batch, 3, 10)
    assert all(name in error.value.found for name in batch.name) and "gradient" in error.value.what
    assert all(torch.equal(before[name], value) for name, value in weights(run).items() if "num_batches" not in name)
    with pytest.raises(ShmDataError):
        train(run.config)
    assert (tmp_path / "last.pt").read_bytes() == good and load(tmp_path / "last.pt").epoch == 1


def test_the_batches_of_an_accumulated_gradient_are_all_named(root, tmp_path, monkeypatch):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, accumulate=2), CPU)
    first, second = batches_of(run)[:2]
    train_step(run, first, 0, 10)
    next(iter(run.network.parameters())).grad.fill_(float("inf"))
    with pytest.raises(ShmDataError) as error:
        train_step(run, second, 1, 10)
    assert all(name in error.value.found for name in (*first.name, *second.name))


def test_a_checkpoint_that_would_be_refused_is_never_written(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path), CPU)
    save_checkpoint(run, "last.pt")
    good = (tmp_path / "last.pt").read_bytes()
    next(value for name, value in run.network.named_buffers() if "running_var" in name).fill_(float("inf"))
    with pytest.raises(ShmDataError):
        save_checkpoint(run, "last.pt")
    assert (tmp_path / "last.pt").read_bytes() == good


def gradients_with(root, tmp_path, clip):
    """The gradient that the optimiser sees, and the norm that is logged."""
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, clip=clip), CPU)
    seen = []
    run.optimizer.step = lambda: seen.extend(parameter.grad.clone() for parameter in run.network.parameters())
    values = train_step(run, batches_of(run)[0], 0, 10)
    return torch.cat([each.flatten() for each in seen]), values["gradient"]


def test_a_long_gradient_is_scaled_down_to_the_norm_of_clip(root, tmp_path):
    whole, norm = gradients_with(root, tmp_path, None)
    assert whole.norm().item() == pytest.approx(norm, rel=1e-4)
    clipped, logged = gradients_with(root, tmp_path, norm / 4)
    assert logged == pytest.approx(norm) and clipped.norm().item() == pytest.approx(norm / 4, rel=1e-3)
    torch.testing.assert_close(clipped * 4, whole, rtol=1e-3, atol=1e-7)
    assert torch.equal(gradients_with(root, tmp_path, 4 * norm)[0], whole)
    assert config(root).clip == 10.0


def test_in_fp16_a_gradient_that_is_not_finite_is_skipped(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, precision="fp16"), CPU)
    before, scale = weights(run), run.scaler.get_scale()
    run.scaler.scale(torch.ones(())).backward = None
    norm = gradient_norm

    def overflow(run):
        next(iter(run.network.parameters())).grad.fill_(float("inf"))
        return norm(run)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_step, "gradient_norm", overflow)
        assert "gradient" not in train_step(run, batches_of(run)[0], 0, 10)
    assert run.scaler.get_scale() < scale
    assert all(torch.equal(before[name], value) for name, value in weights(run).items() if "num_batches" not in name)


# What is trained, and how fast.


def test_pretrained_layers_may_have_a_smaller_rate(root, tmp_path):
    for mode, prefix in (("pretrain_tnet", "backbone."), ("pretrain_mnet", "encoder.")):
        run = start_run(config(root, mode, savedir=tmp_path, lr=1e-3, pretrained_lr=0.125), CPU)
        rates = {id(each): group["lr_factor"] for group in run.optimizer.param_groups for each in group["params"]}
        for name, parameter in run.network.named_parameters():
            assert rates[id(parameter)] == (0.125 if name.startswith(prefix) else 1.0), name
        train_step(run, batches_of(run)[0], 0, 10)
        assert {group["lr"] for group in run.optimizer.param_groups} == {1e-3, 1.25e-4}


def test_biases_and_norms_may_be_spared_from_decay(root, tmp_path):
    """Without a gradient, AdamW's update is the decay alone."""
    given = config(root, "pretrain_mnet", savedir=tmp_path, weight_decay=0.5, decay_matrices_only=True)
    run = start_run(given, CPU)
    before = {name: each.detach().clone() for name, each in run.network.named_parameters()}
    for parameter in run.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    training_step.optimizer_step(run, 0.1)
    for name, parameter in run.network.named_parameters():
        expected = before[name] * (0.95 if parameter.ndim > 1 else 1)
        torch.testing.assert_close(parameter.detach(), expected, msg=name)


def test_by_default_all_parameters_are_one_group(root, tmp_path):
    run = start_run(config(root, savedir=tmp_path), CPU)
    (group,) = run.optimizer.param_groups
    assert list(map(id, group["params"])) == list(map(id, run.network.parameters()))


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_batch_norm_keeps_its_statistics_and_its_weights_learn(root, tmp_path, freeze):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, freeze_bn=freeze), CPU)
    before = {name: value.clone() for name, value in run.network.named_buffers()}
    weight = next(each for name, each in run.network.named_parameters() if "norm.weight" in name)
    old = weight.detach().clone()
    train_step(run, batches_of(run)[0], 0, 10)
    kept = [torch.equal(before[name], each) for name, each in run.network.named_buffers() if "running" in name]
    assert all(kept) if freeze else not any(kept)
    assert not torch.equal(weight, old)


def test_a_run_may_end_after_some_steps_and_the_schedule_with_it(root, tmp_path):
    given = {"savedir": tmp_path, "max_epoch": 5, "batch_size": 2, "lr": 1.0, "schedule": "cosine"}
    per_epoch = EpochBatches(TrainingSet(config(root)).order(), config(root, **given)).per_epoch
    steps = per_epoch + 2
    outcome = train(config(root, "pretrain_mnet", max_steps=steps, **given))
    assert (outcome.done, outcome.batches) == (1, steps)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines]
    assert len(rates) == steps and rates == sorted(rates, reverse=True) and rates[-1] < 0.1
    assert train(config(root, "pretrain_mnet", max_steps=steps, **given)).batches == 0


# Files.


@pytest.mark.parametrize("name", ["log.jsonl", "tensorboard"])
def test_a_log_that_cannot_be_written_is_named(root, tmp_path, name):
    (tmp_path / "tensorboard" if name == "tensorboard" else tmp_path / name).touch()
    if name == "log.jsonl":
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    with pytest.raises(WriteError) as error:
        train(config(root, "pretrain_mnet", savedir=tmp_path))
    assert name in error.value.path


def test_a_disk_that_is_full_while_training_is_one_sentence(tmp_path):
    """A limit on the size of files fails as a full disk does."""
    script = """
import resource, signal, sys
from pathlib import Path
from shm_data.errors import WriteError
from shm_model.log import Log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = Log(Path(sys.argv[1]), 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    for step in range(1000):
        log.step(step, 0, {"loss": 1.0})
except WriteError as error:
    print(error.path)
try:
    log.close()
except WriteError:
    pass
"""
    result = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert result.stdout.strip().startswith(str(tmp_path)) and not result.stderr


# Memory and workers.


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    MemoryError(),
    RuntimeError("Caught MemoryError in DataLoader worker process 0."),
], ids=["gpu", "cpu", "python", "worker"])  # fmt: skip
def test_too_little_memory_in_a_step_is_one_sentence(error):
    with pytest.raises(ShmDataError) as fault, machine_faults():
        raise error
    assert "memory" in fault.value.found and "batch_size" in fault.value.expected


def test_our_bugs_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shape"), machine_faults():
        raise RuntimeError("shape mismatch")


def test_too_little_memory_of_a_cpu_is_found_as_torch_says_it(root, tmp_path):
    script = """
import json, resource, sys, torch
torch.set_num_threads(1)
from shm_data.errors import ShmDataError
from shm_data.pixels import kernels
from shm_model.config import config_of
from shm_model.train import train
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 3 * 10**8,) * 2)
try:
    train(config_of(json.loads(sys.argv[1]), "x"))
except ShmDataError as error:
    print(error.found)
"""
    given = config(root, savedir=tmp_path, tnet_size=800, batch_size=12)
    text = json.dumps(given.model_dump(mode="json"))
    result = subprocess.run([sys.executable, "-c", script, text], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "too little memory", result.stderr[-2000:]


SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
from shm_data.errors import ShmDataError
from shm_model.config import config_of
from shm_model.train import train
{guard}
    try:
        train(config_of(json.loads(sys.argv[1]), "x"))
    except ShmDataError as error:
        print(error.found)
"""


def started(root, tmp_path, guard, **more):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=guard))
    given = config(root, savedir=tmp_path / "run", batch_size=2, **more)
    text = json.dumps(given.model_dump(mode="json"))
    return subprocess.Popen(
        [sys.executable, script, text],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_script_without_a_main_guard_gets_an_explanation(root, tmp_path):
    job = started(root, tmp_path, "if True:", num_workers=1)
    out, err = job.communicate(timeout=120)
    assert out.strip() == "no main guard" and not err, err


def test_a_worker_that_was_killed_is_one_sentence(root, tmp_path):
    job = started(root, tmp_path, 'if __name__ == "__main__":', num_workers=1, max_epoch=3000)
    log = tmp_path / "run" / "log.jsonl"
    assert until(lambda: log.is_file() and log.read_bytes().count(b"\n") > 3, 120)
    newest = max(alive_in_group(job.pid))
    os.kill(newest, signal.SIGKILL)
    out, err = job.communicate(timeout=60)
    assert out.strip() == "that it was killed" and not err, err


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small /dev/shm, as root only")
def test_too_little_shared_memory_is_one_sentence(root, tmp_path):
    given = config(root, savedir=tmp_path / "run", num_workers=1, tnet_size=256, batch_size=8)
    (tmp_path / "run.yaml").write_text(json.dumps(given.model_dump(mode="json")))
    program = f"{sys.executable} -m cli.model train {tmp_path / 'run.yaml'}"
    command = f"mount -t tmpfs -o size=64k tmpfs /dev/shm || exit 99; exec {program}"
    result = subprocess.run(["unshare", "-m", "bash", "-c", command], capture_output=True, text=True, check=False)
    if result.returncode == 99 or "unshare failed" in result.stderr:
        pytest.skip(f"no mount: {result.stderr.strip()}")
    assert result.returncode == 1 and "shared memory" in result.stderr.splitlines()[-1], result.stderr[-2000:]
    assert "Traceback" not in result.stderr


# The environment.


@pytest.mark.parametrize(("variables", "found"), [
    ({"WORLD_SIZE": "2"}, "RANK"),
    ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "MASTER_ADDR"),
    ({"WORLD_SIZE": "x"}, "x"),
    ({"WORLD_SIZE": "2", "RANK": "abc", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "abc"),
])  # fmt: skip
def test_half_of_torchruns_environment_is_one_sentence(root, monkeypatch, variables, found):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ShmDataError) as error, process_context(config(root)):
        pass
    assert found in error.value.found


def test_a_rank_alone_does_not_silence_the_program(root, tmp_path, monkeypatch, shm_model):
    monkeypatch.setenv("RANK", "3")
    given = config(root, "pretrain_mnet", savedir=tmp_path / "run", max_epoch=1)
    (tmp_path / "run.yaml").write_text(json.dumps(given.model_dump(mode="json")))
    code, out, err = shm_model("train", tmp_path / "run.yaml")
    assert code == 0 and "1" in out and "random weights" in err


# Labels.


@pytest.mark.parametrize("mode", ["pretrain_tnet", "end_to_end"])
def test_labels_are_rotated_without_new_classes_between(root, mode):
    """Between background and foreground that touch, linear labels would put unknown pixels."""
    keys = {"tnet_checkpoint": Path("t"), "mnet_checkpoint": Path("m")} if mode == "end_to_end" else {}
    dataset = TrainingSet(config(root, mode, **keys))
    image, alpha, trimap = dataset.source.read(0)
    hard = ((alpha > 127) * 255).astype("uint8")

    class Hard:
        names = dataset.source.names

        def scene(self, index, epoch):
            del index, epoch
            return type(scene)(image, hard, hard, None, None)

    scene = dataset.source.scene(0, 0)
    dataset.source = Hard()
    assert trimap.shape == hard.shape
    for epoch in range(8):
        labels = dataset[epoch, 0].labels
        assert set(labels.unique().tolist()) <= {0, 2}


WHAT_WORKERS_HAVE = """
import sys
from pathlib import Path
from torch.utils.data import DataLoader, Dataset
from shm_model.config import Config
from shm_model.dataset import loader_options
class Loaded(Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, number):
        return [name for name in ("numba", "shm_data.images.png", "shm_data.pixels.kernels") if name in sys.modules]
if __name__ == "__main__":
    config = Config(mode="pretrain_tnet", data_root=Path("x"), cuda=False)
    loader = DataLoader(Loaded(), batch_size=None, collate_fn=list, **loader_options(config, 2))
    print([len(names) for names in loader], "numba" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a fork server loads them")
def test_workers_load_nothing_that_their_fork_server_has_loaded(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WHAT_WORKERS_HAVE)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[3, 3] False", result.stderr
