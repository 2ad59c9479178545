"""What goes out with a data set names no folder of the machine that made it; local.json alone does."""

import json
import shutil

import pytest
from faults import fault_of
from small import contents

from shm_data.building.build import composite
from shm_data.building.on_the_fly import open_plan
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import read_manifest
from shm_data.exports.export import export_dataset
from shm_data.options import CompositeOptions


@pytest.fixture
def made(sources, tmp_path):
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    options = CompositeOptions(**folders, numbg=2)
    composite(options, tmp_path / "out")
    return Layout(tmp_path / "out"), options


def deep_of(layout):
    """Return the findings, and why samples could not be made again."""
    verdict = check_dataset(layout.root, deep=3, jobs=1)
    return verdict.findings, [str(unchecked) for unchecked in verdict.unchecked if unchecked.kind == "rerender"]


def test_local_json_alone_names_the_folders_of_the_machine(made, tmp_path):
    layout, options = made
    files = [path for path in layout.root.rglob("*") if path.is_file() and str(tmp_path) in path.read_text("latin-1")]
    assert files == [layout.local]
    roots = {label: str(path) for label, path in read_manifest(layout).roots.items()}
    assert json.loads(layout.local.read_text()) == {"roots": roots}
    assert roots == {"inimg": str(options.inimg), "inalp": str(options.inalp), "bgdir": str(options.bgdir[0])}


@pytest.mark.parametrize("kind", ["hf", "birefnet", "pairs", "fg-alpha-bg"])
def test_exports_name_no_folder_of_the_machine(made, tmp_path, kind):
    export_dataset(made[0].root, tmp_path / "export", kind)
    for path in (tmp_path / "export").rglob("*"):
        assert path.is_dir() or str(tmp_path) not in path.read_text("latin-1")


def test_a_published_set_is_complete_but_cannot_find_its_sources(made, tmp_path):
    layout, options = made
    before = contents(layout.root)
    layout.local.unlink()
    findings, (unchecked,) = deep_of(layout)
    assert not findings and "inimg and inalp and bgdir" in unchecked
    fault = fault_of(open_plan, layout.root, "train", tmp_path / "cache")
    assert fault.found == "no folder for inimg and inalp and bgdir"
    export_dataset(layout.root, tmp_path / "hub", "hf")
    assert fault_of(export_dataset, layout.root, tmp_path / "parts", "fg-alpha-bg").found == fault.found
    composite(options, layout.root)
    assert contents(layout.root) == before and deep_of(layout) == ((), [])


def test_sources_that_were_moved_are_found_where_they_are_given(made, sources, tmp_path):
    layout, options = made
    record = layout.manifest.read_bytes()
    shutil.copytree(sources, tmp_path / "moved")
    shutil.rmtree(sources)
    moved = {"inimg": tmp_path / "moved" / "photos", "inalp": tmp_path / "moved" / "alphas"}
    composite(options.model_copy(update=moved | {"bgdir": (tmp_path / "moved" / "places",)}), layout.root)
    assert layout.manifest.read_bytes() == record
    assert deep_of(layout) == ((), [])


def test_a_record_of_an_earlier_version_is_read_and_resumed(made):
    """It has the paths themselves, among the options, too."""
    layout, options = made
    record, whole = json.loads(layout.manifest.read_text()), layout.manifest.read_bytes()
    record["roots"] = json.loads(layout.local.read_text())["roots"]
    record["options"] |= json.loads(options.model_dump_json(include={"inimg", "inalp", "bgdir"}))
    layout.manifest.write_text(json.dumps(record))
    layout.local.unlink()
    assert deep_of(layout) == ((), [])
    next(layout.input.iterdir()).unlink()
    composite(options, layout.root)
    assert layout.manifest.read_bytes() == whole and layout.local.exists()


@pytest.mark.parametrize("text", ["", "{}", '{"roots": {"inimg": 3}}', "[" * 100])
def test_a_broken_local_json_is_named(made, text):
    layout, _ = made
    layout.local.write_text(text)
    assert fault_of(read_manifest, layout).path == str(layout.local)
