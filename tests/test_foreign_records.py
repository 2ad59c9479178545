"""Records of other programs, with digests that fit: what they hold is refused by name, and nothing crashes."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from faults import fault_of
from small import photo, write_people

from shm_data import images
from shm_data.building.build import composite
from shm_data.building.on_the_fly import open_plan
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout
from shm_data.options import CompositeOptions


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole data set and the options that it was made with."""
    folder = tmp_path_factory.mktemp("foreign")
    write_people(folder, ("p0", "p1", "p2"))
    (folder / "places").mkdir()
    for number in range(3):
        images.write_png(folder / "places" / f"b{number}.png", photo(9 + number, (128, 200)))
    folders = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}
    options = CompositeOptions(**folders, numbg=2, trainsplit=1, augment=("blur", "over"))
    composite(options, folder / "set")
    return folder / "set", options


def forged(root, target, *, line=None, record=None):
    """A copy of a set in which the last recipe, or dataset.json, is changed, and all digests fit."""
    layout = Layout(Path(shutil.copytree(root, target)))
    lines = layout.recipes.read_text().splitlines()
    manifest = json.loads(layout.manifest.read_text())
    if line is not None:
        recipe = json.loads(lines[-1])
        line(recipe)
        lines[-1] = json.dumps(recipe)
    text = "".join(f"{each}\n" for each in lines)
    layout.recipes.write_text(text)
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    if record is not None:
        record(manifest)
    layout.manifest.write_text(json.dumps(manifest))
    return layout


LINES = {
    "a crop of no size": lambda recipe: recipe.update(crop=[0, 0, 0, 5]),
    "a background of no folder": lambda recipe: recipe.update(background="nowhere/b1.png"),
    "an unknown background": lambda recipe: recipe.update(background="bgdir/b77.png"),
    "an unknown foreground": lambda recipe: recipe.update(foreground="nobody"),
    "an unknown partner": lambda recipe: recipe.update(augment={"over": [0.8, 0.5, 0.5], "partner": "nobody"}),
    "a number where there are several": lambda recipe: recipe.update(augment={"jpeg": -5}),
    "a blur that is too wide": lambda recipe: recipe.update(augment={"blur": [1e9]}),
    "numbers that are lists": lambda recipe: recipe.update(augment={"noise": [[1], 2]}),
}

RECORDS = {
    "negative counts": lambda record: record["counts"].update(samples=-1),
    "a source outside of all folders": lambda record: record["sources"].update({"nowhere/x.png": [1, 1, "0"]}),
    "a source that leads out": lambda record: record["sources"].update({"bgdir/../../x.png": [1, 1, "0"]}),
    "an absolute source": lambda record: record["sources"].update({"bgdir//etc/passwd": [1, 1, "0"]}),
    "a foreground of no folder": lambda record: record["foregrounds"][0]["files"].update(image="nowhere/p0.png"),
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_that_fits_no_record_is_named(made, tmp_path, kind):
    root, options = made
    layout = forged(root, tmp_path / "set", line=LINES[kind])
    number = len(layout.recipes.read_text().splitlines())
    for fault in (
        fault_of(open_plan, layout.root, "train", tmp_path / "cache"),
        fault_of(composite, options, layout.root),
    ):
        assert f"{layout.recipes}, line {number}" in str(fault)
    assert "record" in {finding.kind for finding in check_dataset(layout.root, deep=10).findings}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_fits_no_folder_is_named(made, tmp_path, kind):
    root, options = made
    layout = forged(root, tmp_path / "set", record=RECORDS[kind])
    for fault in (
        fault_of(open_plan, layout.root, "train", tmp_path / "cache"),
        fault_of(composite, options, layout.root),
    ):
        assert fault.path == str(layout.manifest)
    assert "record" in {finding.kind for finding in check_dataset(layout.root, deep=10).findings}
