"""Splits are disjoint, proportionate, and stay as they are when more is added."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import matte, photo

from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_dataset
from shm_data.check.index import recipes_of
from shm_data.dataset.layout import Layout
from shm_data.dataset.store import Dataset
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.planning.plan import current_plan
from shm_data.planning.splits import assign_number, assign_splits, group_of, position

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


@given(KEYS, st.data(), st.integers(0, 5))
def test_a_number_is_met_exactly_and_moves_nobody_when_it_grows(keys, data, seed):
    number = data.draw(st.integers(0, len(keys)))
    chosen = assign_number("x", keys, number, seed)
    assert chosen.keys() == keys and list(chosen.values()).count("val") == number
    if number:
        fewer = assign_number("x", keys, number - 1, seed)
        assert {key for key in keys if fewer[key] == "val"} < {key for key in keys if chosen[key] == "val"}


@given(KEYS, st.sets(st.text(min_size=7, max_size=9), min_size=1), st.integers(0, 5))
def test_known_sides_count_for_a_number(keys, more, seed):
    before = assign_number("x", keys, len(keys) // 2, seed)
    after = assign_number("x", keys | more, len(keys) // 2 + 1, seed, known=before)
    assert {key: after[key] for key in keys} == before
    assert list(after.values()).count("val") == len(keys) // 2 + 1


def test_a_number_that_cannot_be_met_is_refused():
    with pytest.raises(ShmDataError, match="--numval: found 3, expected 1 to 2"):
        assign_number("x", ["a", "b", "c"], 3, 0, known={"a": "train", "b": "val"})


@pytest.fixture
def options(sources):
    return CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", bgdir=(sources / "places",), numbg=1)


def test_a_group_that_fits_no_name_is_refused(options, tmp_path):
    with pytest.raises(ShmDataError) as error:
        current_plan(Dataset(tmp_path / "set"), options.model_copy(update={"group": "^q"}))
    assert error.value.what == "--group" and "^q" in error.value.found and "4 names" in error.value.found


def sides(options, root):
    """The foregrounds of each split of the set that these options make."""
    composite(options, root)
    found = {"train": set(), "val": set()}
    for recipe in recipes_of(Layout(root), None):
        found[recipe.split].add(recipe.foreground)
    return found


@pytest.mark.parametrize("number", range(5))
def test_as_many_foregrounds_go_to_val_as_wanted(options, tmp_path, number):
    found = sides(options.model_copy(update={"numval": number}), tmp_path / "set")
    assert len(found["val"]) == number and len(found["train"]) == 4 - number


@pytest.mark.parametrize(
    ("text", "group", "val"),
    [
        ("p2\n", None, {"p2"}),
        ("\ufeffp2\r\n\r\n p0 \r\n", None, {"p0", "p2"}),
        ("p3.png\np3\n", None, {"p3"}),
        ("p\n", "^(p)[01]", {"p0", "p1"}),
        ("p1\n", "^(p)[01]", {"p0", "p1"}),
    ],
)
def test_the_listed_go_to_val_and_nobody_else(options, sources, tmp_path, text, group, val):
    listed = tmp_path / "names.txt"
    listed.write_bytes(text.encode())
    chosen = CompositeOptions.checked(**options.model_dump() | {"val": listed, "group": group})
    assert sides(chosen, tmp_path / "set")["val"] == val
    assert not check_dataset(tmp_path / "set").wrong


def test_names_in_the_list_that_fit_nothing_are_named(options, tmp_path):
    with pytest.raises(ShmDataError) as error:
        current_plan(Dataset(tmp_path / "set"), options.model_copy(update={"val": ("p1", "p7", "ben")}))
    assert error.value.what == "--val" and "2 names" in error.value.found and "ben, p7" in error.value.found


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\xe4"])
def test_a_list_that_is_none_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ShmDataError, match=r"--val: found .*names\.txt.*, expected a text file"):
        CompositeOptions.checked(val=str(tmp_path / "names.txt"))


def test_a_list_may_grow_by_new_names_and_nothing_else(options, sources, tmp_path):
    root, first = tmp_path / "set", options.model_copy(update={"val": ("p1",)})
    composite(first, root)
    for change in (("p2",), None, ("p1", "p2")):
        with pytest.raises(ShmDataError):
            composite(first.model_copy(update={"val": change}), root)
    for folder, pixels in (("photos", photo(9)), ("alphas", matte(9))):
        images.write_png(sources / folder / "p9.png", pixels)
    assert sides(first.model_copy(update={"val": ("p1", "p9")}), root)["val"] == {"p1", "p9"}


def test_a_published_split_beats_no_list(sources, tmp_path):
    published = tmp_path / "published"
    for split, names in (("train", ("p0", "p1")), ("val", ("p2", "p3"))):
        for folder, kind in (("fg", "photos"), ("alpha", "alphas")):
            (published / split / folder).mkdir(parents=True)
            for name in names:
                shutil.copy(sources / kind / f"{name}.png", published / split / folder)
    options = CompositeOptions(inimg=published, layout="ppm100", bgdir=(sources / "places",), numbg=1)
    assert sides(options.model_copy(update={"val": ("p2",)}), tmp_path / "set")["val"] == {"p2", "p3"}
    assert sides(options.model_copy(update={"numval": 0}), tmp_path / "other")["val"] == {"p2", "p3"}
    with pytest.raises(ShmDataError, match="--val: found p1, which is in train"):
        current_plan(Dataset(tmp_path / "third"), options.model_copy(update={"val": ("p1",)}))


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
