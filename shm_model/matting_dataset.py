"""Samples as tensors, for training code of your own."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import IGNORED, TrimapRule, derive_trimap, kernel_width
from shm_model.samples import kind_of, source_of

# From an image (H, W, 3) and its alpha (H, W) to others of any size, all uint8.
Transforms = Callable[[Array, Array], tuple[Array, Array]]


class MattingSample(TypedDict):
    """A sample: its name, and uint8 tensors.

    `image` (3, H, W) RGB, `alpha` (1, H, W), `trimap` (1, H, W) in {0, 128, 255}, or 64 where nothing is known.
    """

    name: str
    image: Tensor
    alpha: Tensor
    trimap: Tensor


class MattingDataset(Dataset[MattingSample]):
    """The samples of one split of a data set, of shards, or of a plan, in the order of its list.

    `transforms` takes and returns image and alpha. The trimap is then derived from the alpha that it returns, with a
    band of `trimap_size` pixels: a trimap that is turned or scaled itself has other widths, and a nearest neighbour's
    edges. Without `transforms` it is the one that is stored.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        transforms: Transforms | None = None,
        *,
        trimap_size: Literal["auto"] | int = "auto",
    ) -> None:
        """Open a split. Raises ShmDataError where there is none, or files of it are missing."""
        self._root, self._transforms, self._trimap_size = Path(root), transforms, trimap_size
        self._source = source_of(kind_of(self._root), self._root, split)

    def __len__(self) -> int:
        return len(self._source.names)

    def __getitem__(self, index: int) -> MattingSample:
        """Return a sample. Raises ShmDataError that names what is missing or broken."""
        name = self._source.names[index]
        image, alpha, trimap = self._source.read(index)
        if self._transforms is not None:
            if (trimap == IGNORED).any():
                found, expected = "a mask in place of an alpha", "an alpha, or no transforms"
                raise ShmDataError(f"sample {name} of {self._root}", found=found, expected=expected)
            image, alpha = self._transforms(image.copy(), alpha.copy())  # pictures may be read-only
            trimap = self._derived(alpha)
        return {
            "name": name,
            "image": _tensor(image.transpose(2, 0, 1)),
            "alpha": _tensor(alpha[None]),
            "trimap": _tensor(trimap[None]),
        }

    def _derived(self, alpha: Array) -> Array:
        width = kernel_width((alpha.shape[1], alpha.shape[0]), self._trimap_size)
        return derive_trimap(alpha, TrimapRule("euclid", width, width))


def _tensor(pixels: Array) -> Tensor:
    """Return a tensor of its own, since pictures may be read-only."""
    return torch.from_numpy(np.array(pixels, order="C"))
