"""Estimated foreground colours are free of the old background."""

import subprocess
import sys

import numpy as np
import pytest

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.parallel import spread
from shm_data.pixels.compositing import blend, cover, cover_box
from shm_data.pixels.foreground_colours import estimate_foreground, separate_colours


def _psnr(one, other, where):
    error = np.mean((one[where].astype(float) - other[where]) ** 2)
    return 10 * np.log10(255**2 / error)


@pytest.fixture(scope="module")
def lemur(realdata):
    folder = realdata / "fg" / "pymatting_lemur"
    beach = images.read_image(folder / "beach.png")
    alpha = images.read_alpha(folder / "lemur_alpha.png")
    size = alpha.shape[::-1]
    return {
        "colours": images.read_image(folder / "lemur_foreground.png"),
        "alpha": alpha,
        "forest": images.read_image(folder / "lemur_background.png"),
        "beach": cover(beach, cover_box(beach.shape[1::-1], size, 0.5, 0.5), size),
    }


@pytest.mark.parametrize(("old", "new"), [("forest", "beach"), ("beach", "forest")])
def test_known_colours_on_an_old_background_reach_38_db_on_a_new_one(lemur, old, new):
    colours, alpha = lemur["colours"], lemur["alpha"]
    photo = blend(colours, alpha, lemur[old])
    truth = blend(colours, alpha, lemur[new])
    fractional = (alpha > 0) & (alpha < 255)
    reached = _psnr(blend(estimate_foreground(photo, alpha), alpha, lemur[new]), truth, fractional)
    plain = _psnr(blend(photo, alpha, lemur[new]), truth, fractional)
    assert reached >= 38
    assert reached > plain + 5


@pytest.mark.parametrize(("top", "left"), [(60, 240), (180, 180), (300, 300)])
def test_a_picture_of_one_tile_has_the_colours_that_pymatting_finds(lemur, top, left):
    from pymatting import estimate_foreground_ml

    box = slice(top, top + 120), slice(left, left + 120)
    photo, alpha = blend(lemur["colours"], lemur["alpha"], lemur["beach"])[box], lemur["alpha"][box].copy()
    fractional = (alpha > 0) & (alpha < 255)
    assert fractional.mean() > 0.4
    theirs = estimate_foreground_ml((photo / 255).astype("f4"), (alpha / 255).astype("f4"), return_background=True)
    for ours, other in zip(separate_colours(photo, alpha), theirs, strict=True):
        differences = np.abs(ours.astype(float) - other * 255)[fractional]
        assert differences.mean() < 0.35  # a quarter of a level is rounding
        assert np.quantile(differences, 0.98) < 0.51


def test_the_photo_is_kept_where_alpha_is_255(lemur):
    photo = blend(lemur["colours"], lemur["alpha"], lemur["beach"])
    opaque = lemur["alpha"] == 255
    assert np.array_equal(estimate_foreground(photo, lemur["alpha"])[opaque], photo[opaque])


def test_both_colours_mixed_again_give_the_photo(lemur):
    photo = blend(lemur["colours"], lemur["alpha"], lemur["beach"])
    foreground, background = separate_colours(photo, lemur["alpha"])
    assert np.array_equal(background[lemur["alpha"] == 0], photo[lemur["alpha"] == 0])
    assert _psnr(blend(foreground, lemur["alpha"], background), photo, lemur["alpha"] >= 0) > 40


def test_what_is_far_from_an_edge_decides_nothing_about_it(lemur):
    photo = blend(lemur["colours"], lemur["alpha"], lemur["beach"])
    size = (680 * 4, 440 * 3)
    image, alpha = np.zeros((size[1], size[0], 3), np.uint8), np.zeros(size[::-1], np.uint8)
    image[:440, :680], alpha[:440, :680] = photo, lemur["alpha"]
    first = estimate_foreground(image, alpha)
    image[-440:, -680:] = photo
    assert np.array_equal(estimate_foreground(image, alpha)[:440, :680], first[:440, :680])


@pytest.mark.parametrize("value", [1, 100, 254])
def test_a_picture_without_anything_sure_is_estimated_as_a_whole(value):
    photo = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    assert estimate_foreground(photo, np.full((300, 200), value, np.uint8)).shape == photo.shape


def test_a_binary_alpha_needs_no_estimate():
    photo = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    alpha = np.where(np.eye(9) > 0, 255, 0).astype(np.uint8)
    assert np.array_equal(estimate_foreground(photo, alpha), photo)


def test_estimates_made_at_once_are_the_same_as_one_by_one(lemur):
    photo = blend(lemur["colours"], lemur["alpha"], lemur["beach"])
    alone = estimate_foreground(photo, lemur["alpha"])
    together = spread(lambda _: estimate_foreground(photo, lemur["alpha"]), range(6), jobs=3)
    assert all(np.array_equal(other, alone) for other in together)


def test_a_slow_first_use_is_reported_once():
    script = """
import sys, threading, time

import numpy as np
import shm_data.pixels.foreground_colours as foreground
from shm_data.pixels import compiling

class Slow:  # an import that takes its time, as compiling does
    def find_spec(self, name, path=None, target=None):
        if name == "numba":
            time.sleep(0.3)

sys.meta_path.insert(0, Slow())
compiling._COMPILING = 0.1
image, alpha = np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 100, np.uint8)
threads = [threading.Thread(target=foreground.estimate_foreground, args=(image, alpha)) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert result.stderr.count("compiling loops over pixels") == 1


@pytest.mark.parametrize(
    ("image", "alpha", "what"),
    [
        (np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), "image"),
        (np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9), np.uint8), "image"),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9)), "alpha"),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8), np.uint8), "alpha"),
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 1), np.uint8), "alpha"),
    ],
)
@pytest.mark.parametrize("function", [estimate_foreground, separate_colours])
def test_other_shapes_and_types_are_refused(function, image, alpha, what):
    with pytest.raises(ShmDataError) as error:
        function(image, alpha)
    assert error.value.what == what and error.value.found and error.value.expected.startswith("uint8 (")
