"""Foregrounds are found, paired and checked as users have them."""

import numpy as np
import pytest

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.sources.foregrounds import inspect, inspect_all, read, scan


def _found(folder, inimg=".", inalp=None, **options):
    folders = {name: folder / value for name, value in {"inimg": inimg, "inalp": inalp}.items() if value is not None}
    return scan(CompositeOptions(**folders, **options))


def _write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_png(path, pixels)


PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
ALPHA = np.tile(np.clip(np.arange(60) * 9 - 100, 0, 255).astype(np.uint8), (40, 1))


@pytest.fixture
def pair_in(tmp_path):
    _write(tmp_path / "photos" / "a.png", PHOTO)
    _write(tmp_path / "alphas" / "a.png", ALPHA)
    return tmp_path


def test_a_pair_is_found_and_inspected(pair_in):
    found = _found(pair_in, "photos", "alphas")
    (foreground,) = inspect_all(found, CompositeOptions()).foregrounds
    assert (foreground.files.name, foreground.size, foreground.tolerance) == ("a", (60, 40), 0)
    assert foreground.files.image == "inimg/a.png" and foreground.files.alpha == "inalp/a.png"
    assert foreground.missing == ()


def test_what_has_no_partner_is_reported_and_the_rest_goes_on(pair_in):
    _write(pair_in / "photos" / "lonely.png", PHOTO)
    _write(pair_in / "alphas" / "widow.png", ALPHA)
    found = _found(pair_in, "photos", "alphas")
    assert [files.name for files in found.files] == ["a"]
    assert {(item.what, item.why) for item in found.skipped} == {
        ("inimg/lonely.png", "image without alpha"),
        ("inalp/widow.png", "alpha without image"),
    }


def test_no_pair_at_all_is_an_error_that_shows_names(pair_in):
    (pair_in / "alphas" / "a.png").rename(pair_in / "alphas" / "b.png")
    with pytest.raises(ShmDataError, match=r"found a\.png and b\.png, expected equal names"):
        _found(pair_in, "photos", "alphas")


def test_a_missing_folder_is_an_error(pair_in):
    with pytest.raises(ShmDataError, match="found no folder, expected a folder"):
        _found(pair_in, "photos", "absent")


def test_alphas_in_a_subfolder_of_the_photos_are_no_photos(pair_in):
    (pair_in / "alphas").rename(pair_in / "photos" / "alphas")
    found = _found(pair_in, "photos", "photos/alphas")
    assert [files.image for files in found.files] == ["inimg/a.png"] and not found.skipped


def test_equal_stems_in_two_folders_get_names_of_their_own(tmp_path):
    for folder in ("x", "y"):
        _write(tmp_path / "photos" / folder / "1.png", PHOTO)
        _write(tmp_path / "alphas" / folder / "1.png", ALPHA)
    _write(tmp_path / "photos" / "x_1.png", PHOTO)
    _write(tmp_path / "alphas" / "x_1.png", ALPHA)
    assert [files.name for files in _found(tmp_path, "photos", "alphas").files] == ["x_1", "x_1_2", "y_1"]


def test_a_pubdir_is_recognised_by_prefix_and_imported(tmp_path):
    for name in ("a", "b"):
        _write(tmp_path / f"{name}.png", PHOTO)
        _write(tmp_path / f"{name}_matte.png", ALPHA)
        _write(tmp_path / "tri" / f"{name}_trimap.png", (ALPHA // 128 * 127).astype(np.uint8))
    found = scan(CompositeOptions(pubdir=tmp_path, prefix="matte", trimapdir=tmp_path / "tri"))
    assert [(files.name, files.imported) for files in found.files] == [("a", True), ("b", True)]
    assert found.files[0].alpha == "pubdir/a_matte.png" and found.files[0].trimap == "trimapdir/a_trimap.png"


@pytest.mark.parametrize("trimapdir", [None, ".", "trimap"])
def test_a_pubdir_of_image_mask_and_trimap_is_imported(tmp_path, trimapdir):
    for name in ("a", "b"):
        _write(tmp_path / "image" / f"{name}.png", PHOTO)
        _write(tmp_path / "mask" / f"{name}.png", ALPHA)
        _write(tmp_path / "trimap" / f"{name}.png", (ALPHA // 128 * 127).astype(np.uint8))
    found = scan(CompositeOptions(pubdir=tmp_path, trimapdir=None if trimapdir is None else tmp_path / trimapdir))
    first = found.files[0]
    assert [files.name for files in found.files] == ["a", "b"] and first.alpha == "pubdir/mask/a.png"
    trimaps = {None: None, ".": "trimapdir/trimap/a.png", "trimap": "trimapdir/a.png"}
    assert first.trimap == trimaps[trimapdir]
    assert [item.why for item in found.skipped] == ["trimap, but --trimapdir is not given"] * 2 * (trimapdir is None)


@pytest.mark.parametrize(("prefix", "word"), [(None, "'alpha' before or after"), ("AIT", "'AIT' before or after")])
def test_one_folder_without_alphas_is_told_how_they_are_found(tmp_path, prefix, word):
    _write(tmp_path / "a.png", PHOTO)
    with pytest.raises(ShmDataError) as error:
        scan(CompositeOptions(pubdir=tmp_path, prefix=prefix))
    assert (
        word in error.value.expected and "--prefix" not in error.value.expected and "image/" in error.value.expected
    )


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (np.zeros_like(ALPHA), r"found only 0, expected 0 for background"),
        ((ALPHA > 99).astype(np.uint8), r"found only 0 and 1, expected"),
        (ALPHA[:, ::2], r"found 60x40 and 30x40, expected the same size"),
        (ALPHA[::2, ::2], r"found 60x40 and 30x20, expected the same size, or --resize-alpha"),
        (ALPHA[:38], r"found 60x40 and 60x38, expected the same size$"),
        (PHOTO, r"found a colour picture, expected a matte"),
    ],
)
def test_an_alpha_that_does_not_fit_is_an_error_before_any_work(pair_in, alpha, message):
    _write(pair_in / "alphas" / "a.png", np.ascontiguousarray(alpha))
    with pytest.raises(ShmDataError, match=message):
        inspect_all(_found(pair_in, "photos", "alphas"), CompositeOptions())


def test_all_broken_foregrounds_are_named_at_once(pair_in):
    for name in "bcd":
        _write(pair_in / "photos" / f"{name}.png", PHOTO)
        (pair_in / "alphas" / f"{name}.png").write_bytes(b"")
    with pytest.raises(ShmDataError, match=r"(?s)3 of 4 foregrounds cannot be used.*b\.png.*c\.png.*d\.png"):
        inspect_all(_found(pair_in, "photos", "alphas"), CompositeOptions())


def test_resize_alpha_brings_alpha_and_trimap_to_the_photo(pair_in):
    _write(pair_in / "alphas" / "a.png", np.ascontiguousarray(ALPHA[::2, ::2]))
    _write(pair_in / "tri" / "a.png", np.ascontiguousarray(ALPHA[::2, ::2] // 128 * 255).astype(np.uint8))
    options = CompositeOptions(
        resize_alpha=True, inimg=pair_in / "photos", inalp=pair_in / "alphas", intri=pair_in / "tri"
    )
    found = scan(options)
    pixels = read(found.files[0], found.roots, resize_alpha=True)
    assert pixels.alpha.shape == pixels.trimap.shape == (40, 60)
    assert set(np.unique(pixels.trimap)) <= {0, 128, 255}


def test_a_matte_given_as_trimap_is_refused_by_name(pair_in):
    ramp = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
    _write(pair_in / "tri" / "a.png", ramp)
    options = CompositeOptions(inimg=pair_in / "photos", inalp=pair_in / "alphas", intri=pair_in / "tri")
    with pytest.raises(ShmDataError) as error:
        inspect_all(scan(options), options)
    (fault,) = error.value.faults
    assert fault.path == str(pair_in / "tri" / "a.png") and "gray levels" in fault.found


def test_missing_classes_are_found(pair_in):
    _write(pair_in / "alphas" / "a.png", np.full_like(ALPHA, 255))
    (foreground,) = inspect_all(_found(pair_in, "photos", "alphas"), CompositeOptions()).foregrounds
    assert foreground.missing == ("background", "unknown")


def test_a_folder_of_jpegs_with_png_alphas_is_recognised(tmp_path):
    for name in ("a", "b"):
        images.write_jpeg(tmp_path / f"{name}.jpg", PHOTO)
        _write(tmp_path / f"{name}.png", ALPHA)
    found = _found(tmp_path, inalp=".")
    assert [(files.image, files.alpha) for files in found.files] == [
        ("inimg/a.jpg", "inalp/a.png"),
        ("inimg/b.jpg", "inalp/b.png"),
    ]


def test_alphas_one_folder_deeper_are_found_if_their_name_is_unique(tmp_path):
    for folder in ("photos", "alphas/batch1"):
        _write(tmp_path / folder / "a.png", PHOTO if folder == "photos" else ALPHA)
    assert _found(tmp_path, "photos", "alphas").files[0].alpha == "inalp/batch1/a.png"
    _write(tmp_path / "alphas" / "batch2" / "a.png", ALPHA)
    with pytest.raises(ShmDataError, match="has its alpha"):
        _found(tmp_path, "photos", "alphas")


def test_trimaps_that_fit_no_photo_are_an_error(pair_in):
    _write(pair_in / "tri" / "other.png", ALPHA)
    options = CompositeOptions(inimg=pair_in / "photos", inalp=pair_in / "alphas", intri=pair_in / "tri")
    with pytest.raises(ShmDataError, match="has its trimap in"):
        scan(options)


def test_trimaps_in_a_mixed_folder_are_named_when_not_asked_for(tmp_path):
    for name, pixels in (("a_image", PHOTO), ("a_alpha", ALPHA), ("a_trimap", ALPHA)):
        _write(tmp_path / f"{name}.png", pixels)
    found = _found(tmp_path, inalp=".")
    assert [(item.what, item.why) for item in found.skipped] == [
        ("inimg/a_trimap.png", "trimap, but --intri is not given")
    ]


# Real groups: folder, where images and alphas lie in it, options -> the names found.
GROUPS = {
    "p3m_demo": ({"inimg": "original", "inalp": "alpha"}, ["p_51c916fc", "p_bc5cfad1", "p_bd6af989"]),
    "bluestyle97_shm": ({"inalp": ".", "intri": "."}, ["sample_image"]),
    "tsing90_shm": ({"inalp": ".", "prefix": "AIT"}, ["0000"]),
    "carvekit_docs": ({"inalp": ".", "prefix": "bg_removed"}, ["1"]),
    "pifu_sample": ({"inalp": "."}, ["ryota"]),
    "pymatting_lemur": ({"inalp": ".", "intri": "."}, ["lemur"]),
    "mmagic_matting_dataset": ({"inimg": "fg", "inalp": "alpha", "intri": "trimap"}, ["GT05"]),
    "alphamatting_gt27": (
        {"inimg": "input", "inalp": "GT", "intri": "trimap/Trimap1"},
        ["GT01", "GT04", "GT13", "GT18", "GT21", "GT25"],
    ),
    "vikram_humanseg": (
        {"inimg": "Training_Images", "inalp": "Ground_Truth", "resize_alpha": True},
        ["1", "101", "113", "115", "56"],
    ),
    "gfm_samples": ({"inimg": "original", "inalp": "result_alpha", "resize_alpha": True}, ["1", "4"]),
}
LOSSY = {"mmagic_matting_dataset", "carvekit_docs"}


@pytest.mark.parametrize("group", GROUPS)
def test_real_groups_are_paired_and_read(realdata, group):
    given, names = GROUPS[group]
    folder = realdata / "fg" / group
    folders = {
        key: folder / value for key, value in ({"inimg": "."} | given).items() if key in ("inimg", "inalp", "intri")
    }
    options = CompositeOptions(**given | folders)
    found = scan(options)
    assert [files.name for files in found.files] == names
    for foreground in inspect_all(found, options).foregrounds:
        assert (foreground.tolerance > 0) == (group in LOSSY)
        assert (foreground.files.trimap is not None) == ("intri" in given)
        assert "foreground" not in foreground.missing


def test_a_real_folder_without_pairs_says_so(realdata):
    with pytest.raises(ShmDataError, match=r"no image in .*closed_form_testdata has its alpha"):
        _found(realdata / "fg" / "closed_form_testdata", inalp=".")


def test_real_pairs_of_different_size_name_both_sizes(realdata):
    folder = realdata / "fg" / "vikram_humanseg"
    found = _found(folder, "Training_Images", "Ground_Truth")
    with pytest.raises(
        ShmDataError, match=r"(?s)3 of 5 .*480x640 and 433x577.*expected the same size, or --resize-alpha"
    ):
        inspect_all(found, CompositeOptions())


def test_a_real_cutout_is_foreground_and_alpha_in_one(realdata, tmp_path):
    (tmp_path / "lemur.png").symlink_to(realdata / "fg" / "pymatting_lemur" / "lemur_cutout.png")
    found = _found(tmp_path)
    foreground = inspect(found.files[0], found.roots, CompositeOptions()).foreground
    assert foreground.files.alpha is None
    pixels = read(found.files[0], found.roots)
    assert pixels.alpha.min() == 0 and pixels.alpha.max() == 255
