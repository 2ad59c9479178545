from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shm_data.dataset.layout import Layout, write_names
from shm_data.errors import ShmDataError
from shm_data.files import make_folders
from shm_data.images import write_png
from shm_data.report.contact_sheet import Row, contact_sheet, sheet_of


def _row(name: str, split: str = "train", size: tuple[int, int] = (60, 80), shade: int = 100) -> Row:
    width, height = size
    across = np.linspace(-1, 1, width)[None] ** 2 + np.linspace(-1, 1, height)[:, None] ** 2
    alpha = np.clip((0.6 - across) * 500 + 128, 0, 255).astype(np.uint8)
    trimap = np.where(alpha == 255, 255, np.where(alpha == 0, 0, 128)).astype(np.uint8)
    return Row(name, split, np.full((height, width, 3), (shade, 90, 200), np.uint8), alpha, trimap)


def _data_set(root: Path, train: int, val: int) -> Path:
    layout = Layout(root)
    make_folders(*layout.folders)
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}{index:02}.png" for index in range(count)]
        for index, name in enumerate(names):
            row = _row(name, split, shade=40 + 7 * index)
            for folder, pixels in zip(layout.folders, (row.image, row.alpha, row.trimap), strict=True):
                write_png(folder / name, pixels)
        write_names(root, split, names)
    return root


def _shown(monkeypatch: pytest.MonkeyPatch, root: Path, count: int = 12) -> list[Row]:
    rows: list[Row] = []

    def keep(shown: list[Row], header: str) -> np.ndarray:
        rows.extend(shown)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr("shm_data.report.contact_sheet.contact_sheet", keep)
    sheet_of(root, count)
    return rows


def test_a_sheet_is_a_colour_picture_of_fixed_width() -> None:
    for count in (2, 3, 12):
        sheet = contact_sheet([_row(f"{index}.png") for index in range(count)], "samples")
        assert sheet.dtype == np.uint8
        assert sheet.shape[2] == 3
        assert 1600 <= sheet.shape[1] <= 2000


def test_a_sheet_grows_with_its_samples() -> None:
    heights = [contact_sheet([_row("a.png")] * count, "samples").shape[0] for count in (2, 4, 6)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 0


def test_the_same_samples_give_the_same_sheet() -> None:
    rows = [_row("a.png"), _row("b.png", "val")]
    np.testing.assert_array_equal(contact_sheet(rows, "2"), contact_sheet(rows, "2"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other.png"},
        {"split": "val"},
        {"image": np.zeros((80, 60, 3), np.uint8)},
        {"alpha": np.zeros((80, 60), np.uint8)},
        {"trimap": np.zeros((80, 60), np.uint8)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_sheet_shows_every_part_of_a_sample(change: dict[str, object]) -> None:
    row = _row("a.png")
    assert (contact_sheet([row], "1") != contact_sheet([replace(row, **change)], "1")).any()


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (1000, 3), (3, 1000), (900, 1200)])
def test_any_shape_fits(size: tuple[int, int]) -> None:
    expected = contact_sheet([_row("a.png")], "1").shape
    assert contact_sheet([_row("a.png", size=size)], "1").shape == expected


def test_a_long_name_stays_on_its_card() -> None:
    rows = [_row("x" * 500), _row("b.png")]
    short = [_row("y.png"), _row("b.png")]
    long_sheet, sheet = contact_sheet(rows, "2"), contact_sheet(short, "2")
    half = sheet.shape[1] // 2 + 14
    np.testing.assert_array_equal(long_sheet[:, half:], sheet[:, half:])


def test_samples_are_spread_over_both_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _shown(monkeypatch, _data_set(tmp_path, 20, 4))
    names = [row.name for row in rows]
    assert [row.split for row in rows] == ["train"] * 10 + ["val"] * 2
    assert names == sorted(set(names))
    steps = np.diff([int(name[5:7]) for name in names[:10]])
    assert set(steps) == {2}


def test_a_small_split_is_still_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _shown(monkeypatch, _data_set(tmp_path, 30, 1), count=6)
    assert {row.split for row in rows} == {"train", "val"}


def test_a_small_data_set_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(_shown(monkeypatch, _data_set(tmp_path, 3, 0))) == 3


def test_the_sheet_of_a_data_set_changes_with_its_files(tmp_path: Path) -> None:
    before = sheet_of(_data_set(tmp_path, 2, 1))
    np.testing.assert_array_equal(before, sheet_of(tmp_path))
    write_png(tmp_path / "input" / "val00.png", np.zeros((80, 60, 3), np.uint8))
    assert (before != sheet_of(tmp_path)).any()


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShmDataError, match="no samples"):
        sheet_of(_data_set(tmp_path, 0, 0))


@pytest.mark.parametrize("folder", ["input", "mask", "trimap"])
def test_a_missing_file_is_named(tmp_path: Path, folder: str) -> None:
    missing = _data_set(tmp_path, 1, 1) / folder / "val00.png"
    missing.unlink()
    with pytest.raises(ShmDataError, match=r"val00\.png"):
        sheet_of(tmp_path)
