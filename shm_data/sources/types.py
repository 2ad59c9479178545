"""What foregrounds and backgrounds are, once found; no file is touched here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shm_data.pixels.arrays import Array


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one foreground. Keys are ROOT/relative/path.

    `name` is the stem of its samples, of which no other foreground has the same. `alpha` is None for a cut-out.
    `imported` marks what is taken over as it is, without composites. `split` is where a published set has it.
    """

    name: str
    image: str
    alpha: str | None
    trimap: str | None
    imported: bool = False
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Foreground:
    """A foreground that was read and found good. `size` is (width, height).

    `tolerance` is how far from 0 and 255 its alpha counts as flat: more than 0 where the matte is lossy.
    `missing` names the classes that its trimap lacks.
    """

    files: Files
    size: tuple[int, int]
    tolerance: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pixels:
    """What the files hold: image (H, W, 3), alpha (H, W) and the user's trimap (H, W) in {0, 128, 255}, all uint8.

    For a cut-out `image` holds its straight colours.
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
    """The path of a key ROOT/relative/path."""
    root, _, inside = key.partition("/")
    return roots[root] / inside
