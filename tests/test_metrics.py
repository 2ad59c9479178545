"""The metrics give the published numbers, and what their definitions say when written out pixel by pixel."""

import math
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from shm_data import images
from shm_data.pixels.trimap import TrimapRule, derive_trimap
from shm_model.metrics import Scores, class_iou, conn, grad, mad, mse, sad, scores

METRICS = (sad, mse, mad, grad, conn)
SUMS = (sad, grad, conn)
MEANS = (mse, mad)

# Values where thresholds and theta change their minds, k / 10 among them as far as bytes have it.
LEVELS = np.array([0, 0, 13, 38, 39, 51, 64, 102, 140, 153, 191, 204, 242, 255, 255], np.uint8)

seeds = st.integers(0, 2**32 - 1)


def _random(seed, low=1, high=14):
    """A prediction and a truth of one size: patches, so that components are more than single pixels, and noise."""
    rng = np.random.default_rng(seed)
    size = rng.integers(low, high, 2)
    patches = rng.choice(LEVELS, size).repeat(rng.integers(1, 3), axis=0)
    noise = rng.choice(LEVELS, patches.shape)
    return np.where(rng.random(patches.shape) < 0.7, patches, noise).astype(np.uint8), patches


def _gradient(matte):
    """As gaussgradient.m: a two-dimensional kernel, filled cell by cell, and mat2gray before it."""
    sigma, epsilon = 1.4, 1e-2
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * epsilon)))
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for i in range(2 * half + 1):
        for j in range(2 * half + 1):
            u, v = (i - half) / sigma, (j - half) / sigma
            density = math.exp(-(u * u + v * v) / 2) / (2 * math.pi * sigma**2)
            kernel[i, j] = -v / sigma * density
    kernel /= math.sqrt((kernel**2).sum())
    gray = matte / 255
    gray = (gray - gray.min()) / (gray.max() - gray.min()) if gray.max() > gray.min() else gray
    return np.hypot(*(ndimage.convolve(gray, k, mode="nearest") for k in (kernel, kernel.T)))


def slow_grad(prediction, truth, region):
    return ((_gradient(prediction) - _gradient(truth)) ** 2)[region].sum() / 1000


def _level(prediction, truth):
    """As connectivityError.m; thresholds in tenths of whole numbers, so that no rounding enters."""
    level = np.full(truth.shape, -1)
    for tenths in range(1, 11):
        inside = (prediction.astype(int) * 10 >= tenths * 255) & (truth.astype(int) * 10 >= tenths * 255)
        labels, count = ndimage.label(inside)  # crosses: 4-connected
        sizes = [np.sum(labels == label) for label in range(1, count + 1)]
        omega = labels == 1 + int(np.argmax(sizes)) if sizes else np.zeros(truth.shape, bool)
        level[(level == -1) & ~omega] = tenths - 1
    level[level == -1] = 10
    return level / 10


def slow_conn(prediction, truth, region):
    total, level = 0.0, _level(prediction, truth)
    for place in np.argwhere(region):
        p, g, connected = (a[tuple(place)] for a in (prediction / 255, truth / 255, level))
        phi_p = 1 - (p - connected) * (p - connected >= 0.15)
        phi_g = 1 - (g - connected) * (g - connected >= 0.15)
        total += abs(phi_p - phi_g)
    return total / 1000


@pytest.fixture
def vector():
    """The case of mmagic's tests: prediction, truth, trimap."""
    trimap = np.zeros((32, 32), np.uint8)
    trimap[:16, :16], trimap[16:, 16:] = 128, 255
    return np.where(trimap == 255, 255, 0).astype(np.uint8), np.full((32, 32), 255, np.uint8), trimap


@pytest.fixture(scope="module")
def real(realdata):
    """A portrait's matte, small, a blurred and shifted prediction of it, and its trimap."""
    alpha = images.read_alpha(realdata / "fg" / "bluestyle97_shm" / "sample_alpha.png")
    truth = cv2.resize(alpha, (150, 100), interpolation=cv2.INTER_AREA)
    prediction = cv2.GaussianBlur(np.roll(truth, (1, 2), (0, 1)), (0, 0), 1.5)
    prediction[10:14, 10:15] = 200  # something that hangs in the air
    return prediction, truth, derive_trimap(truth, TrimapRule("euclid", 9, 9))


def test_the_third_party_vector(vector):
    assert sad(*vector) == pytest.approx(0.256, abs=1e-12)
    assert mse(*vector) == pytest.approx(1.0, abs=1e-12)
    assert mad(*vector) == pytest.approx(1.0, abs=1e-12)
    assert grad(*vector) == pytest.approx(0.0028887, abs=5e-8)
    assert conn(*vector) == pytest.approx(0.256, abs=1e-12)


@pytest.mark.parametrize(("item", "published"), [(1, 1719.04059336033), (5, 147.46583624517552)])
def test_published_sums_over_whole_images(realdata, item, published):
    folder = realdata / "metrics_ref" / "praveen_bayesian"
    prediction = np.load(folder / "NUMPY" / f"{item}.npy")
    truth = images.read_alpha(folder / "GT" / f"{item}-GT.png")
    assert sad(prediction, truth) * 1000 == pytest.approx(published, abs=1e-6)
    assert mad(prediction, truth) * truth.size == pytest.approx(published, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_grad_and_conn_are_their_definitions(seed):
    prediction, truth = _random(seed)
    trimap = np.random.default_rng(seed).choice(np.array([0, 128, 255], np.uint8), truth.shape)
    for chosen, region in ((None, np.ones(truth.shape, bool)), (trimap, trimap == 128)):
        assert grad(prediction, truth, chosen) == pytest.approx(slow_grad(prediction, truth, region), abs=1e-12)
        assert conn(prediction, truth, chosen) == pytest.approx(slow_conn(prediction, truth, region), abs=1e-12)


def test_grad_and_conn_are_their_definitions_on_a_real_matte(real):
    prediction, truth, trimap = real
    for chosen, region in ((None, np.ones(truth.shape, bool)), (trimap, trimap == 128)):
        assert grad(prediction, truth, chosen) == pytest.approx(slow_grad(prediction, truth, region), rel=1e-9)
        assert conn(prediction, truth, chosen) == pytest.approx(slow_conn(prediction, truth, region), rel=1e-9)
    assert min(metric(*real) for metric in METRICS) > 1e-4


def test_what_hangs_in_the_air_is_disconnected(real):
    prediction, truth, _ = real
    hanging = np.zeros(truth.shape, np.uint8)
    hanging[10:14, 10:15] = 128
    assert (truth[hanging == 128] == 0).all()
    assert conn(prediction, truth, hanging) == pytest.approx(20 * 200 / 255 / 1000)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_matte_has_no_error_against_itself(seed):
    matte, _ = _random(seed)
    assert scores(matte, matte) == Scores(0, 0, 0, 0, 0)
    assert scores(matte, matte, np.full_like(matte, 128)) == Scores(0, 0, 0, 0, 0)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_prediction_and_truth_may_change_places(seed):
    prediction, truth = _random(seed)
    assert scores(prediction, truth) == scores(truth, prediction)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_all_at_once_is_each_alone_in_bytes_and_in_floats(seed):
    prediction, truth = _random(seed)
    at_once = scores(prediction, truth)
    assert at_once == Scores(*(metric(prediction, truth) for metric in METRICS))
    assert at_once == scores(prediction / 255, truth) == scores(prediction, truth / 255)
    single = scores((prediction / 255).astype(np.float32), (truth / 255).astype(np.float32))
    for name in Scores.__slots__:
        assert getattr(single, name) == pytest.approx(getattr(at_once, name), abs=1e-6)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_what_is_known_does_not_count(seed):
    prediction, truth = _random(seed)
    rng = np.random.default_rng(seed)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), truth.shape)
    trimap.flat[0] = 128
    unknown = trimap == 128
    other = np.where(unknown, prediction, rng.choice(LEVELS, truth.shape)).astype(np.uint8)
    for metric in (sad, mse, mad):
        assert metric(other, truth, trimap) == metric(prediction, truth, trimap)
        alone = metric(prediction[unknown][None], truth[unknown][None])
        assert metric(prediction, truth, trimap) == pytest.approx(alone, abs=1e-12)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_regions_add_up_to_the_whole(seed):
    """Only a map made from the whole image, then summed, does this for Grad and Conn."""
    prediction, truth = _random(seed)
    here = np.random.default_rng(seed).random(truth.shape) < 0.5
    parts = [np.where(region, 128, 255).astype(np.uint8) for region in (here, ~here)]
    for metric in SUMS:
        both = sum(metric(prediction, truth, part) for part in parts)
        assert both == pytest.approx(metric(prediction, truth), abs=1e-12)


def test_grad_and_conn_see_beyond_the_region():
    truth = np.zeros((9, 30), np.uint8)
    truth[3:6, :10] = truth[3:6, 11:] = 255
    trimap = np.zeros(truth.shape, np.uint8)
    trimap[3:6, :10] = 128
    broken = np.where(truth == 255, 200, 0).astype(np.uint8)
    bridged = broken.copy()
    truth[4, 10] = bridged[4, 10] = 255  # known, and all that joins the two parts
    assert sad(bridged, truth, trimap) == sad(broken, truth, trimap)
    assert grad(bridged, truth, trimap) != grad(broken, truth, trimap)
    assert conn(bridged, truth, trimap) == pytest.approx(30 * (1 - 0.7) / 1000)
    assert conn(broken, truth, trimap) == pytest.approx(30 * (1 - 200 / 255) / 1000)


@pytest.mark.parametrize("value", [51, 102, 153, 204, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.float32])
def test_a_value_on_a_threshold_reaches_it(value, dtype):
    """153 / 255 is 0.6, but np.arange(0, 1.1, 0.1)[6] is a little more."""
    matte = np.full((10, 10), value, np.uint8) if dtype == np.uint8 else np.full((10, 10), value / 255, dtype)
    whole = np.full((10, 10), 255, np.uint8)
    assert conn(matte, whole) == pytest.approx(100 * (1 - value / 255) / 1000, abs=1e-7)


def test_the_background_is_no_component():
    truth = np.zeros((32, 32), np.uint8)
    truth[2:6, 2:6] = 255
    prediction = truth.copy()
    prediction[20:22, 20:22] = 255
    assert conn(prediction, truth) == pytest.approx(4 / 1000)
    truth[20:22, 20:22] = 102  # both have it, but apart from the rest: 1 and 0.4 above level 0
    assert conn(prediction, truth) == pytest.approx(4 * 0.6 / 1000)


def test_corners_do_not_connect():
    truth = np.zeros((6, 6), np.uint8)
    truth[:3, :3] = 255
    truth[3, 3] = 115
    prediction = np.where(truth > 0, 255, 0).astype(np.uint8)
    assert conn(prediction, truth) == pytest.approx((1 - 115 / 255) / 1000)  # connected, it would be 0.6 / 1000


def test_nothing_in_common_is_connected_nowhere():
    prediction = np.array([[0, 38, 39, 255]], np.uint8)  # 38 / 255 < 0.15 < 39 / 255
    assert conn(prediction, np.zeros((1, 4), np.uint8)) == pytest.approx((39 / 255 + 1) / 1000)


def test_grad_does_not_see_contrast():
    truth = np.random.default_rng(0).random((20, 30))
    assert grad(0.25 + truth / 2, truth) == pytest.approx(0, abs=1e-15)
    assert grad(np.full((20, 30), 0.3), np.full((20, 30), 0.7)) == 0


def test_where_nothing_is_unknown_sums_are_zero_and_means_are_nan(vector):
    prediction, truth, trimap = vector
    known = np.where(trimap == 128, 0, trimap).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [metric(prediction, truth, known) for metric in SUMS] == [0, 0, 0]
        assert all(math.isnan(metric(prediction, truth, known)) for metric in MEANS)


def test_inputs_stay_as_they_are(real):
    before = [array.copy() for array in real]
    floats = real[0] / 255
    floats.setflags(write=False)
    scores(*real)
    scores(floats, real[1][:, ::-1])
    assert all(np.array_equal(array, copy) for array, copy in zip(real, before, strict=True))


def test_iou_of_each_class():
    truth = np.array([[0, 0, 128, 255]], np.uint8)
    assert class_iou(truth, truth) == (1, 1, 1)
    assert class_iou(np.array([[0, 128, 128, 128]], np.uint8), truth) == (1 / 2, 1 / 3, 0)
    background, unknown, foreground = class_iou(truth[:, :2], truth[:, 1:3])
    assert (background, unknown) == (1 / 2, 0)
    assert math.isnan(foreground)


PLANE = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "truth", "trimap", "complaint"),
    [
        (PLANE, PLANE.T, None, r"truth: found the shape \(5, 4\), expected the prediction's \(4, 5\)"),
        (PLANE, PLANE, PLANE.T, r"trimap: found the shape \(5, 4\)"),
        (PLANE[..., None], PLANE, None, r"prediction: found the shape \(4, 5, 1\), expected \(H, W\)"),
        (PLANE[:0], PLANE[:0], None, "at least one pixel"),
        (PLANE.astype(np.int64), PLANE, None, "prediction: found int64, expected uint8 or floats"),
        (PLANE, PLANE > 0, None, "truth: found bool"),
        (PLANE, PLANE + 255.0, None, "truth: found floats from 255.0 to 255.0"),
        (PLANE - 1e-3, PLANE, None, "prediction: found floats from -0.001"),
        (PLANE + np.nan, PLANE, None, "prediction: found floats from nan"),
        (PLANE, PLANE, PLANE + np.uint8(102), "trimap: found the value 102, expected only 0, 128 and 255"),
        (PLANE, PLANE, PLANE + 128.0, "trimap: found float64, expected a trimap in uint8"),
    ],
)
def test_wrong_arrays_are_reported(prediction, truth, trimap, complaint):
    for metric in (*METRICS, scores):
        with pytest.raises(ValueError, match=complaint):
            metric(prediction, truth, trimap)


@pytest.mark.parametrize(
    ("prediction", "truth", "complaint"),
    [
        (PLANE, PLANE.T, "truth: found the shape"),
        (PLANE + np.uint8(1), PLANE, "prediction: found the value 1"),
        (PLANE, PLANE / 255, "truth: found float64"),
    ],
)
def test_wrong_trimaps_are_reported(prediction, truth, complaint):
    with pytest.raises(ValueError, match=complaint):
        class_iou(prediction, truth)
