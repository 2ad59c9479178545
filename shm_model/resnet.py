"""ResNet with torchvision's names, so that ImageNet weights load."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from shm_model.inputs import Normalise
from shm_model.weights import check_weights, is_count, read_weights

Depth = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
OutputStride = Literal[8, 16]


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

    def __init__(self, name: Depth, output_stride: OutputStride = 8) -> None:
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
    """Return the blocks of one stage.

    Where a stride is removed, what comes after the convolution that had it is dilated, that convolution
    itself only as far as the stage before: then each feature of the strided network is also a feature of
    the dilated one, and ImageNet weights mean what they meant. (PSPNet's own weights stride one convolution
    earlier, which is why it dilates that one too.)
    """
    blocks = [block(inputs, planes, stride, (entry, dilation))]
    outputs = planes * block.expansion
    blocks += [block(outputs, planes, 1, (dilation, dilation)) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def load_resnet(model: ResNet, path: Path | str) -> None:
    """Load the weights of a file, torchvision's or alike, into a ResNet; its `fc` is ignored.

    Raises ShmDataError where the file is not a state_dict of this very network.
    """
    found = read_weights(path)
    expected = {key: value.shape for key, value in model.state_dict().items() if not is_count(key)}
    check_weights(path, found, expected, ignored="fc.")
    model.load_state_dict({key: found[key] for key in expected})
