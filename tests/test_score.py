"""Scores of folders: pairs by name, regions, protocols, scales, frames; the figures are those of the definitions."""

import csv
import json
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from small import matte, photo

from cli.model import model
from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.pixels.trimap import TrimapRule, derive_trimap
from shm_model.metrics import Scores, dtssd, scores
from shm_model.scoring import CONVENTIONS, PROTOCOLS, REGIONS, ScoreOptions, plan_scoring, score_folders
from shm_model.scoring.folders import pair_folders, score_regions
from shm_model.scoring.protocols import derive_photomatte85, edge_of

SIZE = (40, 48)


def predicted(seed):
    """A wrong prediction of `matte(seed)`."""
    return cv2.GaussianBlur(np.roll(matte(seed, SIZE), 2, 1), (0, 0), 1.5)


def write_mattes(folder, make, names):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        images.write_png(folder / name, make(seed))


@pytest.fixture
def folders(tmp_path):
    """Predictions and truths of three mattes."""
    write_mattes(tmp_path / "predictions", predicted, ["a_alpha.png", "b.png", "c.png"])
    write_mattes(tmp_path / "truth", lambda seed: matte(seed, SIZE), ["a.png", "b_mask.png", "c.png"])
    return tmp_path / "predictions", tmp_path / "truth"


# Pairs.


def test_folders_are_paired_by_name_whichever_side_has_a_word(folders):
    rows = score_folders(*folders)
    assert [row.pair.name for row in rows] == ["a.png", "b_mask.png", "c.png"]
    for seed, row in enumerate(rows):
        assert row.regions == {"whole": scores(predicted(seed), matte(seed, SIZE))}


def test_both_sides_may_have_words_of_their_own(tmp_path):
    write_mattes(tmp_path / "p", predicted, ["sub/a_pred.png"])
    write_mattes(tmp_path / "t", lambda seed: matte(seed, SIZE), ["sub/a_alpha.png"])
    write_mattes(tmp_path / "trimaps", lambda seed: derive_trimap(matte(seed, SIZE), RULE), ["sub/a_trimap.png"])
    options = ScoreOptions(("unknown",), tmp_path / "trimaps")
    (row,) = score_folders(tmp_path / "p", tmp_path / "t", options)
    assert row.pair.trimap == tmp_path / "trimaps/sub/a_trimap.png" and row.regions["unknown"].sad > 0


def test_a_truth_without_prediction_is_an_error_and_another_prediction_is_not(folders):
    write_mattes(folders[0], predicted, ["d.png"])
    assert len(score_folders(*folders)) == 3
    (folders[0] / "b.png").unlink()
    with pytest.raises(ShmDataError) as fault:
        score_folders(*folders)
    assert fault.value.path == str(folders[0]) and "b_mask.png (1 of 3)" in fault.value.found


def test_a_word_of_the_user_pairs_names(tmp_path):
    write_mattes(tmp_path / "p", predicted, ["a-mynet.png"])
    write_mattes(tmp_path / "t", lambda seed: matte(seed, SIZE), ["a.png"])
    with pytest.raises(ShmDataError):
        score_folders(tmp_path / "p", tmp_path / "t")
    (row,) = score_folders(tmp_path / "p", tmp_path / "t", ScoreOptions(word="-mynet"))
    assert row.pair.prediction.name == "a-mynet.png"


def test_two_files_are_a_pair(folders):
    (row,) = score_folders(folders[0] / "b.png", folders[1] / "c.png")
    assert row.regions["whole"] == scores(predicted(1), matte(2, SIZE))


# Depths and channels.


def test_mattes_of_16_bits_are_scored_with_all_of_them(tmp_path):
    deep = np.random.default_rng(0).integers(2**15, 2**16, SIZE, dtype=np.uint16)
    assert not np.array_equal(deep % 257, np.zeros(SIZE)), "8 bits would lose some"
    for name, pixels in (("gray", deep), ("rgb", np.repeat(deep[..., None], 3, 2))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        images.write_png(tmp_path / "truth.png", matte(1, SIZE))
        (row,) = score_folders(tmp_path / f"{name}.png", tmp_path / "truth.png")
        assert row.regions["whole"] == scores(deep / 65535, matte(1, SIZE))


def test_the_matte_of_a_cut_out_is_its_a_channel(tmp_path):
    images.write_png(tmp_path / "cutout.png", np.dstack([photo(1, SIZE), predicted(1)]))
    images.write_png(tmp_path / "truth.png", matte(1, SIZE))
    (row,) = score_folders(tmp_path / "cutout.png", tmp_path / "truth.png")
    assert row.regions["whole"] == scores(predicted(1), matte(1, SIZE))


# Sizes.


def test_another_size_is_an_error_and_resize_is_the_way_out_and_named(folders):
    small = cv2.resize(predicted(1), (24, 20), interpolation=cv2.INTER_AREA)
    images.write_png(folders[0] / "b.png", small)
    with pytest.raises(ShmDataError) as fault:
        score_folders(*folders)
    assert fault.value.path == str(folders[0] / "b.png") and "24x20" in fault.value.found
    rows = score_folders(*folders, ScoreOptions(resize=True))
    assert [row.resized for row in rows] == [False, True, False]
    expected = cv2.resize(small / 255, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    assert rows[1].regions["whole"] == scores(expected, matte(1, SIZE))


# Regions.


def test_the_regions_of_a_trimap_are_scored_by_their_definition():
    truth, prediction = matte(1, SIZE) / 255, predicted(1) / 255
    trimap = derive_trimap(matte(1, SIZE), TrimapRule("euclid", 9, 9))
    found = score_regions(prediction, truth, trimap, REGIONS)
    known = np.where(trimap == 128, prediction, trimap / 255)
    assert found["unknown"] == scores(known, truth, trimap)
    assert found["whole"] == scores(prediction, truth)
    for region, value in (("foreground", 255), ("background", 0)):
        mask = np.where(trimap == value, 128, 0).astype(np.uint8)
        assert found[region] == scores(prediction, truth, mask)
    assert found["foreground"].sad + found["background"].sad < found["whole"].sad


def test_the_edge_is_three_pixels_to_either_side_of_a_hard_edge_and_of_soft_pixels():
    hard = np.zeros((9, 30), np.uint8)
    hard[:, 15:] = 255
    assert np.flatnonzero(edge_of(hard)[4]).tolist() == list(range(12, 18))
    hard[:, 20] = 99
    assert np.flatnonzero(edge_of(hard)[4]).tolist() == list(range(12, 24))


def test_regions_without_trimaps_are_an_error_before_anything_is_read():
    for region in ("unknown", "foreground", "background"):
        with pytest.raises(ShmDataError) as fault:
            plan_scoring(region=[region])
        assert "--trimap" in fault.value.expected


# Protocols and conventions.


def test_photomatte85_closes_gaps_in_the_unknown_region():
    truth = np.zeros((60, 60), np.uint8)
    truth[:, 20:] = 255
    truth[:, 20] = truth[:, 30] = 128  # 9 px apart: closed
    truth[:, 55] = 14  # below 0.06
    trimap = derive_photomatte85(truth)
    assert np.flatnonzero(trimap[30] == 128).tolist() == list(range(20, 31))
    assert trimap[30, 10] == trimap[30, 55] == 0 and trimap[30, 40] == 255


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_needs_nothing_else_but_the_trimaps_that_its_set_has(folders, tmp_path, name):
    given = {}
    if name == "adobe":
        write_mattes(tmp_path / "trimaps", lambda seed: derive_trimap(matte(seed, SIZE), RULE), TRIMAPS)
        given = {"trimap": tmp_path / "trimaps"}
    options, convention, header = plan_scoring(protocol=name, **given)
    rows = score_folders(*folders, options)
    assert tuple(rows[0].regions) == PROTOCOLS[name].regions
    assert convention is CONVENTIONS[PROTOCOLS[name].convention] and name in header["protocol"]


RULE = TrimapRule("euclid", 5, 5)
TRIMAPS = ["a_trimap.png", "b.png", "c.png"]


def test_the_choices_of_the_command_are_those_of_the_library():
    choices = {
        each.name: each.type.choices for each in model.commands["score"].params if hasattr(each.type, "choices")
    }
    assert choices == {"region": REGIONS, "protocol": tuple(PROTOCOLS), "convention": tuple(CONVENTIONS)}


def test_scales_by_hand():
    """Of 2 of 4 pixels that are wrong by 0.5."""
    row = Scores(sad=0.001, mse=0.125, mad=0.25, grad=0.0, conn=0.0)
    printed = {
        name: {k: getattr(row, k) * f for k, f in c.factors.items() if k != "dtssd"}
        for name, c in CONVENTIONS.items()
    }
    assert printed["adobe"] == {"sad": 0.001, "mse": 125, "mad": 250, "grad": 0, "conn": 0}
    assert printed["video"] == {"mse": 125, "mad": 250, "grad": 0, "conn": 0}
    assert printed["mean"] == {"mse": 125, "mad": 250}
    assert printed["raw"] == {"sad": 1, "mse": 0.125, "mad": 0.25, "grad": 0, "conn": 0}


# Frames.


def test_dtssd_by_hand():
    zeros, halves = np.zeros((2, 2)), np.full((2, 2), 0.5)
    one = zeros.copy()
    one[0, 0] = 1
    assert dtssd((zeros, one), (zeros, zeros)) == pytest.approx(math.sqrt(1 / 4))
    assert dtssd((halves, one), (halves, one)) == 0
    assert dtssd((zeros, halves), (halves, halves + 0.5)) == 0, "a constant error does not flicker"


def test_frames_follow_each_other_in_their_folder_by_number(tmp_path):
    names = [f"{clip}/{number}.png" for clip in ("x", "y") for number in (1, 2, 10)]
    write_mattes(tmp_path / "p", predicted, names)
    write_mattes(tmp_path / "t", lambda seed: matte(seed, SIZE), names)
    rows = score_folders(tmp_path / "p", tmp_path / "t", ScoreOptions(frames=True))
    assert [row.pair.name for row in rows] == names
    assert [math.isnan(row.dtssd) for row in rows] == [True, False, False] * 2
    for seed in (1, 2, 4, 5):
        consecutive = (predicted(seed - 1), predicted(seed)), (matte(seed - 1, SIZE), matte(seed, SIZE))
        assert rows[seed].dtssd == dtssd(*consecutive)


# The command.


def test_the_command_prints_writes_and_shows(folders, tmp_path, shm_model):
    write_mattes(tmp_path / "photos", lambda seed: photo(seed, SIZE), ["a.png", "b.png", "<c>.png"])
    code, out, _ = shm_model(
        "score", *folders, "--images", tmp_path / "photos", "--derive-trimap", "--savedir", tmp_path / "s"
    )
    assert code == 0 and "convention: adobe" in out and "mean of 3 images" in out
    expected = np.mean([scores(predicted(seed), matte(seed, SIZE)).sad for seed in range(3)])
    line = next(line.split() for line in out.splitlines() if line.split()[:1] == ["whole"])
    assert float(line[1]) == pytest.approx(expected, abs=1e-5)
    report = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert report["mean"]["whole"]["sad"] == pytest.approx(expected)
    rows = list(csv.DictReader((tmp_path / "s" / "scores.csv").read_text().splitlines()))
    assert len(rows) == (3 + 1) * len(REGIONS)
    page = (tmp_path / "s" / "scores.html").read_text()
    assert page.count("<figure>") == 3 and page.count("data:image/png") == 3 * 3 + 2 and 'src="http' not in page


def test_what_a_killed_run_left_beside_the_scores_is_cleared(folders, tmp_path, shm_model):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".0123456789abcdef.shm-tmp").write_bytes(b"half")
    assert shm_model("score", *folders, "--savedir", tmp_path / "s")[0] == 0
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["scores.csv", "scores.html", "scores.json"]


@pytest.mark.parametrize("name", ["scores.csv", "scores.json", "scores.html"])
def test_scores_replace_earlier_ones_and_no_other_file(folders, tmp_path, shm_model, name):
    savedir = tmp_path / "s"
    assert shm_model("score", *folders, "--savedir", savedir)[0] == 0
    earlier = {path.name: path.read_bytes() for path in savedir.iterdir()}
    assert shm_model("score", *folders, "--region", "whole", "--region", "edge", "--savedir", savedir)[0] == 0
    assert all((savedir / file).read_bytes() != data for file, data in earlier.items())
    (savedir / name).write_text("marks of the whole class\n")
    others = {path.name: path.read_bytes() for path in savedir.iterdir()}
    code, _, err = shm_model("score", *folders, "--savedir", savedir)
    assert code == 1 and name in err
    assert {path.name: path.read_bytes() for path in savedir.iterdir()} == others


def test_names_in_the_page_are_escaped(tmp_path, shm_model):
    name = "<script>alert(1)</script>".replace("/", "_") + ".png"
    write_mattes(tmp_path / "p", predicted, [name])
    write_mattes(tmp_path / "t", lambda seed: matte(seed, SIZE), [name])
    assert shm_model("score", tmp_path / "p", tmp_path / "t", "--savedir", tmp_path / "s")[0] == 0
    assert "<script" not in (tmp_path / "s" / "scores.html").read_text()


@pytest.mark.parametrize("fault", ["no truths", "broken", "trimap size"])
def test_a_mistake_is_one_sentence(folders, tmp_path, shm_model, fault):
    given = [*folders]
    if fault == "no truths":
        (tmp_path / "empty").mkdir()
        given[1] = tmp_path / "empty"
    elif fault == "broken":
        (folders[0] / "b.png").write_bytes(b"broken")
    else:
        write_mattes(tmp_path / "trimaps", lambda seed: np.full((9, 9), 128, np.uint8), TRIMAPS)
        given += ["--trimap", tmp_path / "trimaps"]
    code, _, err = shm_model("score", *given)
    assert code == 1 and err.splitlines()[-1].startswith("Error: ") and "Traceback" not in err


def test_scoring_needs_no_torch(folders):
    script = "import sys; sys.modules['torch'] = None; from cli.model import main; main()"
    command = [sys.executable, "-c", script, "score", *folders, "--derive-trimap"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_pairs_are_in_the_order_of_names(folders):
    assert [each.name for each in pair_folders(*folders, ScoreOptions())] == ["a.png", "b_mask.png", "c.png"]
