"""Predict mattes of arrays, with any runtime: resizing, trimaps, batches. Needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_nearest
from shm_data.pixels.trimap import CLASSES
from shm_model.predict.upsample import upsample_matte

Floats = NDArray[np.float32]

_CLASS_VALUES = np.array(CLASSES, np.uint8)


@dataclass(frozen=True, slots=True)
class Prediction:
    """alpha (H, W) float32 in [0, 1]; trimap (H, W) uint8 in {0, 128, 255}: T-Net's, or the given one."""

    alpha: Floats
    trimap: Array


class BasePredictor(ABC):
    """Predicts mattes; the network sees an image at a long edge of at most `longest` px."""

    __slots__ = ()
    longest: int

    @property
    @abstractmethod
    def needs_trimap(self) -> bool:
        """Return whether each image needs a trimap: true of an M-Net without a T-Net."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, object]:
        """Return what the mattes depend on: `network`, the SHA-256 of its file or "", and options."""

    @abstractmethod
    def run(self, images: Floats, probabilities: Floats | None) -> tuple[Floats, Floats]:
        """Return alpha (N, 1, h, w) in [0, 1] and the probabilities of the trimap's classes (N, 3, h, w).

        `images` (N, 3, h, w) are RGB in [0, 1]; `probabilities` (N, 3, h, w) are those of the trimaps, if needed.
        """

    def __call__(self, image: Array, trimap: Array | None = None) -> Prediction:
        """Predict the matte of an image (H, W, 3) uint8; M-Net alone needs its trimap (H, W) in {0, 128, 255}.

        An image with a longer edge than `longest` is scaled down, and the matte is scaled back along its edges.
        Raises ShmDataError where M-Net gets no trimap, or one of another size.
        """
        self.check(image, trimap)
        return self.predict_batch([image], [trimap])[0]

    def check(self, image: Array, trimap: Array | None) -> None:
        """Raise ShmDataError where an image (H, W, 3) lacks its trimap (H, W), or has one of another size."""
        if not self.needs_trimap:
            return
        if trimap is None:
            raise ShmDataError(
                "this checkpoint is an M-Net", found="no trimap", expected="one for this picture by --trimap"
            )
        if trimap.shape != image.shape[:2]:
            sizes = f"a {trimap.shape[1]}x{trimap.shape[0]} trimap of a {image.shape[1]}x{image.shape[0]} image"
            raise ShmDataError("a trimap", found=sizes, expected="the same size")

    def predict_batch(self, images: Sequence[Array], trimaps: Sequence[Array | None]) -> list[Prediction]:
        """Predict images of one size together, each as it would be alone. They have passed `check`."""
        height, width = images[0].shape[:2]
        size = fit((width, height), self.longest)
        small = [resize(image, size) for image in images]
        known = [resize_nearest(trimap, size) for trimap in trimaps if self.needs_trimap and trimap is not None]
        alphas, probabilities = self.run(_to_planes(small), np.stack([*map(_one_hot, known)]) if known else None)
        predictions = []
        for index, image in enumerate(images):
            alpha, trimap = upsample_matte(alphas[index, 0], small[index], image), trimaps[index]
            if not self.needs_trimap or trimap is None:
                classes = probabilities[index].argmax(0)
                trimap = resize_nearest(_CLASS_VALUES[classes], (width, height))
            predictions.append(Prediction(alpha, trimap))
        return predictions


def _to_planes(images: Sequence[Array]) -> Floats:
    """Return images (h, w, 3) uint8 as (N, 3, h, w) in [0, 1]."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _one_hot(trimap: Array) -> Floats:
    """Return a trimap (h, w) as the probabilities (3, h, w) of background, unknown, foreground."""
    return np.stack([trimap == value for value in CLASSES]).astype(np.float32)
