"""No broken picture stops a job, and none is read wrongly without an error."""

import io
import os
import struct
import zlib
from functools import partial

import cv2
import numpy as np
import pytest
import tifffile
from fuzz import PREDICTOR, fault_of, in_time
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from small import UPRIGHT, matte, photo

from shm_data import images
from shm_data.building.build import composite
from shm_data.building.executors import Threads
from shm_data.building.trimaps import write_trimaps
from shm_data.dataset.layout import Layout
from shm_data.options import CompositeOptions, TrimapOptions
from shm_model.predict import predict_files
from shm_model.samples import read_sample

# Pillow warns of some pictures before it gives up, or although it reads them.
pytestmark = pytest.mark.filterwarnings("ignore")

DRAWN = np.random.default_rng(0)
COLOURS = DRAWN.integers(0, 256, (13, 17, 4), dtype=np.uint8)
DEEP = DRAWN.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
NEAREST = np.rint(DEEP / 257).astype(np.uint8)
GRAY, RGB = COLOURS[..., 0], COLOURS[..., :3]
BITS = GRAY > 127
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# How files are made.


def saved(pixels, kind, mode=None, **options):
    """A file by Pillow."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, depth, colour_type, *extra, size=None):
    """A PNG of rows of bytes, with further chunks before its pixels."""
    width, height = size or (17, len(rows))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_png(channels, colour_type, *extra):
    return png([row.astype(">u2").tobytes() for row in DEEP[..., channels]], 16, colour_type, *extra)


def run_length_bmp():
    """Eight rows, bottom up, of one gray each."""
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    body = b"".join(bytes((8, 10 * row, 0, 0)) for row in range(8)) + b"\0\1"
    start = 54 + len(palette)
    sizes = struct.pack(
        "<IHHIIiiHHIIiiII", start + len(body), 0, 0, start, 40, 8, 8, 1, 8, 1, len(body), 0, 0, 256, 0
    )
    return b"BM" + sizes + palette + body


def rgb(pixels):
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]


def on_white(pixels):
    """Colours and A composited over white, as a viewer shows them."""
    colours, alpha = pixels[..., :-1].astype(int), pixels[..., -1:].astype(int)
    return rgb(np.rint((colours * alpha + 255 * (255 - alpha)) / 255).astype(np.uint8).squeeze())


def as_pillow(data):
    image = Image.open(io.BytesIO(data))
    return on_white(np.asarray(image)) if image.mode == "RGBA" else np.asarray(image.convert("RGB"))


# What there is, and what `read_image` must find in it. Where a palette or a lossy codec comes between, the truth is
# what Pillow decodes of the whole file.

PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
SECOND = Image.fromarray(255 - RGB)
EVERY_FRAME = {"save_all": True, "append_images": [SECOND], "duration": 100}

EXACT = {
    "png": (saved(RGB, "PNG"), RGB),
    "png gray": (saved(GRAY, "PNG"), rgb(GRAY)),
    "png rgba": (saved(COLOURS, "PNG"), on_white(COLOURS)),
    "png la": (saved(COLOURS, "PNG", "LA"), on_white(np.asarray(Image.fromarray(COLOURS).convert("LA")))),
    "png 1 bit": (saved(BITS, "PNG"), rgb(np.where(BITS, 255, 0))),
    "png 2 bits": (png([bytes(5)] * 3, 2, 0), np.zeros((3, 17, 3))),
    "png 4 bits": (png([bytes([0x1B] * 9)] * 3, 4, 0), rgb(np.tile(np.uint8([17, 187] * 9)[:17], (3, 1)))),
    "png palette": (saved(np.asarray(PALETTE), "PNG"), rgb(np.asarray(PALETTE))),
    "png transparent colour": (saved(RGB, "PNG", transparency=(1, 2, 3)), RGB),
    "png icc": (saved(RGB, "PNG", icc_profile=ICC), RGB),
    "png deep gray": (deep_png(slice(0, 1), 0), rgb(NEAREST[..., 0])),
    "png deep rgb": (deep_png(slice(0, 3), 2), NEAREST[..., :3]),
    "png deep rgba": (deep_png(slice(0, 4), 6), on_white(NEAREST)),
    "png deep la": (deep_png(slice(0, 2), 4), on_white(NEAREST[..., :2])),
    "png deep gamma": (
        deep_png(slice(0, 3), 2, chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0")),
        NEAREST[..., :3],
    ),
    "png deep transparent": (deep_png(slice(0, 3), 2, chunk(b"tRNS", bytes(6))), NEAREST[..., :3]),
    "apng": (saved(RGB, "PNG", **EVERY_FRAME), RGB),
    "tiff": (saved(RGB, "TIFF"), RGB),
    "tiff lzw": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "tiff deflate": (saved(RGB, "TIFF", compression="tiff_adobe_deflate"), RGB),
    "tiff rgba": (saved(COLOURS, "TIFF"), on_white(COLOURS)),
    "tiff pages": (tiff(np.stack([GRAY, 255 - GRAY]), photometric="minisblack"), rgb(GRAY)),
    "tiff big": (tiff(RGB, bigtiff=True, photometric="rgb"), RGB),
    "tiff deep gray": (tiff(DEEP[..., 0]), rgb(NEAREST[..., 0])),
    "tiff deep gray, big end first": (tiff(DEEP[..., 0].astype(">u2"), byteorder=">"), rgb(NEAREST[..., 0])),
    "tiff deep rgb": (tiff(DEEP[..., :3], photometric="rgb"), NEAREST[..., :3]),
    "tiff deep rgb, big end first": (
        tiff(DEEP[..., :3].astype(">u2"), byteorder=">", photometric="rgb"),
        NEAREST[..., :3],
    ),
    "tiff deep rgba": (tiff(DEEP, photometric="rgb", extrasamples=["unassalpha"]), on_white(NEAREST)),
    "tiff deep deflate": (cv2.imencode(".tiff", DEEP[..., 2::-1])[1].tobytes(), NEAREST[..., :3]),
    "bmp": (saved(RGB, "BMP"), RGB),
    "bmp gray": (saved(GRAY, "BMP"), rgb(GRAY)),
    "bmp 1 bit": (saved(BITS, "BMP"), rgb(np.where(BITS, 255, 0))),
    "bmp run lengths": (run_length_bmp(), rgb(np.repeat(np.arange(70, -1, -10)[:, None], 8, axis=1))),
    "gif": (saved(GRAY, "GIF"), rgb(GRAY)),
    "gif animated": (saved(GRAY, "GIF", **EVERY_FRAME | {"append_images": [Image.fromarray(255 - GRAY)]}), rgb(GRAY)),
    "webp lossless": (saved(RGB, "WEBP", lossless=True), RGB),
    "webp icc": (saved(RGB, "WEBP", lossless=True, icc_profile=ICC), RGB),
    "webp animated": (saved(RGB, "WEBP", lossless=True, **EVERY_FRAME), RGB),
    "ppm": (saved(RGB, "PPM"), RGB),
    "pgm": (saved(GRAY, "PPM"), rgb(GRAY)),
    "pbm": (saved(BITS, "PPM"), rgb(np.where(BITS, 255, 0))),
    "ppm deep": (b"P6 17 13 65535\n" + DEEP[..., :3].astype(">u2").tobytes(), NEAREST[..., :3]),
}
LOSSY = {
    "jpeg": saved(RGB, "JPEG"),
    "jpeg progressive": saved(RGB, "JPEG", progressive=True),
    "jpeg gray": saved(GRAY, "JPEG"),
    "jpeg cmyk": saved(RGB, "JPEG", "CMYK"),
    "jpeg with restarts": saved(RGB, "JPEG", restart_marker_blocks=1, subsampling=0),
    "jpeg icc": saved(RGB, "JPEG", icc_profile=ICC),
    "jpeg of two": saved(RGB, "MPO", **EVERY_FRAME),
    "webp": saved(RGB, "WEBP"),
    "webp rgba": saved(COLOURS, "WEBP"),
    "tiff jpeg": saved(RGB, "TIFF", compression="jpeg"),
    "gif colours": saved(RGB, "GIF"),
    "bmp palette": saved(np.asarray(PALETTE), "BMP"),
}
FILES = {name: data for name, (data, _) in EXACT.items()} | LOSSY
TRUTHS = {name: np.uint8(truth) for name, (_, truth) in EXACT.items()} | {
    name: as_pillow(data) for name, data in LOSSY.items()
}
CHECKED = [name for name in FILES if "png" in name]  # what has checksums


def write(tmp_path, data, name="picture.png"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_picture_is_read_correctly(tmp_path, kind):
    path = write(tmp_path, FILES[kind])
    with in_time():
        assert np.array_equal(images.read_image(path), TRUTHS[kind])
        assert images.read_size(path) == TRUTHS[kind].shape[1::-1]


@pytest.mark.parametrize(
    "data",
    {
        "jpeg 2000": saved(RGB, "JPEG2000"),
        "packbits": saved(RGB, "TIFF", compression="packbits"),
        "fax": saved(BITS, "TIFF", compression="group4"),
        "1 bit": saved(BITS, "TIFF"),
        "palette": saved(np.asarray(PALETTE), "TIFF", "P"),
        "cmyk of bytes": saved(RGB, "TIFF", "CMYK"),
        "gray, white is 0": tiff(GRAY, photometric="miniswhite"),
        "planes of bytes": tiff(np.moveaxis(RGB, 2, 0).copy(), planarconfig="separate", photometric="rgb"),
        "white is 0": tiff(DEEP[..., 0], photometric="miniswhite"),
        "planes": tiff(np.moveaxis(DEEP[..., :3], 2, 0).copy(), planarconfig="separate", photometric="rgb"),
        "premultiplied": tiff(DEEP, photometric="rgb", extrasamples=["assocalpha"]),
        "cmyk": tiff(DEEP, photometric="separated"),
        "signed": tiff(DEEP[..., 0].astype(np.int16)),
        "signed bytes": tiff(GRAY.astype(np.int8), photometric="minisblack"),
        "32 bits": tiff(DEEP[..., 0].astype(np.uint32)),
        "64 bits": tiff(DEEP[..., 0].astype(np.uint64)),
        "floats": tiff(GRAY.astype(np.float32)),
        "colours in floats": tiff(RGB.astype(np.float32), photometric="rgb"),
        "five channels": tiff(np.dstack([DEEP, DEEP[..., 0]]), photometric="rgb", planarconfig="contig"),
        "12 bits": saved(DEEP[..., 0], "TIFF").replace(
            struct.pack("<HHIHH", 258, 3, 1, 16, 0), struct.pack("<HHIHH", 258, 3, 1, 12, 0)
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_pixels_that_a_decoder_would_garble_and_rare_kinds_are_refused(tmp_path, data):
    path = write(tmp_path, data[1])
    for read in (images.read_image, images.read_alpha):
        assert fault_of(read, path, named=path)


# Files cut short.

PLACES = (
    "nothing",
    "1 byte",
    "signature",
    "header",
    "a quarter",
    "the middle",
    "nine tenths",
    "all but 9",
    "all but 1",
)


def cut(data, place):
    length = len(data)
    lengths = (0, 1, 8, 30, length // 4, length // 2, length * 9 // 10, length - 9, length - 1)
    return data[: lengths[PLACES.index(place)]]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_short_is_refused_or_lacks_nothing(tmp_path, kind, place):
    path = write(tmp_path, cut(FILES[kind], place))
    fault_of(images.read_size, path, named=path)
    if not fault_of(images.read_image, path, named=path):
        assert np.array_equal(images.read_image(path), TRUTHS[kind])
        # An end mark without pixels may be missing; frames behind the first one are not asked for.
        assert place in ("all but 9", "all but 1") or "animated" in kind or kind in ("tiff pages", "jpeg of two")


@pytest.mark.parametrize("kind", [*CHECKED, *(name for name in FILES if name.startswith("jpeg"))])
@pytest.mark.parametrize("written", [0.3, 0.6, 0.9, 0.99])
def test_a_file_whose_end_was_never_written_is_refused(tmp_path, kind, written):
    """After a crash of the machine a file may have its length, and zeros for its end."""
    data = FILES[kind]
    length = int(len(data) * written)
    path = write(tmp_path, data[:length] + bytes(len(data) - length))
    if not fault_of(images.read_image, path, named=path):
        assert kind == "jpeg of two" and np.array_equal(images.read_image(path), TRUTHS[kind])


STRIPES = np.kron(DRAWN.integers(0, 256, (16, 24, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_blocks": 5}], ids=str
)
def test_a_jpeg_cut_short_and_ended_is_not_filled_up_with_gray(tmp_path, options, mode, share):
    data = saved(STRIPES, "JPEG", mode, **options)
    path = write(tmp_path, data)
    assert np.array_equal(images.read_image(path), as_pillow(data)), "the whole file is taken"
    pixels = data.index(b"\xff\xda") + 16
    path.write_bytes(data[: pixels + int((len(data) - pixels) * share)] + b"\xff\xd9")
    with Image.open(path) as decoded:
        decoded.load()  # which other readers do in silence
    assert "cut short" in fault_of(images.read_image, path, named=path)


@pytest.mark.parametrize("share", [0.05, 0.35, 0.55, 0.8])
def test_a_progressive_jpeg_cut_short_in_a_scan_and_ended_is_refused(tmp_path, share):
    data = saved(STRIPES, "JPEG", progressive=True)
    pixels = data.index(b"\xff\xda") + 16
    path = write(tmp_path, data[: pixels + int((len(data) - pixels) * share)] + b"\xff\xd9")
    assert "cut short" in fault_of(images.read_image, path, named=path)


def test_flat_gray_is_no_sign_of_a_cut(tmp_path):
    for mode in ("RGB", "L", "CMYK"):
        for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}):
            data = saved(np.full((40, 50, 3), 128, np.uint8), "JPEG", mode, **options)
            assert np.array_equal(images.read_image(write(tmp_path, data)), as_pillow(data))


# Wrong bytes.


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1), st.integers(0, 7))
def test_a_flipped_bit_never_gets_past_a_checksum_and_never_stops_the_work(tmp_path_factory, kind, place, bit):
    data = bytearray(FILES[kind])
    data[min(int(place * len(data)), len(data) - 1)] ^= 1 << bit
    path = write(tmp_path_factory.getbasetemp(), data, "flipped.png")
    for read in (images.read_size, images.read_image, images.read_alpha, images.read_cutout, images.read_trimap):
        fault_of(read, path, named=path)
    if kind in CHECKED and not fault_of(images.read_image, path, named=path):
        assert np.array_equal(images.read_image(path), TRUTHS[kind])  # it was beside the pixels


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1), st.binary(min_size=1, max_size=40))
def test_overwritten_bytes_never_stop_the_work(tmp_path_factory, kind, place, noise):
    data = bytearray(FILES[kind])
    start = int(place * (len(data) - 1))
    data[start : start + len(noise)] = noise
    path = write(tmp_path_factory.getbasetemp(), data, "noise.png")
    taken = not fault_of(images.read_image, path, named=path)
    if taken and kind in CHECKED:
        assert np.array_equal(images.read_image(path), TRUTHS[kind])


# Names that lie.

OTHERS = {
    "nothing": b"",
    "text": b"This is no picture.\n",
    "html": b"<!doctype html><title>404</title>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "pdf": b"%PDF-1.4\n%%EOF\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "zip": b"PK\x05\x06" + bytes(18),
    "program": b"\x7fELF" + bytes(60),
    "avif": b"\0\0\0\x1cftypavif" + bytes(40),
    "zeros": bytes(5000),
    "noise": DRAWN.bytes(5000),
}


@pytest.mark.parametrize("extension", sorted(images.EXTENSIONS))
def test_what_is_no_picture_is_refused_under_any_extension(tmp_path, extension):
    for data in OTHERS.values():
        path = write(tmp_path, data, f"picture{extension}")
        for read in (images.read_size, images.read_image, images.read_alpha, images.read_cutout, images.read_gray):
            assert fault_of(read, path, named=path)


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    def started(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    assert fault_of(images.read_image, write(tmp_path, OTHERS["eps"]), named="picture.png")


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("kind", ["png", "png deep rgb", "tiff deep rgb", "jpeg", "webp lossless", "bmp", "gif"])
def test_a_picture_under_another_extension_is_read_correctly(tmp_path, kind, extension):
    assert np.array_equal(images.read_image(write(tmp_path, FILES[kind], f"a{extension}")), TRUTHS[kind])


# Which way up.


BLOCKS = np.kron(DRAWN.integers(0, 256, (2, 3), dtype=np.uint8), np.ones((16, 16), np.uint8))


def turned_by_exif(kind, orientation):
    """A picture of blocks whose EXIF tag asks for a turn."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "tiff deep":
        deep = BLOCKS.astype(np.uint16) * 257
        return tiff(np.dstack([deep] * 3), photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)])
    if kind == "png deep":
        rows = [row.astype(">u2").tobytes() for row in BLOCKS.astype(np.uint16) * 257]
        return png(rows, 16, 0, chunk(b"eXIf", exif.tobytes()[6:]), size=BLOCKS.shape[::-1])
    options = {"quality": 100} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    return saved(np.dstack([BLOCKS] * 3), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "tiff deep", "png deep"])
def test_every_turn_that_exif_asks_for_is_made(tmp_path, kind, orientation):
    path = write(tmp_path, turned_by_exif(kind, orientation))
    upright = UPRIGHT[orientation](BLOCKS)
    for pixels in (images.read_image(path)[..., 0], images.read_alpha(path), images.read_gray(path)):
        assert np.abs(pixels.astype(int) - upright).max() <= (2 if kind == "JPEG" else 0)
    assert images.read_size(path) == upright.shape[::-1]


# Sizes.


def claims(width, height):
    """Files of a few bytes that claim a size."""
    here = {
        "gif": ((6, "<HH"), (FILES["gif"].index(b",\0\0\0\0") + 5, "<HH")),
        "jpeg": ((FILES["jpeg"].index(b"\xff\xc0") + 5, ">HH"),),
        "bmp": ((18, "<ii"),),
    }
    files = {name: bytearray(FILES[name]) for name in here}
    for name, places in here.items():
        for start, form in places:
            sides = (height, width) if name == "jpeg" else (width, height)
            files[name][start : start + struct.calcsize(form)] = struct.pack(form, *sides)
    tagged = FILES["tiff"]
    for tag, old, new in ((256, 17, width), (257, 13, height)):
        tagged = tagged.replace(struct.pack("<HHII", tag, 4, 1, old), struct.pack("<HHII", tag, 4, 1, new))
    return {
        **files,
        "png": png([], 8, 2, size=(width, height)),
        "png deep": png([], 16, 2, size=(width, height)),
        "ppm": b"P6 %d %d 255\n" % (width, height) + bytes(100),
        "tiff": tagged,
    }


@pytest.mark.parametrize("kind", claims(60000, 60000))
def test_a_bomb_is_refused_by_its_header(tmp_path, kind):
    path = write(tmp_path, claims(60000, 60000)[kind])
    for read in (images.read_size, images.read_image, images.read_alpha, images.read_cutout, images.read_trimap):
        sentence = fault_of(read, path, named=path)
        assert "found 60000x60000 = 3600 megapixels, expected at most 179" in sentence


def test_a_bomb_in_webp_is_refused_by_its_header(tmp_path):
    webp = bytearray(saved(RGB, "WEBP", icc_profile=ICC))
    webp[24:30] = struct.pack("<I", 16382)[:3] * 2
    path = write(tmp_path, bytes(webp))
    assert fault_of(images.read_size, path, named=path)
    assert fault_of(images.read_image, path, named=path)


def test_the_limit_is_one_for_every_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr("shm_data.images.opening.MAX_PIXELS", 13 * 17)
    for kind in ("png", "png deep rgb", "tiff", "tiff deep rgb", "jpeg", "webp", "bmp", "gif"):
        images.read_image(write(tmp_path, FILES[kind]))
    monkeypatch.setattr("shm_data.images.opening.MAX_PIXELS", 13 * 17 - 1)
    for kind in ("png", "png deep rgb", "tiff", "tiff deep rgb", "jpeg", "webp", "bmp", "gif"):
        path = write(tmp_path, FILES[kind])
        assert "17x13 = 0.1 megapixels, expected at most" in fault_of(images.read_image, path, named=path)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (3, 3), (1, 5000)], ids=str)
def test_a_foreground_of_any_shape_is_made_or_named(tmp_path, size):
    """Height and width. What cannot be used is refused before anything is written."""
    pixels = DRAWN.integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = np.resize(np.uint8([0, 255, 128]), size)
    for folder, some in (("photos", pixels), ("alphas", alpha), ("places", photo(1, (128, 136)))):
        (tmp_path / folder).mkdir()
        images.write_png(tmp_path / folder / "a.png", some)
    exact = partial(make, augment=())
    if fault_of(exact, tmp_path, named=tmp_path / "alphas" / "a.png"):
        assert not (tmp_path / "out").exists() and not alpha.any()
        return
    (composited,) = [name for name in images.find(tmp_path / "out" / "mask") if name != "a.png"]
    assert np.array_equal(images.read_alpha(tmp_path / "out" / "mask" / composited), alpha)
    assert images.read_image(tmp_path / "out" / "input" / composited).shape == pixels.shape
    assert not fault_of(write_trimaps, tmp_path / "alphas", tmp_path / "trimaps", TrimapOptions(), named=tmp_path)
    assert images.read_trimap(tmp_path / "trimaps" / "a.png").shape == size


# A whole job with a broken file in it.

BROKEN = {
    "empty": b"",
    "cut": FILES["png"][:300],
    "flipped": FILES["png"][:300] + bytes([FILES["png"][300] ^ 1]) + FILES["png"][301:],
    "text": OTHERS["text"],
    "bomb": png([], 8, 2, size=(60000, 60000)),
    "jpeg": cut(FILES["jpeg"], "nine tenths"),
}


def make(folder, **options):
    places = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}
    return composite(CompositeOptions(foreground="photo", numbg=1, **places | options), folder / "out", Threads(2))


@pytest.mark.parametrize("fault", [*BROKEN, "pipe", "folder", "dangling", "loop"])
@pytest.mark.parametrize("role", ["photos", "alphas", "places", "trimaps"])
def test_one_broken_file_is_named_and_the_rest_goes_on(sources, role, fault):
    (sources / "trimaps").mkdir()
    for number in range(4):
        images.write_png(sources / "trimaps" / f"p{number}.png", matte(number) // 86 * 127)
    path = sources / role / ("b3.png" if role == "places" else "p3.png")
    broken(path, fault)
    options = {"intri": sources / "trimaps"} if role == "trimaps" else {}
    if fault in ("pipe", "folder"):  # neither is a file, so neither is listed
        manifest = make(sources, **options)
        gone = {"photos": 3, "alphas": 3, "places": 4, "trimaps": 4}[role]
        assert manifest.counts.foregrounds == gone
    elif role == "places":
        manifest = make(sources)
        assert manifest.counts.foregrounds == 4 and manifest.complete
        assert any("bgdir/b3.png" in names for names in manifest.skipped.values())
        assert not any(str(sources) in reason for reason in manifest.skipped)
    else:
        assert fault_of(lambda: make(sources, **options), named=path)
        assert not (sources / "out").exists()
        for folder in ("photos", "alphas", "trimaps"):
            (sources / folder / "p3.png").unlink()
        assert make(sources, **options).counts.foregrounds == 3


def broken(path, fault):
    """Replace a file by something that is no file, or is broken."""
    path.unlink()
    if fault == "pipe":
        os.mkfifo(path)
    elif fault == "folder":
        path.mkdir()
    elif fault in ("dangling", "loop"):
        path.symlink_to(path if fault == "loop" else path.with_name("absent"))
    else:
        path.write_bytes(BROKEN[fault])


@pytest.mark.parametrize("fault", [*BROKEN, "dangling", "loop"])
def test_trimaps_are_made_of_all_alphas_but_the_broken_one(sources, tmp_path, fault):
    path = sources / "alphas" / "p1.png"
    broken(path, fault)
    assert fault_of(write_trimaps, sources / "alphas", tmp_path / "trimaps", TrimapOptions(), named=path)
    assert images.find(tmp_path / "trimaps") == ["p0.png", "p2.png", "p3.png"]


@pytest.mark.parametrize("fault", [*BROKEN, "dangling", "loop"])
def test_mattes_are_predicted_of_all_pictures_but_the_broken_one(sources, tmp_path, fault):
    path = sources / "photos" / "p1.png"
    broken(path, fault)
    predict = [PREDICTOR, [sources / "photos"], None, tmp_path / "mattes"]
    assert fault_of(predict_files, *predict, named=path)
    stems = ("p0", "p2", "p3")
    assert images.find(tmp_path / "mattes") == sorted(f"{stem}{end}.png" for stem in stems for end in ("", "_cutout"))


@pytest.mark.parametrize("fault", ["pipe", "folder", "dangling"])
def test_a_picture_to_predict_that_is_no_file_is_named(tmp_path, fault):
    path = write(tmp_path, b"")
    broken(path, fault)
    if fault == "folder":
        path = path / "a.png"
    assert fault_of(predict_files, PREDICTOR, [path], None, tmp_path / "mattes", named=path)


@pytest.mark.parametrize("fault", [*BROKEN, "pipe", "folder", "dangling"])
@pytest.mark.parametrize("folder", ["input", "mask", "trimap"])
def test_a_broken_file_of_a_sample_is_named(tmp_path, folder, fault):
    layout = Layout(tmp_path)
    trimap = np.uint8([0, 128, 255])[matte(1) // 86]
    for folder_of, pixels in zip(layout.folders, (photo(1), matte(1), trimap), strict=True):
        folder_of.mkdir()
        images.write_png(folder_of / "a.png", pixels)
    read_sample(tmp_path, "a.png")
    path = tmp_path / folder / "a.png"
    broken(path, fault)
    assert fault_of(read_sample, tmp_path, "a.png", named=path)
