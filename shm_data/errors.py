"""Faults of a user's input, as fields. Text is made of them only where it is shown."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

# The number of faults that are shown.
_SHOWN = 10


class ShmDataError(Exception):
    """A fault of the input: what is wrong, what was found, what was expected, and the file that it is about.

    `ShmDataError(path="alice.jpg", found="800x600", expected="at most 512x512")` reads
    "alice.jpg: found 800x600, expected at most 512x512"; with `what="is broken"`, "alice.jpg is broken: ...".
    `faults` are single faults, errors or phrases, that this one sums up; a single one is shown as it is.
    """

    def __init__(
        self,
        what: str = "",
        *,
        found: object = "",
        expected: object = "",
        path: object = None,
        faults: Sequence[object] = (),
    ) -> None:
        super().__init__(what)
        self.what, self.found, self.expected = what, str(found), str(expected)
        self.path = None if path is None else str(path)
        self.faults = tuple(faults)

    @property
    def reason(self) -> str:
        """The fault without the file that it is about, so that many files can share it."""
        details = [f"found {self.found}"] * bool(self.found) + [f"expected {self.expected}"] * bool(self.expected)
        return ": ".join(filter(None, (self.what, ", ".join(details))))

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return str(self.faults[0])
        if self.faults:
            more = [f"and {len(self.faults) - _SHOWN} more"] * (len(self.faults) > _SHOWN)
            lines = (one_line(str(fault)) for fault in self.faults[:_SHOWN])
            return "\n  ".join([f"{one_line(self.what)}:", *lines, *more])
        if self.path is None:
            return one_line(self.reason)
        return one_line(f"{self.path}{' ' if self.what else ': '}{self.reason}")


def one_line(text: str) -> str:
    """Return the text with line breaks and control characters as escapes: a file may have any name."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, with an s unless the number is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


# Why a single file cannot be read: it is missing, nobody may read it, or its contents are broken. Decoders raise
# errors without a number, and seeking to where a broken file points gives EINVAL.
_OF_FILE = frozenset((None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ))
_OF_FILE |= {errno.EACCES, errno.EPERM, errno.EINVAL}

# The code of cv2.error for too little memory.
_OPENCV_NO_MEMORY = -4


def is_machine_fault(error: Exception) -> bool:
    """Return whether the machine and not a file is at fault: memory, disk, network, limits.

    A file must not be skipped for it, which would change the data set for good.
    """
    if isinstance(error, OSError):
        # Windows gives EINVAL for whatever POSIX has no number for.
        return error.errno not in _OF_FILE or (error.errno == errno.EINVAL and hasattr(error, "winerror"))
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY


def as_machine_fault(error: Exception, path: object) -> OSError:
    """Return a fault of the machine as an error of the system that names the file."""
    number = error.errno if isinstance(error, OSError) and error.errno else errno.ENOMEM
    return OSError(number, os.strerror(number), str(path))


class WriteError(ShmDataError):
    """Nothing can be written any more (full disk, lost permission): the whole job stops."""


class EmptySplitError(ShmDataError):
    """A split of a data set has no samples."""


class BusyError(ShmDataError):
    """Another run is using the folder, or was a moment ago."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not used, and why; the reason is a phrase that many items can share."""

    what: str
    why: str
