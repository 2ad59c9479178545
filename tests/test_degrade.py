"""Degraded crops in training: one band limit, one noise and one JPEG, and alpha still true of what is seen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import photo
from tiny import config, write_set

from shm_data.dataset.shards import write_shards
from shm_data.images import read_alpha, read_image
from shm_data.pixels.band_limit import limit_band, limit_band_of_layers
from shm_data.pixels.compositing import blend, resize
from shm_model import augment
from shm_model.dataset import TrainingSet

MODES = ["pretrain_tnet", "pretrain_mnet", "end_to_end"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tiny"))


def stage(root, mode, **more):
    trained = {"tnet_checkpoint": Path("t"), "mnet_checkpoint": Path("m")} if mode == "end_to_end" else {}
    return TrainingSet(config(root, mode, **trained | more))


def person(realdata):
    folder = realdata / "fg/p3m_demo"
    path = sorted((folder / "original").iterdir())[0]
    return read_image(path), read_alpha(folder / "alpha" / f"{path.stem}.png")


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.3, 2.0])
def test_the_band_limited_image_mixes_band_limited_layers(realdata, factor):
    """L(alpha F + (1 - alpha) B) = L(alpha) F' + (1 - L(alpha)) B', up to rounding."""
    image, alpha = person(realdata)
    size = (480, 640)
    front, alpha, behind = resize(image, size), resize(alpha, size), resize(photo(1, (640, 480)), size)
    colours = limit_band_of_layers(front, alpha, behind, factor)
    mixed = blend(colours[0], limit_band(alpha, factor), colours[1])
    error = np.abs(mixed.astype(int) - limit_band(blend(front, alpha, behind), factor))
    assert error.max() <= 2 and error.mean() < 0.3
    plain = blend(limit_band(front, factor), limit_band(alpha, factor), limit_band(behind, factor))
    if factor == 2:  # layers that are each limited for themselves do not fit
        assert np.abs(plain.astype(int) - limit_band(blend(front, alpha, behind), factor)).max() > 10


def test_a_band_limit_of_one_changes_nothing():
    pixels = photo(1)
    assert limit_band(pixels, 1.0) is pixels


def test_a_band_limit_takes_the_finest_detail_and_keeps_flat_areas():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.ptp(limit_band(stripes, 2.0)[8:-8, 8:-8]) <= 1
    assert (limit_band(np.full((33, 47, 3), 77, np.uint8), 1.7) == 77).all()


def test_what_is_drawn_lies_in_its_ranges_and_is_drawn_again_alike():
    drawn = [augment.draw_degradation(augment.generator_for(0, 0, index)) for index in range(300)]
    for values, (low, high) in zip(zip(*drawn, strict=True), [(1, 2), (2, 8), (0, 2**32 - 1), (70, 95)], strict=True):
        assert low <= min(values) < low + (high - low) / 10 and high - (high - low) / 10 < max(values) <= high
    assert drawn == [augment.draw_degradation(augment.generator_for(0, 0, index)) for index in range(300)]


@pytest.mark.parametrize("mode", MODES)
def test_degraded_samples_are_other_pixels_of_the_same_crop(root, mode):
    plain, degraded = stage(root, mode)[0, 1], stage(root, mode, degrade=True)
    item, again, later = degraded[0, 1], degraded[0, 1], degraded[1, 1]
    assert all(torch.equal(a, b) for a, b in zip(item[1:], again[1:], strict=True))
    seen = "image" if mode != "pretrain_mnet" else "patch"
    assert not torch.equal(getattr(item, seen), getattr(plain, seen))
    assert not torch.equal(getattr(item, seen), getattr(later, seen))
    if mode != "pretrain_tnet":
        alpha = item.alpha.float() / 255
        mixed = alpha * item.foreground + (1 - alpha) * item.background
        assert 0.5 < (mixed - item.patch).abs().mean() < 12  # noise and JPEG are in the patch alone


@pytest.mark.parametrize("mode", MODES)
def test_layout_shards_and_recipes_are_degraded_alike(root, tmp_path, mode):
    write_shards(root, tmp_path / "shards")
    # The recipes of a set that was written are those of its plan.
    sets = [stage(where, mode, degrade=True, data=kind) for where, kind in (
        (root, "layout"), (tmp_path / "shards", "shards"), (root, "recipes"),
    )]  # fmt: skip
    names = [list(each.source.names) for each in sets]
    for name in names[0][:4]:
        items = [each[0, names[0].index(name)] for each in sets]
        for field in items[0]._fields:
            if field not in ("name", "foreground", "background"):
                assert torch.equal(getattr(items[0], field), getattr(items[1], field)), field
                assert torch.equal(getattr(items[0], field), getattr(items[2], field)), field
