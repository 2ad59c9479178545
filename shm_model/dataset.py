"""Samples for training, cropped and rotated at random, and their order in batches."""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from shm_data.building.render import Sample
from shm_data.errors import ShmDataError
from shm_data.parallel import tune_worker
from shm_data.pixels.arrays import Array
from shm_data.pixels.band_limit import limit_band, limit_band_of_layers
from shm_data.pixels.compositing import resize, resize_matte, resize_nearest
from shm_data.pixels.foreground_colours import separate_colours
from shm_data.pixels.trimap import CLASSES, IGNORED, TrimapRule, derive_trimap
from shm_model.augment import (
    Generator,
    Look,
    Square,
    add_noise_and_jpeg,
    draw_crop,
    draw_kernels,
    draw_look,
    draw_patch,
    draw_rotation,
    draw_side,
    generator_for,
    recolour,
    rotate,
)
from shm_model.batches import IGNORE_LABEL, Batch, EndToEndBatch, MNetBatch, TNetBatch
from shm_model.config import Config
from shm_model.faults import end_with_parent
from shm_model.order import Key, Order, order_of
from shm_model.roots import training_source

# Bytes of freed memory that a worker keeps for the next pictures: some photos of a camera.
FREED_MEMORY_KEPT = 2**28

# What workers need, PNG files among it: loaded by each of them it would take seconds and 200 MB.
_PRELOADED = ("shm_model.dataset", "shm_data.images.png", "shm_data.pixels.kernels")

_LABELS = np.zeros(256, np.uint8)
_LABELS[[*CLASSES, IGNORED]] = 0, 1, 2, IGNORE_LABEL


def labels_of(trimap: Array) -> Tensor:
    """Return the classes (H, W) uint8 in {0, 1, 2} of a trimap (H, W) uint8 in {0, 128, 255}; IGNORE_LABEL for 64."""
    return torch.from_numpy(cv2.LUT(trimap, _LABELS))


class TrainingSet(Dataset[Batch | ShmDataError]):
    """Augmented samples by their keys in an `Order`, of the type that the stage trains on; see `batches`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.source = training_source(config)

    def __len__(self) -> int:
        return len(self.source.names)

    def order(self) -> Order:
        """Return the order in which training sees the samples. Raises ShmDataError where they do not fit it."""
        return order_of(self.config, self.source)

    def __getitem__(self, key: Key) -> Batch | ShmDataError:
        visit, index = key[:2]
        generator = generator_for(self.config.seed, visit, index)
        try:
            scene = self.source.scene(index, visit, *key[2:])
        except ShmDataError as error:
            return error  # raised where the batch is used: a worker would bury it in a traceback
        make: dict[str, Callable[..., Batch]] = {
            "pretrain_tnet": self._for_tnet,
            "pretrain_mnet": self._for_mnet,
            "end_to_end": self._for_both,
        }
        look = draw_look(generator, self.config.colour, degrade=self.config.degrade)
        return make[self.config.mode](self.source.names[index], generator, scene, look)

    def _for_tnet(self, name: str, generator: Generator, scene: Sample, look: Look) -> TNetBatch:
        bare = replace(scene, foreground=None, background=None)
        scene = _rotate(self._crop(generator, bare, look, self.config.tnet_size), *draw_rotation(generator))
        return TNetBatch(name, _to_planes(_stored(scene.image, look)), labels_of(scene.trimap))

    def _for_mnet(self, name: str, generator: Generator, scene: Sample, look: Look) -> MNetBatch:
        # Squares of the photo scaled to `long_edge`, as M-Net sees it in predictions, but scaled after they are cut.
        scale = max(1.0, max(scene.trimap.shape) / self.config.long_edge)
        square = draw_patch(generator, scene.trimap, round(scale * draw_side(generator, self.config.patches)))
        scene = _with_look(_cut(scene, square, self.config.mnet_size), look)
        scene = _rotate(scene, *draw_rotation(generator))
        labels = labels_of(derive_trimap(scene.alpha, TrimapRule("euclid", *draw_kernels(generator))))
        return MNetBatch(name, labels, *_patch(scene, _stored(scene.image, look)))

    def _for_both(self, name: str, generator: Generator, scene: Sample, look: Look) -> EndToEndBatch:
        cut = self._crop(generator, scene, look, self.config.end_size)
        rotation = draw_rotation(generator)
        whole = _rotate(replace(cut, foreground=None, background=None), *rotation)
        square = draw_patch(generator, whole.trimap, draw_side(generator, self.config.patches))
        patch = _cut(whole, square, self.config.mnet_size)
        # Only this square of the colours is needed, so only this square is rotated.
        known = [
            None if pixels is None else resize(rotate(pixels, *rotation, window=square), patch.alpha.shape)
            for pixels in (cut.foreground, cut.background)
        ]
        x, y, side = square
        box = torch.tensor((x, y, side, side))
        image = _stored(whole.image, look)
        seen = patch.image if image is whole.image else resize(image[y : y + side, x : x + side], patch.alpha.shape)
        colours_of_patch = _patch(replace(patch, foreground=known[0], background=known[1]), seen)
        return EndToEndBatch(name, _to_planes(image), labels_of(whole.trimap), box, *colours_of_patch)

    def _crop(self, generator: Generator, scene: Sample, look: Look, size: int) -> Sample:
        square = draw_crop(generator, (scene.image.shape[1], scene.image.shape[0]), self.config.least_crop)
        return _with_look(_cut(scene, square, size), look)


class EpochBatches(Sampler[list[Key]]):
    """The batches of a run as keys, in the order drawn for each epoch.

    Each of `world_size` processes takes its share; samples that do not fill a batch in all of them are skipped in
    that epoch. The run starts after `step` batches of epoch `epoch`; batches `first` to before `last` remain.
    """

    def __init__(
        self, order: Order, config: Config, rank: int = 0, world_size: int = 1, *, epoch: int = 0, step: int = 0
    ) -> None:
        self.units = max(1, min(config.batch_size // order.unit, order.count // world_size))
        self.size = self.units * order.unit
        self.per_epoch = max(1, order.count // (self.units * world_size))
        self.order, self.rank, self.world_size = order, rank, world_size
        self.first = epoch * self.per_epoch + step
        self.last = config.max_epoch * self.per_epoch
        if config.max_steps is not None:
            epochs, steps = divmod(config.max_steps, math.ceil(self.per_epoch / config.accumulate))
            self.last = min(self.last, epochs * self.per_epoch + steps * config.accumulate)

    def __len__(self) -> int:
        return max(0, self.last - self.first)

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in range(self.first // self.per_epoch, math.ceil(self.last / self.per_epoch)):
            mine = self.order.units(epoch)[self.rank :: self.world_size]
            before = epoch * self.per_epoch
            for batch in range(max(self.first - before, 0), min(self.last - before, self.per_epoch)):
                yield [key for unit in mine[batch * self.units : (batch + 1) * self.units] for key in unit]


def data_loader(dataset: TrainingSet, sampler: EpochBatches) -> DataLoader[Batch | ShmDataError]:
    """Return a loader of a sampler's batches; what they hold does not depend on the number of workers."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_collate,
        **loader_options(dataset.config, dataset.config.num_workers),
    )


def loader_options(config: Config, workers: int) -> dict[str, Any]:
    """Return the options of a loader whose `workers` end with this process, however it ends."""
    return {
        "num_workers": workers,
        "worker_init_fn": _prepare_worker,
        "pin_memory": config.cuda and torch.cuda.is_available(),
        "multiprocessing_context": worker_context() if workers else None,
        # Otherwise every loader draws a number from torch's global generator, which is the host's.
        "generator": torch.Generator(),
    }


def worker_context() -> BaseContext:
    """Return how workers are started: never forked, since a fork must not enter a thread pool its parent has used.

    A fork server loads torch and the compiled loops once, and shares them with all workers.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *_PRELOADED])
    return context


def _prepare_worker(worker: int) -> None:
    del worker
    end_with_parent()
    tune_worker(FREED_MEMORY_KEPT)


def _collate(items: Sequence[Batch | ShmDataError]) -> Batch | ShmDataError:
    for item in items:
        if isinstance(item, ShmDataError):
            return item
    batch: Batch = default_collate(list(items))
    return batch


def _cut(scene: Sample, square: Square, size: int) -> Sample:
    """Return the square of a scene, resized to `size`."""
    x, y, side = square
    window = np.s_[y : y + side, x : x + side]

    def cut(pixels: Array) -> Array:
        return resize(np.ascontiguousarray(pixels[window]), (size, size))

    alpha = resize_matte(np.ascontiguousarray(scene.alpha[window]), (size, size))
    trimap = resize_nearest(np.ascontiguousarray(scene.trimap[window]), (size, size))
    return _map_colours(replace(scene, alpha=alpha, trimap=trimap), cut)


def _rotate(scene: Sample, flip: bool, angle: float) -> Sample:
    alpha, trimap = rotate(scene.alpha, flip, angle), rotate(scene.trimap, flip, angle, labels=True)
    return _map_colours(replace(scene, alpha=alpha, trimap=trimap), lambda pixels: rotate(pixels, flip, angle))


def _with_look(scene: Sample, look: Look) -> Sample:
    """Return the scene with its colours changed and at the band limit of its look, before noise and JPEG."""
    colours, degradation = look
    if colours is not None:
        scene = _map_colours(scene, lambda pixels: recolour(pixels, colours))
    if degradation is None:
        return scene
    factor = degradation.factor
    if scene.foreground is not None and scene.background is not None:
        layers = limit_band_of_layers(scene.foreground, scene.alpha, scene.background, factor)
        scene = replace(scene, foreground=layers[0], background=layers[1])
    return replace(scene, image=limit_band(scene.image, factor), alpha=limit_band(scene.alpha, factor))


def _stored(image: Array, look: Look) -> Array:
    """Return an image as its camera stores it: with noise and JPEG, which no network should predict."""
    return image if look.degradation is None else add_noise_and_jpeg(image, look.degradation)


def _map_colours(scene: Sample, change: Callable[[Array], Array]) -> Sample:
    """Return the scene with its image changed and, where they are known, the colours that it mixes."""
    foreground = None if scene.foreground is None else change(scene.foreground)
    background = None if scene.background is None else change(scene.background)
    return replace(scene, image=change(scene.image), foreground=foreground, background=background)


def _patch(scene: Sample, image: Array) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the stored image as a patch, alpha, known, foreground and background; other colours are estimated."""
    if scene.foreground is None or scene.background is None:
        foreground, background = separate_colours(scene.image, scene.alpha)
    else:
        foreground, background = scene.foreground, scene.background
    alpha = torch.from_numpy(scene.alpha)[None]
    known = torch.from_numpy(np.where(scene.trimap == IGNORED, np.uint8(0), np.uint8(255)))[None]
    return _to_planes(image), alpha, known, _to_planes(foreground), _to_planes(background)


def _to_planes(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
