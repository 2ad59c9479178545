"""Training from several data sets: shares, order, val, and what is refused."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import fault_of
from small import photo, write_people
from tiny import CPU, config

from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.dataset.layout import Layout, read_names
from shm_data.dataset.shards import write_shards
from shm_data.options import CompositeOptions
from shm_model import train as training
from shm_model.augment import generator_for
from shm_model.checkpoint import load
from shm_model.config import Root, config_of, load_config
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.order import Order, Singles, every_sample
from shm_model.roots import digest_of_roots, validation_source
from shm_model.run import start_run
from shm_model.samples import digest_of, source_of
from shm_model.step import train_step
from shm_model.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {"plan": "recipes", "set": "layout", "shards": "shards", "bare": "layout"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plan, a set, shards, and a set without record or val, all small and of different lengths."""
    folder = tmp_path_factory.mktemp("roots")
    write_people(folder, [f"p{number}" for number in range(5)])
    (folder / "places").mkdir()
    for number in range(6):
        images.write_png(folder / "places" / f"b{number}.png", photo(100 + number, (128, 136)))
    sources = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}

    def options(**more):
        return CompositeOptions.checked(**sources, trimap_size=9, **more)

    write_plan(options(numbg=3), folder / "plan")
    composite(options(numbg=2, seed=1), folder / "set")
    composite(options(numbg=1, seed=2), folder / "packed")
    write_shards(folder / "packed", folder / "shards", 3)
    shutil.copytree(folder / "set", folder / "bare")
    for name in ("val.txt", "dataset.json", "recipes.jsonl"):
        (folder / "bare" / name).unlink()
    return folder


def of(folder, shares, mode="pretrain_tnet", **more):
    """A configuration of some of the folders, each with its share."""
    roots = tuple(Root(root=folder / name, share=share, data=KINDS[name]) for name, share in shares.items())
    small = {"tnet_size": 32, "mnet_size": 32, "patch_sizes": (24, 32)}
    return config(roots, mode, **small | more)


def keys_of(order, epochs):
    return [key for epoch in range(epochs) for unit in order.units(epoch) for key in unit]


# Shares.


def test_one_data_set_is_seen_in_the_order_drawn_from_seed_and_epoch():
    for epoch in range(3):
        order = list(range(12))
        generator_for(7, epoch, -1).shuffle(order)
        assert every_sample(12, 7).units(epoch) == [((epoch, index),) for index in order]


@pytest.mark.parametrize("shares", [(0.7, 0.3), (1, 3), (0.5, 0.5), (1000, 1)])
def test_in_every_epoch_shares_are_met_to_one_sample_and_no_sample_comes_before_its_turn(shares):
    order = Order(3, [Singles(range(90)), Singles(range(90, 100))], shares)
    drawn, ever = Counter(), set()
    for epoch in range(200):
        keys = [key for (key,) in order.units(epoch)]
        assert len(keys) == 100
        seen = Counter(index for _, index in keys)
        ever |= seen.keys()
        for number, deck in enumerate(order.decks):
            counts = [seen[index] for index in deck.indices]
            assert max(counts) - min(counts) <= 1
            assert abs(sum(counts) - 100 * shares[number] / sum(shares)) < 1
            drawn[number] += sum(counts)
    assert ever >= set(range(100 if drawn[1] > 100 else 90))
    # Where a share is not a whole number of samples, the mean over epochs still is the share.
    expected = 20_000 * shares[1] / sum(shares)
    assert drawn[1] > 0 and abs(drawn[1] - expected) <= 4 * (200 * 0.25) ** 0.5


def test_a_sample_that_comes_again_does_not_look_the_same():
    keys = keys_of(Order(0, [Singles(range(4)), Singles(range(4, 24))], (0.9, 0.1)), 5)
    assert len(set(keys)) == len(keys) == 120


def test_epochs_are_drawn_from_the_seed_alone():
    decks, shares = [Singles(range(9)), Singles(range(9, 12))], (1, 1)
    assert Order(1, decks, shares).units(4) == Order(1, decks, shares).units(4)
    assert Order(1, decks, shares).units(4) != Order(2, decks, shares).units(4)
    assert Order(1, decks, shares).units(4) != Order(1, decks, shares).units(5)


def test_processes_divide_what_one_would_see_and_a_run_goes_on_within_an_epoch():
    order = Order(1, [Singles(range(9)), Singles(range(9, 12))], (1, 1))
    given = config(Path("x"), batch_size=3)
    one = list(EpochBatches(order, given))
    parts = [list(EpochBatches(order, given, rank, 2)) for rank in (0, 1)]
    assert {key for batch in one for key in batch} == {key for part in parts for batch in part for key in batch}
    assert list(EpochBatches(order, given, epoch=1, step=2)) == one[6:]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("name", ["plan", "set", "shards"])
def test_untouched_photos_have_their_share_where_there_are_composites_beside_them(folder, name, share):
    dataset = TrainingSet(config(folder / name, data=KINDS[name], originals=share))
    photos = {index for index, origin in enumerate(dataset.source.origins()) if origin.background is None}
    assert 0 < len(photos) < len(dataset)
    order = dataset.order()
    keys = keys_of(order, 40)
    assert abs(sum(key[1] in photos for key in keys) - share * len(keys)) < 1 + 2 * 40**0.5 * (0 < share < 1)


def test_sets_without_originals_keep_their_share(folder):
    dataset = TrainingSet(of(folder, {"plan": 0.5, "bare": 0.5}, originals=0.5))
    keys = keys_of(dataset.order(), 40)
    origins = dataset.source.origins()
    kinds = Counter("bare" if (origin := origins[key[1]]) is None else origin.background is None for key in keys)
    for kind, share in (("bare", 0.5), (True, 0.25), (False, 0.25)):
        assert abs(kinds[kind] / len(keys) - share) < 0.03


# What is fed.


def test_all_kinds_are_joined_and_names_say_from_which_root_they_are(folder):
    shares = dict.fromkeys(KINDS, 1.0)
    joined = TrainingSet(of(folder, shares)).source
    alone = [source_of(kind, folder / name, "train") for name, kind in KINDS.items()]
    expected = [(source, name, index) for source, name in zip(alone, KINDS, strict=True)
                for index in range(len(source.names))]  # fmt: skip
    assert len(joined.names) == len(expected)
    for number, (source, name, index) in enumerate(expected):
        assert joined.names[number] == f"{source.names[index]} of {folder / name}"
        for one, other in zip(joined.read(number), source.read(index), strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(joined.scene(number, 3).image, source.scene(index, 3).image)
    assert joined.origins() == [origin for source in alone for origin in source.origins()]
    assert alone[3].origins() == [None] * len(alone[3].names)


def test_what_is_fed_does_not_depend_on_workers(folder):
    fed = []
    for workers in (0, 2):
        dataset = TrainingSet(of(folder, {"plan": 0.5, "set": 0.2, "shards": 0.3}, num_workers=workers))
        fed.append(list(data_loader(dataset, EpochBatches(dataset.order(), dataset.config))))
    assert len(fed[0]) == len(fed[1]) > 10
    for one, other in zip(*fed, strict=True):
        assert one.name == other.name and torch.equal(one.image, other.image)


def test_new_backgrounds_are_drawn_in_every_epoch_where_there_are_recipes(folder):
    given = of(folder, {"set": 1.0, "plan": 1.0}, resample_backgrounds=True, cache=folder / "cache")
    source = TrainingSet(given).source
    count = len(source.parts[0].names)
    composites = [index for index, origin in enumerate(source.origins()) if origin.background is not None]
    for index in (composites[0], composites[-1]):
        images_of_epochs = {source.scene(index, epoch).image.tobytes() for epoch in range(4)}
        assert (len(images_of_epochs) > 1) == (index >= count)


# Val.


def test_val_is_that_of_all_roots_that_have_one(folder):
    val = validation_source(of(folder, dict.fromkeys(KINDS, 1.0)))
    assert {name.partition(" of ")[2] for name in val.names} == {
        str(folder / name) for name in KINDS if name != "bare"
    }
    assert len(val.names) == sum(len(source_of(KINDS[name], folder / name, "val").names) for name in KINDS
                                 if name != "bare")  # fmt: skip
    one = validation_source(of(folder, {"bare": 1.0, "set": 0.0}))
    assert [name.partition(" of ")[0] for name in one.names] == read_names(folder / "set", "val")


def test_a_root_without_share_is_scored_and_not_trained_on(folder):
    given = of(folder, {"set": 0.0, "shards": 1.0})
    dataset = TrainingSet(given)
    assert {name.partition(" of ")[2] for name in dataset.source.names} == {str(folder / "shards")}
    assert {key[1] for key in keys_of(dataset.order(), 1)} == set(range(len(dataset)))
    fault = fault_of(validation_source, of(folder, {"shards": 1.0, "bare": 0.0}))
    assert fault.path == str(folder / "bare" / "val.txt")


def test_without_any_val_scores_are_refused_and_pictures_are_reported_as_missing(folder, tmp_path):
    given = of(folder, {"bare": 1.0}, savedir=tmp_path / "run", eval=True)
    fault = fault_of(train, given)
    assert fault.what == "data_root" and str(folder / "bare") in fault.found and "eval: false" in fault.expected
    lines = []
    train(of(folder, {"bare": 1.0}, savedir=tmp_path / "run", max_steps=1), report=lines.append)
    assert any("No pictures of val" in line and str(folder / "bare") in line for line in lines)


def test_a_missing_root_is_named(folder):
    for name, kind in KINDS.items():
        roots = (Root(root=folder / "set"), Root(root=folder / f"no {name}", data=kind))
        assert f"no {name}" in str(fault_of(TrainingSet, config(roots)))
    empty = of(folder, {"set": 1.0, "bare": 1.0})
    names = Layout(folder / "bare").names_of("train")
    before = names.read_bytes()
    names.write_bytes(b"")
    try:
        assert str(folder / "bare") in str(fault_of(TrainingSet, empty))
    finally:
        names.write_bytes(before)


# Runs.


def test_a_run_stopped_within_an_epoch_resumes_to_the_bit_also_when_its_roots_have_moved(
    folder, tmp_path, monkeypatch
):
    for name in ("set", "shards"):
        shutil.copytree(folder / name, tmp_path / name)
    shares = {"set": 0.3, "shards": 0.7}
    more = {"mode": "pretrain_mnet", "batch_size": 2, "max_epoch": 2, "checkpoint_steps": 1}
    whole = load(train(of(folder, shares, savedir=tmp_path / "a", **more)).last)

    def stop(run, batch, step, per_epoch):
        if step == per_epoch + 3:
            raise KeyboardInterrupt
        return train_step(run, batch, step, per_epoch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "train_step", stop)
        train(of(folder, shares, savedir=tmp_path / "b", **more))
    assert (load(tmp_path / "b" / "last.pt").epoch, load(tmp_path / "b" / "last.pt").step) == (1, 3)
    changed = fault_of(train, of(tmp_path, {"set": 0.4, "shards": 0.6}, savedir=tmp_path / "b", **more))
    assert changed.found == "shares (0.3, 0.7)" and "(0.4, 0.6)" in changed.expected
    resumed = load(train(of(tmp_path, shares, savedir=tmp_path / "b", **more)).last)
    assert all(torch.equal(value, resumed.network[name]) for name, value in whole.network.items())
    assert whole.data == resumed.data
    other = fault_of(train, of(folder, {"set": 0.3, "plan": 0.7}, savedir=tmp_path / "b", **more))
    assert other.found == "other samples" and str(folder / "plan") in other.expected


def test_between_epochs_shares_may_change(folder, tmp_path):
    more = {"mode": "pretrain_mnet", "savedir": tmp_path}
    train(of(folder, {"set": 1.0, "shards": 1.0}, max_epoch=1, **more))
    run = start_run(of(folder, {"set": 1.0, "shards": 9.0}, **more), CPU)
    assert (run.epoch, run.step) == (1, 0)


def test_data_are_known_by_all_their_lists_and_records(folder, tmp_path):
    digest = digest_of_roots(of(folder, {"set": 1.0, "bare": 1.0}))
    for name in ("set", "bare"):
        shutil.copytree(folder / name, tmp_path / name)
    assert digest_of_roots(of(tmp_path, {"set": 0.3, "bare": 1.0})) == digest
    assert digest_of_roots(of(tmp_path, {"set": 1.0})) == digest_of("layout", folder / "set") != digest
    assert digest_of_roots(of(tmp_path, {"bare": 1.0, "set": 1.0})) != digest
    names = Layout(tmp_path / "bare").names_of("train")
    names.write_text(names.read_text()[:-1] + "x\n")
    assert digest_of_roots(of(tmp_path, {"set": 1.0, "bare": 1.0})) != digest


def test_a_checkpoint_remembers_all_roots(folder, tmp_path):
    given = of(folder, {"set": 0.3, "plan": 0.7}, "pretrain_mnet", savedir=tmp_path, max_steps=1, originals=0.5)
    assert load(train(given).last).config == given


def test_a_test_scores_the_val_of_all_roots(folder, tmp_path, shm_model):
    last = train(of(folder, {"set": 1.0}, "pretrain_mnet", savedir=tmp_path / "run", max_steps=1)).last
    (tmp_path / "test.yaml").write_text("mode: test\ndata_root: here\ncuda: false\n")
    roots = f"data_root=[{{root: {folder / 'set'}}}, {{root: {folder / 'shards'}, data: shards}}]"
    given = f"mnet_checkpoint={last}", f"savedir={tmp_path / 'scores'}"
    code, out, err = shm_model("train", tmp_path / "test.yaml", roots, *given)
    count = sum(len(source_of(KINDS[name], folder / name, "val").names) for name in ("set", "shards"))
    assert code == 0 and f"mean of {count} images" in out, err
    assert f" of {folder / 'shards'}" in (tmp_path / "scores" / "scores.csv").read_text()


# Configurations.

BASE = {"mode": "pretrain_tnet"}


def test_the_command_line_replaces_a_list_by_a_path_and_a_path_by_a_list(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "mode: pretrain_tnet\ndata: recipes\ndata_root:\n- {root: a, share: 0.3, data: layout}\n- {root: b}\n"
    )
    given = load_config(tmp_path / "run.yaml")
    assert given.roots == (Root(root="a", share=0.3, data="layout"), Root(root="b", share=1))
    assert load_config(tmp_path / "run.yaml", ["data_root=c"]).data_root == Path("c")
    assert load_config(tmp_path / "run.yaml", ["data_root=[{root: d}]"]).roots == (Root(root="d"),)
    assert config_of(given.model_dump(mode="json"), "again") == given


@pytest.mark.parametrize(("roots", "message"), [
    ([], "data_root: found no share above 0, expected at least one"),
    ([{"root": "a", "share": 0}, {"root": "b", "share": 0.0}], "found no share above 0"),
    ([{"root": "a"}, {"root": "b", "share": -1}], "data_root, entry 2, share: found -1, expected greater than"),
    ([{"root": "a", "share": "much"}], "data_root, entry 1, share: found 'much', expected a valid number"),
    ([{"root": "a", "share": float("nan")}], "data_root, entry 1, share: found nan, expected"),
    ([{"root": "a", "data": "tar"}], "data_root, entry 1, data: found 'tar', expected 'layout', 'shards'"),
    ([{"root": "a"}, {"root": 3}], "data_root, entry 2, root: found 3, expected"),
    ([{"root": "a", "shares": 1}], "data_root, entry 1: found .*shares.*, expected a folder with its share"),
    ([{"share": 1}], "data_root, entry 1: found {'share': 1}, expected a folder with its share"),
    (["a"], "data_root, entry 1: found 'a', expected a folder with its share"),
    ([{"root": "a"}, {"root": "b"}, {"root": "a"}], "data_root: found a 2 times, expected each folder once"),
    ({"root": "a"}, "data_root: found {'root': 'a'}, expected"),
    (3, "data_root: found 3, expected"),
])  # fmt: skip
def test_wrong_roots_are_refused_in_one_sentence(roots, message):
    fault = str(fault_of(config_of, BASE | {"data_root": roots}, "run.yaml"))
    assert "\n" not in fault
    assert re.search(message, fault), fault


@pytest.mark.parametrize("value", [-0.1, 1.1, "often"])
def test_a_share_of_originals_is_between_0_and_1(value):
    assert (
        fault_of(config_of, BASE | {"data_root": "a", "originals": value}, "run.yaml").what == "run.yaml: originals"
    )


def test_what_only_recipes_can_give_needs_one_root_of_recipes():
    keys = BASE | {"resample_backgrounds": True}
    one = {"root": "b", "data": "recipes"}
    assert "data: recipes" in str(fault_of(config_of, keys | {"data_root": [{"root": "a"}]}, "run.yaml"))
    assert config_of(keys | {"data_root": [{"root": "a"}, one]}, "run.yaml").resample_backgrounds


def test_originals_are_refused_where_no_set_has_them_beside_composites(folder):
    dataset = TrainingSet(config(folder / "bare", originals=0.5))
    assert fault_of(dataset.order).what == "originals"
