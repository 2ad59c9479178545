"""The statistics of a data set that need pixels, from some of its samples."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measures:
    """The statistics of those of the `asked` samples that could be read.

    `levels` (256,) is the share of the pixels with each level of alpha, with the same weight for every sample;
    `areas` and `unknowns` have for each sample the mean of alpha and the share of the unknown region, from 0 to 1.
    """

    asked: int
    levels: Floats
    areas: Floats
    unknowns: Floats
    sizes: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class _Measure:
    levels: Floats
    unknown: float
    size: Size


class Statistics:
    """Measures some samples while a check has their files in memory."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._found: dict[str, _Measure | None] = dict.fromkeys(names)
        self._last = threading.local()

    def visit(self, name: str, alpha: Array | None, trimap: Array | None) -> None:
        """Measure a sample if it is one of those."""
        if name in self._found and alpha is not None and trimap is not None:
            levels, labels = self._shares("alpha", alpha), self._shares("trimap", trimap)
            unknown = max(0.0, 1 - labels[BACKGROUND] - labels[FOREGROUND])
            self._found[name] = _Measure(levels, unknown, (alpha.shape[1], alpha.shape[0]))

    def _shares(self, kind: str, pixels: Array) -> Floats:
        """Return the share of each level. Samples of a foreground follow each other and often share their pixels."""
        known, shares = getattr(self._last, kind, (None, np.zeros(256)))
        if known is not pixels:
            shares = _shares(pixels)
            setattr(self._last, kind, (pixels, shares))
        return shares

    def measures(self) -> Measures:
        """Return what was measured, in the order of the names."""
        found = [each for name in self._names if (each := self._found[name]) is not None]
        levels = np.array([each.levels for each in found]).reshape(-1, 256)
        return Measures(
            len(self._names),
            levels.mean(axis=0) if found else np.zeros(256),
            levels @ np.linspace(0, 1, 256),
            np.array([each.unknown for each in found]),
            tuple(each.size for each in found),
        )


def _shares(pixels: Array) -> Floats:
    """Return the share of each level, by OpenCV: NumPy would convert all pixels to 64 bits first."""
    counts = cv2.calcHist([pixels], [0], None, [256], [0, 256])
    return counts.reshape(256).astype(np.float64) / pixels.size
