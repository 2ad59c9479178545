"""How a run starts and resumes: what its networks start from, whose run it is, and what it reports."""

import json
import math
import shutil

import pytest
import torch
from tiny import CPU, config, write_set

import shm_model.train as training
from shm_data.dataset.layout import Layout
from shm_data.errors import BusyError, ShmDataError
from shm_data.files import locked
from shm_model import augment
from shm_model.checkpoint import load, new_network, restore_network
from shm_model.config import Config, config_of
from shm_model.dataset import TrainingSet
from shm_model.run import new_run, start_lines, start_run
from shm_model.samples import digest_of, source_of
from shm_model.train import train
from shm_model.validation import validation_sad

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def stages(root, tmp_path_factory, one_thread):
    """A checkpoint of each stage after one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    tnet = train(config(root, savedir=folder / "tnet", max_epoch=1)).last
    mnet = train(config(root, "pretrain_mnet", savedir=folder / "mnet", max_epoch=1)).last
    both = {"tnet_checkpoint": tnet, "mnet_checkpoint": mnet}
    shm = train(config(root, "end_to_end", savedir=folder / "shm", max_epoch=1, **both)).last
    return {"tnet_checkpoint": tnet, "mnet_checkpoint": mnet, "shm_checkpoint": shm}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# What the networks start from.


@pytest.mark.parametrize(("mode", "key", "part"), [
    ("pretrain_tnet", "tnet_checkpoint", None),
    ("pretrain_tnet", "shm_checkpoint", "tnet"),
    ("pretrain_mnet", "mnet_checkpoint", None),
    ("pretrain_mnet", "shm_checkpoint", "mnet"),
    ("end_to_end", "shm_checkpoint", None),
])  # fmt: skip
def test_every_stage_may_start_from_a_checkpoint(root, stages, mode, key, part):
    given = config(root, mode, **{key: stages[key]})
    source = restore_network(load(stages[key]), stages[key])
    source = getattr(source, part) if part else source
    network = new_network(given)
    assert same(source.state_dict(), network.state_dict())
    lines = list(start_lines(new_run(network, given, CPU)))
    assert all(str(stages[key]) in line for line in lines[:1]) and "random" not in "".join(lines)


@pytest.mark.parametrize(("mode", "keys"), [
    ("pretrain_tnet", ["mnet_checkpoint"]),
    ("pretrain_tnet", ["vgg_weights"]),
    ("pretrain_tnet", ["tnet_checkpoint", "backbone_weights"]),
    ("pretrain_mnet", ["tnet_checkpoint"]),
    ("pretrain_mnet", ["backbone_weights"]),
    ("pretrain_mnet", ["mnet_checkpoint", "shm_checkpoint"]),
    ("end_to_end", ["tnet_checkpoint", "mnet_checkpoint", "shm_checkpoint"]),
    ("end_to_end", ["shm_checkpoint", "vgg_weights"]),
    ("test", ["shm_checkpoint", "tnet_checkpoint"]),
])  # fmt: skip
def test_a_key_of_weights_that_would_do_nothing_is_an_error(mode, keys):
    with pytest.raises(ShmDataError) as error:
        config_of({"mode": mode, "data_root": "x"} | dict.fromkeys(keys, "w.pt"), "run.yaml")
    assert any(key in str(error.value) for key in keys)


def test_random_weights_and_a_missing_gpu_are_reported(root):
    given = config(root).model_copy(update={"cuda": True})
    lines = list(start_lines(new_run(new_network(given), given, CPU)))
    count = sum(parameter.numel() for parameter in new_network(given).parameters())
    assert "T-Net" in lines[0] and "random weights" in lines[0] and f"{count / 1e6:.1f} million" in lines[0]
    assert any("cuda: true" in line for line in lines)
    large = Config(mode="pretrain_tnet", data_root=root, cuda=False, backbone="resnet50")
    assert any("CPU" in line for line in start_lines(new_run(new_network(large), large, CPU)))
    assert len(list(start_lines(new_run(new_network(config(root)), config(root), CPU)))) == 1


def test_weights_depend_on_the_seed_and_the_host_keeps_its_random_numbers(root):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again = new_network(config(root)).state_dict(), new_network(config(root)).state_dict()
    assert torch.equal(torch.rand(3), expected)
    assert same(one, again) and not same(one, new_network(config(root, seed=1)).state_dict())


def test_training_leaves_the_host_as_it_was(root, tmp_path):
    cudnn = torch.backends.cudnn
    state = [torch.get_rng_state(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.get_num_threads()]
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1, eval=True))
    after = [torch.get_rng_state(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.get_num_threads()]
    assert torch.equal(state[0], after[0]) and state[1:] == after[1:]


# Whose run it is.


def test_the_same_data_at_another_path_are_the_same_run(root, tmp_path):
    given = {"savedir": tmp_path / "run", "max_epoch": 1}
    train(config(root, "pretrain_mnet", **given))
    (tmp_path / "link").symlink_to(root)
    shutil.copytree(root, tmp_path / "moved")
    for number, path in enumerate((tmp_path / "link", tmp_path / "moved"), 2):
        assert train(config(path, "pretrain_mnet", **given | {"max_epoch": number})).done == number


def test_other_data_at_the_same_path_are_another_run(root, tmp_path):
    data = tmp_path / "set"
    shutil.copytree(root, data)
    given = config(data, "pretrain_mnet", savedir=tmp_path / "run", max_epoch=1)
    train(given)
    names = Layout(data).names_of("train")
    names.write_text("".join(sorted(names.read_text().splitlines(keepends=True), reverse=True)[1:]))
    with pytest.raises(ShmDataError) as error:
        train(given.model_copy(update={"max_epoch": 2}))
    assert error.value.path == str(tmp_path / "run" / "last.pt") and error.value.found == "other samples"


def test_the_digest_of_data_knows_their_record_and_not_their_place(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    before = digest_of("layout", root)
    assert digest_of("layout", tmp_path / "set") == before
    path = Layout(tmp_path / "set").manifest
    record = json.loads(path.read_text())
    first = next(iter(record["sources"]))
    record["sources"][first][2] = "0" * 32
    path.write_text(json.dumps(record))
    assert digest_of("layout", tmp_path / "set") != before


def test_two_runs_do_not_share_a_folder(root, tmp_path):
    with locked(tmp_path), pytest.raises(BusyError) as error:
        train(config(root, "pretrain_mnet", savedir=tmp_path))
    assert error.value.path == str(tmp_path) and not list(tmp_path.iterdir())


def test_within_an_epoch_the_number_of_processes_stays(root, tmp_path):
    given = config(root, "pretrain_mnet", savedir=tmp_path, max_steps=1)
    assert train(given).batches == 1
    saved = load(tmp_path / "last.pt")
    assert (saved.epoch, saved.step, saved.world_size) == (0, 1, 1)
    two = type(CPU)(CPU.device, 0, 2)
    with pytest.raises(ShmDataError) as error:
        start_run(given, two)
    assert error.value.found == "processes 1"


@pytest.mark.parametrize(("before", "after"), [("bf16", "fp16"), ("fp16", "bf16"), ("fp32", "fp16")])
def test_the_precision_may_change_on_the_way(root, tmp_path, before, after):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1, precision=before))
    outcome = train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2, precision=after))
    assert (outcome.begun, outcome.done) == (1, 2)


def test_the_log_only_grows_when_the_batch_size_changes(root, tmp_path):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2, batch_size=1))
    before = (tmp_path / "log.jsonl").read_text()
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=3, batch_size=4))
    after = (tmp_path / "log.jsonl").read_text()
    assert after.startswith(before) and len(after) > len(before)
    steps = [json.loads(line)["step"] for line in after.splitlines()]
    assert steps == list(range(len(steps)))


def test_lines_of_the_log_that_are_none_are_dropped(root, tmp_path):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"\n" + whole + b"[]\nno json\n\xff\xfe\n{}\n" + b'{"step": "x"}\n{"step": 0')
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2))
    assert log.read_bytes().startswith(whole)
    assert all(isinstance(json.loads(line)["step"], int) for line in log.read_text().splitlines())


# Scores of val.


def test_val_is_scored_at_the_networks_size_over_a_fixed_choice(root, stages):
    network = restore_network(load(stages["shm_checkpoint"]), stages["shm_checkpoint"])
    val = source_of("layout", root, "val")
    given = config(root, "test", shm_checkpoint=stages["shm_checkpoint"], longest=48)
    read = []

    class Seen:
        names = val.names

        def read(self, index):
            read.append(index)
            return val.read(index)

    small = validation_sad(network, Seen(), given, CPU, 2)
    assert len(read) == 2 and validation_sad(network, Seen(), given, CPU, 2) == small
    assert read[:2] == read[2:] and sorted(set(read)) == read[:2]
    whole = validation_sad(network, val, given.model_copy(update={"longest": 96}), CPU)
    half = validation_sad(network, val, given, CPU)
    assert half < 0.5 * whole  # a quarter of the pixels
    choices = {tuple(augment.draw_samples(seed, 100, 5)) for seed in range(10)}
    assert len(choices) == 10 and augment.draw_samples(0, 3, 5) == augment.draw_samples(0, 3, None) == [0, 1, 2]


def test_workers_and_half_precision_score_about_the_same(root, stages, monkeypatch):
    monkeypatch.setattr("shm_model.validation.PICTURES_A_WORKER", 1)
    network = restore_network(load(stages["tnet_checkpoint"]), stages["tnet_checkpoint"])
    val = source_of("layout", root, "val")
    scores = {
        (workers, precision): validation_sad(
            network, val, config(root, num_workers=workers, precision=precision), CPU, None
        )
        for workers, precision in ((0, "fp32"), (2, "fp32"), (0, "bf16"))
    }
    assert scores[0, "fp32"] == scores[2, "fp32"] != scores[0, "bf16"]
    assert scores[0, "bf16"] == pytest.approx(scores[0, "fp32"], rel=0.05)


def test_val_is_scored_when_it_is_due_and_whole_at_the_end(root, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "validation_sad", lambda *given: calls.append(given[4:]) or 5.0)
    lines = []
    more = {"savedir": tmp_path, "max_epoch": 5, "eval": True, "eval_period": 2, "eval_samples": 1}
    train(config(root, "pretrain_mnet", **more), report=lines.append)
    assert calls == [(1,), (1,), (1,), ()]  # after epochs 2, 4 and 5, and then all of val
    scored = [line for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "sad" in line]
    assert [line["epochs_done"] for line in scored] == [2, 4, 5] and scored[-1]["sad_of_all"] == 5.0


def test_a_line_an_epoch_tells_loss_score_and_speed(root, tmp_path):
    lines = []
    train(config(root, "pretrain_mnet", savedir=tmp_path, eval=True, log_steps=1, batch_size=2), report=lines.append)
    epochs = [line for line in lines if line.startswith("epoch") and "batch" not in line]
    assert len(epochs) == 2 and len([line for line in lines if ", batch " in line]) > 2
    for word in ("loss", "val SAD", "best", "rate", "images/s", "waiting for data"):
        assert all(word in line for line in epochs)


def test_without_val_training_goes_on_unless_it_is_to_be_scored(root, tmp_path):
    data = tmp_path / "set"
    shutil.copytree(root, data)
    Layout(data).names_of("val").write_text("")
    lines = []
    outcome = train(
        config(data, "pretrain_mnet", savedir=tmp_path / "run", max_epoch=1, sample_period=1), report=lines.append
    )
    assert outcome.done == 1 and any("val" in line for line in lines)
    with pytest.raises(ShmDataError):
        train(config(data, "pretrain_mnet", savedir=tmp_path / "other", max_epoch=1, eval=True))


# The scale of what networks see.


def test_pictures_are_scored_and_predicted_at_the_scale_of_the_crops():
    for mode, size in (("pretrain_tnet", 400), ("end_to_end", 800)):
        keys = {"tnet_checkpoint": "t", "mnet_checkpoint": "m"} if mode == "end_to_end" else {}
        given = config_of({"mode": mode, "data_root": "x"} | keys, "x")
        # Crops of half to all of the short edge bring it to `size` to twice that; the long edge is 4/3 to 3/2 of it.
        assert size * 4 / 3 < given.long_edge < 2 * size * 3 / 2
        whole = config_of({"mode": mode, "data_root": "x", "least_crop": 1.0} | keys, "x")
        assert size * 4 / 3 < whole.long_edge < size * 3 / 2
    assert config_of({"mode": "pretrain_mnet", "data_root": "x", "longest": 224}, "x").long_edge == 224


def test_mnets_squares_are_cut_from_photos_scaled_to_longest(root, monkeypatch):
    """Squares of twice the side from a photo of twice `longest`, and none that are larger from a smaller photo."""
    sides = []

    def draw_patch(generator, trimap, side):
        sides.append(side / max(trimap.shape))
        return augment.draw_patch(generator, trimap, side)

    monkeypatch.setattr("shm_model.dataset.draw_patch", draw_patch)
    for longest in (48, 96, 500):
        made = TrainingSet(config(root, "pretrain_mnet", longest=longest, patch_sizes=(32,)))[0, 0]
        assert made.patch.shape == (3, 48, 48)
    assert sides == [32 / 48, 32 / 96, 32 / 96]


def test_a_warm_up_may_be_a_share_of_all_steps():
    share = config_of({"mode": "pretrain_tnet", "data_root": "x", "warmup": 0.1}, "x")
    assert share.warmup_steps(420) == 42
    assert config_of({"mode": "pretrain_tnet", "data_root": "x", "warmup": 500}, "x").warmup_steps(420) == 500
    for wrong in (1.5, -0.1, math.inf):
        with pytest.raises(ShmDataError):
            config_of({"mode": "pretrain_tnet", "data_root": "x", "warmup": wrong}, "x")


# What lies in the folder.


def test_few_checkpoints_of_epochs_stay_and_the_best_has_no_optimiser(root, tmp_path):
    more = {"max_epoch": 5, "checkpoint_period": 1, "keep": 2, "eval": True}
    train(config(root, "pretrain_mnet", savedir=tmp_path, **more))
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == ["epoch_0004.pt", "epoch_0005.pt"]
    best = load(tmp_path / "best.pt")
    assert not best.optimizer and restore_network(best, tmp_path / "best.pt")
    assert (tmp_path / "best.pt").stat().st_size < 0.5 * (tmp_path / "last.pt").stat().st_size
    (tmp_path / "last.pt").write_bytes((tmp_path / "best.pt").read_bytes())
    with pytest.raises(ShmDataError):
        train(config(root, "pretrain_mnet", savedir=tmp_path, **more | {"max_epoch": 6}))


def test_leftovers_of_killed_writes_are_cleared(root, tmp_path):
    left = tmp_path / ".0123456789abcdef.shm-tmp"
    left.write_bytes(b"half a checkpoint")
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    assert not left.exists()


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "log.jsonl", "LAST.PT", "tensorboard"])
def test_a_checkpoint_may_not_take_the_name_of_another_file(name):
    with pytest.raises(ShmDataError):
        config_of({"mode": "pretrain_tnet", "data_root": "x", "checkpoint_name": name}, "x")


# A crash while val is scored, and runs that start anew.


def stopped_in(function, given, monkeypatch):
    """Stop a run in the second call of a function of the trainer, as Ctrl-C does."""
    before, calls = getattr(training, function), []

    def stop(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return before(*args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, function, stop)
        train(given)


def scores_of(savedir):
    lines = map(json.loads, (savedir / "log.jsonl").read_text().splitlines())
    return [line for line in lines if "sad" in line]


@pytest.mark.parametrize("function", ["validation_sad", "draw_panels", "_save_due"])
@pytest.mark.parametrize("epochs", [2, 3])
def test_a_crash_while_val_is_scored_costs_no_training(root, tmp_path, monkeypatch, function, epochs):
    """Also of the last epoch, after which nothing is left to train."""
    more = {"max_epoch": epochs, "eval": True, "sample_period": 1, "checkpoint_period": 1}
    whole = load(train(config(root, "pretrain_mnet", savedir=tmp_path / "a", **more)).last)
    given = config(root, "pretrain_mnet", savedir=tmp_path / "b", **more)
    stopped_in(function, given, monkeypatch)
    kept = load(tmp_path / "b" / "last.pt")
    assert (kept.epoch, kept.step, kept.unscored) == (2, 0, True)
    lines = []
    outcome = train(given, report=lines.append)
    assert outcome.begun == 2 and outcome.batches == (epochs - 2) * (len(step_lines(tmp_path / "a")) // epochs)
    assert (tmp_path / "a" / "log.jsonl").read_text() == (tmp_path / "b" / "log.jsonl").read_text()
    assert len(scores_of(tmp_path / "b")) == epochs and any("resumed, val SAD" in line for line in lines)
    after = load(outcome.last)
    assert (after.best, after.unscored) == (whole.best, False) and same(after.network, whole.network)
    files = [{path.name for path in (tmp_path / name).glob("*.pt")} for name in "ab"]
    assert files[0] == files[1] >= {"best.pt", "epoch_0002.pt"}


def step_lines(savedir):
    """The lines of steps."""
    return [line for line in (savedir / "log.jsonl").read_text().splitlines() if "epochs_done" not in line]


def test_a_run_that_scores_nothing_is_saved_once_an_epoch(root, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(training, "save_checkpoint", lambda run, name, **_: saved.append((name, run.unscored)))
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2))
    assert saved == [("last.pt", False), ("last.pt", True), ("last.pt", False)]  # pictures at the end


def test_a_run_that_starts_anew_keeps_the_files_of_the_one_before(root, tmp_path):
    given = config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1, eval=True, checkpoint_period=1)
    train(given)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert {"last.pt", "best.pt", "epoch_0001.pt", "log.jsonl"} == set(before)
    for number in (1, 2):
        lines = []
        train(given.model_copy(update={"resume": False, "seed": number}), report=lines.append)
        folder = tmp_path / f"earlier_{number:04}"
        assert any(str(folder) in line for line in lines)
        if number == 1:
            assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
        assert (folder / "tensorboard").is_dir() and len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert (
        load(tmp_path / "last.pt").config.seed == 2 and load(tmp_path / "earlier_0002" / "last.pt").config.seed == 1
    )


def test_a_run_that_does_not_start_moves_nothing(root, tmp_path):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ShmDataError):
        train(config(root, "pretrain_mnet", savedir=tmp_path, resume=False, mnet_checkpoint=tmp_path / "absent.pt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    lines = []
    train(config(root, "pretrain_mnet", savedir=tmp_path / "new", resume=False, max_epoch=1), report=lines.append)
    assert not any("earlier" in line for line in lines)
