"""Checks folders of images, alphas and trimaps before a data set is made from them."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from shm_data import images
from shm_data.check.findings import Finding, Verdict, error, is_wrong, of_fault, warning
from shm_data.check.mattes import cutout_faults, faults_of, looks_like_matte, swapped
from shm_data.check.trimaps import trimap_faults
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import resize_nearest, same_aspect
from shm_data.sources import Files, path_of
from shm_data.sources.foreground_pixels import doubtful_turn
from shm_data.sources.foregrounds import layout_notes, scan


def check_pairs(
    inimg: Path,
    inalp: Path | None = None,
    intri: Path | None = None,
    *,
    prefix: str | None = None,
    layout: str = "auto",
    resize_alpha: bool = False,
    jobs: int = -1,
    progress: Progress = quiet,
) -> Verdict:
    """Check images with their alphas (and trimaps), found as `composite` finds them, or RGBA cut-outs.

    With `resize_alpha` other sizes of the same shape are no finding, as in `composite --resize-alpha`.

    Raises ShmDataError where a folder is missing, nothing pairs, or a name is ambiguous.
    """
    found = scan(CompositeOptions.checked(inimg=inimg, inalp=inalp, intri=intri, prefix=prefix, layout=layout))
    findings = [
        warning("unpaired", skipped.what, skipped.why, "a partner of the same name") for skipped in found.skipped
    ]
    results = spread(partial(_check, roots=found.roots, resize_alpha=resize_alpha), found.files, jobs, ordered=True)
    findings += chain.from_iterable(progress(results, len(found.files), "checking"))
    cutouts = any(files.alpha is None for files in found.files)
    checked = ["files and their sizes", "cut-outs, their alphas and colours" if cutouts else "alphas"]
    checked += ["trimaps against alphas"] * any(files.trimap for files in found.files)
    checked += layout_notes(found.layouts)
    return Verdict(tuple(findings), {"foregrounds": len(found.files)}, tuple(checked), ())


def _check(files: Files, roots: Mapping[str, Path], *, resize_alpha: bool) -> list[Finding]:
    """Return the findings about one foreground; those about its alpha and trimap have their keys."""
    if files.alpha is None:
        return _check_cutout(files.image, path_of(files.image, roots))
    image, findings = _read(files.image, roots, images.read_image)
    alpha, of_alpha = _read(files.alpha, roots, images.read_alpha)
    if alpha is None:
        photo, _ = _read(files.alpha, roots, images.read_image)
        if image is not None and photo is not None and looks_like_matte(image):
            of_alpha = [swapped(files.alpha)]
        return [*findings, *of_alpha]
    if image is not None:
        findings += _sizes(files.image, image, files.alpha, alpha, resize_alpha=resize_alpha)
        findings += _orientations(files.image, files.alpha, roots)
    lossy = images.is_lossy(path_of(files.alpha, roots))
    of_alpha = faults_of(files.alpha, alpha, image, lossy=lossy)
    if images.read_estimate(path_of(files.alpha, roots)):
        found = "an estimate of shm-data matte"
        of_alpha.append(warning("estimated", files.alpha, found, "a matte, if the set is to be scored on"))
    # A trimap is compared only with an alpha that has no fault itself.
    of_trimap = [] if is_wrong(of_alpha) else _check_trimap(files, roots, alpha, resize_alpha=resize_alpha)
    return findings + of_alpha + of_trimap


def _check_cutout(key: str, path: Path) -> list[Finding]:
    try:
        colours, alpha = images.read_cutout(path)
    except ShmDataError as fault:
        return [of_fault("unreadable", key, fault, "a cut-out")]
    lossy = images.is_lossy(path)
    return [*faults_of(key, alpha, lossy=lossy), *cutout_faults(key, colours, alpha)]


def _check_trimap(files: Files, roots: Mapping[str, Path], alpha: Array, *, resize_alpha: bool) -> list[Finding]:
    if files.trimap is None:
        return []
    trimap, findings = _read(files.trimap, roots, images.read_gray)
    if trimap is None:
        return findings
    sizes = _sizes(files.alpha or files.image, alpha, files.trimap, trimap, resize_alpha=resize_alpha)
    if not sizes and trimap.shape != alpha.shape:
        trimap = resize_nearest(trimap, alpha.shape[::-1])
    return sizes or trimap_faults(files.trimap, trimap, alpha)


def _orientations(image: str, alpha: str, roots: Mapping[str, Path]) -> list[Finding]:
    """Return a finding if EXIF turns a photo, and not its alpha, and their sizes cannot show a fault."""
    turn = doubtful_turn(path_of(image, roots), path_of(alpha, roots))
    if not turn:
        return []
    return [warning("turned", image, f"EXIF orientation {turn}, and none in its alpha", "an alpha that fits", alpha)]


def _read(key: str, roots: Mapping[str, Path], read: Callable[[Path], Array]) -> tuple[Array | None, list[Finding]]:
    path = path_of(key, roots)
    try:
        return read(path), []
    except ShmDataError as fault:
        return None, [of_fault("unreadable", key, fault, "a whole picture")]


def _sizes(key: str, pixels: Array, other_key: str, other: Array, *, resize_alpha: bool) -> list[Finding]:
    """Return a finding if two pictures differ in size; `composite --resize-alpha` can resize those of one shape."""
    (height, width), (other_height, other_width) = pixels.shape[:2], other.shape[:2]
    if (height, width) == (other_height, other_width):
        return []
    found = f"{other_width}x{other_height} for {key} of {width}x{height}"
    if same_aspect((width, height), (other_width, other_height)):
        return [] if resize_alpha else [warning("size", other_key, found, "the same size, or --resize-alpha")]
    if (height, width) == (other_width, other_height):
        return [error("size", other_key, found, "the same size: perhaps EXIF turns one of them, and not the other")]
    return [error("size", other_key, f"another shape: {found}", "the same size")]
