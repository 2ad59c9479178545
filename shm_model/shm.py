"""T-Net and M-Net as one: where the trimap is certain it decides alpha, elsewhere M-Net does."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shm_model.mnet import MNet
from shm_model.tnet import TNet


class Matte(NamedTuple):
    """The result of SHM: `alpha` (N, 1, h, w), raw as M-Net's, and T-Net's `logits` (N, 3, H, W)."""

    alpha: Tensor
    logits: Tensor


def fuse(logits: Tensor, alpha_r: Tensor) -> Tensor:
    """Return alpha = F_s + U_s alpha_r, F_s and U_s by softmax of logits (N, 3, h, w); alphas (N, 1, h, w)."""
    return fuse_probabilities(_softmax(logits), alpha_r)


def _softmax(logits: Tensor) -> Tensor:
    return F.softmax(logits.float(), 1)


def fuse_probabilities(probabilities: Tensor, alpha_r: Tensor) -> Tensor:
    """Return alpha = F_s + U_s alpha_r, F_s and U_s from probabilities (N, 3, h, w); alphas (N, 1, h, w)."""
    unknown, foreground = probabilities[:, 1:2], probabilities[:, 2:3]
    return foreground + unknown * alpha_r.float()


# Compiled, its boxes would be constants, and every batch would be compiled again.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def crop(pixels: Tensor, box: Tensor, patch: int) -> Tensor:
    """Return a box of each sample of pixels (N, C, H, W), resized to (N, C, patch, patch), smoothed where it shrinks.

    `box` (N, 4) int64 on the host: x, y, width, height.
    """
    patches = []
    for sample, (x, y, width, height) in zip(pixels, box.tolist(), strict=True):
        # narrow, unlike a slice, fails on a box that leaves the image
        part = sample.narrow(1, y, height).narrow(2, x, width)
        patches.append(F.interpolate(part[None], (patch, patch), mode="bilinear", antialias=True))
    return torch.cat(patches)


class SHM(nn.Module):
    """Semantic human matting: T-Net, M-Net, fusion."""

    def __init__(self, tnet: TNet, mnet: MNet) -> None:
        super().__init__()
        self.tnet = tnet
        self.mnet = mnet

    def forward(self, image: Tensor, box: Tensor | None = None, patch: int = 320) -> Matte:
        """Image (N, 3, H, W) RGB in [0, 1] -> alpha and logits, both of size (H, W).

        With `box` (N, 4) int64 of x, y, width, height, T-Net sees the whole image, M-Net and the fusion that
        box alone, resized: alpha is (N, 1, patch, patch). Probabilities are resized rather than logits: means of
        probabilities are probabilities again, and those of the truth's one-hot code what a smaller trimap has.
        """
        logits = self.tnet(image)
        probabilities = _softmax(logits)
        if box is not None:
            image, probabilities = crop(image, box, patch), crop(probabilities, box, patch)
        return Matte(fuse_probabilities(probabilities, self.mnet(image, probabilities)), logits)
