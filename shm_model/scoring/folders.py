"""Score folders: pair predictions with truths by name, and score the pairs on all cores."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.images import find, read_matte, read_trimap
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import UNKNOWN
from shm_data.sources.pairing import ALPHA_WORDS, TRIMAP_WORDS, pair
from shm_model.metrics import ErrorMaps, Scores, dtssd, error_maps, region_scores
from shm_model.scoring.protocols import OF_TRIMAP, Region, derive_default, edge_of

_WORDS = (*ALPHA_WORDS, "pha", "gt", "pred", "prediction")

_WORD = re.compile(rf"^({'|'.join(_WORDS)})[-_. ]+|[-_. ]+({'|'.join(_WORDS)})$", re.IGNORECASE)

Unit = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How folders are scored.

    `regions` are scored; those of a trimap need `trimaps`, a folder with one for each truth by name, or `derive`,
    which returns the trimap (H, W) of a truth (H, W) uint8. With `frames` the files of each folder are consecutive
    frames of a video, and dtSSD is scored. `resize` resizes predictions of other sizes to the truth; without it they
    are an error. `word` is an additional pre- or postfix of the names.
    """

    regions: tuple[Region, ...] = ("whole",)
    trimaps: Path | None = None
    derive: Callable[[Array], Array] | None = None
    frames: bool = False
    resize: bool = False
    word: str = ""


@dataclass(frozen=True, slots=True)
class ScorePair:
    """The files of one image, its name, and the files of the frame before it, in a video."""

    name: str
    prediction: Path
    truth: Path
    trimap: Path | None = None
    before: "ScorePair | None" = None


@dataclass(frozen=True, slots=True)
class ImageScores:
    """The scores of one image over each region; `dtssd` is nan without a frame before it."""

    pair: ScorePair
    regions: Mapping[Region, Scores]
    dtssd: float = math.nan
    resized: bool = field(default=False)


def score_folders(
    predictions: Path, truths: Path, options: ScoreOptions | None = None, progress: Progress = quiet
) -> list[ImageScores]:
    """Score each truth of a folder, or a single one, with the prediction of its name, in the order of names.

    Raises ShmDataError for truths without a prediction, or without a trimap where one is needed, for sizes that
    differ, and for broken files.
    """
    options = options or ScoreOptions()
    pairs = pair_folders(predictions, truths, options)
    rows = spread(partial(score_pair, options=options), pairs, ordered=True)
    return list(progress(rows, len(pairs), "scoring"))


def pair_folders(predictions: Path, truths: Path, options: ScoreOptions) -> list[ScorePair]:
    """Pair the truths of a folder, or a single one, with predictions and trimaps by name. Raises ShmDataError."""
    if os.path.isfile(truths) and os.path.isfile(predictions):
        return [ScorePair(truths.stem, predictions, truths, options.trimaps)]
    names = find(truths)
    if not names:
        raise ShmDataError(path=truths, found="no pictures", expected="mattes to score against")
    matched = _pair_names(names, find(predictions), _WORDS, options.word)
    _check_complete("prediction", predictions, names, matched)
    trimaps = {}
    if options.trimaps:
        trimaps = _pair_names(names, find(options.trimaps), TRIMAP_WORDS, options.word)
        _check_complete("trimap", options.trimaps, names, trimaps)
    pairs = {
        name: ScorePair(
            name,
            predictions / matched[name],
            truths / name,
            options.trimaps / trimaps[name] if options.trimaps else None,
        )
        for name in sorted(names, key=_natural_key)
    }
    return list(_with_frames_before(pairs) if options.frames else pairs.values())


def score_pair(pair: ScorePair, options: ScoreOptions) -> ImageScores:
    """Score one image. Raises ShmDataError."""
    truth = read_matte(pair.truth)
    prediction, resized = read_prediction(pair, truth.shape, options)
    trimap = _trimap_of(pair, truth, options)
    before = math.nan
    if pair.before is not None:
        truth_before = read_matte(pair.before.truth)
        if truth_before.shape != truth.shape:
            raise ShmDataError(path=pair.truth, found="another size than the frame before", expected="one size")
        prediction_before, _ = read_prediction(pair.before, truth.shape, options)
        before = dtssd((prediction_before, prediction), (truth_before, truth))
    return ImageScores(pair, score_regions(prediction, truth, trimap, options.regions), before, resized)


def score_regions(
    prediction: NDArray[np.floating], truth: NDArray[np.floating], trimap: Array | None, regions: Sequence[Region]
) -> dict[Region, Scores]:
    """Score a prediction (H, W) in [0, 1] over regions; those of a trimap need one (H, W) in {0, 128, 255}.

    For the unknown region, known pixels of the prediction are set to the trimap first, as published numbers
    presuppose: Grad and Conn depend on pixels beyond the region.
    """
    whole: ErrorMaps | None = None
    scores: dict[Region, Scores] = {}
    for region in regions:
        if region == "unknown":
            assert trimap is not None
            known = np.where(trimap == UNKNOWN, prediction, trimap / 255)
            scores[region] = region_scores(error_maps(known, truth), trimap == UNKNOWN)
            continue
        whole = whole or error_maps(prediction, truth)
        scores[region] = region_scores(whole, _mask_of(region, truth, trimap))
    return scores


def _mask_of(region: Region, truth: NDArray[np.floating], trimap: Array | None) -> NDArray[np.bool_]:
    if region == "whole":
        return np.ones(truth.shape, np.bool_)
    if region == "edge":
        return edge_of(_to_bytes(truth))
    assert trimap is not None
    return np.asarray(trimap == OF_TRIMAP[region])


def read_prediction(pair: ScorePair, shape: tuple[int, ...], options: ScoreOptions) -> tuple[Unit, bool]:
    """Return a prediction (H, W) in [0, 1] of a truth's shape, and whether it was resized. Raises ShmDataError."""
    prediction = read_matte(pair.prediction)
    if prediction.shape == shape:
        return prediction, False
    if not options.resize:
        sizes = f"{prediction.shape[1]}x{prediction.shape[0]} for a truth of {shape[1]}x{shape[0]}"
        raise ShmDataError(path=pair.prediction, found=sizes, expected="the same size, or --resize")
    larger = prediction.shape[0] > shape[0]
    resized = cv2.resize(prediction, shape[::-1], interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
    return resized.clip(0, 1).astype(np.float64, copy=False), True


def _trimap_of(pair: ScorePair, truth: Unit, options: ScoreOptions) -> Array | None:
    if not set(options.regions) & OF_TRIMAP.keys():
        return None
    if pair.trimap is None:
        return (options.derive or derive_default)(_to_bytes(truth))
    trimap = read_trimap(pair.trimap)
    if trimap.shape != truth.shape:
        sizes = f"{trimap.shape[1]}x{trimap.shape[0]} for a truth of {truth.shape[1]}x{truth.shape[0]}"
        raise ShmDataError(path=pair.trimap, found=sizes, expected="the same size")
    return trimap


def _to_bytes(matte: NDArray[np.floating]) -> Array:
    return np.asarray(np.rint(matte * 255), np.uint8)


def _pair_names(names: Sequence[str], others: Sequence[str], words: Sequence[str], word: str) -> dict[str, str]:
    """Return the other file of each name. Each side may carry one of the words."""
    chosen, literal = ((word,), True) if word else (tuple(words), False)
    matched = dict(pair(names, others, chosen, literal=literal).matched)
    names_left = [name for name in names if name not in matched]
    others_left = sorted(set(others) - set(matched.values()))
    swapped = pair(others_left, names_left, chosen, literal=literal).matched
    matched |= {name: other for other, name in swapped.items()}
    plain = {_without_word(name): name for name in names if name not in matched}
    both = pair(list(plain), sorted(set(others) - set(matched.values())), chosen, literal=literal).matched
    return matched | {plain[name]: other for name, other in both.items()}


def _without_word(name: str) -> str:
    """Return a name without the word of mattes before or after its stem: alice_alpha.png is alice.png."""
    path = PurePosixPath(name)
    return str(path.with_stem(_WORD.sub("", path.stem) or path.stem))


def _check_complete(kind: str, folder: Path, names: Sequence[str], matched: Mapping[str, str]) -> None:
    missing = [name for name in names if name not in matched]
    if missing:
        found = f"none for {', '.join(missing[:3])}{' ...' * (len(missing) > 3)} ({len(missing)} of {len(names)})"
        raise ShmDataError(path=folder, found=found, expected=f"a {kind} for each truth, by name")


def _with_frames_before(pairs: Mapping[str, ScorePair]) -> list[ScorePair]:
    """Return the pairs with the frame before each but the first of its folder."""
    folders: dict[PurePosixPath, list[ScorePair]] = {}
    for name, each in pairs.items():
        folders.setdefault(PurePosixPath(name).parent, []).append(each)
    linked = []
    for frames in folders.values():
        linked.append(frames[0])
        for before, frame in pairwise(frames):
            linked.append(ScorePair(frame.name, frame.prediction, frame.truth, frame.trimap, before))
    return linked


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts frame 2 before frame 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
