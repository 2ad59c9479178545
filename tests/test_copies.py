"""One photo under several names never comes into both splits: identity is by content, not by name."""

import json
import shutil

import cv2
import numpy as np
import pytest
from small import matte, photo, write_people

from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_dataset
from shm_data.check.index import recipes_of
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import read_manifest
from shm_data.options import CompositeOptions

SIZE = (120, 160)


def smaller(pixels):
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def as_jpeg(pixels):
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_UNCHANGED)


def mirrored(pixels):
    return np.ascontiguousarray(pixels[:, ::-1])


COPIES = {"itself": lambda pixels: pixels, "smaller": smaller, "encoded again": as_jpeg, "mirrored": mirrored}


@pytest.fixture
def people(sources):
    """Eight foregrounds of some detail."""
    write_people(sources, [f"p{number}" for number in range(8)], SIZE)
    return sources


def made(sources, root, **more):
    plain = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",), "numbg": 2}
    return composite(CompositeOptions.checked(**plain | more), root)


def splits_of(root):
    return {recipe.foreground: recipe.split for recipe in recipes_of(Layout(root), None)}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_a_foreground_are_in_one_split(people, tmp_path, kind):
    for number in range(8):
        image, alpha = (COPIES[kind](read) for read in (photo(number, SIZE), matte(number, SIZE)))
        images.write_png(people / "photos" / f"q{number}.png", image)
        images.write_png(people / "alphas" / f"q{number}.png", alpha)
    manifest = made(people, tmp_path / "set", trainsplit=0.5, numbg=0)
    splits = splits_of(tmp_path / "set")
    assert all(splits[f"p{number}"] == splits[f"q{number}"] for number in range(8))
    assert set(splits.values()) == {"train", "val"}
    assert any("q0" in note and "p0" in note for note in manifest.notes)
    assert not check_dataset(tmp_path / "set").wrong


def test_a_copy_that_joins_later_follows_the_recorded_one(people, tmp_path):
    made(people, tmp_path / "set", trainsplit=0.5)
    before = splits_of(tmp_path / "set")
    for number in range(8):
        for folder in ("photos", "alphas"):
            shutil.copy(people / folder / f"p{number}.png", people / folder / f"a{number}.png")
    made(people, tmp_path / "set", trainsplit=0.5)
    after = splits_of(tmp_path / "set")
    assert after == before | {f"a{number}": before[f"p{number}"] for number in range(8)}


def test_a_copy_that_a_published_set_has_in_the_other_split_is_skipped(tmp_path, sources):
    for folder, numbers in (("train", (1, 2, 3)), ("val", (4, 3))):
        for number in numbers:
            for kind, pixels in (("fg", photo(number, SIZE)), ("alpha", matte(number, SIZE))):
                (tmp_path / "ppm" / folder / kind).mkdir(parents=True, exist_ok=True)
                name = f"{number}{folder == 'val':d}_0123456789_o.png"
                images.write_png(tmp_path / "ppm" / folder / kind / name, pixels)
    manifest = made(sources, tmp_path / "set", inimg=tmp_path / "ppm", inalp=None, layout="ppm100")
    assert ("inimg/train/fg/30_0123456789_o.png",) in manifest.skipped.values()
    assert sorted(splits_of(tmp_path / "set")) == [
        "10_0123456789_o",
        "20_0123456789_o",
        "31_0123456789_o",
        "41_0123456789_o",
    ]


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_a_background_are_used_once_and_named(people, tmp_path, kind):
    for path in sorted((people / "places").iterdir()):
        pixels = photo(ord(path.stem[1]), (256, 320))
        images.write_png(path, pixels)
        images.write_png(path.with_stem(f"c{path.stem}"), COPIES[kind](pixels))
    manifest = made(people, tmp_path / "set", trainsplit=0.5, numbg=18)
    used = {recipe.background for recipe in recipes_of(Layout(tmp_path / "set"), None)} - {None}
    skipped = {name for names in manifest.skipped.values() for name in names}
    assert used == {f"bgdir/b{number}.png" for number in range(9)}
    assert skipped == {f"bgdir/cb{number}.png" for number in range(9)}


def test_a_background_is_no_photo_of_a_foreground(people, tmp_path):
    images.write_png(people / "photos" / "p0.png", photo(0, (240, 320)))
    images.write_png(people / "alphas" / "p0.png", matte(0, (240, 320)))
    shutil.copy(people / "photos" / "p0.png", people / "places" / "copy.png")
    manifest = made(people, tmp_path / "set", trainsplit=0.5, numbg=10)
    assert ("bgdir/copy.png",) in manifest.skipped.values()


def test_plain_backgrounds_are_no_copies_of_each_other(people, tmp_path):
    """Nothing but a colour, or a gradient, has no detail by which it could be known again."""
    for number, path in enumerate(sorted((people / "places").iterdir())):
        images.write_png(path, np.full((200, 200, 3), 20 * number, np.uint8))
    assert made(people, tmp_path / "set", trainsplit=0.5, numbg=9).skipped == {}


def test_foregrounds_that_join_later_change_no_recorded_background(people, tmp_path):
    """Of two copies the recorded one stays, though the other comes first by name."""
    shutil.copy(people / "places" / "b3.png", people / "places" / "x.png")
    more = {"trainsplit": 1.0, "numbg": 1, "seed": 2}
    for number in range(1, 8):
        for folder in ("photos", "alphas"):
            (people / folder / f"p{number}.png").rename(people / f"{folder}{number}.png")
    made(people, tmp_path / "set", **more)
    for number in range(1, 8):
        for folder in ("photos", "alphas"):
            (people / f"{folder}{number}.png").rename(people / folder / f"p{number}.png")
    before = Layout(tmp_path / "set").recipes.read_bytes()
    made(people, tmp_path / "set", **more | {"numbg": 1})
    assert Layout(tmp_path / "set").recipes.read_bytes().startswith(before)


@pytest.mark.parametrize("kind", ["foreground", "background"])
def test_check_finds_files_of_one_content_in_both_splits(people, tmp_path, kind):
    made(people, tmp_path / "set", trainsplit=0.5)
    layout = Layout(tmp_path / "set")
    recipes = [recipe for recipe in recipes_of(layout, None) if recipe.background]
    train, val = (next(recipe for recipe in recipes if recipe.split == split) for split in ("train", "val"))
    record = json.loads(layout.manifest.read_text())
    images_of = {each["files"]["name"]: each["files"]["image"] for each in record["foregrounds"]}
    keys = [images_of[each.foreground] if kind == "foreground" else each.background for each in (train, val)]
    record["sources"][keys[1]] = record["sources"][keys[0]]
    layout.manifest.write_text(json.dumps(record))
    assert read_manifest(layout)
    (leak,) = check_dataset(layout.root).findings
    assert leak.kind == "leak" and {leak.what, leak.other} <= {recipe.name for recipe in recipes_of(layout, None)}


def test_a_copy_of_a_listed_foreground_goes_to_val_with_it(people, tmp_path):
    for folder, pixels in (("photos", photo(3, SIZE)), ("alphas", matte(3, SIZE))):
        images.write_png(people / folder / "z.png", smaller(pixels))
    made(people, tmp_path / "set", val=("p3",))
    found = splits_of(tmp_path / "set")
    assert {name for name, split in found.items() if split == "val"} == {"p3", "z"}


@pytest.mark.parametrize("change", [lambda pixels: cv2.resize(pixels, (300, 200)), as_jpeg, mirrored])
def test_check_finds_near_copies_of_backgrounds_that_nobody_compared(people, tmp_path, change, monkeypatch):
    for number in range(9):
        pixels = images.read_image(people / "places" / f"b{number}.png")
        images.write_png(people / "places" / f"c{number}.png", change(pixels))
    with monkeypatch.context() as patch:
        patch.setattr("shm_data.planning.survey.near_duplicate_pairs", lambda hashes: [])
        made(people, tmp_path / "set", numbg=18)
    layout = Layout(tmp_path / "set")
    assert not check_dataset(layout.root).wrong  # the record says that they were compared
    record = json.loads(layout.manifest.read_text())
    assert record.pop("distinct")
    layout.manifest.write_text(json.dumps(record))
    splits = {recipe.background: recipe.split for recipe in recipes_of(layout, None) if recipe.background}
    pairs = [
        (f"bgdir/{one}{number}.png", f"bgdir/{other}{number}.png")
        for one, other in ("bc", "cb")
        for number in range(9)
    ]
    both = {val: train for train, val in pairs if (splits[train], splits[val]) == ("train", "val")}
    findings = [each for each in check_dataset(layout.root).findings if each.grave]
    assert both and {each.what: each.other for each in findings} == both
    assert {each.kind for each in findings} == {"near_duplicate"}
    (people / "places").rename(people / "gone")
    (unchecked,) = (each for each in check_dataset(layout.root).unchecked if each.kind == "near_duplicate")
    assert f"{len(splits)} of {len(splits)} backgrounds" in unchecked.phrase
