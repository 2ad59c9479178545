"""Backgrounds are enlarged no more than a user allows, and samples are as large as that permits."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import contents, matte, photo

from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.building.executors import Part
from shm_data.building.on_the_fly import open_plan
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import read_recipes
from shm_data.options import CompositeOptions
from shm_data.planning.resolution import enlargement, least_enlargement, limit_share, limit_size, too_small
from shm_data.sources.types import Background

EDGES = st.integers(16, 3000)
SIZES = st.tuples(EDGES, EDGES)


def pool_of(sizes):
    return [Background(f"bgdir/{index}.jpg", None, size) for index, size in enumerate(sizes)]


@given(SIZES, st.lists(SIZES, min_size=1, max_size=9), st.floats(0.3, 4), st.integers(0, 9))
def test_enough_backgrounds_are_large_enough_and_one_pixel_more_is_too_much(size, sizes, limit, count):
    pool = pool_of(sizes)
    limited = limit_size(size, max(size), pool, limit, count)
    enough = min(len(pool), max(count, math.ceil(len(pool) / 2)))
    assert max(limited) <= max(size)
    if max(limited) > 1:
        assert len(pool) - len(too_small(limited, pool, limit)) >= enough
    if max(limited) < max(size) - 1 and min(limited) > 16:
        grown = tuple(edge + 2 for edge in limited)
        assert len(pool) - len(too_small(grown, pool, limit)) < enough


@given(SIZES, SIZES, st.floats(0, 1), st.floats(0.3, 4))
def test_a_smaller_crop_is_enlarged_no_more_than_allowed(background, size, share, limit):
    least = least_enlargement(background, size)
    raised = limit_share(share, background, size, limit)
    assert share <= raised <= max(share, 1)
    assert least > limit or least / max(raised, 1e-9) <= limit * 1.0001 or raised == share
    assert limit_share(share, background, size, None) == share


@pytest.fixture
def large(tmp_path):
    """Foregrounds of two sizes, over small backgrounds and one large."""
    for name in ("photos", "alphas", "places"):
        (tmp_path / name).mkdir()
    for number, size in enumerate([(400, 304), (600, 456), (304, 400)]):
        images.write_png(tmp_path / "photos" / f"p{number}.png", photo(number, size))
        images.write_png(tmp_path / "alphas" / f"p{number}.png", matte(number, size))
    for number, size in enumerate([(160, 200), (200, 160), (160, 240), (240, 160), (200, 200), (800, 800)]):
        images.write_png(tmp_path / "places" / f"b{number}.png", photo(50 + number, size))
    return tmp_path


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 4}
    return CompositeOptions(**plain | {"trainsplit": 1, "augment": ()} | more)


def recipes_in(root):
    return list(read_recipes(Layout(root).recipes))


@pytest.mark.parametrize("limit", [0.5, 1.0, 2.0])
def test_no_background_of_a_set_is_enlarged_more_than_allowed(large, limit):
    composite(options(large, max_enlarge=limit, numbg=9), large / "out")
    recipes = recipes_in(large / "out")
    assert all(enlargement(r) <= limit * (1 + 2 / min(r.crop[2:])) for r in recipes if r.crop)
    assert {images.read_size(large / "out" / "input" / r.name) == r.size for r in recipes} == {True}
    findings = check_dataset(large / "out", deep=5).findings
    assert not [each for each in findings if each.grave or (each.kind == "enlarged" and limit <= 1.5)]


def test_without_a_limit_samples_keep_their_size_and_the_set_says_what_it_gives_away(large):
    manifest = composite(options(large), large / "out")
    assert {r.size for r in recipes_in(large / "out")} == {f.size for f in manifest.foregrounds}
    (note,) = [note for note in manifest.notes if "enlarged" in note]
    sizes = sorted(enlargement(r) for r in recipes_in(large / "out") if r.crop)
    middle = (sizes[len(sizes) // 2 - 1] + sizes[len(sizes) // 2]) / 2
    (finding,) = [each for each in check_dataset(large / "out").findings if each.kind == "enlarged"]
    assert not finding.grave and finding.found.startswith(f"{middle:.1f} times")
    assert [float(number) for number in re.findall(r"\d+\.\d", note)] == [round(middle, 1), round(sizes[-1], 1)]


def test_a_limit_nobody_reaches_changes_nothing(large):
    composite(options(large), large / "plain")
    composite(options(large, max_enlarge=1000), large / "limited")
    assert contents(large / "plain")[0]["recipes.jsonl"] == contents(large / "limited")[0]["recipes.jsonl"]


def test_parts_and_a_resumed_set_are_the_same_bytes(large):
    composite(options(large, max_enlarge=1), large / "whole")
    for number in (2, 1):
        composite(options(large, max_enlarge=1), large / "parts", Part(number, 2))
    assert contents(large / "parts")[0] == contents(large / "whole")[0]


def test_new_backgrounds_in_training_keep_the_limit(large):
    write_plan(options(large, max_enlarge=1, numbg=6), large / "plan")
    plan = open_plan(large / "plan", "train", large / "cache")
    for index in range(len(plan.names)):
        for epoch in range(4):
            recipe = plan.with_new_background(plan.recipe(index), epoch)
            if recipe.crop:
                assert enlargement(recipe) <= 1 + 2 / min(recipe.crop[2:])
                assert plan.sample(recipe).image.shape[:2] == recipe.size[::-1]


def test_real_portraits_over_voc_become_as_sharp_as_it(realdata, tmp_path):
    people = realdata / "fg" / "p3m_demo"
    given = CompositeOptions(
        inimg=people / "original",
        inalp=people / "alpha",
        vocroot=(realdata / "voc_mini" / "VOC2012",),
        numbg=8,
        max_enlarge=1,
        originals=False,
    )
    manifest = composite(given, tmp_path / "out")
    recipes = recipes_in(tmp_path / "out")
    assert max(enlargement(r) for r in recipes) <= 1.01
    assert all(max(r.size) < 600 for r in recipes)
    assert any("--max-enlarge 1" in note for note in manifest.notes)
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert record["options"]["max_enlarge"] == 1
