"""What is encoded as PNG comes back bit by bit from any decoder, and is no larger than from others."""

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shm_data import images, png

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4]))


def decoded(data):
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    by_opencv = by_opencv if by_opencv.ndim == 2 else cv2.cvtColor(by_opencv, swap[by_opencv.shape[2]])
    return np.asarray(Image.open(io.BytesIO(data))), by_opencv


@given(shape=SHAPES, seed=st.integers(0, 9))
def test_any_picture_comes_back_from_pillow_and_opencv(shape, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    pixels = pixels[..., 0] if shape[2] == 1 else pixels
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


@pytest.mark.parametrize("shape", [(1, 90000, 3), (90000, 1, 3), (700, 900, 3)], ids=str)
def test_bands_end_nowhere_in_the_picture(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


def test_pillow_verifies_every_checksum():
    data = png.encode(np.full((30, 20, 3), 7, np.uint8))
    Image.open(io.BytesIO(data)).verify()
    place = data.index(b"IDAT") + 8
    broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    with pytest.raises(SyntaxError, match="broken PNG file"):
        Image.open(io.BytesIO(broken)).verify()


def test_a_view_is_encoded_as_what_it_shows():
    pixels = np.random.default_rng(2).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert png.encode(pixels[::-1, 5:40]) == png.encode(pixels[::-1, 5:40].copy())


def test_where_isa_l_is_missing_zlib_gives_the_same_pixels(monkeypatch):
    pixels = np.random.default_rng(3).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    monkeypatch.setattr(png, "deflate", zlib)
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


def test_photographs_are_smaller_than_by_opencvs_default(realdata):
    ours, theirs = 0, 0
    for path in sorted((realdata / "voc_mini" / "VOC2012" / "JPEGImages").glob("*.jpg"))[:10]:
        pixels = images.read_image(path)
        data = png.encode(pixels)
        assert np.array_equal(decoded(data)[0], pixels)
        ours += len(data)
        theirs += len(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])
    assert ours < theirs
