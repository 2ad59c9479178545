"""The tables in docs/scale.md are those of the cost model, and the operations that it counts are those of a run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Counts the metadata operations below a folder while a data set is made there.
_COUNTING = """
import json, os, sys
from pathlib import Path
from shm_data.building.build import composite
from shm_data.options import CompositeOptions

counts = dict.fromkeys(("create", "rename", "link"), 0)

def count(event, arguments):
    if event in ("os.rename", "os.link") and "out" in str(arguments[1]):
        counts[event[3:]] += 1
    if event == "open" and arguments[2] & os.O_CREAT and "out" in str(arguments[0]):
        counts["create"] += 1

sources, out, numbg = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
folders = dict(inimg=sources / "photos", inalp=sources / "alphas", bgdir=(sources / "places",))
sys.addaudithook(count)
composite(CompositeOptions(**folders, numbg=numbg, originals=False, augment=()), out)
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


def test_a_sample_takes_as_many_metadata_operations_as_in_the_model(model, sources, tmp_path):
    def operations(numbg):
        line = [sys.executable, "-c", _COUNTING, str(sources), str(tmp_path / f"out{numbg}"), str(numbg)]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout)

    few, many = operations(2), operations(7)
    more = {kind: (many[kind] - few[kind]) / (4 * 5) for kind in few}
    assert more == {"create": 1, "rename": 1, "link": 2}
    assert sum(more.values()) == model.OPERATIONS.value


def test_twice_the_composites_are_twice_the_work(model):
    one, two = (model.Job(count, "png") for count in (10**6, 2 * 10**6))
    for what in ("core_hours", "bytes", "operations", "shards"):
        assert getattr(two, what) == 2 * getattr(one, what)
    assert two.limits() == {limit: 2 * hours for limit, hours in one.limits().items()}
