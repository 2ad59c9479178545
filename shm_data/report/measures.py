"""The statistics of a data set that need pixels, from some of its samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from shm_data.dataset.layout import Layout
from shm_data.errors import ShmDataError
from shm_data.images import read_alpha, read_gray
from shm_data.parallel import Progress, spread
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


def measure(layout: Layout, names: Sequence[str], jobs: int, progress: Progress) -> Measures:
    """Measure the alphas and trimaps of samples; those that cannot be read are skipped."""
    results = spread(partial(_measure, layout), names, jobs, ordered=True)
    found = [result for result in progress(results, len(names), "measuring") if result is not None]
    levels = np.array([each.levels for each in found]).reshape(-1, 256)
    return Measures(
        len(names),
        levels.mean(axis=0) if found else np.zeros(256),
        levels @ np.linspace(0, 1, 256),
        np.array([each.unknown for each in found]),
        tuple(each.size for each in found),
    )


def _measure(layout: Layout, name: str) -> _Measure | None:
    _, mask, trimap = layout.sample(name)
    try:
        alpha, labels = read_alpha(mask), read_gray(trimap)
    except ShmDataError:  # the check reports it
        return None
    levels = np.bincount(alpha.reshape(-1), minlength=256) / alpha.size
    unknown = np.mean((labels != BACKGROUND) & (labels != FOREGROUND))
    return _Measure(levels, float(unknown), (alpha.shape[1], alpha.shape[0]))
