"""What each stage trains on: a sample as workers make it, or a batch, which has N in front of each shape.

Pixels and labels are uint8. As named tuples, torch collates and pins them field by field.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

# The label of a pixel of which the class is not known: near the edge of a mask.
IGNORE_LABEL = 255


class TNetBatch(NamedTuple):
    """`name` of the sample (of a batch: all names), `image` (3, S, S) RGB, `labels` (S, S) in {0, 1, 2}.

    Labels are the classes of the trimap: background, unknown, foreground; or IGNORE_LABEL.
    """

    name: Sequence[str]
    image: Tensor
    labels: Tensor


class MNetBatch(NamedTuple):
    """A square around unknown pixels: `patch` (3, P, P), its `labels` (P, P) and `alpha` (1, P, P).

    `known` (1, P, P) is 0 where alpha is not known, near the edge of a mask, else 255.
    `foreground` and `background` (3, P, P) are the colours that alpha mixes in the patch, estimated if not known.
    """

    name: Sequence[str]
    labels: Tensor
    patch: Tensor
    alpha: Tensor
    known: Tensor
    foreground: Tensor
    background: Tensor


class EndToEndBatch(NamedTuple):
    """An `image` (3, S, S) with its `labels` (S, S), and a square of it as in MNetBatch.

    `box` (4) int64 is that square in the image: x, y, width, height.
    """

    name: Sequence[str]
    image: Tensor
    labels: Tensor
    box: Tensor
    patch: Tensor
    alpha: Tensor
    known: Tensor
    foreground: Tensor
    background: Tensor


Batch = TNetBatch | MNetBatch | EndToEndBatch
