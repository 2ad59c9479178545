"""A tiny data set and configurations to train on it within seconds."""

import numpy as np
import torch
from small import matte, photo

from shm_data import images
from shm_data.building.build import composite
from shm_data.options import CompositeOptions
from shm_model.config import Config
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.distributed import ProcessContext

CPU = ProcessContext(torch.device("cpu"), 0, 1)


def write_set(folder):
    """Writes a data set of six people of ellipses on coloured squares, and gives its folder."""
    for name in ("photos", "alphas", "places"):
        (folder / name).mkdir()
    for number in range(6):
        # People are bright, backgrounds dark: something that a small network can learn in seconds.
        bright = 160 + photo(number, (96, 96)) // 4
        seen = np.where(matte(number, (96, 96))[..., None] > 0, bright, photo(50 + number, (96, 96)) // 4)
        images.write_png(folder / "photos" / f"p{number}.png", seen.astype(np.uint8))
        images.write_png(folder / "alphas" / f"p{number}.png", matte(number, (96, 96)))
    for number in range(6):
        images.write_png(folder / "places" / f"b{number}.png", photo(100 + number, (128, 136)) // 3)
    options = CompositeOptions(
        inimg=folder / "photos",
        inalp=folder / "alphas",
        bgdir=(folder / "places",),
        numbg=2,
        trimap_size=9,
        augment=(),
    )
    composite(options, folder / "set")
    return folder / "set"


def config(root, mode="pretrain_tnet", **more):
    """A configuration of small networks and crops; `more` wins."""
    small = {
        "cuda": False, "backbone": "resnet18", "output_stride": 16, "mnet_width": 0.125, "tnet_size": 64,
        "mnet_size": 48, "end_size": 64, "patch_sizes": (48, 64), "batch_size": 4, "lr": 2e-3, "num_workers": 0,
        "max_epoch": 2, "eval": False, "sample_period": 100, "checkpoint_period": 100,
    }  # fmt: skip
    return Config(mode=mode, data_root=root, **small | more)


def batches_of(run):
    """The batches of a run's first epoch."""
    dataset = TrainingSet(run.config)
    return list(data_loader(dataset, EpochBatches(dataset.order(), run.config)))
