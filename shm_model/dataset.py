"""Samples for training, from the layout that shm-data writes."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from shm_data.arrays import Array
from shm_data.compositing import resize, resize_matte, resize_nearest
from shm_data.errors import ShmDataError
from shm_data.foreground import separate
from shm_data.images import read_alpha, read_gray, read_image
from shm_data.layout import Layout, read_names
from shm_data.trimap import CLASSES, TrimapRule, derive
from shm_model.augment import (
    Square,
    draw_colours,
    draw_crop,
    draw_patch,
    draw_turn,
    draw_widths,
    draws,
    pick,
    recolour,
    turn,
)
from shm_model.config import Config

Key = tuple[int, int]  # epoch, index
Item = dict[str, Any]

_LABELS = np.zeros(256, np.uint8)
_LABELS[list(CLASSES)] = 0, 1, 2


def read_sample(root: Path, name: str) -> tuple[Array, Array, Array]:
    """The image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255} of a sample, all uint8.

    Raises ShmDataError that names what is missing, broken, or of another size.
    """
    paths = Layout(root).sample(name)
    image, alpha, trimap = read_image(paths[0]), read_alpha(paths[1]), read_gray(paths[2])
    for folder, other in (("mask", alpha), ("trimap", trimap)):
        if other.shape != image.shape[:2]:
            found = f"{image.shape[1]}x{image.shape[0]} in input and {other.shape[1]}x{other.shape[0]} in {folder}"
            raise ShmDataError(f"sample {name} of {root}", found=found, wanted="the same size")
    if not np.isin(trimap, CLASSES).all():
        raise ShmDataError(str(paths[2]), found="other values", wanted="only 0, 128 and 255")
    return image, alpha, trimap


def labels_of(trimap: Array) -> Tensor:
    """The classes (H, W) uint8 in {0, 1, 2} of a trimap (H, W) uint8 in {0, 128, 255}."""
    return torch.from_numpy(_LABELS[trimap])


def names_of(root: Path, split: str) -> list[str]:
    """The names of a split. Raises ShmDataError where there are none or the files of one are missing."""
    names = read_names(root, split)
    if not names:
        raise ShmDataError(f"{Layout(root).names_of(split)}", found="no samples", wanted="at least one")
    for name in names:
        for path in Layout(root).sample(name):
            if not os.path.isfile(path):  # which any name may be asked
                found = f"no {path.parent.name}/{path.name[:255]}"
                raise ShmDataError(f"sample {name[:255]} of {root}", found=found, wanted="the file")
    return names


class TrainingSet(Dataset[Item | ShmDataError]):
    """Augmented samples as uint8 tensors, by (epoch, index); what they hold depends on the stage.

    image (3, S, S); labels (S, S) in {0, 1, 2}: the trimap's classes. For M-Net also, at `mnet_size` P: patch
    (3, P, P), alpha (1, P, P), foreground and background (3, P, P): the estimated colours that the patch mixes.
    End to end, box (4) tells which square of the image the patch is: x, y, width, height.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.names = names_of(config.data_root, "train")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Key) -> Item | ShmDataError:
        epoch, index = key
        name = self.names[index]
        generator = draws(self.config.seed, epoch, index)
        try:
            image, alpha, trimap = read_sample(self.config.data_root, name)
        except ShmDataError as error:
            return error  # raised where the batch is used: a worker would bury it in a traceback
        make = {"pretrain_tnet": self._for_tnet, "pretrain_mnet": self._for_mnet, "end_to_end": self._for_both}
        if self.config.colour:
            image = recolour(image, draw_colours(generator, self.config.colour))
        return {"name": name} | make[self.config.mode](generator, image, alpha, trimap)

    def _for_tnet(self, generator: Any, image: Array, alpha: Array, trimap: Array) -> Item:
        size = self.config.tnet_size
        image, _, trimap = self._crop_and_turn(generator, image, alpha, trimap, size)
        return {"image": _chw(image), "labels": labels_of(trimap)}

    def _for_mnet(self, generator: Any, image: Array, alpha: Array, trimap: Array) -> Item:
        square = draw_patch(generator, trimap, pick(generator, self.config.patches))
        image, alpha, _ = _cut(square, self.config.mnet_size, image, alpha, trimap)
        flip, angle = draw_turn(generator)
        image, alpha = turn(image, flip, angle), turn(alpha, flip, angle)
        erode, dilate = draw_widths(generator)
        labels = labels_of(derive(alpha, TrimapRule("euclid", erode, dilate)))
        return {"labels": labels} | _colours(image, alpha)

    def _for_both(self, generator: Any, image: Array, alpha: Array, trimap: Array) -> Item:
        size = self.config.end_size
        image, alpha, trimap = self._crop_and_turn(generator, image, alpha, trimap, size)
        x, y, side = draw_patch(generator, trimap, pick(generator, self.config.patches))
        patch, patch_alpha, _ = _cut((x, y, side), self.config.mnet_size, image, alpha, trimap)
        item = {
            "image": _chw(image),
            "labels": labels_of(trimap),
            "box": torch.tensor((x, y, side, side)),
        }
        return item | _colours(patch, patch_alpha)

    def _crop_and_turn(
        self, generator: Any, image: Array, alpha: Array, trimap: Array, size: int
    ) -> tuple[Array, Array, Array]:
        square = draw_crop(generator, (image.shape[1], image.shape[0]), self.config.least_crop)
        image, alpha, trimap = _cut(square, size, image, alpha, trimap)
        flip, angle = draw_turn(generator)
        return turn(image, flip, angle), turn(alpha, flip, angle), turn(trimap, flip, angle, labels=True)


class Batches(Sampler[list[Key]]):
    """The batches of several epochs as keys, each epoch in an order drawn from (seed, epoch).

    Of `world` processes each takes its share; what does not fill a batch in all of them is left out of an epoch.
    """

    def __init__(self, length: int, config: Config, epochs: range, rank: int = 0, world: int = 1) -> None:
        self.size = max(1, min(config.batch_size, length // world))
        self.per_epoch = max(1, length // (self.size * world))
        self.length, self.seed, self.epochs, self.rank, self.world = length, config.seed, epochs, rank, world

    def __len__(self) -> int:
        return self.per_epoch * len(self.epochs)

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in self.epochs:
            order = list(range(self.length))
            draws(self.seed, epoch, -1).shuffle(order)
            mine = [(epoch, index) for index in order[self.rank :: self.world]]
            yield from (mine[place * self.size : (place + 1) * self.size] for place in range(self.per_epoch))


def loader(dataset: TrainingSet, sampler: Batches) -> DataLoader[Item | ShmDataError]:
    """Loads the batches of a sampler; what they hold does not depend on the number of workers."""
    workers = dataset.config.num_workers
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collated,
        pin_memory=dataset.config.cuda and torch.cuda.is_available(),
        # A forked child must not enter a thread pool that its parent has used, and the colour estimate has one.
        multiprocessing_context="forkserver" if workers else None,
    )


def _collated(items: Sequence[Item | ShmDataError]) -> Item | ShmDataError:
    for item in items:
        if isinstance(item, ShmDataError):
            return item
    batch: Item = default_collate(list(items))
    return batch


def _cut(square: Square, size: int, image: Array, alpha: Array, trimap: Array) -> tuple[Array, Array, Array]:
    """The square of all three, resized to `size`."""
    x, y, side = square
    window = np.s_[y : y + side, x : x + side]
    return (
        resize(image[window], (size, size)),
        resize_matte(np.ascontiguousarray(alpha[window]), (size, size)),
        resize_nearest(np.ascontiguousarray(trimap[window]), (size, size)),
    )


def _colours(patch: Array, alpha: Array) -> Item:
    foreground, background = separate(patch, alpha)
    return {
        "patch": _chw(patch),
        "alpha": torch.from_numpy(alpha)[None],
        "foreground": _chw(foreground),
        "background": _chw(background),
    }


def _chw(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
