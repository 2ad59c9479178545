"""Where each file of a data set lives. Standard library only: `shm_model` reads by it too."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shm_data.errors import ShmDataError
from shm_data.files import clear_leftovers, is_plain, open_whole, to_line, write_lines

SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of a data set under `root`: input/ mask/ trimap/ train.txt val.txt and the two records."""

    root: Path

    @property
    def input(self) -> Path:
        """Folder of the images."""
        return self.root / "input"

    @property
    def mask(self) -> Path:
        """Folder of the alphas."""
        return self.root / "mask"

    @property
    def trimap(self) -> Path:
        """Folder of the trimaps."""
        return self.root / "trimap"

    @property
    def recipes(self) -> Path:
        """One JSON object a sample: how it was made."""
        return self.root / "recipes.jsonl"

    @property
    def manifest(self) -> Path:
        """One JSON object for the whole data set: options, sources, counts."""
        return self.root / "dataset.json"

    @property
    def card(self) -> Path:
        """What the data set is and may be used for, for people and for the places where sets are published."""
        return self.root / "README.md"

    @property
    def cache(self) -> Path:
        """Prepared foregrounds, for those who make samples when they are asked for; may be deleted at any time."""
        return self.root / "cache"

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """The three folders in which every sample has one file of the same name."""
        return self.input, self.mask, self.trimap

    def names_of(self, split: str) -> Path:
        """The list file of a split, one name a line."""
        return self.root / f"{split}.txt"

    def sample(self, name: str) -> tuple[Path, Path, Path]:
        """The image, alpha and trimap of a sample. Its name is that of its image; the others are PNG always."""
        lossless = name if name.endswith(".png") else f"{os.path.splitext(name)[0]}.png"  # noqa: PTH122
        return self.input / name, self.mask / lossless, self.trimap / lossless

    def present(self, extension: str = ".png") -> set[str]:
        """The names of the samples, images of the `extension`, whose three files exist and hold something."""
        names = {name for name in _written(self.input) if name.endswith(extension)}
        for folder in (self.mask, self.trimap):
            names &= {f"{name[:-4]}{extension}" for name in _written(folder) if name.endswith(".png")}
        return names

    def holds(self, name: str) -> bool:
        """Whether the three files of a sample exist and hold something."""
        try:
            return all(path.stat().st_size > 0 for path in self.sample(name))
        except FileNotFoundError:
            return False

    def clear_leftovers(self) -> None:
        """Removes what a run that was killed in the middle of a file left beside it."""
        clear_leftovers(self.root, *self.folders)


def _written(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_file() and entry.stat().st_size > 0)


def read_names(root: Path, split: str) -> list[str]:
    """The names in a split's list file, in order.

    Raises ShmDataError where the file is missing or a name points out of the data set.
    """
    path = Layout(root).names_of(split)
    try:
        names = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    names = [name for name in (line.rstrip("\r") for line in names) if name]
    for name in names:
        if not is_plain(name):
            raise ShmDataError(
                "names a file outside the data set", path=path, found=name, expected="plain file names"
            )
    return names


def write_names(root: Path, split: str, names: Iterable[str]) -> None:
    """Writes a split's list file, whole or not at all."""
    write_lines(Layout(root).names_of(split), names)


def write_lists(root: Path, samples: Iterable[tuple[str, str]]) -> None:
    """Writes the list files of all splits, each whole or not at all, from the split and the name of each sample."""
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context(open_whole(Layout(root).names_of(split))) for split in SPLITS}
        for split, name in samples:
            files[split].write(to_line(name))
