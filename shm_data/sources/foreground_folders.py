"""Foregrounds in folders of any kind: images with alphas (and trimaps), paired by name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError, Skipped
from shm_data.sources.pairing import ALPHA_WORDS, TRIMAP_WORDS, Classified, Pairs, classify_files, pair, stem_of
from shm_data.sources.types import Files


def scan(
    roots: Mapping[str, Path], image_root: str, alpha_root: str, trimap_root: str, *, prefix: str | None
) -> tuple[list[Files], list[Skipped]]:
    """Return the foregrounds in one folder of images, and what is skipped; `name` is still the path of the image."""
    files_of = _classified(roots, image_root, alpha_root, trimap_root, prefix)
    alphas: dict[str, str | None] = dict.fromkeys(files_of.images)
    skipped: list[Skipped] = []
    if alpha_root in roots:
        words, literal = _alpha_words(prefix)
        pairs = pair(files_of.images, files_of.alphas, words, literal=literal, plain=files_of.plain)
        kind = "mask" if alpha_root == "inmask" else "alpha"
        _require_some(pairs, roots[image_root], roots[alpha_root], kind, prefix)
        alphas = {image: f"{alpha_root}/{alpha}" for image, alpha in pairs.matched.items()}
        skipped += _skipped(image_root, pairs.images_left, f"image without {kind}")
        skipped += _skipped(alpha_root, pairs.others_left, f"{kind} without image")
    trimaps: dict[str, str] = {}
    if trimap_root in roots:
        # A trimap may be named as the alpha that it was made of.
        words = (*TRIMAP_WORDS, *ALPHA_WORDS, *([prefix] if prefix else []))
        pairs = pair(list(alphas), files_of.trimaps, words, plain=files_of.plain)
        _require_some(pairs, roots[image_root], roots[trimap_root], "trimap", prefix)
        trimaps = {image: f"{trimap_root}/{trimap}" for image, trimap in pairs.matched.items()}
        skipped += _skipped(trimap_root, pairs.others_left, "trimap without image")
    else:
        why = f"trimap, but --{trimap_root} is not given" if trimap_root else "trimap beside masks"
        skipped += _skipped(image_root, files_of.trimaps, why)
    imported = image_root != "inimg"
    # A mask says nothing about soft edges, by which mattes are scored: such photos are not for val.
    split = "train" if image_root == "maskimg" else None
    files = [
        Files(
            stem_of(files_of.plain.get(image, image)),
            f"{image_root}/{image}",
            alpha,
            trimaps.get(image),
            imported,
            split,
        )
        for image, alpha in alphas.items()
    ]
    return files, skipped


def _classified(
    roots: Mapping[str, Path], image_root: str, alpha_root: str, trimap_root: str, prefix: str | None
) -> Classified:
    """Return the images, alphas and trimaps in their folders, classified by name where folders are the same one."""
    paths = _find(roots, image_root)
    words, literal = _alpha_words(prefix)
    mixed = classify_files(paths, words, literal=literal)
    with_alphas = _same(roots[image_root], roots.get(alpha_root))
    with_trimaps = _same(roots[image_root], roots.get(trimap_root))
    return Classified(
        mixed.images if with_alphas or with_trimaps else paths,
        mixed.alphas if with_alphas else _find(roots, alpha_root),
        mixed.trimaps if with_trimaps or (with_alphas and trimap_root not in roots) else _find(roots, trimap_root),
        mixed.plain if with_alphas or with_trimaps else {},
    )


def _find(roots: Mapping[str, Path], root: str) -> list[str]:
    """Return the pictures in a folder, without those in folders inside it that have a role of their own."""
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
    expected = "equal names" + (
        f" up to {prefix!r}" if prefix else f", or the word in the {kind}s' names with --prefix"
    )
    if not pairs.others_left and _same(image_folder, other_folder):
        folders = (
            "" if kind == "trimap" else f", or folders such as image/ and {'mask' if kind == 'mask' else 'alpha'}/"
        )
        expected = f"{kind}s named as their images, with {prefix or kind!r} before or after{folders}"
    raise ShmDataError(f"no image in {image_folder} has its {kind} in {other_folder}", found=found, expected=expected)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (" ..." if len(names) > 2 else "") if names else "nothing"


def _skipped(root: str, paths: Sequence[str], why: str) -> list[Skipped]:
    return [Skipped(f"{root}/{path}", why) for path in paths]


def _same(one: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


def _is_within(inner: Path, outer: Path) -> bool:
    return not _same(inner, outer) and Path(os.path.realpath(inner)).is_relative_to(os.path.realpath(outer))
