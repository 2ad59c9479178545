"""Where samples come from, for training and for scores: the folders of a data set, shards of it, or its recipes."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shm_data.building.on_the_fly import PlannedSamples, open_plan
from shm_data.building.render import Sample
from shm_data.dataset.fingerprints import Fingerprint
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.origins import Origin, parse_origin, read_origins
from shm_data.dataset.shard_format import INDEX, Row, read_index, read_line, read_pictures, rows_of
from shm_data.errors import EmptySplitError, ShmDataError
from shm_data.images import Encoded, File, read_alpha, read_gray, read_image
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import CLASSES, IGNORED

Kind = Literal["layout", "shards", "recipes"]


class Source(Protocol):
    """The samples of one split, in the order of its list: any can be read at any time, in any process."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the samples."""

    def read(self, index: int) -> tuple[Array, Array, Array]:
        """The image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255} of a sample, all uint8.

        Raises ShmDataError that names what is missing, broken, or of another size.
        """

    def scene(self, index: int, epoch: int, beside: int | None = None) -> Sample:
        """A sample as training sees it in an epoch, with the colours that it mixes if they are known.

        Its background differs from that of the sample `beside`, which has the same foreground.
        """

    def origins(self) -> Sequence[Origin | None]:
        """What each sample shows; None where no recipe says it. Raises ShmDataError where the record is broken."""


class _Stored(ABC):
    """Samples that are on the disk: of what they mix nothing is known, and one epoch is like another."""

    __slots__ = ()

    @abstractmethod
    def read(self, index: int) -> tuple[Array, Array, Array]:
        """Return image, alpha and trimap of a sample."""

    def scene(self, index: int, epoch: int, beside: int | None = None) -> Sample:
        """One of them, in any epoch."""
        del epoch, beside
        return Sample(*self.read(index))


@dataclass(frozen=True, slots=True)
class LayoutSource(_Stored):
    """The samples of a data set as shm-data writes it."""

    root: Path
    names: Sequence[str]

    def read(self, index: int) -> tuple[Array, Array, Array]:
        """Return image, alpha and trimap of a sample."""
        return read_sample(self.root, self.names[index])

    def origins(self) -> list[Origin | None]:
        """Return what each sample shows, by the record."""
        return read_origins(Layout(self.root), self.names)


@dataclass(frozen=True, slots=True)
class ShardSource(_Stored):
    """The samples of a folder of shards, read where they lie.

    `places` (N, 6) int64 has for each the number of its file, the byte that it begins at, and the sizes of its
    members: plain numbers, since every worker has a copy.
    """

    root: Path
    split: str
    names: Sequence[str]
    files: Sequence[str]
    places: NDArray[np.int64]

    def read(self, index: int) -> tuple[Array, Array, Array]:
        """Return image, alpha and trimap of a sample."""
        tar, row, offset = self._place(index)
        files = [Encoded(f"{tar}: {member}", data) for member, data in read_pictures(tar, self.split, row, offset)]
        return _whole(f"sample {row.name} of {self.root}", *files)

    def origins(self) -> list[Origin | None]:
        """Return what each sample shows, by the JSON object beside it."""
        places = map(self._place, range(len(self.names)))
        return [parse_origin(read_line(tar, self.split, row, offset)) for tar, row, offset in places]

    def _place(self, index: int) -> tuple[Path, Row, int]:
        """Return the file of a sample, its row, and the byte that it begins at."""
        file, offset, *sizes = self.places[index].tolist()
        return self.root / self.files[file], Row(index, self.names[index], *sizes), offset


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """The samples of a plan, none of which need be on the disk: the same pixels as those that were written.

    For training each may get a `fresh` background in every epoch, and what `augment` names.
    """

    replay: PlannedSamples
    fresh: bool = False
    augment: Collection[str] = ()

    @property
    def names(self) -> Sequence[str]:
        """The names of the samples."""
        return self.replay.names

    def read(self, index: int) -> tuple[Array, Array, Array]:
        """Return image, alpha and trimap of a sample."""
        scene = self.replay.sample(self.replay.recipe(index))
        return scene.image, scene.alpha, scene.trimap

    def origins(self) -> list[Origin | None]:
        """Return what each sample shows in the plan."""
        return read_origins(self.replay.layout, self.names)

    def scene(self, index: int, epoch: int, beside: int | None = None) -> Sample:
        """One of them, with what it is composed of in an epoch."""
        recipe = self.replay.recipe(index)
        if self.fresh:
            other = None if beside is None else self.replay.recipe(beside)
            recipe = self.replay.with_new_background(recipe, epoch, other)
        return self.replay.sample(
            self.replay.with_new_augmentations(recipe, self.augment, epoch) if self.augment else recipe
        )


def source_of(
    kind: Kind,
    root: Path,
    split: str,
    cache: Path | None = None,
    *,
    fresh: bool = False,
    augment: Collection[str] = (),
) -> Source:
    """The samples of a split. Raises ShmDataError where there are none, or the files of one are missing.

    `cache` is where recipes keep prepared foregrounds, the folder `cache` in `root` unless another is given; `fresh`
    and `augment` are theirs, too.
    """
    if kind == "recipes":
        return RecipeSource(open_plan(root, split, cache or Layout(root).cache), fresh, augment)
    return _in_shards(root, split) if kind == "shards" else LayoutSource(root, names_of(root, split))


def digest_of(kind: Kind, root: Path) -> str:
    """Return a digest of the samples of a data set, of both splits, wherever it lies.

    It stands for the names in their order and, where there is a record, for the recipes and all sources.
    """
    digest = hashlib.sha256(kind.encode())
    if kind == "shards":
        digest.update((root / INDEX).read_bytes())
        return digest.hexdigest()
    layout = Layout(root)
    for path in (layout.names_of(split) for split in SPLITS):
        digest.update(path.read_bytes() if kind == "layout" and path.is_file() else b"")
        digest.update(b"\0")
    digest.update(json.dumps(_record_digests(layout)).encode())
    return digest.hexdigest()


def _record_digests(layout: Layout) -> list[object]:
    """Return what the record of a data set holds of the contents of recipes and sources; nothing without a record."""
    try:
        record = json.loads(layout.manifest.read_bytes())
        sources = {key: Fingerprint(*stamp).digest for key, stamp in record["sources"].items()}
        return [record["digest"], sorted(sources.items())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def kind_of(root: Path) -> Kind:
    """What a folder holds, by its files; a plan is one whose samples were not all made."""
    if os.path.isfile(root / INDEX):  # which any path may be asked
        return "shards"
    layout = Layout(root)
    made = all(os.path.isfile(layout.names_of(split)) for split in SPLITS)
    return "recipes" if os.path.isfile(layout.manifest) and not made else "layout"


def read_sample(root: Path, name: str) -> tuple[Array, Array, Array]:
    """The image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255} of a data set's sample, all uint8.

    Raises ShmDataError that names what is missing, broken, or of another size.
    """
    return _whole(f"sample {name} of {root}", *Layout(root).sample(name))


def names_of(root: Path, split: str) -> list[str]:
    """The names of a split. Raises ShmDataError where there are none or the files of one are missing."""
    names = read_names(root, split)
    if not names:
        raise EmptySplitError(f"{Layout(root).names_of(split)}", found="no samples", expected="at least one")
    for name in names:
        for path in Layout(root).sample(name):
            if not os.path.isfile(path):  # which any name may be asked
                found = f"no {path.parent.name}/{path.name[:255]}"
                raise ShmDataError(f"sample {name[:255]} of {root}", found=found, expected="the file")
    return names


def _whole(what: str, *files: File) -> tuple[Array, Array, Array]:
    """The three pictures of a sample, decoded and checked against each other."""
    image, alpha, trimap = read_image(files[0]), read_alpha(files[1]), read_gray(files[2])
    for folder, other in (("mask", alpha), ("trimap", trimap)):
        if other.shape != image.shape[:2]:
            found = f"{image.shape[1]}x{image.shape[0]} in input and {other.shape[1]}x{other.shape[0]} in {folder}"
            raise ShmDataError(what, found=found, expected="the same size")
    if not np.isin(trimap, (*CLASSES, IGNORED)).all():
        raise ShmDataError(str(files[2]), found="other values", expected="only 0, 64, 128 and 255")
    return image, alpha, trimap


def _in_shards(root: Path, split: str) -> ShardSource:
    index = read_index(root)
    if index is None or not index.complete:
        found = f"no {INDEX}" if index is None else "shards that are not complete"
        raise ShmDataError(path=root, found=found, expected="a folder that shm-data shards made, to its end")
    shards = [shard for shard in index.shards if shard.split == split]
    rows = [(row, number, offset) for number, shard in enumerate(shards) for row, offset in rows_of(root, shard)]
    if not rows:
        raise EmptySplitError(f"{root / INDEX}", found=f"no samples in {split}", expected="at least one")
    rows.sort()
    whole = len(rows) == getattr(index.counts, split)
    if not whole or [row.position for row, _, _ in rows] != list(range(len(rows))):
        expected = f"each position in {split} once"
        raise ShmDataError(path=root, found="tables that do not fit together", expected=expected)
    places = np.array([(number, offset, *row.sizes) for row, number, offset in rows], np.int64)
    return ShardSource(root, split, [row.name for row, _, _ in rows], [shard.file for shard in shards], places)
