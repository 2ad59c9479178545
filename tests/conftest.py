"""Where the real pictures are, and how tests get at them."""

import os
from pathlib import Path

import pytest

REALDATA = Path(os.environ.get("SHM_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real photographs, mattes and annotations; without it the test is skipped."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real pictures at {REALDATA}; SHM_REALDATA names their folder")
    return REALDATA
