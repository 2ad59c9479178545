"""The files that report and preview write: they replace only their own, and remove what a killed run left."""

from pathlib import Path

from shm_data.errors import ShmDataError
from shm_data.files import visited_folder, write_bytes

# Each file of ours has its mark near its beginning.
_WHERE = 2048


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


def write_own(out: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and remove what killed runs left beside it. Raises WriteError."""
    with visited_folder(out.parent):
        write_bytes(out, data)
