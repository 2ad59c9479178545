"""Augmentation: what to do is drawn first, from a generator of its own for each sample and epoch; then it is done."""

import json
import math
import random
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.effects import hue_saturation_matrix
from shm_data.pixels.trimap import UNKNOWN

Matrix = NDArray[np.float64]
Square = tuple[int, int, int]  # x, y, side

# The paper rotates but does not say how far; portraits stand upright.
_STEEPEST = 10.0

# Kernels of trimaps for pretraining M-Net, in px of the crop: wide enough to be wrong, as a T-Net's will be.
_WIDEST = 29


def draws(seed: int, epoch: int, index: int) -> random.Random:
    """The generator of one sample in one epoch: the same whichever worker makes the sample."""
    return random.Random(json.dumps([seed, epoch, index]))


def pick(generator: random.Random, sides: Sequence[int]) -> int:
    """One of several sides, each as likely."""
    return sides[int(generator.random() * len(sides))]


def draw_crop(generator: random.Random, size: tuple[int, int], least: float) -> Square:
    """A square of a picture of `size` (width, height): side from `least` to all of the short edge, anywhere."""
    short = min(size)
    side = max(1, round(short * (least + (1 - least) * generator.random())))
    return _within(generator, size, side)


def draw_patch(generator: random.Random, trimap: Array, side: int) -> Square:
    """A square around an unknown pixel of a trimap (H, W) uint8, moved inside; anywhere if none is unknown."""
    height, width = trimap.shape
    side = min(side, height, width)
    unknown = np.flatnonzero(trimap == UNKNOWN)
    if not unknown.size:
        return _within(generator, (width, height), side)
    y, x = divmod(int(unknown[int(generator.random() * unknown.size)]), width)
    return _clamped(x - side // 2, width - side), _clamped(y - side // 2, height - side), side


def draw_turn(generator: random.Random) -> tuple[bool, float]:
    """Whether to flip, and by how many degrees to rotate."""
    return generator.random() < 0.5, (2 * generator.random() - 1) * _STEEPEST


def draw_widths(generator: random.Random) -> tuple[int, int]:
    """Two odd kernel widths, for erosion and dilation, from 1 to 29 px."""
    erode, dilate = (2 * int(generator.random() * (_WIDEST // 2 + 1)) + 1 for _ in range(2))
    return erode, dilate


def draw_colours(generator: random.Random, strength: float) -> Matrix:
    """A linear map of RGB (3, 3) that turns the hue, by up to 180 degrees, and scales saturation and brightness.

    Linear, so that a mixture of two colours stays the mixture of theirs, by the same alpha.
    """
    hue, saturation, brightness = (strength * (2 * generator.random() - 1) for _ in range(3))
    mixed: Matrix = (1 + brightness / 2) * hue_saturation_matrix(math.pi * hue, saturation)
    return mixed


def recolour(pixels: Array, colours: Matrix) -> Array:
    """Pixels (H, W, 3) uint8 under a linear map of their colours."""
    return cv2.transform(pixels, colours).astype(np.uint8, copy=False)


def turn(pixels: Array, flip: bool, angle: float, *, labels: bool = False, window: Square | None = None) -> Array:
    """Pixels (H, W) or (H, W, 3) uint8, mirrored and rotated about the middle; the border is reflected.

    The same call on image and alpha moves both alike; `labels` invents no value between. Of the result only a
    `window` is made if one is given.
    """
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    size = width, height
    if window is not None:
        x, y, side = window
        matrix[:, 2] -= width - x - side if flip else x, y
        size = side, side
    method = cv2.INTER_NEAREST if labels else cv2.INTER_LINEAR
    turned = cv2.warpAffine(pixels, matrix, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)
    return (cv2.flip(turned, 1) if flip else turned).astype(np.uint8, copy=False)


def _within(generator: random.Random, size: tuple[int, int], side: int) -> Square:
    x = int(generator.random() * (size[0] - side + 1))
    y = int(generator.random() * (size[1] - side + 1))
    return x, y, side


def _clamped(value: int, most: int) -> int:
    return min(max(value, 0), most)
