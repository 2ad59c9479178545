"""The samples of a training's data roots: of one data set, or of several as if they were one."""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from shm_data.building.render import Sample
from shm_data.dataset.layout import Layout
from shm_data.dataset.origins import Origin
from shm_data.errors import EmptySplitError
from shm_data.pixels.arrays import Array
from shm_model.config import Config, Root
from shm_model.samples import Kind, Source, digest_of, source_of


@dataclass(frozen=True, slots=True)
class JoinedSource:
    """The samples of several sources, one source after the other; their names say from which root they are."""

    parts: Sequence[Source]
    names: Sequence[str]
    starts: Sequence[int]

    def read(self, index: int) -> tuple[Array, Array, Array]:
        """Return image, alpha and trimap of a sample."""
        part, own = self._place(index)
        return part.read(own)

    def scene(self, index: int, epoch: int, beside: int | None = None) -> Sample:
        """Return a sample as training sees it in an epoch; a sample `beside` is of the same root."""
        part, own = self._place(index)
        return part.scene(own, epoch, None if beside is None else self._place(beside)[1])

    def origins(self) -> list[Origin | None]:
        """Return what each sample shows."""
        return [origin for part in self.parts for origin in part.origins()]

    def _place(self, index: int) -> tuple[Source, int]:
        number = bisect_right(self.starts, index) - 1
        return self.parts[number], index - self.starts[number]


def training_source(config: Config) -> Source:
    """Return the samples to train on, of all roots with a share. Raises ShmDataError where one has none."""
    roots = [root for root in config.roots if root.share > 0]
    drawn = config.resample_backgrounds, config.augment
    parts = [
        source_of(_kind(config, root), root.root, "train", config.cache, fresh=drawn[0], augment=drawn[1])
        for root in roots
    ]
    return parts[0] if isinstance(config.data_root, Path) else _joined(roots, parts)


def validation_source(config: Config) -> Source:
    """Return the samples of val of all roots that have some; those without a share must have some.

    Raises ShmDataError where no root has a val, or one is broken.
    """
    if isinstance(config.data_root, Path):
        return source_of(config.data, config.data_root, "val", config.cache)
    opened = [(root, part) for root in config.roots if (part := _val_of(config, root))]
    if not opened:
        found = f"no samples in val of {', '.join(str(root.root) for root in config.roots)}"
        raise EmptySplitError("data_root", found=found, expected="a root with a val, or eval: false")
    return _joined(*zip(*opened, strict=True))


def digest_of_roots(config: Config) -> str:
    """Return a digest of the samples of all roots, of both splits, wherever they lie."""
    digests = [digest_of(_kind(config, root), root.root) for root in config.roots]
    return digests[0] if len(digests) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _joined(roots: Sequence[Root], parts: Sequence[Source]) -> JoinedSource:
    names = [f"{name} of {root.root}" for root, part in zip(roots, parts, strict=True) for name in part.names]
    return JoinedSource(parts, names, [0, *accumulate(len(part.names) for part in parts[:-1])])


def _kind(config: Config, root: Root) -> Kind:
    return root.data or config.data


def _val_of(config: Config, root: Root) -> Source | None:
    """Return the samples of val of a root, None where it is for training alone."""
    kind, may_lack = _kind(config, root), root.share > 0
    if may_lack and kind == "layout" and not os.path.isfile(Layout(root.root).names_of("val")):
        return None
    try:
        return source_of(kind, root.root, "val", config.cache)
    except EmptySplitError:
        if may_lack:
            return None
        raise
