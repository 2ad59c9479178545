"""What a user did wrong, or what their files lack, in one sentence."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self


class ShmDataError(Exception):
    """A fault of the input: what it is, what was found, what was expected.

    `ShmDataError("alice.jpg", found="800x600", expected="at most 512x512")` reads
    "alice.jpg: found 800x600, expected at most 512x512".
    """

    def __init__(self, what: str, *, found: str = "", expected: str = "") -> None:
        details = [f"found {found}"] * bool(found) + [f"expected {expected}"] * bool(expected)
        super().__init__(one_line(f"{what}: {', '.join(details)}" if details else what))

    @classmethod
    def of_many(cls, what: str, faults: Sequence[object]) -> Self:
        """One fault as it is; of several the first ten, a line each, under `what`."""
        if len(faults) == 1:
            return cls(str(faults[0]))
        more = [f"and {len(faults) - 10} more"] * (len(faults) > 10)
        fault = cls(what)
        fault.args = ("\n  ".join([f"{fault}:", *(one_line(str(each)) for each in faults[:10]), *more]),)
        return fault


def one_line(text: str) -> str:
    """The text with what would break the line, or a terminal, as escapes: a file may have any name."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def counted(number: int, what: str) -> str:
    """A number of things, whose word gets its s unless it is one."""
    return f"{number} {what}{'s' * (number != 1)}"


def without_path(message: str, path: Path) -> str:
    """The message without the path, so that files with the same fault have the same reason."""
    bare = message.removeprefix(f"{path}: ").removeprefix(f"{path} ")
    return bare.replace(f" {str(path)!r}", "").replace(f" {path}", "")


# The machine is at fault, not a file: to leave the file out would make another set, for good.
MACHINE = frozenset(
    (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN)
)


class WriteError(ShmDataError):
    """Nothing can be written any more (full disk, lost permission): the whole work stops."""


class BusyError(ShmDataError):
    """Another run is at work in the folder, or was a moment ago."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was left out, and why; the reason is a phrase many items can share."""

    what: str
    why: str
