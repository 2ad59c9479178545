"""Where each file of a data set lives. Standard library only: `shm_model` reads by it too."""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shm_data.errors import ShmDataError, WriteError

SPLITS = ("train", "val")

# A file name may hold 255 bytes on the common file systems; a numbered twin needs a few more.
_LONGEST_STEM = 240

_UNFINISHED = ".shm-tmp"


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
    def folders(self) -> tuple[Path, Path, Path]:
        """The three folders in which every sample has one file of the same name."""
        return self.input, self.mask, self.trimap

    def names_of(self, split: str) -> Path:
        """The list file of a split, one name a line."""
        return self.root / f"{split}.txt"

    def present(self) -> set[str]:
        """The names of the samples of which all three files exist and hold something."""
        return set.intersection(*map(_written, self.folders))

    def clear_leftovers(self) -> None:
        """Removes what a run that was killed in the middle of a file left beside it."""
        for folder in (self.root, *self.folders):
            for path in folder.glob(f".*{_UNFINISHED}"):
                path.unlink(missing_ok=True)


def _written(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file() and entry.stat().st_size > 0}


def safe_stem(text: str) -> str:
    """`text` as the stem of a file name on one line: no separators, no control characters, not too long."""
    stem = re.sub(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]", "_", text)
    raw = stem.encode("utf-8", "surrogateescape")
    if len(raw) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return f"{raw[: _LONGEST_STEM - 13].decode('utf-8', 'ignore')}~{digest}"


def unused(stem: str, taken: set[str]) -> str:
    """`stem`, or `stem_2`, `stem_3` ... if taken; marks the answer as taken.

    Names that differ in case only are one name to some file systems, so they count as taken.
    """
    candidate, number = stem, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{stem}_{number}"
    taken.add(candidate.casefold())
    return candidate


def read_names(root: Path, split: str) -> list[str]:
    """The names in a split's list file, in order.

    Raises ShmDataError where the file is missing or a name points out of the data set.
    """
    path = Layout(root).names_of(split)
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ShmDataError(f"cannot read {path}: {error.strerror}") from error
    names = [name for name in (line.rstrip("\r") for line in names) if name]
    for name in names:
        if name in (".", "..") or "/" in name or "\\" in name:
            raise ShmDataError(f"{path} names a file outside the data set", found=name, wanted="plain file names")
    return names


def write_names(root: Path, split: str, names: Iterable[str]) -> None:
    """Writes a split's list file, whole or not at all."""
    write_lines(Layout(root).names_of(split), names)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file of lines, whole or not at all, without holding them all in memory."""
    with whole_file(path) as target, target.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
    with whole_file(path) as target:
        target.write_bytes(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it to `path` at the end: whole or absent.

    Raises WriteError where the file system refuses.
    """
    target = path.with_name(f".{secrets.token_hex(8)}{_UNFINISHED}")
    try:
        yield target
        target.replace(path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keeps a folder to one process. The lock is on the folder itself: it leaves no file, and dies with its process.

    Raises ShmDataError where another process has it.
    """
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ShmDataError(f"{root} is being written to", found="another run", wanted="its end") from error
    finally:
        os.close(handle)


def make_folders(*folders: Path) -> None:
    """Makes folders with their parents. Raises WriteError where the file system refuses."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"cannot make the folder {folder}: {error.strerror or error}") from error
