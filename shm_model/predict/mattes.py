"""From pixels to mattes, whatever runs the network: sizes, the trimap, several images at once. Needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_nearest
from shm_data.pixels.trimap import CLASSES
from shm_model.predict.enlarge import enlarged

Floats = NDArray[np.float32]

_VALUES = np.array(CLASSES, np.uint8)


@dataclass(frozen=True, slots=True)
class Prediction:
    """alpha (H, W) float32 in [0, 1]; trimap (H, W) uint8 in {0, 128, 255}: T-Net's, or the one that was given."""

    alpha: Floats
    trimap: Array


class AnyPredictor(ABC):
    """Predicts mattes of images whose longer edge a network sees with at most `longest` px."""

    __slots__ = ()
    longest: int

    @property
    @abstractmethod
    def needs_trimap(self) -> bool:
        """Whether each image comes with a trimap, as M-Net alone needs it."""

    @abstractmethod
    def run(self, images: Floats, probabilities: Floats | None) -> tuple[Floats, Floats]:
        """alpha (N, 1, h, w) in [0, 1] and the probabilities of the trimap's classes (N, 3, h, w).

        `images` (N, 3, h, w) are RGB in [0, 1]; `probabilities` (N, 3, h, w) those of the trimaps, if it needs them.
        """

    def __call__(self, image: Array, trimap: Array | None = None) -> Prediction:
        """Predicts the matte of an image (H, W, 3) uint8, whose trimap (H, W) in {0, 128, 255} M-Net alone needs.

        Pictures with a longer edge than `longest` are scaled down, and the matte is scaled back along their edges.
        Raises ShmDataError where M-Net is given no trimap, or one of another size.
        """
        self.check(image, trimap)
        return self.of_many([image], [trimap])[0]

    def check(self, image: Array, trimap: Array | None) -> None:
        """Raises ShmDataError where an image (H, W, 3) lacks its trimap (H, W), or that is of another size."""
        if not self.needs_trimap:
            return
        if trimap is None:
            raise ShmDataError("this checkpoint is an M-Net", found="no trimap", expected="--trimap")
        if trimap.shape != image.shape[:2]:
            sizes = f"a {trimap.shape[1]}x{trimap.shape[0]} trimap of a {image.shape[1]}x{image.shape[0]} image"
            raise ShmDataError("a trimap", found=sizes, expected="the same size")

    def of_many(self, images: Sequence[Array], trimaps: Sequence[Array | None]) -> list[Prediction]:
        """Predicts several images of one size at once, each as it would be alone. They are checked already."""
        height, width = images[0].shape[:2]
        size = fit((width, height), self.longest)
        small = [resize(image, size) for image in images]
        known = [resize_nearest(trimap, size) for trimap in trimaps if self.needs_trimap and trimap is not None]
        alphas, probabilities = self.run(_planes(small), np.stack([*map(_one_hot, known)]) if known else None)
        predictions = []
        for number, image in enumerate(images):
            alpha, given = enlarged(alphas[number, 0], small[number], image), trimaps[number]
            if not self.needs_trimap or given is None:
                classes = probabilities[number].argmax(0)
                given = resize_nearest(_VALUES[classes], (width, height))
            predictions.append(Prediction(alpha, given))
        return predictions


def _planes(images: Sequence[Array]) -> Floats:
    """Images (h, w, 3) uint8 as (N, 3, h, w) in [0, 1]."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def _one_hot(trimap: Array) -> Floats:
    """A trimap (h, w) as the probabilities (3, h, w) of background, unknown, foreground."""
    return np.stack([trimap == value for value in CLASSES]).astype(np.float32)
