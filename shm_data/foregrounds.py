"""Finds foregrounds: images with alphas (and trimaps), in folders or as RGBA cut-outs; reads and checks them."""

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from shm_data import images
from shm_data.arrays import Array
from shm_data.compositing import fit, resize_matte, resize_nearest, same_shape
from shm_data.errors import ShmDataError, Skipped
from shm_data.layout import safe_stem, unused
from shm_data.options import CompositeOptions
from shm_data.pairing import ALPHA_WORDS, TRIMAP_WORDS, Mixed, Pairs, pair, stem_of, told_apart
from shm_data.parallel import Progress, quiet, spread
from shm_data.sources import Files, Foreground, Pixels, path_of
from shm_data.trimap import LOSSY_TOLERANCE, TrimapRule, lacking, missing_classes, width_for


@dataclass(frozen=True, slots=True)
class Found:
    """The foregrounds in a user's folders, in the order of their names, where they are, and what has no partner."""

    files: tuple[Files, ...]
    roots: dict[str, Path]
    skipped: tuple[Skipped, ...]


def scan(options: CompositeOptions, recorded: Sequence[Files] = ()) -> Found:
    """Lists and pairs the foregrounds that the options name; opens none of them.

    Those already `recorded` in a data set come first and keep their names; the others follow in order.
    Raises ShmDataError where a folder is missing, nothing pairs, a name is ambiguous, or a recorded one is gone.
    """
    roots = {
        label: folder
        for label in ("inimg", "inalp", "intri", "pubdir", "trimapdir")
        if (folder := getattr(options, label)) is not None
    }
    found, skipped = [], []
    for rooms in (("inimg", "inalp", "intri"), ("pubdir", "pubdir", "trimapdir")):
        if rooms[0] in roots:
            some, left = _scan_pairs(roots, *rooms, prefix=options.prefix)
            found += some
            skipped += left
    if not found:
        raise ShmDataError("no foregrounds", wanted="photos by --inimg and their alphas by --inalp, or --pubdir")
    distinct, twice = _distinct(found, roots, {files.image for files in recorded})
    return Found(_named(distinct, recorded), roots, (*skipped, *twice))


def inspect(files: Files, roots: Mapping[str, Path], options: CompositeOptions) -> Foreground:
    """Reads all files of a foreground and checks that they fit. Raises ShmDataError where they do not."""
    pixels = read(files, roots, resize_alpha=options.resize_alpha)
    alpha_path = path_of(files.alpha or files.image, roots)
    tolerance = tolerance_of(pixels.alpha, alpha_path)
    height, width = pixels.alpha.shape
    return Foreground(files, (width, height), tolerance, _missing(pixels, tolerance, options))


def tolerance_of(alpha: Array, path: Path) -> int:
    """How far from 0 and 255 an alpha (H, W) uint8 from a file is flat: 5 where it is lossy or never reaches 255.

    Raises ShmDataError where it is empty, or holds labels 0 and 1 instead of opacities.
    """
    highest = int(alpha.max())
    if highest <= 1:
        found = "only 0" if highest == 0 else "only 0 and 1"
        raise ShmDataError(f"the matte {path}", found=found, wanted="0 for background to 255 for foreground")
    return LOSSY_TOLERANCE if highest < 255 or images.read_header(path).lossy else 0


def _missing(pixels: Pixels, tolerance: int, options: CompositeOptions) -> tuple[str, ...]:
    """The classes that the trimap lacks at the size of the samples, with the widest band that can be drawn."""
    if pixels.trimap is not None:
        return missing_classes(pixels.trimap)
    height, width = pixels.alpha.shape
    size = fit((width, height), options.maxsize)
    band = width_for(size, options.trimap_size)
    return lacking(resize_matte(pixels.alpha, size), TrimapRule("euclid", band, band, tolerance))


def inspect_all(
    found: Found, options: CompositeOptions, jobs: int = -1, progress: Progress = quiet
) -> list[Foreground]:
    """Inspects every foreground, in parallel. Raises one ShmDataError that names those which cannot be used."""

    def attempt(files: Files) -> Foreground | ShmDataError:
        try:
            return inspect(files, found.roots, options)
        except ShmDataError as error:
            return error

    results = spread(attempt, found.files, jobs, ordered=True)
    shown = list(progress(results, len(found.files), "reading foregrounds"))
    bad = [str(result) for result in shown if isinstance(result, ShmDataError)]
    if bad:
        raise ShmDataError.of_many(f"{len(bad)} of {len(shown)} foregrounds cannot be used", bad)
    return [result for result in shown if isinstance(result, Foreground)]


def read(files: Files, roots: Mapping[str, Path], *, resize_alpha: bool = False) -> Pixels:
    """Reads a foreground's pixels. With `resize_alpha` an alpha of the same shape is brought to the image's size.

    Raises ShmDataError where a file is broken or the sizes differ.
    """
    image_path = path_of(files.image, roots)
    if files.alpha is None:
        image, alpha = images.read_cutout(image_path)
    else:
        image = images.read_image(image_path)
        alpha_path = path_of(files.alpha, roots)
        alpha = images.read_alpha(alpha_path)
        if _must_resize(image, image_path, alpha, alpha_path, allowed=resize_alpha):
            alpha = resize_matte(alpha, image.shape[1::-1])
    if files.trimap is None:
        return Pixels(image, alpha, None)
    return Pixels(image, alpha, _read_trimap(path_of(files.trimap, roots), image, image_path, resize=resize_alpha))


def _read_trimap(path: Path, image: Array, image_path: Path, *, resize: bool) -> Array:
    trimap = images.read_trimap(path)
    if _must_resize(image, image_path, trimap, path, allowed=resize):
        return resize_nearest(trimap, image.shape[1::-1])
    return trimap


def _must_resize(image: Array, image_path: Path, other: Array, other_path: Path, *, allowed: bool) -> bool:
    """Whether `other` is to be brought to the image's size. Raises ShmDataError where that would be wrong."""
    (height, width), (other_height, other_width) = image.shape[:2], other.shape
    if (height, width) == (other_height, other_width):
        return False
    alike = same_shape((width, height), (other_width, other_height))
    if allowed and alike:
        return True
    wanted = "the same size, or --resize-alpha" if alike else "the same size"
    raise ShmDataError(
        f"{image_path} and {other_path}",
        found=f"{width}x{height} and {other_width}x{other_height}",
        wanted=wanted,
    )


def _scan_pairs(
    roots: Mapping[str, Path], image_root: str, alpha_root: str, trimap_root: str, *, prefix: str | None
) -> tuple[list[Files], list[Skipped]]:
    """The foregrounds of one folder of images; their `name` is still the image's path."""
    mixed = _listings(roots, image_root, alpha_root, trimap_root, prefix)
    alphas: dict[str, str | None] = dict.fromkeys(mixed.images)
    skipped: list[Skipped] = []
    if alpha_root in roots:
        words, literal = _alpha_words(prefix)
        pairs = pair(mixed.images, mixed.alphas, words, literal=literal)
        _require_some(pairs, roots[image_root], roots[alpha_root], "alpha", prefix)
        alphas = {image: f"{alpha_root}/{alpha}" for image, alpha in pairs.matched.items()}
        skipped += _left(image_root, pairs.images_left, "is an image without alpha")
        skipped += _left(alpha_root, pairs.others_left, "is an alpha without image")
    trimaps: dict[str, str] = {}
    if trimap_root in roots:
        # A trimap may be named as the alpha that it was made of.
        pairs = pair(list(alphas), mixed.trimaps, (*TRIMAP_WORDS, *ALPHA_WORDS, *([prefix] if prefix else [])))
        _require_some(pairs, roots[image_root], roots[trimap_root], "trimap", prefix)
        trimaps = {image: f"{trimap_root}/{trimap}" for image, trimap in pairs.matched.items()}
        skipped += _left(trimap_root, pairs.others_left, "is a trimap of no image")
    else:
        skipped += _left(image_root, mixed.trimaps, f"is a trimap, and --{trimap_root} is not given")
    taken_over = image_root == "pubdir"
    files = [
        Files(stem_of(image), f"{image_root}/{image}", alpha, trimaps.get(image), taken_over)
        for image, alpha in alphas.items()
    ]
    return files, skipped


def _listings(
    roots: Mapping[str, Path], image_root: str, alpha_root: str, trimap_root: str, prefix: str | None
) -> Mixed:
    """The images, alphas and trimaps in their folders, told apart by name where folders are one and the same."""
    here = _find(roots, image_root)
    words, literal = _alpha_words(prefix)
    mixed = told_apart(here, words, literal=literal)
    alphas_here = _same(roots[image_root], roots.get(alpha_root))
    trimaps_here = _same(roots[image_root], roots.get(trimap_root))
    return Mixed(
        mixed.images if alphas_here or trimaps_here else here,
        mixed.alphas if alphas_here else _find(roots, alpha_root),
        mixed.trimaps if trimaps_here or (alphas_here and trimap_root not in roots) else _find(roots, trimap_root),
    )


def _find(roots: Mapping[str, Path], root: str) -> list[str]:
    """The pictures in a folder, without those in folders inside it that have a role of their own."""
    if root not in roots:
        return []
    inside = [folder for folder in roots.values() if _is_within(folder, roots[root])]
    return images.find(roots[root], without=inside)


def _alpha_words(prefix: str | None) -> tuple[Sequence[str], bool]:
    return ((prefix,), True) if prefix else (ALPHA_WORDS, False)


def _require_some(pairs: Pairs, image_folder: Path, other_folder: Path, kind: str, prefix: str | None) -> None:
    if pairs.matched:
        return
    found = f"{_shown(pairs.images_left)} and {_shown(pairs.others_left)}"
    wanted = "equal names" + (
        f" up to {prefix!r}" if prefix else f", or the word in the {kind}s' names with --prefix"
    )
    raise ShmDataError(f"no image in {image_folder} has its {kind} in {other_folder}", found=found, wanted=wanted)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (" ..." if len(names) > 2 else "") if names else "nothing"


def _left(root: str, paths: Sequence[str], why: str) -> list[Skipped]:
    return [Skipped(f"{root}/{path}", why) for path in paths]


def _distinct(
    found: Sequence[Files], roots: Mapping[str, Path], first: AbstractSet[str]
) -> tuple[list[Files], list[Skipped]]:
    """The foregrounds without those whose image is a link to another's: one photo must not be in both splits.

    Of links to one photo the one in `first` counts, else the one that sorts first.
    """
    places: set[str] = set()
    distinct, twice = [], []
    for files in sorted(found, key=lambda files: (files.image not in first, files.image)):
        place = os.path.realpath(path_of(files.image, roots))
        if place in places:
            twice.append(Skipped(files.image, "is a photo already in the set under another name"))
        else:
            places.add(place)
            distinct.append(files)
    return distinct, twice


def _named(found: Sequence[Files], recorded: Sequence[Files]) -> tuple[Files, ...]:
    """The recorded foregrounds as they are, then the others in the order of their paths, each with its own name."""
    by_image = {files.image: files for files in found}
    for files in recorded:
        here = by_image.pop(files.image, None)
        if here is None or replace(here, name=files.name) != files:
            became = "is gone" if here is None else "has other files now"
            raise ShmDataError(
                f"the foreground {files.name} ({files.image}) {became}; the data set was made with it",
                wanted="the files of then, or another --savedir",
            )
    taken: dict[str, int] = {}
    for files in recorded:
        unused(files.name, taken)
    ordered = sorted(by_image.values(), key=lambda files: (files.name, files.image))
    return (*recorded, *(replace(files, name=unused(safe_stem(files.name), taken)) for files in ordered))


def _same(one: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


def _is_within(inner: Path, outer: Path) -> bool:
    return not _same(inner, outer) and Path(os.path.realpath(inner)).is_relative_to(os.path.realpath(outer))
