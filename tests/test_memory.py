"""Memory is bounded: it does not grow with the number of samples, and with the size of pictures only linearly."""

import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from small import matte

from shm_data import images

# Of the process itself: what getrusage tells of a child may be the memory of its parent, which it was for a moment.
PROGRAM = """
import atexit
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
from cli.data import main
main()
"""


def peak_of(folder, numbg, *more):
    """The most memory, in MB, that compositing in one thread ever held."""
    own = ("--inimg", folder / "photos", "--inalp", folder / "alphas", "--bgdir", folder / "places")
    arguments = ("composite", *own, "--numbg", numbg, "--jobs", 1, *more, "--savedir", folder / f"out {numbg}")
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / 1024


def draw(folder, edge, foregrounds, backgrounds):
    """Square photos, alphas and places of `edge` pixels."""
    for name in ("photos", "alphas", "places"):
        (folder / name).mkdir(parents=True)
    for number in range(foregrounds):
        images.write_jpeg(folder / "photos" / f"p{number}.jpg", _blurred(number, edge))
        images.write_png(folder / "alphas" / f"p{number}.png", cv2.resize(matte(number, (256, 256)), (edge, edge)))
    for number in range(backgrounds):
        images.write_jpeg(folder / "places" / f"b{number}.jpg", _blurred(100 + number, min(edge, 1500)))
    return folder


def _blurred(seed, edge):
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """The images of the 752 more samples would be 83 MB."""
    folder = draw(tmp_path, 192, foregrounds=4, backgrounds=8)
    few, many = peak_of(folder, 11), peak_of(folder, 199)
    assert len(list((folder / "out 199" / "input").iterdir())) == 800
    assert many - few < 10


def test_memory_grows_linearly_with_the_size_of_pictures(tmp_path):
    """Measured: 22 MB a megapixel and thread."""
    one, two, four = (
        peak_of(draw(tmp_path / str(edge), edge, foregrounds=2, backgrounds=2), 1) for edge in (1000, 1414, 2000)
    )
    assert 0 < four - two < 1.5 * 2 * (two - one)
    assert four - one < 3 * 40


@pytest.mark.skipif("TORTURE" not in os.environ, reason="takes a minute and 3 GB: `make torture` runs it")
def test_a_foreground_of_a_hundred_megapixels_is_composited(tmp_path):
    folder = draw(tmp_path, 10_000, foregrounds=1, backgrounds=2)
    begun = time.monotonic()
    peak = peak_of(folder, 1)
    print(f"100 megapixels, two samples: at most {peak:.0f} MB, {time.monotonic() - begun:.0f} s")
    (composite,) = (folder / "out 1" / "input").glob("p0_*.png")
    assert images.read_size(composite) == (10_000, 10_000)
    assert peak < 40 * 100
