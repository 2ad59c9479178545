"""Reads the files of foregrounds and checks that they fit."""

from collections.abc import Mapping
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize_matte, resize_nearest, same_aspect
from shm_data.pixels.near_duplicates import perceptual_hashes
from shm_data.pixels.trimap import LOSSY_TOLERANCE, TrimapRule, kernel_width, missing_classes, missing_classes_by
from shm_data.sources.types import Files, Foreground, Pixels, path_of


def inspect(files: Files, roots: Mapping[str, Path], options: CompositeOptions) -> tuple[Foreground, Array | None]:
    """Read all files of a foreground and check that they fit; return it and its perceptual hashes.

    Raises ShmDataError where they do not fit.
    """
    pixels = read(files, roots, resize_alpha=options.resize_alpha)
    alpha_path = path_of(files.alpha or files.image, roots)
    tolerance = tolerance_of(pixels.alpha, alpha_path)
    height, width = pixels.alpha.shape
    foreground = Foreground(files, (width, height), tolerance, _missing(pixels, tolerance, options))
    return foreground, perceptual_hashes(pixels.image, pixels.alpha)


def tolerance_of(alpha: Array, path: Path) -> int:
    """Return how far from 0 and 255 an alpha (H, W) uint8 is flat: 5 where its file is lossy or it never reaches 255.

    Raises ShmDataError where it is empty, or has labels 0 and 1 instead of opacities.
    """
    images.require_opacities(path, alpha)
    return LOSSY_TOLERANCE if alpha.max() < 255 or images.is_lossy(path) else 0


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
        alpha = images.read_alpha(alpha_path)
        if _must_resize(image, image_path, alpha, alpha_path, allowed=resize_alpha):
            alpha = resize_matte(alpha, image.shape[1::-1])
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
    raise ShmDataError(
        f"{image_path} and {other_path}",
        found=f"{width}x{height} and {other_width}x{other_height}",
        expected=expected,
    )
