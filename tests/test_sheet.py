from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shm_data.dataset.layout import Layout, write_names
from shm_data.errors import ShmDataError
from shm_data.files import make_folders
from shm_data.images import write_png
from shm_data.report.contact_sheet import Row, choose, contact_sheet, row_of, sheet_of


def _row(name: str, split: str = "train", size: tuple[int, int] = (60, 80), shade: int = 100) -> Row:
    width, height = size
    across = np.linspace(-1, 1, width)[None] ** 2 + np.linspace(-1, 1, height)[:, None] ** 2
    alpha = np.clip((0.6 - across) * 500 + 128, 0, 255).astype(np.uint8)
    trimap = np.where(alpha == 255, 255, np.where(alpha == 0, 0, 128)).astype(np.uint8)
    return row_of(name, split, (np.full((height, width, 3), (shade, 90, 200), np.uint8), alpha, trimap))


def _pixels(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = _row("a.png", size=size)
    return row.edge, np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], np.uint8)


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
        assert 1200 <= sheet.shape[1] <= 2000


def test_composites_are_shown_before_originals() -> None:
    """Whatever the number of samples of a foreground is, of which the first is the original."""
    for step in range(2, 40):
        originals = {"train": [index % step == 0 for index in range(10 * step)], "val": [True] + [False] * step}
        chosen = choose(originals, 12)
        assert not any(originals[split][index] for split, some in chosen.items() for index in some)
        assert 12 <= sum(map(len, chosen.values())) <= 13


def test_originals_fill_up_where_there_are_few_composites() -> None:
    assert choose({"train": [True, False, True, True], "val": [True]}, 4) == {"train": [0, 1, 2], "val": [0]}
    assert choose({"train": [True] * 6, "val": []}, 3) == {"train": [0, 2, 4], "val": []}


def test_tiles_have_the_shape_and_size_of_the_samples() -> None:
    rows = [row_of("a.png", "train", _pixels((60, 80)), 200), row_of("b.png", "train", _pixels((120, 160)), 200)]
    assert {row.image.shape for row in rows} == {(200, 150, 3)}
    one, other = (contact_sheet(rows[:1] * count, "") for count in (4, 5))
    assert other.shape[0] - one.shape[0] in (0, 200 + 44)


def test_the_edge_is_the_softest_part_of_the_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    alpha = np.zeros((400, 300), np.uint8)
    alpha[250:300, 180:220] = 128
    row = row_of("a.png", "train", (image, alpha, alpha), 100)
    assert row.edge.shape == (100, 75, 3)
    windows = np.lib.stride_tricks.sliding_window_view(image, (100, 75, 3))[:, :, 0]
    (places,) = [np.argwhere((windows == row.edge).all(axis=(2, 3, 4)))]
    ((y, x),) = places
    assert y <= 250 and x <= 180 and y + 100 >= 300 and x + 75 >= 220


def test_the_legend_fits_the_narrowest_sheet() -> None:
    sheet = contact_sheet([_row("a.png", size=(20, 400))], "")
    assert (sheet[50:76, -32:] == sheet[0, 0]).all()
    assert (sheet[50:76, -100:] != sheet[0, 0]).any()


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
        {"image": np.zeros((320, 240, 3), np.uint8)},
        {"alpha": np.zeros((320, 240), np.uint8)},
        {"trimap": np.zeros((320, 240), np.uint8)},
        {"edge": np.zeros((80, 60, 3), np.uint8)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_sheet_shows_every_part_of_a_sample(change: dict[str, object]) -> None:
    row = _row("a.png")
    assert (contact_sheet([row], "1") != contact_sheet([replace(row, **change)], "1")).any()


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (1000, 3), (3, 1000), (900, 1200)])
def test_any_shape_fits(size: tuple[int, int]) -> None:
    square = contact_sheet([_row("a.png", size=(90, 90))], "1").shape
    found = contact_sheet([_row("a.png", size=size)], "1").shape
    assert all(one <= other for one, other in zip(found, square, strict=True))
    assert contact_sheet([_row("a.png", size=size), _row("a.png", size=size[::-1])], "1").shape[1] == square[1]


def test_a_long_name_stays_on_its_card() -> None:
    rows = [_row("x" * 500), _row("b.png")]
    short = [_row("y.png"), _row("b.png")]
    long_sheet, sheet = contact_sheet(rows, "2"), contact_sheet(short, "2")
    assert long_sheet.shape == sheet.shape
    right = 32 + 5 * (240 + 6) - 6  # of the card; the second card lies below
    np.testing.assert_array_equal(long_sheet[:, right:], sheet[:, right:])
    np.testing.assert_array_equal(long_sheet[118 + 320 + 44 :], sheet[118 + 320 + 44 :])


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
