"""`evaluate` scores the whole image and the unknown region as their definitions say."""

import numpy as np
import pytest
from small import photo

from shm_data import images
from shm_data.dataset.layout import Layout, write_names
from shm_data.files import make_folders
from shm_model.evaluate import evaluate, mean_row
from shm_model.metrics import scores
from shm_model.predict import Prediction
from shm_model.samples import source_of

SIZE = (40, 48)


@pytest.fixture
def sample(tmp_path):
    """A data set of one sample: its truth, its trimap, and a prediction that is wrong everywhere."""
    rng = np.random.default_rng(1)
    trimap = np.zeros(SIZE, np.uint8)
    trimap[:, 16:32], trimap[:, 32:] = 128, 255
    truth = np.where(trimap == 128, rng.integers(1, 255, SIZE), trimap).astype(np.uint8)
    predicted = rng.random(SIZE, np.float32)
    make_folders(*Layout(tmp_path).folders)
    for path, pixels in zip(Layout(tmp_path).sample("t.png"), (photo(1, SIZE), truth, trimap), strict=True):
        images.write_png(path, pixels)
    write_names(tmp_path, "val", ["t.png"])
    return source_of("layout", tmp_path, "val"), truth, trimap, predicted


def test_the_whole_image_is_scored_as_predicted_and_the_unknown_region_with_the_rest_known(sample):
    source, truth, trimap, predicted = sample
    (row,) = evaluate(lambda image, _: Prediction(predicted, trimap), source)
    assert row.whole == scores(predicted, truth)
    known = predicted.copy()
    known[trimap == 0], known[trimap == 255] = 0, 1
    assert row.unknown == scores(known, truth, trimap)
    # Grad and Conn depend on the pixels beyond the region, so it matters that these are set to the truth.
    assert row.unknown.grad != scores(predicted, truth, trimap).grad
    assert row.unknown.conn != scores(predicted, truth, trimap).conn
    assert row.iou == (1, 1, 1)


def test_errors_outside_the_unknown_region_count_for_the_whole_image_alone(sample):
    source, truth, trimap, _ = sample
    wrong = np.where(trimap == 128, truth, 255 - trimap).astype(np.float32) / 255
    (row,) = evaluate(lambda image, _: Prediction(wrong, trimap), source)
    assert max(row.unknown.sad, row.unknown.grad, row.unknown.conn) < 1e-7  # what float32 rounds
    assert row.whole.sad == pytest.approx(2 / 3 * SIZE[0] * SIZE[1] / 1000)
    assert mean_row([row]).unknown == row.unknown
