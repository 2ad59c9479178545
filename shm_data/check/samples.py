"""Checks the files of samples: that they decode, match each other, and show the foreground of the recipe."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from shm_data import images
from shm_data.check.findings import Finding, error, is_wrong, of_fault, warning
from shm_data.check.index import DatasetIndex, is_there, recipes_of
from shm_data.check.mattes import faults_of, looks_like_matte, swapped
from shm_data.check.trimaps import trimap_faults
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.near_duplicates import perceptual_hashes
from shm_data.pixels.trimap import IGNORED

# Samples in one task: enough that the first sample of a foreground, read again for each task, costs little.
_PART = 32

# Mean levels by which a foreground may differ between its samples where alpha is 255: JPEG of low quality makes 3.
_SAME = 8

# Every fourth row is compared: the foreground of another sample differs in all rows.
_EVERY = 4


# What else is done with a sample while its files are in memory: name, image, alpha, trimap; None where a file cannot
# be read. Called by several threads.
Visit = Callable[[str, Array | None, Array | None, Array | None], None]


def no_visit(name: str, image: Array | None, alpha: Array | None, trimap: Array | None) -> None:
    """Do nothing with a sample."""


@dataclass(frozen=True, slots=True)
class Task:
    """Samples for one worker. Those with recipes are of one foreground and compared with `model`."""

    names: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    model: Recipe | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings about a sample.

    `key` stands for its foreground: the name by its recipe, or else the digest of its alpha, which is None where
    the alpha does not decode. What is found `of_alpha` holds for all samples with that alpha.
    """

    name: str
    findings: tuple[Finding, ...]
    key: str | None = None
    alpha: str | None = None
    of_alpha: tuple[Finding, ...] = ()
    hashes: Array | None = None


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was read, with digests of its bytes and pixels; no pixels where it does not decode."""

    findings: tuple[Finding, ...]
    pixels: Array | None = None
    raw: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    recipe: Recipe | None
    image: _File
    mask: _File
    trimap: _File


def tasks_of(layout: Layout, index: DatasetIndex) -> Iterator[Task]:
    """All samples of a data set: first those with recipes, by foreground, then the others."""
    planned = index.planned or {}
    if planned:
        for _, recipes in itertools.groupby(recipes_of(layout, index.manifest), key=lambda recipe: recipe.foreground):
            listed = (recipe for recipe in recipes if recipe.name in index.splits)
            model = None
            while part := tuple(itertools.islice(listed, _PART)):
                model = model or min(part, key=lambda recipe: (recipe.has_own_alpha, recipe.augment is not None))
                yield Task(tuple(recipe.name for recipe in part), {recipe.name: recipe for recipe in part}, model)
    others = (name for name in index.splits if name not in planned)
    while names := tuple(itertools.islice(others, _PART)):
        yield Task(names, {}, None)


def check_task(layout: Layout, visit: Visit, task: Task) -> list[Outcome]:
    """Read and check every sample of a task. An alpha or trimap of the same bytes as the last is decoded once."""
    model = None if task.model is None else _read(layout, task.model.name, task.model, None)
    outcomes, before = [], None
    for name in task.names:
        sample = model if model and model.name == name else _read(layout, name, task.recipes.get(name), before)
        outcomes.append(_judge(sample, before, model))
        visit(name, sample.image.pixels, sample.mask.pixels, sample.trimap.pixels)
        before = sample
    return outcomes


def _read(layout: Layout, name: str, recipe: Recipe | None, before: _Sample | None) -> _Sample:
    image, mask, trimap = layout.sample(name)
    return _Sample(
        name,
        recipe,
        _read_file(image, _colours),
        _read_shared(mask, _alpha, None if before is None else before.mask),
        _read_shared(trimap, _labels, None if before is None else before.trimap),
    )


def _read_shared(path: Path, reader: Callable[[Path, str], _File], before: _File | None) -> _File:
    """Return a file as read by `reader`, or `before` if that has the same bytes and no fault."""
    raw = _digest_of_file(path)
    if before is not None and before.pixels is not None and raw == before.raw:
        return before
    return replace(_read_file(path, reader), raw=raw)


def _read_file(path: Path, reader: Callable[[Path, str], _File]) -> _File:
    what = f"{path.parent.name}/{path.name}"
    if not is_there(path):
        # A missing folder is reported once, not for each sample.
        return _File((error("missing", what, "no file", "a file for each sample"),) * path.parent.is_dir())
    try:
        return reader(path, what)
    except ShmDataError as fault:
        return _File((of_fault("unreadable", what, fault, "a whole picture"),))


def _digest_of_file(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:  # decoding it gives the reason
        return ""


def _colours(path: Path, what: str) -> _File:
    stored = images.read_channels(path)
    channels = stored.shape[2]
    if channels == 3:
        return _File((), stored)
    found = "one channel" if channels == 1 else "an A channel"
    return _File((warning("channels", what, found, "three: red, green, blue"),), images.read_image(path))


def _alpha(path: Path, what: str) -> _File:
    return _one_channel(path, what, images.read_alpha)


def _labels(path: Path, what: str) -> _File:
    return _one_channel(path, what, images.read_gray)


def _one_channel(path: Path, what: str, read: Callable[[Path], Array]) -> _File:
    stored = images.read_channels(path)
    if stored.shape[2] == 1:
        gray = np.ascontiguousarray(stored[..., 0])
        return _File((), gray, digest=_digest_of(gray))
    try:
        gray = read(path)
    except ShmDataError:
        return _File((error("channels", what, "a colour picture", "one channel"),))
    found = f"{stored.shape[2]} channels"
    return _File((warning("channels", what, found, "one channel"),), gray, digest=_digest_of(gray))


def _digest_of(pixels: Array) -> str:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, person=f"{pixels.shape}".encode()[:16]).hexdigest()


def _judge(sample: _Sample, before: _Sample | None, model: _Sample | None) -> Outcome:
    image, alpha, trimap = sample.image.pixels, sample.mask.pixels, sample.trimap.pixels
    findings = [*sample.image.findings, *_sizes(sample)]
    new_mask = before is None or sample.mask is not before.mask
    new_trimap = before is None or sample.trimap is not before.trimap
    findings += [*sample.mask.findings] * new_mask + [*sample.trimap.findings] * new_trimap
    if alpha is None:
        return Outcome(sample.name, tuple(_swapped(sample, findings)))
    fitting = image if image is not None and image.shape[:2] == alpha.shape else None
    # A mask in place of an alpha has none of the soft edges that these faults are about.
    is_alpha = trimap is None or not (trimap == IGNORED).any()
    of_alpha = faults_of(sample.name, alpha, fitting) if new_mask and is_alpha else []
    rule = None if sample.recipe is None else sample.recipe.trimap
    old_rule = None if before is None or before.recipe is None else before.recipe.trimap
    if trimap is not None and trimap.shape == alpha.shape and (new_mask or new_trimap or rule != old_rule):
        # A trimap is compared only with an alpha that has no fault itself.
        findings += [] if is_wrong(of_alpha) else trimap_faults(sample.name, trimap, alpha, rule)
    if model is not None and fitting is not None:
        findings += _strange(sample, model)
    key = sample.mask.digest if sample.recipe is None else sample.recipe.foreground
    if not new_mask:
        return Outcome(sample.name, tuple(findings), key, sample.mask.digest)
    hashes = None if fitting is None else perceptual_hashes(fitting, alpha)
    return Outcome(sample.name, tuple(findings), key, sample.mask.digest, tuple(of_alpha), hashes)


def _sizes(sample: _Sample) -> Iterator[Finding]:
    """Yield a finding unless all files that decode have one size, that of the recipe."""
    files = {"image": sample.image, "alpha": sample.mask, "trimap": sample.trimap}
    sizes = {kind: file.pixels.shape[1::-1] for kind, file in files.items() if file.pixels is not None}
    planned = () if sample.recipe is None else (sample.recipe.size,)
    if len({*sizes.values(), *planned}) > 1:
        found = ", ".join(f"{kind} {width}x{height}" for kind, (width, height) in sizes.items())
        expected = "one size" if sample.recipe is None else "{}x{}, as its recipe says".format(*sample.recipe.size)
        yield error("size", sample.name, found, expected)


def _swapped(sample: _Sample, findings: list[Finding]) -> list[Finding]:
    """Return the findings of a sample without a readable alpha; if that is a colour picture, they may be swapped."""
    coloured = [finding for finding in findings if finding.kind == "channels" and finding.grave]
    if not coloured or sample.image.pixels is None or not looks_like_matte(sample.image.pixels):
        return findings
    return [swapped(sample.name), *(finding for finding in findings if finding not in coloured)]


def _strange(sample: _Sample, model: _Sample) -> Iterator[Finding]:
    """Yield a finding unless a sample has the alpha of the model of its foreground, and its opaque colours.

    Augmented samples have colours, or an alpha, of their own; --deep checks these.
    """
    image, alpha, first = sample.image.pixels, sample.mask.pixels, model.image.pixels
    recipes = sample.recipe, model.recipe
    if sample.recipe is None or sample is model or image is None or alpha is None or model.mask.pixels is None:
        return
    if any(recipe is not None and recipe.has_own_alpha for recipe in recipes):
        return
    expected = f"the foreground {sample.recipe.foreground}, as in {model.name}"
    if sample.mask.digest != model.mask.digest:
        yield error("foreground", sample.name, "another alpha", expected)
        return
    if first is None or first.shape != image.shape:
        return
    if any(recipe is not None and recipe.augment is not None for recipe in recipes):
        return
    rows = slice(None, None, _EVERY)
    opaque = (alpha[rows] == 255).astype(np.uint8)
    differing = np.mean(cv2.mean(cv2.absdiff(image[rows], first[rows]), opaque)[:3])  # 0 if nothing is opaque
    if differing > _SAME:
        yield error("foreground", sample.name, f"colours that differ by {differing:.0f} levels", expected)
