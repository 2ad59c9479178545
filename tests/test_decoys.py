"""Decoys: cut-outs that are no people, pasted behind the person by the same code, with alpha 0."""

import json

import numpy as np
import pytest
from small import contents, matte, photo

from shm_data import CompositeOptions, images
from shm_data.building.build import composite, write_plan
from shm_data.building.executors import Part, Threads
from shm_data.building.on_the_fly import open_plan
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import Decoy, from_line, read_recipes, to_line
from shm_data.errors import ShmDataError
from shm_data.pixels.compositing import blend, cover
from shm_data.pixels.placement import place_in_frame
from shm_data.sources import path_of


@pytest.fixture
def sources(tmp_path):
    for name in ("photos", "alphas", "places", "things"):
        (tmp_path / name).mkdir()
    for number in range(4):
        images.write_png(tmp_path / "photos" / f"p{number}.png", photo(number, (160, 144)))
        images.write_png(tmp_path / "alphas" / f"p{number}.png", matte(number, (160, 144)))
    for number in range(5):
        images.write_png(tmp_path / "places" / f"b{number}.png", photo(20 + number, (136, 144)))
    for number in range(2):
        thing = np.dstack([photo(40 + number, (80, 104)), matte(number, (80, 104))])
        images.write_png(tmp_path / "things" / f"t{number}.png", thing)
    return tmp_path


def options(sources, **more):
    folders = {
        "inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",),
        "decoys": sources / "things",
    }  # fmt: skip
    return CompositeOptions.checked(**folders | {"numbg": 8, "trimap_size": 7, "augment": ()} | more)


def recipes_in(root):
    return list(read_recipes(Layout(root).recipes))


def test_half_of_the_composites_of_train_have_one_and_nothing_else_changes(sources, tmp_path):
    write_plan(options(sources, numbg=40), tmp_path / "with")
    write_plan(options(sources, numbg=40, decoys=None), tmp_path / "without")
    recipes, plain = recipes_in(tmp_path / "with"), recipes_in(tmp_path / "without")
    train = [r.decoy is not None for r in recipes if r.split == "train" and r.background]
    assert 0.35 < np.mean(train) < 0.65
    assert not any(r.decoy for r in recipes if r.split == "val" or not r.background)
    assert {r.decoy.key for r in recipes if r.decoy} == {"decoys/t0.png", "decoys/t1.png"}
    lines = [to_line(recipe) for recipe in plain]
    assert [json.dumps({k: v for k, v in json.loads(to_line(r)).items() if k != "decoy"}) for r in recipes] == lines
    assert all(from_line(to_line(recipe)) == recipe for recipe in recipes)


def test_a_decoy_is_part_of_the_background(sources, tmp_path):
    manifest = composite(options(sources), tmp_path / "set")
    replay = open_plan(tmp_path / "set", "train", tmp_path / "cache")
    seen = 0
    for index, name in enumerate(replay.names):
        recipe, paths = replay.recipe(index), Layout(tmp_path / "set").sample(name)
        sample = replay.sample(recipe)
        assert np.array_equal(images.read_image(paths[0]), sample.image)
        if recipe.decoy is None:
            continue
        place = images.read_image(path_of(recipe.background, manifest.roots))
        thing = images.read_cutout(path_of(recipe.decoy.key, manifest.roots))
        front, alpha = place_in_frame(*thing, recipe.size, recipe.decoy.position)
        behind = blend(front, alpha, cover(place, recipe.crop, recipe.size))
        assert np.array_equal(sample.background, behind)
        assert np.array_equal(sample.image, blend(sample.foreground, sample.alpha, behind))
        # Alpha is that of the person alone.
        assert np.array_equal(sample.alpha, images.read_alpha(sources / "alphas" / f"{recipe.foreground}.png"))
        seen += bool((alpha[sample.alpha == 0] == 255).any())
    assert seen > 2


def test_the_same_bytes_in_parts_and_nothing_wrong(sources, tmp_path):
    given = options(sources, augment=("camera", "shadow"))
    composite(given, tmp_path / "one", Threads(1))
    for number in (2, 1):
        composite(given, tmp_path / "parts", Part(number, 2))
    assert contents(tmp_path / "one") == contents(tmp_path / "parts")
    assert check_dataset(tmp_path / "one", deep=20).errors == 0


def test_a_changed_decoy_is_noticed(sources, tmp_path):
    composite(options(sources), tmp_path / "set")
    images.write_png(sources / "things" / "t1.png", np.dstack([photo(1, (80, 104)), matte(1, (80, 104))]))
    with pytest.raises(ShmDataError) as error:
        composite(options(sources), tmp_path / "set")
    assert "decoys/t1.png" in str(error.value)


def test_what_is_no_cutout_is_refused(sources, tmp_path):
    images.write_png(sources / "things" / "opaque.png", photo(1))
    with pytest.raises(ShmDataError) as error:
        write_plan(options(sources), tmp_path / "plan")
    assert len(error.value.faults) == 1 and "opaque.png" in str(error.value.faults[0])
    (sources / "nothing").mkdir()
    with pytest.raises(ShmDataError) as error:
        write_plan(options(sources, decoys=sources / "nothing"), tmp_path / "plan")
    assert error.value.what == "--decoys"


@pytest.mark.parametrize(
    "given", [7, {}, {"key": 7, "position": [0.5, 0.5, 0.5]}, {"key": "decoys/a.png", "position": [1, 0.5, 0.5]}]
)
def test_a_decoy_that_is_none_is_refused(sources, tmp_path, given):
    write_plan(options(sources), tmp_path / "plan")
    recipe = next(r for r in recipes_in(tmp_path / "plan") if r.decoy)
    assert recipe.decoy == Decoy(**{"key": recipe.decoy.key, "position": recipe.decoy.position})
    (tmp_path / "other.jsonl").write_text(json.dumps(json.loads(to_line(recipe)) | {"decoy": given}) + "\n")
    with pytest.raises(ShmDataError) as error:
        list(read_recipes(tmp_path / "other.jsonl"))
    assert error.value.expected == "a recipe"


def test_a_decoy_of_another_record_is_refused(sources, tmp_path):
    """A recipe may name only files of the record: no other path is ever read."""
    manifest = write_plan(options(sources), tmp_path / "plan")
    recipe = next(r for r in recipes_in(tmp_path / "plan") if r.decoy)
    assert manifest.membership()(recipe)
    other = from_line(to_line(recipe).replace(recipe.decoy.key, "decoys/../../secret.png"))
    assert not manifest.membership()(other)
