"""What a user did wrong, or what their files lack, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self


class ShmDataError(Exception):
    """A fault of the input: what it is, what was found, what was wanted.

    `ShmDataError("alice.jpg", found="800x600", wanted="at most 512x512")` reads
    "alice.jpg: found 800x600, wanted at most 512x512".
    """

    def __init__(self, what: str, *, found: str = "", wanted: str = "") -> None:
        details = [f"found {found}"] * bool(found) + [f"wanted {wanted}"] * bool(wanted)
        super().__init__(f"{what}: {', '.join(details)}" if details else what)

    @classmethod
    def of_many(cls, what: str, faults: Sequence[object]) -> Self:
        """One fault as it is; of several the first ten, a line each, under `what`."""
        if len(faults) == 1:
            return cls(str(faults[0]))
        more = [f"and {len(faults) - 10} more"] * (len(faults) > 10)
        return cls("\n  ".join([f"{what}:", *map(str, faults[:10]), *more]))


def without_path(message: str, path: Path) -> str:
    """The message without the path, so that files with the same fault have the same reason."""
    return message.replace(f" {str(path)!r}", "").replace(f" {path}", "")


class WriteError(ShmDataError):
    """Nothing can be written any more (full disk, lost permission): the whole work stops."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was left out, and why; the reason is a phrase many items can share."""

    what: str
    why: str
