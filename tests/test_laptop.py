"""`make laptop`, from photos with alphas to mattes, with tiny networks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shm_data import images
from shm_model.checkpoint import load

ROOT = Path(__file__).parents[1]

TINY = {
    "backbone": "resnet18", "output_stride": 16, "tnet_size": 64, "mnet_size": 48, "end_size": 64,
    "patch_sizes": [48, 64], "longest": 96, "batch_size": 4, "max_steps": 2,
}  # fmt: skip

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def desk(sources):
    """The folder of the sources, with the configurations of `make laptop` made tiny."""
    for file in (ROOT / "configs" / "laptop").glob("*.yaml"):
        target = sources / "configs" / "laptop" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(yaml.safe_load(file.read_text(encoding="utf-8")) | TINY), encoding="utf-8")
    return sources


def make_laptop(folder, *variables):
    command = ["make", "-f", ROOT / "Makefile", "-o", "install", "laptop", f"BIN={Path(sys.executable).parent}"]
    given = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *variables], cwd=folder, env=given, capture_output=True, text=True, check=False)


@needs_make
def test_photos_and_alphas_become_mattes_in_one_command(desk):
    given = "INIMG=photos", "INALP=alphas", "BACKGROUNDS=--bgdir places", "PHOTOS=photos"
    result = make_laptop(desk, *given)
    assert result.returncode == 0, result.stderr
    for photo in (desk / "photos").iterdir():
        matte = images.read_alpha(desk / "laptop" / "mattes" / photo.name)
        assert matte.shape == images.read_image(photo).shape[:2]
    assert (desk / "laptop" / "report" / "samples.png").is_file()
    done = {stage: load(desk / "laptop" / stage / "last.pt").total for stage in ("tnet", "mnet", "shm")}
    assert done == {"tnet": 2, "mnet": 2, "shm": 2}
    assert make_laptop(desk, *given).returncode == 0  # nothing is left to train
    assert {stage: load(desk / "laptop" / stage / "last.pt").total for stage in done} == done


@needs_make
def test_without_photos_nothing_is_installed_or_made(tmp_path):
    result = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "laptop"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0 and "INIMG" in result.stderr
    assert not list(tmp_path.iterdir())


def test_stages_of_the_laptop_see_one_scale_and_fit_together():
    """M-Net sees pictures at the scale of T-Net and of the scores, and both are joined as they were trained."""
    stages = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "configs" / "laptop").iterdir()]
    assert len(stages) == 3
    for key in ("longest", "data", "data_root", "mnet_width", "mnet_size", "patch_sizes", "backbone", "augment"):
        assert len({str(stage[key]) for stage in stages if key in stage}) == 1, key
