"""What is no matte is refused by `composite` and `trimap` as by `check`; what is odd is reported by both."""

import cv2
import numpy as np
import pytest
from PIL import Image
from small import UPRIGHT, matte, photo, write_people
from test_check_mattes import CLEAN

from shm_data import images
from shm_data.building.build import composite
from shm_data.building.trimaps import write_trimaps
from shm_data.check import check_dataset, check_pairs
from shm_data.dataset.layout import Layout
from shm_data.dataset.store import Dataset
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels.matte_faults import is_binary, is_inverted, is_trimap, islands, soft_share_of_photo
from shm_data.pixels.trimap import TrimapRule, derive_trimap, missing_classes
from shm_data.planning.plan import current_plan

SIZE = (240, 320)
RULE = TrimapRule("euclid", 9, 9)


@pytest.fixture
def large(sources):
    write_people(sources, ("p0", "p1", "p2", "p3"), SIZE)
    return sources


def options(sources, **more):
    plain = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",), "numbg": 1}
    return CompositeOptions.checked(**plain | more)


def put(sources, pixels, number=1):
    images.write_png(sources / "alphas" / f"p{number}.png", pixels)


def notes(sources, tmp_path, **more):
    return current_plan(Dataset(tmp_path / "set"), options(sources, **more)).manifest.notes


def found(sources, **more):
    findings = check_pairs(sources / "photos", sources / "alphas", **more).findings
    return [(finding.kind, finding.what, finding.grave) for finding in findings]


@pytest.mark.parametrize("name", CLEAN)
def test_real_mattes_have_none_of_the_faults(realdata, name):
    alpha = images.read_alpha(realdata / "fg" / CLEAN[name][1])
    assert not (is_trimap(alpha) or is_binary(alpha) or is_inverted(alpha) or soft_share_of_photo(alpha))
    assert is_inverted(255 - alpha)
    trimap = derive_trimap(alpha, TrimapRule("euclid", 15, 15))
    assert is_trimap(trimap) or "unknown" in missing_classes(trimap)


NO_MATTES = {
    "trimap": (lambda alpha: derive_trimap(alpha, RULE), "is_trimap"),
    "trimap with another level": (lambda alpha: np.where(derive_trimap(alpha, RULE) == 128, 102, alpha), "is_trimap"),
    "gray photo": (lambda alpha: np.clip(photo(7, alpha.shape)[..., 0], 20, 230), "swapped"),
}


@pytest.mark.parametrize("kind", NO_MATTES)
def test_what_is_no_matte_is_refused_by_all(large, tmp_path, kind):
    make, expected = NO_MATTES[kind]
    put(large, np.ascontiguousarray(make(matte(1, SIZE)).astype(np.uint8)))
    assert (expected, "inalp/p1.png", True) in found(large)
    with pytest.raises(ShmDataError) as error:
        composite(options(large), tmp_path / "set")
    (fault,) = error.value.faults
    assert fault.path == str(large / "alphas" / "p1.png")
    with pytest.raises(ShmDataError, match="p1"):
        write_trimaps(large / "alphas", tmp_path / "trimaps", TrimapOptions(trimap_size=5))


def test_a_trimap_among_the_alphas_of_a_data_set_is_found(large, tmp_path):
    composite(options(large, numbg=0), tmp_path / "set")
    layout = Layout(tmp_path / "set")
    trimap = images.read_gray(layout.trimap / "p1.png")
    (layout.mask / "p1.png").unlink()
    images.write_png(layout.mask / "p1.png", derive_trimap(trimap, RULE))
    assert ("is_trimap", "p1.png") in [(each.kind, each.what) for each in check_dataset(layout.root).findings]


def with_island(alpha):
    alpha = alpha.copy()
    alpha[4:8, 4:8] = 255
    return alpha


ODD = {
    "inverted": lambda alpha: 255 - alpha,
    "binary": lambda alpha: np.where(alpha >= 128, 255, 0).astype(np.uint8),
    "islands": with_island,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_reported_by_composite_and_check(large, tmp_path, kind):
    plain = set(notes(large, tmp_path))
    put(large, ODD[kind](matte(1, SIZE)))
    (note,) = set(notes(large, tmp_path)) - plain
    assert note.startswith("1 of 4 foregrounds: ") and note.endswith(": p1")
    expected = {"inverted": ("inverted", True), "binary": ("binary", False), "islands": ("islands", False)}
    assert expected[kind] in [(each, grave) for each, what, grave in found(large) if what == "inalp/p1.png"]


def test_islands_are_small_and_far():
    alpha = matte(0, SIZE)
    assert islands(alpha) == [] and islands(with_island(alpha)) == [(4, 4)]
    near = alpha.copy()
    near[120:124, 25:28] = 255
    large = alpha.copy()
    large[:40, :40] = 255
    assert islands(large) == [] and islands(near) == islands(np.zeros_like(alpha)) == []


def as_a_network_writes(alpha):
    """An interior of 250 to 254, and a few stray 255."""
    noisy = np.where(alpha == 255, 250 + np.random.default_rng(0).integers(0, 5, alpha.shape), alpha).astype(np.uint8)
    noisy.ravel()[np.flatnonzero(alpha.ravel() == 255)[:: alpha.size // 400]] = 255
    return noisy


@pytest.mark.parametrize("name", ["p_51c916fc", "gfm", "dim"])
def test_a_matte_of_a_network_has_the_trimap_of_the_exact_one(realdata, tmp_path, name):
    exact = images.read_alpha(realdata / "fg" / CLEAN[name][1])
    (tmp_path / "alphas").mkdir()
    images.write_png(tmp_path / "alphas" / "a.png", as_a_network_writes(exact))
    images.write_png(tmp_path / "alphas" / "b.png", exact)
    write_trimaps(tmp_path / "alphas", tmp_path / "auto", TrimapOptions(trimap_size=9))
    write_trimaps(tmp_path / "alphas", tmp_path / "right", TrimapOptions(trimap_size=9, tolerance=5))
    auto, right = images.read_gray(tmp_path / "auto" / "a.png"), images.read_gray(tmp_path / "right" / "b.png")
    assert np.mean(auto != right) < 0.01 and missing_classes(auto) == ()
    write_trimaps(tmp_path / "alphas", tmp_path / "none", TrimapOptions(trimap_size=9, tolerance=0))
    assert np.mean(images.read_gray(tmp_path / "none" / "a.png") == 255) < np.mean(right == 255) / 2


def test_the_tolerance_is_recorded(large, tmp_path):
    for tolerance, expected in (("auto", 0), (7, 7)):
        manifest = current_plan(Dataset(tmp_path / "set"), options(large, tolerance=tolerance)).manifest
        assert {foreground.tolerance for foreground in manifest.foregrounds} == {expected}
        assert manifest.options.tolerance == tolerance


def test_check_warns_of_the_broken_interior_and_not_of_the_harmless(large):
    put(large, np.minimum(matte(0, SIZE), 254), 0)
    put(large, as_a_network_writes(matte(1, SIZE)), 1)
    broken = matte(2, SIZE)
    shades = np.random.default_rng(0).integers(160, 235, SIZE)
    put(large, np.where(broken == 255, cv2.blur(shades.astype(np.uint8), (9, 9)), broken).astype(np.uint8), 2)
    assert ("maximum", "inalp/p2.png", False) in found(large)
    assert not any(kind == "maximum" and what != "inalp/p2.png" for kind, what, _ in found(large))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_that_exif_turns_with_an_alpha_that_it_does_not_is_reported(large, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (large / "photos" / "p1.png").unlink()
    Image.fromarray(photo(1, SIZE)).save(large / "photos" / "p1.jpg", exif=exif, quality=95)
    kinds = [(kind, grave) for kind, *_, grave in found(large)]
    if orientation >= 5:
        assert kinds == [("size", True)]
        with pytest.raises(ShmDataError) as error:
            composite(options(large), tmp_path / "set")
        assert "EXIF" in error.value.faults[0].expected
    else:
        assert kinds == [("turned", False)] * (orientation != 1)
        assert any("EXIF" in note for note in notes(large, tmp_path)) == (orientation != 1)


def test_sizes_that_can_be_resized_are_no_finding_where_that_is_asked_for(large):
    put(large, matte(1, (120, 160)))
    assert found(large) == [("size", "inalp/p1.png", False)]
    assert found(large, resize_alpha=True) == []


@pytest.mark.parametrize("colours", ["photo", "matte", "white"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_trimap_in_the_a_channel_is_known_as_one(sources, tmp_path, colours, alone):
    """Whatever the colours hold, and whether the picture is a cut-out or the alpha of a photo."""
    alpha = matte(1)
    under = {"photo": photo(1), "matte": np.dstack([alpha] * 3), "white": np.full((*alpha.shape, 3), 255, np.uint8)}
    images.write_png(sources / "alphas" / "p1.png", np.dstack([under[colours], derive_trimap(alpha, RULE)]))
    folders = {"inimg": sources / "alphas"} if alone else {"inimg": sources / "photos", "inalp": sources / "alphas"}
    if alone:
        for other in ("p0", "p2", "p3"):
            (sources / "alphas" / f"{other}.png").unlink()
    kinds = [(each.kind, each.grave) for each in check_pairs(**folders).findings if "p1" in each.what]
    assert ("is_trimap", True) in kinds
    chosen = CompositeOptions.checked(**folders, bgdir=(sources / "places",), numbg=1)
    with pytest.raises(ShmDataError, match=r"p1\.png cannot be used as a matte: found a trimap"):
        composite(chosen, tmp_path / "set")
