"""Candidates for backgrounds, and those in a folder without annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError

SHOWS_PERSON = "shows a person"
UNKNOWN = "no annotation that says what it shows: may show a person"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that may become a background. `name` is its path below the root.

    `why` is the reason not to use it, if there is one. One that is not `selected` is not used either; if it shows a
    person, its copies elsewhere are skipped, too. `photo` identifies the photo in every copy of its data set.
    """

    name: str
    why: str = ""
    selected: bool = True
    photo: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The candidates in a folder. `classes` are the names of all annotated classes, None where none were read."""

    candidates: Sequence[Candidate]
    classes: frozenset[str] | None = None


def candidates(root: Path) -> Listing:
    """Return every picture in a folder and its subfolders. Raises ShmDataError where there is none."""
    return Listing([Candidate(name) for name in pictures(root)])


def pictures(root: Path) -> list[str]:
    """Return the pictures below `root` as sorted relative paths. Raises ShmDataError where there is none."""
    names = images.find(root)
    if not names:
        raise ShmDataError(path=root, found="no pictures", expected="background photos")
    return names


def reason_against(person: bool | None) -> str:
    """Return why a photo is skipped that shows a person, or where that is unknown (None); "" if it shows none."""
    return UNKNOWN if person is None else SHOWS_PERSON if person else ""
