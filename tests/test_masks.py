"""Photos with masks in place of alphas: how masks are read, what a set says of them, and what training learns."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import contents, matte, photo
from tiny import CPU, config, write_set

from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_dataset
from shm_data.dataset.layout import Layout, read_names
from shm_data.dataset.recipes import read_recipes
from shm_data.dataset.shards import write_shards
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.pixels.trimap import IGNORED, UNKNOWN, TrimapRule, derive_trimap, mask_rule
from shm_model.batches import IGNORE_LABEL, EndToEndBatch, MNetBatch
from shm_model.checkpoint import new_network
from shm_model.dataset import TrainingSet
from shm_model.evaluate import evaluate
from shm_model.losses import trimap_loss
from shm_model.run import new_run
from shm_model.samples import read_sample, source_of
from shm_model.step import stage_loss, train_step
from shm_model.validation import validation_sad

pytestmark = pytest.mark.usefixtures("one_thread")

PERSON = matte(1, (48, 64)) >= 128
WHITE = np.where(PERSON, 255, 0).astype(np.uint8)
PALETTE = [*(0, 0, 0), *(128, 0, 0), *(0, 128, 0), *(128, 128, 0)]


def palette_of(colours, indices):
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(colours)
    return picture


PARTS = PERSON * (1 + np.arange(64) % 3)

MASKS = {
    "black and white": lambda: Image.fromarray(WHITE),
    "one bit": lambda: Image.fromarray(WHITE).convert("1"),
    "zero and one": lambda: Image.fromarray(PERSON.astype(np.uint8)),
    "parts": lambda: Image.fromarray((PARTS * 30).astype(np.uint8)),
    "parts with colours": lambda: palette_of(PALETTE, PARTS),
    "palette of black and white": lambda: palette_of([255, 255, 255, 0, 0, 0], ~PERSON),
    "many persons": lambda: Image.fromarray((PARTS * 300).astype(np.uint16)),
    "three equal channels": lambda: Image.fromarray(np.dstack([WHITE] * 3)),
    "a cut-out": lambda: Image.fromarray(
        np.dstack([photo(1), WHITE])
    ),
    "soft edges": lambda: Image.fromarray(matte(1, (48, 64))),
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
def test_a_person_is_the_same_in_every_kind_of_mask(kind, tmp_path):
    MASKS[kind]().save(tmp_path / "mask.png")
    assert np.array_equal(images.read_mask(tmp_path / "mask.png"), np.where(PERSON, 255, 0))


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((48, 64), np.uint8), "an empty mask: no person"),
        (np.full((48, 64), 255, np.uint8), "a person everywhere"),
        (np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1)), "shades of gray, as in a photo"),
        (derive_trimap(matte(1), TrimapRule("euclid", 9, 9)), "a trimap"),
        (photo(1), "a colour picture"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_path(pixels, found, tmp_path):
    images.write_png(tmp_path / "mask.png", pixels.astype(np.uint8))
    with pytest.raises(ShmDataError) as error:
        images.read_mask(tmp_path / "mask.png")
    assert error.value.found == found and error.value.path == str(tmp_path / "mask.png")


@pytest.mark.parametrize(("size", "width"), [((48, 64), 3), ((60, 50), 5)])
def test_known_is_what_lies_farther_from_the_edge_than_the_band_is_wide(size, width):
    mask = np.where(matte(2, size) >= 128, 255, 0).astype(np.uint8)
    rule = mask_rule(size[::-1], width)
    trimap = derive_trimap(mask, rule)
    y, x = np.nonzero(np.ones(size, bool))
    for value in (0, 255):
        others = np.stack(np.nonzero(mask != value), 1)
        distance = np.min(np.hypot(y[:, None] - others[:, 0], x[:, None] - others[:, 1]), axis=1).reshape(size)
        assert np.array_equal(trimap == value, (mask == value) & (distance > rule.erode // 2))
    assert set(np.unique(trimap)) == {0, IGNORED, 255}


# A set.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sources and a set of people with alphas, without photos that have masks."""
    folder = tmp_path_factory.mktemp("masks")
    write_set(folder)
    add_masks(folder)
    return folder


def add_masks(folder, numbers=(1, 2, 3)):
    for name in ("crowd", "masks"):
        (folder / name).mkdir(exist_ok=True)
    for number in numbers:
        mask = np.where(matte(number, (96, 120)) >= 128, 255, 0).astype(np.uint8)
        seen = np.where(
            mask[..., None] > 0, 160 + photo(20 + number, (96, 120)) // 4, photo(70 + number, (96, 120)) // 4
        )
        images.write_png(folder / "crowd" / f"c{number}.png", seen.astype(np.uint8))
        images.write_png(folder / "masks" / f"c{number}_mask.png", mask)


def options(folder, **more):
    own = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 2}
    masks = {"maskimg": folder / "crowd", "inmask": folder / "masks"}
    return CompositeOptions.checked(**own | masks | {"trimap_size": 9, "augment": ()} | more)


@pytest.fixture(scope="module")
def root(folder):
    composite(options(folder), folder / "mixed")
    return folder / "mixed"


def names_with_masks(root):
    return [recipe.name for recipe in read_recipes(Layout(root).recipes) if recipe.foreground.startswith("c")]


def test_a_photo_with_a_mask_is_one_sample_of_train_that_says_what_is_not_known(root, folder):
    masked = names_with_masks(root)
    assert masked == ["c1.png", "c2.png", "c3.png"]
    assert set(masked) <= set(read_names(root, "train")) and not set(masked) & set(read_names(root, "val"))
    for name in read_names(root, "train") + read_names(root, "val"):
        image, alpha, trimap = read_sample(root, name)
        assert (IGNORED in trimap, UNKNOWN in trimap) == ((True, False) if name in masked else (False, True))
        if name in masked:
            assert np.array_equal(image, images.read_image(folder / "crowd" / name))
            assert np.array_equal(alpha, images.read_mask(folder / "masks" / name.replace(".", "_mask.")))
            assert set(np.unique(alpha)) == {0, 255}


def test_a_set_is_the_same_with_masks_and_they_may_join_later(root, folder, tmp_path):
    composite(options(folder, maskimg=None, inmask=None), tmp_path / "later")
    before, _ = contents(tmp_path / "later")
    composite(options(folder), tmp_path / "later")
    after, facts = contents(tmp_path / "later")
    pictures = [name for name in before if name.endswith(".png")]
    assert pictures and all(before[name] == after[name] for name in pictures)
    expected, of_root = contents(root)
    assert after.keys() == expected.keys() and facts["counts"] == of_root["counts"]


def test_a_set_with_masks_alone_is_made_too(folder, tmp_path):
    manifest = composite(options(folder, inimg=None, inalp=None), tmp_path / "set")
    assert (manifest.counts.train, manifest.counts.val, manifest.counts.backgrounds) == (3, 0, 0)


def test_a_check_finds_nothing_wrong_and_sees_a_band_that_was_moved(root, folder, tmp_path):
    assert not check_dataset(root, deep=30).findings
    composite(options(folder), tmp_path / "set", link="copy")
    path = tmp_path / "set" / "trimap" / "c2.png"
    images.write_png(path, np.roll(images.read_gray(path), 5, axis=0))
    findings = check_dataset(tmp_path / "set").findings
    assert [(finding.kind, finding.what) for finding in findings if finding.grave] == [("trimap", "c2.png")]


def test_the_photo_of_a_val_person_does_not_come_to_train_by_its_mask(folder, tmp_path):
    val = next(name for name in read_names(folder / "set", "val") if name.count("_") == 0)
    for name in ("crowd", "masks"):
        (tmp_path / name).mkdir()
    images.write_png(tmp_path / "crowd" / "copy.png", images.read_image(folder / "photos" / val))
    alpha = images.read_alpha(folder / "alphas" / val)
    images.write_png(tmp_path / "masks" / "copy.png", np.where(alpha >= 128, 255, 0).astype(np.uint8))
    composite(options(folder, maskimg=tmp_path / "crowd", inmask=tmp_path / "masks"), tmp_path / "set")
    assert not {finding.kind for finding in check_dataset(tmp_path / "set").findings} & {"leak", "near_duplicate"}


@pytest.mark.parametrize(("size", "resize", "expected"), [
    ((48, 60), False, "the same size, or --resize-alpha"),
    ((48, 70), True, "the same size"),
])  # fmt: skip
def test_a_mask_of_another_size_is_refused_or_resized(size, resize, expected, folder, tmp_path):
    for name in ("crowd", "masks"):
        (tmp_path / name).mkdir()
    images.write_png(tmp_path / "crowd" / "a.png", photo(5, (96, 120)))
    images.write_png(tmp_path / "masks" / "a.png", np.where(matte(1, size) >= 128, 255, 0).astype(np.uint8))
    given = options(folder, maskimg=tmp_path / "crowd", inmask=tmp_path / "masks", resize_alpha=resize)
    with pytest.raises(ShmDataError) as error:
        composite(given, tmp_path / "set")
    assert error.value.faults[0].expected == expected
    if not resize:
        composite(given.model_copy(update={"resize_alpha": True}), tmp_path / "set")
        assert set(np.unique(images.read_gray(tmp_path / "set" / "mask" / "a.png"))) == {0, 255}


# Training.


def end_to_end(root, **more):
    given = {"tnet_checkpoint": Path("t.pt"), "mnet_checkpoint": Path("m.pt")}
    return config(root, "end_to_end", **given, **more)


@pytest.mark.parametrize("mode", ["pretrain_tnet", "pretrain_mnet", "end_to_end"])
def test_training_sees_the_same_in_files_shards_and_recipes(root, mode, tmp_path):
    write_shards(root, tmp_path / "shards", 7)
    make = end_to_end if mode == "end_to_end" else lambda root, **more: config(root, mode, **more)
    kinds = {"layout": root, "shards": tmp_path / "shards", "recipes": root}
    sets = {kind: TrainingSet(make(where, data=kind)) for kind, where in kinds.items()}
    for name in names_with_masks(root):
        items = [each[2, list(each.source.names).index(name)]._asdict() for each in sets.values()]
        assert mode == "pretrain_mnet" or (items[0]["labels"] == IGNORE_LABEL).any()
        assert mode == "pretrain_tnet" or set(items[0]["known"].unique().tolist()) <= {0, 255}
        for key, value in items[0].items():
            if isinstance(value, torch.Tensor):
                assert all(torch.equal(value, other[key]) for other in items[1:]), key


@pytest.mark.parametrize("kind", ["ce", "dice"])
def test_what_is_not_known_costs_nothing_and_the_rest_costs_what_it_costs_alone(kind):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 8, 8, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    alone = trimap_loss(logits[..., :5], labels[..., :5], kind)
    labels[..., 5:] = IGNORE_LABEL
    loss = trimap_loss(logits, labels, kind)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert (logits.grad[..., 5:] == 0).all() and (logits.grad[..., :5] != 0).all()


@pytest.mark.parametrize("kind", ["ce", "dice"])
def test_a_batch_of_which_nothing_is_known_costs_nothing(kind):
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    loss = trimap_loss(logits, torch.full((1, 8, 8), IGNORE_LABEL), kind)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


class Given(torch.nn.Module):
    """A network that answers with an alpha that is given."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = torch.nn.Parameter(alpha)

    def forward(self, image, *_):
        from shm_model.shm import Matte

        return self.alpha if _[0].is_floating_point() else Matte(self.alpha, torch.zeros(len(image), 3, 64, 64))


@pytest.mark.parametrize("stage", [MNetBatch, EndToEndBatch])
@pytest.mark.parametrize("unknown_weight", [1.0, 3.0])
def test_the_losses_of_alpha_count_only_what_is_known(stage, unknown_weight, root):
    known = torch.ones(1, 1, 48, 48)
    known[..., 20:40] = 0
    colours = torch.rand(3, 1, 3, 48, 48)
    patch = colours[0], torch.ones(1, 1, 48, 48), known, *colours[1:]
    network = Given(torch.full((1, 1, 48, 48), 0.5))
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    if stage is MNetBatch:
        batch, make = (
            MNetBatch(["a"], labels[:, :48, :48], *patch),
            lambda **more: config(root, "pretrain_mnet", **more),
        )
    else:
        box = torch.tensor([[0, 0, 48, 48]])
        batch, make = EndToEndBatch(["a"], torch.rand(1, 3, 64, 64), labels, box, *patch), partial(end_to_end, root)
    stage_loss(network, batch, make(unknown_weight=unknown_weight))["loss"].backward()
    moved = network.alpha.grad != 0
    assert torch.equal(moved, known > 0)


@pytest.mark.parametrize("mode", ["pretrain_tnet", "pretrain_mnet"])
def test_a_step_on_masks_alone_is_finite(root, mode):
    dataset = TrainingSet(config(root, mode))
    names = list(dataset.source.names)
    items = [dataset[0, names.index(name)] for name in names_with_masks(root)]
    batch = torch.utils.data.default_collate(items)
    run = new_run(new_network(dataset.config), dataset.config, CPU)
    assert np.isfinite(train_step(run, batch, 0, 10)["loss"])


def test_scores_are_of_mattes_alone(root, folder, tmp_path):
    scored = evaluate(Opaque(), source_of("layout", root, "train"))
    assert {row.name for row in scored} == set(read_names(root, "train")) - set(names_with_masks(root))
    composite(options(folder, inimg=None, inalp=None), tmp_path / "set")
    alone = source_of("layout", tmp_path / "set", "train")
    with pytest.raises(ShmDataError) as error:
        evaluate(Opaque(), alone)
    assert error.value.found == "masks in place of alphas"
    made = config(root)
    with pytest.raises(ShmDataError) as error:
        validation_sad(new_network(made), alone, made, CPU)
    assert error.value.found == "a mask in place of an alpha"


class Opaque:
    """A predictor that finds a person everywhere."""

    def __call__(self, image, trimap):
        from shm_model.predict.base import Prediction

        return Prediction(np.ones(trimap.shape, np.float32), np.full(trimap.shape, 255, np.uint8))


# Real masks.

SCALED = {"resize_alpha": True, "maxsize": 160}


@pytest.mark.parametrize(("images_in", "masks_in", "count"), [
    ("people/masks/skin_clothes_hair/image", "people/masks/skin_clothes_hair/annotation", 7),
    ("people/masks/cihp/images", "people/masks/cihp/labels", 5),
    ("realdata/fg/vikram_humanseg/Training_Images", "realdata/fg/vikram_humanseg/Ground_Truth", 5),
    ("realdata/fg/pifu_sample", "realdata/fg/pifu_sample", 1),
])  # fmt: skip
def test_real_masks_are_read(images_in, masks_in, count, realdata, tmp_path):
    shared = realdata.parent
    if not (shared / images_in).is_dir():
        pytest.skip(f"no pictures at {shared / images_in}")
    given = CompositeOptions.checked(
        maskimg=shared / images_in, inmask=shared / masks_in, resize_alpha=True, maxsize=160
    )
    assert composite(given, tmp_path / "set").counts.train == count
    assert not [finding for finding in check_dataset(tmp_path / "set", deep=9).findings if finding.grave]
