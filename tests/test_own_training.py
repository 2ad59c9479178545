"""MattingDataset, and the examples of the page on training code of one's own."""

import importlib.util
import os
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pages
import pytest
import torch
from faults import fault_of
from readers import leftover_files, torchvision_transforms
from small import matte, photo, write_people

from shm_data import images
from shm_data.building.build import composite
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.shards import write_shards
from shm_data.options import CompositeOptions
from shm_data.pixels.trimap import TrimapRule, derive_trimap, kernel_width
from shm_model import MattingDataset

PAGE = Path(__file__).parents[1] / "docs" / "own-training.md"
BLOCKS = [block for block in pages.read(PAGE).blocks if block.language == "python" and block.mark]
IMPORT = r"^(?:import|from) (torchvision|albumentations|lightning|fiftyone)"
PACKAGES = [re.search(IMPORT, block.text, re.MULTILINE)[1] for block in BLOCKS]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set that no test changes, below a folder of its own, as `dataset`."""
    folder = tmp_path_factory.mktemp("own")
    write_people(folder, [f"p{number}" for number in range(5)], (96, 120))
    (folder / "places").mkdir()
    for number in range(5):
        images.write_png(folder / "places" / f"b{number}.png", photo(50 + number, (128, 136)))
    folders = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}
    composite(CompositeOptions(**folders, numbg=2), folder / "dataset")
    return folder / "dataset"


@pytest.fixture(params=["layout", "shards", "recipes"])
def anywhere(request, root, tmp_path):
    """The set as it is, as shards, and as a plan whose samples are made when they are read."""
    if request.param == "layout":
        return root
    if request.param == "shards":
        write_shards(root, tmp_path / "shards")
        return tmp_path / "shards"
    (tmp_path / "plan").mkdir()
    for name in ("dataset.json", "local.json", "recipes.jsonl"):
        (tmp_path / "plan" / name).write_bytes((root / name).read_bytes())
    return tmp_path / "plan"


def test_samples_are_the_pictures_of_the_set_wherever_it_lies(root, anywhere):
    for split in SPLITS:
        samples = MattingDataset(anywhere, split)
        assert [samples[index]["name"] for index in range(len(samples))] == read_names(root, split)
        for index, name in enumerate(read_names(root, split)):
            image, alpha, trimap = Layout(root).sample(name)
            sample = samples[index]
            assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), images.read_image(image))
            assert np.array_equal(sample["alpha"][0].numpy(), images.read_alpha(alpha))
            assert np.array_equal(sample["trimap"][0].numpy(), images.read_trimap(trimap))


def test_the_trimap_is_derived_after_the_transforms(root):
    def halved(image, alpha):
        return cv2.resize(image, (60, 48)), cv2.resize(alpha, (60, 48))

    sample = MattingDataset(root, "train", halved)[0]
    alpha = images.read_alpha(Layout(root).sample(sample["name"])[1])
    rule = TrimapRule("euclid", *[kernel_width((60, 48), "auto")] * 2)
    assert np.array_equal(sample["trimap"][0].numpy(), derive_trimap(cv2.resize(alpha, (60, 48)), rule))
    wide = MattingDataset(root, "train", halved, trimap_size=21)[0]["trimap"]
    assert (wide == 128).sum() > (sample["trimap"] == 128).sum()


def test_without_geometry_the_derived_trimap_is_the_stored_one(root):
    plain, derived = MattingDataset(root, "val"), MattingDataset(root, "val", lambda image, alpha: (image, alpha))
    for index in range(len(plain)):
        assert torch.equal(plain[index]["trimap"], derived[index]["trimap"])


def test_workers_can_be_sent_the_samples(anywhere):
    samples = MattingDataset(anywhere, "val")
    sent = pickle.loads(pickle.dumps(samples))
    for index in range(len(samples)):
        one, other = samples[index], sent[index]
        assert one["name"] == other["name"] and torch.equal(one["image"], other["image"])


def test_transforms_may_write_to_what_they_are_given(anywhere):
    def blacken(image, alpha):
        image[:] = 0
        return image, alpha

    before = MattingDataset(anywhere, "val")[0]["image"]
    assert not MattingDataset(anywhere, "val", blacken)[0]["image"].any()
    assert torch.equal(MattingDataset(anywhere, "val")[0]["image"], before)


def test_tensors_can_be_written_to(anywhere):
    samples = MattingDataset(anywhere, "train")
    before = samples[0]["alpha"].clone()
    for name in ("image", "alpha", "trimap"):
        samples[0][name].zero_()
    assert torch.equal(samples[0]["alpha"], before)


def test_masks_and_transforms_exclude_each_other(tmp_path):
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        images.write_png(tmp_path / "photos" / f"p{number}.png", photo(number))
        mask = np.where(matte(number) >= 128, 255, 0).astype(np.uint8)
        images.write_png(tmp_path / "masks" / f"p{number}.png", mask)
    options = CompositeOptions(maskimg=tmp_path / "photos", inmask=tmp_path / "masks", numbg=0)
    composite(options, tmp_path / "set")
    assert 64 in MattingDataset(tmp_path / "set", "train")[0]["trimap"]
    samples = MattingDataset(tmp_path / "set", "train", lambda image, alpha: (image, alpha))
    assert fault_of(samples.__getitem__, 0).found == "a mask in place of an alpha"


def test_a_folder_without_a_set_is_named(tmp_path):
    assert str(tmp_path) in str(fault_of(MattingDataset, tmp_path, "train"))


# The page.


@pytest.mark.parametrize(("block", "package"), list(zip(BLOCKS, PACKAGES, strict=True)), ids=PACKAGES)
def test_an_example_of_the_page_runs(root, block, package, monkeypatch):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    torchvision_transforms()  # others import it, too
    monkeypatch.chdir(root.parent)
    monkeypatch.setitem(os.environ, "NO_ALBUMENTATIONS_UPDATE", "1")
    with leftover_files():
        exec(compile("\n" * (block.line - 1) + block.text, PAGE, "exec"), {"__name__": "example"})


def test_a_mask_of_torchvision_would_destroy_soft_edges():
    """What the page warns of: why alpha is an image."""
    tv_tensors, v2 = torchvision_transforms()
    alpha = torch.from_numpy(matte(0, (96, 120)))[None]
    alpha = torch.where(alpha >= 128, 255, 0).to(torch.uint8)
    turn = v2.RandomRotation((10, 10), interpolation=v2.InterpolationMode.BILINEAR)
    _, nearest = turn(tv_tensors.Image(alpha), tv_tensors.Mask(alpha))
    _, smooth = turn(tv_tensors.Image(alpha), tv_tensors.Image(alpha))
    assert len(nearest.unique()) == 2 < len(smooth.unique())
