"""The trees of the matting sets that people have: a new one is an entry in TREES."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shm_data import images
from shm_data.errors import ShmDataError, Skipped
from shm_data.files import is_plain
from shm_data.sources.pairing import pair, stem_of
from shm_data.sources.types import Files


@dataclass(frozen=True, slots=True)
class Room:
    """A folder of images with those of their alphas and trimaps, all below the root of a known set.

    An alpha lies below `alphas` as its image does below `images`, but that folders there may begin otherwise:
    `instead` has how those of the alphas do and how those of the images. A trimap is called as its image, with
    `ending`. `listed` is a file that names the images which count, a line each; without it all do.
    """

    images: str
    alphas: str
    trimaps: str = ""
    split: str | None = None
    instead: tuple[str, str] = ("", "")
    ending: str = ""
    listed: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """A known set, and the rooms that it may have.

    A folder is certainly this set if one of them is there (or `all_of` them) and all images fit the pattern `names`.
    """

    title: str
    rooms: tuple[Room, ...]
    all_of: bool = False
    names: str = ""


_ADOBE_TRAINING = "Training_set/Adobe-licensed images"
_ADOBE_TEST = "Test_set/Adobe-licensed images"
_TRAINING_NAMES = "Training_set/training_fg_names.txt"
_P3M = "validation/P3M-500"

# What Flickr calls its downloads.
_FLICKR = r"\d+_[0-9a-f]{10}_\w{1,2}"

TREES: Mapping[str, Tree] = {
    "composition1k": Tree(
        "Composition-1k",
        (
            Room(f"{_ADOBE_TRAINING}/fg", f"{_ADOBE_TRAINING}/alpha", split="train", listed=_TRAINING_NAMES),
            Room("Training_set/Other/fg", "Training_set/Other/alpha", split="train", listed=_TRAINING_NAMES),
            Room(
                f"{_ADOBE_TEST}/fg",
                f"{_ADOBE_TEST}/alpha",
                f"{_ADOBE_TEST}/trimaps",
                split="val",
                ending="_0",  # each foreground has a trimap for each of its 20 composites, _0 to _19
                listed="Test_set/test_fg_names.txt",
            ),
        ),
    ),
    "distinctions646": Tree(
        "Distinctions-646",
        (Room("Train/FG", "Train/GT", split="train"), Room("Test/FG", "Test/GT", split="val")),
        all_of=True,
    ),
    "aim500": Tree("AIM-500", (Room("original", "mask", "trimap"),), names="o_[0-9a-f]{8}"),
    "p3m": Tree(
        "P3M-10k",
        (
            Room("train/blurred_image", "train/mask", split="train"),
            Room(f"{_P3M}-P/blurred_image", f"{_P3M}-P/mask", f"{_P3M}-P/trimap", split="val"),
            Room(f"{_P3M}-NP/original_image", f"{_P3M}-NP/mask", f"{_P3M}-NP/trimap", split="val"),
        ),
    ),
    "ppm100": Tree(
        "PPM-100",
        (
            Room("image", "matte"),
            Room("train/fg", "train/alpha", split="train"),
            Room("val/fg", "val/alpha", split="val"),
        ),
        names=_FLICKR,
    ),
    "aisegment": Tree("AISegment", (Room("clip_img", "matting", instead=("matting_", "clip_")),)),
    "alphamatting": Tree(
        "alphamatting.com",
        (Room("input_training_lowres", "gt_training_lowres", "trimap_training_lowres/Trimap1"),),
    ),
}


def recognised(label: str, root: Path) -> str | None:
    """The known set whose tree is certainly in a folder, if there is one. Raises ShmDataError where several are."""
    fitting = [name for name, tree in TREES.items() if _is_certain(tree, root)]
    if len(fitting) > 1:
        found = " and of ".join(TREES[name].title for name in fitting)
        raise ShmDataError(f"--{label} {root}", found=f"the folders of {found}", expected="one of them by --layout")
    return fitting[0] if fitting else None


def scan(label: str, root: Path, name: str, *, imported: bool) -> tuple[list[Files], list[Skipped]]:
    """The foregrounds in the tree of a known set, each with the split that the set has it in, and what was left out.

    Raises ShmDataError where the tree is not there, lacks a half, or a list in it names files outside.
    """
    images.require_folder(root)
    tree = TREES[name]
    rooms = [room for room in tree.rooms if _is_there(root, room.images) or _is_there(root, room.alphas)]
    if not rooms:
        expected = " or ".join(f"{room.images} and {room.alphas}" for room in tree.rooms)
        raise ShmDataError(f"--{label} {root}", found=f"nothing of {tree.title}", expected=f"{expected} in it")
    found: list[Files] = []
    skipped: list[Skipped] = []
    for listed, together in _by_list(rooms).items():
        pictures: Mapping[Room, Sequence[str]] = {room: images.find(root / room.images) for room in together}
        if listed and (root / listed).is_file():
            pictures, left = _only_listed(label, root, listed, pictures)
            skipped += left
        for room, some in pictures.items():
            files, left = _scan_room(label, root, room, some, imported=imported)
            found += files
            skipped += left
    if not found:
        raise ShmDataError(
            f"--{label} {root}", found=f"no image of {tree.title} with its alpha", expected="pairs of equal names"
        )
    return found, skipped


def _is_certain(tree: Tree, root: Path) -> bool:
    here = [room for room in tree.rooms if _is_there(root, room.images) and _is_there(root, room.alphas)]
    if not here or (tree.all_of and len(here) < len(tree.rooms)):
        return False
    if not tree.names:
        return True
    pictures = [picture for room in here for picture in images.find(root / room.images)]
    return bool(pictures) and all(re.fullmatch(tree.names, _name(picture)) for picture in pictures)


def _is_there(root: Path, folder: str) -> bool:
    return os.path.isdir(root / folder)


def _name(path: str) -> str:
    """The name of a picture without folders and extension."""
    return PurePosixPath(path).stem


def _by_list(rooms: Sequence[Room]) -> dict[str, list[Room]]:
    """The rooms together whose images one file lists."""
    together: dict[str, list[Room]] = defaultdict(list)
    for room in rooms:
        together[room.listed].append(room)
    return together


def _only_listed(
    label: str, root: Path, listed: str, pictures: Mapping[Room, Sequence[str]]
) -> tuple[dict[Room, Sequence[str]], list[Skipped]]:
    """The pictures that a file lists, by room, and what is only in a folder or only in the list."""
    names = _listed(root / listed)
    stems = {_name(name) for name in names}
    kept: dict[Room, Sequence[str]] = {}
    skipped: list[Skipped] = []
    for room, some in pictures.items():
        kept[room] = [picture for picture in some if _name(picture) in stems]
        skipped += _left(label, room.images, sorted(set(some) - set(kept[room])), f"is not in {listed}")
    there = {_name(picture) for some in pictures.values() for picture in some}
    absent = (name for name in names if _name(name) not in there)
    return kept, [*skipped, *(Skipped(f"{label}/{name}", f"is in {listed}, but has no picture") for name in absent)]


def _listed(path: Path) -> list[str]:
    """The names in a list, sorted. Raises ShmDataError for what is no plain name: none may lead out of the set."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    names = sorted({line.strip() for line in lines if line.strip()})
    for name in names:
        if not is_plain(name):
            raise ShmDataError(path=path, found=repr(name), expected="plain file names")
    return names


def _scan_room(
    label: str, root: Path, room: Room, pictures: Sequence[str], *, imported: bool
) -> tuple[list[Files], list[Skipped]]:
    """The foregrounds of one room, by the names of their files alone: a set has each once."""
    alphas = {_as_image(alpha, room): alpha for alpha in images.find(root / room.alphas)}
    trimaps = {_without(room.ending, trimap): trimap for trimap in _trimaps(root, room)}
    of_alphas, of_trimaps = pair(pictures, list(alphas), ()), pair(pictures, list(trimaps), ())
    files = [
        Files(
            _name(image),
            f"{label}/{room.images}/{image}",
            f"{label}/{room.alphas}/{alphas[alpha]}",
            f"{label}/{room.trimaps}/{trimaps[of_trimaps.matched[image]]}" if image in of_trimaps.matched else None,
            imported,
            room.split,
        )
        for image, alpha in of_alphas.matched.items()
    ]
    skipped = _left(label, room.images, of_alphas.images_left, "is an image without alpha")
    skipped += _left(label, room.alphas, [alphas[key] for key in of_alphas.others_left], "is an alpha without image")
    left = [trimaps[key] for key in of_trimaps.others_left]
    return files, skipped + _left(label, room.trimaps, left, "is a trimap of no image")


def _trimaps(root: Path, room: Room) -> list[str]:
    """The trimaps of a room that has some: of those numbered for each of an image's composites, the first."""
    if not room.trimaps or not _is_there(root, room.trimaps):
        return []
    return [trimap for trimap in images.find(root / room.trimaps) if _name(trimap).endswith(room.ending)]


def _as_image(alpha: str, room: Room) -> str:
    """The path of an alpha as that of its image."""
    theirs, ours = room.instead
    *folders, name = alpha.split("/")
    named = (ours + folder.removeprefix(theirs) if folder.startswith(theirs) else folder for folder in folders)
    return "/".join([*named, name])


def _without(ending: str, path: str) -> str:
    """The path without what its stem ends in."""
    return f"{stem_of(path).removesuffix(ending)}{PurePosixPath(path).suffix}"


def _left(label: str, folder: str, paths: Sequence[str], why: str) -> list[Skipped]:
    return [Skipped(f"{label}/{folder}/{path}", why) for path in paths]
