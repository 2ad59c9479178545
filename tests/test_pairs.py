"""Pairs: one person before two backgrounds in one batch."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from faults import fault_of
from hypothesis import given, settings
from hypothesis import strategies as st
from small import photo, write_people
from tiny import config

from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.dataset.shards import write_shards
from shm_data.options import CompositeOptions
from shm_model import train as training
from shm_model.augment import generator_for
from shm_model.checkpoint import load
from shm_model.config import Root, config_of
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.order import Order, Pairs
from shm_model.step import train_step
from shm_model.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five people: each with its original before three backgrounds (`set`), in shards, and with one sample alone."""
    folder = tmp_path_factory.mktemp("pairs")
    write_people(folder, [f"p{number}" for number in range(5)])
    (folder / "places").mkdir()
    for number in range(5):
        images.write_png(folder / "places" / f"b{number}.png", photo(100 + number, (128, 136)))
    sources = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}

    def options(**more):
        return CompositeOptions.checked(**sources, trimap_size=9, trainsplit=0.8, **more)

    composite(options(numbg=2), folder / "set")
    write_shards(folder / "set", folder / "shards", 5)
    write_plan(options(numbg=1, originals=False, seed=1), folder / "alone")
    write_plan(options(numbg=4, seed=2), folder / "plan")
    return folder


KINDS = {"set": "layout", "shards": "shards", "plan": "recipes", "alone": "recipes"}


def of(folder, *names, **more):
    roots = tuple(Root(root=folder / name, data=KINDS[name]) for name in names)
    return config(
        roots, more.pop("mode", "pretrain_tnet"), **{"tnet_size": 32, "pairs": True, "batch_size": 4} | more
    )


def require_pairs(batch, origins):
    """Fails unless the batch has each foreground with two backgrounds an even number of times, two different ones."""
    shown = [origins[key[1]] for key in batch]
    assert all(count % 2 == 0 for count in Counter(origin.foreground for origin in shown).values())
    for one, other in zip(shown[::2], shown[1::2], strict=True):
        assert one.foreground == other.foreground and one.background != other.background


@pytest.mark.parametrize("name", ["set", "shards", "plan"])
@pytest.mark.parametrize("world_size", [1, 2])
def test_each_batch_of_each_process_has_each_foreground_before_pairs_of_backgrounds(folder, name, world_size):
    dataset = TrainingSet(of(folder, name, max_epoch=3))
    origins, order = dataset.source.origins(), dataset.order()
    assert len({origin.foreground for origin in origins}) == 4
    drawn = []
    for rank in range(world_size):
        batches = EpochBatches(order, dataset.config, rank, world_size)
        assert len(batches) >= 3
        for batch in batches:
            assert len(batch) == batches.size == 4
            require_pairs(batch, origins)
        drawn += [key for batch in batches for key in batch]
    assert len({key[:2] for key in drawn}) == len(drawn)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=6), st.integers(0, 10**6))
def test_as_many_pairs_are_made_as_there_can_be(sizes, seed):
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    groups = [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    deck = Pairs([groups], [])
    units = deck.deal(generator_for(seed, 0, 0), 0, deck.count)
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    assert all(group_of[one[1]] != group_of[other[1]] and other[2] == one[1] for one, other in units)
    assert len({key[1] for unit in units for key in unit}) == 2 * len(units)
    unpaired = sum(sizes) - 2 * len(units)
    assert unpaired <= 1 or unpaired == 2 * max(sizes) - sum(sizes)


def test_over_the_epochs_all_samples_of_an_odd_number_come_and_partners_change():
    order = Order(0, [Pairs([[[0], [1], [2]]], [])], [1.0], unit=2)
    drawn = [tuple(key[1] for key in order.units(epoch)[0]) for epoch in range(60)]
    assert {frozenset(pair) for pair in drawn} == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}


def test_a_foreground_with_one_background_is_used_alone_and_reported_once(folder, tmp_path):
    dataset = TrainingSet(of(folder, "set", "alone", max_epoch=4))
    origins, order = dataset.source.origins(), dataset.order()
    samples = {name: {index for index, sample in enumerate(dataset.source.names) if f"/{name}" in sample}
               for name in ("set", "alone")}  # fmt: skip
    seen = Counter()
    for batch in EpochBatches(order, dataset.config):
        pairs = [key for key in batch if key[1] in samples["set"]]
        require_pairs(pairs, origins)
        seen.update(key[1] for key in batch)
    assert samples["alone"] <= seen.keys()
    lines = []
    train(of(folder, "set", "alone", mode="pretrain_mnet", savedir=tmp_path), report=lines.append)
    (line,) = [line for line in lines if line.startswith("pairs:")]
    assert "4 foregrounds" in line and f"{len(samples['alone'])} samples" in line


def test_shares_of_pairs_are_met(folder):
    roots = (Root(root=folder / "set", share=0.75), Root(root=folder / "plan", share=0.25, data="recipes"))
    dataset = TrainingSet(config(roots, pairs=True, tnet_size=32))
    origins, order = dataset.source.origins(), dataset.order()
    units = [unit for epoch in range(50) for unit in order.units(epoch)]
    first = len(dataset.source.parts[0].names)
    assert abs(sum(unit[0][1] < first for unit in units) / len(units) - 0.75) < 0.03
    for unit in units:
        require_pairs(unit, origins)
    keys = [key for unit in units for key in unit]
    assert len({key[:2] for key in keys}) == len(keys)


def test_new_backgrounds_of_a_pair_differ(folder):
    given = of(folder, "plan", resample_backgrounds=True, cache=folder / "cache")
    replay = TrainingSet(given).source.parts[0].replay
    order = TrainingSet(given).order()
    same = {True: 0, False: 0}
    for epoch in range(30):
        for (visit, one), (_, other, beside) in order.units(epoch):
            assert beside == one
            first = replay.with_new_background(replay.recipe(one), visit)
            for known in (True, False):
                second = replay.with_new_background(
                    replay.recipe(other), visit, replay.recipe(one) if known else None
                )
                same[known] += first.background == second.background
    assert same[True] == 0 < same[False]


def test_training_sees_pairs_before_different_backgrounds(folder):
    dataset = TrainingSet(of(folder, "plan", resample_backgrounds=True, cache=folder / "cache"))
    scenes, places, source = [], [], dataset.source

    class Watched:
        names = source.names

        def scene(self, *place):
            places.append(place)
            scenes.append(source.scene(*place))
            return scenes[-1]

    units = [unit for epoch in range(20) for unit in dataset.order().units(epoch)]
    dataset.source = Watched()
    for unit in units:
        first, second = (dataset[key] and scenes[-1] for key in unit)
        assert places[-1] == (unit[1][1], unit[1][0], unit[0][1])  # in sight of the first
        behind = (first.alpha == 0) & (second.alpha == 0)
        assert behind.any() and (first.image[behind] != second.image[behind]).any(axis=1).mean() > 0.5


def test_pairs_are_drawn_from_seed_and_epoch_for_any_number_of_workers(folder):
    fed = []
    for workers in (0, 1):
        given = of(folder, "plan", resample_backgrounds=True, cache=folder / "cache", num_workers=workers)
        dataset = TrainingSet(given)
        fed.append(list(data_loader(dataset, EpochBatches(dataset.order(), given))))
    assert len(fed[0]) == len(fed[1]) > 5
    assert all(
        one.name == other.name and torch.equal(one.image, other.image) for one, other in zip(*fed, strict=True)
    )
    orders = [TrainingSet(of(folder, "plan", seed=seed)).order().units(1) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_run_in_pairs_that_was_stopped_within_an_epoch_resumes_to_the_bit(folder, tmp_path, monkeypatch):
    more = {"mode": "pretrain_mnet", "mnet_size": 32, "patch_sizes": (24, 32), "batch_size": 2, "checkpoint_steps": 1}
    whole = load(train(of(folder, "set", savedir=tmp_path / "a", **more)).last)

    def stop(run, batch, step, per_epoch):
        if step == per_epoch + 2:
            raise KeyboardInterrupt
        return train_step(run, batch, step, per_epoch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "train_step", stop)
        train(of(folder, "set", savedir=tmp_path / "b", **more))
    assert (load(tmp_path / "b" / "last.pt").epoch, load(tmp_path / "b" / "last.pt").step) == (1, 2)
    fault = fault_of(train, of(folder, "set", savedir=tmp_path / "b", **more | {"pairs": False}))
    assert fault.found == "pairs True" and "False" in fault.expected
    resumed = load(train(of(folder, "set", savedir=tmp_path / "b", **more)).last)
    assert all(torch.equal(value, resumed.network[name]) for name, value in whole.network.items())


def test_pairs_are_refused_where_there_are_none(folder):
    fault = fault_of(TrainingSet(of(folder, "alone")).order)
    assert (fault.what, fault.found) == ("pairs", "no foreground with two backgrounds")


@pytest.mark.parametrize(("keys", "message"), [
    ({"batch_size": 3}, "batch_size: found 3, expected an even number with pairs: true"),
    ({"originals": 0.5}, "originals: does nothing with pairs: true"),
    ({"pairs": "often"}, "pairs: found 'often', expected a valid boolean"),
])  # fmt: skip
def test_what_does_not_go_with_pairs_is_refused(keys, message):
    given = {"mode": "pretrain_tnet", "data_root": Path("x"), "pairs": True} | keys
    assert message in str(fault_of(config_of, given, "run.yaml"))
