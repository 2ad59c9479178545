"""The page to try a network on, in a browser."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from browser import opened
from small import photo

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.pixels.compositing import blend
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_model.checkpoint import Checkpoint, save
from shm_model.config import config_of
from shm_model.mnet import MNet
from shm_model.predict import load_predictor
from shm_model.tnet import TNet

pytest.importorskip("gradio", reason="the extra [app] is not installed")

from shm_model.app import Cutout, composite_cutout

PHOTO = photo(3, (96, 128))
CUTOUT = Cutout(photo(1), np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (48, 1)))


def saved(network, mode, path):
    """A checkpoint with the network's weights as they are."""
    config = config_of({"mode": mode, "data_root": "", "backbone": "resnet18", "mnet_width": 0.1}, "test")
    torch.manual_seed(0)
    save(path, Checkpoint(config, network().state_dict(), {}, {}, 1, 0.0))
    return path


@pytest.fixture(scope="module")
def tnet(tmp_path_factory):
    return saved(lambda: TNet("resnet18", 8), "pretrain_tnet", tmp_path_factory.mktemp("tnet") / "t.pt")


@contextmanager
def served(checkpoint):
    """The address at which the program serves a checkpoint; it ends by Ctrl-C, with exit code 0."""
    command = [sys.executable, "-m", "cli.model", "app", "--checkpoint", str(checkpoint), "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        line = program.stdout.readline()
        assert line, program.stderr.read()
        try:
            yield re.search(r"http://127.0.0.1:\d+/", line).group()
        finally:
            program.send_signal(signal.SIGINT)
            said = program.communicate(timeout=30)
        assert (program.returncode, *said) == (0, "", "")


def test_a_transparent_cut_out_keeps_colours_and_alpha():
    assert np.array_equal(composite_cutout(CUTOUT, "transparent", "#000000"), np.dstack(CUTOUT))


@pytest.mark.parametrize("colour", ["#0a141e", "rgb(10, 20, 30)", "rgba(10.2, 19.7, 30, 1)"])
def test_a_colour_lies_behind_the_cut_out_however_it_is_written(colour):
    behind = np.full((48, 64, 3), (10, 20, 30), np.uint8)
    assert np.array_equal(composite_cutout(CUTOUT, "colour", colour), blend(*CUTOUT, behind))


@pytest.mark.parametrize("colour", ["#12345", "#zzzzzz", "rgb(1, 2)", "rgb(300, 0, 0)", "green", "", "rgb(nan)"])
def test_a_colour_that_is_none_is_a_fault_of_the_user(colour):
    with pytest.raises(ShmDataError) as fault:
        composite_cutout(CUTOUT, "colour", colour)
    assert fault.value.found == colour


# In a process of its own: gradio leaves an event loop open.
PRINT_DELETE_CACHE = """
import sys
from pathlib import Path
import torch
from shm_model.app import build_page
from shm_model.predict import load_predictor
print(*build_page(load_predictor(Path(sys.argv[1]), torch.device("cpu")), Path(sys.argv[2])).delete_cache)
"""


def test_a_picture_that_is_shown_is_kept_for_an_hour(tnet, tmp_path):
    """gradio's `delete_cache` is (frequency, age): files older than `age` are deleted every `frequency` seconds."""
    command = [sys.executable, "-c", PRINT_DELETE_CACHE, tnet, tmp_path]
    frequency, age = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert frequency < age == 3600


def test_a_picture_covers_the_whole_from_its_middle():
    picture = np.zeros((48, 164, 3), np.uint8)
    picture[:, 50:114] = photo(2)
    assert np.array_equal(composite_cutout(CUTOUT, "picture", "", picture), blend(*CUTOUT, photo(2)))


def test_a_port_that_is_taken_is_explained_in_one_sentence(tnet):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "cli.model", "app", "--checkpoint", str(tnet), "--port", port]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = f"the page cannot be served: found no free port {port} at 127.0.0.1"
    assert (result.returncode, result.stderr) == (1, f"Error: {found}, expected another --port or --host\n")


def test_a_photo_becomes_a_cut_out_that_can_be_downloaded(tnet, tmp_path):
    images.write_png(tmp_path / "photo.png", PHOTO)
    alpha = np.rint(load_predictor(tnet, torch.device("cpu"))(PHOTO).alpha * 255).astype(np.uint8)
    cutout = Cutout(estimate_foreground(PHOTO, alpha), alpha)
    with served(tnet) as address, opened(address) as tab:
        page = tab.page
        page.set_input_files("input[type=file] >> nth=0", tmp_path / "photo.png")
        page.wait_for_selector(".checkered img")
        assert np.array_equal(downloaded(page, tmp_path), np.dstack(cutout))
        before = page.get_attribute(".checkered img", "src")
        page.get_by_label("colour", exact=True).check()
        page.wait_for_function("before => document.querySelector('.checkered img').src != before", arg=before)
        assert np.array_equal(downloaded(page, tmp_path), composite_cutout(cutout, "colour", "#27a35a"))
        assert tab.photograph(tmp_path / "page.png").stat().st_size > 10_000
        assert tab.errors == []
        assert all(asked.startswith((address, "data:", "blob:")) for asked in tab.asked)
        (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        page.set_input_files("input[type=file] >> nth=0", tmp_path / "broken.png")
        page.wait_for_selector("text=as a picture")


def test_the_page_asks_for_a_trimap_where_the_network_needs_one(tmp_path):
    mnet = saved(lambda: MNet(0.1), "pretrain_mnet", tmp_path / "m.pt")
    with served(mnet) as address, opened(address) as tab:
        tab.page.wait_for_selector("text=Its trimap")


def downloaded(page, folder):
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    download.value.save_as(folder / "got.png")
    return images.read_channels(folder / "got.png")
