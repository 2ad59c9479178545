"""ResNet with torchvision's names, so that ImageNet weights load, and what belongs to such weights.

That is: how their images are normalised, and how a file of weights is read and checked.
"""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from shm_data.errors import ShmDataError

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
OutputStride = Literal[8, 16]

# What torch.load raises for a file that is truncated, not its own, or holds more than tensors.
_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    EOFError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)


class Normalise(nn.Module):
    """RGB in [0, 1] (N, 3, H, W) as ImageNet networks take it: minus the mean, by the deviation.

    A constant of the network, not of a run: checkpoints carry no copy of it.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, H, W), about standard normal."""
        return (image - self.mean) / self.deviation


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and 34.

    `dilations` are those of the convolution that may stride and of the one after it.
    """

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, planes, 3, stride, dilations[0])
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, dilation=dilations[1])
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, planes, h / stride, w / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: the block of ResNet-50 and 101; the 3x3 strides, as in torchvision.

    Of `dilations` the first is its own; a 1x1 has none.
    """

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride, dilations[0])
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv(planes, planes * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, 4 planes, h / stride, w / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        result: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return result


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


_BLOCKS: dict[str, tuple[type[Basic] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (Basic, (2, 2, 2, 2)),
    "resnet34": (Basic, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """The convolutional part of a ResNet, with strides of the last stages turned into dilation.

    Parameters and buffers have torchvision's names and shapes, without `fc`.
    """

    def __init__(self, name: Backbone, output_stride: OutputStride = 8) -> None:
        super().__init__()
        block, depths = _BLOCKS[name]
        self.normalise = Normalise()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        third, fourth = (2, 4) if output_stride == 8 else (1, 2)
        self.layer1 = _stage(block, 64, 64, depths[0])
        self.layer2 = _stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, depths[2], stride=2 // third, dilation=third)
        self.layer4 = _stage(block, 256 * block.expansion, 512, depths[3], entry=third, dilation=fourth)
        self.channels = 512 * block.expansion
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image (N, 3, H, W) RGB in [0, 1] -> features of the last two stages, both H / output_stride high.

        Their channels are `channels / 2` and `channels`; sizes that the stride does not divide round up.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.normalise(image)))))
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


def _stage(
    block: type[Basic] | type[Bottleneck],
    inputs: int,
    planes: int,
    depth: int,
    *,
    stride: int = 1,
    entry: int = 1,
    dilation: int = 1,
) -> nn.Sequential:
    """The blocks of one stage.

    Where a stride is left out, what comes after the convolution that had it is dilated, that convolution
    itself only as far as the stage before: then each feature of the strided network is also a feature of
    the dilated one, and ImageNet weights mean what they meant. (PSPNet's own weights stride one convolution
    earlier, which is why it dilates that one too.)
    """
    blocks = [block(inputs, planes, stride, (entry, dilation))]
    outputs = planes * block.expansion
    blocks += [block(outputs, planes, 1, (dilation, dilation)) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def load_resnet(model: ResNet, path: Path | str) -> None:
    """Fills a ResNet with the weights of a file, torchvision's or alike; its `fc` is left aside.

    Raises ShmDataError where the file is not a state_dict of this very network.
    """
    found = read_weights(path)
    wanted = {key: value.shape for key, value in model.state_dict().items() if not _is_count(key)}
    check_weights(path, found, wanted, left_aside="fc.")
    model.load_state_dict({key: found[key] for key in wanted})


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors by name in a file: a state_dict, or one under "state_dict", without "module." before names.

    Raises ShmDataError where the file holds anything else. Nothing in it is executed.
    """
    wanted = "a state_dict written by torch.save"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ShmDataError(f"cannot read {path}: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise ShmDataError(str(path), found="a file of another kind, or broken", wanted=wanted) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not content:
        raise ShmDataError(str(path), found=f"a {type(content).__name__} without tensors", wanted=wanted)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ShmDataError(f"{path}, {key}", found=f"a {type(value).__name__}", wanted="a tensor with a name")
    return {key.removeprefix("module."): value for key, value in content.items()}


def check_weights(
    path: Path | str, found: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], left_aside: str
) -> None:
    """Raises ShmDataError with the first name that is missing, has another shape, or is not wanted.

    Names that begin with `left_aside` may be there. A surplus is a fault, too: the layers of ResNet-50 fit the
    file of a ResNet-101, whose other half would be dropped in silence.
    """
    for key, shape in wanted.items():
        if key not in found:
            raise ShmDataError(f"{path}, {key}", found="nothing", wanted=f"shape {tuple(shape)}")
        if found[key].shape != shape:
            raise ShmDataError(f"{path}, {key}", found=f"shape {tuple(found[key].shape)}", wanted=f"{tuple(shape)}")
    for key in found:
        if key not in wanted and not key.startswith(left_aside) and not _is_count(key):
            raise ShmDataError(f"{path}, {key}", found="a layer too many", wanted="the weights of a smaller network")


def _is_count(key: str) -> bool:
    """Batch norm's counter of batches: old files lack it, and nothing here uses it."""
    return key.endswith(".num_batches_tracked")
