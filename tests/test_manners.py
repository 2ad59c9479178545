"""A library is a guest: nothing of the process that hosts it is changed for good, or for other threads."""

import subprocess
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image
from small import photo

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.parallel import spread

_HOST = """
import ctypes, logging, os, signal, socket, sys, warnings
from pathlib import Path
import cv2
from PIL import Image, ImageFile

def state():
    return {
        "Pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK),
        "warnings": [(*map(str, each[:4]), each[4]) for each in warnings.filters],
        "OpenCV": (cv2.getNumThreads(), cv2.utils.logging.getLogLevel(), cv2.useOptimized()),
        "environment": dict(os.environ),
        "logging": (logging.root.level, logging.root.handlers[:], logging.root.manager.disable),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "paths": (sys.path[:], os.getcwd(), socket.getdefaulttimeout(), sys.getrecursionlimit()),
    }

cv2.setNumThreads(3)
Image.MAX_IMAGE_PIXELS = 1000  # less than what is read
before, folder = state(), Path(sys.argv[1])

class Library:
    def __init__(self, name):
        pass
    def mallopt(self, *arguments):
        raise AssertionError("the allocator was tuned")

ctypes.CDLL, original = Library, ctypes.CDLL
from shm_data import images
from shm_data.host.allocator import tune_allocator
ctypes.CDLL = original
import shm_data.host.allocator
shm_data.host.allocator.ctypes = type("ctypes", (), {"CDLL": Library})
from shm_data.building.build import composite
from shm_data.building.trimaps import write_trimaps
from shm_data.check import check_dataset, check_pairs
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.report import write_report

options = CompositeOptions(
    inimg=folder / "photos", inalp=folder / "alphas", bgdir=(folder / "places",), numbg=2, augment=("blur", "noise")
)
composite(options, folder / "set")
check_dataset(folder / "set", deep=2)
write_report(folder / "set", folder / "report.html")
write_trimaps(folder / "alphas", folder / "trimaps", TrimapOptions())
for name in images.find(folder):
    images.read_size(folder / name), images.read_image(folder / name)
after = state()
assert before == after, [(key, before[key], after[key]) for key in before if before[key] != after[key]]
"""


def test_a_host_is_after_it_as_it_was_before(sources):
    result = subprocess.run(
        [sys.executable, "-c", _HOST, str(sources)], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr


def test_opencv_has_one_thread_while_work_is_spread_and_then_its_own_again():
    cv2.setNumThreads(3)
    try:
        assert set(spread(lambda _: cv2.getNumThreads(), range(20), 3)) == {1}
        assert cv2.getNumThreads() == 3
        first, second = (spread(lambda _: cv2.getNumThreads(), range(9), 2) for _ in range(2))
        assert {next(first), next(second)} == {1}
        assert {*first} == {1} and cv2.getNumThreads() == 1, "the second is not finished"
        second.close()
        assert cv2.getNumThreads() == 3
        with pytest.raises(ZeroDivisionError):
            list(spread(lambda number: 1 / number, range(3), 2))
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(-1)


def warning_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught]


@pytest.fixture
def broken_exif(tmp_path):
    """A photo that Pillow warns of."""
    path = tmp_path / "a.jpg"
    Image.fromarray(photo(1)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\x01")
    return path


def test_pillow_warns_its_host_before_and_after_but_not_of_our_pictures(broken_exif):
    def by_host():
        with Image.open(broken_exif) as image:
            image.getexif()

    assert warning_of(by_host)
    assert not warning_of(lambda: images.read_image(broken_exif))
    assert warning_of(by_host)


def test_threads_that_read_at_once_restore_what_was_there(broken_exif, tmp_path):
    filters, level = list(warnings.filters), cv2.utils.logging.getLogLevel()
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    def read():
        for _ in range(50):
            images.read_image(broken_exif)
            with pytest.raises(ShmDataError):
                images.read_image(tmp_path / "b.png")

    threads = [threading.Thread(target=read) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert list(warnings.filters) == filters and cv2.utils.logging.getLogLevel() == level


def test_a_limit_of_the_host_does_not_stop_our_pictures_nor_ours_its_own(tmp_path, monkeypatch):
    images.write_png(tmp_path / "a.png", photo(1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(images.read_image(tmp_path / "a.png"), photo(1))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")
