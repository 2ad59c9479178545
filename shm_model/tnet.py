"""T-Net: an image to its trimap. PSPNet over a dilated ResNet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shm_model.inputs import pad_replicate
from shm_model.resnet import Backbone, OutputStride, ResNet

CLASSES = 3  # background, unknown, foreground


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


class TNet(nn.Module):
    """PSPNet: ResNet, pyramid pooling, classifier.

    There is no dropout as in PSPNet, so that a step needs no random state and a resumed run repeats exactly.
    """

    def __init__(self, backbone: Backbone = "resnet50", output_stride: OutputStride = 8) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.backbone = ResNet(backbone, output_stride)
        channels = self.backbone.channels
        self.pyramid = Pyramid(channels)
        self.reduce = nn.Sequential(
            nn.Conv2d(2 * channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
        )
        self.classify = nn.Conv2d(channels // 4, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, 3, H, W) RGB in [0, 1] -> logits (N, 3, H, W) of background, unknown, foreground.

        Any H and W: the image is padded to a multiple of the stride and one more, since features lie at pixels
        0, stride, 2 stride ...; between them the logits are interpolated, and the padding is cropped.
        """
        height, width = image.shape[2:]
        stride = self.output_stride
        padded = pad_replicate(image, *((length + stride - 2) // stride * stride + 1 for length in (height, width)))
        _, features = self.backbone(padded)
        features = self.reduce(self.pyramid(features))
        # In half precision probabilities would come in steps that a matte shows.
        with torch.autocast(image.device.type, enabled=False):
            logits = self.classify(features.to(self.classify.weight.dtype))
        logits = F.interpolate(logits, padded.shape[2:], mode="bilinear", align_corners=True)
        return logits[..., :height, :width]
