"""COCO: folders of photos, and annotations/instances_*.json that say which of them show a person."""

import contextlib
import re
from array import array
from codecs import BOM_UTF8
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import ijson
import numpy as np

from shm_data.errors import ShmDataError
from shm_data.sources.background_folders import Candidate, Listing, pictures, reason_against
from shm_data.sources.people import PersonRule

_ANNOTATIONS = "annotations"

# The number of a photo is the same in all releases, 2014 and 2017, train and val.
_OFFICIAL = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12}\.\w+)")

# Measured on 550 MB with 860,000 annotations: three passes of ijson.items take 21 s, one of ijson.parse 32 s, one
# through three coroutines 61 s. Without outlines and boxes, which are most of the events and are not needed,
# one pass of ijson.parse takes 6.5 s (3.2 times faster than the best of those) and 45 MB.
# A list of numbers has no quote or brace, and a quote inside a string is escaped: the pattern matches nothing else.
_OUTLINE = re.compile(rb'("(?:segmentation|bbox)"\s*:\s*\[)[^"{}]*\]')
_CHUNK = 1 << 16

# Python's json writes these as numbers, which JSON has not. A piece ends before a brace, so with the last of them.
_NO_NUMBER = re.compile(rb"([:\[,]\s*)(?:NaN|-?Infinity)(?=\s*(?:[,\]}]|$))")

# The fields that are needed, and their types.
_FIELDS = {
    "images.item.id": ("id", int),
    "images.item.file_name": ("file_name", str),
    "annotations.item.image_id": ("image_id", int),
    "annotations.item.category_id": ("category_id", int),
    "categories.item.id": ("id", int),
    "categories.item.name": ("name", str),
    "categories.item.supercategory": ("supercategory", str),
}
_OPTIONAL = frozenset(("supercategory",))
# The events that are allowed at the prefixes that lead to them: others would hide annotations, and so people.
_LISTS = ("images", "annotations", "categories")
_SHAPE = {name: {"start_array", "end_array"} for name in _LISTS}
_SHAPE |= {f"{name}.item": {"start_map", "map_key", "end_map"} for name in _LISTS}

# COCO nests five deep. Each level makes the prefixes inside it longer, so time grows with the square of the depth.
_DEEPEST = 1000
_TOO_DEEP = f"lists nested more than {_DEEPEST} deep"
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """Whether the images that a file lists show a person, None if unknown, by path; the names of its used classes."""

    shown: dict[PurePosixPath, bool | None]
    classes: frozenset[str]


def candidates(root: Path, rule: PersonRule | None) -> Listing:
    """Return the photos in any folder below a COCO root, with whether they show a person by the `rule`.

    Crowds count, too. Without a rule nothing is read about people. A listed image without annotations shows nobody.
    Unknown is one that no file lists, one with an annotation of no category, and all where nothing is annotated.
    Raises ShmDataError where there are no photos, or, with a rule, no annotations or broken ones.
    """
    names = [name for name in pictures(root) if not name.startswith(f"{_ANNOTATIONS}/")]
    if rule is None:
        return Listing([_candidate(name, "") for name in names])
    verdicts = [_read(path, rule) for path in _require_annotations(root)]
    classes = frozenset[str]().union(*(each.classes for each in verdicts))
    shown = _shown(names, verdicts) if classes else dict[str, bool | None].fromkeys(names)
    return Listing([_candidate(name, reason_against(shown[name])) for name in names], classes)


def licences(root: Path, names: Sequence[str]) -> dict[str, int]:
    """Count these photos below a COCO root by licence: its name and URL, "" where the annotations name none.

    Annotations that are missing or truncated are no fault here; `candidates` refuses them.
    """
    bases = {_base(name) for name in names}
    licence_of: dict[str, str] = {}
    for path in _annotations(root):
        licence_of = _licences_in(path, bases) | licence_of
    counts = Counter(licence_of.get(_base(name), "") for name in names)
    return {licence: counts[licence] for licence in sorted(counts)}


def _licences_in(path: Path, bases: AbstractSet[str]) -> dict[str, str]:
    """Return the licence of each of these photos that the file lists; photos by their base names, see `_base`."""
    texts: dict[object, str] = {}
    numbers: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError, OverflowError, ijson.JSONError), path.open("rb") as file:
        for prefix, record in _licence_records(file):
            if prefix == "images.item" and (name := _base(str(record.get("file_name", "")))) in bases:
                numbers.setdefault(name, record.get("license"))
            elif prefix == "licenses.item":
                texts[record.get("id")] = ", ".join(str(record[part]) for part in ("name", "url") if part in record)
    return {name: texts[number] for name, number in numbers.items() if texts.get(number)}


def _licence_records(file: BinaryIO) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the prefix and the plain fields of each licence and each image, until both lists have been read.

    In the official files they come before the annotations, which are then not read at all.
    """
    left = {"licenses", "images"}
    prefixes = {f"{name}.item" for name in left}
    record: dict[str, object] = {}
    for prefix, event, value in ijson.parse(_WithoutOutlines(file), use_float=True):
        parent, _, field = prefix.rpartition(".")
        if parent in prefixes and event in ("string", "number"):
            record[field] = value
        elif prefix in prefixes and event == "end_map":
            yield prefix, record
            record = {}
        elif prefix in left and event == "end_array":
            left.remove(prefix)
            if not left:
                return
        elif len(prefix) > _DEEPEST:
            raise ValueError(_TOO_DEEP)


def _annotations(root: Path) -> list[Path]:
    return sorted(filter(Path.is_file, (root / _ANNOTATIONS).glob("instances_*.json")))


def _candidate(name: str, why: str) -> Candidate:
    base = _base(name)
    return Candidate(name, why, photo=f"COCO {base}" if _OFFICIAL.fullmatch(base) else "")


def _base(name: str) -> str:
    """Return the name without folders and without the prefix that the release of 2014 has before the number."""
    base = PurePosixPath(name.replace("\\", "/")).name
    official = _OFFICIAL.fullmatch(base)
    return official[1] if official else base


def _require_annotations(root: Path) -> list[Path]:
    paths = _annotations(root)
    if not paths:
        expected = f"{_ANNOTATIONS}/instances_*.json, to know the photos without people"
        raise ShmDataError(path=root, found="no annotations", expected=expected)
    return paths


def _shown(names: Sequence[str], verdicts: Sequence[_Verdicts]) -> dict[str, bool | None]:
    """Return whether each photo shows a person: True if any file says so, None if none lists it or one is unsure.

    An entry matches a photo if the path of one ends with that of the other; by the name alone if the photo's name is
    unique, or the official one of COCO.
    """
    listed: dict[str, list[tuple[PurePosixPath, bool | None]]] = defaultdict(list)
    for path, person in chain.from_iterable(each.shown.items() for each in verdicts):
        listed[path.name].append((path, person))
    photos = Counter(map(_base, names))

    def shows_person(name: str) -> bool | None:
        base = _base(name)
        by_path = [person for path, person in listed[base] if _matches(name, path)]
        by_name = [person for _, person in listed[base]]
        found = by_name if _OFFICIAL.fullmatch(base) or (photos[base] == 1 and not by_path) else by_path
        return _any_person(found)

    return {name: shows_person(name) for name in names}


def _any_person(verdicts: Collection[bool | None]) -> bool | None:
    return True if True in verdicts else None if None in verdicts or not verdicts else False


def _matches(name: str, path: PurePosixPath) -> bool:
    pairs = zip(reversed(PurePosixPath(name).parts[:-1]), reversed(path.parts[:-1]), strict=False)
    return all(one == other for one, other in pairs)


def _listed_path(file_name: str) -> PurePosixPath:
    """Return the path of an entry, with forward slashes, no drive or "..", and without the prefix of 2014."""
    parts = [part for part in file_name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return PurePosixPath(*parts[:-1], _base(file_name))


def _read(path: Path, rule: PersonRule) -> _Verdicts:
    try:
        with path.open("rb") as file:
            return _verdicts(file, rule)
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    except KeyError as error:
        raise ShmDataError(
            path=path, found=f"an entry without a proper {error}", expected="COCO annotations"
        ) from error
    except ijson.JSONError as error:
        found = f"broken JSON ({_first_line(error)})"
        raise ShmDataError(path=path, found=found, expected="COCO annotations") from error
    except (ValueError, OverflowError) as error:
        raise ShmDataError(path=path, found=str(error), expected="COCO annotations") from error


def _first_line(error: Exception) -> str:
    """Return the parser's message without the excerpt below it. The message is in bytes where that is not UTF-8."""
    message = error.args[0] if error.args else ""
    return (message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)).partition("\n")[0]


def _verdicts(file: BinaryIO, rule: PersonRule) -> _Verdicts:
    """Return the verdicts of a file on the images that it lists; none without a category for people.

    Categories come last in the official files, so the images in each are kept: as numbers of 8 bytes.
    """
    paths: list[tuple[int, PurePosixPath]] = []
    images: dict[int, array[int]] = {}
    names: dict[int, str] = {}
    people: set[int] = set()
    for prefix, record in _records(file):
        if prefix == "images.item":
            paths.append((record["id"], _listed_path(record["file_name"])))
        elif prefix == "annotations.item":
            images.setdefault(record["category_id"], array("q")).append(record["image_id"])
        else:
            names[record["id"]] = record["name"]
            if rule.is_person(record["name"]) or rule.is_person(record.get("supercategory", "")):
                people.add(record["id"])
    used = frozenset(names[category] for category in images if category in names and category not in people)
    if not people:
        return _Verdicts({}, used)
    with_person = {number for category in people for number in images.get(category, ())}
    unclear = {number for category in images if category not in names for number in images[category]}
    shown: dict[PurePosixPath, bool | None] = {}
    for number, path in paths:
        person = True if number in with_person else None if number in unclear else False
        shown[path] = _any_person([person, shown.get(path, person)])
    return _Verdicts(shown, used | {names[category] for category in people if category in images})


def _records(file: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the prefix of each image, annotation and category, and those of its fields that are needed.

    Raises KeyError for a field of another type or given twice, ValueError for lists that are missing or no lists.
    """
    record: dict[str, Any] = {}
    missing = set(_LISTS)
    for prefix, event, value in ijson.parse(_WithoutOutlines(file), use_float=True):
        if prefix in _FIELDS:
            name, kind = _FIELDS[prefix]
            if name in _OPTIONAL and type(value) is not kind:
                continue
            if name in record or type(value) is not kind:
                raise KeyError(name)
            record[name] = value
        elif prefix in _SHAPE:
            if event not in _SHAPE[prefix]:
                raise ValueError(f"another thing than a list of objects under {prefix.partition('.')[0]}")
            missing.discard(prefix)
            if event == "end_map":
                yield prefix, record
                record = {}
        elif len(prefix) > _DEEPEST:
            raise ValueError(_TOO_DEEP)
    if missing:
        raise ValueError(f"no list of {' and '.join(sorted(missing))}")


class _WithoutOutlines:
    """A file for ijson in which outlines and boxes are empty."""

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = _without_outlines(file)

    def read(self, size: int) -> bytes:
        return next(self._pieces, b"") if size else b""


def _without_outlines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file in pieces. Each ends before a brace, which no outline contains, so none is cut in two."""
    held: list[bytes] = []
    if (mark := file.read(len(BOM_UTF8))) != BOM_UTF8:
        held.append(mark)
    while chunk := file.read(_CHUNK):
        end = chunk.rfind(b"}")
        if end >= 0:
            yield _without_outline(b"".join([*held, chunk[:end]]))
            held = []
        held.append(chunk[max(end, 0) :])
    yield _without_outline(b"".join(held))


def _without_outline(piece: bytes) -> bytes:
    """Raises ValueError where the piece nests so deep that ijson, which parses it at once, would not end."""
    if piece.count(b"[") + piece.count(b"{") > _DEEPEST:
        steps = _STEPS[np.frombuffer(piece, np.uint8)]
        if np.cumsum(steps, dtype=np.int64).max() > _DEEPEST:
            raise ValueError(_TOO_DEEP)
    if b"NaN" in piece or b"Infinity" in piece:
        piece = _NO_NUMBER.sub(rb"\1null", piece)
    return _OUTLINE.sub(rb"\1]", piece)
