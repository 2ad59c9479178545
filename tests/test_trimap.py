"""A trimap never calls a fractional pixel known, and its band is as wide as asked."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.pixels.trimap import (
    LOSSY_TOLERANCE,
    TrimapRule,
    derive_trimap,
    flat_levels,
    kernel_width,
    missing_classes,
    missing_classes_by,
    normalise_trimap,
)

RULES = [TrimapRule(method, 9, 15) for method in ("euclid", "ellipse")]


def _disc(size=200, radius=60.0):
    y, x = np.mgrid[:size, :size] - size / 2
    return np.clip((radius - np.hypot(x, y)) * 255 + 127, 0, 255).astype(np.uint8)


def _truth(alpha, rule):
    """The definition, pixel by pixel: known is what has only its own kind within the radius."""
    trimap = np.full(alpha.shape, 128, np.uint8)
    for region, width, value in ((alpha == 255, rule.erode, 255), (alpha == 0, rule.dilate, 0)):
        others = np.argwhere(~region)
        for place in np.argwhere(region):
            if not len(others) or np.min(((others - place) ** 2).sum(axis=1)) > (width // 2) ** 2:
                trimap[tuple(place)] = value
    return trimap


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 5, 9]), st.sampled_from([1, 3, 7]))
def test_euclid_is_the_definition(seed, erode, dilate):
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 0, 0, 90, 255, 255], np.uint8), (4, 5))
    alpha = np.kron(coarse, np.ones((7, 6), np.uint8))
    rule = TrimapRule("euclid", erode, dilate)
    assert np.array_equal(derive_trimap(alpha, rule), _truth(alpha, rule))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 90), st.integers(1, 700)),
    st.sampled_from([0, 1, 2, 7, 25, 60, 253, 254, 255, 300]),
    st.sampled_from([0.0, 0.0002, 0.01, 0.4]),
)
def test_euclid_is_a_distance_transform_at_any_radius(seed, shape, radius, share):
    draw = np.random.default_rng(seed)
    alpha = np.where(draw.random(shape) < share, 0, 255).astype(np.uint8)
    trimap = derive_trimap(alpha, TrimapRule("euclid", 2 * radius + 1, 1))
    deep = cv2.distanceTransform((alpha == 255).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius
    assert np.array_equal(trimap == 255, deep if (alpha == 0).any() else np.ones(shape, bool))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.method)
def test_the_band_reaches_half_the_width_to_every_side(rule):
    alpha = np.zeros((101, 101), np.uint8)
    alpha[:, 50:] = 255
    for view in (lambda a: a, lambda a: a[:, ::-1], lambda a: a.T, lambda a: a.T[::-1]):
        trimap = derive_trimap(view(alpha).copy(), rule)
        inside = (view(alpha) == 255) & (trimap == 128)
        outside = (view(alpha) == 0) & (trimap == 128)
        assert inside.sum() == 101 * (rule.erode // 2)
        assert outside.sum() == 101 * (rule.dilate // 2)


@pytest.mark.parametrize("method", ["euclid", "ellipse"])
def test_the_border_of_the_picture_erodes_nothing(method):
    whole = np.full((30, 40), 255, np.uint8)
    assert (derive_trimap(whole, TrimapRule(method, 21, 21)) == 255).all()
    assert (derive_trimap(0 * whole, TrimapRule(method, 21, 21)) == 0).all()


@pytest.mark.parametrize("method", ["euclid", "ellipse"])
def test_wider_bands_hold_narrower_ones(method):
    alpha, before = _disc(), None
    for width in (1, 3, 9, 21, 41):
        unknown = derive_trimap(alpha, TrimapRule(method, width, width)) == 128
        assert before is None or (unknown | ~before).all()
        before = unknown


def test_the_two_kernels_nearly_agree():
    alpha = _disc()
    euclid, ellipse = (derive_trimap(alpha, TrimapRule(method, 25, 25)) for method in ("euclid", "ellipse"))
    assert np.mean(euclid != ellipse) < 0.02


def test_tolerance_calls_noise_flat():
    alpha = _disc()
    noisy = np.where(alpha == 0, 3, np.where(alpha == 255, 252, alpha)).astype(np.uint8)
    exact, tolerant = TrimapRule("euclid", 9, 9), TrimapRule("euclid", 9, 9, LOSSY_TOLERANCE)
    assert (derive_trimap(noisy, exact) == 128).all()
    assert np.mean(derive_trimap(noisy, tolerant) != derive_trimap(alpha, exact)) < 0.01


@pytest.mark.parametrize("unknown", [102, 127, 128])
def test_conventions_are_normalised(unknown):
    trimap = np.array([[0, unknown, 255]], np.uint8)
    assert normalise_trimap(trimap).tolist() == [[0, 128, 255]]
    assert normalise_trimap(np.array([[0, 1, 2]], np.uint8)).tolist() == [[0, 128, 255]]


def test_a_matte_is_not_taken_for_a_trimap(realdata):
    with pytest.raises(ShmDataError, match="many gray levels"):
        normalise_trimap(images.read_alpha(realdata / "fg" / "pymatting_lemur" / "lemur_alpha.png"))


def test_missing_classes_are_named():
    assert missing_classes(np.array([[0, 128]], np.uint8)) == ("foreground",)
    assert missing_classes(np.array([[0, 128, 255]], np.uint8)) == ()


@given(
    seed=st.integers(0, 99), width=st.sampled_from([1, 3, 9, 31, 99]), method=st.sampled_from(["euclid", "ellipse"])
)
def test_missing_classes_are_found_without_deriving_the_trimap(seed, width, method):
    draw = np.random.default_rng(seed)
    alpha = np.kron(draw.choice([0, 0, 128, 255], draw.integers(1, 6, 2)), np.ones((9, 9))).astype(np.uint8)
    rule = TrimapRule(method, width, width)
    assert missing_classes_by(alpha, rule) == missing_classes(derive_trimap(alpha, rule))


def test_auto_width_is_odd_and_grows_with_the_picture():
    widths = [kernel_width((long, 90), "auto") for long in (100, 800, 1250, 4000)]
    assert widths == [3, 17, 25, 81]
    assert kernel_width((4000, 3000), 7) == 7


REAL_MATTES = [
    "bluestyle97_shm/sample_alpha.png",
    "tsing90_shm/0000-AIT.png",
    "p3m_demo/alpha/p_51c916fc.png",
    "p3m_demo/alpha/p_bd6af989.png",
    "gfm_samples/result_alpha/1.png",
    "alphamatting_gt27/GT/GT13.png",
    "pymatting_lemur/lemur_alpha.png",
    "vikram_humanseg/Ground_Truth/56.png",
]


@pytest.mark.parametrize("name", REAL_MATTES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.method)
def test_every_fractional_pixel_of_real_mattes_is_unknown(realdata, name, rule):
    alpha = images.read_alpha(realdata / "fg" / name)
    trimap = derive_trimap(alpha, rule)
    assert set(np.unique(trimap)) <= {0, 128, 255}
    assert (trimap[(alpha > 0) & (alpha < 255)] == 128).all()
    assert (alpha[trimap == 255] == 255).all()
    assert (alpha[trimap == 0] == 0).all()


def test_real_trimaps_of_every_convention_are_read(realdata):
    for name in ("pymatting_lemur/lemur_trimap.png", "bluestyle97_shm/sample_trimap.png"):
        trimap = normalise_trimap(images.read_gray(realdata / "fg" / name))
        assert missing_classes(trimap) == ()
    for file in sorted((realdata / "fg" / "alphamatting_gt27" / "trimap" / "Trimap1").iterdir()):
        assert missing_classes(normalise_trimap(images.read_gray(file))) == ()


def test_flat_levels_of_an_exact_matte_are_0_and_255(realdata):
    for name in ("tsing90_shm/0000-AIT.png", "alphamatting_gt27/GT/GT13.png", "vikram_humanseg/Ground_Truth/56.png"):
        assert flat_levels(images.read_alpha(realdata / "fg" / name)) == (0, 0)


def test_flat_levels_of_what_networks_write_reach_as_far_as_their_interior(realdata):
    assert flat_levels(images.read_alpha(realdata / "fg" / "carvekit_docs" / "1_bg_removed.png")) == (0, 1)
    assert flat_levels(images.read_alpha(realdata / "fg" / "p3m_demo" / "alpha" / "p_bc5cfad1.png")) == (0, 1)


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_few_stray_pixels_of_255_change_nothing(seed, low, high):
    """A trimap by these levels has a foreground, where the levels of the stray ones would leave none."""
    draw = np.random.default_rng(seed)
    alpha = _disc()
    flat = alpha.astype(int)
    flat[alpha == 0] = draw.integers(0, low + 1, (alpha == 0).sum())
    flat[alpha == 255] = 255 - draw.integers(1, high + 1, (alpha == 255).sum())
    flat[90:95, 90:95] = 255
    assert flat_levels(flat.astype(np.uint8)) == (low, high)
    trimap = derive_trimap(flat.astype(np.uint8), TrimapRule("euclid", 9, 9, max(low, high)))
    assert np.mean(trimap != derive_trimap(alpha, TrimapRule("euclid", 9, 9))) < 0.01


def test_a_matte_without_flat_regions_has_no_flat_levels():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert flat_levels(ramp) == (0, 0)
    assert flat_levels(np.full((9, 9), 128, np.uint8)) == (0, 0)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (("foo", 5, 5), "method"), (("euclid", 4, 5), "erode"), (("euclid", 5, 0), "dilate"),
        (("euclid", 5, 2.0), "dilate"), (("euclid", 5, 5, 127), "tolerance"), (("euclid", 5, 5, -1), "tolerance"),
    ],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(rule, what):
    with pytest.raises(ShmDataError) as error:
        TrimapRule(*rule)
    assert error.value.what.startswith(what) and error.value.found


@pytest.mark.parametrize(
    "alpha",
    [np.zeros((9, 9)), np.zeros((9, 9, 1), np.uint8), np.zeros((0, 9), np.uint8), [[0]], np.zeros((9, 9), bool)],
)
def test_only_an_alpha_has_a_trimap(alpha):
    with pytest.raises(ShmDataError) as error:
        derive_trimap(alpha, RULES[0])
    assert error.value.what == "alpha" and error.value.expected == "uint8 (H, W)"
