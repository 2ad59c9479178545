"""Pictures that people really have: animated, transparent, turned, of many formats, with broken metadata."""

import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin
from small import UPRIGHT, matte, photo

from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_pairs
from shm_data.dataset.layout import Layout
from shm_data.errors import ShmDataError
from shm_data.host.logs import log_once
from shm_data.images import decoding, formats, listing
from shm_data.options import CompositeOptions

PHOTO = photo(1, (160, 96))
SMOOTH = cv2.GaussianBlur(PHOTO, (0, 0), 6)


@pytest.fixture
def logged(caplog):
    """Returns the files that were logged while they were read. Each is logged once, so earlier ones are forgotten."""
    log_once.cache_clear()
    return lambda: [
        re.split(" is transparent| has several", record.getMessage())[0]
        for record in caplog.records
        if record.name == decoding.__name__
    ]


def saved(pixels, kind, mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


# Several frames and pages.

MORE = {"save_all": True, "append_images": [Image.fromarray(255 - PHOTO)], "duration": 100}


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_an_animated_picture_the_first_frame_is_used_and_that_is_reported(tmp_path, logged, kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 90} if kind == "AVIF" else {}
    path, still = tmp_path / "moving", tmp_path / "still"
    path.write_bytes(saved(PHOTO, kind, **MORE, **options))
    still.write_bytes(saved(PHOTO, kind, **options))
    first = images.read_image(still)
    assert not logged()
    for _ in range(2):
        assert np.abs(images.read_image(path).astype(int) - first).mean() < 2
    assert logged() == [str(path)], "once"


def test_a_camera_s_preview_is_no_second_page(tmp_path, logged):
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(PHOTO, "MPO", **MORE))
    images.read_image(path)
    assert not logged()


@pytest.mark.parametrize("deep", [False, True])
def test_a_thumbnail_before_the_page_is_not_taken_for_the_picture(tmp_path, logged, deep):
    scale = 257 if deep else 1
    page, small = (pixels.astype(np.uint16 if deep else np.uint8) * scale for pixels in (PHOTO, PHOTO[::8, ::8]))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(small, photometric="rgb", subfiletype=1)
        file.write(page, photometric="rgb")
    assert images.read_size(tmp_path / "a.tif") == (96, 160)
    assert np.array_equal(images.read_image(tmp_path / "a.tif"), PHOTO)
    assert not logged()


def test_a_smaller_version_behind_the_page_needs_no_word(tmp_path, logged):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PHOTO, photometric="rgb")
        file.write(np.ascontiguousarray(PHOTO[::2, ::2]), photometric="rgb", subfiletype=1)
    assert np.array_equal(images.read_image(tmp_path / "a.tif"), PHOTO)
    assert not logged()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_colours_that_the_palette_lacks_are_refused(tmp_path, kind):
    levels = Image.new("P", (8, 8), 3)
    levels.putpalette([10, 20, 30] * 4)
    whole = tmp_path / "whole"
    levels.save(whole, kind, **({"bits": 8} if kind == "PNG" else {}))
    assert (images.read_image(whole) == (10, 20, 30)).all()
    data = whole.read_bytes()
    if kind == "PNG":
        start = data.index(b"PLTE") - 4
        length = int.from_bytes(data[start : start + 4])
        palette = b"PLTE" + data[start + 8 : start + 14]
        chunk = struct.pack(">I", 6) + palette + zlib.crc32(palette).to_bytes(4)
        data = data[:start] + chunk + data[start + 12 + length :]
    else:
        offset = int.from_bytes(data[10:14], "little")
        data = (
            data[:10] + struct.pack("<I", 54 + 8) + data[14:46] + struct.pack("<I", 2) + data[50:62] + data[offset:]
        )
    (tmp_path / "short").write_bytes(data)
    with pytest.raises(ShmDataError) as error:
        images.read_image(tmp_path / "short")
    assert error.value.path == str(tmp_path / "short") and "palette" in error.value.what


# Formats.


def test_avif_is_read_as_any_photo(tmp_path):
    (tmp_path / "a.avif").write_bytes(saved(SMOOTH, "AVIF", quality=95, exif=exif_of(6)))
    upright = UPRIGHT[6](SMOOTH)
    assert images.find(tmp_path) == ["a.avif"]
    assert images.read_size(tmp_path / "a.avif") == upright.shape[1::-1]
    assert np.abs(images.read_image(tmp_path / "a.avif").astype(int) - upright).mean() < 3
    assert images.is_lossy(tmp_path / "a.avif")


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_heic_is_read_as_any_photo(tmp_path, orientation):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif")
    picture = pillow_heif.from_pillow(Image.fromarray(SMOOTH))
    picture.save(tmp_path / "a.HEIC", quality=95, exif=exif_of(orientation))
    upright = UPRIGHT[orientation](SMOOTH)
    assert images.find(tmp_path) == ["a.HEIC"]
    assert images.read_size(tmp_path / "a.HEIC") == upright.shape[1::-1]
    assert np.abs(images.read_image(tmp_path / "a.HEIC").astype(int) - upright).mean() < 3
    assert images.is_lossy(tmp_path / "a.HEIC")
    (tmp_path / "a.HEIC").write_bytes((tmp_path / "a.HEIC").read_bytes()[:400])
    with pytest.raises(ShmDataError) as error:
        images.read_image(tmp_path / "a.HEIC")
    assert error.value.path == str(tmp_path / "a.HEIC")


def test_files_of_formats_that_are_not_read_are_counted_and_named(tmp_path, caplog):
    for name in ("a.png", "b.CR2", "sub/c.jp2", ".hidden.nef", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert images.find(tmp_path) == ["a.png"]
    (record,) = caplog.records
    assert record.args == (tmp_path, "2 files of a format that is not read (CR2, JP2)", "b.CR2, sub/c.jp2")


def test_a_folder_of_nothing_else_is_refused(tmp_path):
    (tmp_path / "x.CR2").touch()
    with pytest.raises(ShmDataError) as error:
        images.find(tmp_path)
    assert "x.CR2" in error.value.found and "PNG" in error.value.expected and error.value.path == str(tmp_path)


def test_heic_is_counted_where_it_is_not_read(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(listing, "EXTENSIONS", formats.EXTENSIONS - {".heic", ".avif"})
    monkeypatch.setattr(listing, "UNREAD_EXTENSIONS", formats.UNREAD_EXTENSIONS | {".heic", ".avif"})
    for name in ("ann.png", "cyd.avif", "dan.HEIC"):
        (tmp_path / name).touch()
    assert images.find(tmp_path) == ["ann.png"]
    assert caplog.records[0].args[1:] == ("2 files of a format that is not read (AVIF, HEIC)", "cyd.avif, dan.HEIC")


def test_what_is_read_and_what_is_not_exclude_each_other():
    assert not formats.EXTENSIONS & formats.UNREAD_EXTENSIONS
    assert {".avif", ".heic", ".jp2", ".dng"} <= formats.EXTENSIONS | formats.UNREAD_EXTENSIONS


# Transparency.

HIDDEN = np.dstack([PHOTO, np.zeros(PHOTO.shape[:2], np.uint8)])
HIDDEN[:, :48, 3] = 255


def test_hidden_colours_of_a_photo_do_not_come_to_light(tmp_path, logged):
    Image.fromarray(HIDDEN).save(tmp_path / "a.png")
    read = images.read_image(tmp_path / "a.png")
    assert np.array_equal(read[:, :48], PHOTO[:, :48]) and (read[:, 48:] == 255).all()
    assert logged() == [str(tmp_path / "a.png")]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_a_transparent_background_is_refused(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "GIF":
        Image.fromarray(HIDDEN).convert("P").save(path, kind, transparency=0)
        Image.new("P", (96, 160), 0).save(path, kind, transparency=0)
    else:
        Image.fromarray(HIDDEN).save(path, kind, **({"lossless": True} if kind == "WEBP" else {}))
    with pytest.raises(ShmDataError) as error:
        images.read_background(path)
    assert error.value.what == "is transparent" and error.value.path == str(path)


def test_an_opaque_background_with_an_a_channel_is_taken(tmp_path):
    opaque = HIDDEN.copy()
    opaque[..., 3] = 255
    opaque[0, :8, 3] = 0  # a stray touch
    Image.fromarray(opaque).save(tmp_path / "a.png")
    pixels, factor = images.read_background(tmp_path / "a.png", 2)
    assert factor == 1 and np.array_equal(pixels, PHOTO)


def test_a_set_has_no_hidden_colours_of_its_backgrounds(sources):
    for number in (0, 3):
        path = sources / "places" / f"b{number}.png"
        pixels = images.read_image(path)
        Image.fromarray(np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])).save(path)
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    manifest = composite(CompositeOptions(**folders, numbg=7, trainsplit=1), sources / "set")
    assert {"bgdir/b0.png", "bgdir/b3.png"} == set(manifest.skipped["is transparent"])
    assert not any("_b0" in name or "_b3" in name for name in images.find(Layout(sources / "set").root / "input"))


# Metadata and pixels.


def png_with(*chunks, at=33):
    data = saved(PHOTO, "PNG")
    bodies = [
        struct.pack(">I", len(body)) + kind + body + zlib.crc32(kind + body).to_bytes(4) for kind, body in chunks
    ]
    return data[:at] + b"".join(bodies) + data[at:]


def webp_with(*chunks):
    """A WebP with chunks of one's own behind its pixels."""
    data = saved(PHOTO, "WEBP", lossless=True, exif=exif_of(1))
    start = data.index(b"EXIF")
    body = data[12:start] + b"".join(
        kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


HUGE = zlib.compress(bytes(2**27))
METADATA = {
    "png, broken text": png_with((b"zTXt", b"Comment\0\0not deflated")),
    "png, huge text": png_with((b"zTXt", b"Comment\0\0" + HUGE)),
    "png, huge international text": png_with((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + HUGE)),
    "png, much text": png_with(*[(b"tEXt", b"Comment\0" + bytes([65]) * 2**20)] * 70),
    "png, broken exif": png_with((b"eXIf", b"MM\0*\0\0\0\x08\0\x09")),
    "png, no exif": png_with((b"eXIf", b"nothing like it")),
    "png, broken profile": png_with((b"iCCP", b"name\0\0" + zlib.compress(b"no profile"))),
    "png, profile not deflated": png_with((b"iCCP", b"name\0\0no profile")),
    "png, text that does not fit its checksum": png_with((b"tEXt", b"Title\0abc")).replace(
        b"Title\0abc", b"Title\0abd"
    ),
    "png, turn that does not fit its checksum": png_with((b"eXIf", exif_of(6)[6:] + b"abc")).replace(b"abc", b"abd"),
    "png, broken animation": png_with((b"acTL", b"\0")),
    "webp, broken exif": webp_with((b"EXIF", b"Exif\0\0MM\0*\0\0\0\x08\0\x09")),
    "webp, no exif": webp_with((b"EXIF", b"nothing like it")),
    "webp, unknown": webp_with((b"ABCD", b"what is this")),
    "jpeg, broken exif": saved(PHOTO, "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"),
    "jpeg, broken profile": saved(PHOTO, "JPEG", quality=100, subsampling=0, icc_profile=b"no profile"),
}


@pytest.mark.parametrize("kind", METADATA)
def test_what_is_broken_beside_whole_pixels_is_ignored_in_every_role(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(METADATA[kind])
    for pixels in (images.read_image(path), images.read_background(path)[0], images.read_channels(path)):
        assert np.abs(pixels.astype(int) - PHOTO).max() <= (4 if kind.startswith("jpeg") else 0)
    assert images.read_size(path) == (96, 160)


def test_a_picture_that_image_magick_has_turned_stands_upright(tmp_path):
    data = exif_of(6)
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n"
    information = PngImagePlugin.PngInfo()
    information.add_text("Raw profile type exif", text, zip=True)
    (tmp_path / "a.png").write_bytes(saved(PHOTO, "PNG", pnginfo=information))
    assert np.array_equal(images.read_image(tmp_path / "a.png"), UPRIGHT[6](PHOTO))
    assert images.read_size(tmp_path / "a.png") == (160, 96)


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TURNED = {
    "exif": {"exif": exif_of(6)},
    "xmp alone": {"extra": b"\xff\xe1" + struct.pack(">H", len(XMP) + 2) + XMP},
    "broken exif": {"exif": exif_of(6)[:-4]},
    "exif of another type": {"exif": exif_of(6).replace(b"\x01\x12\0\x03", b"\x01\x12\0\x02")},
    "no such turn": {"exif": exif_of(9)},
    "exif and xmp": {"exif": exif_of(3), "extra": b"\xff\xe1" + struct.pack(">H", len(XMP) + 2) + XMP},
}


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("factor", [1, 2])
def test_all_decoders_of_all_roles_agree_how_a_jpeg_is_turned(tmp_path, kind, factor):
    path = tmp_path / "a.jpg"
    Image.fromarray(SMOOTH).save(path, quality=95, **TURNED[kind])
    whole, (reduced, _) = images.read_image(path), images.read_background(path, factor)
    width, height = images.read_size(path)
    assert whole.shape[:2] == (height, width) and reduced.shape[:2] == (height // factor, width // factor)
    smaller = cv2.resize(whole, reduced.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - smaller).mean() < 3


# Which channel is the matte, and of how many levels.


def test_a_black_and_white_drawing_that_is_cut_out_is_not_its_own_matte(tmp_path):
    """A is right, or nothing: in silence the drawing would become the matte."""
    draw = np.random.default_rng(1)
    alpha = np.where(matte(1, (160, 96)) > 127, 255, 0).astype(np.uint8)
    gray = np.where(draw.random(alpha.shape) < 0.45, 0, 255).astype(np.uint8)
    gray[40:80, 30:60] = draw.integers(20, 240, (40, 30))
    for channels in ([gray] * 3, [gray]):
        path = tmp_path / f"{len(channels)}.png"
        Image.fromarray(np.dstack([*channels, alpha])).save(path)
        with pytest.raises(ShmDataError) as error:
            images.read_alpha(path)
        assert error.value.path == str(path) and "A channel" in error.value.found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mask", ["where it is empty", "a box around it"])
def test_a_matte_that_a_mask_cuts_out_is_the_gray(tmp_path, channels, mask):
    alpha = matte(1, (160, 96))
    cut = np.where(alpha > 0, 255, 0).astype(np.uint8)
    if mask == "a box around it":
        alpha = np.maximum(alpha, 1)  # nothing in the box is empty
        cut[20:140, 10:90] = 255
    Image.fromarray(np.dstack([*[alpha] * channels, cut])).save(tmp_path / "a.png")
    assert np.array_equal(images.read_alpha(tmp_path / "a.png"), alpha)


@pytest.mark.parametrize("bits", [10, 12])
def test_few_of_16_bits_are_refused_and_not_nearly_black(tmp_path, bits):
    few = matte(1).astype(np.uint32) * (2**bits - 1) // 255
    cv2.imwrite(str(tmp_path / "a.png"), few.astype(np.uint16))
    cv2.imwrite(str(tmp_path / "b.tiff"), np.dstack([few] * 3).astype(np.uint16))
    for name, read in (("a.png", images.read_alpha), ("a.png", images.read_image), ("b.tiff", images.read_image)):
        with pytest.raises(ShmDataError) as error:
            read(tmp_path / name)
        assert f"{bits} are used" in error.value.found and error.value.path == str(tmp_path / name)


@pytest.mark.parametrize("highest", [0, 1, 2, 100])
def test_labels_and_percent_are_no_matte(sources, highest):
    path = sources / "alphas" / "p1.png"
    images.write_png(path, (matte(1).astype(int) * highest // 255).astype(np.uint8))
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    with pytest.raises(ShmDataError) as error:
        composite(CompositeOptions(**folders, numbg=1), sources / "set")
    (fault,) = error.value.faults
    assert fault.path == str(path) and str(highest) in fault.found
    assert not (sources / "set").exists()
    found = check_pairs(inimg=sources / "photos", inalp=sources / "alphas").findings
    assert [finding.kind for finding in found if finding.what == "inalp/p1.png"] == ["blank"]
