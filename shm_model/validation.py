"""The score of val while a network trains: quick, at the size that the network sees, read by workers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader, Dataset

from shm_data.errors import ShmDataError
from shm_data.pixels.compositing import fit, resize, resize_matte, resize_nearest
from shm_data.pixels.trimap import IGNORED
from shm_model.augment import draw_samples
from shm_model.config import Config
from shm_model.dataset import labels_of, loader_options
from shm_model.distributed import ProcessContext, all_reduce_sum
from shm_model.faults import read_batches
from shm_model.mnet import MNet
from shm_model.predict.predictor import run_network
from shm_model.samples import Source

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


# For fewer pictures than these no worker is started: that takes some seconds.
PICTURES_A_WORKER = 16


class Picture(NamedTuple):
    """A sample at the network's size: `image` (3, h, w), `labels` (h, w) in {0, 1, 2}, `alpha` (h, w), all uint8."""

    image: Tensor
    labels: Tensor
    alpha: Tensor


class ValidationSet(Dataset[Picture | ShmDataError]):
    """Samples of val, scaled down to a long edge of `long_edge` px."""

    def __init__(self, source: Source, indices: Sequence[int], long_edge: int) -> None:
        self.source, self.indices, self.long_edge = source, indices, long_edge

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Picture | ShmDataError:
        try:
            image, alpha, trimap = self.source.read(self.indices[number])
        except ShmDataError as error:
            return error  # raised where it is used: a worker would bury it in a traceback
        if (trimap == IGNORED).any():
            what = f"sample {self.source.names[self.indices[number]]} of val"
            return ShmDataError(
                what, found="a mask in place of an alpha", expected="an alpha: scores need soft edges"
            )
        size = fit((image.shape[1], image.shape[0]), self.long_edge)
        planes = np.ascontiguousarray(resize(image, size).transpose(2, 0, 1))
        labels = labels_of(resize_nearest(trimap, size))
        return Picture(torch.from_numpy(planes), labels, torch.tensor(resize_matte(alpha, size)))


def validation_sad(
    network: nn.Module, val: Source, config: Config, context: ProcessContext, most: int | None = None
) -> float:
    """Return the mean SAD/1000 over at most `most` samples of val, at the network's size and the run's precision.

    The choice of samples depends on the seed alone. Each of several processes scores its share; all return the figure
    that one alone would return, infinity where it is not finite. Raises ShmDataError for a broken sample.
    """
    indices = draw_samples(config.seed, len(val.names), most)
    own = indices[context.rank :: context.world_size]
    dataset = ValidationSet(val, own, config.long_edge)
    workers = min(config.num_workers, len(own) // PICTURES_A_WORKER)
    loader: DataLoader[Picture | ShmDataError] = DataLoader(
        dataset, batch_size=None, collate_fn=_as_it_is, **loader_options(config, workers)
    )
    network.eval()
    sads = []
    for picture in read_batches(loader):
        if isinstance(picture, ShmDataError):
            raise picture
        sads.append(_sad(network, picture, config, context))
    every = [0.0] * len(indices)
    every[context.rank :: context.world_size] = torch.stack(sads).tolist() if sads else []
    mean = sum(all_reduce_sum(every, context)) / len(indices)
    return mean if math.isfinite(mean) else math.inf


@torch.inference_mode()
def _sad(network: nn.Module, picture: Picture, config: Config, context: ProcessContext) -> Tensor:
    """Return the SAD/1000 of a picture as a float64 scalar on the device."""
    image, labels, alpha = (each.to(context.device, non_blocking=True)[None] for each in picture)
    probabilities = one_hot(labels.long(), 3).movedim(-1, 1).float() if isinstance(network, MNet) else None
    precision = PRECISIONS[config.precision]
    with torch.autocast(context.device.type, precision, enabled=precision != torch.float32):
        found, _ = run_network(network, image.float() / 255, probabilities)
    return (found[:, 0] - alpha.float() / 255).abs().sum(dtype=torch.float64) / 1000


def _as_it_is(picture: Any) -> Any:
    return picture
