"""A preview is what composite would make: the same samples, the same pixels, the same faults."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from small import matte, photo

import shm_data.report.preview
from cli.data import data
from shm_data.building.build import composite
from shm_data.dataset.recipes import read_recipes
from shm_data.errors import ShmDataError
from shm_data.images import read_image, write_png
from shm_data.options import CompositeOptions
from shm_data.report.contact_sheet import contact_sheet, sheet_of
from shm_data.report.preview import preview


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 3}
    return CompositeOptions.checked(**plain | more)


def everything(folder):
    return sorted(path for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"seed": 5, "trimap": "random", "originals": False},
        {"format": "jpg", "quality": 20, "maxsize": 40},
        {"format": "webp"},
        {"foreground": "photo", "trainsplit": 1.0},
        {"numbg": 0},
    ],
    ids=str,
)
def test_a_preview_is_the_sheet_of_the_data_set(sources, tmp_path, more):
    shown = preview(options(sources, **more), tmp_path / "sheet.png", 100)
    made = composite(options(sources, **more), tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet_of(tmp_path / "out", 100))
    assert shown.counts == made.counts


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_preview_of_some_shows_those_that_the_sheet_shows(sources, tmp_path, count):
    preview(options(sources), tmp_path / "sheet.png", count)
    composite(options(sources), tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet_of(tmp_path / "out", count))


def test_a_preview_of_real_photos_is_the_sheet_of_the_data_set(realdata, tmp_path):
    people = realdata / "fg" / "p3m_demo"
    real = {"inimg": people / "original", "inalp": people / "alpha", "vocroot": (realdata / "voc_mini" / "VOC2012",)}
    chosen = CompositeOptions.checked(**real, numbg=2, maxsize=300)
    preview(chosen, tmp_path / "sheet.png", 6)
    composite(chosen, tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet_of(tmp_path / "out", 6))


def test_a_broken_background_is_replaced_as_in_the_data_set(sources, tmp_path):
    for number in (0, 5):
        path = sources / "places" / f"b{number}.png"
        path.write_bytes(path.read_bytes()[:-200])
    preview(options(sources), tmp_path / "sheet.png")
    composite(options(sources), tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet_of(tmp_path / "out"))


def test_nothing_but_the_sheet_is_written(sources, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = everything(tmp_path)
    preview(options(sources, format="jpg"), tmp_path / "sheet.png")
    assert everything(tmp_path) == sorted([*before, tmp_path / "sheet.png"])


def test_only_the_foregrounds_that_are_shown_are_prepared(sources, tmp_path, monkeypatch):
    prepared = []

    def counting(foreground, *others):
        prepared.append(foreground.files.name)
        return read_prepared(foreground, *others)

    read_prepared = shm_data.report.preview.read_prepared
    monkeypatch.setattr(shm_data.report.preview, "read_prepared", counting)
    preview(options(sources), tmp_path / "sheet.png", 1)  # and one of the other split
    assert len(prepared) == len(set(prepared)) == 2


def test_a_preview_shows_composites(sources, tmp_path, monkeypatch):
    """Not the originals alone, which the first of each four samples is."""
    rows = []

    def keep(shown, *more):
        rows.extend(shown)
        return contact_sheet(shown, *more)

    monkeypatch.setattr(shm_data.report.preview, "contact_sheet", keep)
    preview(options(sources), tmp_path / "sheet.png", 4)
    composite(options(sources), tmp_path / "out")
    originals = {recipe.name for recipe in read_recipes(tmp_path / "out" / "recipes.jsonl") if not recipe.background}
    assert originals and len(rows) == 4
    assert not originals & {row.name for row in rows}


def test_a_dry_run_prints_composites(sources, tmp_path):
    where = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places"]
    words = ["composite", *map(str, where), "--numbg", "1", "--savedir", str(tmp_path / "out"), "--dry-run"]
    result = CliRunner().invoke(data, words)
    assert result.exit_code == 0, result.output
    printed = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    assert len(printed) == 3 and all(recipe["background"] for recipe in printed)


def test_the_size_of_the_pictures_can_be_chosen(sources, tmp_path):
    heights = []
    for tile in (64, 128):
        preview(options(sources), tmp_path / "sheet.png", 12, tile=tile)
        composite(options(sources), tmp_path / "out")
        sheet = read_image(tmp_path / "sheet.png")
        np.testing.assert_array_equal(sheet, sheet_of(tmp_path / "out", 12, tile))
        heights.append(sheet.shape[0])
    assert heights[0] < heights[1]


def test_no_other_picture_is_overwritten(sources, tmp_path):
    composite(options(sources), tmp_path / "out")
    mask = next((tmp_path / "out" / "mask").iterdir())
    before = mask.read_bytes()
    with pytest.raises(ShmDataError) as error:
        preview(options(sources), mask)
    assert error.value.found == "another file"
    assert mask.read_bytes() == before


def test_a_preview_takes_the_place_of_the_last(sources, tmp_path):
    preview(options(sources), tmp_path / "sheet.png")
    first = (tmp_path / "sheet.png").read_bytes()
    preview(options(sources, seed=1), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() != first


def _drop(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _unpair(folder):
    for path in (folder / "alphas").iterdir():
        path.rename(path.with_name(f"x{path.name}"))


def _cut(folder):
    path = folder / "photos" / "p1.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    "spoil",
    [lambda folder: _drop(folder / "alphas"), lambda folder: _drop(folder / "places"), _unpair, _cut],
    ids=["no alphas", "no places", "no pairs", "a broken photo"],
)
def test_faults_are_reported_as_composite_reports_them(sources, tmp_path, spoil):
    spoil(sources)
    with pytest.raises(ShmDataError) as of_composite:
        composite(options(sources), tmp_path / "out")
    with pytest.raises(ShmDataError) as of_preview:
        preview(options(sources), tmp_path / "sheet.png")
    assert str(of_preview.value) == str(of_composite.value)
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("sheet.jpg", "a name that ends with .png"),
        ("absent/sheet.png", "an existing folder"),
        ("sources/photos/sheet.png", "a folder outside the sources"),
    ],
)
def test_a_place_where_it_cannot_go_is_refused_before_anything_is_read(
    sources, tmp_path, monkeypatch, place, expected
):
    monkeypatch.setattr(shm_data.report.preview, "scan", None)
    with pytest.raises(ShmDataError, match=rf"^--out.*expected {expected}$"):
        preview(options(sources), tmp_path / place)


def test_the_command_tells_what_would_be_made(sources, tmp_path):
    where = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places"]
    words = ["preview", *map(str, where), "--numbg", "2", "--count", "3", "--out", str(tmp_path / "sheet.png")]
    result = CliRunner().invoke(data, words)
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if "rendering" not in line and "reading" not in line]
    assert told[0] == "Preview: no data set was written. It would be:"
    assert told[1].startswith("12 samples (")
    assert told[-1] == f"{tmp_path / 'sheet.png'} shows some samples."


@pytest.mark.parametrize("count", ["0", "101", "-1"])
def test_a_count_out_of_bounds_is_refused(count, tmp_path):
    result = CliRunner().invoke(data, ["preview", "--count", count, "--out", str(tmp_path / "sheet.png")])
    assert result.exit_code == 2
    assert "1<=x<=100" in result.output


def test_samples_of_one_name_but_for_the_foreground_keep_their_pixels(sources, tmp_path):
    """Foregrounds of different sizes, so that a mix-up would show."""
    write_png(sources / "photos" / "p9.png", photo(9, (96, 48)))
    write_png(sources / "alphas" / "p9.png", matte(9, (96, 48)))
    preview(options(sources), tmp_path / "sheet.png", 7)
    composite(options(sources), tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "sheet.png"), sheet_of(tmp_path / "out", 7))
