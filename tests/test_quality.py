"""The sets of the benchmark differ in what they should and in nothing else, and its tables are correct."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from small import matte, photo

from shm_data import images
from shm_data.dataset.layout import Layout, read_names, write_names
from shm_data.files import make_folders

ROOT = Path(__file__).parents[1]
NUMBG, SEED = 4, 3


@pytest.fixture
def ways(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.ways")


@pytest.fixture
def quality(ways):
    return importlib.import_module("benchmarks.quality")


@pytest.fixture
def pictures(ways, sources):
    """The small foregrounds, and pools whose positions 0 to 8 hold photographs 0 to 8, or some of 9 with people."""
    (sources / "people").mkdir()
    for number in range(9):
        images.write_png(sources / "people" / f"{number}.png", photo(200 + number, (128, 200)))
    without, people = (sorted((sources / name).iterdir()) for name in ("places", "people"))
    ways.write_pools(without, people, sources, SEED)
    return sources


@pytest.fixture
def sets(ways, pictures, tmp_path):
    """The sets of all ways, by name: name -> (image, alpha, trimap)."""
    found = {}
    for way in (ways.PLAIN, ways.OURS, *ways.ONE_OF_OURS):
        root = tmp_path / "sets" / way.name
        ways.make_set(way, pictures, root, SEED, NUMBG)
        found[way.name] = {name: read(root, name) for name in read_names(root, "train")}
    return found


def read(root, name):
    image, alpha, trimap = Layout(root).sample(name)
    return images.read_image(image), images.read_alpha(alpha), images.read_gray(trimap)


def is_composite(name):
    return "_" in name


def shows_people(pictures, name):
    """Return whether the background of a sample was replaced in the pool with people."""
    stem = name.partition("_")[2]
    empty, mixed = ((pictures / pool / stem).read_bytes() for pool in ("empty", "mixed"))
    return empty != mixed


def test_pools_are_equally_large_and_people_have_their_share(pictures):
    empty, mixed = (
        {path.name: path.read_bytes() for path in (pictures / pool).iterdir()} for pool in ("empty", "mixed")
    )
    people = {path.read_bytes() for path in (pictures / "people").iterdir()}
    assert empty.keys() == mixed.keys()
    replaced = [name for name in empty if empty[name] != mixed[name]]
    assert len(replaced) == round(9 * 9 / 18) == len({mixed[name] for name in replaced})
    assert {mixed[name] for name in replaced} <= people
    assert not people & set(empty.values())


def test_names_and_alphas_and_originals_are_those_of_the_plain_set(sets):
    for other in sets.values():
        assert list(other) == list(sets["plain"])
        for name, (image, alpha, _) in other.items():
            np.testing.assert_array_equal(alpha, sets["plain"][name][1])
            if not is_composite(name):
                np.testing.assert_array_equal(image, sets["plain"][name][0])
    assert sum(map(is_composite, sets["plain"])) == 4 * NUMBG


def test_estimated_colours_change_soft_pixels_alone(sets):
    changed = 0
    for name, (image, alpha, trimap) in sets["colours"].items():
        plain = sets["plain"][name]
        soft = (alpha > 0) & (alpha < 255)
        np.testing.assert_array_equal(image[~soft], plain[0][~soft])
        np.testing.assert_array_equal(trimap, plain[2])
        changed += np.count_nonzero(image[soft] != plain[0][soft])
    assert changed


def test_backgrounds_without_people_change_composites_with_people_alone(sets, pictures):
    composites = [name for name in sets["plain"] if is_composite(name)]
    for name in composites:
        image, alpha, trimap = sets["backgrounds"][name]
        plain = sets["plain"][name]
        assert np.array_equal(image, plain[0]) != shows_people(pictures, name)
        np.testing.assert_array_equal(image[alpha == 255], plain[0][alpha == 255])
        np.testing.assert_array_equal(trimap, plain[2])
    assert 0 < sum(shows_people(pictures, name) for name in composites) < len(composites)


def test_our_trimaps_change_trimaps_alone(sets, ways):
    for name, (image, alpha, trimap) in sets["trimaps"].items():
        plain = sets["plain"][name]
        np.testing.assert_array_equal(image, plain[0])
        np.testing.assert_array_equal(trimap, ways.our_trimap(alpha))
        np.testing.assert_array_equal(plain[2], ways.plain_trimap(alpha))


def test_our_set_differs_in_all_three_things(sets):
    for name, (image, _, trimap) in sets["ours"].items():
        np.testing.assert_array_equal(trimap, sets["trimaps"][name][2])
        changed = [np.any(sets[way][name][0] != sets["plain"][name][0]) for way in ("colours", "backgrounds")]
        assert np.any(image != sets["plain"][name][0]) == any(changed)


def test_a_plain_trimap_calls_soft_pixels_known_and_ours_never(ways):
    alpha = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (200, 1))
    soft = (alpha > 0) & (alpha < 255)
    assert np.mean(ways.plain_trimap(alpha)[soft] == 255) > 0.9
    assert np.all(ways.our_trimap(alpha)[soft] == 128)


def test_the_error_of_perfect_networks_is_that_of_the_known_trimap(quality, tmp_path):
    alpha = matte(0)
    write_test(tmp_path / "people", alpha)
    wrong = np.where(alpha == 255, 255, 0).astype(np.uint8)  # knows all, and calls the soft edge background
    expected = (alpha[alpha < 255] / 255).sum() / 1000
    assert quality.remaining_error(lambda _: wrong, tmp_path / "people") == pytest.approx(expected)
    assert quality.remaining_error(quality.our_trimap, tmp_path / "people") == 0


def test_the_table_shows_ratios_differences_means_and_spreads(quality):
    plain, ours = [scored(quality, value) for value in (2.0, 4.0)], [scored(quality, value) for value in (1.0, 6.0)]
    rows = list(quality.table(plain, ours, "M-Net", scored(quality, 8.0)))
    assert len(rows) == 2 + 2 * 4  # both tests, one region, four errors
    assert rows[2] == (
        "| objects, unknown | SAD/1000 | **1.000** (0.500 to 1.500) | -1, +2 | 3 ± 1.41 | 3.5 ± 3.54 | 8 |"
    )
    soft = list(quality.table_of_soft(plain, ours, "M-Net"))
    assert soft[3] == "| objects | mean of alpha - truth | +1, -2 | -3 ± 1.41 | -3.5 ± 3.54 |"
    parts = list(quality.table_of_parts(plain, {"colours": ours, "trimaps": plain}, "M-Net"))
    assert parts[2] == "| objects, unknown | SAD/1000 | **1.000** (0.500 to 1.500) | **1.000** (1.000 to 1.000) |"


def test_soft_pixels_are_found_with_their_share_and_their_sign(quality, tmp_path):
    alpha = matte(0)
    write_test(tmp_path / "people", alpha)
    soft = (alpha > 12) & (alpha < 243)

    def more_where_soft(image, trimap):
        return quality.Prediction(alpha / np.float32(255) + np.where(soft, 0.04, 0.0), trimap)

    assert quality.soft_of(more_where_soft, tmp_path / "people") == pytest.approx(
        {"share": 1, "bias": 0.04}, abs=1e-5
    )


@pytest.mark.parametrize("sizes", ["small", "large"])
def test_all_sizes_are_configurations_that_training_takes(quality, sizes):
    checkpoints = {"end_to_end": {"tnet_checkpoint": "t", "mnet_checkpoint": "m"}}
    for mode in set(quality.SIZES[sizes]) - {"set"}:
        given = {"data_root": "d"} | checkpoints.get(mode, {})
        quality.Config(mode=mode, **given | quality.SIZES[sizes][mode] | quality.SAME | quality.ONLY_TRAIN)


def test_a_network_is_trained_scored_and_scored_the_same_again(quality, pictures, tmp_path, monkeypatch):
    stage = {"num_workers": 0, "mnet_width": 0.05, "mnet_size": 32, "patch_sizes": (32,), "max_epoch": 1}
    monkeypatch.setitem(quality.SIZES, "tiny", {"set": {"numbg": 1}, "pretrain_mnet": stage})
    savedir = tmp_path / "run"
    savedir.mkdir()
    (savedir / "seed0").symlink_to(pictures)
    for test in ("objects", "people"):
        write_test(savedir / test, matte(1))
    task = quality.Task("M-Net", quality.OURS, 0, savedir, "tiny")
    quality.do(task)
    first = json.loads(task.scores.read_text())
    assert set(first["objects"]["unknown"]) == set(quality.METRICS)
    again = dataclasses.replace(task, way=dataclasses.replace(quality.OURS, name="again"))
    quality.do(again)
    assert json.loads(again.scores.read_text()) == first


def write_test(root, alpha):
    trimap = np.where((alpha > 0) & (alpha < 255), 128, alpha)
    make_folders(*Layout(root).folders)
    for path, pixels in zip(Layout(root).sample("t.png"), (photo(1), alpha, trimap), strict=True):
        images.write_png(path, pixels)
    write_names(root, "val", ["t.png"])


def scored(quality, value):
    """Return scores that all have the same value."""
    regions = {region: dict.fromkeys(quality.METRICS, value) for region in ("unknown", "whole")}
    return dict.fromkeys(("objects", "people"), regions | {"soft": {"share": value, "bias": -value}})
