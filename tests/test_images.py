"""Pictures are read correctly in whichever way they are stored."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from small import UPRIGHT

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.images import integrity

RAMP = np.add.outer(np.arange(40), 3 * np.arange(30)).astype(np.uint8)
COLOURS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def _save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("extension", ["png", "PNG", "bmp", "tif", "TIFF", "ppm"])
def test_lossless_formats_come_back_exactly(tmp_path, extension):
    assert np.array_equal(images.read_image(_save(tmp_path / f"a.{extension}", COLOURS)), COLOURS)


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - COLOURS)]}


@pytest.mark.parametrize(
    "options", [{}, {"icc_profile": PROFILE}, {"exif": bytes(3000)}, FRAMES], ids=lambda o: str(list(o))
)
def test_webp_is_lossy_by_the_kind_of_its_pixels(tmp_path, options):
    exact = _save(tmp_path / "a.webp", COLOURS, lossless=True, **options)
    lossy = _save(tmp_path / "b.webp", COLOURS, quality=90, **options)
    assert np.array_equal(images.read_image(exact), COLOURS)
    assert not images.is_lossy(exact)
    assert images.is_lossy(lossy)


@pytest.mark.parametrize(
    ("compression", "lossy"), [("raw", False), ("tiff_lzw", False), ("tiff_adobe_deflate", False), ("jpeg", True)]
)
def test_a_tiff_is_lossy_if_it_holds_jpeg(tmp_path, compression, lossy):
    assert images.is_lossy(_save(tmp_path / "a.tif", COLOURS, compression=compression)) == lossy


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    extension = "jpg" if mode == "CMYK" else "png"
    source = RAMP.astype(np.uint16) * 257 if mode == "I;16" else COLOURS
    pixels = images.read_image(_save(tmp_path / f"a.{extension}", source, None if mode == "I;16" else mode))
    assert pixels.shape == (40, 30, 3)
    assert pixels.dtype == np.uint8
    if mode == "I;16":
        assert np.array_equal(pixels[..., 0], RAMP)


@pytest.mark.parametrize("extension", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_rounded_not_cut(tmp_path, extension, channels):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{extension}"), deep)
    nearest = np.rint(deep / 257).astype(np.uint8)
    expected = nearest[..., [2, 1, 0, 3][:channels]] if channels > 1 else nearest
    assert np.array_equal(images.read_channels(tmp_path / f"a.{extension}"), expected)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("extension", "options"), [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})])
def test_orientation_is_applied_to_image_alpha_and_size_alike(tmp_path, orientation, extension, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    Image.fromarray(RAMP).save(path, exif=exif, **options)
    upright = UPRIGHT[orientation](RAMP)
    assert np.array_equal(images.read_alpha(path), upright)
    assert np.array_equal(images.read_image(path)[..., 0], upright)
    assert images.read_size(path) == upright.shape[::-1]


@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "behind them"])
def test_orientation_of_a_png_counts_wherever_it_stands(tmp_path, place):
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    Image.fromarray(RAMP).save(tmp_path / "plain.png")
    plain = (tmp_path / "plain.png").read_bytes()
    path = tmp_path / "a.png"
    path.write_bytes(plain[:place] + chunk + plain[place:])
    upright = UPRIGHT[6](RAMP)
    assert images.read_size(path) == upright.shape[::-1]
    assert np.array_equal(images.read_alpha(path), upright)


def test_the_size_of_a_png_is_read_without_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path)
    whole = path.read_bytes()
    pixels = whole.index(b"IDAT") + 4
    path.write_bytes(whole[:pixels] + bytes(len(whole) - pixels - 16) + whole[-16:])
    assert images.read_size(path) == RAMP.shape[::-1]
    with pytest.raises(ShmDataError):
        images.read_image(path)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_a_jpeg_is_applied_as_pillow_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(images.read_alpha(tmp_path / "a.jpg"), upright)
    assert images.read_size(tmp_path / "a.jpg") == upright.shape[::-1]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_turned_16_bit_tiff_stands_upright(tmp_path, orientation):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    tag = (0x0112, 3, 1, orientation, True)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extratags=[tag])
    upright = np.rot90(np.rint(deep / 257), {1: 0, 3: 2, 6: 3}[orientation])
    assert np.array_equal(images.read_image(tmp_path / "a.tif"), upright)
    assert images.read_size(tmp_path / "a.tif") == upright.shape[1::-1]


def test_a_matte_is_found_wherever_it_is_kept(tmp_path):
    opaque = np.full_like(RAMP, 255)
    kept = {
        "gray": RAMP,
        "rgb": np.stack([RAMP] * 3, axis=2),
        "rgba, A says nothing": np.dstack([RAMP, RAMP, RAMP, opaque]),
        "rgba, matte in A": np.dstack([COLOURS, RAMP]),
    }
    for name, pixels in kept.items():
        assert np.array_equal(images.read_alpha(_save(tmp_path / f"{name}.png", pixels)), RAMP), name
    Image.merge("LA", [Image.fromarray(opaque), Image.fromarray(RAMP)]).save(tmp_path / "la.png")
    Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(opaque)]).save(tmp_path / "al.png")
    assert np.array_equal(images.read_alpha(tmp_path / "la.png"), RAMP)
    assert np.array_equal(images.read_alpha(tmp_path / "al.png"), RAMP)


SOFT = np.clip(np.add.outer(40 * np.arange(40), -40 * np.arange(30)) + 100, 0, 255).astype(np.uint8)
GRAYS = np.repeat(SOFT[..., None], 3, axis=2)


@pytest.mark.parametrize(
    "alpha",
    [
        np.where(np.arange(1200).reshape(40, 30) == 7, 254, 255),  # a stray pixel
        np.full((40, 30), 254),
        np.where(SOFT > 0, 255, 0),  # cut out where the matte is empty, as editors export it
    ],
    ids=["stray", "254", "cut out"],
)
def test_an_a_channel_that_only_accompanies_a_matte_does_not_replace_it(tmp_path, alpha):
    path = _save(tmp_path / "a.png", np.dstack([GRAYS, alpha.astype(np.uint8)]))
    assert np.array_equal(images.read_alpha(path), SOFT)


def test_a_gray_matte_whose_black_is_called_transparent_stays(tmp_path):
    path = _save(tmp_path / "a.png", SOFT, transparency=0)
    assert np.array_equal(images.read_alpha(path), SOFT)


@pytest.mark.parametrize("colours", [COLOURS, np.repeat(RAMP[..., None], 3, axis=2)], ids=["colour", "gray photo"])
@pytest.mark.parametrize("alpha", [SOFT, np.where(SOFT > 127, 255, 0).astype(np.uint8)], ids=["soft", "hard"])
def test_the_a_channel_of_a_cutout_is_its_matte(tmp_path, colours, alpha):
    assert np.array_equal(images.read_alpha(_save(tmp_path / "a.png", np.dstack([colours, alpha]))), alpha)


def test_a_palette_matte_is_read_through_its_palette(tmp_path):
    labels = Image.new("P", (30, 40))
    labels.putdata((RAMP // 100).ravel().tolist())
    labels.putpalette([0, 0, 0, 128, 128, 128, 255, 255, 255])
    labels.save(tmp_path / "a.png")
    assert np.array_equal(images.read_alpha(tmp_path / "a.png"), np.array([0, 128, 255], np.uint8)[RAMP // 100])


def test_a_one_bit_matte_has_0_and_255(tmp_path):
    path = _save(tmp_path / "a.png", RAMP, "1")
    assert set(np.unique(images.read_alpha(path))) == {0, 255}


def test_a_colour_picture_is_no_matte(tmp_path):
    with pytest.raises(ShmDataError, match="a colour picture, expected a matte"):
        images.read_alpha(_save(tmp_path / "a.png", COLOURS))


def test_a_cutout_gives_its_colours_and_its_matte(tmp_path):
    colours, alpha = images.read_cutout(_save(tmp_path / "a.png", np.dstack([COLOURS, RAMP])))
    assert np.array_equal(colours, COLOURS)
    assert np.array_equal(alpha, RAMP)


@pytest.mark.parametrize("pixels", [COLOURS, np.dstack([COLOURS, np.full_like(RAMP, 255)])])
def test_a_cutout_without_matte_is_refused(tmp_path, pixels):
    with pytest.raises(ShmDataError, match=r"found .*, expected"):
        images.read_cutout(_save(tmp_path / "a.png", pixels))


@pytest.mark.parametrize("pixels", [RAMP, COLOURS])
def test_what_is_written_comes_back(tmp_path, pixels):
    images.write_png(tmp_path / "a.png", pixels)
    read = images.read_alpha(tmp_path / "a.png") if pixels.ndim == 2 else images.read_image(tmp_path / "a.png")
    assert np.array_equal(read, pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == ("L" if pixels.ndim == 2 else "RGB")


def test_a_written_cutout_comes_back(tmp_path):
    images.write_png(tmp_path / "a.png", np.dstack([COLOURS, RAMP]))
    colours, alpha = images.read_cutout(tmp_path / "a.png")
    assert np.array_equal(colours, COLOURS) and np.array_equal(alpha, RAMP)


@pytest.mark.parametrize("keep", [0, 1, 20, 200, 500])
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
def test_a_file_cut_short_is_named(tmp_path, extension, keep):
    path = _save(tmp_path / f"a.{extension}", np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ShmDataError) as error:
        images.read_image(path)
    assert error.value.path == str(path)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_16_bit_png_stands_upright(tmp_path, orientation):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    upright = UPRIGHT[orientation](np.rint(deep / 257))
    assert np.array_equal(images.read_image(tmp_path / "a.png"), upright)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(images.read_alpha(tmp_path / "a.png"), RAMP)


def test_a_pipe_with_the_name_of_a_picture_is_skipped(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert images.find(tmp_path) == []


def test_cmyk_keeps_its_colours(tmp_path):
    flat = np.zeros((16, 16, 3), np.uint8)
    flat[:] = (200, 40, 90)
    path = _save(tmp_path / "a.jpg", flat, "CMYK", quality=95)
    assert np.abs(images.read_image(path).astype(int) - (200, 40, 90)).max() <= 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ShmDataError, match=r"nothing\.png does not exist"):
        images.read_image(tmp_path / "nothing.png")


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ShmDataError) as error:
        images.read_alpha(tmp_path / "a.tif")
    assert "floating-point" in error.value.found and error.value.path == str(tmp_path / "a.tif")


def test_jpeg_2000_is_refused_by_its_name_and_by_its_content(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.jp2")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.jp2").read_bytes())
    assert images.find(tmp_path) == ["b.png"]
    with pytest.raises(ShmDataError) as error:
        images.read_image(tmp_path / "b.png")
    assert error.value.path == str(tmp_path / "b.png") and "PNG" in error.value.expected


def test_find_sorts_and_skips_what_is_hidden_or_no_picture(tmp_path):
    for name in ["b.JPG", "a.png", "sub/c.webp", ".hidden.png", ".cache/d.png", "notes.txt", "out/e.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert images.find(tmp_path, without=[tmp_path / "out"]) == ["a.png", "b.JPG", "sub/c.webp"]


def test_find_expects_a_folder(tmp_path):
    with pytest.raises(ShmDataError, match="found no folder"):
        images.find(tmp_path / "absent")


@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_a_photo_read_smaller_is_the_mean_of_its_pixels(realdata, by):
    for path in sorted((realdata / "voc_mini" / "VOC2012" / "JPEGImages").glob("*.jpg"))[:12]:
        whole = images.read_image(path)
        pixels, reached = images.read_background(path, by)
        height, width = (side // by for side in whole.shape[:2])
        mean = cv2.resize(whole[: height * by, : width * by], (width, height), interpolation=cv2.INTER_AREA)
        assert reached == by and pixels.shape[:2] == tuple(-(-side // by) for side in whole.shape[:2])
        assert np.abs(pixels[:height, :width].astype(int) - mean).mean() < (1e-9 if by == 1 else 3)


def test_the_channels_of_a_jpeg_are_what_pillow_says(realdata, tmp_path):
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            Image.new(mode, (40, 30)).save(tmp_path / f"{mode}{progressive:d}.jpg", progressive=progressive)
    for path in sorted([*tmp_path.iterdir(), *realdata.rglob("*.jpg"), *realdata.rglob("*.png")]):
        with Image.open(path) as image:
            channels = len(image.getbands()) if image.format in ("JPEG", "MPO") else 0
        data = path.read_bytes()
        assert integrity.channels_of_jpeg(data) == channels, path
        assert integrity.channels_of_jpeg(data[:24]) == 0


def test_what_cannot_be_read_smaller_is_read_whole_or_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 32, 4), dtype=np.uint8), "CMYK").save(
        tmp_path / "cmyk.jpg"
    )
    pixels, by = images.read_background(tmp_path / "cmyk.jpg", 2)
    assert by == 1 and np.array_equal(pixels, images.read_image(tmp_path / "cmyk.jpg"))
    (tmp_path / "short.jpg").write_bytes((tmp_path / "cmyk.jpg").read_bytes()[:200])
    for name in ("short.jpg", "absent.jpg"):
        with pytest.raises(ShmDataError, match=name):
            images.read_background(tmp_path / name, 2)


def test_only_jpeg_is_read_smaller_and_any_way_up(tmp_path):
    tall = np.zeros((64, 32, 3), np.uint8)
    tall[:32] = 255
    images.write_png(tmp_path / "a.png", tall)
    assert images.read_background(tmp_path / "a.png", 4)[1] == 1
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(tall[::-1]).save(tmp_path / "a.jpg", exif=exif)
    pixels, by = images.read_background(tmp_path / "a.jpg", 4)
    assert by == 4 and pixels.shape == (16, 8, 3) and pixels[:7].min() > 200 and pixels[9:].max() < 50


def test_every_real_picture_is_read_at_the_size_in_its_header(realdata):
    for name in images.find(realdata):
        height, width = images.read_image(realdata / name).shape[:2]
        assert images.read_size(realdata / name) == (width, height), name


def test_photos_from_a_turned_camera_stand_upright(realdata):
    folder = realdata / "odd" / "exif_orientation"
    assert images.read_image(folder / "Portrait_6.jpg").shape == (1800, 1200, 3)
    assert images.read_image(folder / "Landscape_8.jpg").shape == (1200, 1800, 3)


def test_real_mattes_are_read_from_where_they_are(realdata):
    fg = realdata / "fg"
    hidden_in_rgb = images.read_alpha(fg / "bluestyle97_shm" / "sample_alpha.png")
    assert hidden_in_rgb.min() == 0
    hidden_in_a = images.read_alpha(fg / "tsing90_shm" / "0000-AIT.png")
    assert hidden_in_a.min() == 0
    assert images.read_alpha(fg / "carvekit_docs" / "1_bg_removed.png").max() == 254
    assert images.is_lossy(fg / "mmagic_matting_dataset" / "alpha" / "GT05.jpg")
    trimap = images.read_gray(fg / "alphamatting_gt27" / "trimap" / "Trimap1" / "GT01.png")
    assert set(np.unique(trimap)) == {0, 128, 255}


def test_linked_folders_are_found_once_and_loops_end(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.png").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "train").symlink_to(tmp_path / "store")
    (root / "again").symlink_to(tmp_path / "store")
    (root / "loop").symlink_to(root)
    assert images.find(root) == ["again/a.png"]


def test_names_that_are_not_utf_8_are_skipped_and_logged(tmp_path, caplog):
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    strange.mkdir()
    (tmp_path / "a.png").touch()
    for path in (strange / "inside.png", strange.with_suffix(".png"), strange.with_suffix(".txt")):
        path.touch()
    assert images.find(tmp_path) == ["a.png"]
    assert [record.args[0] for record in caplog.records] == [os.fsencode(strange), os.fsencode(f"{strange}.png")]


def _stored(folder, kind):
    """A picture stored in a way that takes a path of its own through the reader."""
    path = folder / f"a.{kind.split()[-1]}"
    if kind.startswith("deep "):
        assert cv2.imwrite(str(path), COLOURS.astype(np.uint16) * 200 + 7)
        return path
    options = {"turned jpg": {"exif": _orientation(6)}, "turned tif": {"exif": _orientation(6)}}
    options |= {"progressive jpg": {"progressive": True}}
    return _save(path, COLOURS, **options.get(kind, {}))


def _orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


STORED = "png,deep png,jpg,turned jpg,progressive jpg,webp,tif,turned tif,deep tif,bmp,gif,ppm"


@pytest.mark.parametrize("kind", STORED.split(","))
def test_a_picture_in_memory_is_read_as_its_file(tmp_path, kind):
    path = _stored(tmp_path, kind)
    whole = images.Encoded("shelf: a picture", path.read_bytes())
    assert np.array_equal(images.read_image(whole), images.read_image(path))
    cut = images.Encoded(whole.name, whole.data[: len(whole.data) // 2])
    with pytest.raises(ShmDataError, match="shelf: a picture"):
        images.read_image(cut)
