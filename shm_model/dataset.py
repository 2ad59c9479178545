"""Samples for training, cut and turned at random, and the batches that they come in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from shm_data.building.render import Scene
from shm_data.errors import ShmDataError
from shm_data.parallel import make_ready
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize, resize_matte, resize_nearest
from shm_data.pixels.foreground_colours import separate_colours
from shm_data.pixels.trimap import CLASSES, TrimapRule, derive_trimap
from shm_model.augment import (
    Matrix,
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
from shm_model.samples import Source, source_of

Key = tuple[int, int]  # epoch, index
Item = dict[str, Any]

# Bytes of freed memory that a worker keeps: some pictures of a camera.
KEPT = 2**28

_LABELS = np.zeros(256, np.uint8)
_LABELS[list(CLASSES)] = 0, 1, 2


def labels_of(trimap: Array) -> Tensor:
    """The classes (H, W) uint8 in {0, 1, 2} of a trimap (H, W) uint8 in {0, 128, 255}."""
    return torch.from_numpy(cv2.LUT(trimap, _LABELS))


class TrainingSet(Dataset[Item | ShmDataError]):
    """Augmented samples as uint8 tensors, by (epoch, index); what they hold depends on the stage.

    image (3, S, S); labels (S, S) in {0, 1, 2}: the trimap's classes. For M-Net also, at `mnet_size` P: patch
    (3, P, P), alpha (1, P, P), foreground and background (3, P, P): the colours that the patch mixes, estimated if
    not known. End to end, box (4) tells which square of the image the patch is: x, y, width, height.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        fresh, augment = config.resample_backgrounds, config.augment
        place = config.data, config.data_root, "train", config.cache
        self.source: Source = source_of(*place, fresh=fresh, augment=augment)

    def __len__(self) -> int:
        return len(self.source.names)

    def __getitem__(self, key: Key) -> Item | ShmDataError:
        epoch, index = key
        generator = draws(self.config.seed, epoch, index)
        try:
            scene = self.source.scene(index, epoch)
        except ShmDataError as error:
            return error  # raised where the batch is used: a worker would bury it in a traceback
        make = {"pretrain_tnet": self._for_tnet, "pretrain_mnet": self._for_mnet, "end_to_end": self._for_both}
        colours = draw_colours(generator, self.config.colour) if self.config.colour else None
        return {"name": self.source.names[index]} | make[self.config.mode](generator, scene, colours)

    def _for_tnet(self, generator: Any, scene: Scene, colours: Matrix | None) -> Item:
        bare = replace(scene, foreground=None, background=None)
        scene = _turned(self._crop(generator, bare, colours, self.config.tnet_size), *draw_turn(generator))
        return {"image": _chw(scene.image), "labels": labels_of(scene.trimap)}

    def _for_mnet(self, generator: Any, scene: Scene, colours: Matrix | None) -> Item:
        square = draw_patch(generator, scene.trimap, pick(generator, self.config.patches))
        scene = _recoloured(_cut(scene, square, self.config.mnet_size), colours)
        scene = _turned(scene, *draw_turn(generator))
        erode, dilate = draw_widths(generator)
        labels = labels_of(derive_trimap(scene.alpha, TrimapRule("euclid", erode, dilate)))
        return {"labels": labels} | _patch(scene)

    def _for_both(self, generator: Any, scene: Scene, colours: Matrix | None) -> Item:
        cut = self._crop(generator, scene, colours, self.config.end_size)
        turned = draw_turn(generator)
        whole = _turned(replace(cut, foreground=None, background=None), *turned)
        square = draw_patch(generator, whole.trimap, pick(generator, self.config.patches))
        patch = _cut(whole, square, self.config.mnet_size)
        # Of the colours nothing else is needed, so nothing else is turned.
        known = [
            None if pixels is None else resize(turn(pixels, *turned, window=square), patch.alpha.shape)
            for pixels in (cut.foreground, cut.background)
        ]
        x, y, side = square
        item = {
            "image": _chw(whole.image),
            "labels": labels_of(whole.trimap),
            "box": torch.tensor((x, y, side, side)),
        }
        return item | _patch(replace(patch, foreground=known[0], background=known[1]))

    def _crop(self, generator: Any, scene: Scene, colours: Matrix | None, size: int) -> Scene:
        square = draw_crop(generator, (scene.image.shape[1], scene.image.shape[0]), self.config.least_crop)
        return _recoloured(_cut(scene, square, size), colours)


class Batches(Sampler[list[Key]]):
    """The batches of several epochs as keys, each epoch in an order drawn from (seed, epoch).

    Of `world` processes each takes its share; what does not fill a batch in all of them is left out of an epoch.
    The first epoch begins after `done` batches.
    """

    def __init__(
        self, length: int, config: Config, epochs: range, rank: int = 0, world: int = 1, *, done: int = 0
    ) -> None:
        self.done = done
        self.size = max(1, min(config.batch_size, length // world))
        self.per_epoch = max(1, length // (self.size * world))
        self.length, self.seed, self.epochs, self.rank, self.world = length, config.seed, epochs, rank, world

    def __len__(self) -> int:
        return max(0, self.per_epoch * len(self.epochs) - self.done)

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in self.epochs:
            order = list(range(self.length))
            draws(self.seed, epoch, -1).shuffle(order)
            mine = [(epoch, index) for index in order[self.rank :: self.world]]
            first = self.done if epoch == self.epochs[0] else 0
            yield from (mine[place * self.size : (place + 1) * self.size] for place in range(first, self.per_epoch))


def loader(dataset: TrainingSet, sampler: Batches) -> DataLoader[Item | ShmDataError]:
    """Loads the batches of a sampler; what they hold does not depend on the number of workers."""
    workers = dataset.config.num_workers
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=_begin,
        pin_memory=dataset.config.cuda and torch.cuda.is_available(),
        # A forked child must not enter a thread pool that its parent has used, and PyTorch has one.
        multiprocessing_context="forkserver" if workers else None,
    )


def _begin(worker: int) -> None:
    del worker
    make_ready(KEPT)


def _collated(items: Sequence[Item | ShmDataError]) -> Item | ShmDataError:
    for item in items:
        if isinstance(item, ShmDataError):
            return item
    batch: Item = default_collate(list(items))
    return batch


def _cut(scene: Scene, square: Square, size: int) -> Scene:
    """The square of a scene, resized to `size`."""
    x, y, side = square
    window = np.s_[y : y + side, x : x + side]

    def cut(pixels: Array) -> Array:
        return resize(np.ascontiguousarray(pixels[window]), (size, size))

    alpha = resize_matte(np.ascontiguousarray(scene.alpha[window]), (size, size))
    trimap = resize_nearest(np.ascontiguousarray(scene.trimap[window]), (size, size))
    return _with_colours(replace(scene, alpha=alpha, trimap=trimap), cut)


def _turned(scene: Scene, flip: bool, angle: float) -> Scene:
    alpha, trimap = turn(scene.alpha, flip, angle), turn(scene.trimap, flip, angle, labels=True)
    return _with_colours(replace(scene, alpha=alpha, trimap=trimap), lambda pixels: turn(pixels, flip, angle))


def _recoloured(scene: Scene, colours: Matrix | None) -> Scene:
    return scene if colours is None else _with_colours(scene, lambda pixels: recolour(pixels, colours))


def _with_colours(scene: Scene, change: Callable[[Array], Array]) -> Scene:
    """The scene with its image changed and, where they are known, the colours that it mixes."""
    foreground = None if scene.foreground is None else change(scene.foreground)
    background = None if scene.background is None else change(scene.background)
    return replace(scene, image=change(scene.image), foreground=foreground, background=background)


def _patch(scene: Scene) -> Item:
    """What M-Net's loss needs: the colours that the patch mixes are estimated where they are not known."""
    if scene.foreground is None or scene.background is None:
        foreground, background = separate_colours(scene.image, scene.alpha)
    else:
        foreground, background = scene.foreground, scene.background
    return {
        "patch": _chw(scene.image),
        "alpha": torch.from_numpy(scene.alpha)[None],
        "foreground": _chw(foreground),
        "background": _chw(background),
    }


def _chw(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
