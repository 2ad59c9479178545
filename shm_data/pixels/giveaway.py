"""Measures what tells a pasted person from the background: patches, their cues, and a linear detector. Pure.

The detector sees patches that lie wholly inside the person or the background, never an edge or a shape. It is fitted
to some people and scored on others, so it finds only what all composites share. An AUC of 0.5 is chance.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array

Floats = NDArray[np.float64]

# The side of a patch in px: 4 x 4 blocks of JPEG.
_PATCH = 32

# No more patches of a side of one sample.
_PATCHES = 40

# Levels of alpha that count as background and person.
_NOBODY, _PERSON = 5, 250

_BANDS = 6
_RIDGE = 1e-2
_FOLDS = 10

# Fewer people tell nothing about others.
_LEAST_PEOPLE = 3

# Rec. 601, as JPEG.
_YCC = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])

# By name: the features of a cue.
CUES: Mapping[str, slice] = {
    "sharpness": slice(0, 6),
    "sharpness of the colours": slice(6, 18),
    "noise": slice(18, 21),
    "JPEG blocks": slice(21, 23),
    "brightness and colours": slice(23, 29),
}

# What `benchmarks.giveaway` scores: the shape of the spectrum alone.
SPECTRUM = slice(0, 18)


@dataclass(frozen=True, slots=True)
class Sides:
    """The features (N, 29) of the patches of a person, and (M, 29) of the background, of one sample."""

    person: Floats
    background: Floats


def sides_of(image: Array, alpha: Array) -> Sides | None:
    """Return the features of a sample, image (H, W, 3) and alpha (H, W) uint8; None where a side has no patch."""
    inside = [_patches(image, region) for region in (alpha >= _PERSON, alpha <= _NOBODY)]
    return Sides(*map(_features, inside)) if all(map(len, inside)) else None


def _patches(image: Array, region: NDArray[np.bool_]) -> Array:
    """Return patches (N, 32, 32, 3) that lie wholly inside a region, on a grid, spread evenly over it."""
    rows, columns = (length // _PATCH for length in region.shape)
    cut = region[: rows * _PATCH, : columns * _PATCH].reshape(rows, _PATCH, columns, _PATCH)
    corners = np.argwhere(cut.all(axis=(1, 3))) * _PATCH
    chosen = corners[:: max(1, len(corners) // _PATCHES)][:_PATCHES].tolist()
    found = [image[y : y + _PATCH, x : x + _PATCH] for y, x in chosen]
    return np.array(found, np.uint8).reshape(-1, _PATCH, _PATCH, 3)


def _features(patches: Array) -> Floats:
    """Return the features (N, 29) of patches (N, 32, 32, 3), in the order of CUES."""
    planes = np.moveaxis(patches.astype(np.float64) @ _YCC.T, -1, 1)
    means = planes.mean(axis=(2, 3))
    deviations = np.log(planes.std(axis=(2, 3)) + 0.1)
    return np.hstack([_spectrum(planes), _noise(planes), _blocks(planes[:, 0]), means, deviations])


def _spectrum(planes: Floats) -> Floats:
    """Return log energies in bands of frequency, by channel, relative to their mean: no strength of texture."""
    window = np.hanning(_PATCH)
    centred = (planes - planes.mean(axis=(2, 3), keepdims=True)) * window[:, None] * window
    energy = np.abs(np.fft.fft2(centred)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_PATCH), np.fft.fftfreq(_PATCH)))
    edges = 0.5 * 2.0 ** np.linspace(-3, 0.5, _BANDS + 1)
    bands = [(frequency >= low) & (frequency < high) for low, high in itertools.pairwise(edges)]
    energies: Floats = np.log(np.stack([energy[:, :, band].mean(axis=2) for band in bands], axis=2) + 1e-2)
    return np.reshape(energies - energies.mean(axis=2, keepdims=True), (len(planes), -1))


def _noise(planes: Floats) -> Floats:
    """Return the log of the noise by channel, from the median of a Laplacian's differences (Immerkaer, CVIU 1996)."""
    second = planes[:, :, 2:] - 2 * planes[:, :, 1:-1] + planes[:, :, :-2]
    fourth = second[..., 2:] - 2 * second[..., 1:-1] + second[..., :-2]
    return np.asarray(np.log(np.median(np.abs(fourth), axis=(2, 3)) / (6 * 0.6745) + 0.1))


def _blocks(luma: Floats) -> Floats:
    """Return the log of the steps between blocks of 8 px over those inside them, down and across."""
    found = []
    for axis in (1, 2):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=3 - axis)
        between = np.arange(_PATCH - 1) % 8 == 7
        found.append(np.log((steps[:, between].mean(axis=1) + 0.1) / (steps[:, ~between].mean(axis=1) + 0.1)))
    return np.stack(found, axis=1)


def auc(scores: Floats, others: Floats) -> float:
    """Return the share of pairs in which the first score is the higher one; ties count half."""
    together = np.sort(np.concatenate([scores, others]))
    low, high = (np.searchsorted(together, scores, side) for side in ("left", "right"))
    ranks = (low + high + 1) / 2
    return float((ranks.sum() - len(scores) * (len(scores) + 1) / 2) / (len(scores) * len(others)))


def aucs(people: Mapping[str, Sequence[Sides]], cue: slice = slice(None)) -> dict[str, list[float]] | None:
    """Return the AUC of each sample of each person, by a detector that was fitted to other people.

    None where there are fewer than three people.
    """
    if len(people) < _LEAST_PEOPLE:
        return None
    names, results = list(people), {}
    folds = min(_FOLDS, len(names))
    for fold in range(folds):
        held = set(names[fold::folds])
        weights = _fit([sides for name in names if name not in held for sides in [_joined(people[name], cue)]])
        for name in names[fold::folds]:
            results[name] = [auc(s.person[:, cue] @ weights, s.background[:, cue] @ weights) for s in people[name]]
    return {name: results[name] for name in names}


def mean_auc(people: Mapping[str, Sequence[Sides]], cue: slice = slice(None)) -> float | None:
    """Return the mean AUC over people, all of whose patches are scored together; None for fewer than three."""
    joined = {name: [Sides(*_joined(samples, slice(None)))] for name, samples in people.items()}
    found = aucs(joined, cue)
    return None if found is None else float(np.mean([each[0] for each in found.values()]))


def _joined(samples: Sequence[Sides], cue: slice) -> tuple[Floats, Floats]:
    person = np.concatenate([sides.person for sides in samples])[:, cue]
    return person, np.concatenate([sides.background for sides in samples])[:, cue]


def _fit(people: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return the weights of a linear detector: ridge regression on standardised features; people count alike."""
    rows = np.concatenate([side for person in people for side in person])
    labels = np.concatenate([np.repeat([1.0, -1.0], [*map(len, person)]) for person in people])
    counts = np.concatenate([np.full(len(side), 1 / len(side)) for person in people for side in person])
    mean = np.average(rows, axis=0, weights=counts)
    scale = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=counts)) + 1e-9
    standard = (rows - mean) / scale
    gram = (standard * counts[:, None]).T @ standard / len(people)
    target = (standard * (labels * counts)[:, None]).sum(axis=0) / len(people)
    return np.asarray(np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), target) / scale)
