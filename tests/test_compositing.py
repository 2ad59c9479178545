"""Blending is exact, covering is fair, resizing keeps what matters."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm_data.errors import ShmDataError
from shm_data.pixels.compositing import (
    blend,
    choose_reduction,
    cover,
    cover_box,
    fit,
    reduce_box,
    resize,
    resize_matte,
    resize_nearest,
    resize_straight,
    to_three_channels,
)

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))
UNIT = st.floats(0, 1, exclude_max=True)


def test_blend_is_exact_for_all_triples():
    f, b = (grid.astype(np.uint8) for grid in np.meshgrid(np.arange(256), np.arange(256)))
    foreground, background = (np.repeat(grid[..., None], 3, axis=2) for grid in (f, b))
    f, b = f.astype(np.int64), b.astype(np.int64)
    for a in range(256):
        # rint(x / 255) without a half ever arising, since 255 is odd
        exact = (2 * (a * f + (255 - a) * b) + 255) // 510
        got = blend(foreground, np.full(f.shape, a, np.uint8), background)
        assert np.array_equal(got[..., 0], exact), a
        assert np.array_equal(got[..., 2], exact), a


def test_blend_takes_alpha_in_three_channels_and_writes_to_out():
    rng = np.random.default_rng(3)
    foreground, background = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    out = np.empty_like(foreground)
    assert blend(foreground, to_three_channels(alpha), background, out) is out
    assert np.array_equal(out, blend(foreground, alpha, background))


def test_blend_takes_views_and_read_only_pictures():
    rng = np.random.default_rng(4)
    foreground, background = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    foreground.flags.writeable = False
    turned = blend(foreground[::-1, ::2], alpha[::-1, ::2], background[::-1, ::2])
    assert np.array_equal(turned, blend(foreground, alpha, background)[::-1, ::2])


def test_blend_keeps_each_picture_where_the_other_is_absent():
    rng = np.random.default_rng(1)
    foreground, background = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    alpha = rng.choice(np.array([0, 255], np.uint8), (20, 30))
    assert np.array_equal(
        blend(foreground, alpha, background), np.where(alpha[..., None] > 0, foreground, background)
    )


@given(background=SIZES, size=SIZES, across=UNIT, down=UNIT)
def test_a_cover_box_lies_inside_and_is_as_large_as_its_shape_allows(background, size, across, down):
    x, y, width, height = cover_box(background, size, across, down)
    assert x >= 0 and y >= 0 and x + width <= background[0] and y + height <= background[1]
    assert width == background[0] or height == background[1]
    scale = max(size[0] / background[0], size[1] / background[1])
    assert abs(width - size[0] / scale) <= 1 and abs(height - size[1] / scale) <= 1


@given(background=SIZES, size=SIZES, across=UNIT, down=UNIT, share=st.floats(0.1, 1))
def test_a_background_read_smaller_still_holds_its_box_and_no_less_than_is_needed(
    background, size, across, down, share
):
    box = cover_box(background, size, across, down, share)
    by = choose_reduction(box, size)
    x, y, width, height = reduce_box(box, by)
    assert x + width <= -(-background[0] // by) and y + height <= -(-background[1] // by)
    assert by in (1, 2, 4, 8)
    assert by == 1 or (width >= size[0] - 1 and height >= size[1] - 1)
    assert abs(x * by - box[0]) < by and abs(width * by - box[2]) < 2 * by


@given(background=SIZES, size=SIZES, share=st.floats(0.1, 1))
def test_a_closer_crop_is_that_share_of_the_largest(background, size, share):
    _, _, *largest = cover_box(background, size, 0, 0)
    _, _, *closer = cover_box(background, size, 0, 0, share)
    assert all(abs(b - share * a) <= 1 for a, b in zip(largest, closer, strict=True))


def test_every_offset_is_reached_the_last_included():
    boxes = {cover_box((14, 10), (10, 10), across / 50, 0.5)[0] for across in range(50)}
    assert boxes == {0, 1, 2, 3, 4}
    assert cover_box((14, 10), (10, 10), np.nextafter(1, 0), 0)[0] == 4


def test_cover_writes_to_out(size=(60, 80)):
    photo = np.random.default_rng(5).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    out = np.empty((80, 60, 3), np.uint8)
    assert cover(photo, (7, 9, 30, 40), size, out) is out
    assert np.array_equal(out, cover(photo, (7, 9, 30, 40), size))


def test_cover_at_its_own_size_is_the_crop():
    photo = np.random.default_rng(2).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert np.array_equal(cover(photo, (7, 9, 20, 30), (20, 30)), photo[9:39, 7:27])


def test_shrinking_averages_and_enlarging_is_cubic():
    photo = np.random.default_rng(4).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    means = photo.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(photo, (15, 10)) - means).max() <= 0.51
    cubic = cv2.resize(photo, (90, 80), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(resize(photo, (90, 80)), cubic)


@pytest.mark.parametrize("size", [(30, 20), (300, 200), (45, 70)])
def test_a_flat_picture_stays_flat_at_any_size(size):
    flat = np.full((40, 60, 3), 201, np.uint8)
    assert resize(flat, size).shape == (size[1], size[0], 3)
    assert (resize(flat, size) == 201).all()


@given(SIZES, st.none() | st.integers(16, 500))
def test_fit_caps_the_long_edge_and_keeps_the_shape(size, longest):
    width, height = fit(size, longest)
    if longest is None or max(size) <= longest:
        assert (width, height) == size
    else:
        assert max(width, height) == longest
        scale = longest / max(size)
        assert abs(width - size[0] * scale) <= 1 and abs(height - size[1] * scale) <= 1


def test_an_enlarged_matte_does_not_ring():
    edge = np.full((20, 20), 30, np.uint8)  # not 0 and 255, at which a ring would be cut off
    edge[:, 10:] = 200
    row = resize_matte(edge, (80, 80))[40].astype(int)
    assert (np.diff(row) >= 0).all() and row[0] == 30 and row[-1] == 200


def test_nearest_invents_no_label():
    labels = np.random.default_rng(3).choice(np.array([0, 128, 255], np.uint8), (33, 47))
    assert set(np.unique(resize_nearest(labels, (20, 11)))) <= {0, 128, 255}


def test_what_lies_behind_a_cutout_does_not_bleed_into_its_edge():
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, 15:] = 255
    colours = np.zeros((40, 40, 3), np.uint8)
    colours[alpha > 0] = (200, 100, 50)
    small, small_alpha = resize_straight(colours, alpha, (13, 13)), resize_matte(alpha, (13, 13))
    assert ((small_alpha > 0) & (small_alpha < 255)).any()
    assert (small[small_alpha > 0] == (200, 100, 50)).all()


PICTURE = np.zeros((8, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("background", {"background": np.zeros((8, 9), np.uint8)}),
        ("background", {"background": np.zeros((8, 9, 3))}),
        ("foreground", {"background": np.zeros((9, 8, 3), np.uint8)}),
        ("foreground", {"foreground": np.zeros((16, 18, 3), np.uint8)}),
        ("alpha", {"alpha": np.zeros((9, 8), np.uint8)}),
        ("alpha", {"alpha": np.zeros((8, 9))}),
        ("alpha", {"alpha": np.zeros((8, 9, 1), np.uint8)}),
        ("alpha", {"alpha": 128}),
        ("out", {"out": np.zeros((8, 9), np.uint8)}),
    ],
)
def test_blend_refuses_other_shapes_and_types(name, values):
    arguments = {"foreground": PICTURE, "alpha": PICTURE[..., 0], "background": PICTURE} | values
    with pytest.raises(ShmDataError) as error:
        blend(**arguments)
    assert error.value.what == name and error.value.found and error.value.expected.startswith("uint8 (")
