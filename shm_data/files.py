"""Files that are whole or absent, names that lead nowhere else, and locks on folders. Standard library only."""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from shm_data.errors import BusyError, ShmDataError, WriteError

# A file name may hold 255 bytes on the common file systems; a numbered twin needs a few more.
_LONGEST_STEM = 240

_UNFINISHED = ".shm-tmp"

# What a file system answers that knows no locks, or no hard links (or no more of one file).
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)

_log = logging.getLogger(__name__)


def safe_stem(text: str) -> str:
    """`text` as the stem of a file name on one line: no separators, no control characters, not too long."""
    stem = re.sub(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]", "_", text)
    raw = stem.encode("utf-8", "surrogateescape")
    if len(raw) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return f"{raw[: _LONGEST_STEM - 13].decode('utf-8', 'ignore')}~{digest}"


def unused(stem: str, taken: dict[str, int]) -> str:
    """`stem`, or `stem_2`, `stem_3` ... if taken; marks the answer as taken, with the last number it was tried with.

    Names that differ only in case or in how Unicode composes their letters are one name to some file systems, so they
    count as taken.
    """
    plain = folded = _folded(stem)
    candidate, number = stem, taken.get(plain, 1)
    while folded in taken:
        number += 1
        candidate = f"{stem}_{number}"
        folded = _folded(candidate)
    taken[folded] = 1
    taken[plain] = number
    return candidate


def _folded(name: str) -> str:
    return name if name.isascii() and name.islower() else unicodedata.normalize("NFC", name).casefold()


def is_plain(name: str) -> bool:
    """Whether a name from a list names a file in a folder, and nothing outside of it."""
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """A file open to be written, which then is whole or absent, and outlives a loss of power."""
    with whole_file(path, durable=True) as target, target.open("wb") as file:
        yield file


def write_lines(path: Path, lines: Iterable[str]) -> str:
    """Writes a text file of lines, whole or not at all, and gives the SHA-256 of all that it holds.

    The lines are not held in memory together. Once this returns, the file outlives a loss of power.
    """
    digest = hashlib.sha256()
    with open_whole(path) as file:
        for line in lines:
            raw = to_line(line)
            digest.update(raw)
            file.write(raw)
    return digest.hexdigest()


def to_line(text: str) -> bytes:
    """A line of a text file: UTF-8, with the bytes of names that are not."""
    return f"{text}\n".encode("utf-8", "surrogateescape")


def write_bytes(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Writes a file, whole or not at all. A `durable` one outlives a loss of power once this returns."""
    with whole_file(path, durable=durable) as target:
        target.write_bytes(data)


def write_twin(path: Path, data: bytes | memoryview, twin: Path) -> bool:
    """Writes `data` as a hard link to `twin`, a file that holds the same, or, where there can be none, as a file.

    Gives whether it is a link. Raises WriteError where the file system refuses.
    """
    if _link(twin, path):
        return True
    write_bytes(path, data)
    return False


def _link(twin: Path, path: Path) -> bool:
    """Links `path` to `twin`, in the place of what may be there; whether that was possible."""
    try:
        try:
            path.hardlink_to(twin)
        except FileExistsError:
            path.unlink()
            path.hardlink_to(twin)
        return True
    except OSError as error:
        # Gone, or there again already: another writes the same sample, and to write is right in either case.
        if error.errno in _NO_LINKS or isinstance(error, FileNotFoundError | FileExistsError):
            return False
        raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it to `path` at the end: whole or absent.

    It ends with `suffix`, for writers that tell by it what to write. Raises WriteError where the file system refuses.
    """
    target = path.with_name(f".{secrets.token_hex(8)}{_UNFINISHED}{suffix}")
    try:
        yield target
        if durable:
            _sync(target)
        target.replace(path)
        if durable:
            _sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error
        raise


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync this kind of thing
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(root: Path, *, shared: bool = False) -> Iterator[None]:
    """Keeps a folder to one process, or to those that share it. The lock is on the folder itself.

    It leaves no file, and dies with its process. Raises BusyError where another process has the folder, and
    ShmDataError where there is none. A file system without locks is trusted, which is logged.
    """
    try:
        handle = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=root) from error
    try:
        _lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, root)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, kind: int, root: Path) -> None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError("is being written to", path=root, found="another run", expected="its end") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise ShmDataError(f"cannot be locked ({error.strerror})", path=root) from error
        _log.warning("%s lies on a file system without locks: take care that no two runs write there", root)


def clear_leftovers(*folders: Path) -> None:
    """Removes what a run that was killed in the middle of a file left beside it."""
    for folder in folders:
        for path in folder.glob(f".*{_UNFINISHED}*"):
            path.unlink(missing_ok=True)


def make_folders(*folders: Path) -> None:
    """Makes folders with their parents. Raises WriteError where the file system refuses."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"cannot be created ({error.strerror or error})", path=folder) from error
