"""M-Net: an image and its trimap to alpha. VGG-16 as encoder, 5x5 convolutions and unpooling as decoder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from shm_data.errors import ShmDataError
from shm_model.inputs import Normalise, pad_replicate
from shm_model.weights import check_weights, read_weights

# The channels of VGG-16's convolutions; a pooling lies between one stage and the next.
_ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# One convolution before each unpooling, so its channels are those of the pooling it undoes, and one after the last.
_DECODER = (512, 256, 128, 64, 64)

# Where vgg16_bn has its convolutions; behind each comes its batch norm, of which this is the state.
_VGG = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
_NORM = ("weight", "bias", "running_mean", "running_var")


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maxima of 2x2 cells of x (N, C, H, W), H and W even, as (N, C, H/2, W/2), and their codes in uint8.

    A code is 2 row + column in the cell. Of equal values the first in reading order is taken, as in torch.
    """
    pooled, code = _Pool.apply(x)  # type: ignore[no-untyped-call]
    return pooled, code


def unpool(x: Tensor, code: Tensor) -> Tensor:
    """Return (N, C, 2h, 2w): each value of x (N, C, h, w) where the code says in its 2x2 cell, 0 elsewhere.

    F.max_unpool2d does the same with an int64 index for each cell, scatters without a fixed order on GPUs, and
    breaks channels_last.
    """
    unpooled: Tensor = _Unpool.apply(x, code)  # type: ignore[no-untyped-call]
    return unpooled


class _Pool(Function):
    """For a given code, picking and spreading are linear and each other's transpose: hence the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, c, d = _corners(x)
        top, bottom = torch.maximum(a, b), torch.maximum(c, d)
        code = torch.where(bottom > top, 2 + (d > c).to(torch.uint8), (b > a).to(torch.uint8))
        ctx.save_for_backward(code)
        ctx.mark_non_differentiable(code)
        return torch.maximum(top, bottom), code

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        (code,) = ctx.saved_tensors
        return _spread(gradient, code)


class _Unpool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, code: Tensor) -> Tensor:
        ctx.save_for_backward(code)
        return _spread(x, code)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (code,) = ctx.saved_tensors
        return _pick(gradient, code), None


def _corners(x: Tensor) -> list[Tensor]:
    """Return the four positions of all 2x2 cells, in the order of their codes, each (N, C, H/2, W/2)."""
    # Slices with steps would be as good, but not when sizes are unknown: exporters would not see that they are alike.
    cells: Tensor = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # type: ignore[no-untyped-call]
    return [cells[:, :, :, row, :, column] for row in (0, 1) for column in (0, 1)]


def _pick(x: Tensor, code: Tensor) -> Tensor:
    a, b, c, d = _corners(x)
    return torch.where(code < 2, torch.where(code == 0, a, b), torch.where(code == 2, c, d))


def _spread(x: Tensor, code: Tensor) -> Tensor:
    """Return zeros (N, C, 2h, 2w) but for the values of x, each at the position in its cell that the code names."""
    count, channels, height, width = x.shape
    if not isinstance(height, int):
        return _spread_unknown_size(x, code)  # type: ignore[unreachable]
    # Four strided writes keep dtype and memory format. To enlarge x by F.interpolate first is slower, and on CUDA
    # autocast computes that in float32.
    last = x.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if last else torch.contiguous_format
    size = (count, channels, 2 * height, 2 * width)
    spread = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=form)
    for number in range(4):
        spread[:, :, number // 2 :: 2, number % 2 :: 2] = torch.where(code == number, x, 0)
    return spread


def _spread_unknown_size(x: Tensor, code: Tensor) -> Tensor:
    """Return the same for exporters, which do not see that slices with steps are alike when sizes are unknown."""
    height, width = x.shape[2:]
    position = torch.arange(4, dtype=torch.uint8, device=x.device).reshape(2, 2).repeat(height, width)
    x, code = (F.interpolate(each, scale_factor=2.0, mode="nearest") for each in (x, code))
    return torch.where(code == position, x, 0)


class Block(nn.Module):
    """Convolution, batch norm, ReLU, at the same height and width."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), not negative."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


def _blocks(inputs: int, outputs: list[int], kernel: int) -> nn.Sequential:
    return nn.Sequential(*(Block(*pair, kernel) for pair in zip([inputs, *outputs[:-1]], outputs, strict=True)))


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


class MNet(nn.Module):
    """Alpha in detail, from the image and a trimap's probabilities.

    `width` scales the number of channels; 1.0 is the paper's.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.normalise = Normalise()
        encoder = [[_scaled(channels, width) for channels in stage] for stage in _ENCODER]
        decoder = [_scaled(channels, width) for channels in _DECODER]
        inputs = [3 + 3, *(stage[-1] for stage in encoder)]
        self.encoder = nn.ModuleList(_blocks(*pair, kernel=3) for pair in zip(inputs[:-1], encoder, strict=True))
        self.decoder = _blocks(inputs[-1], decoder, kernel=5)
        self.alpha = nn.Conv2d(decoder[-1], 1, 5, padding=2)

    def forward(self, image: Tensor, probabilities: Tensor) -> Tensor:
        """Image (N, 3, H, W) RGB in [0, 1] and probabilities (N, 3, H, W) -> alpha_r (N, 1, H, W).

        The probabilities are T-Net's softmax, or a trimap's one-hot code: background, unknown, foreground.
        Any H and W: both are padded to a multiple of 16. alpha_r is raw: clamped to [0, 1], a pixel
        beyond would get no gradient. Clamp it when the matte is written.
        """
        height, width = image.shape[2:]
        x = torch.cat([self.normalise(image), probabilities], 1)
        x = pad_replicate(x, (height + 15) // 16 * 16, (width + 15) // 16 * 16)
        *stages, last = self.encoder
        codes = []
        for stage in stages:
            x, code = pool(stage(x))
            codes.append(code)
        x = last(x)
        *steps, finish = self.decoder
        for step in steps:
            x = unpool(step(x), codes.pop())
        x = finish(x)
        # bfloat16 has steps of 1/256 below 1: too coarse for a matte.
        with torch.autocast(x.device.type, enabled=False):
            alpha: Tensor = self.alpha(x.to(self.alpha.weight.dtype))
        return alpha[..., :height, :width]


def load_vgg16_bn(model: MNet, path: Path | str) -> None:
    """Load the weights of torchvision's vgg16_bn into M-Net's encoder; its classifier is ignored.

    The first convolution sees the trimap with zeros, so that it starts as VGG's.
    Raises ShmDataError where the file is not a state_dict of that network, or M-Net has another width.
    """
    if model.width != 1.0:
        raise ShmDataError(f"{path} does not fit M-Net", found=f"width {model.width}", expected="width 1.0")
    found = read_weights(path)
    blocks = dict(zip(_VGG, (each for each in model.encoder.modules() if isinstance(each, Block)), strict=True))
    expected = {key: shape for number, block in blocks.items() for key, shape in _vgg_shapes(number, block)}
    check_weights(path, found, expected, ignored="classifier.")
    for number, block in blocks.items():
        _fill(block, found, number)


def _vgg_shapes(number: int, block: Block) -> Iterator[tuple[str, torch.Size]]:
    outputs, inputs, *kernel = block.conv.weight.shape
    yield f"features.{number}.weight", torch.Size([outputs, 3 if number == 0 else inputs, *kernel])
    yield f"features.{number}.bias", torch.Size([outputs])
    for name in _NORM:
        yield f"features.{number + 1}.{name}", torch.Size([outputs])


@torch.no_grad()
def _fill(block: Block, found: Mapping[str, Tensor], number: int) -> None:
    weight, bias = found[f"features.{number}.weight"], found[f"features.{number}.bias"]
    block.conv.weight.zero_()[:, : weight.shape[1]] = weight
    norm = {name: found[f"features.{number + 1}.{name}"] for name in _NORM}
    # Batch norm takes away whatever constant a convolution adds: VGG's biases move into the mean, ours have none.
    norm["running_mean"] = norm["running_mean"] - bias
    block.norm.load_state_dict(norm)
