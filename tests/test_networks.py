"""Networks take any size, load foreign weights or say why not, and learn; unpooling is torch's, bit by bit."""

import os
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shm_data.errors import ShmDataError
from shm_model import losses
from shm_model.inputs import pad_replicate
from shm_model.mnet import MNet, load_vgg16_bn, pool, unpool
from shm_model.resnet import ResNet, load_resnet
from shm_model.shm import SHM, crop, fuse
from shm_model.tnet import TNet

torch.set_num_threads(1)

FORMATS = [torch.contiguous_format, torch.channels_last]
DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
VGG = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
VGG_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def image_of(*size, samples=1):
    return torch.rand(samples, 3, *size)


def one_hot(*size, samples=1):
    """A trimap as probabilities (N, 3, H, W) and as labels (N, H, W): discs of two sizes."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in size), indexing="ij")
    radius = (x**2 + y**2).sqrt()
    labels = ((radius < 0.8).long() + (radius < 0.4)).expand(samples, *size)
    return F.one_hot(labels, 3).permute(0, 3, 1, 2).float(), labels


def small_shm():
    return SHM(TNet("resnet18"), MNet(0.125))


# --- ResNet


def torchvision_shapes(name):
    """The entries of torchvision's state_dict, without fc."""
    shapes = {}

    def conv(key, outputs, inputs, kernel):
        shapes[f"{key}.weight"] = (outputs, inputs, kernel, kernel)

    def norm(key, channels):
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{key}.{entry}"] = (channels,)
        shapes[f"{key}.num_batches_tracked"] = ()

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    large = name in ("resnet50", "resnet101")
    inputs = 64
    for stage, depth in enumerate(DEPTHS[name]):
        planes = 64 * 2**stage
        outputs = 4 * planes if large else planes
        for index in range(depth):
            block = f"layer{stage + 1}.{index}"
            sizes = [(inputs, planes, 1), (planes, planes, 3), (planes, outputs, 1)]
            sizes = sizes if large else [(inputs, planes, 3), (planes, planes, 3)]
            for number, (into, out, kernel) in enumerate(sizes, 1):
                conv(f"{block}.conv{number}", out, into, kernel)
                norm(f"{block}.bn{number}", out)
            if index == 0 and inputs != outputs:
                conv(f"{block}.downsample.0", outputs, inputs, 1)
                norm(f"{block}.downsample.1", outputs)
            inputs = outputs
    return shapes


@pytest.mark.parametrize(
    ("name", "entries", "count"),
    [
        ("resnet18", 120, 11176512),
        ("resnet34", 216, 21284672),
        ("resnet50", 318, 23508032),
        ("resnet101", 624, 42500160),
    ],
)
def test_a_resnet_has_torchvisions_names_and_shapes(name, entries, count):
    with torch.device("meta"):
        model = ResNet(name)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == torchvision_shapes(name)
    assert len(model.state_dict()) == entries
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_names_that_torchvision_has_are_there():
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in ResNet("resnet50").state_dict().items()}
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer3.5.bn3.running_var"] == (1024,)
    assert shapes["layer4.2.conv2.weight"] == (512, 512, 3, 3)


@pytest.mark.parametrize("size", [(64, 96), (65, 79)])
def test_dilation_only_fills_in_features_between_those_of_the_strides(size):
    fine, coarse = ResNet("resnet18", 8).eval(), ResNet("resnet18", 16).eval()
    coarse.load_state_dict(fine.state_dict())
    image = image_of(*size)
    with torch.no_grad():
        for dense, sparse in zip(fine(image), coarse(image), strict=True):
            assert dense.shape[2:] == tuple(-(-length // 8) for length in size)
            torch.testing.assert_close(dense[..., ::2, ::2], sparse)


# --- T-Net


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("backbone", DEPTHS)
def test_tnet_gives_three_logits_a_pixel(backbone, output_stride):
    model = TNet(backbone, output_stride).eval()
    with torch.no_grad():
        assert model(image_of(33, 40)).shape == (1, 3, 33, 40)


@pytest.mark.parametrize("size", [(16, 16), (16, 47), (71, 19), (48, 64)])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_tnet_takes_any_size(size, output_stride):
    with torch.no_grad():
        assert TNet("resnet18", output_stride).eval()(image_of(*size)).shape == (1, 3, *size)


def test_the_trimap_of_a_larger_image_begins_like_that_of_a_smaller():
    """A feature covers `stride` pixels at every size: 43 rows are continued to the same 48 as 48 equal rows."""
    model = TNet("resnet18").eval()
    image = image_of(43, 40)
    with torch.no_grad():
        torch.testing.assert_close(model(F.pad(image, (0, 0, 0, 5), mode="replicate"))[:, :, :43], model(image))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_logit_lies_where_its_feature_does(output_stride):
    """With features that are the image at each stride, the logits of a ramp are that ramp."""
    model = TNet("resnet18", output_stride).eval()
    model.backbone.forward = lambda image: (None, image[..., ::output_stride, ::output_stride])
    model.decoder.forward = lambda maps: maps[-1]
    model.classify = nn.Conv2d(3, 3, 1, bias=False)
    model.classify.weight.data = torch.eye(3)[..., None, None]
    x, y = torch.meshgrid(torch.linspace(0, 1, 65), torch.linspace(0, 2, 49), indexing="ij")
    image = torch.stack([x, y, x + y])[None]
    torch.testing.assert_close(model(image), image)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 0), (0, 2), (5, 4)])
def test_what_is_continued_is_torchs_replicate_in_output_and_gradient(memory_format, down, right):
    x = torch.rand(2, 3, 4, 6).to(memory_format=memory_format)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    one, other = (
        pad_replicate(ours, ours.shape[2] + down, ours.shape[3] + right),
        F.pad(theirs, (0, right, 0, down), mode="replicate"),
    )
    assert torch.equal(one, other) and one.is_contiguous(memory_format=memory_format)
    weights = torch.rand_like(one)
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_networks_train_on_a_batch_of_one():
    image, (trimap, _) = image_of(48, 48), one_hot(48, 48)
    for output in (TNet("resnet18")(image), TNet("resnet18", 16)(image), MNet(0.125)(image, trimap)):
        output.square().mean().backward()
        assert output.isfinite().all()


# --- M-Net


@pytest.mark.parametrize("size", [(16, 16), (1, 7), (33, 47), (64, 48)])
def test_mnet_takes_any_size(size):
    with torch.no_grad():
        alpha = MNet(0.125).eval()(image_of(*size), one_hot(*size)[0])
    assert alpha.shape == (1, 1, *size)


def test_mnet_is_the_papers():
    with torch.device("meta"):
        model = MNet()
    kernels = [module.weight.shape for module in model.modules() if isinstance(module, nn.Conv2d)]
    inputs = (6, *VGG_CHANNELS[:-1])
    encoder = [(out, into, 3, 3) for out, into in zip(VGG_CHANNELS, inputs, strict=True)]
    decoder = [(out, into, 5, 5) for out, into in zip((512, 256, 128, 64, 64), (512, 512, 256, 128, 64), strict=True)]
    assert kernels == [*encoder, *decoder, (1, 64, 5, 5)]


def test_width_scales_all_channels():
    channels = [module.out_channels for module in MNet(0.25).modules() if isinstance(module, nn.Conv2d)]
    assert channels == [c // 4 for c in (*VGG_CHANNELS, 512, 256, 128, 64, 64)] + [1]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("ties", [False, True])
def test_unpooling_is_torchs_in_output_and_gradient(memory_format, ties):
    source = torch.randint(0, 3, (3, 5, 12, 18)).float() if ties else torch.randn(3, 5, 12, 18)
    factor, onto_pooled, onto_unpooled = torch.randn(3, 5, 6, 9), torch.randn(3, 5, 6, 9), torch.randn(3, 5, 12, 18)
    results = []
    for down, up in (
        (pool, unpool),
        (lambda x: F.max_pool2d(x, 2, return_indices=True), lambda x, index: F.max_unpool2d(x, index, 2)),
    ):
        x = source.to(memory_format=memory_format, copy=True).requires_grad_()
        pooled, where = down(x)
        unpooled = up(pooled * factor, where)
        ((pooled * onto_pooled).sum() + (unpooled * onto_unpooled).sum()).backward()
        results.append((pooled, unpooled, x.grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_pooling_keeps_the_memory_format(memory_format):
    x = torch.randn(2, 8, 12, 16).to(memory_format=memory_format).requires_grad_()
    pooled, code = pool(x)
    unpooled = unpool(pooled, code)
    unpooled.backward(torch.ones_like(unpooled))
    assert code.dtype == torch.uint8 and code.max() == 3
    assert all(y.is_contiguous(memory_format=memory_format) for y in (pooled, code, unpooled, x.grad))


def test_the_first_of_equals_is_the_maximum():
    _, code = pool(torch.tensor([[[[5.0, 5, 1, 2], [5, 5, 2, 2]]]]))
    assert code.tolist() == [[[[0, 1]]]]


def test_channels_last_passes_through_the_networks():
    image, (trimap, _) = image_of(48, 48, samples=2), one_hot(48, 48, samples=2)
    tnet = TNet("resnet18").to(memory_format=torch.channels_last)
    mnet = MNet(0.25).to(memory_format=torch.channels_last)
    seen = []
    for module in (tnet.decoder.reduce, *mnet.encoder, *mnet.decoder):
        module.register_forward_hook(lambda _, __, y: seen.append(y.is_contiguous(memory_format=torch.channels_last)))
    tnet(image.to(memory_format=torch.channels_last))
    mnet(*(x.to(memory_format=torch.channels_last) for x in (image, trimap)))
    assert seen == [True] * 11


# --- weights from files


def weights_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("form", ["plain", "fc", "module", "state_dict", "old"])
def test_backbone_weights_come_back_from_a_file(tmp_path, form):
    source, target = ResNet("resnet18"), ResNet("resnet18")
    source.bn1.running_mean.normal_()
    weights = weights_of(source)
    if form == "fc":
        weights |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    if form == "module":
        weights = {f"module.{key}": value for key, value in weights.items()}
    if form == "state_dict":
        weights = {"epoch": 3, "state_dict": weights}
    if form == "old":
        weights = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    torch.save(weights, tmp_path / "resnet18.pth", _use_new_zipfile_serialization=form != "old")
    load_resnet(target, tmp_path / "resnet18.pth")
    for key, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[key]), key


def without(key):
    return lambda weights: weights.pop(key)


def with_one(key, value):
    return lambda weights: weights.update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer2.1.bn2.running_var"), "layer2.1.bn2.running_var: found nothing, expected shape (128,)"),
        (with_one("conv1.weight", torch.zeros(64, 6, 7, 7)), "found shape (64, 6, 7, 7), expected (64, 3, 7, 7)"),
        (with_one("layer3.9.conv1.weight", torch.zeros(1)), "layer3.9.conv1.weight: found a layer too many"),
        (with_one("bn1.bias", 5), "bn1.bias: found a int, expected a tensor"),
        (lambda weights: weights.clear(), "found a dict without tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, change, message):
    model = ResNet("resnet18")
    weights, before = weights_of(model), weights_of(model)
    change(weights)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ShmDataError, match=re.escape(message)):
        load_resnet(model, tmp_path / "w.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_is_refused_and_not_executed(tmp_path, zipped):
    torch.save({"conv1.weight": Evil(tmp_path / "mark")}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ShmDataError, match="found a file of another kind, or broken"):
        load_resnet(ResNet("resnet18"), tmp_path / "w.pth")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, zipped):
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.rand(3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    model = ResNet("resnet18")
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ShmDataError, match=re.escape(str(path))):
            load_resnet(model, path)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 7])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ShmDataError, match="expected a state_dict"):
        load_resnet(ResNet("resnet18"), tmp_path / "w.pth")


def test_a_file_that_is_no_file_is_refused(tmp_path):
    for path, message in ((tmp_path, "cannot be read"), (tmp_path / "absent.pth", "does not exist")):
        with pytest.raises(ShmDataError, match=message):
            load_resnet(ResNet("resnet18"), path)


def vgg_weights():
    weights = {"classifier.0.bias": torch.zeros(4096)}
    inputs = 3
    for number, outputs in zip(VGG, VGG_CHANNELS, strict=True):
        weights[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        weights[f"features.{number}.bias"] = torch.randn(outputs)
        for entry in ("weight", "bias", "running_mean"):
            weights[f"features.{number + 1}.{entry}"] = torch.randn(outputs)
        weights[f"features.{number + 1}.running_var"] = torch.rand(outputs) + 0.5
        weights[f"features.{number + 1}.num_batches_tracked"] = torch.tensor(7)
        inputs = outputs
    return weights


def vgg_features(weights, x):
    """The maps of vgg16_bn before each pooling, in inference, straight from its weights."""
    for number in VGG:
        if number in (7, 14, 24, 34):
            yield x
            x = F.max_pool2d(x, 2)
        x = F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1)
        entries = (weights[f"features.{number + 1}.{e}"] for e in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *entries).relu()
    yield x


def test_with_vggs_weights_mnets_encoder_is_vgg(tmp_path):
    weights, model = vgg_weights(), MNet().eval()
    torch.save(weights, tmp_path / "vgg16_bn.pth")
    load_vgg16_bn(model, tmp_path / "vgg16_bn.pth")
    seen = []
    for stage in model.encoder:
        stage.register_forward_hook(lambda _, __, y: seen.append(y))
    image = image_of(32, 32)
    with torch.no_grad():
        model(image, one_hot(32, 32)[0])
        for ours, theirs in zip(seen, vgg_features(weights, model.normalise(image)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert not model.encoder[0][0].conv.weight[:, 3:].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("features.41.running_var"), "features.41.running_var: found nothing"),
        (with_one("features.3.weight", torch.zeros(64, 64, 5, 5)), "expected (64, 64, 3, 3)"),
        (with_one("features.43.weight", torch.zeros(1)), "features.43.weight: found a layer too many"),
    ],
)
def test_other_weights_than_vggs_are_refused(tmp_path, change, message):
    weights = {key: torch.zeros(()).expand(value.shape) for key, value in vgg_weights().items()}
    change(weights)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ShmDataError, match=re.escape(message)):
        load_vgg16_bn(MNet(), tmp_path / "w.pth")


def test_a_narrow_mnet_takes_no_vgg_weights(tmp_path):
    with pytest.raises(ShmDataError, match=r"found width 0\.5, expected width 1\.0"):
        load_vgg16_bn(MNet(0.5), tmp_path / "w.pth")


# --- fusion


def test_fusion_is_sure_where_the_trimap_is():
    alpha_r = torch.tensor([0.3, 0.3, 0.3]).reshape(1, 1, 1, 3)
    logits = 1000 * torch.eye(3).reshape(1, 3, 1, 3)
    assert fuse(logits, alpha_r).flatten().tolist() == pytest.approx([0, 0.3, 1])
    assert fuse(torch.zeros(1, 3, 1, 3), alpha_r).flatten().tolist() == pytest.approx([1 / 3 + 0.1] * 3)


def test_shm_fuses_its_two_networks():
    model = small_shm().eval()
    image = image_of(45, 39, samples=2)
    with torch.no_grad():
        alpha, logits = model(image)
        assert torch.equal(logits, model.tnet(image))
        assert torch.equal(alpha, fuse(logits, model.mnet(image, logits.softmax(1))))
    assert alpha.shape == (2, 1, 45, 39)


def test_a_box_of_the_whole_image_at_its_size_changes_nothing():
    model = small_shm().eval()
    image = image_of(48, 48, samples=2)
    with torch.no_grad():
        whole, patch = model(image), model(image, torch.tensor([[0, 0, 48, 48]] * 2), 48)
    torch.testing.assert_close(whole, patch)


def test_with_a_box_alpha_has_the_patchs_size_and_both_networks_learn():
    model = small_shm()
    alpha, logits = model(image_of(64, 80, samples=2), torch.tensor([[3, 5, 40, 40], [48, 32, 32, 32]]), 32)
    assert alpha.shape == (2, 1, 32, 32) and logits.shape == (2, 3, 64, 80)
    alpha.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    for weight in (model.tnet.backbone.conv1.weight, model.mnet.encoder[0][0].conv.weight):
        assert weight.grad.abs().max() > 0


def test_a_crop_is_the_box_of_each_sample():
    pixels = torch.rand(2, 3, 30, 40)
    patches = crop(pixels, torch.tensor([[5, 7, 16, 16], [24, 14, 16, 16]]), 16)
    torch.testing.assert_close(patches[0], pixels[0, :, 7:23, 5:21])
    torch.testing.assert_close(patches[1], pixels[1, :, 14:30, 24:40])


def test_a_shrunken_crop_is_smoothed_and_probabilities_stay_such():
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    patches = crop(F.one_hot(checks, 3).permute(2, 0, 1)[None].float(), torch.tensor([[0, 0, 64, 64]]), 21)
    assert (patches[:, :2] - 0.5).abs().max() < 0.05
    torch.testing.assert_close(patches.sum(1), torch.ones(1, 21, 21))


@pytest.mark.parametrize("box", [[30, 0, 16, 16], [0, 20, 16, 16]])
def test_a_box_that_leaves_the_image_is_a_bug(box):
    with pytest.raises(RuntimeError):
        crop(torch.rand(1, 3, 30, 40), torch.tensor([box]), 16)


# --- all together


def test_in_inference_a_sample_does_not_know_its_batch():
    model = small_shm().eval()
    images = image_of(40, 56, samples=3)
    with torch.no_grad():
        together = model(images)
        for index in range(3):
            alone = model(images[index : index + 1])
            torch.testing.assert_close(alone.alpha[0], together.alpha[index], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(alone.logits[0], together.logits[index], rtol=1e-3, atol=1e-5)


def test_results_are_float32_under_autocast():
    model = small_shm().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        alpha, logits = model(image_of(32, 32))
    assert alpha.dtype == logits.dtype == torch.float32


def test_checkpoints_hold_no_constants():
    assert not [key for key in small_shm().state_dict() if "normalise" in key]


def overfit(model, loss_of, steps):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    return history[0] / history[-1]


@pytest.mark.parametrize("kind", ["ce", "dice"])
def test_tnet_overfits_a_batch(kind):
    image, (_, labels) = image_of(48, 48, samples=2), one_hot(48, 48, samples=2)
    assert overfit(TNet("resnet18"), lambda model: losses.trimap_loss(model(image), labels, kind), 25) > 4


def test_mnet_overfits_a_batch():
    image, (trimap, _) = image_of(48, 48, samples=2), one_hot(48, 48, samples=2)
    truth = (trimap[:, 2:] + trimap[:, 1:2] * image[:, :1]).clamp(0, 1)
    assert overfit(MNet(0.25), lambda model: losses.alpha_loss(model(image, trimap), truth), 40) > 4


def test_shm_overfits_a_batch():
    foreground, background = image_of(64, 64, samples=2), image_of(64, 64, samples=2)
    trimap, labels = one_hot(64, 64, samples=2)
    truth = trimap[:, 2:] + trimap[:, 1:2] * 0.5
    image = truth * foreground + (1 - truth) * background
    box = torch.tensor([[0, 0, 48, 48], [8, 16, 40, 40]])
    patches = [crop(pixels, box, 32) for pixels in (truth, image, foreground, background)]

    def loss_of(model):
        alpha, logits = model(image, box, 32)
        return losses.total_loss(losses.prediction_loss(alpha, *patches), losses.trimap_loss(logits, labels))

    assert overfit(SHM(TNet("resnet18"), MNet(0.25)), loss_of, 30) > 4
