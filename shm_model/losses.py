"""What training minimises: L = L_p + lambda L_t, the losses of alpha and of the trimap.

All are means in float32, whatever the networks computed in, and return a scalar.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from shm_model.batches import IGNORE_LABEL

# Counts as this many correctly predicted pixels: the dice of a class that is absent and not predicted is 1.
_SMOOTH = 1.0


def trimap_loss(logits: Tensor, labels: Tensor, kind: Literal["ce", "dice"] = "ce") -> Tensor:
    """Return L_t of logits (N, 3, H, W) and labels (N, H, W) int64 in {0, 1, 2}: background, unknown, foreground.

    "ce" is the mean of -log p_label over all pixels; "dice" the mean over the classes c of
    1 - (2 sum p_c g_c + s) / (sum p_c + sum g_c + s), with p the softmax, g the one-hot labels, sums over the batch.
    Pixels of IGNORE_LABEL count in neither; without others the loss is 0.
    """
    known = labels != IGNORE_LABEL
    if kind == "ce":
        total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_LABEL, reduction="sum")
        return total / known.sum().clamp(min=1)
    p = logits.float().softmax(1) * known[:, None]
    classes = torch.arange(p.shape[1], device=labels.device).reshape(1, -1, 1, 1)
    g = (labels[:, None] == classes).to(p.dtype)
    both, each = (p * g).sum((0, 2, 3)), (p + g).sum((0, 2, 3))
    return 1 - ((2 * both + _SMOOTH) / (each + _SMOOTH)).mean()


def alpha_loss(alpha: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of |alpha - truth|, all (N, 1, H, W); with weight w, sum w |alpha - truth| / sum w."""
    return _mean(F.l1_loss(alpha.float(), truth.float(), reduction="none"), weight)


def composite_loss(
    alpha: Tensor, image: Tensor, foreground: Tensor, background: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return the mean of |alpha F + (1 - alpha) B - I| over pixels and channels.

    alpha and weight are (N, 1, H, W), the colours (N, 3, H, W) in [0, 1]. F is the true foreground, not the image:
    against the image, an alpha that is too high in a mixed pixel would cost nothing.
    """
    alpha = alpha.float()
    composite = alpha * foreground.float() + (1 - alpha) * background.float()
    error = F.l1_loss(composite, image.float(), reduction="none")
    return _mean(error.mean(1, keepdim=True), weight)


def prediction_loss(  # noqa: PLR0917 - the order of the formulas
    alpha: Tensor,
    truth: Tensor,
    image: Tensor,
    foreground: Tensor,
    background: Tensor,
    gamma: float = 0.5,
    weight: Tensor | None = None,
) -> Tensor:
    """Return L_p = gamma alpha_loss + (1 - gamma) composite_loss, with shapes as theirs."""
    of_alpha = alpha_loss(alpha, truth, weight)
    of_composite = composite_loss(alpha, image, foreground, background, weight)
    return gamma * of_alpha + (1 - gamma) * of_composite


def total_loss(prediction: Tensor, trimap: Tensor, loss_lambda: float = 0.01) -> Tensor:
    """Return L = L_p + lambda L_t of two scalars."""
    return prediction + loss_lambda * trimap


def _mean(error: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return error.mean()
    weight = weight.float()
    # A batch of weight 0 (crops without unknown pixels) costs nothing; 0 / 0 would end the training.
    return (error * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
