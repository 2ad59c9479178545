"""The pictures in a folder."""

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from shm_data.errors import ShmDataError

EXTENSIONS = frozenset(".bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split())

_log = logging.getLogger(__name__)


def find(root: Path, without: Iterable[Path] = ()) -> list[str]:
    """The pictures in a folder and its subfolders, by extension: sorted relative paths with forward slashes.

    Folders in `without` are passed over with all they hold, and so are hidden files and folders. Links to
    folders are followed, but no folder is entered twice. A name that is not UTF-8, which no list can hold, is
    left out, and logged. Raises ShmDataError where `root` is not a folder, or one below it cannot be listed.
    """
    require_folder(root)
    entered = {os.path.realpath(folder) for folder in (root, *without)}
    found = []
    for folder, folders, files in os.walk(root, onerror=_not_listed, followlinks=True):
        here = Path(folder)
        folders[:] = _not_entered(here, folders, entered)
        pictures = [name for name in files if _is_picture(here / name)]
        found += [(here.relative_to(root) / name).as_posix() for name in _in_utf8(here, pictures)]
    return sorted(found)


def require_folder(root: Path) -> None:
    """Raises ShmDataError where `root` is not a folder that can be listed and its files looked at."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise ShmDataError(path=root, found="a file", expected="a folder")
        os.stat(f"{root}/.")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShmDataError(path=root, found="no folder", expected="a folder") from error
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=root) from error


def _not_entered(folder: Path, names: list[str], entered: set[str]) -> list[str]:
    """The subfolders to enter, in order; marks them as entered."""
    unseen = []
    for name in _in_utf8(folder, [name for name in names if not name.startswith(".")]):
        place = os.path.realpath(folder / name)
        if place not in entered:
            entered.add(place)
            unseen.append(name)
    return unseen


def _in_utf8(folder: Path, names: Sequence[str]) -> list[str]:
    """The names in order, without those that are not UTF-8."""
    strange = [name for name in names if name != name.encode("utf-8", "replace").decode()]
    for name in strange:
        _log.warning("%r is left out: its name is not UTF-8", os.fsencode(folder / name))
    return sorted(set(names).difference(strange))


def _is_picture(path: Path) -> bool:
    """Whether it is named like a picture and is a file; a dangling link is kept, so that somebody tells of it."""
    if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
        return False
    try:
        return path.is_file() or path.is_symlink()
    except OSError as error:
        raise ShmDataError(f"cannot be opened ({error.strerror})", path=path) from error


def _not_listed(error: OSError) -> None:
    raise ShmDataError(f"cannot be listed ({error.strerror})", path=error.filename) from error
