"""What the networks do with a picture first: normalise its colours as for ImageNet, and pad it to their strides."""

import torch
from torch import Tensor, nn


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


def pad_replicate(x: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N, C, height, width), neither less than before: the last row and column repeated.

    Callers compute these sizes without dividing negative numbers, which ONNX rounds towards zero.

    F.pad does the same, but adds up gradients in no fixed order on GPUs, and torch.compile is wrong about the memory
    format of its gradient (torch 2.13).
    """
    if not isinstance(height, int):  # while a network is exported for any size, nothing may depend on one
        return _repeated(_repeated(x, height, 2), width, 3)  # type: ignore[unreachable]
    down, right = height - x.shape[2], width - x.shape[3]
    if down:
        x = _joined(x, x[:, :, -1:].expand(-1, -1, down, -1), 2)
    if right:
        x = _joined(x, x[..., -1:].expand(-1, -1, -1, right), 3)
    return x


def _joined(x: Tensor, edge: Tensor, along: int) -> Tensor:
    last = x.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if last else torch.contiguous_format
    return torch.cat([x, edge.contiguous(memory_format=form)], along)


def _repeated(x: Tensor, length: int, along: int) -> Tensor:
    places = torch.arange(length, device=x.device).clamp(max=x.shape[along] - 1)
    return x.index_select(along, places)
