import hashlib
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shm_data import demo
from shm_data.images import read_alpha, read_image, read_size
from shm_data.pixels.compositing import blend
from shm_data.pixels.foreground_colours import estimate_foreground
from tools.painter import repaint

DRAWN = ("amara", "edith", "june", "mateo")


def _no_network(*_: object, **__: object) -> None:
    raise AssertionError("the demo must not need a network")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", _no_network)
        patch.setattr(socket, "getaddrinfo", _no_network)
        demo.write_sources(folder)
    return folder


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _alphas(folder: Path) -> list[Path]:
    return sorted((folder / "alphas").iterdir())


def test_written_twice_the_sources_are_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    demo.write_sources(tmp_path)
    assert _digests(tmp_path) == _digests(sources)


def test_every_photo_has_an_alpha_of_its_size(sources: Path) -> None:
    photos = {path.stem: read_size(path) for path in (sources / "photos").iterdir()}
    assert photos == {path.stem: read_size(path) for path in _alphas(sources)}
    assert len(photos) >= 5


def test_alphas_are_opaque_clear_and_fractional(sources: Path) -> None:
    for path in _alphas(sources):
        alpha = read_alpha(path)
        assert alpha.min() == 0
        assert alpha.max() == 255
        assert np.mean((alpha > 0) & (alpha < 255)) >= 0.01, path.name


def test_repainting_gives_the_assets_pixel_for_pixel(tmp_path: Path) -> None:
    for folder in ("photos", "alphas", "truth", "VOC2012/JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    repaint(tmp_path)
    painted = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert len(painted) == 3 * len(DRAWN) + 6
    for path in painted:
        np.testing.assert_array_equal(_pixels(tmp_path / path), _pixels(demo.ASSETS / path), str(path))


def test_the_assets_are_small() -> None:
    assert sum(path.stat().st_size for path in demo.ASSETS.rglob("*")) < 2.5e6


def test_truth_is_known_for_the_drawn_people(sources: Path) -> None:
    assert sorted(path.stem for path in (sources / "truth").iterdir()) == list(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_where_alpha_is_full_the_photo_shows_the_true_colours(sources: Path, name: str) -> None:
    photo, truth, alpha = _subject(sources, name)
    np.testing.assert_array_equal(photo[alpha == 255], truth[alpha == 255])


@pytest.mark.parametrize("name", DRAWN)
def test_estimated_colours_composite_like_the_true_ones(sources: Path, name: str) -> None:
    photo, truth, alpha = _subject(sources, name)
    background = np.full_like(photo, (20, 200, 90))
    soft = (alpha > 0) & (alpha < 255)
    expected = blend(truth, alpha, background)[soft]
    freed = _psnr(blend(estimate_foreground(photo, alpha), alpha, background)[soft], expected)
    spilled = _psnr(blend(photo, alpha, background)[soft], expected)
    assert freed >= 38
    assert freed > spilled + 6  # the old background differs enough to be seen where it is not removed


def test_backgrounds_are_annotated_as_in_voc(sources: Path) -> None:
    pictures = {path.stem: path for path in (sources / "VOC2012" / "JPEGImages").iterdir()}
    annotations = {path.stem: path.read_text() for path in (sources / "VOC2012" / "Annotations").iterdir()}
    assert pictures.keys() == annotations.keys()
    for name, path in pictures.items():
        width, height = read_size(path)
        assert f"<filename>{name}.jpg</filename>" in annotations[name]
        assert f"<width>{width}</width><height>{height}</height>" in annotations[name]
        corners = re.findall(r"<xmax>(\d+)</xmax><ymax>(\d+)</ymax>", annotations[name])
        assert all(int(x) <= width and int(y) <= height for x, y in corners)


def test_some_backgrounds_show_people_and_most_do_not(sources: Path) -> None:
    annotations = [path.read_text() for path in (sources / "VOC2012" / "Annotations").iterdir()]
    with_people = sum("<name>person</name>" in text for text in annotations)
    assert 1 <= with_people <= 2
    assert len(annotations) - with_people >= 8


def test_the_options_name_the_sources(sources: Path) -> None:
    options = demo.options(sources)
    assert options.inimg == sources / "photos"
    assert options.inalp == sources / "alphas"
    assert options.vocroot == (sources / "VOC2012",)
    assert options.numbg == 16


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _subject(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    photo, truth = read_image(folder / "photos" / f"{name}.png"), read_image(folder / "truth" / f"{name}.webp")
    return photo, truth, read_alpha(folder / "alphas" / f"{name}.png")


def _psnr(found: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((found.astype(float) - expected) ** 2)))
