"""Pascal VOC: JPEGImages with their Annotations, and the lists in ImageSets/Main."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import parse

from shm_data.errors import ShmDataError, as_machine_fault, is_machine_fault
from shm_data.files import is_plain
from shm_data.images import require_folder
from shm_data.parallel import spread
from shm_data.sources.background_folders import Candidate, Listing, pictures, reason_against
from shm_data.sources.people import PersonRule

PHOTOS = "JPEGImages"

_log = logging.getLogger(__name__)

# Entity bombs and characters that contradict the declared encoding are ValueErrors, unknown encodings LookupErrors.
_UNREADABLE = (ParseError, ValueError, LookupError, OSError)


def trees(root: Path) -> list[Path]:
    """Return the VOC trees at `root` or up to two levels below it, as in VOCdevkit/VOC2012.

    Raises ShmDataError where no folder there holds JPEGImages.
    """
    require_folder(root)
    found = [root] if (root / PHOTOS).is_dir() else []
    found = found or sorted(path.parent for level in ("*", "*/*") for path in root.glob(f"{level}/{PHOTOS}"))
    if not found and root.name == PHOTOS:
        raise ShmDataError(path=root, found=f"{PHOTOS} itself", expected="the folder above it")
    if not found:
        found_names = _shorten(sorted(os.listdir(root)), "an empty folder")
        raise ShmDataError(
            path=root, found=found_names, expected=f"{PHOTOS} in it or below it, as in VOCdevkit/VOC2012"
        )
    return found


def candidates(tree: Path, vocset: str | None, rule: PersonRule | None, jobs: int = -1) -> Listing:
    """Return the photos of a VOC tree, or those of its list `vocset`, with whether they show a person by the `rule`.

    Without a rule nothing is read about people. Where no annotation in the tree names anything, nothing is known.

    A tree without any list is used whole, which is logged.
    Raises ShmDataError where there are no photos, or where the list is missing among others or has more than ids.
    """
    names = pictures(tree / PHOTOS)
    ids = {name: PurePosixPath(name).with_suffix("").as_posix() for name in names}
    listed = set(ids.values())
    if vocset is not None and any(_lists(tree).glob("*.txt")):
        listed = _listed(tree, vocset)
    elif vocset is not None:
        _log.warning("%s has no lists in ImageSets/Main: all its photos are used as %s", tree, vocset)
    shown, classes = (dict.fromkeys(names, False), None) if rule is None else _shown(tree, ids, rule, jobs)
    present = [
        Candidate(f"{PHOTOS}/{name}", reason_against(shown[name]), selected=ids[name] in listed) for name in names
    ]
    missing = sorted(listed.difference(ids.values()))
    absent = [Candidate(f"{PHOTOS}/{id_}", f"in {vocset}.txt, without a picture") for id_ in missing]
    return Listing(present + absent, classes)


def _listed(tree: Path, vocset: str) -> set[str]:
    """Return the ids in ImageSets/Main/VOCSET.txt."""
    path = _lists(tree) / f"{vocset}.txt"
    if not is_plain(vocset) or not os.path.isfile(path):
        names = sorted(path.stem for path in _lists(tree).glob("*.txt"))
        raise ShmDataError(f"{tree}: no list {vocset!r}", found=_shorten(names, "no lists"), expected="one of those")
    ids = {words[0] for words in _words(path)}
    for id_ in sorted(ids):
        if not is_plain(id_):
            raise ShmDataError(path=path, found=repr(id_), expected="plain ids, such as 2007_000027")
    return ids


def _shown(
    tree: Path, ids: dict[str, str], rule: PersonRule, jobs: int
) -> tuple[dict[str, bool | None], frozenset[str]]:
    """Return whether each photo shows a person, None if unknown, and the names of all annotated classes.

    Its XML decides, else the person lists.
    """
    by_list = _shown_by_lists(tree)
    paths = (tree / "Annotations" / f"{ids[name]}.xml" for name in ids)
    objects = dict(zip(ids, spread(_objects, paths, jobs, ordered=True, batch=64), strict=True))
    classes = frozenset(name for names in objects.values() if names is not None for name in names if name)

    def shows_person(photo: str) -> bool | None:
        names = objects[photo]
        if names is not None and any(map(rule.is_person, names)):
            return True
        is_known = names is not None and "" not in names and bool(classes)
        return False if is_known else by_list.get(ids[photo])

    return {photo: shows_person(photo) for photo in ids}, classes


def _objects(path: Path) -> frozenset[str] | None:
    """Return the classes of all objects, difficult ones too, "" for one without a readable name.

    None where the file is missing or broken.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        root = parse(path).getroot()
    except _UNREADABLE as error:
        if is_machine_fault(error):
            raise as_machine_fault(error, path) from error
        return None
    if root.tag != "annotation":
        return None
    things = (thing for thing in root.iter() if str(thing.tag).rpartition("}")[2].casefold() == "object")
    return frozenset((thing.findtext("name") or "").strip() if thing.tag == "object" else "" for thing in things)


def _shown_by_lists(tree: Path) -> dict[str, bool]:
    """Return whether photos show a person by person_*.txt: -1 is nobody, 1 a person, 0 one difficult to see."""
    shown: dict[str, bool] = {}
    for path in filter(Path.is_file, _lists(tree).glob("person_*.txt")):
        for words in _words(path):
            if len(words) == 2:
                shown[words[0]] = shown.get(words[0], False) or words[1] != "-1"
    return shown


def _lists(tree: Path) -> Path:
    return tree / "ImageSets" / "Main"


def _words(path: Path) -> Iterator[list[str]]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return (line.split() for line in lines if line.strip())


def _shorten(names: list[str], none: str) -> str:
    return ", ".join(names[:25]) + ", ..." * (len(names) > 25) or none
