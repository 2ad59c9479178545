"""The exposure and colours of a person, moved towards those of the background."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import matte, photo

from shm_data import CompositeOptions, images
from shm_data.building.build import write_plan
from shm_data.building.on_the_fly import open_plan
from shm_data.pixels.compositing import blend
from shm_data.pixels.effects import match_colours

SHARES = st.floats(0, 1)


def scene(seed):
    """A person and a background of moderate colours, so that nothing is clipped."""
    front = 90 + photo(seed, (96, 128)) // 4
    behind = 60 + photo(seed + 1, (96, 128)) // 4
    return front.astype(np.uint8), np.full((96, 128), 255, np.uint8), behind.astype(np.uint8)


def means(pixels):
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(axis=0)


def test_no_share_changes_nothing_but_rounding():
    front, alpha, behind = scene(0)
    assert np.abs(match_colours(front, alpha, behind, (0.0, 0.0)).astype(int) - front).max() <= 4


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), SHARES, SHARES)
def test_means_go_their_share_of_the_way(seed, lightness, chroma):
    front, alpha, behind = scene(seed)
    moved = means(match_colours(front, alpha, behind, (lightness, chroma))) - means(front)
    way = means(behind) - means(front)
    assert np.abs(moved - way * (lightness, chroma, chroma)).max() < 4


def test_only_the_person_decides_how_far():
    front, _, behind = scene(3)
    alpha = np.zeros((96, 128), np.uint8)
    alpha[:, :64] = 255
    other = front.copy()
    other[:, 64:] = 255  # what alpha hides
    one, two = (match_colours(each, alpha, behind, (0.5, 0.5)) for each in (front, other))
    assert np.array_equal(one[:, :64], two[:, :64])


def test_a_person_of_whom_nothing_is_seen_is_no_fault():
    front, alpha, behind = scene(4)
    assert match_colours(front, np.zeros_like(alpha), behind, (0.5, 0.5)).shape == front.shape


@pytest.fixture
def plan(tmp_path):
    for name in ("photos", "alphas", "places"):
        (tmp_path / name).mkdir()
    for number in range(4):
        images.write_png(tmp_path / "photos" / f"p{number}.png", photo(number, (160, 144)))
        images.write_png(tmp_path / "alphas" / f"p{number}.png", matte(number, (160, 144)))
        images.write_png(tmp_path / "places" / f"b{number}.png", photo(20 + number, (160, 144)))
    options = CompositeOptions.checked(
        inimg=tmp_path / "photos",
        inalp=tmp_path / "alphas",
        bgdir=(tmp_path / "places",),
        numbg=6,
        augment=("match",),
    )
    write_plan(options, tmp_path / "plan")
    return open_plan(tmp_path / "plan", "train", tmp_path / "cache")


def test_the_image_is_still_the_mixture_of_its_colours(plan):
    matched = 0
    for index in range(len(plan.names)):
        recipe = plan.recipe(index)
        sample = plan.sample(recipe)
        if sample.foreground is not None:
            assert np.array_equal(sample.image, blend(sample.foreground, sample.alpha, sample.background))
            matched += recipe.augment is not None
        else:
            assert recipe.augment is None
    assert matched
