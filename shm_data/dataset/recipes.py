"""Recipes: every random choice of a data set, in a file with one JSON object a line."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shm_data.dataset.layout import SPLITS
from shm_data.errors import ShmDataError
from shm_data.files import is_plain, write_lines
from shm_data.pixels.augmentations import Augmentation, from_plain, to_plain
from shm_data.pixels.compositing import Box, Size
from shm_data.pixels.trimap import TrimapRule


@dataclass(frozen=True, slots=True)
class Decoy:
    """A cut-out of something that is no person, between person and background: its key, and its place in the frame.

    `position` is (scale, across, down), see `place_in_frame`.
    """

    key: str
    position: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one sample is made.

    `foreground` is the name of a foreground, `background` the key of a background or None for an untouched
    original; `index` counts the composites of a foreground from 1, and is 0 for its original. `size` is
    (width, height) of the sample, `crop` the box (x, y, width, height) of the background photo that fills it.
    `trimap` is None where the user's own trimap is used, `augment` where nothing is augmented,
    `decoy` where only the person is pasted. dataset.json says
    where the files of foreground and background are, and how the foreground's colours are found.
    """

    name: str
    split: str
    foreground: str
    index: int
    size: Size
    background: str | None
    crop: Box | None
    trimap: TrimapRule | None
    augment: Augmentation | None = None
    decoy: Decoy | None = None

    @property
    def partner(self) -> str | None:
        """The name of the foreground that stands behind its own, if any."""
        return None if self.augment is None else self.augment.partner

    @property
    def has_own_alpha(self) -> bool:
        """Whether its alpha differs from that of its foreground."""
        return self.augment is not None and self.augment.changes_alpha


def write_recipes(path: Path, recipes: Iterable[Recipe]) -> str:
    """Write recipes, one JSON object a line, whole or not at all, and return the SHA-256 of the file."""
    return write_lines(path, (to_line(recipe) for recipe in recipes))


def read_recipes(
    path: Path, count: int | None = None, first: int = 0, *, belongs: Callable[[Recipe], bool] = lambda _: True
) -> Iterator[Recipe]:
    """Read recipes one by one: of the first `count` in the file those from index `first` on.

    Raises ShmDataError for a missing file, or a line that is no recipe or does not belong to its record.
    """
    for number, line in enumerate(itertools.islice(_lines(path, count), first, None), first + 1):
        yield parse_line(line, f"{path}, line {number}", belongs)


def digest_of(path: Path, count: int) -> str:
    """Return the SHA-256 of the first `count` lines of a file of recipes. Raises ShmDataError where it is missing."""
    digest = hashlib.sha256()
    for line in _lines(path, count):
        digest.update(line)
    return digest.hexdigest()


def _lines(path: Path, count: int | None) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from itertools.islice(file, count)
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error


def to_line(recipe: Recipe) -> str:
    """Return a recipe as a JSON object on one line."""
    rule = recipe.trimap
    plain = {name: getattr(recipe, name) for name in Recipe.__slots__}
    plain["trimap"] = rule and {name: getattr(rule, name) for name in TrimapRule.__slots__}
    if recipe.augment is None:
        del plain["augment"]
    else:
        plain["augment"] = to_plain(recipe.augment)
    if recipe.decoy is None:
        del plain["decoy"]
    else:
        plain["decoy"] = {"key": recipe.decoy.key, "position": recipe.decoy.position}
    return json.dumps(plain)


def from_line(line: str | bytes) -> Recipe:
    """Return the recipe of a JSON object. Raises ValueError, TypeError or KeyError where it is none."""
    plain: dict[str, Any] = json.loads(line if isinstance(line, str) else line.decode())
    crop, rule, augment = plain.pop("crop"), plain.pop("trimap"), plain.pop("augment", None)
    decoy = plain.pop("decoy", None)
    recipe = Recipe(
        **plain | {"size": tuple(plain["size"])},
        crop=None if crop is None else tuple(crop),
        trimap=None if rule is None else TrimapRule(**rule),
        augment=None if augment is None else from_plain(augment),
        decoy=None if decoy is None else Decoy(decoy["key"], tuple(decoy["position"])),
    )
    if not (_is_plain_name(recipe.name) and recipe.split in SPLITS and type(recipe.index) is int):
        raise ValueError("no plain name, split or index")
    if type(recipe.foreground) is not str or not isinstance(recipe.background, str | None):
        raise TypeError("no names of foreground and background")
    if not (_are_numbers(recipe.size, 2, least=1) and (recipe.crop is None or _is_box(recipe.crop))):
        raise ValueError("no size or crop")
    if recipe.trimap is not None and not _is_rule(recipe.trimap):
        raise ValueError("no trimap rule")
    if recipe.decoy is not None and (recipe.background is None or not _is_decoy(recipe.decoy)):
        raise ValueError("no decoy")
    return recipe


def _is_plain_name(name: object) -> bool:
    return type(name) is str and is_plain(name)


def _are_numbers(values: tuple[int, ...], count: int, least: int) -> bool:
    return len(values) == count and set(map(type, values)) == {int} and min(values) >= least


def _is_box(crop: Box) -> bool:
    return _are_numbers(crop, 4, least=0) and min(crop[2:]) > 0


def _is_decoy(decoy: Decoy) -> bool:
    is_position = list(map(type, decoy.position)) == [float] * 3 and all(0 <= each <= 10 for each in decoy.position)
    return type(decoy.key) is str and is_position


def _is_rule(rule: TrimapRule) -> bool:
    widths = rule.erode, rule.dilate, rule.tolerance
    return _are_numbers(widths, 3, least=0) and min(widths[:2]) > 0


def parse_line(line: bytes, where: str, belongs: Callable[[Recipe], bool] = lambda _: True) -> Recipe:
    """Return the recipe of a line. Raises ShmDataError where it is none, or does not belong to its record."""
    try:
        recipe = from_line(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = repr(line.strip()[:80].decode("utf-8", "replace"))
        raise ShmDataError(where, found=found, expected="a recipe") from error
    if not belongs(recipe):
        raise ShmDataError(where, found="a source that is not in dataset.json", expected="one that is")
    return recipe
