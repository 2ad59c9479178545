"""What docs/scale.md says of many machines is what the model prints, and what the model takes for given is so."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Counts the changes of names below a folder while a data set is made there.
_COUNTING = """
import json, os, sys
from pathlib import Path
from shm_data.building.build import composite
from shm_data.options import CompositeOptions

counts = dict.fromkeys(("create", "rename", "link"), 0)

def heard(event, arguments):
    if event in ("os.rename", "os.link") and "out" in str(arguments[1]):
        counts[event[3:]] += 1
    if event == "open" and arguments[2] & os.O_CREAT and "out" in str(arguments[0]):
        counts["create"] += 1

sources, out, numbg = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
folders = dict(inimg=sources / "photos", inalp=sources / "alphas", bgdir=(sources / "places",))
sys.addaudithook(heard)
composite(CompositeOptions(**folders, numbg=numbg, originals=False), out)
print(json.dumps(counts))
"""


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.scale_model")


def test_the_tables_in_the_document_are_what_the_model_prints(model):
    document = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    shown = [paragraph for paragraph in document.split("\n\n") if paragraph.startswith("| ")]
    assert shown[1:] == model.tables().split("\n\n")


def test_a_sample_changes_as_many_names_as_the_model_says(model, sources, tmp_path):
    def changes(numbg):
        line = [sys.executable, "-c", _COUNTING, str(sources), str(tmp_path / f"out{numbg}"), str(numbg)]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout)

    few, many = changes(2), changes(7)
    more = {kind: (many[kind] - few[kind]) / (4 * 5) for kind in few}
    assert more == {"create": 1, "rename": 1, "link": 2}
    assert sum(more.values()) == model.CHANGES.value


def test_twice_the_composites_are_twice_the_work(model):
    one, two = (model.Job(count, "png") for count in (10**6, 2 * 10**6))
    for what in ("core_hours", "bytes", "changes", "shards"):
        assert getattr(two, what) == 2 * getattr(one, what)
    assert two.walls() == {wall: 2 * hours for wall, hours in one.walls().items()}
