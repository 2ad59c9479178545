"""What is encoded as PNG comes back bit by bit from any decoder, and is hardly larger than from others."""

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shm_data import images
from shm_data.images import png
from shm_data.pixels.kernels import deflating

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4]))


def decoded(data):
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    by_opencv = by_opencv if by_opencv.ndim == 2 else cv2.cvtColor(by_opencv, swap[by_opencv.shape[2]])
    return np.asarray(Image.open(io.BytesIO(data))), by_opencv


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 9))
def test_any_picture_comes_back_from_pillow_and_opencv(shape, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    pixels = pixels[..., 0] if shape[2] == 1 else pixels
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


@pytest.mark.parametrize("shape", [(1, 90000, 3), (90000, 1, 3), (700, 900, 3)], ids=str)
def test_extreme_shapes_come_back(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


def test_pillow_verifies_every_checksum():
    data = bytes(png.encode(np.full((30, 20, 3), 7, np.uint8)))
    Image.open(io.BytesIO(data)).verify()
    offset = data.index(b"IDAT") + 8
    broken = data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]
    with pytest.raises(SyntaxError, match="broken PNG file"):
        Image.open(io.BytesIO(broken)).verify()


def test_a_view_is_encoded_as_what_it_shows():
    pixels = np.random.default_rng(2).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert png.encode(pixels[::-1, 5:40]) == png.encode(pixels[::-1, 5:40].copy())


@pytest.mark.parametrize("skew", [0.02, 0.5, 0.98])
def test_codes_that_would_be_too_long_still_decode(skew):
    draw = np.random.default_rng(3)
    pixels = np.minimum(draw.geometric(skew, (600, 500, 3)), 255).astype(np.uint8)
    for other in decoded(png.encode(pixels)):
        assert np.array_equal(other, pixels)


def test_what_is_flat_or_drawn_takes_little():
    pixels = np.full((1000, 1000, 3), 200, np.uint8)
    pixels[300:700, 300:700] = (9, 80, 70)
    assert np.array_equal(decoded(png.encode(pixels))[0], pixels)
    assert len(png.encode(pixels)) < 30_000


@given(counts=st.lists(st.integers(1, 2**40), min_size=257, max_size=257), longest=st.sampled_from([9, 12, 14, 15]))
@settings(deadline=None)
def test_code_lengths_make_a_complete_prefix_code_of_the_allowed_length(counts, longest):
    lengths = deflating.code_lengths(np.array(counts, np.uint64), longest).astype(int)
    assert lengths.min() >= 1 and lengths.max() <= longest
    assert sum(2 ** (longest - length) for length in lengths) == 2**longest  # Kraft's equality


def test_rarer_symbols_never_have_shorter_codes():
    counts = np.arange(1, 258, dtype=np.uint64) ** 3
    lengths = deflating.code_lengths(counts, 15).astype(int)
    assert (np.diff(lengths) <= 0).all()
    entropy = -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()
    assert entropy <= (counts * lengths).sum() / counts.sum() < entropy + 1  # Shannon


def unfiltered(filtered):
    """The gray picture of which PNG's filter Average leaves these bytes (H, W): straight from the specification."""
    picture = np.zeros(filtered.shape, np.uint8)
    for y, x in np.ndindex(filtered.shape):
        left, up = (int(picture[y, x - 1]) if x else 0), (int(picture[y - 1, x]) if y else 0)
        picture[y, x] = (int(filtered[y, x]) + (left + up) // 2) % 256
    return picture


@pytest.mark.parametrize(("shape", "least"), [((9, 20_000), 240), ((60, 4_095), 0), ((3, 1), 0)], ids=str)
def test_zlib_finds_the_filtered_rows_and_their_checksum(shape, least):
    filtered = np.random.default_rng(4).integers(least, 256, shape, dtype=np.uint8)
    data = png.encode(unfiltered(filtered))
    length = int.from_bytes(data[33:37])
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(shape[0], -1)
    assert (rows[:, 0] == 3).all()
    assert np.array_equal(rows[:, 1:], filtered)


@given(width=st.integers(1, 9000), height=st.integers(1, 3), seed=st.integers(0, 9))
@settings(deadline=None)
def test_zlib_finds_the_checksum_of_rows_of_any_length(width, height, seed):
    data = png.encode(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))
    assert len(zlib.decompress(data[41 : 41 + int.from_bytes(data[33:37])])) == height * (width + 1)


def test_photographs_are_about_as_large_as_by_opencvs_default(realdata):
    ours, theirs = 0, 0
    for path in sorted((realdata / "voc_mini" / "VOC2012" / "JPEGImages").glob("*.jpg"))[:10]:
        pixels = images.read_image(path)
        data = png.encode(pixels)
        assert np.array_equal(decoded(data)[0], pixels)
        ours += len(data)
        theirs += len(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])
    assert ours < 1.1 * theirs


MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def _as_png(pixels, mode, **more):
    file = io.BytesIO()
    Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes()).save(file, "PNG", **more)
    return file.getvalue()


def _with_filter(pixels, kind):
    """Return a PNG all of whose rows have one filter, written by its definition (RFC 2083, 6)."""
    height, width, channels = pixels.shape
    padded = np.zeros((height + 1, width + 1, channels), np.int64)
    padded[1:, 1:] = pixels
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    options = np.stack([left, up, corner])
    nearest = np.abs(options - (left + up - corner)).argmin(axis=0)  # the first of equals: left, up, corner
    paeth = np.take_along_axis(options, nearest[None], 0)[0]
    predicted = (0 * left, left, up, (left + up) // 2, paeth)[kind]
    rows = ((pixels - predicted) % 256).astype(np.uint8).reshape(height, -1)
    packed = zlib.compress(np.insert(rows, 0, kind, axis=1).tobytes())
    whole = _as_png(pixels, {size: mode for mode, size in MODES.items()}[channels])
    return whole[:33] + png._chunk(b"IDAT", packed[:9]) + png._chunk(b"IDAT", packed[9:]) + png._END


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(mode, kind):
    pixels = np.random.default_rng(kind).integers(0, 256, (13, 17, MODES[mode]), np.uint8)
    data = _with_filter(pixels, kind)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(png.decode(data).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(("mode", "more"), [("P", {}), ("1", {}), ("L", {"transparency": 3}), ("I;16", {})])
def test_unusual_pictures_are_left_to_other_decoders(mode, more):
    file = io.BytesIO()
    Image.new(mode, (9, 7)).save(file, "PNG", **more)
    assert png.decode(file.getvalue()) is None


def test_a_stream_that_is_broken_short_or_long_is_left_to_other_decoders():
    whole = png.decode(bytes(png.encode(np.full((20, 30), 7, np.uint8))))
    assert whole is not None
    rows = np.zeros((20, 31), np.uint8).tobytes()
    start = _as_png(np.zeros((20, 30), np.uint8), "L")[:33]
    for packed in (
        zlib.compress(rows[:-1]),
        zlib.compress(rows + b"\0"),
        zlib.compress(rows)[:-1],
        zlib.compress(rows)[:-1] + b"\7",
        zlib.compress(b"\5" + rows[1:]),
        zlib.compress(bytes(10**8)),
    ):
        assert png.decode(start + png._chunk(b"IDAT", packed) + png._END) is None


def test_real_pictures_are_as_pillow_reads_them(realdata):
    paths = sorted((realdata / "fg").rglob("*.png"))[:60]
    assert paths
    for path in paths:
        pixels = png.decode(path.read_bytes())
        if pixels is not None:
            with Image.open(path) as picture:
                np.testing.assert_array_equal(pixels, np.asarray(picture))


def test_indexed_pictures_have_the_colours_of_their_palette():
    generator = np.random.default_rng(0)
    indices = generator.integers(0, 200, (31, 47), np.uint8)
    colours = generator.integers(0, 256, (200, 4), np.uint8)
    with Image.open(io.BytesIO(png.encode_indexed(indices, colours))) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGBA")), colours[indices])
