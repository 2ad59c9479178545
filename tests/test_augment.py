"""Augmentations: what each may change and what not; plan, build and training apply the same ones."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from small import contents, matte, photo

from cli.data import data
from shm_data import images
from shm_data.building.build import composite, write_plan
from shm_data.building.executors import Part, Threads
from shm_data.building.on_the_fly import open_plan
from shm_data.check import check_dataset
from shm_data.check.index import leaks
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.recipes import from_line, read_recipes, to_line
from shm_data.draws import draws
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.options.table import TABLE
from shm_data.pixels import augmentations, effects
from shm_data.pixels.augmentations import AUGMENTATIONS, Augmentation, AugmentationKind, draw_augmentation
from shm_data.pixels.compositing import blend, cover
from shm_data.pixels.effects import add_noise, blur, cast_shadow, match_colours, recompress, take_photo
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.placement import composite_over, place_in_frame
from shm_data.pixels.trimap import TrimapRule, derive_trimap
from shm_data.planning import partners
from shm_data.planning.draw import draw_augmentations
from shm_data.report.contact_sheet import sheet_of
from shm_data.report.preview import preview
from shm_data.sources import Files, Foreground, foregrounds, path_of
from shm_model.config import config_of
from shm_model.dataset import TrainingSet
from shm_model.samples import source_of

EVERY = tuple(AUGMENTATIONS)
RANGES = {name: kind.ranges for name, kind in AUGMENTATIONS.items()}

numbers = st.floats(0, 1, exclude_max=True)
shadows = st.tuples(*(st.floats(low, high) for low, high in RANGES["shadow"]))
colours = st.tuples(*(st.floats(low, high) for low, high in RANGES["colour"]))


def options_of(sources, **more):
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    return CompositeOptions.checked(**folders | {"numbg": 4, "trainsplit": 0.75, "augment": EVERY} | more)


def recipes_in(root):
    return list(read_recipes(Layout(root).recipes))


def under(pixels, gamma, colour):
    """Pixels under the light of a gamma and of colours; None is not done."""
    steps = [(name, values) for name, values in (("gamma", gamma), ("colour", colour)) if values is not None]
    return effects.augment_foreground(pixels, Augmentation(tuple(steps)))


# The registry.


def invert(image, numbers):
    return np.rint(image + numbers[0] * (255.0 - 2 * image)).astype(np.uint8)


def test_a_new_augmentation_is_one_entry(sources, tmp_path, monkeypatch):
    """It is drawn, recorded, read, applied, checked and offered, and the numbers of the others stay as they are."""
    composite(options_of(sources), tmp_path / "before", Threads(1))
    entry = AugmentationKind("invert", "image", ((0.5, 1.0),), ((0.0, 1.0),), invert, "inverts", "0.5 to 1", "us")
    monkeypatch.setitem(AUGMENTATIONS, "invert", entry)
    monkeypatch.setitem(TABLE, "augment", replace(TABLE["augment"], choices=tuple(AUGMENTATIONS)))  # as at import
    composite(options_of(sources, augment=(*EVERY, "invert")), tmp_path / "after", Threads(1))
    inverted = 0
    for old, new in zip(recipes_in(tmp_path / "before"), recipes_in(tmp_path / "after"), strict=True):
        numbers = new.augment and new.augment.numbers("invert")
        kept = tuple(step for step in new.augment.steps if step[0] != "invert") if new.augment else ()
        assert kept == (old.augment.steps if old.augment else ())
        before, after = (
            images.read_image(Layout(tmp_path / name).sample(old.name)[0]) for name in ("before", "after")
        )
        assert np.array_equal(after, invert(before, numbers) if numbers else before)
        inverted += numbers is not None
    assert inverted > 3
    assert not check_dataset(tmp_path / "after", deep=99).findings
    assert "| `invert` | inverts | 0.5 to 1 | us |" in augmentations.docs_table()


def test_the_table_in_the_docs_is_that_of_the_registry():
    page = (Path(__file__).parents[1] / "docs" / "augmentations.md").read_text(encoding="utf-8")
    assert f"\n{augmentations.docs_table()}\n" in page


def test_the_registry_needs_no_numpy():
    script = "import sys, shm_data.pixels.augmentations; sys.exit('numpy' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# Drawing.


@given(st.lists(numbers, min_size=40, max_size=40), st.sets(st.sampled_from(EVERY)))
def test_each_draws_for_itself(some, names):
    """The other names change nothing about one augmentation; every number lies in its range."""
    alone = {name: draw_augmentation(iter(some), [name], partner="q") for name in names}
    together = draw_augmentation(iter(some), names, partner="q") or Augmentation()
    for name in EVERY:
        values = together.numbers(name)
        assert values == (alone.get(name) or Augmentation()).numbers(name)
        for value, (low, high) in zip(values or (), RANGES[name], strict=False):
            assert low <= value <= high and isinstance(value, type(low))


def test_half_of_the_samples_have_each_and_all_one_camera():
    some = [
        draw_augmentation(draws(0, "augment", "p", index), EVERY, partner="q") or Augmentation()
        for index in range(2000)
    ]
    for name in EVERY:
        share = np.mean([each.numbers(name) is not None for each in some])
        assert share == 1 if name == "camera" else 0.45 < share < 0.55


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({}, EVERY),
        ({"photo": True}, ("gamma", "colour", "noise", "jpeg", "camera")),
        ({"own_trimap": True}, ("blur", "shadow", "gamma", "colour", "noise", "jpeg", "match")),
        ({"partner": None}, tuple(name for name in EVERY if name != "over")),
    ],
)
def test_only_what_suits_a_sample_is_drawn(given, left):
    some = [
        draw_augmentation(draws(0, "augment", "p", index), EVERY, **{"partner": "q"} | given) for index in range(200)
    ]
    plain = [augmentations.to_plain(each) for each in some if each]
    assert {name for each in plain for name in each} == set(left) | ({"partner"} if "over" in left else set())
    assert all(("partner" in each) == ("over" in each) for each in plain)


# Applying.


def test_numbers_that_say_nothing_change_nothing():
    picture, alpha = photo(1), matte(1)
    assert np.array_equal(blur(picture, 0), picture)
    assert np.array_equal(cast_shadow(picture, alpha, (0.0, 0.1, 0.1, 0.02)), picture)
    assert np.array_equal(under(picture, (1.0,), None), picture)
    assert np.array_equal(under(picture, None, (0.0, 0.0, 0.0, 0.0)), picture)
    assert np.array_equal(under(picture, (1.0,), (0.0, 0.0, 0.0, 0.0)), picture)
    assert np.array_equal(add_noise(picture, (0, 7)), picture)
    assert effects.augment_photo(picture, Augmentation()) is picture


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("size", [(48, 64), (480, 320), (1, 9)])
def test_blur_keeps_the_mean_and_flat_colours(sigma, size):
    flat = np.full((*size, 3), (7, 130, 250), np.uint8)
    assert np.array_equal(blur(flat, sigma), flat)
    # In the middle of black, all of a spot stays in the picture.
    spot = np.zeros((*size, 3), np.uint8)
    spot[size[0] // 3 : -(size[0] // 3) or None, size[1] // 3 : -(size[1] // 3) or None] = 200
    if sigma <= 0.05 and min(size) > 9:
        assert abs(blur(spot, sigma).mean() - spot.mean()) < 0.5


def test_a_blur_that_is_wide_is_the_gaussian_itself():
    picture = np.pad(photo(3, (320, 480)), ((20, 20), (20, 20), (0, 0)), mode="edge")
    for sigma in (10, 25, 60):
        exact = cv2.GaussianBlur(picture.astype(np.float64), (0, 0), sigma)
        assert np.abs(blur(picture, sigma / 520) - exact).mean() < 2


@settings(max_examples=30, deadline=None)
@given(shadows, st.integers(0, 9))
def test_a_shadow_never_brightens_and_is_no_darker_than_it_is_strong(shadow, seed):
    picture, alpha = photo(seed), matte(seed)
    shaded = cast_shadow(picture, alpha, shadow)
    assert (shaded <= picture).all()
    assert (shaded >= np.floor((1 - shadow[0] - 1 / 255) * picture)).all()
    assert np.array_equal(cast_shadow(picture, np.zeros_like(alpha), shadow), picture)


def test_a_shadow_falls_where_it_is_moved_to():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[40:60, 40:60] = 255
    white = np.full((100, 100, 3), 255, np.uint8)
    rows, columns = np.nonzero(cast_shadow(white, alpha, (0.3, 0.2, -0.1, 0.01))[..., 0] < 200)
    assert abs(columns.mean() - 69.5) < 1 and abs(rows.mean() - 39.5) < 1


def test_a_figure_that_the_frame_cuts_casts_no_gap():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[50:, 40:60] = 255
    white = np.full((100, 100, 3), 255, np.uint8)
    assert (cast_shadow(white, alpha, (0.3, 0.0, -0.1, 0.01))[60:, 45:55] < 190).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(*RANGES["gamma"][0]), colours, st.integers(0, 99))
def test_what_is_mixed_stays_mixed_under_a_tint(gamma, colour, seed):
    """The image of the sample is alpha F + (1 - alpha) B of the tinted colours, whatever the gamma."""
    done = Augmentation((("gamma", (gamma,)), ("colour", colour)))
    front, back, alpha = photo(seed), photo(seed + 1), matte(seed)
    image = blend(effects.augment_foreground(front, done), alpha, effects.augment_background(back, alpha, done))
    for pixels, there in ((front, alpha == 255), (back, alpha == 0)):
        assert np.array_equal(image[there], under(pixels, (gamma,), colour)[there])
    low = np.minimum(effects.augment_foreground(front, done), effects.augment_background(back, alpha, done))
    high = np.maximum(effects.augment_foreground(front, done), effects.augment_background(back, alpha, done))
    assert ((low <= image) & (image <= high)).all()


@settings(max_examples=30, deadline=None)
@given(colours)
def test_colours_change_by_an_affine_map(colour):
    """So a tint of what is mixed is the mixture of what is tinted, where nothing clips."""
    front, back, alpha = photo(1) // 2 + 64, photo(2) // 2 + 64, matte(1)
    before = under(blend(front, alpha, back), None, colour)
    after = blend(under(front, None, colour), alpha, under(back, None, colour))
    assert np.abs(before.astype(int) - after)[(before > 0) & (before < 255)].max() <= 2


def test_gray_stays_gray():
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.ptp(under(gray, (0.9,), (0.05, -0.1, 0.15, 0.02)).astype(int), axis=2).max() <= 1


def test_each_colour_does_what_its_name_says():
    levels = np.array([[[0] * 3, [100] * 3, [128] * 3, [255] * 3, [200, 100, 60]]], np.uint8)
    brighter = under(levels, None, (0.1, 0.0, 0.0, 0.0))[0]
    assert brighter[:4, 0].tolist() == [0, 110, 141, 255] and brighter[4].tolist() == [220, 110, 66]
    assert under(levels, None, (0.0, 0.1, 0.0, 0.0))[0, :4, 0].tolist() == [0, 97, 128, 255]
    assert under(levels, None, (0.0, -0.1, 0.0, 0.0))[0, :4, 0].tolist() == [13, 103, 128, 242]
    assert under(levels, None, (0.0, 0.0, -1.0, 0.0))[0, 4].tolist() == [120] * 3
    assert under(levels, None, (0.0, 0.0, 0.0, 1 / 3))[0, 4].tolist() in ([60, 200, 100], [100, 60, 200])
    assert under(levels, (2.0,), None)[0, :4, 0].tolist() == [0, 39, 64, 255]


def test_noise_clips_and_has_the_sigma_that_it_says():
    """Wrapped, a bright pixel would turn black."""
    for level in (0, 3, 252, 255):
        flat = np.full((200, 200, 3), level, np.uint8)
        assert np.abs(add_noise(flat, (10, 1)).astype(int) - level).max() <= 60
    grains = add_noise(np.full((300, 300, 3), 128, np.uint8), (10, 1)).astype(int) - 128
    assert abs(grains.mean()) < 0.1 and abs(grains.std() - 10) < 0.1
    channels = np.corrcoef(grains.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.02


def test_the_same_seed_gives_the_same_grains_and_another_gives_others():
    picture = photo(1, (160, 96))
    assert np.array_equal(add_noise(picture, (5, 3)), add_noise(picture, (5, 3)))
    assert not np.array_equal(add_noise(picture, (5, 3)), add_noise(picture, (5, 4)))


@pytest.mark.parametrize("quality", [70, 95])
def test_a_jpeg_is_near_its_picture(quality):
    smooth = blur(photo(4, (240, 320)), 0.02)
    lossy = recompress(smooth, (quality,))
    assert lossy.shape == smooth.shape and lossy.dtype == np.uint8 and not np.array_equal(lossy, smooth)
    assert np.abs(lossy.astype(int) - smooth).mean() < 3


def test_a_jpeg_has_its_colours_at_half_the_resolution():
    """As those of cameras: stripes of one brightness, a pixel wide, become one colour."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 60, 80), (60, 131, 80)
    lossy = recompress(stripes, (95,)).astype(int)
    assert np.abs(lossy[:, 2:-2:2] - lossy[:, 3:-1:2]).mean() < 10


def test_a_picture_too_large_for_jpeg_is_refused():
    with pytest.raises(ShmDataError, match="--augment jpeg: found 70000x1 pixels"):
        recompress(np.zeros((1, 70000, 3), np.uint8), (80,))


# Arranging.


def mixed(foreground, background):
    """One over the other, in floating point: colours times alpha, and alpha."""
    (front, a), (back, b) = (
        (pixels.astype(float), alpha[..., None] / 255) for pixels, alpha in (foreground, background)
    )
    return a * front + (1 - a) * b * back, 1 - (1 - a) * (1 - b)


@pytest.mark.parametrize("seed", range(5))
def test_one_over_the_other_is_by_the_formula(seed):
    values = np.random.default_rng(seed).integers(0, 256, (2, 60, 80, 4), dtype=np.uint8)
    values[..., 3][:, :20] = [[[0]], [[255]]]
    front, back = ((each[..., :3], np.ascontiguousarray(each[..., 3])) for each in values)
    colours, alpha = composite_over(front, back)
    summed, exact = mixed(front, back)
    assert np.abs(alpha - 255 * exact[..., 0]).max() <= 0.5
    some = exact[..., 0] > 0
    assert np.abs(colours[some] - (summed[some] / exact[some])).max() <= 1
    assert np.array_equal(colours[~some], front[0][~some])


def test_who_is_opaque_hides_and_who_is_not_there_shows():
    front, back = (photo(1), matte(1)), (photo(2), matte(2))
    opaque, nothing = np.full_like(front[1], 255), np.zeros_like(front[1])
    for made, expected in (
        (composite_over((front[0], opaque), back), (front[0], opaque)),
        (composite_over(front, (back[0], nothing)), front),
        (composite_over((front[0], nothing), (back[0], opaque)), (back[0], opaque)),
    ):
        assert all(map(np.array_equal, made, expected))


def test_two_are_composited_as_one_after_the_other():
    front, back, scene = (photo(1), matte(1)), (photo(2), matte(4)), photo(3)
    colours, alpha = composite_over(front, back)
    at_once = blend(colours, alpha, scene)
    in_turn = blend(*front, blend(*back, scene))
    assert np.abs(at_once.astype(int) - in_turn).max() <= 2


def figure(left, top, right, bottom, size=(48, 64)):
    """An opaque box in a picture, and colours that tell where each pixel was."""
    alpha = np.zeros(size, np.uint8)
    alpha[top:bottom, left:right] = 255
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.dstack([3 * columns, 4 * rows, 0 * rows + 9]).astype(np.uint8), alpha


places = st.tuples(st.floats(0.6, 1.2), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))


@settings(max_examples=60, deadline=None)
@given(places, st.sampled_from([(64, 48), (30, 70), (100, 20), (1, 1)]))
@pytest.mark.parametrize("cut", [(0, 9, 20, 30), (40, 9, 64, 48), (20, 0, 40, 48), (0, 20, 64, 30), (20, 10, 40, 48)])
def test_a_side_that_cuts_a_person_still_does(cut, place, size):
    """A shoulder that the photo cut off would float, and the network learn that people end in straight lines."""
    before = figure(*cut)[1]
    after = place_in_frame(*figure(*cut), size, place)[1]
    assert after.shape == size[::-1]
    for side in (np.s_[:, 0], np.s_[:, -1], np.s_[0], np.s_[-1]):
        assert after[side].any() or not before[side].any()


@settings(max_examples=60, deadline=None)
@given(places)
def test_who_has_room_is_whole_and_moves_anywhere(place):
    after = place_in_frame(*figure(20, 10, 40, 30), (64, 48), place)[1]
    rows, columns = np.nonzero(after > 127)
    assert abs(np.ptp(rows) + 1 - 20 * place[0]) <= 2 and abs(np.ptp(columns) + 1 - 20 * place[0]) <= 2
    space = 64 - np.ptp(columns) - 1, 48 - np.ptp(rows) - 1
    assert abs(columns.min() - place[1] * space[0]) <= 2 and abs(rows.min() - place[2] * space[1]) <= 2


@settings(max_examples=30, deadline=None)
@given(places)
def test_colours_go_with_their_alpha(place):
    colours, alpha = place_in_frame(*figure(20, 10, 40, 30), (64, 48), place)
    inside = colours[alpha == 255]
    assert (inside[:, 0] >= 58).all() and (inside[:, 0] <= 119).all() and (inside[:, 2] == 9).all()
    assert (inside[:, 1] >= 38).all() and (inside[:, 1] <= 119).all()


def test_nothing_is_scaled_that_is_not_seen():
    """Somebody cut on both sides, in a frame that is sixty times as wide."""
    colours, alpha = place_in_frame(*figure(0, 100, 50, 2000, (2000, 50)), (3000, 40), (1.0, 0.5, 0.5))
    assert colours.shape == (40, 3000, 3) and (alpha == 255).all()


def test_where_nobody_is_nobody_is_placed():
    colours, alpha = place_in_frame(photo(1), np.zeros((48, 64), np.uint8), (30, 40), (0.7, 0.3, 0.9))
    assert colours.shape == (40, 30, 3) and not alpha.any()


def foreground(name, **more):
    return Foreground(Files(name, f"inimg/{name}.jpg", **{"alpha": "a", "trimap": None} | more), (60, 80), 0)


def test_partners_are_others_and_were_there_before():
    people = [foreground(f"{person}_{number}") for person in "abcdef" for number in range(3)]
    people += [foreground("t", trimap="t"), foreground("u", imported=True)]
    chosen = partners.assign_partners(people, "^[a-z]", lambda name: draws(0, "over", name))
    names = [each.files.name for each in people]
    assert set(chosen) == set(names[3:18])
    for name, partner in chosen.items():
        assert names.index(partner.files.name) < names.index(name) and partner.files.name[0] != name[0]
    fewer = partners.assign_partners(people[:8], "^[a-z]", lambda name: draws(0, "over", name))
    assert fewer == {name: chosen[name] for name in fewer}


def test_where_all_are_one_person_nobody_stands_behind():
    people = [foreground(f"a_{number}") for number in range(5)]
    assert not partners.assign_partners(people, "^a", lambda name: draws(0, name))


# Plans.


def test_a_plan_is_the_same_but_for_what_is_augmented(sources, tmp_path):
    write_plan(options_of(sources, augment=()), tmp_path / "plain")
    write_plan(options_of(sources), tmp_path / "augmented")
    plain, augmented = recipes_in(tmp_path / "plain"), recipes_in(tmp_path / "augmented")
    assert [replace(recipe, augment=None) for recipe in augmented] == plain
    assert {name for recipe in augmented if recipe.augment for name in augmentations.to_plain(recipe.augment)} > set(
        EVERY
    )
    assert b"augment" not in (tmp_path / "plain" / "recipes.jsonl").read_bytes()
    assert any(recipe.augment for recipe in augmented)
    assert all(recipe.augment is None for recipe in augmented if recipe.split == "val")


def test_recipes_without_the_word_are_read(sources, tmp_path):
    write_plan(options_of(sources), tmp_path)
    recipe = next(recipe for recipe in recipes_in(tmp_path) if recipe.augment)
    assert from_line(to_line(recipe)) == recipe
    old = {key: value for key, value in json.loads(to_line(recipe)).items() if key != "augment"}
    assert from_line(json.dumps(old)) == replace(recipe, augment=None)


def test_those_who_join_later_change_nothing(sources, tmp_path):
    composite(options_of(sources), tmp_path / "set")
    before = recipes_in(tmp_path / "set")
    for number in (4, 5):
        images.write_png(sources / "photos" / f"p{number}.png", photo(number))
        images.write_png(sources / "alphas" / f"p{number}.png", matte(number))
    composite(options_of(sources), tmp_path / "set")
    assert recipes_in(tmp_path / "set")[: len(before)] == before


def test_a_partner_is_of_the_same_split_and_one_for_all_samples(sources, tmp_path):
    write_plan(options_of(sources, numbg=20), tmp_path)
    recipes = recipes_in(tmp_path)
    train = {recipe.foreground for recipe in recipes if recipe.split == "train"}
    chosen = {}
    for recipe in recipes:
        if recipe.partner is not None:
            chosen.setdefault(recipe.foreground, set()).add(recipe.partner)
    assert len(chosen) == len(train) - 1
    assert all(len(names) == 1 and names <= train - {name} for name, names in chosen.items())


def test_a_trimap_of_ones_own_keeps_its_alpha(sources, tmp_path):
    (sources / "trimaps").mkdir()
    images.write_png(sources / "trimaps" / "p1.png", derive_trimap(matte(1), TrimapRule("euclid", 5, 5)))
    composite(options_of(sources, intri=sources / "trimaps", trainsplit=1, numbg=20), tmp_path / "set")
    recipes = recipes_in(tmp_path / "set")
    own = [recipe for recipe in recipes if recipe.foreground == "p1"]
    assert any(recipe.augment for recipe in own) and not any(recipe.has_own_alpha for recipe in own)
    assert not any(recipe.partner == "p1" for recipe in recipes)
    assert any(recipe.has_own_alpha for recipe in recipes)


def test_the_noise_of_a_lossy_partner_is_not_taken_for_hair(sources, tmp_path):
    """All but one matte are JPEG, whose levels are off by a few where they should be flat."""
    for number in range(1, 4):
        (sources / "alphas" / f"p{number}.png").unlink()
        images.write_jpeg(sources / "alphas" / f"p{number}.jpg", np.dstack([matte(number)] * 3), 60)
    write_plan(options_of(sources, trainsplit=1, numbg=20), tmp_path)
    recipes = recipes_in(tmp_path)
    assert {recipe.trimap.tolerance for recipe in recipes if recipe.foreground == "p0"} == {0}
    assert {recipe.trimap.tolerance for recipe in recipes if recipe.foreground != "p0"} == {5}
    people = [
        Foreground(Files(name, name, name, None), (60, 80), tolerance) for name, tolerance in (("a", 0), ("b", 5))
    ]
    clean = replace(recipes[1], foreground="a", trimap=TrimapRule("euclid", 5, 5, 0), augment=None)
    both = [draw_augmentations(clean, draws(0, index), ["over"], *people) for index in range(20)]
    assert {(each.partner, each.trimap.tolerance) for each in both} == {(None, 0), ("b", 5)}


@pytest.mark.parametrize(
    "given",
    [
        {"noise": [300.0, 1]}, {"noise": [1.0]}, {"noise": [1, 1]}, {"jpeg": [80.5]}, {"blur": ["a"]},
        {"tint": [1.0]}, {"gamma": [float("nan")]}, {"gamma": None}, {"partner": "p1"},
        {"over": [1.0, 0.5, 0.5]}, {"over": [1.0, 0.5, 0.5], "partner": 7}, [], "x", 7,
    ],
)  # fmt: skip
def test_an_augmentation_that_is_none_is_refused(sources, tmp_path, given):
    write_plan(options_of(sources), tmp_path)
    line = (tmp_path / "recipes.jsonl").read_text().splitlines()[0]
    (tmp_path / "other.jsonl").write_text(json.dumps(json.loads(line) | {"augment": given}) + "\n")
    with pytest.raises(ShmDataError, match="expected a recipe"):
        list(read_recipes(tmp_path / "other.jsonl"))


def test_the_order_of_the_names_and_their_number_decide_nothing(sources):
    one, other = (options_of(sources, augment=names) for names in (("jpeg", "blur"), ("blur", "jpeg", "blur")))
    assert one == other and one.augment == ("blur", "jpeg")


def test_a_name_that_is_none_is_refused(sources):
    with pytest.raises(ShmDataError) as error:
        options_of(sources, augment=("tint",))
    assert (
        error.value.what == "--augment" and "tint" in error.value.found and ", ".join(EVERY) in error.value.expected
    )


# Sets.


@pytest.fixture
def built(sources, tmp_path):
    composite(options_of(sources), tmp_path / "set", Threads(1))
    return tmp_path / "set"


def test_any_number_of_workers_and_parts_make_the_same_bytes(sources, tmp_path, built):
    composite(options_of(sources), tmp_path / "many", Threads(2))
    for number in (2, 1, 3):
        composite(options_of(sources), tmp_path / "parts", Part(number, 3))
    assert contents(tmp_path / "many") == contents(tmp_path / "parts") == contents(built)


def test_only_what_is_augmented_has_other_pixels(sources, tmp_path, built):
    composite(options_of(sources, augment=()), tmp_path / "plain")
    changed = 0
    for recipe in recipes_in(built):
        here, there = Layout(built).sample(recipe.name), Layout(tmp_path / "plain").sample(recipe.name)
        assert (here[0].read_bytes() == there[0].read_bytes()) == (recipe.augment is None), recipe
        changed += recipe.augment is not None
    assert changed > 5


def test_each_sample_is_made_in_the_order_of_a_camera(sources, tmp_path):
    manifest = composite(options_of(sources, trainsplit=1), tmp_path / "set")
    for recipe in recipes_in(tmp_path / "set"):
        done = recipe.augment or Augmentation()
        people = {name: figure_of(sources, name) for name in (recipe.foreground, recipe.partner) if name}
        front, alpha = people[recipe.foreground]
        if done.numbers("place"):
            front, alpha = place_in_frame(front, alpha, recipe.size, done.numbers("place"))
        if done.numbers("over"):
            front, alpha = composite_over(
                (front, alpha), place_in_frame(*people[recipe.partner], recipe.size, done.numbers("over"))
            )
        if recipe.background is None:
            image = under(
                images.read_image(sources / "photos" / f"{recipe.foreground}.png"),
                done.numbers("gamma"),
                done.numbers("colour"),
            )
        else:
            place = images.read_image(path_of(recipe.background, manifest.roots))
            behind = cover(place, recipe.crop, recipe.size)
            if done.numbers("match"):
                front = match_colours(front, alpha, behind, done.numbers("match"))
            behind = blur(behind, *done.numbers("blur")) if done.numbers("blur") else behind
            behind = cast_shadow(behind, alpha, done.numbers("shadow")) if done.numbers("shadow") else behind
            colours = [under(pixels, done.numbers("gamma"), done.numbers("colour")) for pixels in (front, behind)]
            image = blend(colours[0], alpha, colours[1])
        image = add_noise(image, done.numbers("noise")) if done.numbers("noise") else image
        image = recompress(image, done.numbers("jpeg")) if done.numbers("jpeg") else image
        image = take_photo(image, done.numbers("camera")) if done.numbers("camera") else image
        assert np.array_equal(images.read_image(tmp_path / "set" / "input" / recipe.name), image), recipe


def figure_of(sources, name):
    alpha = images.read_alpha(sources / "alphas" / f"{name}.png")
    return estimate_foreground(images.read_image(sources / "photos" / f"{name}.png"), alpha), alpha


@pytest.mark.parametrize("link", ["auto", "copy"])
def test_samples_share_their_files_but_for_those_with_an_alpha_of_their_own(sources, tmp_path, link):
    composite(options_of(sources, trimap="random", trimap_size=7), tmp_path / "set", link=link)
    for recipe in recipes_in(tmp_path / "set"):
        _, mask, trimap = Layout(tmp_path / "set").sample(recipe.name)
        alpha, original = images.read_gray(mask), images.read_alpha(sources / "alphas" / f"{recipe.foreground}.png")
        assert np.array_equal(alpha, original) == (not recipe.has_own_alpha)
        assert mask.stat().st_nlink == 1 or recipe.augment is None or not recipe.augment.changes_person
        assert np.array_equal(images.read_gray(trimap), derive_trimap(alpha, recipe.trimap))


def test_a_partner_whose_photo_is_gone_costs_only_the_samples_before_it(sources, tmp_path, monkeypatch):
    write_plan(options_of(sources), tmp_path / "set")
    missing = {recipe.name for recipe in recipes_in(tmp_path / "set") if "p0" in (recipe.foreground, recipe.partner)}

    def broken(files, roots, **more):
        if files.name == "p0":
            raise ShmDataError("p0 is broken")
        return read(files, roots, **more)

    read = foregrounds.read
    monkeypatch.setattr(foregrounds, "read", broken)
    with pytest.raises(ShmDataError, match=f"{len(missing)} of 20 samples could not be made"):
        composite(options_of(sources), tmp_path / "set")
    assert {path.name for path in (tmp_path / "set" / "input").iterdir()} == {
        recipe.name for recipe in recipes_in(tmp_path / "set")
    } - missing


def test_a_preview_shows_what_will_be_made(sources, tmp_path, built):
    preview(options_of(sources), tmp_path / "sheet.png", 6)
    assert np.array_equal(images.read_image(tmp_path / "sheet.png"), sheet_of(built, 6))


def test_an_augmented_set_passes_its_check_also_made_again(built):
    verdict = check_dataset(built, deep=len(recipes_in(built)))
    assert not verdict.findings, verdict.findings


def test_a_partner_in_both_splits_is_a_leak(sources, tmp_path):
    write_plan(options_of(sources, numbg=20), tmp_path)
    recipes = recipes_in(tmp_path)
    val = next(recipe.foreground for recipe in recipes if recipe.split == "val")
    splits = {recipe.name: recipe.split for recipe in recipes}
    assert not leaks(recipes, splits, None)
    place = next(place for place, recipe in enumerate(recipes) if recipe.partner)
    recipes[place] = replace(recipes[place], augment=replace(recipes[place].augment, partner=val))
    assert [f"the foreground {val} of" in finding.found for finding in leaks(recipes, splits, None)] == [True]


def test_a_matte_of_another_person_is_found_among_the_augmented(built):
    recipes = recipes_in(built)
    model = next(recipe for recipe in recipes if recipe.split == "train" and not recipe.has_own_alpha)
    other = next(r for r in recipes if r.foreground == model.foreground and r != model and not r.has_own_alpha)
    strange = next(recipe for recipe in recipes if recipe.split == "val")
    mask = built / "mask" / other.name
    mask.unlink()
    mask.write_bytes((built / "mask" / strange.name).read_bytes())
    assert "foreground" in {finding.kind for finding in check_dataset(built).findings}


def test_a_photo_of_another_person_is_found_among_the_augmented(sources, tmp_path):
    """Also where the first sample of its foreground is augmented, so that others must not be judged by it."""
    root = tmp_path / "set"
    composite(options_of(sources, augment=("gamma", "place"), trainsplit=1, numbg=9, seed=3), root)
    recipes = recipes_in(root)
    plain = {
        name: [r for r in recipes if r.foreground == name and not r.augment] for name in ("p0", "p1", "p2", "p3")
    }
    first = {name: next(r for r in recipes if r.foreground == name) for name in plain}
    name = next(name for name in plain if first[name].augment and len(plain[name]) > 1)
    assert not check_dataset(root).findings
    image = images.read_image(root / "input" / plain[name][1].name)
    images.write_png(root / "input" / plain[name][1].name, 255 - image)
    assert [finding.kind for finding in check_dataset(root).findings] == ["foreground"]


def test_a_sample_without_its_augmentation_is_found(sources, tmp_path, built):
    composite(options_of(sources, augment=()), tmp_path / "plain")
    name = next(recipe.name for recipe in recipes_in(built) if recipe.augment and recipe.augment.numbers("gamma"))
    (built / "input" / name).write_bytes((tmp_path / "plain" / "input" / name).read_bytes())
    findings = check_dataset(built, deep=len(recipes_in(built))).findings
    assert [finding.kind for finding in findings] == ["rerender"]


def test_other_augmentations_are_another_set(sources, built):
    with pytest.raises(ShmDataError, match="found --augment blur jpeg, expected blur shadow gamma"):
        composite(options_of(sources, augment=("jpeg", "blur")), built)


def test_the_card_says_how_to_make_it_again(built):
    card = (built / "README.md").read_text()
    assert "--augment blur --augment shadow --augment gamma" in card


def test_the_command_takes_several(sources, tmp_path):
    where = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places"]
    words = ["plan", *where, "--numbg", 4, "--savedir", tmp_path / "plan", "--augment", "jpeg", "--augment", "blur"]
    result = CliRunner().invoke(data, list(map(str, words)))
    assert result.exit_code == 0, result.output
    used = {name for recipe in recipes_in(tmp_path / "plan") if recipe.augment for name in EVERY
            if recipe.augment.numbers(name)}  # fmt: skip
    assert used == {"jpeg", "blur"}


# Training.


def test_behind_a_person_stands_another_person_of_train(sources, tmp_path):
    write_plan(options_of(sources, augment=()), tmp_path / "plan")
    replay = source_of("recipes", tmp_path / "plan", "train").replay
    recipe = next(r for r in map(replay.recipe, range(len(replay.names))) if r.background)
    behind = {replay.with_new_augmentations(recipe, ["over"], epoch).partner for epoch in range(40)}
    assert behind == {None} | {each.files.name for each in replay.partners} - {recipe.foreground}
    assert len(behind) == 3


def configured(root, **more):
    given = {"mode": "pretrain_tnet", "data": "recipes", "data_root": str(root), "cuda": False, "tnet_size": 32}
    return config_of(given | more, "test")


@pytest.mark.parametrize("more", [{}, {"trimap": "random", "trimap_size": 9}, {"maxsize": 40, "originals": False}])
def test_a_replay_gives_the_pixels_that_are_written(sources, tmp_path, more):
    options = options_of(sources, **more)
    built = tmp_path / "built"
    composite(options, built)
    write_plan(options, tmp_path / "plan")
    for split in SPLITS:
        replay = open_plan(tmp_path / "plan", split, tmp_path / "cache")
        for index, name in enumerate(read_names(built, split)):
            scene = replay.sample(replay.recipe(index))
            files = zip((scene.image, scene.alpha, scene.trimap), Layout(built).sample(name), strict=True)
            assert all(np.array_equal(made, images.read_channels(path).squeeze()) for made, path in files), name


def test_the_colours_of_a_scene_are_mixed_by_its_alpha_but_for_noise_and_jpeg(sources, tmp_path):
    plain = tuple(name for name in EVERY if name not in ("noise", "jpeg", "camera"))
    write_plan(options_of(sources, augment=plain), tmp_path / "plan")
    replay = open_plan(tmp_path / "plan", "train", tmp_path / "cache")
    scenes = [replay.sample(replay.recipe(index)) for index in range(len(replay.names))]
    mixed = [scene for scene in scenes if scene.background is not None]
    assert mixed
    assert all(np.array_equal(blend(s.foreground, s.alpha, s.background), s.image) for s in mixed)


def test_training_draws_anew_in_every_epoch_and_the_same_again(sources, tmp_path):
    write_plan(options_of(sources, augment=()), tmp_path / "plan")
    config = configured(tmp_path / "plan", augment=["noise", "jpeg", "over"], resample_backgrounds=True)
    first, again = (
        {
            (epoch, index): TrainingSet(config).source.scene(index, epoch).image
            for epoch, index in itertools.product(range(4), range(5))
        }
        for _ in range(2)
    )
    assert all(np.array_equal(first[key], again[key]) for key in first)
    plain = TrainingSet(configured(tmp_path / "plan", resample_backgrounds=True))
    same = [np.array_equal(first[epoch, index], plain.source.scene(index, epoch).image) for epoch, index in first]
    assert 0 < sum(same) < len(same) / 2
    source = source_of("recipes", tmp_path / "plan", "train")
    recipes = [
        [
            source.replay.with_new_augmentations(source.replay.recipe(1), ["noise"], epoch).augment
            for epoch in range(9)
        ]
    ] * 2
    assert recipes[0] == recipes[1] and len(set(recipes[0])) > 3


def test_training_follows_its_configuration_and_not_the_plan(sources, tmp_path):
    write_plan(options_of(sources, augment=("gamma", "colour")), tmp_path / "plan")
    replay = source_of("recipes", tmp_path / "plan", "train").replay
    done = [
        replay.with_new_augmentations(replay.recipe(index), ["jpeg"], 0).augment for index in range(len(replay.names))
    ]
    assert {name for each in done if each for name in augmentations.to_plain(each)} == {"jpeg"}


def test_without_the_key_the_plan_is_followed(sources, tmp_path, built):
    scene = TrainingSet(configured(built)).source.scene(1, 3)
    assert np.array_equal(scene.image, images.read_image(Layout(built).sample(read_names(built, "train")[1])[0]))


def test_val_is_never_augmented_in_training(sources, tmp_path):
    write_plan(options_of(sources, augment=()), tmp_path / "plan")
    composite(options_of(sources, augment=()), tmp_path / "set")
    source = source_of("recipes", tmp_path / "plan", "val")
    for index, name in enumerate(source.names):
        assert np.array_equal(source.read(index)[0], images.read_image(Layout(tmp_path / "set").sample(name)[0]))


@pytest.mark.parametrize("kind", ["layout", "shards"])
def test_only_recipes_can_be_augmented(kind):
    with pytest.raises(ShmDataError, match="augment: only where samples are made from recipes"):
        configured("-", data=kind, augment=["noise"])


def test_a_wrong_name_in_a_configuration_is_refused():
    with pytest.raises(ShmDataError) as error:
        configured("-", augment=["tint"])
    assert "tint" in error.value.found and ", ".join(EVERY) in error.value.expected


# Real pictures.


def test_a_real_portrait_keeps_its_looks(realdata):
    """No augmentation moves the mean of a photo far, and each does something."""
    picture = images.read_image(realdata / "fg" / "carvekit_docs" / "1.jpg")
    alpha = images.read_cutout(realdata / "fg" / "carvekit_docs" / "1_bg_removed.png")[1]
    for name, end in itertools.product(EVERY[:6], range(2)):
        done = Augmentation(((name, tuple(ends[end] for ends in RANGES[name])),))
        image = effects.augment_image(effects.augment_background(picture, alpha, done), done)
        assert 0.3 < np.abs(image.astype(int) - picture).mean() < 45, (name, end)
