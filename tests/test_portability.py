"""What the packages need of the system: tried on Linux by taking away what Windows and macOS lack."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small import contents, matte, photo

from shm_data import files, images
from shm_data.building.build import composite
from shm_data.dataset.layout import Layout
from shm_data.host.allocator import tune_allocator
from shm_data.options import CompositeOptions
from shm_model.dataset import worker_context

ROOT = Path(__file__).parents[1]
PACKAGES = ("shm_data", "shm_model", "cli")

# Windows has none of them.
_ABSENT_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "pty", "tty")
_ABSENT_CALLS = ("fork", "forkpty", "link", "getuid", "geteuid", "sched_getaffinity", "killpg", "statvfs", "sysconf")
_ABSENT_SIGNALS = ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGPIPE", "SIGALRM", "SIGCHLD")

# Libraries are loaded first: they have their own ways on every system.
_IMPORT_ALL = """
import importlib, json, os, pkgutil, signal, sys
for name in {libraries}:
    importlib.import_module(name)
for name in {modules}:
    sys.modules[name] = None
for module, names in ((os, {calls}), (signal, {signals})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
done = []
for package in {packages}:
    for found in pkgutil.walk_packages([package], package + "."):
        importlib.import_module(found.name)
        done.append(found.name)
print(json.dumps(done))
"""
_LIBRARIES = "click cv2 gradio numba numpy onnxruntime PIL.Image portalocker pydantic skimage torch".split()
_LIBRARIES += "tqdm yaml distributed tempfile subprocess torch.utils.tensorboard torch.distributed torch.onnx".split()


def test_every_module_is_imported_where_windows_lacks_what_linux_has():
    script = _IMPORT_ALL.format(
        libraries=_LIBRARIES, modules=_ABSENT_MODULES, calls=_ABSENT_CALLS, signals=_ABSENT_SIGNALS, packages=PACKAGES
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    imported = json.loads(ended.stdout)
    assert {"shm_data.files", "shm_model.train", "cli.data"} <= set(imported)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_what_only_unix_has(package):
    for path in (ROOT / package).rglob("*.py"):
        found = re.findall(rf"^\s*(?:import|from) ({'|'.join(_ABSENT_MODULES)})\b", path.read_text("utf-8"), re.M)
        assert not found, path


def test_the_allocator_is_left_alone_where_the_c_library_has_no_name(monkeypatch):
    def refuse(name):
        raise TypeError(f"argument of type {type(name)} is not iterable")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    tune_allocator(2**20)


def test_workers_start_anew_where_there_is_no_server_to_fork_from(monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert worker_context().get_start_method() == "spawn"


def test_a_data_set_made_as_on_windows_is_the_same(sources, tmp_path, monkeypatch):
    """No folder can be opened or synced, no file linked."""
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    composite(CompositeOptions(**folders, numbg=2), tmp_path / "here")
    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.delattr(os, "link")
    opened = os.open

    def refuse_folders(path, *arguments, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse_folders)
    composite(CompositeOptions(**folders, numbg=2), tmp_path / "there")
    monkeypatch.undo()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("name", ["C:a.png", "C:\\a.png", "..\\a.png", "a.png:stream"])
def test_on_windows_a_name_leads_to_no_other_folder_or_drive(monkeypatch, name):
    monkeypatch.setattr(files, "_WINDOWS", True)
    assert not files.is_plain(name) and not files.is_component(name)
    assert files.is_plain("a b.png") and files.is_component("a b.png")


def test_names_that_differ_only_in_case_give_different_files(tmp_path):
    """On file systems without case `A.png` and `a.png` would be one file."""
    for folder, draw in (("photos", photo), ("alphas", matte)):
        (tmp_path / folder).mkdir()
        for name, source in (("Anna", 1), ("anna", 2)):
            images.write_png(tmp_path / folder / f"{name}.png", draw(source))
    options = CompositeOptions(inimg=tmp_path / "photos", inalp=tmp_path / "alphas", numbg=0)
    composite(options, tmp_path / "out")
    names = [path.name.casefold() for path in Layout(tmp_path / "out").input.iterdir()]
    assert len(names) == len(set(names)) == 2
