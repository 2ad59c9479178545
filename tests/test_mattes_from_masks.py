"""Mattes that are estimated from masks: how near they come to the truth, what is kept, and how they are marked."""

import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from small import matte, photo

from cli.data import data, main
from shm_data import images
from shm_data.building.build import composite
from shm_data.building.mattes import write_mattes
from shm_data.check import check_pairs
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels import soft_edges
from shm_data.pixels.compositing import blend
from shm_data.pixels.soft_edges import estimate_alpha
from shm_data.pixels.trimap import kernel_width

SIZE = 160, 200


def binary(alpha):
    return np.where(alpha >= 128, 255, 0).astype(np.uint8)


def soft(size=SIZE, seed=1):
    """A person with a soft edge of some pixels before a plain background, and the true alpha."""
    alpha = cv2.GaussianBlur(matte(seed, size), (0, 0), 2.5)
    bright, dark = np.full((*size, 3), (230, 180, 140), np.uint8), np.full((*size, 3), (20, 60, 90), np.uint8)
    return blend(bright, alpha, dark), alpha


def sad(one, other):
    return np.abs(one.astype(float) - other).sum() / 255


def test_a_soft_edge_is_found_by_the_colours():
    seen, alpha = soft()
    assert sad(estimate_alpha(seen, binary(alpha), 8), alpha) < 0.65 * sad(binary(alpha), alpha)


@pytest.mark.parametrize("radius", [1, 4, 9])
def test_beyond_the_band_the_matte_is_the_mask(radius):
    seen, mask = photo(3, SIZE), binary(soft()[1])
    found = estimate_alpha(seen, mask, radius)
    for value, width in ((255, radius), (0, 2 * radius)):
        distance = cv2.distanceTransform((mask == value).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert (found[distance >= width] == value).all()


def test_tiles_leave_no_seams(monkeypatch):
    seen, alpha = soft((200, 240))
    tiled = []
    for tile in (64, 1000):
        monkeypatch.setattr(soft_edges, "_TILE", tile)
        tiled.append(estimate_alpha(seen, binary(alpha), 6).astype(int))
    assert np.abs(tiled[0] - tiled[1]).max() <= 1


def test_a_mirrored_photo_has_the_mirrored_matte():
    seen, alpha = soft(seed=3)
    found = estimate_alpha(seen, binary(alpha), 6)
    mirrored = estimate_alpha(seen[:, ::-1].copy(), binary(alpha)[:, ::-1].copy(), 6)
    assert np.abs(found.astype(int) - mirrored[:, ::-1]).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 5)])
def test_pictures_of_any_size_have_a_matte(size):
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 2 + 1] = 255
    assert estimate_alpha(np.full((*size, 3), 90, np.uint8), mask, 3).shape == size


# Real portraits: the matte of their mask is nearer to the truth than the mask, sharp or coarse.


@pytest.mark.parametrize("kind", ["sharp", "coarse"])
def test_the_matte_of_a_real_portrait_is_better_than_its_mask(realdata, kind):
    before = after = 0.0
    for path in sorted((realdata / "fg" / "p3m_demo" / "original").glob("*.jpg")):
        truth = images.read_alpha(realdata / "fg" / "p3m_demo" / "alpha" / f"{path.stem}.png")
        size = truth.shape[1] // 3, truth.shape[0] // 3
        seen = cv2.resize(images.read_image(path), size, interpolation=cv2.INTER_AREA)
        truth = cv2.resize(truth, size, interpolation=cv2.INTER_AREA)
        mask = binary(truth)
        if kind == "coarse":
            small = cv2.resize(mask, (size[0] // 5, size[1] // 5), interpolation=cv2.INTER_AREA)
            mask = binary(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))
        before += sad(mask, truth)
        after += sad(estimate_alpha(seen, mask, kernel_width(size, "auto") // 2), truth)
    assert after < 0.85 * before


# Files.


@pytest.fixture
def folder(tmp_path):
    for name in ("photos", "masks", "places"):
        (tmp_path / name).mkdir()
    for number in range(4):
        seen, alpha = soft(seed=number)
        images.write_png(tmp_path / "photos" / f"p{number}.png", seen)
        images.write_png(tmp_path / "masks" / f"p{number}_mask.png", binary(alpha))
        images.write_png(tmp_path / "places" / f"b{number}.png", photo(100 + number, (160, 200)))
    return tmp_path


def write(folder, **more):
    options = TrimapOptions.checked(trimap_size=more.pop("trimap_size", "auto"))
    return write_mattes(folder / "photos", folder / "masks", folder / "alphas", options, **more)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "alphas").iterdir()}


def test_each_photo_has_a_matte_of_its_name_whatever_the_number_of_threads(folder, tmp_path):
    assert write(folder, jobs=1) == []
    one = files(folder)
    assert sorted(one) == [f"p{number}.png" for number in range(4)]
    for path in (folder / "alphas").iterdir():
        path.unlink()
    write(folder, jobs=3)
    assert files(folder) == one


def test_a_stopped_run_is_resumed_and_nothing_else_is_overwritten(folder):
    write(folder)
    made = files(folder)
    (folder / "alphas" / "p2.png").unlink()
    kept = (folder / "alphas" / "p1.png").stat().st_mtime_ns
    write(folder)
    assert files(folder) == made and (folder / "alphas" / "p1.png").stat().st_mtime_ns == kept
    with pytest.raises(ShmDataError) as error:
        write(folder, trimap_size=31)
    assert {fault.found for fault in error.value.faults} == {"another matte"} and files(folder) == made
    drawn = images.read_alpha(folder / "alphas" / "p0.png")
    Image.fromarray(drawn).save(folder / "alphas" / "p0.png")  # as somebody does who touched it up
    with pytest.raises(ShmDataError) as error:
        write(folder)
    assert [fault.path for fault in error.value.faults] == [str(folder / "alphas" / "p0.png")]
    assert np.array_equal(images.read_alpha(folder / "alphas" / "p0.png"), drawn)


def test_what_is_wrong_with_one_mask_stops_no_other(folder):
    images.write_png(folder / "masks" / "p1_mask.png", np.zeros(SIZE, np.uint8))
    images.write_png(folder / "masks" / "p3_mask.png", binary(matte(1, (80, 100))))
    with pytest.raises(ShmDataError) as error:
        write(folder)
    expected = ["people and background", "the same size, or --resize-alpha"]
    assert [fault.expected for fault in error.value.faults] == expected
    assert sorted(files(folder)) == ["p0.png", "p2.png"]
    images.write_png(folder / "masks" / "p1_mask.png", binary(matte(1, SIZE)))
    write(folder, resize_alpha=True)
    assert images.read_alpha(folder / "alphas" / "p3.png").shape == SIZE


def test_photos_without_a_mask_are_named(folder):
    (folder / "masks" / "p2_mask.png").unlink()
    assert write(folder) == ["skipped inimg/p2.png: image without mask"]


@pytest.mark.parametrize("inside", ["photos", "masks"])
def test_mattes_are_never_written_among_their_sources(inside, folder):
    with pytest.raises(ShmDataError) as error:
        write_mattes(folder / "photos", folder / "masks", folder / inside / "new", TrimapOptions())
    assert error.value.what == "--savedir" and not (folder / inside / "new").exists()


def test_an_estimate_is_known_wherever_its_file_is(folder):
    write(folder)
    verdict = check_pairs(folder / "photos", folder / "alphas")
    found = [(finding.kind, finding.what) for finding in verdict.findings if finding.kind == "estimated"]
    assert found == [("estimated", f"inalp/p{number}.png") for number in range(4)]
    assert not verdict.wrong
    given = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 1}
    manifest = composite(CompositeOptions.checked(**given), folder / "set")
    assert [note for note in manifest.notes if "estimated from masks" in note]
    assert "estimated from masks" in (folder / "set" / "README.md").read_text(encoding="utf-8")


def test_the_mark_changes_no_pixel(tmp_path):
    alpha = matte(2, (48, 64))
    images.write_png(tmp_path / "plain.png", alpha)
    images.write_png(tmp_path / "marked.png", alpha, estimate="0123")
    assert [images.read_estimate(tmp_path / f"{name}.png") for name in ("plain", "marked")] == ["", "0123"]
    assert np.array_equal(images.read_alpha(tmp_path / "marked.png"), alpha)
    with Image.open(tmp_path / "marked.png") as picture:
        assert np.array_equal(np.asarray(picture), alpha) and "0123" in picture.info.values()


def test_without_pymatting_its_extra_is_named(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pymatting", None)
    arguments = ["--inimg", folder / "photos", "--inmask", folder / "masks", "--savedir", folder / "alphas"]
    monkeypatch.setattr(sys, "argv", ["shm-data", "matte", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1 and "pip install 'shm-matting[matte]'" in capsys.readouterr().err
    assert not (folder / "alphas").exists()


def test_the_command_writes_them(folder):
    arguments = ["--inimg", folder / "photos", "--inmask", folder / "masks", "--savedir", folder / "alphas"]
    result = CliRunner().invoke(data, ["matte", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0 and len(files(folder)) == 4
