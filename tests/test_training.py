"""Training: what is drawn, what is fed, what is saved, and that it learns."""

import itertools
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small import matte, photo
from tiny import CPU, config, write_set

import shm_model.step as training_step
import shm_model.train as training
from shm_data import images
from shm_data.dataset.layout import Layout, read_names
from shm_data.errors import ShmDataError
from shm_model import augment
from shm_model.batches import EndToEndBatch, MNetBatch, TNetBatch
from shm_model.checkpoint import load, new_network, save
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.evaluate import evaluate, mean_row
from shm_model.order import every_sample
from shm_model.predict import Predictor, load_predictor
from shm_model.run import start_run
from shm_model.samples import read_sample, source_of
from shm_model.shm import Matte
from shm_model.step import learning_rate, train_step
from shm_model.train import finish_epoch, train
from shm_model.validation import validation_sad

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


# What is drawn.


def test_each_sample_and_epoch_has_its_own_generator():
    numbers = {
        augment.generator_for(seed, epoch, index).random() for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)
    }
    assert len(numbers) == 8
    assert augment.generator_for(3, 4, 5).random() == augment.generator_for(3, 4, 5).random()


def test_crops_lie_inside_and_patches_hold_unknown_pixels():
    trimap = np.zeros((70, 90), np.uint8)
    trimap[5, 80] = 128
    for seed in range(200):
        x, y, side = augment.draw_crop(augment.generator_for(seed, 0, 0), (90, 70), 0.5)
        assert 35 <= side <= 70 and 0 <= x <= 90 - side and 0 <= y <= 70 - side
        x, y, side = augment.draw_patch(augment.generator_for(seed, 0, 0), trimap, 40)
        assert (trimap[y : y + side, x : x + side] == 128).any() and side == 40
    assert augment.draw_patch(augment.generator_for(0, 0, 0), trimap, 500)[2] == 70


@pytest.mark.parametrize(("flip", "angle"), [(False, 0.0), (True, 0.0), (False, 7.0), (True, -10.0)])
def test_image_and_alpha_turn_alike(flip, angle):
    alpha = matte(1, (60, 80))
    turned = augment.rotate(np.repeat(alpha[..., None], 3, axis=2), flip, angle)
    assert np.array_equal(turned[..., 0], augment.rotate(alpha, flip, angle))
    if angle == 0:
        assert np.array_equal(turned[..., 0], alpha[:, ::-1] if flip else alpha)
    labels = augment.rotate((alpha // 128 * 128).astype(np.uint8), flip, angle, labels=True)
    assert set(np.unique(labels)) <= {0, 128}


@pytest.mark.parametrize(("flip", "angle"), [(False, 0.0), (True, 0.0), (False, 7.0), (True, -10.0)])
def test_a_window_of_what_is_turned_is_made_alone(flip, angle):
    pixels = photo(1, (60, 80))
    whole = augment.rotate(pixels, flip, angle).astype(int)
    for x, y, side in [(0, 0, 20), (47, 27, 29), (60, 0, 20), (10, 0, 56)]:
        alone = augment.rotate(pixels, flip, angle, window=(x, y, side))
        # OpenCV places pixels to a 32nd, and a window's may be rounded the other way.
        assert np.abs(alone - whole[y : y + side, x : x + side]).mean() < 0.1


def test_colours_change_alike_in_a_mixture_and_keep_grays_gray():
    one, other = photo(1, (20, 30)) // 4 + 64, photo(2, (20, 30)) // 4 + 64
    for seed in range(20):
        colours = augment.draw_colours(augment.generator_for(seed, 0, 0), 0.3)
        mixed, a, b = (augment.recolour(x.astype(np.uint8), colours) for x in ((one // 2 + other // 2), one, other))
        whole = (a > 0) & (b > 0) & (mixed > 0) & (a < 255) & (b < 255) & (mixed < 255)
        assert np.abs(mixed - (a / 2 + b / 2))[whole].max() <= 4
        gray = augment.recolour(np.full((2, 2, 3), 100, np.uint8), colours)
        assert len(np.unique(gray)) == 1 and 40 < gray[0, 0, 0] < 160
    assert np.allclose(augment.draw_colours(augment.generator_for(0, 0, 0), 0), np.eye(3))


# What is fed.


@pytest.mark.parametrize(("mode", "keys"), [
    ("pretrain_tnet", {"image", "labels"}),
    ("pretrain_mnet", {"labels", "patch", "alpha", "known", "foreground", "background"}),
    ("end_to_end", {"image", "labels", "box", "patch", "alpha", "known", "foreground", "background"}),
])  # fmt: skip
def test_items_are_uint8_and_fit_their_stage(root, mode, keys):
    more = {"tnet_checkpoint": Path("t"), "mnet_checkpoint": Path("m")} if mode == "end_to_end" else {}
    dataset = TrainingSet(config(root, mode, **more))
    item = dataset[(0, 1)]
    assert set(item._fields) == keys | {"name"}
    assert all(getattr(item, key).dtype == torch.uint8 for key in keys - {"box"})
    assert set(np.unique(item.labels)) <= {0, 1, 2}
    again, other = dataset[(0, 1)], dataset[(1, 1)]
    assert all(torch.equal(getattr(item, key), getattr(again, key)) for key in keys)
    assert any(not torch.equal(getattr(item, key), getattr(other, key)) for key in keys)
    if "patch" in keys:
        alpha = item.alpha.float() / 255
        mixed = alpha * item.foreground + (1 - alpha) * item.background
        assert (mixed - item.patch).abs().mean() < 3


def test_batches_hold_each_sample_once_an_epoch_in_ever_other_orders():
    given = config(Path("x"), batch_size=3)
    one = list(EpochBatches(every_sample(12, given.seed), given))
    assert [len(batch) for batch in one] == [3] * 8
    for epoch in (0, 1):
        assert sorted(key for batch in one for key in batch if key[0] == epoch) == [(epoch, i) for i in range(12)]
    assert [key[1] for batch in one[:4] for key in batch] != [key[1] for batch in one[4:] for key in batch]
    shares = [
        {key for batch in EpochBatches(every_sample(12, given.seed), given, rank, 2) for key in batch if key[0] == 0}
        for rank in (0, 1)
    ]
    assert not shares[0] & shares[1] and len(shares[0] | shares[1]) == 12
    assert list(EpochBatches(every_sample(12, given.seed), given, epoch=1)) == one[4:]
    assert list(EpochBatches(every_sample(12, given.seed), given, epoch=1, step=2)) == one[6:]


def test_what_is_fed_does_not_depend_on_workers(root):
    fed = []
    for workers in (0, 2):
        dataset = TrainingSet(config(root, num_workers=workers))
        fed.append(list(data_loader(dataset, EpochBatches(dataset.order(), dataset.config))))
    for one, other in zip(*fed, strict=True):
        assert one.name == other.name and torch.equal(one.image, other.image)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_sample_stops_with_its_name(root, tmp_path, workers):
    copy = tmp_path / "set"
    for path in root.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    name = read_names(copy, "train")[3]
    images.write_png(copy / "mask" / name, np.zeros((5, 5), np.uint8))
    with pytest.raises(
        ShmDataError, match=rf"^sample {name} .*96x96 in input and 5x5 in mask, expected the same size$"
    ):
        train(config(copy, savedir=tmp_path / "run", num_workers=workers))
    (copy / "trimap" / name).unlink()
    with pytest.raises(ShmDataError, match=rf"sample {name} .*found no trimap/{name}"):
        TrainingSet(config(copy))


# What is saved.


def _losses(savedir):
    return [json.loads(line) for line in (savedir / "log.jsonl").read_text().splitlines()]


def _long(root, savedir):
    return config(root, savedir=savedir, max_epoch=4, accumulate=2, warmup=3, schedule="cosine")


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory, one_thread):
    """A run that nobody stopped: the losses and the weights in the end."""
    savedir = tmp_path_factory.mktemp("whole")
    last = train(_long(root, savedir)).last
    return _losses(savedir), load(last)


IN_ANOTHER_PROCESS = """
import sys, json, torch
torch.set_num_threads(1)
from shm_model.config import config_of
from shm_model.train import train
train(config_of(json.loads(sys.argv[1]), "x"))
"""


@pytest.mark.parametrize("kill_at", [2, 7])
def test_a_killed_run_goes_on_to_the_same_losses_and_weights(root, tmp_path, uninterrupted, kill_at):
    text = json.dumps(_long(root, tmp_path).model_dump(mode="json"))
    job = subprocess.Popen([sys.executable, "-c", IN_ANOTHER_PROCESS, text])
    log = tmp_path / "log.jsonl"
    deadline = time.monotonic() + 120
    while job.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(log.read_bytes().splitlines()) > kill_at:
            job.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert job.wait(60) == -signal.SIGKILL
    assert len(_losses(tmp_path)) < len(uninterrupted[0])
    outcome = train(_long(root, tmp_path))
    assert outcome.done == 4 and (outcome.begun > 0) == (kill_at > 3)
    assert _losses(tmp_path) == uninterrupted[0]
    one, other = uninterrupted[1], load(outcome.last)
    assert one.epoch == other.epoch == 4
    assert all(torch.equal(one.network[key], other.network[key]) for key in one.network)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_goes_on_in_the_middle_of_an_epoch(root, tmp_path, monkeypatch, steps):
    """Nothing is lost but what was done since the last checkpoint: the losses of the others are not told again."""
    given = config(root, savedir=tmp_path / "a", max_epoch=2, batch_size=1, checkpoint_steps=steps)
    train(given)
    stopped = config(root, savedir=tmp_path / "b", max_epoch=2, batch_size=1, checkpoint_steps=steps)
    per_epoch = len(_losses(tmp_path / "a")) // 2
    assert per_epoch > 4
    at = per_epoch + 3

    def stop_at(run, batch, step, per_epoch):
        if step == at:
            raise KeyboardInterrupt
        return train_step(run, batch, step, per_epoch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("shm_model.train.train_step", stop_at)
        train(stopped)
    kept = load(tmp_path / "b" / "last.pt")
    assert (kept.epoch, kept.step) == (1, 3 // steps * steps)
    with pytest.raises(ShmDataError, match="batch_size"):
        train(config(root, savedir=tmp_path / "b", max_epoch=2, batch_size=2))
    made = []
    monkeypatch.setattr(TrainingSet, "__getitem__", seen(made, TrainingSet.__getitem__))
    outcome = train(stopped)
    assert len(made) == 2 * per_epoch - (per_epoch + kept.step)
    assert _losses(tmp_path / "b") == _losses(tmp_path / "a")
    one, other = load(tmp_path / "a" / "last.pt"), load(outcome.last)
    assert all(torch.equal(one.network[key], other.network[key]) for key in one.network)


def seen(made, function):
    def told(self, key):
        made.append(key)
        return function(self, key)

    return told


def test_a_run_that_is_done_is_left_as_it_is_and_says_so(root, tmp_path, shm_model):
    assert train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1)).done == 1
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    again = train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    assert (again.begun, again.done) == (1, 1)
    given = config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1)
    (tmp_path / "c.yaml").write_text(json.dumps(given.model_dump(mode="json")))
    code, out, _ = shm_model("train", tmp_path / "c.yaml")
    assert code == 0 and "has 1 epochs" in out
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before}
    code, out, _ = shm_model("train", tmp_path / "c.yaml", "max_epoch=2")
    assert code == 0 and "Epochs 2 to 2 are done" in out


def test_options_of_the_optimiser_may_change_on_the_way(root, tmp_path):
    given = {"savedir": tmp_path, "max_epoch": 1}
    train(config(root, "pretrain_mnet", **given))
    run = start_run(config(root, "pretrain_mnet", weight_decay=0.1, **given), CPU)
    assert run.optimizer.param_groups[0]["weight_decay"] == 0.1 and run.optimizer.state


def test_another_run_is_not_resumed(root, tmp_path):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    with pytest.raises(ShmDataError, match=r"last\.pt is of another run: found seed 0, expected 1"):
        train(config(root, "pretrain_mnet", savedir=tmp_path, seed=1))


def test_checkpoints_come_back_and_nothing_else_is_taken(root, tmp_path):
    path = train(config(root, savedir=tmp_path, max_epoch=1, checkpoint_period=1, eval=True)).last
    assert {"last.pt", "best.pt", "epoch_0001.pt"} <= {file.name for file in tmp_path.iterdir()}
    checkpoint = load(path)
    assert checkpoint.config.backbone == "resnet18" and checkpoint.epoch == 1
    save(tmp_path / "again.pt", checkpoint)
    assert load(tmp_path / "again.pt").config == checkpoint.config


class _Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def _broken_files(tmp_path):
    whole = tmp_path / "whole.pt"
    torch.save({"config": {}}, whole)
    yield "other contents", whole.read_bytes()
    yield "broken, expected a checkpoint", whole.read_bytes()[:100]
    yield "broken, expected a checkpoint", b""
    yield "broken, expected a checkpoint", b"not a checkpoint at all"
    yield "broken, expected a checkpoint", pickle.dumps(_Harmful())
    torch.save({"config": _Harmful()}, whole)
    yield "broken, expected a checkpoint", whole.read_bytes()


def test_files_that_are_no_checkpoints_are_refused_and_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for message, data in _broken_files(tmp_path):
        (tmp_path / "x.pt").write_bytes(data)
        with pytest.raises(ShmDataError, match=message):
            load(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()
    with pytest.raises(ShmDataError, match="does not exist"):
        load(tmp_path / "absent.pt")


# How it learns.


def test_the_rate_warms_up_and_falls():
    given = config(Path("x"), lr=1.0, warmup=4, schedule="cosine")
    rates = [learning_rate(step, 20, given) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4] == 1.0 and abs(rates[20]) < 1e-9
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))
    assert learning_rate(1000, 20, config(Path("x"), lr=1.0)) == 1.0


def test_a_loss_that_is_not_finite_stops_with_the_names_of_the_batch(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path), CPU)
    next(iter(run.network.parameters())).data.fill_(float("nan"))
    dataset = TrainingSet(run.config)
    batches = EpochBatches(dataset.order(), run.config)
    names = ", ".join(dataset.source.names[index] for _, index in next(iter(batches)))
    with pytest.raises(ShmDataError, match=rf"^the loss at step 5: found nan for {names}$"):
        train_step(run, next(iter(data_loader(dataset, batches))), 5, 10)


def test_accumulated_batches_move_as_one(root, tmp_path):
    torch.manual_seed(0)
    run = start_run(config(root, savedir=tmp_path, accumulate=2), CPU)
    before = [parameter.clone() for parameter in run.network.parameters()]
    dataset = TrainingSet(run.config)
    feed = iter(data_loader(dataset, EpochBatches(dataset.order(), run.config)))
    train_step(run, next(feed), 0, 10)
    assert all(torch.equal(one, other) for one, other in zip(before, run.network.parameters(), strict=True))
    train_step(run, next(feed), 1, 10)
    assert any(not torch.equal(one, other) for one, other in zip(before, run.network.parameters(), strict=True))


def test_the_accumulated_gradient_is_a_mean(root, tmp_path):
    norms = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        run = start_run(config(root, savedir=tmp_path / str(accumulate), accumulate=accumulate), CPU)
        dataset = TrainingSet(run.config)
        batch = next(iter(data_loader(dataset, EpochBatches(dataset.order(), run.config))))
        values = [train_step(run, batch, step, 10) for step in range(accumulate)]
        norms.append(values[-1]["gradient"])
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_the_rate_counts_steps_of_the_optimiser_and_the_last_of_an_epoch_may_be_smaller(root, tmp_path, monkeypatch):
    given = config(root, savedir=tmp_path, accumulate=2, max_epoch=2, lr=1.0, schedule="cosine", warmup=1)
    run, rates, shares = start_run(given, CPU), [], []
    monkeypatch.setattr(training_step, "optimizer_step", lambda _, lr: rates.append(lr))
    share = torch.nn.Parameter(torch.zeros(()))
    monkeypatch.setattr(training_step, "stage_loss", lambda *_: {"loss": share + 1})
    for step in range(6):  # three batches an epoch: a step after two, and after one
        share.grad = None
        train_step(run, TNetBatch(["x"], torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1)), step, 3)
        shares.append(float(share.grad))
    assert rates == [learning_rate(step, 4, given) for step in range(4)]
    assert shares == [0.5, 0.5, 1.0] * 2


@pytest.mark.parametrize("mode", ["pretrain_mnet", "end_to_end"])
def test_the_unknown_region_may_weigh_more(mode):
    """Where the error is all in the known half, a weight of 3 for the unknown one halves the mean: 1 / (1 + 3)."""
    more = {"tnet_checkpoint": Path("t"), "mnet_checkpoint": Path("m")} if mode == "end_to_end" else {}
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 4:] = 1
    alpha, colours = torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4)
    alpha[:, :, :2] = 1
    if mode == "pretrain_mnet":
        labels = labels[:, 2:6, :4]
    patch = colours, torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), colours, colours
    batch = MNetBatch(["x"], labels, *patch)
    if mode == "end_to_end":
        batch = EndToEndBatch(["x"], torch.zeros(1, 3, 8, 8), labels, torch.tensor([[4, 2, 4, 4]]), *patch)
    matte = Matte(alpha, torch.zeros(1, 3, 8, 8))
    found = {}
    for weight in (1.0, 3.0):
        given = config(Path("x"), mode, mnet_size=32, unknown_weight=weight, gamma=1.0, loss_lambda=0.0, **more)
        given = given.model_copy(update={"mnet_size": 4})
        network = (lambda *_: matte) if mode == "end_to_end" else (lambda *_: alpha)
        found[weight] = float(training_step.stage_loss(network, batch, given)["loss"])
    assert found == {1.0: 0.5, 3.0: 0.25}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_about_the_same(root, tmp_path, precision):
    losses = {}
    for name in ("fp32", precision):
        run = start_run(config(root, savedir=tmp_path, precision=name, tnet_size=32), CPU)
        dataset = TrainingSet(run.config)
        batch = next(iter(data_loader(dataset, EpochBatches(dataset.order(), run.config))))
        losses[name] = [train_step(run, batch, step, 10)["loss"] for step in range(4)]
    assert losses[precision][-1] < losses[precision][0] and losses[precision] != losses["fp32"]
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.1)


def test_the_best_is_kept(root, tmp_path, monkeypatch):
    scores = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(training, "validation_sad", lambda *_: next(scores))
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=3, eval=True, checkpoint_period=2))
    assert load(tmp_path / "best.pt").epoch == 2 and load(tmp_path / "best.pt").best == 1.0
    assert load(tmp_path / "last.pt").epoch == 3 and load(tmp_path / "last.pt").best == 1.0
    assert [path.name for path in tmp_path.glob("epoch*")] == ["epoch_0002.pt"]


def test_progress_counts_images(root, tmp_path):
    told = []

    def progress(items, total, label):
        for count, item in enumerate(items, 1):
            yield item
            told.append((count, total, label))

    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1), progress)
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=3), progress)
    count = len(TrainingSet(config(root))) // 4 * 4
    assert told[:count] == [(n + 1, count, "pretrain_mnet, images on cpu") for n in range(count)]
    assert told[count:][-1] == (2 * count, 2 * count, "pretrain_mnet, images on cpu after epoch 1")


def test_several_gpus_need_a_launch(root, tmp_path):
    with pytest.raises(ShmDataError, match=r"ngpu: found 2 .*torchrun --nproc_per_node=2"):
        train(config(root, savedir=tmp_path, ngpu=2))


def test_synchronised_batch_norm_needs_gpus(root, tmp_path):
    with pytest.raises(ShmDataError, match=r"sync_bn: found no GPU"):
        train(config(root, savedir=tmp_path, sync_bn=True))


def test_end_to_end_never_starts_untrained(root, tmp_path):
    absent = {"tnet_checkpoint": tmp_path / "t.pt", "mnet_checkpoint": tmp_path / "m.pt"}
    with pytest.raises(ShmDataError, match=r"t\.pt does not exist"):
        new_network(config(root, "end_to_end", **absent))


@pytest.fixture(scope="module")
def stages(root, tmp_path_factory, one_thread):
    """All three stages trained for a few seconds, and where their checkpoints are."""
    folder = tmp_path_factory.mktemp("runs")
    tnet = train(config(root, savedir=folder / "tnet", max_epoch=15)).last
    mnet = train(config(root, "pretrain_mnet", savedir=folder / "mnet", max_epoch=15)).last
    both = {"tnet_checkpoint": tnet, "mnet_checkpoint": mnet, "lr": 5e-4}
    shm = train(config(root, "end_to_end", savedir=folder / "shm", max_epoch=8, **both)).last
    return {"tnet": tnet, "mnet": mnet, "shm": shm}


def sad_of(predictor, val):
    """The score that training gives a predictor's network."""
    given = config(Path("x"), longest=predictor.longest)
    return validation_sad(predictor.network, val, given, CPU)


def test_three_stages_beat_what_the_trimap_alone_tells(root, stages):
    """The best that T-Net's trimap allows is the mean alpha of each of its classes, in hindsight."""
    tnet, shm = load_predictor(stages["tnet"], CPU.device), load_predictor(stages["shm"], CPU.device)
    samples = [read_sample(root, name) for name in read_names(root, "val")]
    truths = np.concatenate([alpha.ravel() / 255 for _, alpha, _ in samples])
    classes = np.concatenate([tnet(image).trimap.ravel() for image, _, _ in samples])
    flat = sum(np.abs(truths[classes == c] - truths[classes == c].mean()).sum() for c in np.unique(classes))
    flat = flat / 1000 / len(samples)
    assert sad_of(shm, source_of("layout", root, "val")) < 0.7 * flat
    assert flat < 0.6 * np.abs(truths - truths.mean()).sum() / 1000 / len(samples)


def test_the_sad_of_training_is_that_of_the_table(root, stages):
    predictor, val = load_predictor(stages["shm"], CPU.device), source_of("layout", root, "val")
    assert sad_of(predictor, val) == pytest.approx(mean_row(evaluate(predictor, val)).whole.sad)


def test_a_tnets_trimap_is_its_own_and_not_the_one_given(root, stages):
    image, _, trimap = read_sample(root, read_names(root, "val")[0])
    for name in ("tnet", "shm"):
        predictor = load_predictor(stages[name], CPU.device)
        assert np.array_equal(predictor(image, trimap).trimap, predictor(image).trimap)
    assert np.array_equal(load_predictor(stages["mnet"], CPU.device)(image, trimap).trimap, trimap)


def test_weights_of_one_network_are_not_taken_for_another(root, stages):
    swapped = {"tnet_checkpoint": stages["mnet"], "mnet_checkpoint": stages["tnet"]}
    with pytest.raises(ShmDataError, match=r"tnet_checkpoint .*found a checkpoint of pretrain_mnet"):
        new_network(config(root, "end_to_end", **swapped))
    right = {"tnet_checkpoint": stages["tnet"], "mnet_checkpoint": stages["mnet"]}
    with pytest.raises(ShmDataError, match=r"found backbone resnet18, expected resnet34"):
        new_network(config(root, "end_to_end", **right | {"backbone": "resnet34"}))


def test_predictions_have_the_size_of_the_picture_whatever_it_is(root, stages):
    image, _, trimap = read_sample(root, read_names(root, "val")[0])
    for name, path in stages.items():
        predictor = load_predictor(path, CPU.device)
        for cut in (image, image[:77, :53], image[::2]):
            prediction = predictor(cut, trimap[: cut.shape[0], : cut.shape[1]] if name == "mnet" else None)
            assert prediction.alpha.shape == cut.shape[:2]
            assert prediction.alpha.min() >= 0 and prediction.alpha.max() <= 1
    whole = load_predictor(stages["shm"], CPU.device)
    assert whole.longest == round(1.4 * 64 / 0.75)
    small = Predictor(whole.network, CPU.device, longest=48)
    assert small(image).alpha.shape == image.shape[:2]


def test_the_commands_score_and_predict(root, stages, tmp_path, shm_model):
    code, out, err = shm_model("evaluate", "--checkpoint", stages["shm"], "--data", root, "--savedir", tmp_path / "e")
    assert code == 0, err
    assert "SAD/1000" in out and "unknown" in out
    report = json.loads((tmp_path / "e" / "scores.json").read_text())
    assert len(report["images"]) == len(read_names(root, "val"))
    assert (tmp_path / "e" / "scores.csv").read_text().count("\n") == 2 * (len(report["images"]) + 1) + 1
    assert images.read_image(tmp_path / "e" / "samples.png").shape[2] == 3
    again = ("evaluate", "--checkpoint", stages["shm"], "--data", root, "--savedir", tmp_path / "e")
    assert shm_model(*again)[0] == 0
    for name in ("samples.png", "scores.json", "scores.csv"):
        (tmp_path / "e" / name).write_bytes(b"not ours")
        code, _, err = shm_model(*again)
        assert code == 1 and name in err and (tmp_path / "e" / name).read_bytes() == b"not ours"
    folder, name = Layout(root).input, read_names(root, "val")[0]
    code, _, err = shm_model("predict", "--checkpoint", stages["shm"], folder / name, "--savedir", tmp_path / "p")
    assert code == 0, err
    alpha = images.read_alpha(tmp_path / "p" / name)
    colours, cut = images.read_cutout(tmp_path / "p" / f"{Path(name).stem}_cutout.png")
    assert np.array_equal(alpha, cut) and colours.shape[:2] == alpha.shape


def test_the_mode_test_scores_as_evaluate_does(root, stages, tmp_path, shm_model):
    given = config(root, "test", shm_checkpoint=stages["shm"], savedir=tmp_path / "e")
    (tmp_path / "test.yaml").write_text(json.dumps(given.model_dump(mode="json")))
    code, out, err = shm_model("train", tmp_path / "test.yaml")
    assert code == 0, err
    _, expected, _ = shm_model("evaluate", "--checkpoint", stages["shm"], "--data", root, "--savedir", tmp_path / "e")
    assert out == expected and (tmp_path / "e" / "scores.json").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["predict", "--checkpoint", "absent.pt", "a.png"], "absent.pt does not exist"),
    (["train", "absent.yaml"], "absent.yaml cannot be read"),
    (["evaluate", "--data", "x"], "Missing option '--checkpoint'"),
])  # fmt: skip
def test_a_mistake_is_one_sentence(arguments, message, shm_model):
    code, _, err = shm_model(*arguments)
    assert code == 1 and err.startswith("Error: ") and message in err and len(err.splitlines()) == 1


def test_an_mnet_alone_needs_a_trimap(root, stages, tmp_path, shm_model):
    name = read_names(root, "val")[0]
    command = ["predict", "--checkpoint", stages["mnet"], Layout(root).input / name, "--savedir", tmp_path]
    code, _, err = shm_model(*command)
    assert code == 1 and "by --trimap" in err
    assert shm_model(*command, "--trimap", Layout(root).trimap / name)[0] == 0


def test_help_of_training_loads_nothing_heavy():
    script = "import sys, cli.model; print([m for m in ('torch', 'numpy', 'cv2', 'yaml') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "[]\n"


ONE_OF_SEVERAL = """
import json, sys, torch
torch.set_num_threads(1)
from test_training import found_by
from shm_model.config import config_of
from shm_model.distributed import process_context
given = config_of(json.loads(sys.argv[1]), "x")
with process_context(given) as context:
    torch.save(found_by(given, context), sys.argv[2])
"""


def found_by(given, context):
    """What a process finds in two batches that make a step, in scoring val, and where a loss is not finite.

    Batch norm, which sees other batches in each process, is fixed.
    """
    run = start_run(given, context)
    run.network.eval()
    run.network.train = lambda mode=True: run.network
    gradients = []
    run.optimizer.step = lambda: gradients.append(_gradient(run))
    dataset = TrainingSet(given)
    feed = iter(data_loader(dataset, EpochBatches(dataset.order(), given, context.rank, context.world_size)))
    told = [train_step(run, next(feed), 0, 10)]
    gradients.append(_gradient(run))
    told.append(train_step(run, next(feed), 1, 10))
    for buffer in run.network.buffers():
        buffer.add_(context.rank)
    val = Counted(source_of("layout", given.data_root, "val"))
    finish_epoch(run, val, None)
    found = {
        "gradients": gradients,
        "losses": [values["loss"] for values in told],
        "sad": run.best,
        "read": val.read_so_far,
    }
    if context.rank:
        next(iter(run.network.parameters())).data.fill_(float("nan"))
    try:
        train_step(
            run,
            next(iter(data_loader(dataset, EpochBatches(every_sample(3, given.seed), given))))._replace(
                name=["a", "b"]
            ),
            2,
            10,
        )
    except ShmDataError as error:
        found["fault"] = str(error)
    return found


def _gradient(run):
    return {name: parameter.grad.clone() for name, parameter in run.network.named_parameters()}


class Counted:
    """A source that remembers which samples were read."""

    def __init__(self, source):
        self.source, self.names, self.read_so_far = source, source.names, []

    def read(self, index):
        self.read_so_far.append(index)
        return self.source.read(index)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def several(root, tmp_path_factory, one_thread):
    """What is found by one process, and by each of two with half its batch."""
    folder = tmp_path_factory.mktemp("several")
    given = config(root, savedir=folder / "none", batch_size=3, accumulate=2, eval=True)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    shared |= {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(Path(__file__).parent)}
    jobs = []
    for rank in "01":
        environment = os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}
        text = json.dumps(given.model_dump(mode="json"))
        command = [sys.executable, "-c", ONE_OF_SEVERAL, text, str(folder / rank)]
        jobs.append(subprocess.Popen(command, env=environment))
    alone = found_by(given.model_copy(update={"batch_size": 6}), CPU)
    assert [job.wait(120) for job in jobs] == [0, 0]
    return alone, *(torch.load(folder / rank, weights_only=True) for rank in "01")


def _close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5) for name in one)


def test_two_processes_move_as_one_with_the_joint_batches(several):
    alone, first, second = (found["gradients"][1] for found in several)
    assert _close(alone, first) and _close(alone, second)


def test_gradients_are_exchanged_with_the_last_batch_of_a_step_only(several):
    alone, first, second = (found["gradients"][0] for found in several)
    assert not _close(first, second)
    assert _close(alone, {name: (first[name] + second[name]) / 2 for name in first})


def test_the_loss_that_is_reported_is_the_mean_over_the_processes(several):
    alone, first, second = (found["losses"] for found in several)
    assert first == second == pytest.approx(alone, rel=1e-5)


def test_processes_share_val_and_come_to_the_figure_of_one(several):
    alone, first, second = several
    assert alone["sad"] == first["sad"] == second["sad"] > 0
    assert alone["read"] == list(range(len(alone["read"])))
    assert (first["read"], second["read"]) == (alone["read"][::2], alone["read"][1::2])


def test_a_loss_that_is_not_finite_in_one_process_ends_all(several):
    assert [found.get("fault") for found in several] == [
        None, "the loss at step 2: found nan in another process", "the loss at step 2: found nan for a, b"
    ]  # fmt: skip
