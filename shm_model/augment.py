"""Augmentation: draw parameters from a generator of each sample and epoch, then apply them."""

import contextlib
import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.effects import add_noise, hue_saturation_matrix, recompress
from shm_data.pixels.trimap import UNKNOWN

Matrix = NDArray[np.float64]
Square = tuple[int, int, int]  # x, y, side
Generator = random.Random

# The paper rotates but does not say how far; portraits stand upright.
_MAX_ANGLE = 10.0

# Kernels of trimaps for pretraining M-Net, in px of the crop: wide enough to be wrong, as a T-Net's will be.
_MAX_KERNEL = 29

# What a degraded crop goes through: scaled down and up again by a factor, noise in levels, JPEG of a quality.
_FACTORS, _SIGMAS, _QUALITIES = (1.0, 2.0), (2.0, 8.0), (70, 95)


class Degradation(NamedTuple):
    """How a crop is degraded: scaled down `factor` times and up again, noise of `sigma` levels, JPEG of `quality`."""

    factor: float
    sigma: float
    seed: int
    quality: int


class Look(NamedTuple):
    """What happens to the colours and the sharpness of one sample; None changes nothing."""

    colours: Matrix | None
    degradation: Degradation | None


def generator_for(seed: int, epoch: int, index: int) -> Generator:
    """Return the generator of one sample in one epoch: the same whichever worker makes the sample."""
    return Generator(json.dumps([seed, epoch, index]))


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seed the generator that torch draws weights from; the host's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def draw_side(generator: Generator, sides: Sequence[int]) -> int:
    """Draw one of several sides, all equally likely."""
    return sides[int(generator.random() * len(sides))]


def draw_samples(seed: int, count: int, most: int | None) -> list[int]:
    """Draw at most `most` of `count` samples, all of them if None, in ascending order: the same at every call."""
    indices = list(range(count))
    if most is not None and most < count:
        generator_for(seed, -1, -1).shuffle(indices)
    return sorted(indices[:most])


def draw_crop(generator: Generator, size: tuple[int, int], least: float) -> Square:
    """Draw a square in a picture of `size` (width, height), its side from `least` to all of the short edge."""
    short = min(size)
    side = max(1, round(short * (least + (1 - least) * generator.random())))
    return _square_inside(generator, size, side)


def draw_patch(generator: Generator, trimap: Array, side: int) -> Square:
    """Draw a square around an unknown pixel of a trimap (H, W) uint8, moved inside; anywhere if none is unknown."""
    height, width = trimap.shape
    side = min(side, height, width)
    unknown = np.flatnonzero(trimap == UNKNOWN)
    if not unknown.size:
        return _square_inside(generator, (width, height), side)
    y, x = divmod(int(unknown[int(generator.random() * unknown.size)]), width)
    return _clamp(x - side // 2, width - side), _clamp(y - side // 2, height - side), side


def draw_rotation(generator: Generator) -> tuple[bool, float]:
    """Draw whether to flip, and by how many degrees to rotate."""
    return generator.random() < 0.5, (2 * generator.random() - 1) * _MAX_ANGLE


def draw_kernels(generator: Generator) -> tuple[int, int]:
    """Draw two odd kernel widths in px, for erosion and dilation, from 1 to 29."""
    erode, dilate = (2 * int(generator.random() * (_MAX_KERNEL // 2 + 1)) + 1 for _ in range(2))
    return erode, dilate


def draw_colours(generator: Generator, strength: float) -> Matrix:
    """Draw a linear map of RGB (3, 3) that rotates the hue by up to 180 degrees, scales saturation and brightness.

    Linear, so that a mixture of two colours stays the mixture of theirs, by the same alpha.
    """
    hue, saturation, brightness = (strength * (2 * generator.random() - 1) for _ in range(3))
    mixed: Matrix = (1 + brightness / 2) * hue_saturation_matrix(math.pi * hue, saturation)
    return mixed


def draw_degradation(generator: Generator) -> Degradation:
    """Draw how a crop is degraded, so that one band limit, one noise and one JPEG cover all its layers."""
    factor, sigma, seed, quality = (generator.random() for _ in range(4))
    low, high = _QUALITIES
    return Degradation(
        _between(factor, _FACTORS), _between(sigma, _SIGMAS), int(seed * 2**32), low + int(quality * (high - low + 1))
    )


def draw_look(generator: Generator, colour: float, *, degrade: bool) -> Look:
    """Draw the look of a sample: colours of strength `colour`, and whether it is degraded."""
    colours = draw_colours(generator, colour) if colour else None
    return Look(colours, draw_degradation(generator) if degrade else None)


def add_noise_and_jpeg(image: Array, degradation: Degradation) -> Array:
    """Return an image (H, W, 3) uint8 with the noise of a degradation, compressed and read again."""
    return recompress(add_noise(image, (degradation.sigma, degradation.seed)), (degradation.quality,))


def recolour(pixels: Array, colours: Matrix) -> Array:
    """Return pixels (H, W, 3) uint8 under a linear map of their colours."""
    return cv2.transform(pixels, colours).astype(np.uint8, copy=False)


def rotate(pixels: Array, flip: bool, angle: float, *, labels: bool = False, window: Square | None = None) -> Array:
    """Return pixels (H, W) or (H, W, 3) uint8, mirrored and rotated about the centre; the border is reflected.

    The same call moves image and alpha alike. With `labels` pixels are taken from the nearest one, so no new value
    appears. With a `window` only that square of the result is computed.
    """
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    size = width, height
    if window is not None:
        x, y, side = window
        matrix[:, 2] -= width - x - side if flip else x, y
        size = side, side
    method = cv2.INTER_NEAREST if labels else cv2.INTER_LINEAR
    rotated = cv2.warpAffine(pixels, matrix, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)
    return (cv2.flip(rotated, 1) if flip else rotated).astype(np.uint8, copy=False)


def _between(number: float, ends: tuple[float, float]) -> float:
    return ends[0] + number * (ends[1] - ends[0])


def _square_inside(generator: Generator, size: tuple[int, int], side: int) -> Square:
    x = int(generator.random() * (size[0] - side + 1))
    y = int(generator.random() * (size[1] - side + 1))
    return x, y, side


def _clamp(value: int, most: int) -> int:
    return min(max(value, 0), most)
