"""Pairs files by their names alone."""

import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from shm_data.errors import ShmDataError

IMAGE_WORDS = ("image", "img", "photo", "input", "rgb")
ALPHA_WORDS = ("alpha", "matte", "mask")
TRIMAP_WORDS = ("trimap",)

# What folders side by side are called that hold the photos, alphas and trimaps of one set.
_FOLDERS = {
    **dict.fromkeys(("image", "images", "img", "imgs", "photo", "photos", "original", "input", "rgb"), "images"),
    **dict.fromkeys(("mask", "masks", "matte", "mattes", "alpha", "alphas", "pha", "gt"), "alphas"),
    **dict.fromkeys(("trimap", "trimaps"), "trimaps"),
}

_SEPARATORS = "_-. "


@dataclass(frozen=True, slots=True)
class Pairs:
    """The matched files, image -> other, and the files of either side without a partner."""

    matched: dict[str, str]
    images_left: tuple[str, ...]
    others_left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Classified:
    """The files of one folder by what they are.

    `plain` has what those are called that lie in a folder named after what it holds: their path without that folder.
    """

    images: list[str]
    alphas: list[str]
    trimaps: list[str]
    plain: Mapping[str, str]


def stem_of(path: str) -> str:
    """Return a relative path without its last extension: `x/a.b` for `x/a.b.jpg`."""
    pure = PurePosixPath(path)
    return (pure.parent / pure.stem).as_posix()


def pair(
    images: Sequence[str],
    others: Sequence[str],
    words: Sequence[str],
    *,
    literal: bool = False,
    plain: Mapping[str, str] | None = None,
) -> Pairs:
    """Pair images with their alphas (or trimaps) by name; all are relative paths with forward slashes.

    Names match if their stems are equal, or are equal without one of `words` before or after the stem of the other,
    separated by one of `_-. `. With `literal` (a word of the user) no separator is needed, and a match by the word
    is better than one by the plain stem. An image's stem may have one of IMAGE_WORDS in the same way. Case and
    Unicode normal form count only where there are several matches otherwise.
    A file without a partner in a folder of the same name may have one in another, if its name occurs only once and
    the folders do not contradict: below the folder that all files of a side share, one path must end with the other.
    A file with a `plain` name is paired by that, unless two of a side have the same.
    Raises ShmDataError where a name matches several files equally well.
    """
    if plain:
        ones, twos = _called(images, plain), _called(others, plain)
        called = pair(list(ones), list(twos), words, literal=literal)
        return Pairs(
            {ones[image]: twos[other] for image, other in called.matched.items()},
            tuple(ones[image] for image in called.images_left),
            tuple(twos[other] for other in called.others_left),
        )
    near = _pair(images, others, words, literal=literal)
    images_left, others_left = _once(near.images_left), _once(near.others_left)
    far = _pair(list(images_left), list(others_left), words, literal=literal)
    image_root, other_root = _shared_folder(images), _shared_folder(others)
    matched = near.matched | {
        images_left[image]: others_left[other]
        for image, other in far.matched.items()
        if _agree(_folders(images_left[image], image_root), _folders(others_left[other], other_root))
    }
    used = set(matched.values())
    return Pairs(
        {image: matched[image] for image in images if image in matched},
        tuple(image for image in images if image not in matched),
        tuple(other for other in others if other not in used),
    )


def _called(paths: Sequence[str], plain: Mapping[str, str]) -> dict[str, str]:
    """Return the paths by their plain names, by themselves where two have the same."""
    called = {plain.get(path, path): path for path in paths}
    return called if len(called) == len(paths) else {path: path for path in paths}


def _shared_folder(paths: Sequence[str]) -> int:
    """Return how many leading folders all paths share."""
    levels = zip(*(PurePosixPath(path).parts[:-1] for path in paths), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, levels))


def _folders(path: str, shared: int) -> tuple[str, ...]:
    return tuple(_folded(part) for part in PurePosixPath(path).parts[shared:-1])


def _agree(ones: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return all(one == other for one, other in zip(reversed(ones), reversed(others), strict=False))


def _once(paths: Sequence[str]) -> dict[str, str]:
    """Return the paths by name without folders, those whose name occurs once."""
    names = Counter(PurePosixPath(path).name for path in paths)
    return {name: path for path in paths if names[name := PurePosixPath(path).name] == 1}


def _pair(images: Sequence[str], others: Sequence[str], words: Sequence[str], *, literal: bool) -> Pairs:
    by_key: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for other in others:
        for rank, key in enumerate(_identities(other, words, literal=literal)):
            by_key[key].append((rank, other))
    best = {image: _best(image, by_key) for image in images}
    claims: dict[str, list[tuple[tuple[int, ...], str]]] = defaultdict(list)
    for image, match in best.items():
        if match:
            claims[match[1]].append((match[0], image))
    matched = {_winner(other, claimed): other for other, claimed in claims.items()}
    used = set(matched.values())
    return Pairs(
        {image: matched[image] for image in images if image in matched},
        tuple(image for image in images if image not in matched),
        tuple(other for other in others if other not in used),
    )


def classify_files(paths: Sequence[str], words: Sequence[str], *, literal: bool = False) -> Classified:
    """Classify the files of one folder: alphas have one of `words`, trimaps one of TRIMAP_WORDS, images neither.

    In folders side by side, of which one is called `image`, `photos` or the like and one `mask`, `alphas` or the
    like, these names decide. Elsewhere a word counts only where the name without it is the name of another file:
    `mask_party.jpg` stays an image. Where no file has a word, the PNG of a JPEG and a PNG of one name is the alpha.
    """
    roles, plain = _roles_by_folder(paths)
    free = [path for path in paths if path not in roles]
    names = {key for path in free for key in _identities(path, IMAGE_WORDS)}
    trimaps = {path for path in free if _is_marked(path, TRIMAP_WORDS, names)}
    rest = [path for path in free if path not in trimaps]
    alphas = {path for path in rest if _is_marked(path, words, names, literal=literal)}
    alphas = alphas or _beside_jpegs(rest)
    roles |= dict.fromkeys(rest, "images") | dict.fromkeys(alphas, "alphas") | dict.fromkeys(trimaps, "trimaps")
    images, mattes, maps = (
        [path for path in paths if roles[path] == role] for role in dict.fromkeys(_FOLDERS.values())
    )
    return Classified(images, mattes, maps, plain)


def _roles_by_folder(paths: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what files are by the folder that they lie in, where it tells, and their paths without that folder."""
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    steps = [
        (path, parts[:depth], role, parts[depth + 1 :])
        for path, parts in ((path, PurePosixPath(path).parts) for path in paths)
        for depth, folder in enumerate(parts[:-1])
        if (role := _FOLDERS.get(folder.casefold()))
    ]
    for _, above, role, _ in steps:
        beside[above].add(role)
    roles: dict[str, str] = {}
    plain: dict[str, str] = {}
    for path, above, role, below in steps:
        if path not in roles and beside[above] >= {"images", "alphas"}:
            roles[path] = role
            plain[path] = PurePosixPath(*above, *below).as_posix()
    return roles, plain


def _beside_jpegs(paths: Sequence[str]) -> set[str]:
    jpegs = {stem_of(path) for path in paths if PurePosixPath(path).suffix.lower() in (".jpg", ".jpeg")}
    return {path for path in paths if PurePosixPath(path).suffix.lower() == ".png" and stem_of(path) in jpegs}


def _is_marked(path: str, words: Sequence[str], names: set[str], *, literal: bool = False) -> bool:
    own = {_exact(stem_of(path)), _folded(stem_of(path))}
    keys = set(_identities(path, words, literal=literal)) - own
    return bool(keys & names)


def _identities(path: str, words: Sequence[str], *, literal: bool = False) -> list[str]:
    """Return the names by which a file may match, best first: whole, without a word, and both without case."""
    stem = stem_of(path)
    plain = list(_without_word(stem, words, literal=literal))
    stems = [*plain, stem] if literal else [stem, *plain]
    return list(dict.fromkeys([_exact(s) for s in stems] + [_folded(s) for s in stems]))


def _without_word(stem: str, words: Sequence[str], *, literal: bool) -> Iterable[str]:
    """Yield the stem without a leading or trailing word, with (for `literal`) and without separators."""
    pure = PurePosixPath(stem)
    name = pure.name
    for word in words:
        for rest in (_without_end(name, word), _without_start(name, word)):
            trimmed = rest.strip(_SEPARATORS)
            separated = len(trimmed) < len(rest)
            candidates = [rest, trimmed] if literal else [trimmed] * separated
            yield from ((pure.parent / candidate).as_posix() for candidate in candidates if candidate)


def _without_end(name: str, word: str) -> str:
    return name[: -len(word)] if name.casefold().endswith(word.casefold()) else ""


def _without_start(name: str, word: str) -> str:
    return name[len(word) :] if name.casefold().startswith(word.casefold()) else ""


def _exact(stem: str) -> str:
    return f"= {stem}"


def _folded(stem: str) -> str:
    return f"~ {unicodedata.normalize('NFC', stem).casefold()}"


def _best(image: str, by_key: dict[str, list[tuple[int, str]]]) -> tuple[tuple[int, ...], str] | None:
    """Return the file with the best match for an image, and its rank; None where there is none."""
    found = [
        ((own + rank, own), other)
        for own, key in enumerate(_identities(image, IMAGE_WORDS))
        for rank, other in by_key.get(key, ())
    ]
    if not found:
        return None
    best = min(found)
    rivals = sorted({other for rank, other in found if rank == best[0]})
    if len(rivals) > 1:
        raise ShmDataError(f"{image} matches several files", found=" and ".join(rivals), expected="one of them")
    return best


def _winner(other: str, claims: list[tuple[tuple[int, ...], str]]) -> str:
    """Return the image that matches a file best."""
    best = min(claims)
    rivals = sorted(image for rank, image in claims if rank == best[0])
    if len(rivals) > 1:
        raise ShmDataError(f"{other} matches several images", found=" and ".join(rivals), expected="one of them")
    return best[1]
