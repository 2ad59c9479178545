"""Estimate the mattes of photos that have masks."""

import hashlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError, WriteError
from shm_data.files import clear_leftovers, locked, make_folders, unused
from shm_data.options import TrimapOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.soft_edges import estimate_alpha
from shm_data.pixels.trimap import kernel_width
from shm_data.sources import Files, foreground_folders, path_of
from shm_data.sources.foreground_pixels import read


def write_mattes(
    inimg: Path,
    inmask: Path,
    savedir: Path,
    options: TrimapOptions,
    *,
    jobs: int = -1,
    progress: Progress = quiet,
    prefix: str | None = None,
    resize_alpha: bool = False,
) -> list[str]:
    """Write a matte STEM.png of every photo with a mask, paired by name; return remarks on what is skipped.

    Each file has a mark that its matte is estimated, with a digest of photo, mask and width of the band: a matte that
    was made of the same is kept, and no other file is overwritten. With `resize_alpha`, masks of the same shape are
    resized to their photos. Needs pymatting.
    Raises ShmDataError that names the photos without a matte, once all others are done.
    """
    importlib.import_module("pymatting")  # before anything is written
    roots = {"inimg": inimg, "inmask": inmask}
    for folder in roots.values():
        if Path(os.path.realpath(savedir)).is_relative_to(os.path.realpath(folder)):
            raise ShmDataError(
                "--savedir", found=f"{savedir} inside {folder}", expected="a folder outside the sources"
            )
    found, skipped = foreground_folders.scan(roots, "inimg", "inmask", "", prefix=prefix)
    taken: dict[str, int] = {}
    targets = {files: savedir / f"{unused(files.name, taken)}.png" for files in found}
    folders = {target.parent for target in targets.values()}
    make_folders(savedir, *folders)

    def attempt(files: Files) -> ShmDataError | None:
        try:
            _write_matte(files, roots, targets[files], options, resize_alpha=resize_alpha)
        except WriteError:
            raise
        except ShmDataError as error:
            return error
        return None

    with locked(savedir):
        clear_leftovers(*folders)
        results = list(progress(spread(attempt, found, jobs, ordered=True), len(found), "mattes"))
    faults = [result for result in results if result is not None]
    if faults:
        raise ShmDataError(f"{len(faults)} of {len(found)} mattes could not be made", faults=faults)
    return [f"skipped {each.what}: {each.why}" for each in skipped]


def _write_matte(
    files: Files, roots: Mapping[str, Path], target: Path, options: TrimapOptions, *, resize_alpha: bool
) -> None:
    """Write one matte, unless it is there. Raises ShmDataError where another file is there."""
    digest = _digest(files, roots, options)
    if os.path.lexists(target):
        if images.read_estimate(target) != digest:
            expected = "a new --savedir: nothing is overwritten"
            raise ShmDataError(path=target, found="another matte", expected=expected)
        return
    pixels = read(files, roots, resize_alpha=resize_alpha)
    radius = kernel_width(pixels.alpha.shape[::-1], options.trimap_size) // 2
    try:
        alpha = estimate_alpha(pixels.image, pixels.alpha, max(1, radius))
    except ShmDataError as error:
        raise ShmDataError(error.what, path=path_of(files.image, roots), found=error.found) from error
    images.write_png(target, alpha, estimate=digest)


def _digest(files: Files, roots: Mapping[str, Path], options: TrimapOptions) -> str:
    """Return a digest of all that decides a matte. Raises ShmDataError where a file cannot be read."""
    digest = hashlib.blake2b(f"{options.trimap_size}".encode(), digest_size=8)
    for key in filter(None, (files.image, files.alpha)):
        path = path_of(key, roots)
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    return digest.hexdigest()
