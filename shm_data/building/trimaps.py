"""Derives a trimap for every alpha in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shm_data import images
from shm_data.errors import ShmDataError, WriteError
from shm_data.files import clear_leftovers, locked, make_folders, unused
from shm_data.options import TrimapOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.trimap import derive_trimap, missing_classes
from shm_data.planning.draw import trimap_rule
from shm_data.sources.foregrounds import tolerance_of
from shm_data.sources.pairing import ALPHA_WORDS, classify_files, pair, stem_of


def write_trimaps(
    inalp: Path, savedir: Path, options: TrimapOptions, jobs: int = -1, progress: Progress = quiet
) -> list[str]:
    """Write a trimap STEM.png for every alpha in a folder and its subfolders, and return remarks on them.

    Photos and trimaps beside their alphas, recognised by name, are skipped with a remark. An existing trimap is kept
    if it is the same, and never overwritten if it is not.
    Raises ShmDataError that names the alphas without a trimap, once all others are done.
    """
    if Path(os.path.realpath(savedir)).is_relative_to(os.path.realpath(inalp)):
        raise ShmDataError("--savedir", found=f"{savedir} inside {inalp}", expected="a folder outside the alphas")
    found = images.find(inalp)
    if not found:
        raise ShmDataError(path=inalp, found="no pictures", expected="alphas")
    others = _photos_and_trimaps(found)
    alphas = [name for name in found if name not in others]
    taken: dict[str, int] = {}
    targets = {alpha: savedir / f"{unused(stem_of(alpha), taken)}.png" for alpha in alphas}
    folders = {target.parent for target in targets.values()}
    make_folders(savedir, *folders)

    def attempt(alpha: str) -> tuple[str, str] | ShmDataError:
        try:
            return alpha, _write_trimap(inalp / alpha, targets[alpha], alpha, options)
        except WriteError:
            raise
        except ShmDataError as error:
            return error

    with locked(savedir):
        clear_leftovers(*folders)
        results = list(progress(spread(attempt, alphas, jobs, ordered=True), len(alphas), "trimaps"))
    faults = [result for result in results if isinstance(result, ShmDataError)]
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(alphas)} trimaps could not be made", faults=faults)
    return [f"{name}: {why}" for name, why in others.items()] + [
        f"{alpha}: {remark}" for alpha, remark in (r for r in results if isinstance(r, tuple)) if remark
    ]


def _photos_and_trimaps(names: Sequence[str]) -> dict[str, str]:
    """Return the names in a folder that are no alphas, each with the reason for skipping it."""
    mixed = classify_files(names, ALPHA_WORDS)
    photos = pair(mixed.images, mixed.alphas, ALPHA_WORDS).matched
    skipped = {photo: f"skipped, by its name the photo of {alpha}" for photo, alpha in photos.items()}
    return skipped | dict.fromkeys(mixed.trimaps, "skipped, by its name a trimap")


def _write_trimap(source: Path, target: Path, name: str, options: TrimapOptions) -> str:
    """Write one trimap; return a remark on it, or an empty string."""
    alpha = images.read_alpha(source)
    height, width = alpha.shape
    trimap = derive_trimap(alpha, trimap_rule(stem_of(name), (width, height), tolerance_of(alpha, source), options))
    if not os.path.exists(target):
        images.write_png(target, trimap)
    elif not np.array_equal(images.read_gray(target), trimap):
        raise ShmDataError(path=target, found="another trimap", expected="a new --savedir: nothing is overwritten")
    missing = missing_classes(trimap)
    return f"no {' and no '.join(missing)}" if missing else ""
