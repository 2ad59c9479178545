"""Fingerprints of files, and whether a file has changed since: by size and time, or by content."""

import hashlib
from pathlib import Path
from typing import NamedTuple


class Fingerprint(NamedTuple):
    """The size of a file in bytes, when it was written in ns, and the BLAKE2b-128 of its content."""

    size: int
    time: int
    digest: str


def fingerprint_of(path: Path) -> Fingerprint:
    """Return the fingerprint of a file. Raises OSError where it cannot be read."""
    status = path.stat()  # first: a file that changes while it is read gets another time than this one
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return Fingerprint(status.st_size, status.st_mtime_ns, digest)


def changed(then: Fingerprint, path: Path, *, verify: bool = False) -> tuple[str, str] | None:
    """Return what is found and what was expected where a file has changed since its fingerprint, else None.

    The content is read where the time differs, as after copying, or to `verify` it; otherwise an equal size and
    time are trusted.
    """
    try:
        status = path.stat()
        if status.st_size != then.size:
            return f"{status.st_size} bytes", f"{then.size} bytes as recorded"
        if (verify or status.st_mtime_ns != then.time) and fingerprint_of(path).digest != then.digest:
            return "other content of the same size", "the recorded content"
    except OSError as error:
        return ("nothing" if isinstance(error, FileNotFoundError) else str(error.strerror)), f"{then.size} bytes"
    return None
