"""Background photos from Pascal VOC, COCO and plain folders: by default those without people."""

from dataclasses import dataclass
from pathlib import Path

from shm_data.errors import Skipped


@dataclass(frozen=True, slots=True)
class Background:
    """A usable background. `key` is ROOT/relative/path, ROOT one of the pool's roots; `size` is (width, height)."""

    key: str
    path: Path
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pool:
    """The usable backgrounds in the order of their keys, where they come from, and what was left out."""

    backgrounds: tuple[Background, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]
