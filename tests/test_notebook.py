"""The notebook runs from top to bottom, and lies in the repository without what it showed."""

import base64
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

PATH = Path(__file__).parents[1] / "notebooks" / "play.ipynb"

# What people may change; here it is as little as shows everything.
PARAMETERS = "BACKGROUNDS = 2\nEPOCHS = 1, 1, 1"


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def pictures(cell):
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_it_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_its_links_lead_somewhere(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links and all((PATH.parent / link).exists() for link in links)


def test_it_runs_and_shows_what_it_says(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (parameters,) = [cell for cell in code if cell.source.startswith("BACKGROUNDS = ")]
    parameters.source = PARAMETERS
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    install, last = code[0], code[-1]
    assert install.outputs == []  # it is installed
    shown = [picture for cell in code for picture in pictures(cell)]
    assert len(shown) == 6 and all(picture.std() > 20 for picture in shown)
    (result,) = pictures(last)
    photo, _, alpha, cutout = np.split(result, 4, axis=1)
    assert alpha.std() > 5 and np.abs(photo.astype(int) - cutout).mean() > 5
    text = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "15 samples (12 train, 3 val)" in text and "nothing wrong" in text and "SAD/1000" in text
