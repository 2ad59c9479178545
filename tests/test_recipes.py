"""The plan: disjoint, reproducible, and disturbed by nothing that is added."""

from pathlib import Path

import pytest
from faults import fault_of
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_data.dataset.recipes import from_line, read_recipes, to_line, write_recipes
from shm_data.options import CompositeOptions
from shm_data.planning.draw import draw_recipes
from shm_data.sources import Background, Files, Foreground


def foreground(name, size=(60, 80), **files):
    return Foreground(
        Files(name, f"inimg/{name}.jpg", **{"alpha": f"inalp/{name}.png", "trimap": None} | files), size, 0
    )


def background(name, size=(50, 40)):
    return Background(f"bgdir/{name}.jpg", Path(f"/{name}.jpg"), size)


def planned(foregrounds, backgrounds, unusable=frozenset(), known=None, **options):
    return list(
        draw_recipes(foregrounds, backgrounds, CompositeOptions(**options), unusable=unusable, known_splits=known)
    )


PEOPLE = [foreground(f"p{number:02}", (60 + number, 80)) for number in range(30)]
PLACES = [background(f"b{number:03}", (40 + number, 90 - number)) for number in range(50)]


def test_no_foreground_and_no_background_is_on_both_sides():
    recipes = planned(PEOPLE, PLACES, numbg=8)
    sides = {"train": [], "val": []}
    for recipe in recipes:
        sides[recipe.split].append(recipe)
    assert all(sides.values())
    for field in ("foreground", "background"):
        train, val = ({getattr(recipe, field) for recipe in sides[side]} - {None} for side in ("train", "val"))
        assert train and val and not train & val


def test_photos_of_one_group_go_together():
    people = [foreground(f"{name}_{number}") for name in "abcdefgh" for number in range(4)]
    recipes = planned(people, PLACES, numbg=1, group=r"^[a-h]")
    sides = {(recipe.foreground[0], recipe.split) for recipe in recipes}
    assert len(sides) == 8


def test_the_same_plan_comes_out_again_and_another_seed_gives_another():
    assert planned(PEOPLE, PLACES) == planned(PEOPLE, PLACES)
    assert planned(PEOPLE, PLACES) != planned(PEOPLE, PLACES, seed=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 29), st.integers(0, 3))
def test_foregrounds_that_come_later_disturb_no_recipe(count, seed):
    before = planned(PEOPLE[:count], PLACES, numbg=3, seed=seed)
    known = {recipe.foreground: recipe.split for recipe in before}
    after = planned(PEOPLE, PLACES, numbg=3, seed=seed, known=known)
    assert [recipe for recipe in after if recipe.foreground in known] == before


def test_more_backgrounds_a_foreground_extend_the_plan():
    few, many = planned(PEOPLE, PLACES, numbg=3), planned(PEOPLE, PLACES, numbg=6)
    assert [recipe for recipe in many if recipe.index <= 3] == few


def test_backgrounds_of_a_foreground_differ_until_all_were_drawn():
    recipes = [recipe for recipe in planned(PEOPLE[:1], PLACES[:7], numbg=20, trainsplit=1) if recipe.background]
    for start in (0, 7):
        assert len({recipe.background for recipe in recipes[start : start + 7]}) == 7
    assert len({recipe.name for recipe in recipes}) == 20
    again = [recipe for recipe in recipes if recipe.background == recipes[0].background]
    assert len({recipe.crop for recipe in again}) == len(again)


def test_even_a_background_of_the_same_shape_is_never_cropped_alike():
    count = 40
    drawn = planned([foreground("a", (60, 80))], [background("b", (600, 800))], numbg=count, originals=False)
    assert len({recipe.crop for recipe in drawn}) == count
    assert drawn[0].crop == (0, 0, 600, 800)


def test_foregrounds_draw_for_themselves_and_the_order_of_backgrounds_is_nothing():
    drawn = [[r.background for r in planned([PEOPLE[n]], PLACES, trainsplit=1) if r.background] for n in (0, 1)]
    assert drawn[0] != drawn[1]
    assert planned(PEOPLE, PLACES[::-1]) == planned(PEOPLE, PLACES)


def test_only_draws_that_hit_a_broken_background_change():
    before = planned(PEOPLE, PLACES, numbg=4)
    broken = next(recipe.background for recipe in before if recipe.background)
    after = planned(PEOPLE, PLACES, numbg=4, unusable={broken})
    assert broken not in {recipe.background for recipe in after}
    changed = {old.foreground for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {recipe.foreground for recipe in before if recipe.background == broken}


def test_crops_lie_inside_their_background_and_reach_both_ends():
    sizes = {place.key: place.size for place in PLACES}
    slack_used = []
    for recipe in planned(PEOPLE, PLACES, numbg=20):
        if recipe.crop:
            x, y, width, height = recipe.crop
            right, bottom = sizes[recipe.background]
            assert 0 <= x <= right - width and 0 <= y <= bottom - height
            slack_used += [x / (right - width)] if right > width else []
    assert min(slack_used) == 0 and max(slack_used) == 1


def test_names_never_collide():
    people = [foreground("a"), foreground("a_b"), foreground("A_B_c")]
    places = [background("b_c"), background("c"), background("sub/c"), background("B_C")]
    names = [recipe.name for recipe in planned(people, places, numbg=4, trainsplit=1)]
    assert len({name.casefold() for name in names}) == len(names) == 15


@pytest.mark.parametrize("method", ["euclid", "ellipse"])
def test_the_trimap_rule_is_the_users(method):
    rules = {recipe.trimap for recipe in planned(PEOPLE, PLACES, numbg=2, trimap=method, trimap_size=13)}
    assert {(rule.method, rule.erode, rule.dilate) for rule in rules} == {(method, 13, 13)}


def test_random_trimaps_use_every_odd_width_up_to_the_size_on_each_side():
    rules = [recipe.trimap for recipe in planned(PEOPLE, PLACES, numbg=20, trimap="random", trimap_size=7)]
    assert {rule.erode for rule in rules} == {rule.dilate for rule in rules} == {1, 3, 5, 7}
    assert any(rule.erode != rule.dilate for rule in rules)


def test_a_users_trimap_needs_no_rule():
    recipes = planned([foreground("a", trimap="intri/a.png")], PLACES, numbg=1)
    assert all(recipe.trimap is None for recipe in recipes)


def test_originals_come_first_and_cutouts_have_none():
    recipes = planned([foreground("a"), foreground("b", alpha=None)], PLACES, numbg=1, trainsplit=1)
    assert [(recipe.foreground, recipe.index) for recipe in recipes] == [("a", 0), ("a", 1), ("b", 1)]
    assert recipes[0].background is None and recipes[0].crop is None and recipes[0].name == "a.png"
    assert all(recipe.index for recipe in planned(PEOPLE, PLACES, originals=False))


def test_what_is_imported_gets_no_composites():
    assert len(planned([foreground("a", imported=True)], [], numbg=5, originals=False)) == 1


def test_maxsize_caps_the_long_edge():
    recipes = planned([foreground("a", (400, 300))], PLACES, maxsize=100, numbg=1)
    assert {recipe.size for recipe in recipes} == {(100, 75)}


def test_one_background_serves_one_split_only():
    assert len(planned(PEOPLE[:1], PLACES[:1], numbg=2)) == 3
    fault = fault_of(planned, PEOPLE, PLACES[:1])
    assert (fault.found, fault.expected) == ("1", "at least 2")


def test_no_background_that_can_be_read_is_an_error():
    fault = fault_of(planned, PEOPLE[:1], PLACES[:2], unusable={place.key for place in PLACES[:2]}, trainsplit=1)
    assert fault.found == "2 broken or transparent files"


def test_recipes_come_back_from_disk(tmp_path):
    recipes = planned(PEOPLE, PLACES, numbg=2, trimap="random") + planned([foreground("ü", trimap="t")], PLACES)
    write_recipes(tmp_path / "recipes.jsonl", recipes)
    assert list(read_recipes(tmp_path / "recipes.jsonl")) == recipes
    assert from_line(to_line(recipes[0])) == recipes[0]


@pytest.mark.parametrize("line", ["", "{}", "[1]", "not json", '{"name": 1}'])
def test_a_broken_line_is_named(tmp_path, line):
    (tmp_path / "recipes.jsonl").write_text(f"{to_line(planned(PEOPLE, PLACES)[0])}\n{line}\n")
    fault = fault_of(list, read_recipes(tmp_path / "recipes.jsonl"))
    assert "line 2" in str(fault) and fault.found == repr(line)
