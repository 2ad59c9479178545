"""Candidates for backgrounds, and those in a plain folder."""

from dataclasses import dataclass
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError

SHOWS_PERSON = "shows a person"
UNKNOWN = "has no annotation, so it may show a person"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that may become a background. `name` is its path below the root.

    `why` tells what speaks against it, if anything. One that is not `selected` was not asked for: it only tells
    of the person it shows. `photo` is a name that this photo, and no other, bears in every copy of its dataset.
    """

    name: str
    why: str = ""
    selected: bool = True
    photo: str = ""


def candidates(root: Path) -> list[Candidate]:
    """Every picture in the folder and its subfolders. Raises ShmDataError where there is none."""
    return [Candidate(name) for name in pictures(root)]


def pictures(root: Path) -> list[str]:
    """The pictures below `root`, as sorted relative paths. Raises ShmDataError where there is none."""
    names = images.find(root)
    if not names:
        raise ShmDataError(path=root, found="no pictures", expected="background photos")
    return names


def verdict(person: bool | None) -> str:
    """What speaks against a photo that shows a person, or of which that is unknown (None)."""
    return UNKNOWN if person is None else SHOWS_PERSON if person else ""
