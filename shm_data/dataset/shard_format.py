"""The format of shards, tar files of samples, with tables that say what lies where.

A folder of shards has index.json, and for each SHARD.tar a table SHARD.json with a row for each sample, in the order
of the tar. A sample is four members: image, alpha, trimap, and a JSON object. Their names are numbers and their
headers hold only name and size, so both follow from the row.
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

# The end of a tar file.
END = bytes(2 * tarfile.BLOCKSIZE)

_EXPECTED = "the record as shm-data shards wrote it"

# Larger than any picture that we read or write.
_Size = Annotated[int, Field(ge=1, le=2**31)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def require_fit(name: str) -> str:
    """Return the name of a sample. Raises ValueError where shards cannot hold it."""
    extension = os.path.splitext(name)[1]  # noqa: PTH122
    if not is_plain(name) or not re.fullmatch(r"\.[A-Za-z0-9]{1,8}", extension):
        raise ValueError("a file name with an extension such as .png")
    if name != name.encode("utf-8", "replace").decode():
        raise ValueError("a name in UTF-8")
    return name


class Row(NamedTuple):
    """A sample of a shard: its position in the list of its split, its name, and the bytes of its members."""

    position: Annotated[int, Field(ge=0)]
    name: Annotated[str, AfterValidator(require_fit)]
    image: _Size
    alpha: _Size
    trimap: _Size
    json: _Size

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """The bytes of its members, in order."""
        return self[2:]

    @property
    def span(self) -> int:
        """How many bytes of a tar it takes, with headers and padding."""
        return sum(tarfile.BLOCKSIZE + size + padding(size) for size in self.sizes)


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

    `dataset` has the SHA-256 of the files that identify the data set: its lists, and dataset.json if it has one.
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
    """Return the names of a sample's members. The key, up to the first dot, has its position: unique and ASCII."""
    key = f"{split}-{row.position:08}"
    extension = os.path.splitext(row.name)[1].lower()  # noqa: PTH122
    return f"{key}.image{extension}", f"{key}.alpha.png", f"{key}.trimap.png", f"{key}.json"


def header(member: str, size: int) -> bytes:
    """Return the header of a member (POSIX ustar) without time and owner: the same wherever it is written."""
    info = tarfile.TarInfo(member)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padding(size: int) -> int:
    """Return how many zeros follow a member's bytes up to the next block."""
    return -size % tarfile.BLOCKSIZE


def table_of(tar: Path) -> Path:
    """Return the path of the table of a shard."""
    return tar.with_suffix(".json")


def read_index(root: Path) -> Index | None:
    """Return the record of a folder of shards, None where there is none. Raises ShmDataError where it is broken."""
    return read_json_model(root / INDEX, Index, _EXPECTED)


def read_table(tar: Path) -> Table | None:
    """Return the table of a shard, None where there is none. Raises ShmDataError where it is broken."""
    return read_json_model(table_of(tar), Table, _EXPECTED)


def rows_of(root: Path, shard: Shard) -> Iterator[tuple[Row, int]]:
    """Return the samples of a shard, each with the byte of the tar at which it begins.

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
    """Return image, alpha and trimap of the sample that begins at a byte of a tar: names of members and their files.

    Raises ShmDataError where the tar cannot be read, or holds something else there.
    """
    return _read(tar, split, row, offset, 3)


def read_line(tar: Path, split: str, row: Row, offset: int) -> bytes:
    """Return the JSON object, on one line, of the sample that begins at a byte of a tar."""
    return _read(tar, split, row, offset, 4)[3][1]


def _read(tar: Path, split: str, row: Row, offset: int, count: int) -> list[tuple[str, bytes]]:
    """Return the names and contents of the first `count` members of a sample."""
    contents = []
    try:
        with tar.open("rb") as file:
            file.seek(offset)
            for member, size in list(zip(members(split, row), row.sizes, strict=True))[:count]:
                head, data = file.read(tarfile.BLOCKSIZE), file.read(size)
                if head != header(member, size) or len(data) < size:
                    raise ShmDataError(path=tar, found="something else", expected=f"{member} of {row.name}")
                contents.append((member, data))
                file.seek(padding(size), os.SEEK_CUR)
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=tar) from error
    return contents


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, None where there is none. Raises ShmDataError where it cannot be read."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None
