"""What a run may do beside the plain steps: a moving average of the weights, an auxiliary loss."""

import pytest
import torch
from tiny import CPU, batches_of, config, write_set

import shm_model.train as training
from shm_data.errors import ShmDataError
from shm_model.checkpoint import load, new_network, restore_network, restore_training_network
from shm_model.config import config_of
from shm_model.dataset import EpochBatches, TrainingSet
from shm_model.export import export
from shm_model.predict import load_predictor
from shm_model.run import start_lines, start_run, update_average
from shm_model.step import train_step
from shm_model.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def floats(network):
    return {name: each.clone() for name, each in network.state_dict().items() if each.is_floating_point()}


# The moving average.


def test_the_average_is_that_of_its_formula(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, ema=0.25, max_epoch=5), CPU)
    expected = floats(run.network)
    for step, batch in enumerate(batches_of(run)[:5]):
        train_step(run, batch, step, 10)
        share = min(0.25, (1 + step) / (10 + step))
        now = floats(run.network)
        expected = {name: share * expected[name] + (1 - share) * now[name] for name in now}
        run.total += 1
    for name, value in floats(run.average).items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert not same(floats(run.average), floats(run.network))


def test_the_average_moves_with_the_optimiser_only(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, ema=0.5, accumulate=2), CPU)
    before = floats(run.average)
    first, second = batches_of(run)[:2]
    train_step(run, first, 0, 10)
    assert same(before, floats(run.average))
    train_step(run, second, 1, 10)
    assert not same(before, floats(run.average))


def test_without_an_average_nothing_is_kept_beside_the_weights(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1), CPU)
    update_average(run)
    assert run.average is None and run.result is run.network
    saved = load(train(run.config).last)
    assert saved.training == {}


def test_the_average_is_what_is_scored_saved_predicted_and_exported(root, tmp_path, monkeypatch):
    given = config(root, "pretrain_mnet", savedir=tmp_path / "run", max_epoch=2, ema=0.9, eval=True, sample_period=1)
    scored = []

    def score(network, *_):
        scored.append(floats(network))
        return 5.0

    monkeypatch.setattr(training, "validation_sad", score)
    saved = load(train(given).last)
    average, trained = saved.network, saved.training
    assert average.keys() == trained.keys() and not same(average, trained)
    assert all(torch.equal(value, average[name]) for name, value in scored[-1].items())
    best = load(tmp_path / "run" / "best.pt")
    assert not best.training and same(best.network, load(tmp_path / "run" / "best.pt").network)
    predictor = load_predictor(tmp_path / "run" / "last.pt", CPU.device)
    assert same(predictor.network.state_dict(), average)
    export(tmp_path / "run" / "last.pt", tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2")
    exported = {name.removeprefix("network."): value for name, value in program.state_dict.items()}
    assert all(torch.equal(exported[name], value) for name, value in floats(predictor.network).items())
    warm = config(root, "pretrain_mnet", mnet_checkpoint=tmp_path / "run" / "last.pt")
    assert same(new_network(warm).state_dict(), average)


@pytest.mark.parametrize("steps", [None, 1])
def test_a_stopped_run_with_an_average_resumes_to_the_bit(root, tmp_path, monkeypatch, steps):
    more = {"max_epoch": 3, "ema": 0.9, "accumulate": 2, "checkpoint_steps": steps, "batch_size": 1}
    whole = load(train(config(root, "pretrain_mnet", savedir=tmp_path / "a", **more)).last)
    stopped = config(root, "pretrain_mnet", savedir=tmp_path / "b", **more)
    per_epoch = EpochBatches(TrainingSet(stopped).order(), stopped).per_epoch

    def stop(run, batch, step, per_epoch):
        if step == per_epoch + 3:
            raise KeyboardInterrupt
        return train_step(run, batch, step, per_epoch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "train_step", stop)
        train(stopped)
    kept = load(tmp_path / "b" / "last.pt")
    assert (kept.epoch, kept.step) == (1, 0 if steps is None else 2) and per_epoch > 4
    resumed = load(train(stopped).last)
    assert same(whole.network, resumed.network) and same(whole.training, resumed.training)


def test_an_average_may_begin_and_end_while_a_run_is_resumed(root, tmp_path):
    train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=1))
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, ema=0.9), CPU)
    assert same(run.average.state_dict(), run.network.state_dict())
    last = train(config(root, "pretrain_mnet", savedir=tmp_path, max_epoch=2, ema=0.9)).last
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path), CPU)
    assert run.average is None and same(run.network.state_dict(), load(last).training)
    assert not same(run.network.state_dict(), restore_network(load(last), last).state_dict())


def test_an_average_is_reported(root, tmp_path):
    run = start_run(config(root, "pretrain_mnet", savedir=tmp_path, ema=0.99), CPU)
    assert any("0.99" in line for line in start_lines(run))


@pytest.mark.parametrize("value", [1, -0.1, "much"])
def test_an_average_keeps_a_share_below_1(value):
    with pytest.raises(ShmDataError) as error:
        config_of({"mode": "pretrain_tnet", "data_root": "x", "ema": value}, "run.yaml")
    assert error.value.what == "run.yaml: ema"


# The auxiliary loss.

AUX = {"aux_weight": 0.4}


def test_the_auxiliary_loss_is_added_by_its_weight_and_moves_its_classifier(root, tmp_path):
    run = start_run(config(root, savedir=tmp_path, **AUX), CPU)
    before = floats(run.network)
    values = train_step(run, batches_of(run)[0], 0, 10)
    assert values["loss"] == pytest.approx(values["trimap"] + 0.4 * values["auxiliary"], rel=1e-6)
    after = floats(run.network)
    assert all(not torch.equal(after[name], before[name]) for name in after if name.startswith("auxiliary."))
    assert sum(name.startswith("auxiliary.") for name in after) == 7


def test_the_auxiliary_loss_reaches_the_third_stage_and_those_before_alone(root, tmp_path):
    run = start_run(config(root, savedir=tmp_path, **AUX), CPU)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    run.network.train()
    run.network(image).auxiliary.square().sum().backward()
    reached = {
        name.split(".")[1]
        for name, each in run.network.backbone.named_parameters("backbone")
        if each.grad is not None
    }
    assert reached == {"conv1", "bn1", "layer1", "layer2", "layer3"}
    assert all(each.grad is None for each in run.network.decoder.parameters())


def test_predictions_and_exports_have_no_auxiliary_classifier(root, tmp_path):
    last = train(config(root, savedir=tmp_path / "run", max_epoch=1, eval=True, **AUX)).last
    saved = load(last)
    assert not any(name.startswith("auxiliary.") for name in saved.network)
    assert saved.training and all(name.startswith("auxiliary.") for name in saved.training)
    assert not load(tmp_path / "run" / "best.pt").training
    plain = restore_network(saved, last)
    trained = restore_training_network(saved, last)
    image = torch.rand(1, 3, 40, 56)
    assert plain.auxiliary is None and trained.auxiliary is not None
    assert torch.equal(plain.eval()(image), trained.eval()(image))


@pytest.mark.parametrize(("before", "after"), [(0.4, 0.0), (0.0, 0.4), (0.4, 0.4)])
def test_a_checkpoint_starts_runs_with_and_without_the_auxiliary_loss(root, tmp_path, before, after):
    last = train(config(root, savedir=tmp_path / "run", max_epoch=1, aux_weight=before)).last
    network = new_network(config(root, tnet_checkpoint=last, aux_weight=after))
    assert (network.auxiliary is not None) == bool(after)
    started = network.state_dict()
    assert all(torch.equal(started[name], value) for name, value in load(last).network.items())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_run_with_an_auxiliary_loss_resumes_to_the_bit(root, tmp_path, ema):
    more = {"ema": ema, "schedule": "constant", **AUX}
    whole = load(train(config(root, savedir=tmp_path / "a", max_epoch=2, **more)).last)
    train(config(root, savedir=tmp_path / "b", max_epoch=1, **more))
    resumed = load(train(config(root, savedir=tmp_path / "b", max_epoch=2, **more)).last)
    assert same(whole.network, resumed.network) and same(whole.training, resumed.training)
    with pytest.raises(ShmDataError, match="aux_weight"):
        train(config(root, savedir=tmp_path / "b", max_epoch=3, ema=ema))


@pytest.mark.parametrize("more", [{"mode": "pretrain_mnet"}, {"backbone": "efficientnet_lite0"}])
def test_an_auxiliary_loss_that_would_do_nothing_is_an_error(more):
    with pytest.raises(ShmDataError, match="aux_weight"):
        config_of({"mode": "pretrain_tnet", "data_root": "x", **AUX} | more, "run.yaml")
