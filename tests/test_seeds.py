"""Everything that is drawn changes with the seed alone, where the splits stay as they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from shm_data.building.build import write_plan
from shm_data.building.on_the_fly import open_plan
from shm_data.options import CompositeOptions
from shm_data.planning.draw import draw_recipes
from shm_data.sources import Background, Files, Foreground
from shm_model.config import Config
from shm_model.dataset import EpochBatches, TrainingSet
from shm_model.order import every_sample

ONE_SIDE = {"trainsplit": 1, "numbg": 6}

PEOPLE = [Foreground(Files(f"p{n}", f"inimg/p{n}.jpg", f"inalp/p{n}.png", None), (60, 80), 0) for n in range(12)]
PLACES = [Background(f"bgdir/b{n}.jpg", Path(f"b{n}.jpg"), (400, 90)) for n in range(20)]


def recipes(seed, backgrounds=PLACES, **options):
    return list(draw_recipes(PEOPLE, backgrounds, CompositeOptions(**ONE_SIDE | options, seed=seed)))


@pytest.mark.parametrize(
    ("field", "options", "backgrounds"),
    [
        ("background", {}, PLACES),
        ("crop", {}, PLACES[:1]),
        ("trimap", {"trimap": "random"}, PLACES[:1]),
        ("augment", {"augment": ("gamma",)}, PLACES[:1]),
    ],
)
def test_each_choice_of_a_plan_changes_with_the_seed(field, options, backgrounds):
    first, again, other = (recipes(seed, backgrounds, **options) for seed in (0, 0, 1))
    assert first == again
    assert [getattr(recipe, field) for recipe in first] != [getattr(recipe, field) for recipe in other]


def test_partners_change_with_the_seed():
    first, other = (
        {r.foreground: r.partner for r in recipes(seed, augment=("over",)) if r.partner} for seed in (0, 1)
    )
    both = first.keys() & other.keys()
    assert len(both) > 5 and any(first[name] != other[name] for name in both)


@pytest.fixture
def replay(sources, tmp_path):
    """A recorded plan, all of which is for training."""
    folders = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",)}
    write_plan(CompositeOptions(**folders | ONE_SIDE), tmp_path / "plan")
    return open_plan(tmp_path / "plan", "train", tmp_path / "cache")


def with_seed(replay, seed):
    options = replay.manifest.options.model_copy(update={"seed": seed})
    return replace(replay, manifest=replay.manifest.model_copy(update={"options": options}))


def test_what_training_draws_from_a_plan_changes_with_its_seed(replay):
    some = [replay.recipe(index) for index in range(len(replay.names))]
    draws = {
        "fresh": lambda each: [each.with_new_background(recipe, 3) for recipe in some],
        "augmented": lambda each: [each.with_new_augmentations(recipe, ["gamma"], 3) for recipe in some],
    }
    for name, draw in draws.items():
        assert draw(replay) == draw(with_seed(replay, 0)), name
        assert draw(replay) != draw(with_seed(replay, 1)), name
    both = (replay, with_seed(replay, 1))
    partners = ([each.with_new_augmentations(recipe, ["over"], 3).partner for recipe in some] for each in both)
    assert any(first != other for first, other in zip(*partners, strict=True) if first and other)


def test_what_a_training_draws_changes_with_its_seed(replay):
    configs = [Config(mode="pretrain_tnet", data_root=Path("x"), seed=seed) for seed in (0, 0, 1)]
    batches = [list(EpochBatches(every_sample(12, config.seed), config)) for config in configs]
    assert batches[0] == batches[1] != batches[2]
    more = {"data": "recipes", "data_root": replay.layout.root, "cache": replay.cache, "tnet_size": 32, "cuda": False}
    items = [TrainingSet(Config(mode="pretrain_tnet", seed=seed, **more))[0, 1] for seed in (0, 0, 1)]
    pixels = [item.image.numpy().tobytes() for item in items]
    assert pixels[0] == pixels[1] != pixels[2]
