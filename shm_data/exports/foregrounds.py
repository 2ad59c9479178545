"""Foreground colours, alphas and backgrounds of a data set, for trainers that composite by themselves."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shm_data import images
from shm_data.building.render import prepare
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Manifest, refuse_changed_sources
from shm_data.dataset.picture_table import PICTURES, csv_line
from shm_data.dataset.recipes import from_line
from shm_data.dataset.shard_format import size_of
from shm_data.errors import ShmDataError
from shm_data.exports.packagings import FOLDERS
from shm_data.exports.samples import SampleSet
from shm_data.files import clear_leftovers, link_or_copy, make_folders, safe_stem, unused, write_bytes, write_lines
from shm_data.parallel import Progress, spread
from shm_data.pixels.compositing import Size
from shm_data.sources import Foreground, foregrounds, path_of

_FOLDERS = FOLDERS["fg-alpha-bg"]
_BACKGROUNDS = "bg"


@dataclass(frozen=True, slots=True)
class _Share:
    """What a split is made of: its foregrounds with the size of their samples, and the names and keys of backgrounds.

    Backgrounds of the same content are one.
    """

    foregrounds: Sequence[tuple[Foreground, Size]]
    backgrounds: Mapping[str, str]


def export_foregrounds(
    root: Path, samples: SampleSet, savedir: Path, jobs: int, progress: Progress
) -> dict[str, dict[str, int]]:
    """Write the foregrounds and backgrounds of each split, with their lists; return the counts of the files.

    Raises ShmDataError where the set has no record, as shards have none, or its sources are gone or have changed.
    """
    manifest = samples.manifest
    if manifest is None:
        expected = "a data set with dataset.json, which names its sources"
        raise ShmDataError("--to fg-alpha-bg", path=root, found="no dataset.json", expected=expected)
    refuse_changed_sources(manifest, manifest.roots, jobs=jobs, progress=progress)
    counts = {}
    for split, share in _shares(samples, manifest).items():
        home = [savedir / split / name for name in (_FOLDERS.images, _FOLDERS.alphas, _BACKGROUNDS)]
        make_folders(*home)
        clear_leftovers(savedir / split, *home)
        written = spread(partial(_write_foreground, manifest, savedir / split), share.foregrounds, jobs)
        for _ in progress(written, len(share.foregrounds), f"foregrounds of {split}"):
            pass
        linked = spread(partial(_write_background, manifest, home[-1]), share.backgrounds.items(), jobs)
        for _ in progress(linked, len(share.backgrounds), f"backgrounds of {split}"):
            pass
        write_lines(savedir / f"{split}_fg.txt", (f"{each.files.name}.png" for each, _ in share.foregrounds))
        write_lines(savedir / f"{split}_bg.txt", share.backgrounds)
        write_lines(savedir / split / "metadata.csv", _table(share))
        counts[split] = {"foreground": len(share.foregrounds), "background": len(share.backgrounds)}
    return counts


def _shares(samples: SampleSet, manifest: Manifest) -> dict[str, _Share]:
    """Return what each split uses, in the order of its samples. No content is in two splits."""
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    seen: set[str] = set()
    shares = {}
    for split in SPLITS:
        recipes = [from_line(samples.recipe(split, row)) for row in samples.rows[split]]
        sizes = {recipe.foreground: recipe.size for recipe in recipes}
        taken: dict[str, int] = {}
        backgrounds = {}
        for key in dict.fromkeys(recipe.background for recipe in recipes if recipe.background is not None):
            digest = manifest.sources[key].digest
            if digest not in seen:
                seen.add(digest)
                backgrounds[_unused_name(key, taken)] = key
        shares[split] = _Share([(people[name], size) for name, size in sizes.items()], backgrounds)
    return shares


def _unused_name(key: str, taken: dict[str, int]) -> str:
    """Return a file name without spaces for a background: that of its file, numbered where it is taken."""
    stem, extension = os.path.splitext(key.rpartition("/")[2])  # noqa: PTH122
    return f"{unused('_'.join(safe_stem(stem).split()), taken)}{extension.lower()}"


def _write_foreground(manifest: Manifest, home: Path, task: tuple[Foreground, Size]) -> None:
    """Write colours and alpha of a foreground, at the size of its samples, where they are missing."""
    foreground, size = task
    paths = [home / path for path in _paths(foreground)]
    if all(map(size_of, paths)):
        return
    files = replace(foreground.files, trimap=None)
    read = foregrounds.read(files, manifest.roots, resize_alpha=manifest.options.resize_alpha)
    prepared = prepare(read, size, straight=files.is_cutout, estimated=True)
    for path, pixels in zip(paths, (prepared.colours, prepared.alpha), strict=True):
        if not size_of(path):
            write_bytes(path, images.encode(pixels))


def _write_background(manifest: Manifest, home: Path, task: tuple[str, str]) -> None:
    name, key = task
    source = path_of(key, manifest.roots)
    if size_of(home / name) != size_of(source):
        link_or_copy(source, home / name)


def _paths(foreground: Foreground) -> tuple[str, str]:
    name = f"{foreground.files.name}.png"
    return f"{_FOLDERS.images}/{name}", f"{_FOLDERS.alphas}/{name}"


def _table(share: _Share) -> Iterator[str]:
    yield csv_line([*PICTURES[:2], "photo"])
    yield from (csv_line([*_paths(each), each.files.image]) for each, _ in share.foregrounds)
