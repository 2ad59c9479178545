"""Real mattes raise no false alarm, the known quirks of some are found, and spoilt ones are found out."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import matte

from shm_data import images
from shm_data.check import check_pairs
from shm_data.check.mattes import cutout_faults, faults_of, looks_like_matte
from shm_data.check.trimaps import trimap_faults
from shm_data.pixels.trimap import TrimapRule, derive_trimap, normalise_trimap

# Image, alpha: mattes by hand or by networks, with soft edges, whose flat areas are flat.
CLEAN = {
    **{
        f"GT{n}": (f"alphamatting_gt27/input/GT{n}.png", f"alphamatting_gt27/GT/GT{n}.png")
        for n in "01 04 13 18 21 25".split()
    },
    **{
        n: (f"p3m_demo/original/{n}.jpg", f"p3m_demo/alpha/{n}.png")
        for n in ("p_51c916fc", "p_bc5cfad1", "p_bd6af989")
    },
    "dim": ("bluestyle97_shm/sample_image.png", "bluestyle97_shm/sample_alpha.png"),
    "aisegment": ("tsing90_shm/0000.jpg", "tsing90_shm/0000-AIT.png"),
    "gfm": ("gfm_samples/original/1.jpg", "gfm_samples/result_alpha/1.png"),
}

# Folders as their makers left them: images, alphas, trimaps, the word in the alphas' names; and what is found.
FOLDERS = [
    (("p3m_demo/original", "p3m_demo/alpha", None, None), []),
    (("alphamatting_gt27/input", "alphamatting_gt27/GT", "alphamatting_gt27/trimap/Trimap1", None), []),
    (("bluestyle97_shm", "bluestyle97_shm", "bluestyle97_shm", None), []),
    (("tsing90_shm", "tsing90_shm", None, "AIT"), []),
    (("carvekit_docs", "carvekit_docs", None, "bg_removed"), []),
    (("gfm_samples/original", "gfm_samples/result_alpha", None, None), [("size", "inalp/4.png")]),
    (("pifu_sample", "pifu_sample", None, None), [("binary", "inalp/ryota_mask.png")]),
    (
        ("mmagic_matting_dataset/merged", "mmagic_matting_dataset/alpha", "mmagic_matting_dataset/trimap", None),
        [("noise", "inalp/GT05.jpg")],
    ),
    (
        ("vikram_humanseg/Training_Images", "vikram_humanseg/Ground_Truth", None, None),
        [
            *(("binary", f"inalp/{n}.png") for n in (1, 101, 113, 115, 56)),
            *(("holes", f"inalp/{n}.png") for n in (113, 115)),
            *(("size", f"inalp/{n}.png") for n in (101, 113, 115)),
        ],
    ),
    (
        ("pymatting_lemur", "pymatting_lemur", "pymatting_lemur", None),
        [
            ("noise", "inalp/lemur_alpha.png"),
            ("trimap", "intri/lemur_trimap.png"),
            *(
                ("unpaired", f"inimg/{name}.png")
                for name in "beach lemur_background lemur_cutout lemur_foreground".split()
            ),
        ],
    ),
]


@pytest.fixture(params=CLEAN)
def clean(request, realdata):
    """A real photo with a good matte, as image (H, W, 3) and alpha (H, W)."""
    image, alpha = (realdata / "fg" / path for path in CLEAN[request.param])
    return images.read_image(image), images.read_alpha(alpha)


def kinds(findings):
    return [finding.kind for finding in findings]


@pytest.mark.parametrize(("folders", "expected"), FOLDERS, ids=[folders[0] for folders, _ in FOLDERS])
def test_of_folders_of_others_the_known_quirks_are_found_and_nothing_else(realdata, folders, expected):
    *paths, prefix = folders
    verdict = check_pairs(*(path and realdata / "fg" / path for path in paths), prefix=prefix)
    assert sorted((finding.kind, finding.what) for finding in verdict.findings) == sorted(expected)
    assert not verdict.wrong


def test_real_cut_outs_are_straight(realdata):
    for name in ("tsing90_shm/0000-AIT.png", "carvekit_docs/1_bg_removed.png", "pymatting_lemur/lemur_cutout.png"):
        assert cutout_faults(name, *images.read_cutout(realdata / "fg" / name)) == []


def test_real_mattes_are_spoilt_and_found_out(clean):
    image, alpha = clean
    smaller = cv2.resize(alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", alpha, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_GRAYSCALE)
    assert faults_of("", alpha, image) == faults_of("", smaller) == []
    assert "inverted" in kinds(faults_of("", 255 - alpha))
    assert kinds(faults_of("", image[..., 1], np.repeat(alpha[..., None], 3, axis=2))) == ["swapped"]
    assert kinds(faults_of("", np.where(alpha >= 128, 255, 0).astype(np.uint8)))[:1] == ["binary"]
    assert kinds(faults_of("", jpeg)) == ["noise"]
    assert kinds(faults_of("", np.minimum(alpha, 254))) == []  # flat all the same


def test_a_speck_deep_inside_a_real_foreground_is_found(clean):
    _, alpha = clean
    sure = np.pad((alpha >= 250).astype(np.uint8), 1)
    depth = cv2.distanceTransform(sure, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    speckled = alpha.copy()
    speckled[y : y + 2, x : x + 2] = 0
    findings = faults_of("", speckled)
    assert kinds(findings) == ["holes"]
    assert f"one at x {x}, y {y}" in findings[0].found


def test_premultiplied_colours_of_real_people_are_found(clean):
    image, alpha = clean
    assert cutout_faults("", image, alpha) == []
    assert kinds(cutout_faults("", np.rint(image * (alpha[..., None] / 255)).astype(np.uint8), alpha)) == [
        "premultiplied"
    ]


def test_a_silhouette_in_black_is_too_dark_to_be_called_premultiplied():
    alpha = matte(0)
    assert cutout_faults("", np.full((*alpha.shape, 3), 4, np.uint8), alpha) == []


def test_gray_photos_do_not_look_like_mattes(realdata):
    for name in ("fg/p3m_demo/original/p_51c916fc.jpg", "odd/pillow/hopper_gray.jpg", "bg_plain/skimage/brick.png"):
        photo = images.read_image(realdata / name)
        assert not looks_like_matte(photo)
        assert "swapped" in kinds(faults_of("", photo[..., 0]))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([2, 6, 250, 256]))
def test_any_alpha_however_small_can_be_judged(height, width, seed, levels):
    generator = np.random.default_rng(seed)
    alpha = (generator.integers(0, levels, (height, width)) * (255 // (levels - 1))).astype(np.uint8)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    faults_of("", alpha, image)
    cutout_faults("", image, alpha)
    trimap_faults("", alpha, alpha)


def test_a_real_trimap_fits_its_alpha_and_no_other(realdata):
    folder = realdata / "fg" / "alphamatting_gt27"
    trimap = images.read_gray(folder / "trimap" / "Trimap1" / "GT01.png")
    alpha = images.read_alpha(folder / "GT" / "GT01.png")
    assert trimap_faults("", trimap, alpha) == []
    moved = trimap_faults("", np.roll(trimap, 60, axis=1), alpha)
    assert [(finding.kind, finding.grave) for finding in moved] == [("trimap", True)]


@pytest.mark.parametrize("method", ["euclid", "ellipse"])
def test_a_derived_trimap_is_what_its_rule_makes_and_no_wider_nor_narrower(method):
    alpha = matte(1, (96, 128))
    rules = {width: TrimapRule(method, width, width) for width in (1, 5, 9)}
    for width, rule in rules.items():
        for other, other_rule in rules.items():
            faults = trimap_faults("", derive_trimap(alpha, other_rule), alpha, rule)
            assert [finding.grave for finding in faults] == ([] if width == other else [True])


def test_a_pixel_here_and_there_may_be_drawn_by_another_version():
    alpha = matte(1, (96, 128))
    rule = TrimapRule("euclid", 5, 5)
    trimap = derive_trimap(alpha, rule)
    trimap[np.nonzero(trimap == 255)[0][0], np.nonzero(trimap == 255)[1][0]] = 128
    assert [finding.grave for finding in trimap_faults("", trimap, alpha, rule)] == [False]


def test_a_trimap_of_another_convention_is_read_and_reported(realdata):
    lemur = realdata / "fg" / "pymatting_lemur"
    stored, alpha = images.read_gray(lemur / "lemur_trimap.png"), images.read_alpha(lemur / "lemur_alpha.png")
    findings = trimap_faults("", stored, alpha)
    assert [(finding.found, finding.grave) for finding in findings] == [("the values 102", False)]
    assert trimap_faults("", normalise_trimap(stored), alpha) == []
