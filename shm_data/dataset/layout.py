"""Where each file of a data set lies. Standard library only, since `shm_model` reads by it, too."""

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
    """The paths of a data set under `root`: input/ mask/ trimap/ train.txt val.txt recipes.jsonl dataset.json."""

    root: Path

    @property
    def input(self) -> Path:
        """The folder of the images."""
        return self.root / "input"

    @property
    def mask(self) -> Path:
        """The folder of the alphas."""
        return self.root / "mask"

    @property
    def trimap(self) -> Path:
        """The folder of the trimaps."""
        return self.root / "trimap"

    @property
    def recipes(self) -> Path:
        """How each sample was made, one JSON object a line."""
        return self.root / "recipes.jsonl"

    @property
    def manifest(self) -> Path:
        """The record of the whole data set, one JSON object: options, sources, counts."""
        return self.root / "dataset.json"

    @property
    def local(self) -> Path:
        """Where the sources lie on this machine. It is not to be published."""
        return self.root / "local.json"

    @property
    def card(self) -> Path:
        """The data set card, for people and for hubs that publish data sets."""
        return self.root / "README.md"

    @property
    def cache(self) -> Path:
        """Prepared foregrounds of training from recipes. The folder may be deleted at any time."""
        return self.root / "cache"

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """The three folders in which every sample has one file."""
        return self.input, self.mask, self.trimap

    def names_of(self, split: str) -> Path:
        """Return the list file of a split, which has one name a line."""
        return self.root / f"{split}.txt"

    def table_of(self, split: str) -> Path:
        """Return the table of a split: the paths of the files of each sample, for `datasets` and hubs."""
        return self.root / f"{split}.csv"

    def sample(self, name: str) -> tuple[Path, Path, Path]:
        """Return the paths of image, alpha and trimap of a sample, named by its image. The last two are PNG."""
        png = name if name.endswith(".png") else f"{os.path.splitext(name)[0]}.png"  # noqa: PTH122
        return self.input / name, self.mask / png, self.trimap / png

    def present(self, extension: str = ".png") -> set[str]:
        """Return the names of the samples, images with the `extension`, whose three files exist and are not empty."""
        names = {name for name in _nonempty(self.input) if name.endswith(extension)}
        for folder in (self.mask, self.trimap):
            names &= {f"{name[:-4]}{extension}" for name in _nonempty(folder) if name.endswith(".png")}
        return names

    def holds(self, name: str) -> bool:
        """Return whether the three files of a sample exist and are not empty."""
        try:
            return all(path.stat().st_size > 0 for path in self.sample(name))
        except FileNotFoundError:
            return False

    def clear_leftovers(self) -> None:
        """Remove unfinished files that a killed run left."""
        clear_leftovers(self.root, *self.folders)


def _nonempty(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_file() and entry.stat().st_size > 0)


def read_names(root: Path, split: str) -> list[str]:
    """Return the names in a split's list file, in order.

    Raises ShmDataError where the file is missing or a name leads out of the data set.
    """
    path = Layout(root).names_of(split)
    try:
        names = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
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
    """Write a split's list file, whole or not at all."""
    write_lines(Layout(root).names_of(split), names)


def write_lists(root: Path, samples: Iterable[tuple[str, str]]) -> None:
    """Write the list files of all splits, each whole or not at all, from split and name of each sample."""
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context(open_whole(Layout(root).names_of(split))) for split in SPLITS}
        for split, name in samples:
            files[split].write(to_line(name))
