"""Photos are read in the colours that a viewer shows, by the ICC profile in their file."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from small import matte, photo

from shm_data import images

PHOTO = cv2.GaussianBlur(photo(1, (160, 96)), (0, 0), 4)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# The colorants of Adobe RGB (1998) under D50, one a column, and its gamma.
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
GAMMA = 2.19921875
WHITE = (0.9642, 1.0, 0.8249)
# From XYZ under D50 to linear sRGB (Bradford), as Lindbloom publishes it.
TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def profile_of(space, tags, connection=b"XYZ "):
    """An ICC profile of version 2 with these tags."""
    described = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + b"\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(*WHITE),
    } | tags
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for kind, data in tags.items():
        table += kind + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02100000, b"prtr", space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + fixed(*WHITE)
    return header + bytes(128 - len(header)) + table + body


def curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


ADOBE_RGB = profile_of(
    b"RGB ",
    {
        kind: b"XYZ " + bytes(4) + fixed(*column)
        for kind, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE.T, strict=True)
    }
    | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(GAMMA)),
)
DARK_GRAY = profile_of(b"GRAY", {b"kTRC": curve(1.0)})
FULL = range(256)
# A printer whose inks are darker than the plain formula has it: Lab of eight bits, at the corners of C, M, Y and K.
INKS = [
    (255 - 60 * (c + m + y) if not k else 20, 128, 128)
    for c in (0, 1)
    for m in (0, 1)
    for y in (0, 1)
    for k in (0, 1)
]
PRINTER = profile_of(
    b"CMYK",
    {
        b"A2B0": b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + bytes(FULL) * 4 + bytes(np.ravel(INKS).tolist()) + bytes(FULL) * 3
    },
    b"Lab ",
)  # fmt: skip


def encoded(linear):
    """Linear sRGB as eight bits (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def shown(pixels):
    """What a viewer shows of Adobe RGB."""
    return encoded((pixels / 255) ** GAMMA @ (TO_SRGB @ ADOBE).T)


def save(path, pixels, kind, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, kind, **options)
    return path


OPTIONS = {
    "PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_photo_of_wide_gamut_is_read_as_it_is_shown(tmp_path, kind):
    path = save(tmp_path / "a", PHOTO, kind, icc_profile=ADOBE_RGB, **OPTIONS[kind])
    plain = images.read_channels(path)[..., :3]
    assert np.abs(shown(plain) - plain).max() > 20
    for pixels in (images.read_image(path), images.read_background(path)[0]):
        assert np.abs(pixels - shown(plain)).max() < 2


def test_the_shirt_of_the_report_is_red_again(tmp_path):
    path = save(tmp_path / "a.png", np.full((9, 9, 3), (173, 62, 45), np.uint8), "PNG", icc_profile=ADOBE_RGB)
    assert np.abs(images.read_image(path).astype(int) - (200, 60, 40)).max() <= 2


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_background_read_smaller_has_the_same_colours(tmp_path, factor):
    path = save(tmp_path / "a", PHOTO, "JPEG", icc_profile=ADOBE_RGB, **OPTIONS["JPEG"])
    reduced, reached = images.read_background(path, factor)
    assert reached == factor
    smaller = cv2.resize(images.read_image(path), reduced.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - smaller).mean() < 2


def test_16_bits_and_cut_outs_are_converted_too_and_alpha_is_not(tmp_path):
    alpha = matte(1, (160, 96))
    path = save(tmp_path / "a.png", np.dstack([PHOTO, alpha]), "PNG", icc_profile=ADOBE_RGB)
    colours, read = images.read_cutout(path)
    assert np.abs(colours - shown(PHOTO)).max() < 2 and np.array_equal(read, alpha)
    deep = cv2.imencode(".png", PHOTO[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    whole = path.read_bytes()
    start, end = whole.index(b"iCCP") - 4, whole.index(b"IDAT") - 4
    (tmp_path / "b.png").write_bytes(deep[:33] + whole[start:end] + deep[33:])
    assert np.abs(images.read_image(tmp_path / "b.png") - shown(PHOTO)).max() < 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_gray_follows_its_profile_as_a_photo_and_not_as_a_matte(tmp_path, kind):
    gray = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1))
    path = save(tmp_path / "a", gray, kind, icc_profile=DARK_GRAY, **({"quality": 100} if kind == "JPEG" else {}))
    plain = images.read_alpha(path)
    assert np.abs(plain.astype(int) - gray).max() <= 1
    read = images.read_image(path)
    assert np.abs(read - encoded(plain / 255)[..., None]).max() < 2
    assert np.ptp(read, axis=2).max() <= 1


def test_cmyk_follows_its_profile(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8] = (255, 0, 0, 0)  # all of cyan, no black: a lightness of 195 of 255, without a hue
    for name, options in (
        ("plain", {}),
        ("printed", {"icc_profile": PRINTER}),
        ("broken", {"icc_profile": b"x" * 300}),
    ):
        Image.fromarray(inks, "CMYK").save(tmp_path / name, "JPEG", quality=100, subsampling=0, **options)
    plain, printed, broken = (images.read_image(tmp_path / name) for name in ("plain", "printed", "broken"))
    assert np.array_equal(plain, broken) and np.ptp(plain[0, 0].astype(int)) > 100
    lightness = 195 / 255 * 100
    gray = encoded(((lightness + 16) / 116) ** 3)
    assert np.abs(printed[0, 0] - gray).max() < 4 and (printed[12, 12] > 250).all()


@pytest.mark.parametrize(
    "profile",
    {
        "none": None, "sRGB": SRGB, "empty": b"", "broken": b"this is no profile", "cut short": ADOBE_RGB[:200],
        "of another space": PRINTER, "of gray": DARK_GRAY,
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_what_is_srgb_or_no_profile_of_these_colours_changes_no_pixel(tmp_path, kind, profile):
    path = save(tmp_path / "a", PHOTO, kind, **OPTIONS[kind], **({"icc_profile": profile[1]} if profile[1] else {}))
    assert np.array_equal(images.read_image(path), images.read_channels(path)[..., :3])


def test_profiles_are_read_by_many_threads_at_once(tmp_path):
    from shm_data.parallel import spread

    for number in range(6):
        save(tmp_path / f"{number}.png", PHOTO + np.uint8(number), "PNG", icc_profile=ADOBE_RGB)
    alone = [images.read_image(tmp_path / f"{number}.png") for number in range(6)]
    together = spread(lambda number: images.read_image(tmp_path / f"{number % 6}.png"), range(60), 4, ordered=True)
    assert all(np.array_equal(pixels, alone[number % 6]) for number, pixels in enumerate(together))


def test_a_profile_that_is_huge_once_unpacked_does_no_harm(tmp_path):
    import zlib

    data = save(tmp_path / "a.png", PHOTO, "PNG").read_bytes()
    body = b"iCCPname\0\0" + zlib.compress(bytes(2**27))
    chunk = struct.pack(">I", len(body) - 4) + body + zlib.crc32(body).to_bytes(4)
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    assert np.array_equal(images.read_image(tmp_path / "a.png"), PHOTO)
