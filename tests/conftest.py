"""Where the real pictures are, and how tests get at them."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from small import photo, write_people

from cli.model import main
from shm_data import images

# Run in the background, tests and all that they start would ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What these need of the system: limits, signals, /proc and capabilities of Linux; forks, limits and signals of Unix.
_LINUX = ("test_disk.py", "test_memory.py", "test_torture.py", "test_freed_memory.py")
_UNIX = ("test_cluster.py", "test_compiled_loops.py", "test_parts.py", "test_shards.py", "test_training_killed.py")
collect_ignore = [*_LINUX * (sys.platform != "linux"), *_UNIX * (os.name == "nt")]

# The files that take longest; begun first, they do not keep one process busy after all others are done.
_LONGEST = tuple(
    f"test_{name}"
    for name in ("training_killed", "training", "export", "torture", "laptop", "docs", "app", "notebook")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


REALDATA = Path(os.environ.get("SHM_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real photographs, mattes and annotations; without it the test is skipped."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real pictures at {REALDATA}; SHM_REALDATA names their folder")
    return REALDATA


@pytest.fixture
def shm_model(monkeypatch, capsys):
    """The program in this process: gives its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["shm-model", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def sources(tmp_path):
    """Four small foregrounds and nine backgrounds: what each test may add to or break."""
    folder = tmp_path / "sources"
    write_people(folder, ("p0", "p1", "p2", "p3"))
    (folder / "places").mkdir()
    for number in range(9):
        images.write_png(folder / "places" / f"b{number}.png", photo(100 + number, (128 + 8 * number, 200)))
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors on shared cores: threads would only wait for each other, and sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
