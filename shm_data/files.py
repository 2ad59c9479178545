"""Files that are whole or absent, names that every file system takes, and locks on folders. No heavy imports."""

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from shm_data.errors import BusyError, ShmDataError, WriteError

# A file name may hold 255 bytes on the common file systems; a numbered twin needs a few more.
_LONGEST_STEM = 240

_UNFINISHED = ".shm-tmp"

# What a file system answers that has no locks, or no hard links (or allows no more of one file). Windows answers
# EINVAL where the file system has no links.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_LINKS = frozenset((*_NO_LOCKS, errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EACCES, errno.EINVAL))

# Windows opens no folder, so there the lock is on a file in it; and it replaces no file that another program, such as
# a virus scanner, holds open, which takes it a moment as a rule.
_WINDOWS = os.name == "nt"
_LOCK_FILE = ".shm-lock"
_PATIENCE = 2.0
_PAUSE = 0.05

# A file of ours that another run may replace has its mark near its beginning.
_WHERE = 2048

# Device names of Windows, whatever follows their first dot.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|$)", re.IGNORECASE)

_log = logging.getLogger(__name__)


def safe_stem(text: str) -> str:
    """Return `text` as the stem of a file name that Linux, macOS and Windows take: on one line and not too long.

    Separators, control characters and what Windows forbids become underscores.
    """
    stem = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]', "_", text)
    stem = f"_{stem}" if _DEVICE.match(stem) else stem
    raw = stem.encode("utf-8", "surrogateescape")
    if len(raw) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return f"{raw[: _LONGEST_STEM - 13].decode('utf-8', 'ignore')}~{digest}"


def unused(stem: str, taken: dict[str, int]) -> str:
    """Return `stem`, or `stem_2`, `stem_3` ... if taken, and mark it as taken, with the last number that was tried.

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
    """Return whether a name from a list names a file in a folder, and nothing outside it, on every system."""
    return is_component(name) and "\\" not in name


def is_component(name: str) -> bool:
    """Return whether a name is one component of a relative path on this system, and leads to no other folder."""
    separators = {"/", "\0", "\\", ":"} if _WINDOWS else {"/", "\0"}
    return name not in ("", ".", "..") and separators.isdisjoint(name)


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing. It is whole or absent in the end, and outlives a loss of power."""
    with whole_file(path, durable=True) as target, target.open("wb") as file:
        yield file


def write_lines(path: Path, lines: Iterable[str]) -> str:
    """Write a text file of lines, whole or not at all, and return the SHA-256 of its contents.

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
    """Return a line of a text file: UTF-8, with the bytes of names that are not."""
    return f"{text}\n".encode("utf-8", "surrogateescape")


def write_bytes(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file, whole or not at all. A `durable` one outlives a loss of power once this returns."""
    with whole_file(path, durable=durable) as target:
        target.write_bytes(data)


def write_twin(path: Path, data: bytes | memoryview, twin: Path) -> bool:
    """Write `data` as a hard link to `twin`, a file with the same contents, or as a file where no link is possible.

    Return whether it is a link. Raises WriteError where the file system refuses.
    """
    if _link(twin, path):
        return True
    write_bytes(path, data)
    return False


def link_or_copy(source: Path, path: Path) -> None:
    """Make `path` a hard link to the file `source`, or a copy where no link is possible: whole or absent.

    Raises WriteError where the file system refuses.
    """
    real = source.resolve()  # some systems would link a symbolic link itself
    if not _link(real, path):
        with whole_file(path) as target:
            shutil.copyfile(real, target)


def _link(twin: Path, path: Path) -> bool:
    """Link `path` to `twin` instead of what may be there; return whether that was possible."""
    try:
        try:
            path.hardlink_to(twin)
        except FileExistsError:
            path.unlink()
            path.hardlink_to(twin)
        return True
    except NotImplementedError:
        return False
    except OSError as error:
        # Gone, or there again already: another run writes the same sample, and writing is right in either case.
        if error.errno in _NO_LINKS or isinstance(error, FileNotFoundError | FileExistsError):
            return False
        raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Return a path beside `path` to write to, and rename it to `path` at the end: whole or absent.

    It ends with `suffix`, for writers that choose a format by it. Raises WriteError where the file system refuses.
    """
    target = path.with_name(f".{secrets.token_hex(8)}{_UNFINISHED}{suffix}")
    try:
        yield target
        if durable:
            _sync(target)
        _replace(target, path)
        if durable:
            _sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WriteError(f"cannot be written ({error.strerror or error})", path=path) from error
        raise


def _replace(source: Path, target: Path) -> None:
    """Rename a file; on Windows wait a moment for a program that holds the target open."""
    deadline = time.monotonic() + _PATIENCE * _WINDOWS
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Windows syncs no folders."""
    is_folder = path.is_dir()
    if is_folder and _WINDOWS:
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync this kind of file
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(root: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep a folder to one process, or to those that share it.

    The lock is on the folder itself; on Windows on a file in it, which the last process removes. It ends with its
    process. Raises BusyError where another process has the folder, and ShmDataError where there is none. A file
    system without locks is trusted, which is logged.
    """
    lock_file = root / _LOCK_FILE
    try:
        handle = os.open(lock_file, os.O_RDWR | os.O_CREAT) if _WINDOWS else os.open(root, os.O_RDONLY)
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=root) from error
    try:
        _lock(handle, root, shared=shared)
        yield
    finally:
        os.close(handle)
        if _WINDOWS:
            with contextlib.suppress(OSError):  # another process has it open
                lock_file.unlink()


def _lock(handle: int, root: Path, *, shared: bool) -> None:
    import portalocker  # noqa: PLC0415  # only those who write need it

    kind = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        portalocker.lock(handle, kind | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked as error:
        raise BusyError("is being written to", path=root, found="another run", expected="its end") from error
    except portalocker.LockException as error:
        cause = next((part for part in error.args if isinstance(part, OSError)), OSError(0, str(error)))
        if cause.errno not in _NO_LOCKS:
            raise ShmDataError(f"cannot be locked ({cause.strerror})", path=root) from error
        _log.warning("%s lies on a file system without locks: take care that no two runs write there", root)


@contextlib.contextmanager
def shared_folder(folder: Path) -> Iterator[None]:
    """Share a folder with other runs that write single files into it; the first one clears leftovers of killed runs.

    Raises BusyError where a run that needs the folder for itself has it.
    """
    with contextlib.suppress(BusyError), locked(folder):
        clear_leftovers(folder)
    with locked(folder, shared=True):
        yield


@contextlib.contextmanager
def visited_folder(folder: Path) -> Iterator[None]:
    """Do what `shared_folder` does where no run has the folder for itself, and otherwise leave it to that run."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(BusyError):
            stack.enter_context(shared_folder(folder))
        yield


def clear_leftovers(*folders: Path) -> None:
    """Remove what a run that was killed in the middle of a file left beside it."""
    for folder in folders:
        for path in folder.glob(f".*{_UNFINISHED}*"):
            path.unlink(missing_ok=True)


def make_folders(*folders: Path, parents: bool = True) -> None:
    """Create folders, with their `parents` unless these must be there. Raises WriteError where that is impossible."""
    for folder in folders:
        try:
            folder.mkdir(parents=parents, exist_ok=True)
        except OSError as error:
            raise WriteError(f"cannot be created ({error.strerror or error})", path=folder) from error


def require_own(option: str, out: Path, mark: bytes) -> None:
    """Raise ShmDataError where there is no folder for `out`, or where it is a file without the mark."""
    if not out.parent.is_dir():
        raise ShmDataError(f"{option} {out}", found=f"no folder {out.parent}", expected="an existing folder")
    try:
        with out.open("rb") as file:
            start = file.read(_WHERE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ShmDataError(f"{option} {out}", found=error.strerror or str(error), expected="a file") from error
    if mark not in start:
        raise ShmDataError(f"{option} {out}", found="another file", expected="a new name, or an earlier output")


def require_own_in(savedir: Path, marks: Mapping[str, bytes]) -> None:
    """Raise ShmDataError where a folder has a file of one of these names without its mark."""
    for name, mark in marks.items() if savedir.is_dir() else ():
        require_own("--savedir", savedir / name, mark)


def write_own(out: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and remove what killed runs left beside it. Raises WriteError."""
    with visited_folder(out.parent):
        write_bytes(out, data)
