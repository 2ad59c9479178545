"""Which files belong together, told by their names alone."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from shm_data.errors import ShmDataError

IMAGE_WORDS = ("image", "img", "photo", "input", "rgb")
ALPHA_WORDS = ("alpha", "matte", "mask")
TRIMAP_WORDS = ("trimap",)

_SEPARATORS = "_-. "


@dataclass(frozen=True, slots=True)
class Pairs:
    """What found its partner: image -> the other file; and what on either side did not."""

    matched: dict[str, str]
    images_left: tuple[str, ...]
    others_left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mixed:
    """The files of one folder by what they are."""

    images: list[str]
    alphas: list[str]
    trimaps: list[str]


def stem_of(path: str) -> str:
    """A relative path without its last extension: `x/a.b.jpg` is `x/a.b`."""
    pure = PurePosixPath(path)
    return (pure.parent / pure.stem).as_posix()


def pair(images: Sequence[str], others: Sequence[str], words: Sequence[str], *, literal: bool = False) -> Pairs:
    """Pairs images with their alphas (or trimaps) by name; all are relative paths with forward slashes.

    Names agree if their stems do, or do once `words` stand before or after the stem, set off by one of `_-. `
    (with `literal`, a user's own word, set off or not, and preferred to the plain stem). An image's stem may
    carry one of IMAGE_WORDS in the same way. Case and Unicode normal form do not matter unless they decide.
    What finds no partner in a folder of the same name finds one in any folder, if the name occurs only once.
    Raises ShmDataError where a name fits several files equally well.
    """
    near = _pair(images, others, words, literal=literal)
    images_left, others_left = _once(near.images_left), _once(near.others_left)
    far = _pair(list(images_left), list(others_left), words, literal=literal)
    matched = near.matched | {images_left[image]: others_left[other] for image, other in far.matched.items()}
    used = set(matched.values())
    return Pairs(
        {image: matched[image] for image in images if image in matched},
        tuple(image for image in images if image not in matched),
        tuple(other for other in others if other not in used),
    )


def _once(paths: Sequence[str]) -> dict[str, str]:
    """The paths by their names without folders, those of which the name occurs once."""
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


def told_apart(paths: Sequence[str], words: Sequence[str], *, literal: bool = False) -> Mixed:
    """Tells the files of one folder apart: alphas by `words`, trimaps by TRIMAP_WORDS, images by having neither.

    A word counts only where the name without it is the name of another file: `mask_party.jpg` stays an image.
    Where no word tells, of a JPEG and a PNG of one name the PNG is the alpha.
    """
    names = {key for path in paths for key in _identities(path, IMAGE_WORDS)}
    trimaps = {path for path in paths if _is_marked(path, TRIMAP_WORDS, names)}
    rest = [path for path in paths if path not in trimaps]
    alphas = {path for path in rest if _is_marked(path, words, names, literal=literal)}
    alphas = alphas or _beside_jpegs(rest)
    return Mixed(
        [path for path in rest if path not in alphas],
        [path for path in rest if path in alphas],
        [path for path in paths if path in trimaps],
    )


def _beside_jpegs(paths: Sequence[str]) -> set[str]:
    jpegs = {stem_of(path) for path in paths if PurePosixPath(path).suffix.lower() in (".jpg", ".jpeg")}
    return {path for path in paths if PurePosixPath(path).suffix.lower() == ".png" and stem_of(path) in jpegs}


def _is_marked(path: str, words: Sequence[str], names: set[str], *, literal: bool = False) -> bool:
    own = {_exact(stem_of(path)), _folded(stem_of(path))}
    keys = set(_identities(path, words, literal=literal)) - own
    return bool(keys & names)


def _identities(path: str, words: Sequence[str], *, literal: bool = False) -> list[str]:
    """The names a file answers to, best first: as it stands, bare of a word, and both regardless of case."""
    stem = stem_of(path)
    bare = list(_bare(stem, words, literal=literal))
    stems = [*bare, stem] if literal else [stem, *bare]
    return list(dict.fromkeys([_exact(s) for s in stems] + [_folded(s) for s in stems]))


def _bare(stem: str, words: Sequence[str], *, literal: bool) -> Iterable[str]:
    """The stem without a leading or trailing word, as it stands and without the separators between."""
    pure = PurePosixPath(stem)
    name = pure.name
    for word in words:
        for rest in (_without_end(name, word), _without_start(name, word)):
            trimmed = rest.strip(_SEPARATORS)
            set_off = len(trimmed) < len(rest)
            candidates = [rest, trimmed] if literal else [trimmed] * set_off
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
    """The file that shares the best name with an image, and how good it is; None where there is none."""
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
        raise ShmDataError(f"{image} fits several files by name", found=" and ".join(rivals), expected="one of them")
    return best


def _winner(other: str, claims: list[tuple[tuple[int, ...], str]]) -> str:
    """The image that fits a file best."""
    best = min(claims)
    rivals = sorted(image for rank, image in claims if rank == best[0])
    if len(rivals) > 1:
        raise ShmDataError(f"{other} fits several images by name", found=" and ".join(rivals), expected="one of them")
    return best[1]
