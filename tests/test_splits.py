"""Splits are disjoint, proportionate, and stay as they are when more is added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import photo

from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_dataset
from shm_data.dataset.store import Dataset
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.planning.plan import current_plan
from shm_data.planning.splits import assign_splits, group_of, position

KEYS = st.sets(st.text(max_size=6), min_size=1, max_size=40)


@given(KEYS, KEYS, st.floats(0, 1), st.integers(0, 5))
def test_what_is_added_moves_nobody_but_the_one_that_filled_an_empty_side(keys, more, ratio, seed):
    before, after = assign_splits("x", keys, ratio, seed), assign_splits("x", keys | more, ratio, seed)
    moved = {key for key in keys if before[key] != after[key]}
    natural = {"train" if position("x", key, seed) < ratio else "val" for key in keys}
    assert not moved or (len(natural) == 1 and len(moved) == 1)


@given(KEYS, KEYS, st.integers(0, 5))
def test_known_sides_are_kept_whatever_is_added(keys, more, seed):
    before = assign_splits("x", keys, 0.8, seed)
    after = assign_splits("x", keys | more, 0.8, seed, known=before)
    assert {key: after[key] for key in keys} == before


@given(st.sets(st.text(max_size=6), min_size=2, max_size=20), st.floats(0.01, 0.99), st.integers(0, 20))
def test_neither_side_is_empty(keys, ratio, seed):
    assert set(assign_splits("x", keys, ratio, seed).values()) == {"train", "val"}


@given(st.text(), st.floats(0.01, 0.99), st.integers(0, 20))
def test_a_lone_key_is_trained_on(key, ratio, seed):
    assert assign_splits("x", [key], ratio, seed) == {key: "train"}


@pytest.fixture
def options(sources):
    return CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", bgdir=(sources / "places",), numbg=1)


def test_a_group_that_fits_no_name_is_refused(options, tmp_path):
    with pytest.raises(ShmDataError) as error:
        current_plan(Dataset(tmp_path / "set"), options.model_copy(update={"group": "^q"}))
    assert error.value.what == "--group" and "^q" in error.value.found and "4 names" in error.value.found


@pytest.mark.parametrize(("group", "caveats"), [(None, 1), ("^p[01]", 1), ("^p", 0)])
def test_a_group_that_fits_some_names_leaves_the_caveat(options, tmp_path, group, caveats):
    manifest = composite(options.model_copy(update={"group": group}), tmp_path / "set")
    unchecked = [each.phrase for each in check_dataset(tmp_path / "set").unchecked if each.kind == "leak"]
    assert len(unchecked) == caveats
    assert group is None or any("fits" in note for note in manifest.notes)
    assert caveats == 0 or group is None or "2 of 4" in unchecked[0]


def test_too_few_backgrounds_say_how_many_were_skipped_and_why(sources, tmp_path):
    for path in sorted((sources / "places").iterdir())[1:]:
        images.write_png(path, photo(1))
    options = CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", bgdir=(sources / "places",))
    with pytest.raises(ShmDataError) as error:
        current_plan(Dataset(tmp_path / "set"), options)
    assert (
        error.value.found.startswith("1, 8 skipped: 8 (shorter edge below") and error.value.expected == "at least 2"
    )


@pytest.mark.parametrize(("ratio", "side"), [(0, "val"), (1, "train")])
def test_all_or_nothing_is_respected(ratio, side):
    assert set(assign_splits("x", map(str, range(50)), ratio, 0).values()) == {side}


def test_the_share_is_about_as_asked():
    sides = list(assign_splits("x", map(str, range(5000)), 0.8, 0).values())
    assert 0.78 < sides.count("train") / 5000 < 0.82


def test_seeds_and_kinds_split_differently():
    keys = [str(number) for number in range(50)]
    assert assign_splits("x", keys, 0.5, 0) != assign_splits("x", keys, 0.5, 1)
    assert assign_splits("x", keys, 0.5, 0) != assign_splits("y", keys, 0.5, 0)


@pytest.mark.parametrize(
    ("name", "pattern", "group"),
    [
        ("anna_03", None, "anna_03"),
        ("anna_03", r"^[a-z]+", "anna"),
        ("anna_03", r"^([a-z]+)_\d+$", "anna"),
        ("p12-7", r"(?:p(\d+)|q(\d+))", "12"),
        ("q9-7", r"(?:p(\d+)|q(\d+))", "9"),
        ("other", r"^\d+", "other"),
        ("123", r"^[a-z]*", "123"),
    ],
)
def test_groups(name, pattern, group):
    assert group_of(name, pattern) == group
