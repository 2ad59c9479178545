"""Reads masks of people: which pixels show a person, from binary pictures and from pictures of labels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.images.decoding import read_deep_channels, read_indices
from shm_data.images.mattes import HIGHEST_OF_LABELS, read_alpha
from shm_data.pixels.arrays import Array
from shm_data.pixels.matte_faults import is_trimap, soft_share_of_photo

# A picture of 16 bits with lower values alone has labels, such as the numbers of persons.
_HIGHEST_OF_DEEP_LABELS = 4095


def read_mask(path: Path) -> Array:
    """Read a mask of people as (H, W) uint8: 255 where a person is, else 0.

    In a picture of labels, gray or with a palette of colours, every label but 0 is a person. Of other pictures the
    upper half of the levels is a person, in whichever channel `read_alpha` finds them. Raises ShmDataError where the
    file is broken, is no mask, or has a person nowhere or everywhere.
    """
    person = _person(path)
    if person.all() or not person.any():
        found = "a person everywhere" if person.any() else "an empty mask: no person"
        raise ShmDataError("cannot be used as a mask", path=path, found=found, expected="people and background")
    return np.where(person, np.uint8(255), np.uint8(0))


def _person(path: Path) -> NDArray[np.bool_]:
    labels = read_indices(path)
    if labels is not None:
        return labels > 0
    deep = read_deep_channels(path)
    if deep is not None and deep.shape[2] == 1 and deep.max() <= _HIGHEST_OF_DEEP_LABELS:
        return deep[..., 0] > 0
    levels = read_alpha(path)
    if levels.max() <= HIGHEST_OF_LABELS:
        return levels > 0
    if soft_share_of_photo(levels) or is_trimap(levels):
        found = "a trimap" if is_trimap(levels) else "shades of gray, as in a photo"
        raise ShmDataError("cannot be used as a mask", path=path, found=found, expected="black and white, or labels")
    return levels >= 128
