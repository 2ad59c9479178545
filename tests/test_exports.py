"""Exports: other readers find the same pixels, in splits that share nothing, also after a command was stopped."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pages
import pytest
from click.testing import CliRunner
from faults import fault_of
from readers import leftover_files, load_datasets
from small import matte, photo, write_people

from cli.data import data
from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import read_recipes
from shm_data.dataset.shards import write_shards
from shm_data.exports.export import export_dataset
from shm_data.exports.packagings import FOLDERS
from shm_data.exports.record import RECORD
from shm_data.files import locked
from shm_data.options import CompositeOptions
from shm_data.pixels.compositing import blend, cover, to_three_channels
from shm_data.sources import path_of

# A name that looks like a number, one with blanks, commas and quotes, one with two dots, one that is not ASCII.
PEOPLE = ("001", 'a, "b" c', "d.e", "日本", "f#%41")
PAGE = Path(__file__).parents[1] / "docs" / "export.md"
OF_SAMPLES = ("hf", "birefnet", "pairs")
HUB_SPLITS = {"train": "train", "val": "validation"}


def made(folder, **more):
    write_people(folder, PEOPLE)
    (folder / "places").mkdir()
    for number in range(6):
        images.write_png(folder / "places" / f"b {number}.png", photo(50 + number, (128, 136)))
    options = CompositeOptions(
        inimg=folder / "photos",
        inalp=folder / "alphas",
        bgdir=(folder / "places",),
        numbg=3,
        trimap_size=9,
        augment=(),
        **more,
    )
    composite(options, folder / "set")
    return folder / "set"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set that no test changes."""
    return made(tmp_path_factory.mktemp("made"))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(picture):
    return np.asarray(picture)


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What the library `datasets` reads.


def require_samples(read, root, *, trimaps):
    """The pictures of each split are those of the data set, in the order of its lists."""
    assert set(read) == set(HUB_SPLITS.values())
    for split in SPLITS:
        names = read_names(root, split)
        assert len(read[HUB_SPLITS[split]]) == len(names) > 0
        for row, name in zip(read[HUB_SPLITS[split]], names, strict=True):
            image, alpha, trimap = Layout(root).sample(name)
            assert np.array_equal(pixels(row["image"]), images.read_image(image))
            assert np.array_equal(pixels(row["alpha"]), images.read_alpha(alpha)) and row["alpha"].mode == "L"
            if trimaps:
                assert np.array_equal(pixels(row["trimap"]), images.read_trimap(trimap))


def test_the_data_set_itself_is_read_by_datasets(root, tmp_path):
    require_samples(load_datasets(root, tmp_path), root, trimaps=True)


@pytest.mark.parametrize("kind", OF_SAMPLES)
def test_an_export_is_read_by_datasets(root, tmp_path, kind):
    export_dataset(root, tmp_path / "out", kind)
    read = load_datasets(tmp_path / "out", tmp_path / "cache")
    require_samples(read, root, trimaps=kind == "hf")
    recipes = {recipe.name: recipe for recipe in read_recipes(Layout(root).recipes)}
    for row in read["train"]:
        recipe = recipes[json.loads(row["recipe"])["name"]]
        assert row["foreground"] == f"inimg/{recipe.foreground}.png"
        assert row["background"] == (recipe.background or "original")


def test_an_imagefolder_without_a_card_has_columns_of_pictures_and_no_labels(root, tmp_path):
    export_dataset(root, tmp_path / "out", "hf")
    (tmp_path / "out" / "README.md").unlink()
    read = load_datasets(tmp_path / "out", tmp_path / "cache")
    assert set(read["train"][0]) == {"image", "alpha", "trimap", "foreground", "background", "recipe"}


def test_shards_are_read_by_datasets(root, tmp_path):
    write_shards(root, tmp_path / "out", maxcount=6)
    read = load_datasets(tmp_path / "out", tmp_path / "cache")
    for split in SPLITS:
        names = read_names(root, split)
        rows = {row["json"]["name"]: row for row in read[HUB_SPLITS[split]]}
        assert sorted(rows) == sorted(names)
        for name, row in rows.items():
            assert np.array_equal(pixels(row["image.png"]), images.read_image(Layout(root).sample(name)[0]))
            assert np.array_equal(pixels(row["alpha.png"]), images.read_alpha(Layout(root).sample(name)[1]))


def test_foregrounds_and_backgrounds_are_read_by_datasets(root, tmp_path):
    export_dataset(root, tmp_path / "out", "fg-alpha-bg")
    read = load_datasets(tmp_path / "out", tmp_path / "cache")
    names = (tmp_path / "out" / "train_fg.txt").read_text().splitlines()
    assert set(read["train"][0]) == {"image", "alpha", "photo"} and len(read["train"]) == len(names)


def test_the_example_of_the_page_runs(root, tmp_path, monkeypatch, capsys):
    (block,) = [each for each in pages.read(PAGE).blocks if each.language == "python"]
    export_dataset(root, tmp_path / "hub", "hf")
    monkeypatch.chdir(tmp_path)
    load_datasets(tmp_path / "hub", tmp_path / "cache")  # sets the library up
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    with leftover_files():
        exec(compile(block.text, PAGE, "exec"), {})
    assert capsys.readouterr().out.endswith(".png original\n")


# The folders of each kind.


@pytest.mark.parametrize("kind", OF_SAMPLES)
def test_pictures_are_links_to_those_of_the_data_set(root, tmp_path, kind):
    export_dataset(root, tmp_path / "out", kind)
    folders = FOLDERS[kind]
    for split in SPLITS:
        rows = table(tmp_path / "out" / split / "metadata.csv")
        assert len(rows) == len(read_names(root, split))
        for row in rows:
            sources = Layout(root).sample(json.loads(row["recipe"])["name"])
            columns = ("file_name", "alpha_file_name", "trimap_file_name")
            for source, column, folder in zip(sources, columns, folders.each, strict=True):
                if folder is not None:
                    assert row[column].startswith(f"{folder}/")
                    assert (tmp_path / "out" / split / row[column]).samefile(source)


def test_without_links_the_files_are_copies(root, tmp_path, monkeypatch):
    export_dataset(root, tmp_path / "links", "hf")
    monkeypatch.delattr(os, "link")
    export_dataset(root, tmp_path / "copies", "hf")
    assert files(tmp_path / "copies") == files(tmp_path / "links")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "copies").rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", OF_SAMPLES)
def test_shards_give_the_same_pictures_as_the_data_set(root, tmp_path, kind):
    write_shards(root, tmp_path / "shards", maxcount=6)
    export_dataset(tmp_path / "shards", tmp_path / "a", kind)
    export_dataset(root, tmp_path / "b", kind)
    of_shards, of_files = files(tmp_path / "a"), files(tmp_path / "b")
    assert of_shards.keys() == of_files.keys()
    other = {"README.md", RECORD, "train/metadata.csv", "val/metadata.csv"}
    assert {name for name in of_files if of_shards[name] != of_files[name]} == other
    assert len(load_datasets(tmp_path / "a", tmp_path / "cache")["train"]) == len(read_names(root, "train"))


def test_each_line_of_pairs_is_two_paths(root, tmp_path):
    export_dataset(root, tmp_path / "out", "pairs")
    seen = set()
    for split in SPLITS:
        for line in (tmp_path / "out" / f"{split}.txt").read_text(encoding="utf-8").splitlines():
            image, alpha = line.split(" ")
            shape = images.read_image(tmp_path / "out" / image).shape
            assert images.read_alpha(tmp_path / "out" / alpha).shape == shape[:2]
            seen.add(image)
    assert len(seen) == sum(len(read_names(root, split)) for split in SPLITS)


def test_names_that_only_blanks_tell_apart_stay_two(tmp_path, sources):
    for name in ("p q", "p_q"):
        shutil.copy(sources / "photos" / "p0.png", sources / "photos" / f"{name}.png")
        images.write_png(sources / "alphas" / f"{name}.png", matte(9))
    composite(CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", numbg=0), tmp_path / "set")
    export_dataset(tmp_path / "set", tmp_path / "out", "pairs")
    lines = [line for split in SPLITS for line in (tmp_path / "out" / f"{split}.txt").read_text().splitlines()]
    assert len(set(lines)) == len(lines) == 6


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_images_keep_their_format(tmp_path, extension):
    root = made(tmp_path, format=extension)
    export_dataset(root, tmp_path / "out", "birefnet")
    for split in SPLITS:
        stems = {path.stem for path in (tmp_path / "out" / split / "im").glob(f"*.{extension}")}
        assert {path.stem for path in (tmp_path / "out" / split / "gt").glob("*.png")} == stems
        assert len(stems) == len(read_names(root, split))


# Foregrounds and backgrounds.


def test_composites_of_an_export_are_those_of_the_data_set(root, tmp_path):
    export_dataset(root, tmp_path / "out", "fg-alpha-bg")
    names = {}
    for split in SPLITS:
        for name in (tmp_path / "out" / f"{split}_bg.txt").read_text().splitlines():
            path = tmp_path / "out" / split / "bg" / name
            names[path.read_bytes()] = path
    count, roots = 0, read_manifest(Layout(root)).roots
    for recipe in read_recipes(Layout(root).recipes):
        if recipe.background is not None:
            home = tmp_path / "out" / recipe.split
            colours = images.read_image(home / "fg" / f"{recipe.foreground}.png")
            alpha = images.read_alpha(home / "alpha" / f"{recipe.foreground}.png")
            path = names[path_of(recipe.background, roots).read_bytes()]
            assert path.parents[1] == home
            behind = cover(images.read_image(path), recipe.crop, recipe.size)
            image = blend(colours, to_three_channels(alpha), behind)
            assert np.array_equal(image, images.read_image(Layout(root).input / recipe.name))
            count += 1
    assert count == 15


def test_backgrounds_of_the_same_content_are_one_and_in_one_split(tmp_path):
    (tmp_path / "again").mkdir()
    root = made(tmp_path / "a")
    places = tmp_path / "a" / "places"
    for number in range(6):
        shutil.copy(places / f"b {number}.png", tmp_path / "again" / f"b {number}.png")
    shutil.rmtree(root)
    options = CompositeOptions(
        inimg=tmp_path / "a" / "photos", inalp=tmp_path / "a" / "alphas", bgdir=(places, tmp_path / "again"), numbg=9
    )
    composite(options, root)
    export_dataset(root, tmp_path / "out", "fg-alpha-bg")
    contents = [path.read_bytes() for split in SPLITS for path in (tmp_path / "out" / split / "bg").iterdir()]
    assert len(contents) == len(set(contents)) > 0


def test_cut_outs_keep_their_own_colours(tmp_path, sources):
    (tmp_path / "cut").mkdir()
    for number in range(4):
        images.write_png(tmp_path / "cut" / f"p{number}.png", np.dstack([photo(number), matte(number)]))
    composite(CompositeOptions(inimg=tmp_path / "cut", bgdir=(sources / "places",), numbg=1), tmp_path / "set")
    export_dataset(tmp_path / "set", tmp_path / "out", "fg-alpha-bg")
    for path in (tmp_path / "out").glob("*/fg/*.png"):
        colours, alpha = images.read_cutout(tmp_path / "cut" / path.name)
        assert np.array_equal(images.read_image(path), colours)
        assert np.array_equal(images.read_alpha(path.parents[1] / "alpha" / path.name), alpha)


def test_foregrounds_need_a_record_and_unchanged_sources(tmp_path):
    root = made(tmp_path)
    write_shards(root, tmp_path / "shards")
    assert fault_of(export_dataset, tmp_path / "shards", tmp_path / "out", "fg-alpha-bg").found == "no dataset.json"
    images.write_png(tmp_path / "photos" / "001.png", photo(77, (64, 64)))
    assert "inimg/001.png" in str(fault_of(export_dataset, root, tmp_path / "other", "fg-alpha-bg"))


@pytest.mark.parametrize("of_shards", [False, True])
def test_photos_with_masks_are_exported_with_their_trimaps_alone(sources, tmp_path, of_shards):
    (sources / "others").mkdir()
    (sources / "masks").mkdir()
    for number in range(5, 8):
        images.write_png(sources / "others" / f"m{number}.png", photo(number))
        mask = np.where(matte(number) >= 128, 255, 0).astype(np.uint8)
        images.write_png(sources / "masks" / f"m{number}.png", mask)
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas"}
    folders |= {"maskimg": sources / "others", "inmask": sources / "masks"}
    composite(CompositeOptions(**folders, numbg=0), tmp_path / "set")
    root = tmp_path / "set"
    if of_shards:
        write_shards(root, tmp_path / "shards")
        root = tmp_path / "shards"
    for kind, expected in (("hf", 7), ("birefnet", 4), ("pairs", 4)):
        record = export_dataset(root, tmp_path / kind, kind)
        assert sum(counts["sample"] for counts in record.counts.values()) == expected
        assert f"{expected} samples" in (tmp_path / kind / "README.md").read_text().partition("---\n")[2]


# Stopped, resumed, refused.


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("link", [True, False])
def test_a_stopped_export_is_resumed_and_the_same(root, tmp_path, kind, link, monkeypatch):
    if not link:
        monkeypatch.delattr(os, "link")
    export_dataset(root, tmp_path / "whole", kind)
    whole = files(tmp_path / "whole")
    export_dataset(root, tmp_path / "out", kind)
    for path in sorted((tmp_path / "out").rglob("*.png"))[::2]:
        path.unlink()
    (tmp_path / "out" / "train" / ".0.shm-tmp").write_bytes(b"of a killed run")
    record = json.loads((tmp_path / "out" / RECORD).read_text()) | {"complete": False, "counts": {}}
    (tmp_path / "out" / RECORD).write_text(json.dumps(record))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    export_dataset(root, tmp_path / "out", kind)
    assert files(tmp_path / "out") == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_number_of_threads_decides_nothing(root, tmp_path, kind):
    export_dataset(root, tmp_path / "one", kind, jobs=1)
    export_dataset(root, tmp_path / "many", kind, jobs=4)
    assert files(tmp_path / "one") == files(tmp_path / "many")


def test_a_leak_is_refused(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    (tmp_path / "set" / "dataset.json").unlink()
    shared = read_names(root, "train")[0]
    with (tmp_path / "set" / "val.txt").open("a") as file:
        file.write(f"{shared}\n")
    assert shared in fault_of(export_dataset, tmp_path / "set", tmp_path / "out", "hf").found
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_record_can_be_exported(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    for name in ("dataset.json", "recipes.jsonl"):
        (tmp_path / "set" / name).unlink()
    export_dataset(tmp_path / "set", tmp_path / "out", "hf")
    require_samples(load_datasets(tmp_path / "out", tmp_path / "cache"), root, trimaps=True)


def test_a_plan_whose_samples_are_not_made_is_refused(sources, tmp_path):
    options = CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", numbg=0)
    write_plan(options, tmp_path / "plan")
    fault = fault_of(export_dataset, tmp_path / "plan", tmp_path / "out", "hf")
    assert fault.found == "a data set that is not complete" and not (tmp_path / "out").exists()


def test_a_folder_of_another_export_or_of_anything_is_refused_and_left_alone(root, tmp_path):
    export_dataset(root, tmp_path / "out", "hf")
    before = files(tmp_path / "out")
    assert fault_of(export_dataset, root, tmp_path / "out", "pairs").found == "--to hf"
    other = made(tmp_path / "other", seed=1)
    assert "dataset.json" in fault_of(export_dataset, other, tmp_path / "out", "hf").found
    assert files(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert fault_of(export_dataset, root, tmp_path / "mine", "hf").found == "letter.txt"
    assert "inside" in fault_of(export_dataset, root, root / "export", "hf").found


def test_two_runs_into_one_folder_are_refused(root, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        assert fault_of(export_dataset, root, tmp_path / "out", "hf").found == "another run"


def test_the_command_says_what_it_wrote(root, tmp_path):
    words = ["export", str(root), "--to", "birefnet", "--savedir", str(tmp_path / "out")]
    result = CliRunner().invoke(data, words)
    assert result.exit_code == 0, result.output
    assert "train: 12 samples; val: 8 samples\n" in result.output and str(tmp_path / "out") in result.output
