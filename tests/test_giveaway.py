"""What gives a pasted person away: each cue is found where it is, and not where it is not."""

import cv2
import numpy as np
import pytest
from small import photo

from shm_data import CompositeOptions, images
from shm_data.building.build import composite
from shm_data.dataset.layout import Layout
from shm_data.pixels.effects import add_noise, recompress
from shm_data.pixels.giveaway import CUES, auc, aucs, mean_auc, sides_of
from shm_data.report import write_report

CHANGES = {
    "sharpness": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 1.5),
    "noise": lambda pixels: add_noise(pixels, (8.0, 3)),
    "JPEG blocks": lambda pixels: recompress(pixels, (20,)),
    "brightness and colours": lambda pixels: (pixels // 2).astype(np.uint8),
}


def texture(seed, size=(256, 320)):
    """Detail of all scales, as in photographs: white noise under 1/f."""
    generator = np.random.default_rng(seed)
    planes = np.fft.fft2(generator.standard_normal((*size, 3)), axes=(0, 1))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size[1]), np.fft.fftfreq(size[0])))
    planes /= np.maximum(frequency, 1 / 256)[..., None]
    plain = np.fft.ifft2(planes, axes=(0, 1)).real
    return np.clip(128 + 40 * plain / plain.std(), 0, 255).astype(np.uint8)


def half(size=(256, 320)):
    alpha = np.zeros(size, np.uint8)
    alpha[:, : size[1] // 2] = 255
    return alpha


def people(change):
    """Five people on the left of a texture, whose right half is changed."""
    alpha, found = half(), {}
    for number in range(5):
        picture = texture(number)
        mixed = np.where(alpha[..., None] == 255, picture, change(texture(50 + number)))
        found[str(number)] = [sides_of(np.ascontiguousarray(mixed), alpha)]
    return found


def test_auc_is_the_share_of_ordered_pairs():
    generator = np.random.default_rng(0)
    ones, others = generator.integers(0, 9, 30) * 1.0, generator.integers(2, 12, 40) * 1.0
    expected = np.mean([(one > other) + (one == other) / 2 for one in ones for other in others])
    assert auc(ones, others) == pytest.approx(expected)
    assert auc(ones, others) == pytest.approx(1 - auc(others, ones))
    assert (auc(ones + 100, others), auc(ones, ones)) == (1, 0.5)


@pytest.mark.parametrize("name", CHANGES)
def test_each_cue_finds_its_own_change(name):
    assert mean_auc(people(CHANGES[name]), CUES[name]) > 0.95


@pytest.mark.parametrize("cue", CUES)
def test_no_cue_finds_what_is_not_there(cue):
    assert 0.3 < mean_auc(people(lambda pixels: pixels), CUES[cue]) < 0.7


def test_noise_and_brightness_are_no_sharpness():
    assert mean_auc(people(CHANGES["brightness and colours"]), CUES["sharpness"]) < 0.75


def test_two_people_tell_nothing_about_others():
    some = dict(list(people(CHANGES["noise"]).items())[:2])
    assert mean_auc(some) is None and aucs(some) is None


def test_a_sample_without_a_patch_of_both_sides_is_not_measured():
    assert sides_of(texture(0), np.zeros((256, 320), np.uint8)) is None
    assert sides_of(photo(0), half((48, 64))) is None or len(sides_of(photo(0), half((48, 64))).person) == 1


@pytest.fixture
def sources(tmp_path):
    for name in ("photos", "alphas", "places"):
        (tmp_path / name).mkdir()
    for number in range(5):
        images.write_png(tmp_path / "photos" / f"p{number}.png", texture(number))
        alpha = cv2.GaussianBlur(half(), (0, 0), 2)
        images.write_png(tmp_path / "alphas" / f"p{number}.png", np.roll(alpha, 9 * number, axis=1))
    for number in range(6):
        small = cv2.resize(texture(20 + number), (160, 128), interpolation=cv2.INTER_AREA)
        images.write_png(tmp_path / "places" / f"b{number}.png", small)
    return tmp_path


def page_of(sources, root, **more):
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    composite(CompositeOptions.checked(**folders, numbg=3, trainsplit=1.0, trimap_size=7, **more), root)
    return write_report(root).read_text("utf-8")


def row(page, cue):
    """The figures of a cue on a page: of composites, and of original photos."""
    cells = page.partition(f'<th scope="row">{cue}</th>')[2].partition("</tr>")[0]
    return [float(cell.partition("</td>")[0]) for cell in cells.split("<td>")[1:]]


def test_a_report_shows_that_one_camera_takes_the_cue_away(sources, tmp_path):
    plain, treated = (page_of(sources, tmp_path / "".join(names), augment=names) for names in ((), ("camera",)))
    assert row(plain, "sharpness")[0] > 0.95 and row(treated, "sharpness")[0] < 0.85
    assert len(row(plain, "all together")) == 2
    assert "Enlargement of the backgrounds" in plain
    assert "<code>p" in plain.partition("Most is given away by")[2][:60]


def test_a_report_measures_sets_of_others(sources, tmp_path):
    page_of(sources, tmp_path / "set")
    for path in (Layout(tmp_path / "set").recipes, Layout(tmp_path / "set").manifest):
        path.unlink()
    page = write_report(tmp_path / "set").read_text("utf-8")
    assert " samples</th>" in page and len(row(page, "sharpness")) == 1
    assert page == write_report(tmp_path / "set").read_text("utf-8")
