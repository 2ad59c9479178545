"""Tells whether a file is still what it was: by its size and time, or by its content."""

import hashlib
from pathlib import Path
from typing import NamedTuple


class Fingerprint(NamedTuple):
    """A file as it was: its size in bytes, when it was written in ns, and the BLAKE2b-128 of its content."""

    size: int
    time: int
    digest: str


def fingerprint_of(path: Path) -> Fingerprint:
    """The stamp of a file. Raises OSError where it cannot be read."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    told = path.stat()
    return Fingerprint(told.st_size, told.st_mtime_ns, digest)


def changed(then: Fingerprint, path: Path, *, verify: bool = False) -> tuple[str, str] | None:
    """What is found and what was expected, where a file is no longer what it was.

    The content is read where the time differs, as after copying, or to `verify` it; else an equal size and time
    are trusted.
    """
    try:
        told = path.stat()
        if told.st_size != then.size:
            return f"{told.st_size} bytes", f"{then.size} bytes as then"
        if (verify or told.st_mtime_ns != then.time) and fingerprint_of(path).digest != then.digest:
            return "other content of the same size", "the content of then"
    except OSError as error:
        return ("nothing" if isinstance(error, FileNotFoundError) else str(error.strerror)), f"{then.size} bytes"
    return None
