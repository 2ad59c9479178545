"""Samples made from their recipes when they are asked for."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from faults import fault_of
from small import matte, photo

from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.building.on_the_fly import open_plan
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.pixels.compositing import blend
from shm_data.pixels.trimap import TrimapRule, derive_trimap, flat_distance, trimap_from_distance
from shm_model.config import config_of
from shm_model.dataset import TrainingSet
from shm_model.samples import kind_of

CHOICES = {
    "as it comes": {},
    "random trimaps": {"trimap": "random", "trimap_size": 9},
    "smaller": {"maxsize": 40, "trimap": "ellipse", "trimap_size": 5},
    "photo colours": {"foreground": "photo", "originals": False},
}


def options_of(sources, **more):
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    return CompositeOptions.checked(**folders | {"numbg": 3, "trainsplit": 0.5, "augment": ()} | more)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_sample_is_the_one_that_composite_writes(sources, tmp_path, choice):
    options = options_of(sources, **CHOICES[choice])
    composite(options, tmp_path / "set")
    write_plan(options, tmp_path / "plan")
    for split in SPLITS:
        replay = open_plan(tmp_path / "plan", split, tmp_path / "cache")
        assert list(replay.names) == read_names(tmp_path / "set", split)
        for again in range(2):  # the second time from the cache
            for index, name in enumerate(replay.names):
                scene = replay.sample(replay.recipe(index))
                image, mask, trimap = Layout(tmp_path / "set").sample(name)
                assert np.array_equal(scene.image, images.read_image(image)), (name, again)
                assert np.array_equal(scene.alpha, images.read_gray(mask)), (name, again)
                assert np.array_equal(scene.trimap, images.read_gray(trimap)), (name, again)


def test_the_colours_of_a_scene_are_those_that_its_image_mixes(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    scenes = [replay.sample(replay.recipe(index)) for index in range(len(replay.names))]
    originals = [scene for scene in scenes if scene.background is None]
    assert 0 < len(originals) < len(scenes) and all(scene.foreground is None for scene in originals)
    for scene in scenes:
        if scene.background is not None:
            assert np.array_equal(blend(scene.foreground, scene.alpha, scene.background), scene.image)


def test_a_trimap_of_ones_own_is_replayed(sources, tmp_path):
    (sources / "trimaps").mkdir()
    own = derive_trimap(matte(0), TrimapRule("euclid", 7, 3))
    for number in range(4):
        images.write_png(sources / "trimaps" / f"p{number}.png", own)
    write_plan(options_of(sources, intri=sources / "trimaps", trimap="random"), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    assert np.array_equal(replay.sample(replay.recipe(1)).trimap, own)


def test_foregrounds_are_read_once(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    before = [replay.sample(replay.recipe(index)).image for index in range(len(replay.names))]
    shutil.rmtree(sources / "photos")
    after = [replay.sample(replay.recipe(index)).image for index in range(len(replay.names))]
    assert all(map(np.array_equal, before, after))


def test_half_a_file_in_the_cache_is_made_anew(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    before = replay.sample(replay.recipe(1)).image
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(replay.sample(replay.recipe(1)).image, before)


def test_a_file_of_the_cache_that_lost_its_bytes_is_made_anew(sources, tmp_path):
    """After a loss of power a file may have its size and hold zeros."""
    write_plan(options_of(sources), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    before = [replay.sample(replay.recipe(index)).image for index in range(len(replay.names))]
    for damage in (lambda data: bytes(len(data)), lambda data: data[:-60] + bytes(10) + data[-50:]):
        whole = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
        for path, data in whole.items():
            path.write_bytes(damage(data))
        fresh = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
        after = [fresh.sample(fresh.recipe(index)).image for index in range(len(fresh.names))]
        assert all(map(np.array_equal, before, after))
        assert whole == {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}


def test_what_other_versions_prepared_is_made_anew(sources, tmp_path):
    """Another version of a library may compute other pixels."""
    write_plan(options_of(sources), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    assert {"shm_data", "numba", "numpy", "opencv-python-headless", "pillow"} <= replay.versions.keys()
    recipe = replay.recipe(1)
    for count, versions in enumerate([{}, {}, *({name: "0"} for name in replay.versions)]):
        replace(replay, versions=replay.versions | versions).sample(recipe)
        assert len(list((tmp_path / "cache").iterdir())) == max(1, count)


def test_fresh_backgrounds_are_of_the_split_and_the_same_again(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    replays = {split: open_plan(tmp_path / "plan", split, tmp_path / "cache") for split in SPLITS}
    drawn = {split: set() for split in SPLITS}
    for split, replay in replays.items():
        for index in range(len(replay.names)):
            recipe = replay.recipe(index)
            fresh = [replay.with_new_background(recipe, epoch) for epoch in range(20)]
            assert fresh == [replay.with_new_background(recipe, epoch) for epoch in range(20)]
            drawn[split] |= {each.background for each in fresh if each.background}
            assert recipe.background is None or len({each.crop for each in fresh}) > 15
            replay.sample(fresh[0])
    assert drawn == {split: set(replay.backgrounds) for split, replay in replays.items()}
    assert not drawn["train"] & drawn["val"]


def test_sources_that_have_changed_are_refused(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    images.write_png(sources / "photos" / "p1.png", photo(77))
    assert "inimg/p1.png" in str(fault_of(open_plan, tmp_path / "plan", "train", tmp_path / "cache"))


def test_a_folder_without_a_plan_is_refused(tmp_path):
    fault = fault_of(open_plan, tmp_path, "train", tmp_path / "cache")
    assert (fault.path, fault.found) == (str(tmp_path), "no dataset.json")


def test_a_plan_is_completed_by_composite_and_a_whole_set_stays_whole(sources, tmp_path):
    options = options_of(sources)
    assert not write_plan(options, tmp_path / "set").complete
    assert not (tmp_path / "set" / "input").exists()
    assert composite(options, tmp_path / "set").complete
    assert write_plan(options, tmp_path / "set").complete


@pytest.mark.parametrize("tolerance", [0, 5])
def test_from_depths_every_rule_gives_what_it_derives(tolerance):
    alpha = np.pad(matte(1), 30, mode="edge")
    alpha[5:9, 5:9] = 255
    deep = flat_distance(alpha, tolerance)
    for erode, dilate in [(1, 1), (3, 21), (9, 5), (29, 1), (61, 999)]:
        rule = TrimapRule("euclid", erode, dilate, tolerance)
        assert np.array_equal(trimap_from_distance(alpha, deep, rule), derive_trimap(alpha, rule))


def configured(mode, data, root, **more):
    sizes = {"tnet_size": 32, "mnet_size": 32, "end_size": 40, "patch_sizes": [24], "colour": 0.3}
    trained = {"tnet_checkpoint": "-", "mnet_checkpoint": "-"} if mode == "end_to_end" else {}
    given = {"mode": mode, "data": data, "data_root": str(root), "cuda": False}
    return config_of(given | sizes | trained | more, "test")


@pytest.mark.parametrize("mode", ["pretrain_tnet", "pretrain_mnet", "end_to_end"])
def test_what_training_sees_is_the_same_as_from_the_layout(sources, tmp_path, mode):
    """Only the colours that a patch mixes are known rather than estimated."""
    options = options_of(sources)
    composite(options, tmp_path / "set")
    write_plan(options, tmp_path / "plan")
    written = TrainingSet(configured(mode, "layout", tmp_path / "set"))
    made = TrainingSet(configured(mode, "recipes", tmp_path / "plan"))
    assert len(made) == len(written)
    for key in [(epoch, index) for epoch in range(2) for index in range(len(made))]:
        here, there = made[key]._asdict(), written[key]._asdict()
        colours = {name: here.pop(name).numpy().astype(int) for name in ("foreground", "background") if name in here}
        assert all(np.array_equal(there[name], value) for name, value in here.items()), key
        if colours:
            a = here["alpha"].numpy() / 255
            mixed = a * colours["foreground"] + (1 - a) * colours["background"]
            assert np.abs(mixed - here["patch"].numpy()).mean() < 2


def test_every_epoch_may_have_fresh_backgrounds_and_the_same_ones_again(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    config = configured("pretrain_tnet", "recipes", tmp_path / "plan", resample_backgrounds=True)
    scenes = [[TrainingSet(config).source.scene(1, epoch).image for epoch in range(3)] for _ in range(2)]
    assert all(map(np.array_equal, *scenes))
    assert len({scene.tobytes() for scene in scenes[0]}) == 3


@pytest.mark.parametrize(("key", "value"), [("resample_backgrounds", True), ("cache", "somewhere")])
def test_what_only_recipes_can_give_is_refused_without_them(key, value):
    with pytest.raises(ShmDataError, match=f"{key}.*data: recipes"):
        configured("pretrain_tnet", "layout", "-", **{key: value})


def test_a_folder_tells_what_it_is(sources, tmp_path):
    write_plan(options_of(sources), tmp_path / "plan")
    assert kind_of(tmp_path / "plan") == "recipes"
    composite(options_of(sources), tmp_path / "plan")
    assert kind_of(tmp_path / "plan") == "layout"
