"""`shm-data check` finds each fault that is planted in a good set, that one alone, and nothing in a good set."""

import json
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from small import matte, photo, write_people

from cli.data import data
from shm_data import images
from shm_data.building.build import composite
from shm_data.check import KINDS, check_dataset, check_pairs, to_json, to_lines
from shm_data.check.index import recipes_of
from shm_data.dataset.layout import Layout, read_names
from shm_data.dataset.recipes import to_line
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.pixels.trimap import TrimapRule, derive_trimap

SIZE = (96, 128)
RULE = TrimapRule("euclid", 5, 5)


@pytest.fixture
def large(sources):
    """Sources large enough for what only shows at some size."""
    write_people(sources, ("p0", "p1", "p2", "p3"), SIZE)
    return sources


def built(sources, root, **more):
    plain = {
        "inimg": sources / "photos",
        "inalp": sources / "alphas",
        "bgdir": (sources / "places",),
        "numbg": 3,
        "augment": (),
    }
    composite(CompositeOptions.checked(**plain | more), root)
    return Layout(root)


@pytest.fixture
def ours(large, tmp_path):
    """A good set of ours."""
    return built(large, tmp_path / "set")


@pytest.fixture
def theirs(ours):
    """The same set as others would have it: without recipes and record."""
    ours.recipes.unlink()
    ours.manifest.unlink()
    return ours


def found(layout, **options):
    return [(finding.kind, finding.what, finding.grave) for finding in check_dataset(layout.root, **options).findings]


def recipes(layout):
    return list(recipes_of(layout, None))


def composites(layout, split="train"):
    """The names of composites in a split; the first of their foreground are originals."""
    return [name for name in read_names(layout.root, split) if "_" in name]


def write(layout, name, image=None, alpha=None, trimap=None):
    """Puts other pixels into a sample; a new alpha gets its own trimap."""
    if alpha is not None and trimap is None:
        trimap = derive_trimap(alpha, RULE)
    for path, pixels in zip(layout.sample(name), (image, alpha, trimap), strict=True):
        if pixels is not None:
            images.write_png(path, pixels)


def turned_over(trimap):
    return np.where(trimap == 128, 128, 255 - trimap).astype(np.uint8)


def relist(layout, split, names):
    layout.names_of(split).write_text("".join(f"{name}\n" for name in names))


def test_nothing_is_found_in_a_good_set(ours):
    verdict = check_dataset(ours.root, deep=100)
    assert verdict.findings == () and not verdict.wrong
    assert verdict.counts == {"samples": 16, "train": 12, "val": 4, "foregrounds": 4}
    assert [each.kind for each in verdict.unchecked] == ["leak"]  # without --group
    assert to_lines(verdict)[-1] == "16 samples (12 train, 4 val, 4 foregrounds): nothing wrong"


@pytest.mark.parametrize(
    "more",
    [{"format": "jpg", "quality": 80}, {"format": "webp"}, {"trimap": "random"}, {"maxsize": 60}, {"numbg": 40}],
)
def test_nothing_is_found_in_a_good_set_of_another_kind(large, tmp_path, more):
    assert found(built(large, tmp_path / "set", **more), deep=5) == []


def test_nothing_is_found_in_a_good_set_of_others_and_what_it_lacks_is_reported(theirs):
    verdict = check_dataset(theirs.root, deep=3)
    assert verdict.findings == () and verdict.counts["foregrounds"] == 4
    assert [each.kind for each in verdict.unchecked] == ["leak", "leak", "rerender"]


def test_any_number_of_jobs_finds_the_same(theirs):
    for name in composites(theirs):
        theirs.sample(name)[2].unlink()
    assert check_dataset(theirs.root, jobs=1) == check_dataset(theirs.root, jobs=3)


def test_checking_writes_nothing_and_needs_no_right_to(ours):
    before = {path: path.stat() for path in (ours.root, *ours.root.rglob("*"))}
    for folder in (ours.root, *ours.folders):
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert found(ours, deep=2) == []
    finally:
        for folder in (ours.root, *ours.folders):
            folder.chmod(stat.S_IRWXU)
    after = {path: path.stat() for path in (ours.root, *ours.root.rglob("*"))}
    assert {path: now.st_mtime_ns for path, now in after.items()} == {
        p: then.st_mtime_ns for p, then in before.items()
    }


# Files and their sizes.


def lose_a_trimap(layout):
    path = layout.sample(composites(layout)[0])[2]
    path.unlink()
    return [("missing", f"trimap/{path.name}", True)]


def lose_all_trimaps(layout):
    shutil.rmtree(layout.trimap)
    return [("missing", "trimap/", True)]


def leave_a_file_behind(layout):
    images.write_png(layout.mask / "nobody.png", matte(0))
    return [("orphan", "mask/nobody.png", False)]


def cut_an_image_short(layout):
    path = layout.sample(composites(layout)[0])[0]
    path.write_bytes(path.read_bytes()[:-400])
    return [("unreadable", f"input/{path.name}", True)]


def empty_an_alpha(layout):
    path = layout.sample(composites(layout)[0])[1]
    path.unlink()
    path.touch()
    return [("unreadable", f"mask/{path.name}", True)]


def add_an_alpha_channel(layout):
    name = composites(layout)[0]
    image = images.read_image(layout.input / name)
    images.write_png(layout.input / name, np.dstack([image, np.full(SIZE, 255, np.uint8)]))
    return [("channels", f"input/{name}", False)]


def store_an_alpha_in_colour_channels(layout):
    path = layout.sample(composites(layout)[0])[1]
    images.write_png(path, np.repeat(images.read_alpha(path)[..., None], 3, axis=2))
    return [("channels", f"mask/{path.name}", False)]


def put_a_photo_in_the_place_of_a_trimap(layout):
    path = layout.sample(composites(layout)[0])[2]
    images.write_png(path, photo(7, SIZE))
    return [("channels", f"trimap/{path.name}", True)]


def shrink_a_trimap(layout):
    name = composites(layout)[0]
    write(layout, name, trimap=derive_trimap(matte(0), RULE))
    return [("size", name, True)]


def shrink_an_image(layout):
    name = composites(layout)[0]
    write(layout, name, image=photo(0))
    return [("size", name, True)]


# Lists and recipes.


def list_a_name_twice(layout):
    names = read_names(layout.root, "train")
    relist(layout, "train", [*names, names[3]])
    return [("list", names[3], True)]


def list_a_name_in_both(layout):
    name = read_names(layout.root, "train")[0]
    relist(layout, "val", [*read_names(layout.root, "val"), name])
    return [("list", name, True)]


def list_a_file_elsewhere(layout):
    relist(layout, "val", [*read_names(layout.root, "val"), "../secret.png"])
    return [("list", "val.txt", True)]


def mark_a_list(layout):
    layout.names_of("val").write_bytes(b"\xef\xbb\xbf" + layout.names_of("val").read_bytes())
    return []


def lose_a_list(layout):
    layout.names_of("val").unlink()
    return [("list", "val.txt", True)]


def lose_both_lists(layout):
    lose_a_list(layout)
    layout.names_of("train").unlink()
    return [("list", "train.txt", True), ("list", "val.txt", True)]


def change_a_recipe_under_the_record(layout):
    layout.recipes.write_text(layout.recipes.read_text().replace('"index": 1', '"index": 7', 1))
    return [("record", "dataset.json", True)]


def lose_a_recipe_and_the_record(layout):
    layout.manifest.unlink()
    *kept, last = recipes(layout)
    layout.recipes.write_text("".join(f"{to_line(recipe)}\n" for recipe in kept))
    return [("record", last.name, True)]


def break_a_recipe_without_record(layout):
    layout.manifest.unlink()
    layout.recipes.write_text(layout.recipes.read_text() + '{"name": "half')
    return [("record", "recipes.jsonl", True)]


def forget_a_name(layout):
    *kept, last = read_names(layout.root, "val")
    relist(layout, "val", kept)
    return [("record", last, True)]


def write_a_recipe_twice(layout):
    layout.manifest.unlink()
    first = recipes(layout)[0]
    layout.recipes.write_text(f"{to_line(first)}\n{layout.recipes.read_text()}")
    return [("record", first.name, True)]


def stop_before_the_end(layout):
    layout.manifest.write_text(layout.manifest.read_text().replace('"complete": true', '"complete": false'))
    for split in ("train", "val"):
        layout.names_of(split).unlink()
    layout.sample(composites_of_recipes(layout)[0])[0].unlink()
    return [("record", "dataset.json", True)]


def composites_of_recipes(layout):
    return [recipe.name for recipe in recipes(layout) if recipe.background]


# Foregrounds that recipes name.


def show_somebody_else(layout):
    some = [recipe for recipe in recipes(layout) if recipe.background]
    other = next(recipe for recipe in some if recipe.foreground != some[0].foreground)
    write(layout, some[0].name, image=images.read_image(layout.input / other.name))
    return [("foreground", some[0].name, True)]


def take_the_alpha_of_somebody_else(layout):
    some = [recipe for recipe in recipes(layout) if recipe.background]
    other = next(recipe for recipe in some if recipe.foreground != some[0].foreground)
    alpha = images.read_alpha(layout.mask / other.name)
    write(layout, some[0].name, alpha=alpha, trimap=derive_trimap(alpha, some[0].trimap))
    return [("foreground", some[0].name, True)]


# Trimaps against alphas.


def know_nothing(layout):
    name = composites(layout)[0]
    write(layout, name, trimap=np.full(SIZE, 128, np.uint8))
    return [("trimap", name, True)]


def turn_a_trimap_over(layout):
    name = composites(layout)[0]
    write(layout, name, trimap=turned_over(images.read_gray(layout.trimap / name)))
    return [("trimap", name, True)]


def take_a_photo_for_a_trimap(layout):
    name = composites(layout)[0]
    write(layout, name, trimap=photo(3, SIZE)[..., 0])
    return [("trimap", name, True)]


def say_127(layout):
    name = composites(layout)[0]
    trimap = images.read_gray(layout.trimap / name)
    write(layout, name, trimap=np.where(trimap == 128, 127, trimap).astype(np.uint8))
    return [("trimap", name, False)]


# What the splits share.


def move_an_original_with_its_recipe(layout):
    layout.manifest.unlink()
    first = next(recipe for recipe in recipes(layout) if recipe.split == "train")
    text = layout.recipes.read_text()
    layout.recipes.write_text(text.replace(to_line(first), to_line(replace(first, split="val"))))
    relist(layout, "train", [name for name in read_names(layout.root, "train") if name != first.name])
    relist(layout, "val", [*read_names(layout.root, "val"), first.name])
    return [("leak", first.name, True)]


def share_a_background(layout):
    layout.manifest.unlink()
    some = recipes(layout)
    train, val = (next(r for r in some if r.split == split and r.background) for split in ("train", "val"))
    text = layout.recipes.read_text()
    layout.recipes.write_text(text.replace(to_line(val), to_line(replace(val, background=train.background))))
    return [("leak", val.name, True)]


# Pixels that only the sources can tell.


def paint_over_a_background(layout):
    name = composites(layout)[0]
    image = images.read_image(layout.input / name).copy()
    image[:5] = 255 - image[:5]
    write(layout, name, image=image)
    return [("rerender", f"input/{name}", True)]


def encode_again(layout):
    name = composites(layout)[0]
    image = images.read_image(layout.input / name)
    (layout.input / name).write_bytes(cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])[1])
    return [("rerender", f"input/{name}", False)]


IN_OURS = (
    *(lose_a_trimap, lose_all_trimaps, leave_a_file_behind, cut_an_image_short, empty_an_alpha, add_an_alpha_channel),
    *(store_an_alpha_in_colour_channels, put_a_photo_in_the_place_of_a_trimap, shrink_a_trimap, shrink_an_image),
    *(list_a_name_twice, list_a_name_in_both, list_a_file_elsewhere, mark_a_list, lose_a_list, lose_both_lists),
    *(change_a_recipe_under_the_record, lose_a_recipe_and_the_record, break_a_recipe_without_record, forget_a_name),
    *(write_a_recipe_twice, stop_before_the_end, show_somebody_else, take_the_alpha_of_somebody_else),
    *(know_nothing, turn_a_trimap_over, take_a_photo_for_a_trimap, say_127),
    *(move_an_original_with_its_recipe, share_a_background),
)


@pytest.mark.parametrize("plant", IN_OURS, ids=lambda plant: plant.__name__)
def test_a_fault_in_a_set_of_ours_is_found_and_nothing_else(ours, plant):
    expected = plant(ours)
    assert found(ours) == expected


@pytest.mark.parametrize("plant", [paint_over_a_background, encode_again], ids=lambda plant: plant.__name__)
def test_what_only_the_sources_can_tell_is_found_deep_down(ours, plant):
    expected = plant(ours)
    assert found(ours) == []
    assert found(ours, deep=100) == expected


# Alphas, and what is alike, in a set without recipes.


def blank(layout, name):
    write(layout, name, alpha=np.zeros(SIZE, np.uint8), trimap=np.zeros(SIZE, np.uint8))


def all_foreground(layout, name):
    write(layout, name, alpha=np.full(SIZE, 255, np.uint8), trimap=np.full(SIZE, 255, np.uint8))


def swapped(layout, name):
    image, alpha = images.read_image(layout.input / name), images.read_alpha(layout.mask / name)
    images.write_png(layout.mask / name, image)
    write(layout, name, image=np.repeat(alpha[..., None], 3, axis=2))


def swapped_with_a_gray_photo(layout, name):
    image, alpha = images.read_image(layout.input / name), images.read_alpha(layout.mask / name)
    photo_in_gray = np.clip(image[..., 0], 20, 230)
    write(layout, name, np.repeat(alpha[..., None], 3, axis=2), photo_in_gray, np.full(SIZE, 128, np.uint8))


def inverted(layout, name):
    write(layout, name, alpha=255 - images.read_alpha(layout.mask / name))


def binary(layout, name):
    alpha = np.where(images.read_alpha(layout.mask / name) >= 128, 255, 0).astype(np.uint8)
    write(layout, name, alpha=alpha)


def noise(layout, name):
    alpha = images.read_alpha(layout.mask / name)
    flat = (alpha == 0) | (alpha == 255)
    grain = np.random.default_rng(0).integers(0, 4, SIZE)
    noisy = np.where(flat, np.abs(alpha.astype(int) - grain), alpha).astype(np.uint8)
    write(layout, name, alpha=noisy, trimap=derive_trimap(alpha, RULE))


def holes(layout, name):
    alpha = images.read_alpha(layout.mask / name).copy()
    alpha[48, 64] = 0
    write(layout, name, alpha=alpha)


def narrow_trimap(layout, name):
    alpha = images.read_alpha(layout.mask / name)
    write(layout, name, trimap=np.where(alpha > 250, 255, np.where(alpha < 100, 0, 128)).astype(np.uint8))


def trimap_without_foreground(layout, name):
    trimap = images.read_gray(layout.trimap / name)
    write(layout, name, trimap=np.where(trimap == 255, 128, trimap).astype(np.uint8))


def alpha_in_both_splits(layout, name):
    relist(layout, "train", [other for other in read_names(layout.root, "train") if other != name])
    relist(layout, "val", [*read_names(layout.root, "val"), name])


def near_duplicate(layout, name):
    image, alpha = images.read_image(layout.input / name), images.read_alpha(layout.mask / name)
    smaller = (
        np.ascontiguousarray(cv2.resize(p[:, ::-1], (100, 75), interpolation=cv2.INTER_AREA)) for p in (image, alpha)
    )
    write(layout, "twin.png", *smaller)
    relist(layout, "val", [*read_names(layout.root, "val"), "twin.png"])


IN_THEIRS = {
    blank: ("blank", True),
    all_foreground: ("blank", True),
    swapped: ("swapped", True),
    swapped_with_a_gray_photo: ("swapped", True),
    inverted: ("inverted", True),
    binary: ("binary", False),
    noise: ("noise", False),
    holes: ("holes", False),
    narrow_trimap: ("trimap", False),
    trimap_without_foreground: ("trimap", False),
    alpha_in_both_splits: ("leak", True),
}


@pytest.mark.parametrize("plant", IN_THEIRS, ids=lambda plant: plant.__name__)
def test_a_fault_in_a_set_of_others_is_found_and_nothing_else(theirs, plant):
    name = composites(theirs)[0]
    plant(theirs, name)
    assert found(theirs) == [(IN_THEIRS[plant][0], name, IN_THEIRS[plant][1])]


def test_a_copy_that_is_smaller_and_mirrored_is_found_in_the_other_split(theirs):
    near_duplicate(theirs, composites(theirs)[0])
    assert found(theirs) == [("near_duplicate", "twin.png", True)]
    assert check_dataset(theirs.root).findings[0].other == f"{composites(theirs)[0].partition('_')[0]}.png"


def test_the_fault_of_an_alpha_is_reported_once_for_all_its_samples(ours):
    for recipe in recipes(ours):
        if recipe.foreground == "p2":
            alpha = matte(2, SIZE)
            alpha[48, 64] = 0
            write(ours, recipe.name, alpha=alpha, trimap=derive_trimap(alpha, recipe.trimap))
    assert found(ours) == [("holes", "p2.png", False)]


def test_photos_of_one_group_in_both_splits_are_found(large, tmp_path):
    layout = built(large, tmp_path / "set", trainsplit=0.5)
    splits = {recipe.foreground: recipe.split for recipe in recipes(layout)}
    train, val = (next(name for name, side in splits.items() if side == split) for split in ("train", "val"))
    record = layout.manifest.read_text()
    layout.manifest.write_text(record.replace('"group": null', f'"group": "^p(?=[{train[1]}{val[1]}])"'))
    findings = check_dataset(layout.root).findings
    assert [(finding.kind, finding.grave) for finding in findings] == [("leak", True)]
    assert findings[0].found.startswith("the group p of ")


# Samples made again.


def test_a_change_within_rounding_is_a_warning_where_versions_changed_and_else_wrong(ours):
    name = composites(ours)[0]
    image = images.read_image(ours.input / name).copy()
    image[0] ^= 1
    write(ours, name, image=image)
    assert found(ours, deep=100) == [("rerender", f"input/{name}", True)]
    record = json.loads(ours.manifest.read_text())
    record["versions"]["numpy"] = "1.0"
    ours.manifest.write_text(json.dumps(record))
    findings = check_dataset(ours.root, deep=100).findings
    assert {finding.grave for finding in findings} == {False}
    assert [finding.what for finding in findings] == [f"input/{name}"]
    assert "numpy 1.0, now " in findings[0].found


def test_a_source_that_is_gone_is_no_fault_of_the_set_and_is_reported(large, ours):
    (large / "alphas" / "p1.png").unlink()
    verdict = check_dataset(ours.root, deep=100)
    assert verdict.findings == ()
    assert verdict.unchecked[-1].kind == "rerender"
    assert "4 of 16 samples" in verdict.unchecked[-1].phrase and "p1.png" in verdict.unchecked[-1].phrase


def test_a_source_that_is_not_what_was_recorded_is_named_once(large, ours):
    path = large / "alphas" / "p1.png"
    images.write_png(path, images.read_gray(path) // 2)
    assert found(ours, deep=100) == [("source", "inalp/p1.png", True)]


# Folders before a set is made of them.


def pairs(sources, **more):
    verdict = check_pairs(sources / "photos", sources / "alphas", **more)
    return [(finding.kind, finding.what, finding.grave) for finding in verdict.findings]


def test_nothing_is_found_in_good_folders(large):
    (large / "trimaps").mkdir()
    for number in range(4):
        images.write_png(large / "trimaps" / f"p{number}.png", derive_trimap(matte(number, SIZE), RULE))
    verdict = check_pairs(large / "photos", large / "alphas", large / "trimaps")
    assert verdict.findings == () and verdict.counts == {"foregrounds": 4}


def test_a_file_without_partner_is_reported(large):
    (large / "alphas" / "p2.png").unlink()
    assert pairs(large) == [("unpaired", "inimg/p2.png", False)]


def test_a_pair_of_another_shape_is_wrong_and_one_of_another_scale_can_be_resolved(large):
    images.write_png(large / "alphas" / "p1.png", matte(1, (96, 96)))
    images.write_png(large / "alphas" / "p2.png", matte(2, (48, 64)))
    assert pairs(large) == [("size", "inalp/p1.png", True), ("size", "inalp/p2.png", False)]


def test_folders_that_are_swapped_are_reported_for_each_pair(large):
    verdict = check_pairs(large / "alphas", large / "photos")
    assert [(f.kind, f.what) for f in verdict.findings] == [
        ("swapped", f"inalp/p{number}.png") for number in range(4)
    ]


def test_a_broken_file_of_a_pair_is_reported_and_the_others_are_checked(large):
    (large / "photos" / "p0.png").write_bytes(b"no picture")
    images.write_png(large / "alphas" / "p3.png", 255 - matte(3, SIZE))
    assert pairs(large) == [("unreadable", "inimg/p0.png", True), ("inverted", "inalp/p3.png", True)]


def test_an_alpha_from_a_jpeg_is_reported(large):
    (large / "alphas" / "p0.png").unlink()
    images.write_jpeg(large / "alphas" / "p0.jpg", np.repeat(matte(0, SIZE)[..., None], 3, axis=2))
    assert pairs(large) == [("noise", "inalp/p0.jpg", False)]


def test_cut_outs_with_premultiplied_colours_are_found_and_straight_ones_are_not(large):
    alpha = matte(0, SIZE)[..., None]
    for name, colours in (("straight", photo(0, SIZE)), ("darkened", photo(0, SIZE) * (alpha / 255))):
        images.write_png(large / "photos" / f"{name}.png", np.dstack([colours, alpha]).astype(np.uint8))
    for number in range(4):
        (large / "photos" / f"p{number}.png").unlink()
    verdict = check_pairs(large / "photos")
    assert [(f.kind, f.what, f.grave) for f in verdict.findings] == [("premultiplied", "inimg/darkened.png", True)]


def test_a_trimap_of_ones_own_is_checked_against_its_alpha(large):
    (large / "trimaps").mkdir()
    for number in range(3):
        images.write_png(large / "trimaps" / f"p{number}.png", derive_trimap(matte(number, SIZE), RULE))
    images.write_png(large / "trimaps" / "p3.png", turned_over(derive_trimap(matte(3, SIZE), RULE)))
    assert pairs(large, intri=large / "trimaps") == [("trimap", "intri/p3.png", True)]


# The command.


def run(*arguments):
    return CliRunner().invoke(data, ["check", *map(str, arguments)])


def test_the_command_says_that_nothing_is_wrong_and_ends_well(ours):
    result = run(ours.root, "--deep", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "16 samples (12 train, 4 val, 4 foregrounds): nothing wrong"


def test_the_command_tells_the_first_faults_of_each_kind_and_ends_with_1(theirs):
    for name in composites(theirs):
        theirs.sample(name)[2].unlink()
    images.write_png(theirs.mask / "nobody.png", matte(0))
    result = run(theirs.root)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "error: a sample lacks a file (missing, 9)"
    assert lines[6:9] == [
        "  and 4 more, see --json",
        "warning: a file belongs to no sample (orphan, 1)",
        "  mask/nobody.png: found a file of no sample, expected its name in a list",
    ]
    assert lines[-1] == "16 samples (12 train, 4 val, 4 foregrounds): 9 errors, 1 warning"


def test_machines_get_one_json_object_and_nothing_else(theirs):
    name = composites(theirs)[0]
    theirs.sample(name)[2].unlink()
    result = run(theirs.root, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert list(told) == ["root", "counts", "checked", "unchecked", "findings"]
    assert told["root"] == str(theirs.root)
    assert told["findings"] == [
        {
            "kind": "missing",
            "what": f"trimap/{name}",
            "found": "no file",
            "expected": "a file for each sample",
            "grave": True,
            "other": "",
        }
    ]


def test_warnings_alone_end_well(theirs):
    images.write_png(theirs.mask / "nobody.png", matte(0))
    result = run(theirs.root)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].endswith("nothing wrong, 1 warning")


def test_the_command_checks_folders(large):
    result = run("--inimg", large / "photos", "--inalp", large / "alphas", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["counts"] == {"foregrounds": 4}


def test_a_name_that_is_no_utf8_is_reported_and_printed(theirs):
    raw = theirs.names_of("val").read_bytes()
    theirs.names_of("val").write_bytes(raw + b"caf\xe9.png\n")
    assert [(kind, grave) for kind, _, grave in found(theirs)] == [("missing", True)] * 3
    assert json.loads(to_json(check_dataset(theirs.root), ""))["counts"]["samples"] == 17
    assert any("caf\\udce9.png" in line for line in to_lines(check_dataset(theirs.root)))


def test_names_that_no_file_can_have_are_reported(theirs):
    relist(theirs, "val", [*read_names(theirs.root, "val"), "n" * 300 + ".png", "nul\0.png"])
    assert {kind for kind, *_ in found(theirs)} == {"unreadable", "list"}


def test_the_program_ends_with_1_and_its_progress_is_no_part_of_what_it_says(theirs):
    theirs.sample(composites(theirs)[0])[2].unlink()
    command = [sys.executable, "-c", "from cli.data import main; main()", "check", str(theirs.root), "--json"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert len(json.loads(result.stdout)["findings"]) == 1
    assert result.stderr.startswith("checking: 16 in ")


def test_help_loads_nothing_heavy():
    script = "import sys; from cli.data import data; data(['check', '--help'], standalone_mode=False)"
    script += "; print([name for name in ('numpy', 'cv2', 'PIL', 'pydantic') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments", [[], ["set", "--inimg", "photos"], ["--inimg", "photos", "--deep", "3"], ["--inalp", "a"]]
)
def test_what_to_check_must_be_given_once(arguments):
    with pytest.raises(ShmDataError, match=r"expected a data set"):
        CliRunner().invoke(data, ["check", *arguments], catch_exceptions=False)


def test_a_folder_that_is_missing_or_no_data_set_is_one_sentence(tmp_path):
    with pytest.raises(ShmDataError, match="nowhere: found no folder, expected a data set"):
        check_dataset(tmp_path / "nowhere")
    with pytest.raises(ShmDataError, match="is no data set: expected input/, mask/ and trimap/"):
        check_dataset(tmp_path)
    with pytest.raises(ShmDataError, match="nowhere"):
        check_pairs(tmp_path / "nowhere", tmp_path)


def test_backgrounds_that_are_enlarged_are_a_warning(sources, tmp_path):
    for path in (sources / "photos", sources / "alphas"):
        for picture in path.iterdir():
            pixels = images.read_channels(picture)
            images.write_png(picture, np.kron(pixels, np.ones((6, 6, 1), np.uint8)).squeeze())
    assert ("enlarged", "recipes.jsonl", False) in found(built(sources, tmp_path / "set"))


def test_every_kind_of_finding_is_awaited_by_a_test():
    here = Path(__file__)
    others = (here.with_name(f"{name}.py") for name in ("test_matte_faults", "test_mattes_from_masks"))
    text = "".join(path.read_text(encoding="utf-8") for path in (here, *others))
    assert set(re.findall(r'\("(\w+)", ', text)) >= set(KINDS)
