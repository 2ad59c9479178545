"""Lists the pictures in a folder."""

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from shm_data.errors import ShmDataError, counted
from shm_data.images.formats import EXTENSIONS, FORMATS, UNREAD_EXTENSIONS

# Number of skipped files whose names are printed.
_SHOWN = 5

_log = logging.getLogger(__name__)


def find(root: Path, without: Iterable[Path] = ()) -> list[str]:
    """Return the pictures in a folder and its subfolders, by extension: sorted relative paths with forward slashes.

    Folders in `without` are skipped, and so are hidden files and folders. Links to folders are followed, but no
    folder is entered twice. Skipped and logged are names that are not UTF-8, which no list can hold, and pictures of
    formats that are not read. Raises ShmDataError where `root` is not a folder, one below it cannot be listed, or all
    its pictures are of such formats.
    """
    require_folder(root)
    entered = {os.path.realpath(folder) for folder in (root, *without)}
    found, unread = [], []
    for folder, folders, files in os.walk(root, onerror=_not_listed, followlinks=True):
        here = Path(folder)
        folders[:] = _folders_to_enter(here, folders, entered)
        pictures = _in_utf8(here, [name for name in files if _is_picture(here / name)])
        found += [(here.relative_to(root) / name).as_posix() for name in pictures]
        unread += [(here.relative_to(root) / name).as_posix() for name in files if _is_unread(name)]
    _report_unread(root, sorted(unread), is_all=not found)
    return sorted(found)


def _report_unread(root: Path, names: Sequence[str], *, is_all: bool) -> None:
    if not names:
        return
    kinds = sorted({Path(name).suffix.lower().removeprefix(".").upper() for name in names})
    what = f"{counted(len(names), 'file')} of a format that is not read ({', '.join(kinds)})"
    shown = ", ".join([*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)])
    if is_all:
        raise ShmDataError(path=root, found=f"only {what}: {shown}", expected=f"pictures of {', '.join(FORMATS)}")
    _log.warning("%s: skipped %s: %s", root, what, shown)


def require_folder(root: Path) -> None:
    """Raise ShmDataError where `root` is not a folder that can be listed and its files read."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise ShmDataError(path=root, found="a file", expected="a folder")
        os.stat(f"{root}/.")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShmDataError(path=root, found="no folder", expected="a folder") from error
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=root) from error


def _folders_to_enter(folder: Path, names: list[str], entered: set[str]) -> list[str]:
    """Return the subfolders to enter, in order; marks them as entered."""
    unseen = []
    for name in _in_utf8(folder, [name for name in names if not name.startswith(".")]):
        target = os.path.realpath(folder / name)
        if target not in entered:
            entered.add(target)
            unseen.append(name)
    return unseen


def _in_utf8(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names in order, without those that are not UTF-8."""
    strange = [name for name in names if name != name.encode("utf-8", "replace").decode()]
    for name in strange:
        _log.warning("%r is skipped: its name is not UTF-8", os.fsencode(folder / name))
    return sorted(set(names).difference(strange))


def _is_picture(path: Path) -> bool:
    """Return whether a name is that of a picture and a file; a dangling link counts, so that it is reported."""
    if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
        return False
    try:
        return path.is_file() or path.is_symlink()
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=path) from error


def _is_unread(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in UNREAD_EXTENSIONS and not name.startswith(".")  # noqa: PTH122  # of many


def _not_listed(error: OSError) -> None:
    raise ShmDataError(f"cannot be listed ({error.strerror})", path=error.filename) from error
