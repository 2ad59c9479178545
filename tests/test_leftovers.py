"""What a killed run left half written is removed by the next one, unless another run is at work there."""

import pytest

from shm_data.building.build import composite
from shm_data.files import locked
from shm_data.options import CompositeOptions
from shm_data.report import write_report
from shm_data.report.preview import preview

LEFT = ".0123456789abcdef.shm-tmp"


@pytest.fixture(params=["report", "preview"])
def write(request, sources, tmp_path):
    """Writes a single file into a folder; gives the path."""
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    options = CompositeOptions(**folders, numbg=1)
    out = tmp_path / "out"
    out.mkdir()
    if request.param == "report":
        composite(options, tmp_path / "set")

    def call():
        if request.param == "report":
            return write_report(tmp_path / "set", out / "page.html")
        preview(options, out / "sheet.png", 4)
        return out / "sheet.png"

    return call


def test_leftovers_are_removed(write, tmp_path):
    (tmp_path / "out" / LEFT).write_bytes(b"half")
    path = write()
    assert list((tmp_path / "out").iterdir()) == [path]


@pytest.mark.parametrize("shared", [True, False])
def test_what_another_run_is_writing_is_left_alone(write, tmp_path, shared):
    (tmp_path / "out" / LEFT).write_bytes(b"half")
    with locked(tmp_path / "out", shared=shared):
        path = write()
    assert sorted((tmp_path / "out").iterdir()) == sorted([path, tmp_path / "out" / LEFT])
