"""Foregrounds and backgrounds as values; no file is touched here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shm_data.pixels.arrays import Array


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one foreground, as keys ROOT/relative/path.

    `name` is the stem of its samples, unique in a data set. `alpha` is None for a cut-out. An `imported` foreground
    becomes a sample unchanged and gives no composites. `split` is the split that a published set gives it. The image
    of one with `colours` is no photo: it holds the colours of the foreground alone.
    """

    name: str
    image: str
    alpha: str | None
    trimap: str | None
    imported: bool = False
    split: str | None = None
    colours: bool = False

    @property
    def is_cutout(self) -> bool:
        """Whether its image holds the foreground's own colours: there is no photo of it."""
        return self.alpha is None or self.colours

    @property
    def has_mask(self) -> bool:
        """Whether its alpha is a mask, which says nothing near its edge."""
        return self.alpha is not None and self.alpha.startswith("inmask/")


@dataclass(frozen=True, slots=True)
class Foreground:
    """A foreground whose files were read and fit. `size` is (width, height).

    Alpha within `tolerance` levels of 0 or 255 counts as flat: more than 0 where the matte is lossy.
    `missing` are the classes that do not occur in its trimap.
    """

    files: Files
    size: tuple[int, int]
    tolerance: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of a foreground: image (H, W, 3), alpha (H, W), the user's trimap (H, W) in {0, 128, 255}; uint8.

    The image of a cut-out holds its straight (not premultiplied) colours.
    """

    image: Array
    alpha: Array
    trimap: Array | None


@dataclass(frozen=True, slots=True)
class Background:
    """A usable background. `key` is ROOT/relative/path, `size` (width, height)."""

    key: str
    path: Path
    size: tuple[int, int]


def path_of(key: str, roots: Mapping[str, Path]) -> Path:
    """Return the path of a key ROOT/relative/path."""
    root, _, inside = key.partition("/")
    return roots[root] / inside
