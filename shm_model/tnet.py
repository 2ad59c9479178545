"""T-Net: an image to its trimap. PSPNet over a dilated ResNet, or a feature pyramid over EfficientNet-Lite0."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shm_model.efficientnet import EfficientNetLite0
from shm_model.inputs import pad_replicate
from shm_model.resnet import Depth, OutputStride, ResNet

Backbone = Depth | Literal["efficientnet_lite0"]

CLASSES = 3  # background, unknown, foreground

# Channels of the feature pyramid, and groups of its norms.
_WIDTH, _GROUPS = 64, 8


class Pyramid(nn.Module):
    """Features beside their means over 1, 4, 9 and 36 parts of the image: what is near, and where it is.

    The branches normalise by group, not by batch: a bin gives a sample as few as one value a channel, and
    batch norm cannot train on one value, which is what a GPU with a single large crop has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(channels, channels // 4, 1, bias=False),
                nn.GroupNorm(8, channels // 4),
                nn.ReLU(inplace=True),
            )
            for bins in (1, 2, 3, 6)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, h, w) -> (N, 2 channels, h, w)."""
        size = features.shape[2:]
        last = features.is_contiguous(memory_format=torch.channels_last)
        form = torch.channels_last if last else torch.contiguous_format
        # On CUDA group norm gives float32 in NCHW under autocast, and all that is joined with it would become so.
        means = [branch(features).contiguous(memory_format=form) for branch in self.branches]
        enlarged = [F.interpolate(mean, size, mode="bilinear") for mean in means]
        return torch.cat([features, *(each.to(features.dtype, memory_format=form) for each in enlarged)], 1)


class Means(nn.Module):
    """nn.AdaptiveAvgPool2d(bins) as two matrix products."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, bins, bins)."""
        height, width = x.shape[2:]
        return _shares(height, self.bins, x) @ x @ _shares(width, self.bins, x).T


def _shares(length: int, bins: int, like: Tensor) -> Tensor:
    """Return the weight of each of `length` positions in the mean of each bin, (bins, length)."""
    places, number = torch.arange(length, device=like.device), torch.arange(bins, device=like.device)[:, None]
    inside = (places >= number * length // bins) & (places < ((number + 1) * length + bins - 1) // bins)
    counts = inside.to(like.dtype)
    return counts / counts.sum(1, keepdim=True)


def make_portable(network: nn.Module) -> None:
    """Replace torch's adaptive means in a network, in place.

    Exported to ONNX they would expect the example's size of every picture, and MPS supports few sizes only.
    """
    for module in network.modules():
        if isinstance(module, Pyramid):
            for branch in module.branches:
                assert isinstance(branch, nn.Sequential)
                mean = branch[0]
                if isinstance(mean, nn.AdaptiveAvgPool2d):
                    assert isinstance(mean.output_size, int)
                    branch[0] = Means(mean.output_size)


class PSPDecoder(nn.Module):
    """PSPNet after its backbone: pyramid pooling, and a convolution that reduces the channels to `width`.

    There is no dropout as in PSPNet, so that a step needs no random state and a resumed run repeats exactly.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels // 4
        self.pyramid = Pyramid(channels)
        self.reduce = nn.Sequential(
            nn.Conv2d(2 * channels, self.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features of the last stages -> (N, width, h, w), of the size of the last."""
        result: Tensor = self.reduce(self.pyramid(maps[-1]))
        return result


class FPNDecoder(nn.Module):
    """A feature pyramid (Lin et al., CVPR 2017) with the mean of the whole image, as large as the largest features.

    It normalises by group, so that `freeze_bn` keeps the statistics of the pretrained backbone alone.
    """

    def __init__(self, channels: Sequence[int], width: int = _WIDTH) -> None:
        super().__init__()
        self.width = width
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.whole = nn.Sequential(nn.Conv2d(channels[-1], width, 1), nn.ReLU(inplace=True))
        self.smooth = nn.ModuleList(_smoothing(width) for _ in channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features (N, channels, h, w) from large to small -> (N, width, h, w), of the size of the first."""
        whole = self.whole(maps[-1].mean((2, 3), keepdim=True))
        result: Tensor = self.smooth[-1](self.lateral[-1](maps[-1]) + whole)
        for features, lateral, smooth in list(zip(maps, self.lateral, self.smooth, strict=True))[-2::-1]:
            size = features.shape[2:]
            result = smooth(lateral(features) + F.interpolate(result, size, mode="bilinear", align_corners=True))
        return result


def _smoothing(width: int) -> nn.Sequential:
    conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(_GROUPS, width), nn.ReLU(inplace=True))


class TwoLogits(NamedTuple):
    """Logits (N, 3, H, W) of T-Net, and those of its auxiliary classifier, which only training uses."""

    logits: Tensor
    auxiliary: Tensor


class TNet(nn.Module):
    """A backbone, a decoder and a classifier: PSPNet over a ResNet, or a feature pyramid over EfficientNet-Lite0.

    `auxiliary` is PSPNet's second classifier, None unless `add_auxiliary` made it: it sees the third of the ResNet's
    four stages, which its loss reaches by a shorter way.
    """

    def __init__(self, backbone: Backbone = "resnet50", output_stride: OutputStride = 8) -> None:
        super().__init__()
        self.backbone: ResNet | EfficientNetLite0
        self.decoder: PSPDecoder | FPNDecoder
        if backbone == "efficientnet_lite0":
            self.stride, self.backbone = 32, EfficientNetLite0()
            self.decoder = FPNDecoder(self.backbone.channels)
        else:
            self.stride, self.backbone = output_stride, ResNet(backbone, output_stride)
            self.decoder = PSPDecoder(self.backbone.channels)
        self.classify = nn.Conv2d(self.decoder.width, CLASSES, 1)
        self.auxiliary: nn.Sequential | None = None

    def add_auxiliary(self) -> None:
        """Add the auxiliary classifier, with random weights. The backbone must be a ResNet."""
        assert isinstance(self.backbone, ResNet)
        channels = self.backbone.channels // 2
        self.auxiliary = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, CLASSES, 1),
        )

    def forward(self, image: Tensor) -> Tensor | TwoLogits:
        """Image (N, 3, H, W) RGB in [0, 1] -> logits (N, 3, H, W) of background, unknown, foreground.

        In training mode with an auxiliary classifier -> TwoLogits.

        Any H and W: the image is padded to a multiple of the stride and one more, since features lie at pixels
        0, stride, 2 stride ...; between them the logits are interpolated, and the padding is cropped.
        """
        height, width = image.shape[2:]
        stride = self.stride
        padded = pad_replicate(image, *((length + stride - 2) // stride * stride + 1 for length in (height, width)))
        maps = self.backbone(padded)
        features = self.decoder(maps)
        # In half precision probabilities would come in steps that a matte shows.
        with torch.autocast(image.device.type, enabled=False):
            logits = self.classify(features.to(self.classify.weight.dtype))
        sizes = padded.shape[2:], (height, width)
        if self.auxiliary is None or not self.training:
            return _enlarge(logits, *sizes)
        return TwoLogits(_enlarge(logits, *sizes), _enlarge(self.auxiliary(maps[0]).float(), *sizes))


def _enlarge(logits: Tensor, padded: Sequence[int], size: Sequence[int]) -> Tensor:
    """Return logits interpolated to the size of the padded image, and cropped to the size of the image."""
    logits = F.interpolate(logits, tuple(padded), mode="bilinear", align_corners=True)
    return logits[..., : size[0], : size[1]]
