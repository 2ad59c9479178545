"""The main job: the same bytes however it is run, resumed wherever it stopped, never mixed, never overwritten."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from faults import fault_of
from PIL import Image
from small import contents, matte, photo

from shm_data import images
from shm_data.building.build import composite, make_samples
from shm_data.building.estimate import estimate_bytes
from shm_data.building.executors import Threads
from shm_data.building.render import prepare
from shm_data.building.trimaps import write_trimaps
from shm_data.dataset.layout import Layout, read_names
from shm_data.dataset.recipes import read_recipes
from shm_data.dataset.store import Dataset
from shm_data.errors import BusyError, ShmDataError, WriteError
from shm_data.files import locked
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels.compositing import blend, cover
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.planning.plan import current_plan
from shm_data.report.contact_sheet import sheet_of
from shm_data.sources import Pixels, path_of


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 3}
    return CompositeOptions(**plain | more)


def test_the_layout_is_exact(sources, tmp_path):
    manifest = composite(options(sources), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        "input mask trimap train.txt val.txt train.csv val.csv".split()
        + "recipes.jsonl dataset.json local.json README.md".split()
    )
    layout = Layout(tmp_path / "out")
    names = {split: read_names(layout.root, split) for split in ("train", "val")}
    recipes = list(read_recipes(layout.recipes))
    assert sorted(names["train"] + names["val"]) == sorted(recipe.name for recipe in recipes)
    assert len(recipes) == manifest.counts.samples == 4 * (1 + 3)
    for folder in layout.folders:
        assert {path.name for path in folder.iterdir()} == {recipe.name for recipe in recipes}
    for recipe in recipes:
        assert images.read_image(layout.input / recipe.name).shape == (48, 64, 3)
        assert set(np.unique(images.read_gray(layout.trimap / recipe.name))) <= {0, 128, 255}
        assert recipe.name in names[recipe.split]


def test_each_sample_is_what_its_recipe_says(sources, tmp_path):
    manifest = composite(options(sources, augment=()), tmp_path / "out")
    layout = Layout(tmp_path / "out")
    for recipe in read_recipes(layout.recipes):
        original = images.read_image(sources / "photos" / f"{recipe.foreground}.png")
        alpha = images.read_alpha(sources / "alphas" / f"{recipe.foreground}.png")
        assert np.array_equal(images.read_alpha(layout.mask / recipe.name), alpha)
        expected = original
        if recipe.background:
            background = images.read_image(path_of(recipe.background, manifest.roots))
            expected = blend(estimate_foreground(original, alpha), alpha, cover(background, recipe.crop, recipe.size))
        assert np.array_equal(images.read_image(layout.input / recipe.name), expected)


def test_the_photo_as_foreground_is_kept_where_asked(sources, tmp_path):
    manifest = composite(options(sources, foreground="photo"), tmp_path / "out")
    recipe = next(r for r in read_recipes(Layout(tmp_path / "out").recipes) if r.background)
    original = images.read_image(sources / "photos" / f"{recipe.foreground}.png")
    alpha = images.read_alpha(sources / "alphas" / f"{recipe.foreground}.png")
    background = images.read_image(path_of(recipe.background, manifest.roots))
    expected = blend(original, alpha, cover(background, recipe.crop, recipe.size))
    assert np.array_equal(images.read_image(tmp_path / "out" / "input" / recipe.name), expected)


@pytest.mark.parametrize("more", [{}, {"trimap": "random"}, {"maxsize": 40, "originals": False}])
def test_any_number_of_workers_makes_the_same_bytes(sources, tmp_path, more):
    composite(options(sources, **more), tmp_path / "one", Threads(1))
    composite(options(sources, **more), tmp_path / "many", Threads(3))
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


@pytest.mark.parametrize("link", ["auto", "hard", "copy"])
def test_linked_or_copied_the_bytes_are_the_same(sources, tmp_path, link):
    composite(options(sources, augment=()), tmp_path / "plain")
    composite(options(sources, augment=()), tmp_path / "out", link=link)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    links = {path.stat().st_nlink for name in ("mask", "trimap") for path in (tmp_path / "out" / name).iterdir()}
    assert links == ({1} if link == "copy" else {4})
    assert {path.stat().st_nlink for path in (tmp_path / "out" / "input").iterdir()} == {1}


def test_links_that_must_be_and_cannot_are_an_error(sources, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(WriteError):
        composite(options(sources), tmp_path / "out", link="hard")
    composite(options(sources), tmp_path / "out")
    monkeypatch.undo()
    composite(options(sources), tmp_path / "plain")
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_lossy_images_have_lossless_alphas(sources, tmp_path, extension):
    root = tmp_path / "out"
    composite(options(sources), tmp_path / "png")
    composite(options(sources, format=extension, quality=100), root)
    for name in read_names(root, "train"):
        image, alpha, trimap = Layout(root).sample(name)
        whole = Layout(tmp_path / "png").sample(f"{image.stem}.png")
        assert image.suffix == f".{extension}"
        assert [alpha.read_bytes(), trimap.read_bytes()] == [path.read_bytes() for path in whole[1:]]
        shown = [images.read_image(path).ravel() for path in (image, whole[0])]
        assert np.corrcoef(*shown)[0, 1] > 0.9
    before = contents(root)
    next((root / "input").iterdir()).unlink()
    composite(options(sources, format=extension, quality=100), root)
    assert contents(root) == before
    assert sheet_of(root).ndim == 3


def test_the_colours_of_jpeg_are_not_halved():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    decoded = np.asarray(Image.open(io.BytesIO(images.encode(stripes, ".jpg", 95))))
    assert np.abs(decoded.astype(int) - stripes).mean() < 4


def test_a_source_of_other_content_is_reported_and_not_mixed(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    path = sources / "photos" / "p1.png"
    whole, told = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-5] + b"12345")
    assert "inimg/p1.png" in str(fault_of(composite, options(sources), root))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    composite(options(sources), root)
    assert "inimg/p1.png" in str(fault_of(composite, options(sources), root, verify=True))
    path.write_bytes(whole)
    composite(options(sources), root, verify=True)
    assert contents(root) == before


def test_one_worker_more_than_foregrounds_shares_their_preparation(sources, tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr("shm_data.building.worker.prepare", lambda *a, **k: counted.append(1) or prepare(*a, **k))
    composite(options(sources, numbg=9), tmp_path / "out", Threads(8))
    assert len(counted) == 4


def test_a_seed_gives_other_recipes_and_the_same_seed_the_same(sources, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        composite(options(sources, seed=seed), tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a" / "recipes.jsonl").read_bytes() != (tmp_path / "c" / "recipes.jsonl").read_bytes()


def test_where_the_sources_lie_decides_nothing(sources, tmp_path):
    composite(options(sources), tmp_path / "a")
    moved = sources.rename(tmp_path / "elsewhere")
    composite(options(moved), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_lost_files_are_made_again_and_whole_ones_are_left(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    lost = sorted(path for folder in Layout(root).folders for path in folder.iterdir())[::5]
    for path in lost:
        path.unlink()
    (root / "train.txt").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (root / "input").iterdir()}
    names = {path.name for path in lost}
    composite(options(sources), root)
    assert contents(root) == before
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items() if path.name not in names)


def test_a_second_run_into_the_folder_at_once_is_refused(sources, tmp_path):
    composite(options(sources), tmp_path / "out")
    before = contents(tmp_path / "out")
    with locked(tmp_path / "out"), pytest.raises(BusyError):
        composite(options(sources), tmp_path / "out")
    composite(options(sources), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_run_that_planned_while_another_wrote_is_refused(sources, tmp_path):
    layout = Layout(tmp_path / "out")
    planned = current_plan(Dataset(layout.root), options(sources, seed=1))
    composite(options(sources), layout.root)
    before = contents(layout.root)
    with pytest.raises(BusyError):
        Dataset(layout.root).adopt(planned)
    assert contents(layout.root) == before


@pytest.mark.parametrize("name", ["photos/p1.png", "alphas/p1.png", "places/b3.png"])
def test_a_source_that_changes_while_samples_are_made_is_named_and_nothing_is_complete(sources, tmp_path, name):
    composite(options(sources), tmp_path / "whole")
    path, root = sources / name, tmp_path / "out"
    before, times = path.read_bytes(), path.stat()

    def change(items, total, label):
        del total
        if label == "compositing":
            images.write_png(path, matte(9) if "alphas" in name else photo(99, (152, 200)))
        return items

    fault = fault_of(composite, options(sources), root, progress=change)
    assert path.name in str(fault) and not (root / "train.txt").exists()
    path.write_bytes(before)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    composite(options(sources), root)
    assert contents(root) == contents(tmp_path / "whole")


def test_leftovers_of_a_killed_run_are_cleared(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    for folder in (root, *Layout(root).folders):
        (folder / ".0123456789abcdef.shm-tmp").write_bytes(b"half")
    composite(options(sources), root)
    assert contents(root) == before


@pytest.mark.parametrize(
    "other",
    [
        {"numbg": 4}, {"seed": 1}, {"maxsize": 40}, {"trimap": "ellipse"}, {"trimap_size": 5}, {"people": True},
        {"foreground": "photo"}, {"originals": False}, {"trainsplit": 0.5}, {"group": "p"}, {"resize_alpha": True},
        {"prefix": "x"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_no_other_option_is_mixed_in(sources, tmp_path, other):
    composite(options(sources), tmp_path / "out")
    before = contents(tmp_path / "out")
    fault = fault_of(composite, options(sources, **other), tmp_path / "out")
    assert all(f"--{name.replace('_', '-')}" in fault.found for name in other)
    assert contents(tmp_path / "out") == before


def test_other_options_are_refused_with_a_way_out(sources, tmp_path):
    composite(options(sources), tmp_path / "out")
    before = contents(tmp_path / "out")
    fault = fault_of(composite, options(sources, numbg=5), tmp_path / "out")
    assert fault.found == "--numbg 5" and "3" in fault.expected and "--savedir" in fault.expected
    assert contents(tmp_path / "out") == before


def test_a_foreground_that_comes_later_joins_and_moves_nothing(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    files, _ = contents(root)
    lists = {split: read_names(root, split) for split in ("train", "val")}
    images.write_png(sources / "photos" / "newcomer.png", photo(50))
    images.write_png(sources / "alphas" / "newcomer.png", matte(50))
    manifest = composite(options(sources), root)
    assert manifest.counts.samples == 20
    after, _ = contents(root)
    assert {name: after[name] for name in files if "/" in name} == {n: d for n, d in files.items() if "/" in n}
    for split, names in lists.items():
        assert set(names) <= set(read_names(root, split))


def _add(sources, name, number):
    for folder, pixels in (("photos", photo(number)), ("alphas", matte(number))):
        (sources / folder / name).parent.mkdir(exist_ok=True)
        images.write_png(sources / folder / name, pixels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("group", [None, "^[a-z]"])
def test_a_set_can_grow_from_one_person_on_and_nobody_moves(sources, tmp_path, seed, group):
    for name in ("photos", "alphas"):
        for path in (sources / name).iterdir():
            path.unlink()
    before: dict[str, bytes] = {}
    places: dict[str, str] = {}
    for number, name in enumerate(["m.png", "a.png", "m/1.png", "z.png", "m_1.png"]):
        _add(sources, name, number)
        composite(options(sources, seed=seed, group=group), tmp_path / "out")
        files, _ = contents(tmp_path / "out")
        assert before.items() <= files.items()
        now = {name: split for split in ("train", "val") for name in read_names(tmp_path / "out", split)}
        assert places.items() <= now.items()
        before, places = {key: data for key, data in files.items() if "/" in key}, now
    pictures = [data for key, data in before.items() if key.startswith("input/")]
    assert len(set(pictures)) == len(pictures) == 5 * 4


def test_what_a_killed_extension_left_harms_nothing(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    record = (root / "dataset.json").read_bytes()
    _add(sources, "later.png", 9)
    composite(options(sources), root)
    after = contents(root)
    (root / "dataset.json").write_bytes(record)  # as if killed between the recipes and the record
    composite(options(sources), root)
    assert contents(root) == after
    (root / "dataset.json").write_bytes(record)
    for folder in ("photos", "alphas"):
        (sources / folder / "later.png").unlink()
    composite(options(sources), root)
    files, now = contents(root)
    assert now == before[1] and before[0].items() - {("recipes.jsonl", before[0]["recipes.jsonl"])} <= files.items()


@pytest.mark.parametrize("damage", ["cut", "empty", "edited", "not utf-8"])
def test_recipes_that_the_record_does_not_vouch_for_are_refused(sources, tmp_path, damage):
    root = tmp_path / "out"
    composite(options(sources), root)
    lists = {split: read_names(root, split) for split in ("train", "val")}
    whole = (root / "recipes.jsonl").read_bytes()
    damaged = {
        "cut": b"".join(whole.splitlines(keepends=True)[:3]),
        "empty": b"",
        "edited": whole.replace(b'"p0.png"', b'"../../evil.png"'),
        "not utf-8": whole.replace(b"p0", b"\xff0"),
    }[damage]
    (root / "recipes.jsonl").write_bytes(damaged)
    assert fault_of(composite, options(sources), root).path == str(root / "recipes.jsonl")
    assert lists == {split: read_names(root, split) for split in ("train", "val")}
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b"[]", lambda record: record.replace(b'"format": 2', b'"format": 9')]
)
def test_a_broken_record_is_reported(sources, tmp_path, damage):
    root = tmp_path / "out"
    composite(options(sources), root)
    record = (root / "dataset.json").read_bytes()
    (root / "dataset.json").write_bytes(damage(record) if callable(damage) else damage)
    assert fault_of(composite, options(sources), root).path == str(root / "dataset.json")


def test_the_record_vouches_only_for_what_was_written(sources, tmp_path, monkeypatch):
    root = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(WriteError):
        patch.setattr("shm_data.dataset.store.write_recipes", _fail)
        composite(options(sources), root)
    assert not (root / "dataset.json").exists()
    with monkeypatch.context() as patch, pytest.raises(WriteError):
        patch.setattr("shm_data.dataset.store.write_lists", _fail)
        composite(options(sources), root)
    assert not json.loads((root / "dataset.json").read_text())["complete"]
    assert composite(options(sources), root).complete


def _fail(*_):
    raise WriteError("no space")


def test_a_disk_that_takes_no_more_stops_the_work_at_once(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("shm_data.building.worker.write_bytes", _fail)
    with pytest.raises(WriteError, match="no space"):
        composite(options(sources), tmp_path / "out")


@pytest.mark.parametrize(
    "change", ["lost photo", "lost alpha", "lost place", "more places", "other alphas", "other place"]
)
def test_sources_that_no_longer_fit_the_recipes_are_refused(sources, tmp_path, change):
    composite(options(sources, trainsplit=1, numbg=9), tmp_path / "out")
    before = contents(tmp_path / "out")
    given = options(sources, trainsplit=1, numbg=9)
    if change == "more places":
        images.write_png(sources / "places" / "b99.png", photo(99, (128, 200)))
    elif change == "other alphas":
        (sources / "alphas").rename(sources / "old")
        (sources / "alphas").mkdir()
        for number in range(4):
            images.write_png(sources / "alphas" / f"p{number}.png", 255 - matte(number + 1))
    elif change == "other place":
        images.write_png(sources / "places" / "b3.png", photo(33, (152, 200)) // 2)
    else:
        lost = {"lost photo": "photos/p1.png", "lost alpha": "alphas/p1.png", "lost place": "places/b3.png"}[change]
        (sources / lost).unlink()
    with pytest.raises(ShmDataError, match=r"data set was made|was made from other sources"):
        composite(given, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_foreign_folder_is_left_alone(sources, tmp_path):
    (tmp_path / "out" / "input").mkdir(parents=True)
    (tmp_path / "out" / "input" / "theirs.png").write_bytes(b"x")
    assert fault_of(composite, options(sources), tmp_path / "out").found == "input"
    assert (tmp_path / "out" / "input" / "theirs.png").read_bytes() == b"x"


def test_the_data_set_must_not_lie_in_its_sources(sources):
    assert "outside the sources" in fault_of(composite, options(sources), sources / "photos" / "out").expected


def test_broken_and_tiny_backgrounds_are_skipped_and_named(sources, tmp_path):
    whole = (sources / "places" / "b0.png").read_bytes()
    for number in range(1, 7):
        (sources / "places" / f"b{number}.png").write_bytes(whole[: len(whole) // 2])
    (sources / "places" / "empty.jpg").touch()
    images.write_png(sources / "places" / "small.png", photo(1))
    manifest = composite(options(sources, trainsplit=1), tmp_path / "out")
    skipped = {what: why for why, items in manifest.skipped.items() for what in items}
    assert {f"bgdir/b{number}.png" for number in range(1, 7)} | {"bgdir/empty.jpg", "bgdir/small.png"} == set(skipped)
    assert "128" in skipped["bgdir/small.png"]
    used = {recipe.background for recipe in read_recipes(Layout(tmp_path / "out").recipes)} - {None}
    assert used == {"bgdir/b0.png", "bgdir/b7.png", "bgdir/b8.png"}


def test_too_few_backgrounds_are_drawn_again_with_other_crops_and_it_says_so(sources, tmp_path):
    manifest = composite(options(sources, numbg=12), tmp_path / "out")
    assert any("each is used several times, with other crops" in note for note in manifest.notes)
    drawn = [r for r in read_recipes(Layout(tmp_path / "out").recipes) if r.background and r.foreground == "p0"]
    assert len(drawn) == 12 and len({(recipe.background, recipe.crop) for recipe in drawn}) > len(
        {recipe.background for recipe in drawn}
    )


def test_a_source_that_breaks_during_the_work_costs_its_samples_only(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    for path in (root / "input").glob("p2*"):
        path.unlink()
    (next((root / "input").glob("p1_*"))).unlink()
    plan = current_plan(Dataset(root), options(sources))
    whole = (sources / "photos" / "p2.png").read_bytes()
    (sources / "photos" / "p2.png").write_bytes(bytes(len(whole)))
    faults = fault_of(make_samples, plan, Dataset(root), Threads(), Threads()).faults
    assert len(faults) == 4 and all("p2.png" in str(fault) for fault in faults)
    assert len(list((root / "input").glob("p1*"))) == 4
    (sources / "photos" / "p2.png").write_bytes(whole)
    composite(options(sources), root)
    assert contents(root) == before


@pytest.mark.parametrize("folder", ["input", "mask", "trimap"])
def test_a_sample_that_was_cut_short_is_made_again_where_outputs_are_verified(sources, tmp_path, folder):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    victim = sorted((root / folder).iterdir())[2]
    whole = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(whole[: len(whole) // 2])
    composite(options(sources), root)
    assert contents(root) != before
    composite(options(sources), root, verify=True)
    assert contents(root) == before


def test_planning_writes_nothing(sources, tmp_path):
    plan = current_plan(Dataset(tmp_path / "out"), options(sources))
    estimated = estimate_bytes(plan)
    assert not (tmp_path / "out").exists()
    composite(options(sources), tmp_path / "out")
    pictures = sum(path.stat().st_size for f in Layout(tmp_path / "out").folders for path in f.iterdir())
    assert 0.5 < estimated / pictures < 2


def test_backgrounds_of_which_nothing_is_known_are_counted_and_reported(sources, tmp_path):
    (sources / "voc").mkdir()
    (sources / "places").rename(sources / "voc" / "JPEGImages")
    given = options(sources, bgdir=(), vocroot=(sources / "voc",))
    fault = fault_of(composite, given, tmp_path / "out")
    assert "9 skipped" in fault.found and "--people" in fault.expected
    manifest = composite(options(sources, bgdir=(), vocroot=(sources / "voc",), people=True), tmp_path / "out")
    assert manifest.counts.samples == 16


def test_lost_recipes_are_reported(sources, tmp_path):
    composite(options(sources), tmp_path / "out")
    (tmp_path / "out" / "recipes.jsonl").unlink()
    fault = fault_of(composite, options(sources), tmp_path / "out")
    assert fault.path == str(tmp_path / "out" / "recipes.jsonl")


def test_an_empty_file_is_no_sample(sources, tmp_path):
    root = tmp_path / "out"
    composite(options(sources), root)
    before = contents(root)
    (root / "mask" / "p1.png").write_bytes(b"")
    composite(options(sources), root)
    assert contents(root) == before


def test_foregrounds_and_alphas_never_become_backgrounds(sources, tmp_path):
    for number in range(4):
        images.write_png(sources / "photos" / f"p{number}.png", photo(number, (160, 160)))
        images.write_png(sources / "alphas" / f"p{number}.png", matte(number, (160, 160)))
    manifest = composite(options(sources, bgdir=(sources,), numbg=6), tmp_path / "out")
    assert len(manifest.skipped["lies in a folder of the foregrounds"]) == 8
    used = {recipe.background for recipe in read_recipes(Layout(tmp_path / "out").recipes)} - {None}
    assert used and all(key.startswith("bgdir/places/") for key in used)


def test_one_photo_under_two_names_is_one_foreground(sources, tmp_path):
    (sources / "photos" / "twin.png").symlink_to(sources / "photos" / "p0.png")
    (sources / "alphas" / "twin.png").symlink_to(sources / "alphas" / "p0.png")
    manifest = composite(options(sources), tmp_path / "out")
    assert manifest.counts.foregrounds == 4
    assert manifest.skipped["the same photo as another foreground"] == ("inimg/twin.png",)


def test_a_link_that_comes_later_takes_nobodys_place(sources, tmp_path):
    composite(options(sources), tmp_path / "out")
    before = contents(tmp_path / "out")
    (sources / "photos" / "a_link.png").symlink_to(sources / "photos" / "p0.png")
    (sources / "alphas" / "a_link.png").symlink_to(sources / "alphas" / "p0.png")
    composite(options(sources), tmp_path / "out")
    assert contents(tmp_path / "out")[0] == before[0]


def test_a_lone_person_is_trained_on(sources, tmp_path):
    for name in ("photos", "alphas"):
        for number in (1, 2, 3):
            (sources / name / f"p{number}.png").unlink()
    for seed in range(5):
        manifest = composite(options(sources, seed=seed), tmp_path / f"out{seed}")
        assert manifest.counts.val == 0 and manifest.counts.train == 4


def test_notes_tell_of_groups_and_missing_classes(sources, tmp_path):
    images.write_png(sources / "alphas" / "p1.png", np.full((48, 64), 255, np.uint8))
    manifest = composite(options(sources, group="^p[01]"), tmp_path / "out")
    assert any(note.startswith("--group fits 2 of 4 names") for note in manifest.notes)
    assert "p1: its trimap has no background and no unknown" in manifest.notes


def test_a_trimap_written_by_us_is_taken_by_us(sources, tmp_path):
    for path in list((sources / "alphas").iterdir()):
        path.rename(path.with_name(f"{path.stem}_alpha.png"))
    write_trimaps(sources / "alphas", tmp_path / "tri", TrimapOptions(trimap_size=5))
    composite(options(sources, intri=tmp_path / "tri"), tmp_path / "out")
    for number in range(4):
        written = images.read_gray(tmp_path / "out" / "trimap" / f"p{number}.png")
        assert np.array_equal(written, images.read_gray(tmp_path / "tri" / f"p{number}_alpha.png"))


def test_a_scaled_cutout_keeps_its_own_colours(tmp_path):
    alpha = matte(1, (96, 96))
    colours = np.where(alpha[..., None] > 0, np.array([200, 90, 40]), 0).astype(np.uint8)
    prepared = prepare(Pixels(colours, alpha, None), (31, 31), straight=True, estimated=True)
    assert (prepared.colours[prepared.alpha > 0] == (200, 90, 40)).all()


def test_a_dry_run_shows_composites(sources, tmp_path):
    plan = current_plan(Dataset(tmp_path / "out"), options(sources))
    assert all(recipe.background for recipe in plan.some_recipes(4))


def test_nothing_to_make_is_an_error(sources, tmp_path):
    with pytest.raises(ShmDataError, match="nothing to make"):
        composite(options(sources, numbg=0, originals=False), tmp_path / "out")


def test_cutouts_composite_with_their_own_colours(tmp_path):
    cutout = np.dstack([photo(1), matte(1)])
    (tmp_path / "cutouts").mkdir()
    (tmp_path / "places").mkdir()
    from PIL import Image

    Image.fromarray(cutout).save(tmp_path / "cutouts" / "c.png")
    images.write_png(tmp_path / "places" / "b.png", photo(2, (128, 160)))
    given = CompositeOptions(inimg=tmp_path / "cutouts", bgdir=(tmp_path / "places",), numbg=1, augment=())
    manifest = composite(given, tmp_path / "out")
    (recipe,) = read_recipes(Layout(tmp_path / "out").recipes)
    background = images.read_image(tmp_path / "places" / "b.png")
    expected = blend(photo(1), matte(1), cover(background, recipe.crop, recipe.size))
    assert np.array_equal(images.read_image(tmp_path / "out" / "input" / recipe.name), expected)
    assert any("cut-outs have no original" in note for note in manifest.notes)


def test_a_users_trimap_wins(sources, tmp_path):
    (sources / "tri").mkdir()
    own = np.full((48, 64), 102, np.uint8)
    own[:10], own[-10:] = 0, 255
    images.write_png(sources / "tri" / "p0.png", own)
    composite(options(sources, intri=sources / "tri"), tmp_path / "out")
    written = images.read_gray(tmp_path / "out" / "trimap" / "p0.png")
    assert np.array_equal(written, np.where(own == 102, 128, own))
    assert not np.array_equal(images.read_gray(tmp_path / "out" / "trimap" / "p1.png"), written)


def _start(sources, root):
    command = [sys.executable, "-c", "from cli.data import main; main()", "composite", "--numbg", "40", "--jobs", "2"]
    folders = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places"]
    return subprocess.Popen(
        [*command, *map(str, folders), "--savedir", str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
@pytest.mark.parametrize("after", [1, 40, 120])
def test_a_job_that_was_stopped_goes_on_to_the_same_bytes(sources, tmp_path, how, after):
    composite(options(sources, numbg=40), tmp_path / "whole")
    job = _start(sources, tmp_path / "out")
    deadline = time.monotonic() + 60
    while job.poll() is None and time.monotonic() < deadline:
        if (tmp_path / "out" / "input").is_dir() and len(os.listdir(tmp_path / "out" / "input")) >= after:
            job.send_signal(getattr(signal, how))
            break
        time.sleep(0.002)
    _, errors = job.communicate(timeout=60)
    assert job.returncode in (-9, 130), "the job was to be stopped, not to finish"
    if how != "SIGKILL":
        assert b"run the same command again" in errors
    for path in (tmp_path / "out" / "input").glob("*.png"):
        images.read_image(path)
    composite(options(sources, numbg=40), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


# Real photographs: groups of people on VOC, COCO and plain backgrounds.


def test_real_people_on_voc_and_coco(realdata, tmp_path):
    given = CompositeOptions(
        inimg=realdata / "fg" / "p3m_demo" / "original",
        inalp=realdata / "fg" / "p3m_demo" / "alpha",
        vocroot=(realdata / "voc_mini" / "VOC2012",),
        cocoroot=(realdata / "coco_mini",),
        bgdir=(realdata / "bg_plain",),
        numbg=6,
        maxsize=400,
    )
    manifest = composite(given, tmp_path / "one", Threads(1))
    composite(given, tmp_path / "two", Threads(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert manifest.counts.samples == 3 * 7 and manifest.counts.val > 0
    assert len(manifest.skipped["shows a person"]) == 21 + 17 + 5
    recipes = list(read_recipes(Layout(tmp_path / "one").recipes))
    shown = set(manifest.skipped["shows a person"])
    assert not shown & {recipe.background for recipe in recipes}
    for field in ("foreground", "background"):
        train, val = ({getattr(r, field) for r in recipes if r.split == side} - {None} for side in ("train", "val"))
        assert not train & val
    for recipe in recipes:
        alpha = images.read_alpha(tmp_path / "one" / "mask" / recipe.name)
        trimap = images.read_gray(tmp_path / "one" / "trimap" / recipe.name)
        assert max(alpha.shape) == 400 and alpha.shape[::-1] == recipe.size
        assert (trimap[(alpha > 0) & (alpha < 255)] == 128).all()


@pytest.mark.parametrize(
    ("group", "given"),
    [
        ("bluestyle97_shm", {"inalp": ".", "intri": "."}),
        ("tsing90_shm", {"inalp": ".", "prefix": "AIT"}),
        ("carvekit_docs", {"inalp": ".", "prefix": "bg_removed"}),
        ("pifu_sample", {"inalp": "."}),
        ("pymatting_lemur", {"inalp": ".", "intri": "."}),
        ("vikram_humanseg", {"inimg": "Training_Images", "inalp": "Ground_Truth", "resize_alpha": True}),
        ("gfm_samples", {"inimg": "original", "inalp": "result_alpha", "resize_alpha": True}),
        ("alphamatting_gt27", {"inimg": "input", "inalp": "GT", "intri": "trimap/Trimap1"}),
        ("mmagic_matting_dataset", {"inimg": "fg", "inalp": "alpha", "intri": "trimap"}),
    ],
)
def test_every_real_group_goes_all_the_way(realdata, tmp_path, group, given):
    folder = realdata / "fg" / group
    folders = {k: folder / v for k, v in ({"inimg": "."} | given).items() if k in ("inimg", "inalp", "intri")}
    manifest = composite(
        CompositeOptions(**given | folders, vocroot=(realdata / "voc_mini",), numbg=2, maxsize=320), tmp_path / "out"
    )
    present = Layout(tmp_path / "out").present()
    assert len(present) == manifest.counts.samples == 3 * manifest.counts.foregrounds
    for name in present:
        image = images.read_image(tmp_path / "out" / "input" / name)
        assert max(image.shape) <= 320 and image.std() > 0
