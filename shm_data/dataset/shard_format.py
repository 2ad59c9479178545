"""A shard: a tar file of samples. What is in it and where, so that a reader need not look through it.

A folder of shards has index.json, and for each SHARD.tar a table SHARD.json with a row for each sample, in the order
of the tar. A sample is four members one after the other: image, alpha, trimap, and a JSON object. Their names are
numbers and their headers nothing but name and size, so both follow from its row.
"""

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shm_data.dataset.json_model import read_json_model
from shm_data.errors import ShmDataError
from shm_data.files import is_plain

INDEX = "index.json"

# What ends a tar file.
END = bytes(2 * tarfile.BLOCKSIZE)

_WANTED = "the record as shm-data shards wrote it"

# No picture that we read or write takes nearly as much.
_Size = Annotated[int, Field(ge=1, le=2**31)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def require_fit(name: str) -> str:
    """The name of a sample, if shards can hold it. Raises ValueError where they cannot."""
    extension = os.path.splitext(name)[1]  # noqa: PTH122
    if not is_plain(name) or not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", extension):
        raise ValueError("a file name with an extension such as .png")
    if name != name.encode("utf-8", "replace").decode():
        raise ValueError("a name in UTF-8")
    return name


class Row(NamedTuple):
    """A sample of a shard: its place in its split's list from 0 on, its name, and the bytes of its members."""

    place: Annotated[int, Field(ge=0)]
    name: Annotated[str, AfterValidator(require_fit)]
    image: _Size
    alpha: _Size
    trimap: _Size
    json: _Size

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """The bytes of its members, in their order."""
        return self[2:]

    @property
    def span(self) -> int:
        """How many bytes of a tar it takes, headers and filling included."""
        return sum(tarfile.BLOCKSIZE + size + filling(size) for size in self.sizes)


class Table(BaseModel):
    """The samples of one shard, and the SHA-256 of the whole tar."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: _Digest
    samples: tuple[Row, ...]


class Shard(BaseModel):
    """One tar file: its name, how many samples and bytes it has, and its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^(train|val)-[0-9]{6,}\.tar$")]
    split: Annotated[str, Field(pattern="^(train|val)$")]
    samples: int
    bytes: int
    sha256: _Digest


class Counts(BaseModel):
    """How many samples each split has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    val: int


class Index(BaseModel):
    """The record of a folder of shards.

    `dataset` holds the SHA-256 of the files that say what the data set is: its lists, and dataset.json if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    complete: bool
    maxcount: int
    seed: int
    dataset: dict[str, str]
    counts: Counts
    shards: tuple[Shard, ...]


def members(split: str, row: Row) -> tuple[str, str, str, str]:
    """The names of a sample's members. The key, up to the first dot, is its place in the list: unique and ASCII."""
    key = f"{split}-{row.place:08}"
    extension = os.path.splitext(row.name)[1].lower()  # noqa: PTH122
    return f"{key}.image{extension}", f"{key}.alpha.png", f"{key}.trimap.png", f"{key}.json"


def header(member: str, size: int) -> bytes:
    """The block before a member's bytes (POSIX ustar): no time, no owner, the same wherever it is written."""
    info = tarfile.TarInfo(member)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def filling(size: int) -> int:
    """How many zeros follow a member's bytes up to the next block."""
    return -size % tarfile.BLOCKSIZE


def table_of(tar: Path) -> Path:
    """Where the table of a shard lies."""
    return tar.with_suffix(".json")


def read_index(root: Path) -> Index | None:
    """The record of a folder of shards, None where there is none. Raises ShmDataError where it is broken."""
    return read_json_model(root / INDEX, Index, _WANTED)


def read_table(tar: Path) -> Table | None:
    """The table of a shard, None where there is none. Raises ShmDataError where it is broken."""
    return read_json_model(table_of(tar), Table, _WANTED)


def rows_of(root: Path, shard: Shard) -> Iterator[tuple[Row, int]]:
    """The samples of a shard, each with the byte of the tar that it begins at.

    Raises ShmDataError where the tar, or its table, is not what the index says.
    """
    tar, offset = root / shard.file, 0
    table = read_table(tar)
    if table is None or table.sha256 != shard.sha256 or len(table.samples) != shard.samples:
        found = "no table" if table is None else "the table of another shard"
        raise ShmDataError(path=table_of(tar), found=found, expected=f"that of {shard.samples} samples")
    for row in table.samples:
        yield row, offset
        offset += row.span
    size = size_of(tar)
    if size != shard.bytes or offset + len(END) != shard.bytes:
        found = "no file" if size is None else f"{size} bytes"
        raise ShmDataError(path=tar, found=found, expected=f"{shard.bytes} bytes as {INDEX} says")


def read_pictures(tar: Path, split: str, row: Row, offset: int) -> list[tuple[str, bytes]]:
    """The image, alpha and trimap of a sample that begins at a byte of a tar: names of the members and their files.

    Raises ShmDataError where the tar cannot be read, or holds something else there.
    """
    pictures = []
    try:
        with tar.open("rb") as file:
            file.seek(offset)
            for member, size in zip(members(split, row)[:3], row.sizes[:3], strict=True):
                head, data = file.read(tarfile.BLOCKSIZE), file.read(size)
                if head != header(member, size) or len(data) < size:
                    raise ShmDataError(path=tar, found="something else", expected=f"{member} of {row.name}")
                pictures.append((member, data))
                file.seek(filling(size), os.SEEK_CUR)
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=tar) from error
    return pictures


def size_of(path: Path) -> int | None:
    """The bytes of a file, None where there is none. Raises ShmDataError where that cannot be told."""
    try:
        told = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    return told.st_size if stat.S_ISREG(told.st_mode) else None
