"""A foreground is known again when it is scaled, saved, mirrored, cropped a little, or put before something else."""

import itertools

import cv2
import numpy as np
import pytest
from test_check_mattes import CLEAN

from shm_data import images
from shm_data.pixels.compositing import blend, cover, cover_box
from shm_data.pixels.near_duplicates import ALIKE, near_duplicates, perceptual_hashes

PEOPLE = ("p_51c916fc", "p_bc5cfad1", "p_bd6af989", "dim", "aisegment")


@pytest.fixture(scope="module")
def people(realdata):
    """Real people and things, as (image, alpha) by name."""
    folder = realdata / "fg"
    return {name: (images.read_image(folder / i), images.read_alpha(folder / a)) for name, (i, a) in CLEAN.items()}


def stack(pictures):
    return np.stack([perceptual_hashes(image, alpha) for image, alpha in pictures])


def scaled(image, alpha, by):
    return tuple(cv2.resize(pixels, None, fx=by, fy=by, interpolation=cv2.INTER_AREA) for pixels in (image, alpha))


def saved(image, alpha, quality=50):
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return tuple(cv2.imdecode(cv2.imencode(".jpg", p, parameters)[1], cv2.IMREAD_UNCHANGED) for p in (image, alpha))


def mirrored(image, alpha):
    return tuple(np.ascontiguousarray(pixels[:, ::-1]) for pixels in (image, alpha))


def cropped(image, alpha, share):
    """Without a share of each side."""
    height, width = alpha.shape
    y, x = round(share * height), round(share * width)
    return tuple(np.ascontiguousarray(pixels[y : height - y, x : width - x]) for pixels in (image, alpha))


COPIES = {
    "itself": lambda image, alpha: (image, alpha),
    "a third": lambda image, alpha: scaled(image, alpha, 0.33),
    "twice": lambda image, alpha: scaled(image, alpha, 2),
    "saved": saved,
    "mirrored": mirrored,
    "cropped": lambda image, alpha: cropped(image, alpha, 0.02),
    "brighter": lambda image, alpha: (cv2.convertScaleAbs(image, alpha=1.15, beta=8), alpha),
    "all of it": lambda image, alpha: saved(*mirrored(*scaled(*cropped(image, alpha, 0.02), 0.5)), quality=80),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_known_again_and_nobody_else_is(people, copy):
    originals = stack(people.values())
    copies = stack(COPIES[copy](*pair) for pair in people.values())
    assert [(one, other) for one, other, _ in near_duplicates(originals, copies)] == [
        (n, n) for n in range(len(people))
    ]


def test_people_cut_by_the_border_are_known_again_when_five_percent_are_cut_off(people):
    some = [pair for name, pair in people.items() if name in PEOPLE and name != "p_51c916fc"]
    found = near_duplicates(stack(some), stack(cropped(*pair, 0.05) for pair in some))
    assert [(one, other) for one, other, _ in found] == [(n, n) for n in range(len(some))]


def test_a_composite_is_known_again_whatever_it_stands_before(people, realdata):
    photos = sorted((realdata / "voc_mini" / "VOC2012" / "JPEGImages").iterdir())
    composites = []
    for (image, alpha), path in zip(people.values(), photos, strict=False):
        background, size = images.read_image(path), alpha.shape[::-1]
        box = cover_box(background.shape[1::-1], size, 0.5, 0.5)
        composites.append((blend(image, alpha, cover(background, box, size)), alpha))
    found = near_duplicates(stack(people.values()), stack(composites))
    assert [(one, other) for one, other, _ in found] == [(n, n) for n in range(len(people))]


def test_different_people_are_far_apart(people):
    hashes = stack(people.values())
    bits = np.unpackbits(hashes, axis=2)
    for one, other in itertools.combinations(range(len(people)), 2):
        assert (bits[one] != bits[other, :1]).mean(axis=1).min() > 1.5 * ALIKE


def test_a_blank_alpha_has_no_hashes():
    assert perceptual_hashes(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)) is None


def test_the_bands_find_what_comparing_all_pairs_would():
    generator = np.random.default_rng(3)
    ones = generator.integers(0, 256, (400, 10, 32), dtype=np.uint8)
    ones[..., 0] &= 127  # the mean's bit
    others = generator.integers(0, 256, (300, 10, 32), dtype=np.uint8)
    others[..., 0] &= 127
    for place in range(200):  # a tenth of the bits turned over, in the whole or in what is cut
        noise = np.packbits(generator.random(256) < 0.1)
        noise[0] &= 127
        others[place, 0] = ones[2 * place, place % 10] ^ noise
    found = near_duplicates(ones, others)
    assert [(one, other) for one, other, _ in found] == [(2 * place, place) for place in range(200)]
    assert max(distance for *_, distance in found) <= ALIKE


def test_of_several_the_nearest_is_reported():
    generator = np.random.default_rng(4)
    base = generator.integers(0, 128, (1, 10, 32), dtype=np.uint8)
    near, far = base.copy(), base.copy()
    near[..., 31] ^= 1
    far[..., 20:24] ^= 15
    found = near_duplicates(np.concatenate([far, near]), base)
    assert found == [(1, 0, 1 / 255)]
