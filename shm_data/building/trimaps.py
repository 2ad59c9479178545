"""Derive trimaps of alphas that belong to no data set yet."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

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
    inalp: Path,
    savedir: Path,
    options: TrimapOptions,
    jobs: int = -1,
    progress: Progress = quiet,
    *,
    prefix: str | None = None,
) -> list[str]:
    """Write a trimap STEM.png of an alpha, or of every alpha in a folder and its subfolders; return remarks on them.

    Photos and trimaps beside their alphas, recognised by name, are skipped with a remark. With a `prefix`, the word
    before or after the names of the alphas, so are all files without it. An existing trimap is kept if it is the
    same, and never overwritten if it is not.
    Raises ShmDataError that names the alphas without a trimap, once all others are done.
    """
    root, alphas, others = _list_alphas(inalp, savedir, prefix)
    taken: dict[str, int] = {}
    targets = {alpha: savedir / f"{unused(stem_of(alpha), taken)}.png" for alpha in alphas}
    folders = {target.parent for target in targets.values()}
    make_folders(savedir, *folders)

    def attempt(alpha: str) -> tuple[str, str] | ShmDataError:
        try:
            return alpha, _write_trimap(root / alpha, targets[alpha], alpha, options)
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


def _list_alphas(inalp: Path, savedir: Path, prefix: str | None) -> tuple[Path, list[str], dict[str, str]]:
    """Return the folder of the alphas, their names in it, and the other names with the reasons for skipping them."""
    if inalp.is_file():
        return inalp.parent, [inalp.name], {}
    if Path(os.path.realpath(savedir)).is_relative_to(os.path.realpath(inalp)):
        raise ShmDataError("--savedir", found=f"{savedir} inside {inalp}", expected="a folder outside the alphas")
    found = images.find(inalp)
    others = _other_files(found, prefix)
    alphas = [name for name in found if name not in others]
    if not alphas:
        expected = "alphas" if prefix is None else f"alphas with {prefix!r} before or after their names"
        raise ShmDataError(path=inalp, found="none of the pictures" if found else "no pictures", expected=expected)
    return inalp, alphas, others


def _other_files(names: Sequence[str], prefix: str | None) -> dict[str, str]:
    """Return the names in a folder that are no alphas, each with the reason for skipping it."""
    words, literal = ((prefix,), True) if prefix else (ALPHA_WORDS, False)
    mixed = classify_files(names, words, literal=literal)
    photos = pair(mixed.images, mixed.alphas, words, literal=literal, plain=mixed.plain).matched
    skipped = {photo: f"skipped, by its name the photo of {alpha}" for photo, alpha in photos.items()}
    skipped |= dict.fromkeys(mixed.trimaps, "skipped, by its name a trimap")
    if prefix:
        others = (name for name in names if not _has_word(name, prefix))
        skipped = dict.fromkeys(others, f"skipped, no {prefix!r} before or after its name") | skipped
    return skipped


def _has_word(name: str, word: str) -> bool:
    stem, word = PurePosixPath(name).stem.casefold(), word.casefold()
    return stem.startswith(word) or stem.endswith(word)


def _write_trimap(source: Path, target: Path, name: str, options: TrimapOptions) -> str:
    """Write one trimap; return a remark on it, or an empty string."""
    alpha = images.read_alpha(source)
    height, width = alpha.shape
    tolerance = tolerance_of(alpha, source, options.tolerance)
    trimap = derive_trimap(alpha, trimap_rule(stem_of(name), (width, height), tolerance, options))
    if not os.path.exists(target):
        images.write_png(target, trimap)
    elif not np.array_equal(images.read_gray(target), trimap):
        raise ShmDataError(path=target, found="another trimap", expected="a new --savedir: nothing is overwritten")
    missing = missing_classes(trimap)
    return f"no {' and no '.join(missing)}" if missing else ""
