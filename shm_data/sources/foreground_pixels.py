"""Reads the files of foregrounds and checks that they fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize_matte, resize_nearest, same_aspect
from shm_data.pixels.matte_faults import is_binary, is_inverted, is_trimap, islands, soft_share_of_photo
from shm_data.pixels.near_duplicates import perceptual_hashes
from shm_data.pixels.trimap import (
    LOSSY_TOLERANCE,
    TrimapRule,
    flat_levels,
    kernel_width,
    missing_classes,
    missing_classes_by,
)
from shm_data.sources.types import Files, Foreground, Pixels, path_of

# From this EXIF orientation on width and height are exchanged.
_ON_ITS_SIDE = 5

# The most levels by which a flat region may differ from 0 or 255, as for `flat_levels`.
_NEAR_END = 16

# A phrase that many foregrounds can share.
Oddity = str

ESTIMATED = "alphas estimated from masks by shm-data matte"


@dataclass(frozen=True, slots=True)
class Inspection:
    """A foreground that was read and fits, its perceptual hashes (None where it is too plain), and its oddities."""

    foreground: Foreground
    hashes: Array | None
    oddities: tuple[Oddity, ...]


def inspect(files: Files, roots: Mapping[str, Path], options: CompositeOptions) -> Inspection:
    """Read all files of a foreground and check that they fit.

    Raises ShmDataError where they do not fit, or the alpha is no matte.
    """
    pixels = read(files, roots, resize_alpha=options.resize_alpha)
    alpha_path = path_of(files.alpha or files.image, roots)
    height, width = pixels.alpha.shape
    hashes = perceptual_hashes(pixels.image, pixels.alpha)
    if files.has_mask:
        foreground = Foreground(files, (width, height), 0, ())
        return Inspection(foreground, hashes, tuple(_oddities_of_mask(files, roots, pixels)))
    tolerance = tolerance_of(pixels.alpha, alpha_path, options.tolerance)
    foreground = Foreground(files, (width, height), tolerance, _missing(pixels, tolerance, options))
    return Inspection(foreground, hashes, tuple(_oddities(files, roots, pixels)))


def tolerance_of(alpha: Array, path: Path, requested: int | Literal["auto"] = "auto") -> int:
    """Return how far from 0 and 255 an alpha (H, W) uint8 counts as flat: as requested, or measured.

    It is at least 5 where the file is lossy or never reaches 255. Raises ShmDataError where the alpha is no matte.
    """
    images.require_opacities(path, alpha)
    require_matte(path, alpha)
    if requested != "auto":
        return requested
    least = LOSSY_TOLERANCE if alpha.max() < 255 or images.is_lossy(path) else 0
    return least if _has_exact_ends(alpha) else max(least, *flat_levels(alpha))


def _has_exact_ends(alpha: Array) -> bool:
    """Return whether 0 and 255 are the most common levels near the ends: the flat regions are exact."""
    counts = np.bincount(alpha.ravel(), minlength=256)
    return bool(counts[:_NEAR_END].argmax() == 0 == counts[::-1][:_NEAR_END].argmax())


def require_matte(path: Path, alpha: Array) -> None:
    """Raise ShmDataError where an alpha (H, W) uint8 is a gray photo or a trimap."""
    expected = "a matte with soft edges, mostly 0 and 255"
    if shades := soft_share_of_photo(alpha):
        found = f"shades of gray in {shades:.0%} of the pixels, as in a photo"
        raise ShmDataError("cannot be used as a matte", path=path, found=found, expected=expected)
    if is_trimap(alpha):
        raise ShmDataError("cannot be used as a matte", path=path, found="a trimap", expected=expected)


def doubtful_turn(image: Path, alpha: Path) -> int:
    """Return the EXIF orientation of a photo if its alpha has none and their sizes cannot show a fault, else 0."""
    turn = images.read_orientation(image)
    if turn == 1 or images.read_orientation(alpha) != 1:
        return 0
    width, height = images.read_size(image)
    return turn if turn < _ON_ITS_SIDE or width == height else 0


def _oddities_of_mask(files: Files, roots: Mapping[str, Path], pixels: Pixels) -> Iterator[Oddity]:
    """Yield what a user should know about the mask of a photo."""
    if is_inverted(pixels.alpha):
        yield "inverted masks: a person at the border, background in the centre"
    if _is_turned(files, roots):
        yield "photos turned by their EXIF tag, with masks that are not: see whether they fit"


def _is_turned(files: Files, roots: Mapping[str, Path]) -> bool:
    """Return whether EXIF turns a photo, and not its alpha, and their sizes cannot show a fault."""
    return files.alpha is not None and doubtful_turn(path_of(files.image, roots), path_of(files.alpha, roots)) > 0


def _oddities(files: Files, roots: Mapping[str, Path], pixels: Pixels) -> Iterator[Oddity]:
    """Yield what a user should know about the alpha of a foreground."""
    if is_inverted(pixels.alpha):
        yield "inverted alphas: foreground at the border, background in the centre"
    if is_binary(pixels.alpha):
        yield "alphas without soft edges"
    if files.alpha is not None and images.read_estimate(path_of(files.alpha, roots)):
        yield ESTIMATED
    if islands(pixels.alpha):
        yield "alphas with small parts far from the person"
    if _is_turned(files, roots):
        yield "photos turned by their EXIF tag, with alphas that are not: see whether they fit"


def _missing(pixels: Pixels, tolerance: int, options: CompositeOptions) -> tuple[str, ...]:
    """Return the classes that the trimap lacks at the size of the samples, with the widest band that can be drawn."""
    if pixels.trimap is not None:
        return missing_classes(pixels.trimap)
    height, width = pixels.alpha.shape
    size = fit((width, height), options.maxsize)
    band = kernel_width(size, options.trimap_size)
    return missing_classes_by(resize_matte(pixels.alpha, size), TrimapRule("euclid", band, band, tolerance))


def read(files: Files, roots: Mapping[str, Path], *, resize_alpha: bool = False) -> Pixels:
    """Read the pixels of a foreground. With `resize_alpha` an alpha of the same shape is resized to its image.

    Raises ShmDataError where a file is broken or the sizes differ.
    """
    image_path = path_of(files.image, roots)
    if files.alpha is None:
        image, alpha = images.read_cutout(image_path)
    else:
        image = images.read_image(image_path)
        alpha_path = path_of(files.alpha, roots)
        alpha = images.read_mask(alpha_path) if files.has_mask else images.read_alpha(alpha_path)
        if _must_resize(image, image_path, alpha, alpha_path, allowed=resize_alpha):
            alpha = (resize_nearest if files.has_mask else resize_matte)(alpha, image.shape[1::-1])
    if files.trimap is None:
        return Pixels(image, alpha, None)
    return Pixels(image, alpha, _read_trimap(path_of(files.trimap, roots), image, image_path, resize=resize_alpha))


def _read_trimap(path: Path, image: Array, image_path: Path, *, resize: bool) -> Array:
    trimap = images.read_trimap(path)
    if _must_resize(image, image_path, trimap, path, allowed=resize):
        return resize_nearest(trimap, image.shape[1::-1])
    return trimap


def _must_resize(image: Array, image_path: Path, other: Array, other_path: Path, *, allowed: bool) -> bool:
    """Return whether `other` must be resized to the image. Raises ShmDataError where that is wrong or not allowed."""
    (height, width), (other_height, other_width) = image.shape[:2], other.shape
    if (height, width) == (other_height, other_width):
        return False
    alike = same_aspect((width, height), (other_width, other_height))
    if allowed and alike:
        return True
    expected = "the same size, or --resize-alpha" if alike else "the same size"
    if (height, width) == (other_width, other_height):
        expected = "the same size: one of them may be turned by its EXIF tag, the other not"
    raise ShmDataError(
        f"{image_path} and {other_path}",
        found=f"{width}x{height} and {other_width}x{other_height}",
        expected=expected,
    )
