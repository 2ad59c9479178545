"""One camera for the whole picture: one band limit, one grain and one JPEG, and alpha still true."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import contents, matte, photo

from shm_data import CompositeOptions, images
from shm_data.building.build import composite, write_plan
from shm_data.building.executors import Part, Threads
from shm_data.building.on_the_fly import open_plan
from shm_data.building.worker import make_sample
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import read_recipes
from shm_data.pixels.augmentations import Augmentation
from shm_data.pixels.band_limit import limit_band
from shm_data.pixels.compositing import blend
from shm_data.pixels.effects import add_grain, augment_alpha, augment_layers, is_gray, match_gray, take_photo
from shm_data.planning.resolution import enlargement, relative_blur

ONE = Augmentation((("camera", (2, 3.0, 7, 90)),))


def camera(half_octaves=0, sigma=0.0, seed=0, quality=100):
    return Augmentation((("camera", (half_octaves, sigma, seed, quality)),))


@pytest.fixture
def sources(tmp_path):
    """People of 320 x 256 px, small backgrounds that are enlarged, and one in black and white."""
    for name in ("photos", "alphas", "places"):
        (tmp_path / name).mkdir()
    for number in range(4):
        images.write_png(tmp_path / "photos" / f"p{number}.png", photo(number, (320, 256)))
        images.write_png(tmp_path / "alphas" / f"p{number}.png", matte(number, (320, 256)))
    for number in range(5):
        place = photo(20 + number, (136, 144))
        if number == 0:
            place = np.repeat(place[..., :1], 3, axis=2)
        images.write_png(tmp_path / "places" / f"b{number}.png", place)
    return tmp_path


def options(sources, **more):
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    return CompositeOptions.checked(**folders | {"numbg": 4, "augment": ("camera",), "trimap_size": 7} | more)


def recipes_in(root):
    return list(read_recipes(Layout(root).recipes))


# Pixels.


@settings(deadline=None)  # the first call loads compiled code
@given(st.integers(0, 2**32 - 1), st.floats(1, 20))
def test_grain_is_the_same_again_and_has_its_strength(seed, sigma):
    gray = np.full((200, 240, 3), 128, np.uint8)
    noisy = add_grain(gray, sigma, seed)
    assert np.array_equal(noisy, add_grain(gray, sigma, seed))
    assert not np.array_equal(noisy, add_grain(gray, sigma, seed ^ 1))
    noise = noisy.astype(float) - 128
    assert abs(noise.std() / np.hypot(sigma, 0.3) - 1) < 0.1 and abs(noise.mean()) < sigma / 10


def test_grain_is_weaker_in_the_dark_and_in_the_light_and_clipped():
    sigmas = [
        add_grain(np.full((400, 400, 3), level, np.uint8), 8.0, 3).astype(float).std() for level in (40, 128, 215)
    ]
    assert max(sigmas[0], sigmas[2]) < 0.9 * sigmas[1]
    for level in (0, 255):
        noisy = add_grain(np.full((64, 64, 3), level, np.uint8), 8.0, 3)
        assert abs(noisy.astype(int) - level).max() < 40


def test_neighbours_of_a_grain_are_correlated_and_the_tile_has_no_seam():
    noise = add_grain(np.full((600, 1200, 3), 128, np.uint8), 16.0, 12345).astype(float) - 128
    for axis in (0, 1):
        lag = (noise * np.roll(noise, 1, axis)).mean() / noise.var()
        assert 0.5 < lag < 0.8
        steps = np.abs(np.diff(noise, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 1.5 * steps.mean()


@pytest.mark.parametrize("half_octaves", [0, 1, 2, 5])
def test_alpha_says_what_the_band_limited_image_mixes(half_octaves):
    """I' = L(I) is alpha' F' + (1 - alpha') B' of the layers that training gets, before grain and JPEG."""
    front, alpha, behind = photo(1, (160, 200)), matte(1, (160, 200)), photo(2, (160, 200))
    done = camera(half_octaves)
    layers = augment_layers(front, alpha, behind, done)
    mixed = blend(layers[0], augment_alpha(alpha, done), layers[1]).astype(int)
    error = np.abs(mixed - limit_band(blend(front, alpha, behind), done.band_factor))
    assert error.max() <= 4 and error.mean() < 0.8  # each step of the way rounds
    if half_octaves:  # with the sharp alpha, or with layers each limited alone, the equation does not hold
        plain = [limit_band(pixels, done.band_factor) for pixels in (front, behind)]
        assert np.abs(blend(layers[0], alpha, layers[1]).astype(int) - mixed).max() > 10
        assert np.abs(blend(plain[0], augment_alpha(alpha, done), plain[1]).astype(int) - mixed).max() > 10


def test_a_camera_of_no_strength_changes_next_to_nothing():
    picture = np.full((48, 64, 3), (90, 120, 200), np.uint8)
    assert np.abs(take_photo(picture, camera().numbers("camera")).astype(int) - picture).max() <= 2
    assert augment_alpha(matte(1), camera()).tobytes() == matte(1).tobytes()


def test_one_camera_has_colours_or_none():
    colour, gray = photo(1), np.repeat(photo(2)[..., :1], 3, axis=2)
    assert is_gray(gray) and not is_gray(colour)
    for pair in ((colour, gray), (gray, colour), (gray, gray)):
        assert all(map(is_gray, match_gray(*pair, ONE)))
    assert all(map(np.array_equal, match_gray(colour, gray, Augmentation()), (colour, gray)))
    assert all(map(np.array_equal, match_gray(colour, colour, ONE), (colour, colour)))


# Sets.


def test_every_sample_of_train_is_no_sharper_than_its_background(sources, tmp_path):
    write_plan(options(sources, trainsplit=0.5), tmp_path / "plan")
    recipes = recipes_in(tmp_path / "plan")
    for recipe in recipes:
        assert (recipe.augment is None) == (recipe.split == "val")
        if recipe.augment is not None:
            assert recipe.augment.band_factor >= 0.999 * (enlargement(recipe) or 1)
            assert relative_blur(recipe) is None or relative_blur(recipe) <= 1.001
    assert len({recipe.augment.band_factor for recipe in recipes if recipe.augment}) > 2


def test_the_note_and_the_warning_of_enlarged_backgrounds_are_gone(sources, tmp_path):
    for augment, visible in (((), True), (("camera",), False)):
        root = tmp_path / f"set{len(augment)}"
        manifest = composite(options(sources, augment=augment), root)
        assert any("enlarged" in note for note in manifest.notes) == visible
        assert any(finding.kind == "enlarged" for finding in check_dataset(root).findings) == visible


def test_the_same_bytes_by_any_number_of_workers_in_parts_and_in_training(sources, tmp_path):
    given_options = options(sources, trimap="random", augment=("camera", "place", "gamma"))
    composite(given_options, tmp_path / "one", Threads(1))
    composite(given_options, tmp_path / "many", Threads(2))
    for number in (2, 1, 3):
        composite(given_options, tmp_path / "parts", Part(number, 3))
    assert contents(tmp_path / "one") == contents(tmp_path / "many") == contents(tmp_path / "parts")
    replay = open_plan(tmp_path / "one", "train", tmp_path / "cache")
    for index, name in enumerate(replay.names):
        sample = replay.sample(replay.recipe(index))
        paths = Layout(tmp_path / "one").sample(name)
        for made, path in zip((sample.image, sample.alpha, sample.trimap), paths, strict=True):
            assert np.array_equal(made, images.read_channels(path).squeeze()), name


def test_samples_of_one_band_limit_share_their_alpha(sources, tmp_path):
    composite(options(sources, numbg=12), tmp_path / "set", link="hard")
    assert check_dataset(tmp_path / "set").errors == 0
    files = {}
    for recipe in recipes_in(tmp_path / "set"):
        factor = 1.0 if recipe.augment is None else recipe.augment.band_factor
        files.setdefault((recipe.foreground, factor), set()).add(
            Layout(tmp_path / "set").sample(recipe.name)[1].stat().st_ino
        )
    assert all(len(inodes) == 1 for inodes in files.values())
    assert len({inode for inodes in files.values() for inode in inodes}) == len(files) > 6


def test_a_person_in_colour_before_a_gray_background_is_gray(sources, tmp_path):
    write_plan(options(sources, trainsplit=1.0), tmp_path / "plan")
    manifest = read_manifest(Layout(tmp_path / "plan"))
    people = {each.files.name: each for each in manifest.foregrounds}
    made = 0
    for recipe in recipes_in(tmp_path / "plan"):
        sample = make_sample(replace(recipe, augment=camera(2)), people, manifest)
        before_gray = recipe.background is not None and Path(recipe.background).stem == "b0"
        assert is_gray(sample.image) == before_gray
        made += before_gray
        if before_gray:
            assert is_gray(sample.foreground) and is_gray(sample.background)
    assert made


def test_a_trimap_of_ones_own_keeps_its_alpha(sources, tmp_path):
    (sources / "trimaps").mkdir()
    own = (matte(1, (320, 256)) > 127).astype(np.uint8) * 255
    own[130:180] = np.where(own[130:180] == 255, 128, 0)
    images.write_png(sources / "trimaps" / "p1.png", own)
    write_plan(options(sources, intri=sources / "trimaps", trainsplit=1.0), tmp_path / "plan")
    for recipe in recipes_in(tmp_path / "plan"):
        assert (recipe.augment is None) == (recipe.foreground == "p1")
