"""Files are paired by name, whatever their order, and never by guess."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm_data.errors import ShmDataError
from shm_data.sources.pairing import ALPHA_WORDS, classify_files, pair, stem_of

NAMES = st.lists(st.text("abcXY019_-. é", min_size=1, max_size=8), unique_by=str.casefold, max_size=12)


@given(NAMES, st.randoms())
def test_equal_names_pair_in_any_order(names, shuffle):
    images, alphas = [f"{name}.jpg" for name in names], [f"{name}.png" for name in names]
    shuffle.shuffle(alphas)
    pairs = pair(images, alphas, ALPHA_WORDS)
    assert pairs.matched == {f"{name}.jpg": f"{name}.png" for name in names}
    assert not pairs.images_left and not pairs.others_left


@pytest.mark.parametrize("form", ["{}_alpha", "{}-matte", "{}.mask", "alpha_{}", "MASK-{}", "matte {}"])
def test_common_words_are_recognised(form):
    assert pair(["a.b.jpg"], [form.format("a.b") + ".png"], ALPHA_WORDS).matched == {
        "a.b.jpg": form.format("a.b") + ".png"
    }


@pytest.mark.parametrize(("prefix", "alpha"), [("AIT", "0000-AIT"), ("-AIT", "0000-AIT"), ("fg", "fg0000")])
def test_a_users_own_word_is_recognised(prefix, alpha):
    assert pair(["0000.jpg"], [f"{alpha}.png"], (prefix,), literal=True).matched == {"0000.jpg": f"{alpha}.png"}


def test_a_word_must_be_set_off():
    assert not pair(["un.jpg"], ["unmask.png"], ALPHA_WORDS).matched


def test_names_that_differ_after_a_dot_are_different():
    pairs = pair(["a.b.jpg", "a.c.jpg"], ["a.c.png", "a.b.png"], ALPHA_WORDS)
    assert pairs.matched == {"a.b.jpg": "a.b.png", "a.c.jpg": "a.c.png"}


def test_case_and_normal_form_matter_only_where_they_decide():
    assert pair(["IMG_1.JPG"], ["img_1.png"], ALPHA_WORDS).matched == {"IMG_1.JPG": "img_1.png"}
    decomposed = unicodedata.normalize("NFD", "Zoë.png")
    assert pair(["Zoë.jpg"], [decomposed], ALPHA_WORDS).matched == {"Zoë.jpg": decomposed}
    both = pair(["a.jpg", "A.jpg"], ["A.png", "a.png"], ALPHA_WORDS)
    assert both.matched == {"a.jpg": "a.png", "A.jpg": "A.png"}


def test_subfolders_are_part_of_the_name():
    pairs = pair(["x/1.jpg", "y/1.jpg"], ["y/1.png", "x/1_alpha.png"], ALPHA_WORDS)
    assert pairs.matched == {"x/1.jpg": "x/1_alpha.png", "y/1.jpg": "y/1.png"}


@pytest.mark.parametrize(
    ("images", "alphas", "pairs"),
    [
        (["alice/001.jpg", "bob/001.jpg"], ["carol/001.png", "bob/001.png"], {"bob/001.jpg": "bob/001.png"}),
        (["alice/001.jpg", "bob/002.jpg"], ["carol/001.png", "dan/002.png"], {}),
        (["photos/001.jpg", "photos/002.jpg"], ["mattes/001.png"], {"photos/001.jpg": "mattes/001.png"}),
        (["x/alice/001.jpg", "x/bob/002.jpg"], ["Alice/001.png"], {"x/alice/001.jpg": "Alice/001.png"}),
        (["1/alice/001.jpg", "2/bob/002.jpg"], ["alice/001.png", "bob/x.png"], {"1/alice/001.jpg": "alice/001.png"}),
        (["alice/001.jpg", "bob/002.jpg"], ["001.png"], {"alice/001.jpg": "001.png"}),
    ],
)
def test_folders_that_both_sides_have_must_agree(images, alphas, pairs):
    assert pair(images, alphas, ALPHA_WORDS).matched == pairs


@pytest.mark.parametrize(
    ("images", "alphas"),
    [(["a.jpg", "a.png"], ["a.png"]), (["a.jpg"], ["a.png", "a.tif"]), (["a.jpg"], ["a_mask.png", "mask_a.png"])],
)
def test_a_name_that_fits_several_files_is_an_error(images, alphas):
    with pytest.raises(ShmDataError, match=r"matches several .* found .* and .*, expected one of them"):
        pair(images, alphas, ALPHA_WORDS)


def test_what_has_no_partner_is_reported():
    pairs = pair(["a.jpg", "b.jpg"], ["b.png", "c.png"], ALPHA_WORDS)
    assert (pairs.images_left, pairs.others_left) == (("a.jpg",), ("c.png",))


def test_a_mixed_folder_is_classify_files_in_any_order():
    files = ["s_image.png", "s_alpha.png", "s_trimap.png", "mask_party.jpg", "mask_party_mask.png", "lone_mask.png"]
    for seed in range(5):
        random.Random(seed).shuffle(files)
        mixed = classify_files(files, ALPHA_WORDS)
        assert sorted(mixed.images) == ["lone_mask.png", "mask_party.jpg", "s_image.png"]
        assert sorted(mixed.alphas) == ["mask_party_mask.png", "s_alpha.png"]
        assert mixed.trimaps == ["s_trimap.png"]


@pytest.mark.parametrize(
    ("folders", "suffix"),
    [(("image", "mask", "trimap"), ""), (("Images", "masks", "Trimaps"), "_mask"), (("photos", "GT", "trimap"), "")],
)
@pytest.mark.parametrize("above", ["", "train/"])
def test_folders_side_by_side_tell_what_is_in_them(folders, suffix, above):
    images, alphas, trimaps = (f"{above}{folder}" for folder in folders)
    files = [
        f"{images}/a.png",
        f"{images}/b.png",
        f"{alphas}/a{suffix}.png",
        f"{trimaps}/a.png",
        "c.jpg",
        "c_mask.png",
    ]
    found = classify_files(files, ALPHA_WORDS)
    assert sorted(found.images) == sorted([f"{images}/a.png", f"{images}/b.png", "c.jpg"])
    assert sorted(found.alphas) == sorted([f"{alphas}/a{suffix}.png", "c_mask.png"])
    assert found.trimaps == [f"{trimaps}/a.png"]
    paired = pair(found.images, found.alphas, ALPHA_WORDS, plain=found.plain)
    assert paired.matched == {f"{images}/a.png": f"{alphas}/a{suffix}.png", "c.jpg": "c_mask.png"}
    assert paired.images_left == (f"{images}/b.png",)


def test_equal_names_in_train_and_val_stay_apart():
    files = [
        f"{split}/{folder}/{name}.png"
        for split in ("train", "val")
        for folder in ("im", "image", "mask")
        for name in "ab"
    ]
    found = classify_files(files, ALPHA_WORDS)
    paired = pair(found.images, found.alphas, ALPHA_WORDS, plain=found.plain)
    assert paired.matched == {
        f"{split}/image/{name}.png": f"{split}/mask/{name}.png" for split in ("train", "val") for name in "ab"
    }


def test_a_folder_called_mask_alone_tells_nothing():
    files = ["mask/a.png", "mask/a_alpha.png", "party/b.png", "party/b_alpha.png"]
    found = classify_files(files, ALPHA_WORDS)
    assert found.images == ["mask/a.png", "party/b.png"] and found.alphas == ["mask/a_alpha.png", "party/b_alpha.png"]


def test_two_images_of_one_plain_name_are_told_apart_by_their_folders():
    files = ["image/a.png", "photo/a.png", "mask/a.png"]
    found = classify_files(files, ALPHA_WORDS)
    assert not pair(found.images, found.alphas, ALPHA_WORDS, plain=found.plain).matched


def test_only_the_last_extension_is_cut():
    assert stem_of("x/a.b.tar.png") == "x/a.b.tar"
