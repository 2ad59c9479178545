"""The numbers of a data set that need pixels, from a sample of it."""

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
    """Of how many of the `asked` samples what was measured.

    `levels` (256,) is the share of the pixels with each level of alpha, every sample counting the same; `areas` and
    `unknowns` are, one a sample, the mean of alpha and the share of the trimap that is unknown, all from 0 to 1.
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
    """Measures the alphas and trimaps of the samples; those that cannot be read are passed over."""
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
    except ShmDataError:  # the check tells of it
        return None
    levels = np.bincount(alpha.reshape(-1), minlength=256) / alpha.size
    unknown = np.mean((labels != BACKGROUND) & (labels != FOREGROUND))
    return _Measure(levels, float(unknown), (alpha.shape[1], alpha.shape[0]))
