"""Foregrounds in the folders of published sets, which `shm_data.options.published_sets` describes."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from shm_data import images
from shm_data.errors import ShmDataError, Skipped
from shm_data.files import is_plain
from shm_data.options.published_sets import PUBLISHED_SETS, PairFolders, PublishedSet
from shm_data.sources.pairing import pair, stem_of
from shm_data.sources.types import Files


def recognise(label: str, root: Path) -> str | None:
    """Return the name of the published set whose tree is certainly in a folder, if there is one.

    Raises ShmDataError where the trees of several sets are there.
    """
    fitting = [name for name, published in PUBLISHED_SETS.items() if _is_certain(published, root)]
    if len(fitting) > 1:
        found = " and of ".join(PUBLISHED_SETS[name].title for name in fitting)
        raise ShmDataError(f"--{label} {root}", found=f"the folders of {found}", expected="one of them by --layout")
    return fitting[0] if fitting else None


def scan(label: str, root: Path, name: str, *, imported: bool) -> tuple[list[Files], list[Skipped]]:
    """Return the foregrounds of a published set, each with the split that the set gives it, and what is skipped.

    Raises ShmDataError where none of its folders exists, one of a pair is missing, or a list in it names files
    outside.
    """
    images.require_folder(root)
    published = PUBLISHED_SETS[name]
    present = [each for each in published.folders if _exists(root, each.images) or _exists(root, each.alphas)]
    if not present:
        expected = " or ".join(f"{each.images} and {each.alphas}" for each in published.folders)
        raise ShmDataError(f"--{label} {root}", found=f"no folder of {published.title}", expected=f"{expected} in it")
    files: list[Files] = []
    skipped: list[Skipped] = []
    for name_list, together in _by_list(present).items():
        pictures: Mapping[PairFolders, Sequence[str]] = {each: images.find(root / each.images) for each in together}
        if name_list and (root / name_list).is_file():
            pictures, unlisted = _only_listed(label, root, name_list, pictures)
            skipped += unlisted
        for folders, some in pictures.items():
            paired, unpaired = _scan_folders(label, root, folders, some, imported=imported)
            files += paired
            skipped += unpaired
    if not files:
        raise ShmDataError(
            f"--{label} {root}",
            found=f"no image of {published.title} with its alpha",
            expected="pairs of equal names",
        )
    return files, skipped


def _is_certain(published: PublishedSet, root: Path) -> bool:
    present = [each for each in published.folders if _exists(root, each.images) and _exists(root, each.alphas)]
    if not present or (published.needs_all and len(present) < len(published.folders)):
        return False
    if not published.name_pattern:
        return True
    pictures = [picture for each in present for picture in images.find(root / each.images)]
    return bool(pictures) and all(re.fullmatch(published.name_pattern, _stem(picture)) for picture in pictures)


def _exists(root: Path, folder: str) -> bool:
    return os.path.isdir(root / folder)


def _stem(path: str) -> str:
    """Return the name of a picture without folders and extension."""
    return PurePosixPath(path).stem


def _by_list(folders: Sequence[PairFolders]) -> dict[str, list[PairFolders]]:
    """Return the folders grouped by the file that lists their images."""
    together: dict[str, list[PairFolders]] = defaultdict(list)
    for each in folders:
        together[each.name_list].append(each)
    return together


def _only_listed(
    label: str, root: Path, name_list: str, pictures: Mapping[PairFolders, Sequence[str]]
) -> tuple[dict[PairFolders, Sequence[str]], list[Skipped]]:
    """Return the pictures that a file lists, by folder, and what is only in a folder or only in the list."""
    names = _read_names(root / name_list)
    stems = {_stem(name) for name in names}
    listed: dict[PairFolders, Sequence[str]] = {}
    skipped: list[Skipped] = []
    for folders, some in pictures.items():
        listed[folders] = [picture for picture in some if _stem(picture) in stems]
        unlisted = sorted(set(some) - set(listed[folders]))
        skipped += _skipped(label, folders.images, unlisted, f"not in {name_list}")
    present = {_stem(picture) for some in pictures.values() for picture in some}
    absent = (name for name in names if _stem(name) not in present)
    return listed, [*skipped, *(Skipped(f"{label}/{name}", f"in {name_list}, without a picture") for name in absent)]


def _read_names(path: Path) -> list[str]:
    """Return the names in a list, sorted. Raises ShmDataError for any that is no plain name and may lead outside."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    names = sorted({line.strip() for line in lines if line.strip()})
    for name in names:
        if not is_plain(name):
            raise ShmDataError(path=path, found=repr(name), expected="plain file names")
    return names


def _scan_folders(
    label: str, root: Path, folders: PairFolders, pictures: Sequence[str], *, imported: bool
) -> tuple[list[Files], list[Skipped]]:
    """Return the foregrounds of one pair of folders. Their names are those of the images, as a rule each once."""
    if imported and folders.colours:
        found = "the colours of foregrounds, which are no photos"
        raise ShmDataError(f"--{label} {root}", found=found, expected="--inimg, to composite them")
    unique = len(set(map(_stem, pictures))) == len(pictures)
    alphas = {_path_of_image(alpha, folders): alpha for alpha in images.find(root / folders.alphas)}
    trimaps = {_without_suffix(trimap, folders): trimap for trimap in _trimaps(root, folders)}
    with_alphas, with_trimaps = pair(pictures, list(alphas), ()), pair(pictures, list(trimaps), ())
    trimap_of = {image: f"{label}/{folders.trimaps}/{trimaps[key]}" for image, key in with_trimaps.matched.items()}
    files = [
        Files(
            _stem(image) if unique else stem_of(image),
            f"{label}/{folders.images}/{image}",
            f"{label}/{folders.alphas}/{alphas[alpha]}",
            trimap_of.get(image),
            imported,
            folders.split,
            folders.colours,
        )
        for image, alpha in with_alphas.matched.items()
    ]
    skipped = _skipped(label, folders.images, with_alphas.images_left, "image without alpha")
    left = [alphas[key] for key in with_alphas.others_left]
    skipped += _skipped(label, folders.alphas, left, "alpha without image")
    left = [trimaps[key] for key in with_trimaps.others_left]
    return files, skipped + _skipped(label, folders.trimaps, left, "trimap without image")


def _trimaps(root: Path, folders: PairFolders) -> list[str]:
    """Return the trimaps; of those numbered for each composite of an image, the first."""
    if not folders.trimaps or not _exists(root, folders.trimaps):
        return []
    return [path for path in images.find(root / folders.trimaps) if _stem(path).endswith(folders.trimap_suffix)]


def _path_of_image(alpha: str, folders: PairFolders) -> str:
    """Return the path of an alpha as that of its image."""
    image_prefix, alpha_prefix = folders.folder_prefixes
    *above, name = alpha.split("/")
    renamed = (
        image_prefix + folder.removeprefix(alpha_prefix) if folder.startswith(alpha_prefix) else folder
        for folder in above
    )
    return "/".join([*renamed, name])


def _without_suffix(trimap: str, folders: PairFolders) -> str:
    return f"{stem_of(trimap).removesuffix(folders.trimap_suffix)}{PurePosixPath(trimap).suffix}"


def _skipped(label: str, folder: str, paths: Sequence[str], why: str) -> list[Skipped]:
    return [Skipped(f"{label}/{folder}/{path}", why) for path in paths]
