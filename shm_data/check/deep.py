"""Samples made again from their sources, and compared with what is on disk."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from shm_data import images
from shm_data.building import worker
from shm_data.building.render import Sample
from shm_data.check.findings import Finding, Unchecked, error, warning
from shm_data.check.index import recipes_of
from shm_data.dataset.fingerprints import changed
from shm_data.dataset.layout import Layout
from shm_data.dataset.local import require_roots
from shm_data.dataset.manifest import Manifest, versions
from shm_data.dataset.recipes import Recipe
from shm_data.dataset.store import Plan
from shm_data.errors import ShmDataError
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.sources.types import path_of

# Levels by which another version of a library may round differently.
_ROUNDING = 2

# Mean levels by which JPEG and WebP change an image, short of qualities that nobody would take.
_LOSSY = 6


def rerender(
    layout: Layout, manifest: Manifest, count: int, jobs: int = -1, progress: Progress = quiet
) -> tuple[list[Finding], list[Unchecked]]:
    """Make `count` samples of a plan again; return where those on disk differ, and what could not be made."""
    try:
        require_roots(manifest.roots)
    except ShmDataError as fault:
        return [], [Unchecked("rerender", f"samples against their sources ({fault})")]
    recipes = Plan(manifest, lambda: recipes_of(layout, manifest), recorded=True).some_recipes(count)
    results = spread(partial(_compare, layout, manifest), recipes, jobs, ordered=True)
    findings: list[Finding] = []
    faults: list[ShmDataError] = []
    for result in progress(results, len(recipes), "making samples again"):
        if isinstance(result, ShmDataError):
            faults.append(result)
        else:
            findings += (finding for finding in result if finding not in findings)  # samples share their sources
    if not faults:
        return findings, []
    phrase = f"{len(faults)} of {len(recipes)} samples against their sources ({faults[0]})"
    return findings, [Unchecked("rerender", phrase)]


def _compare(layout: Layout, manifest: Manifest, recipe: Recipe) -> list[Finding] | ShmDataError:
    """Where a sample is not what its recipe makes, or why it cannot be made."""
    if changes := list(_changed_sources(recipe, manifest)):
        return changes
    try:
        sample = _made_again(recipe, manifest)
    except ShmDataError as fault:
        return fault
    image, mask, trimap = layout.sample(recipe.name)
    data = worker.encode_image(sample.image, manifest.options)
    findings = [
        _judge(image, images.read_image, sample.image, data, manifest),
        _judge(mask, images.read_gray, sample.alpha, images.encode(sample.alpha), manifest),
        _judge(trimap, images.read_gray, sample.trimap, images.encode(sample.trimap), manifest),
    ]
    return [finding for finding in findings if finding is not None]


def _changed_sources(recipe: Recipe, manifest: Manifest) -> Iterator[Finding]:
    """Return a finding for each source of a sample whose contents are no longer what they were."""
    for key in manifest.keys_of(recipe):
        path = path_of(key, manifest.roots)
        if path.is_file() and (differing := changed(manifest.sources[key], path, verify=True)):
            yield error("source", key, *differing)


def _made_again(recipe: Recipe, manifest: Manifest) -> Sample:
    """Return a sample as the build makes it. Raises ShmDataError where a source is missing or has changed."""
    expected = (recipe.foreground, recipe.partner)
    people = {some.files.name: some for some in manifest.foregrounds if some.files.name in expected}
    return worker.make_sample(recipe, people, manifest)


def _judge(
    path: Path, read: Callable[[Path], Array], made: Array, data: bytes | memoryview, manifest: Manifest
) -> Finding | None:
    """Return how a file differs from the sample that was made again, in pixels and encoded.

    The mean over an image is its residual |I - alpha F - (1 - alpha) B|.
    """
    what, expected = f"{path.parent.name}/{path.name}", "what its recipe makes of the sources"
    try:
        stored = read(path)
    except ShmDataError:  # already reported
        return None
    if path.read_bytes() == data:
        return None
    if stored.shape != made.shape:
        return error("rerender", what, "{1}x{0}".format(*stored.shape), "{1}x{0}, as made again".format(*made.shape))
    since = _changed_since(manifest)
    difference = cv2.absdiff(stored, made)
    mean, highest = float(difference.mean()), int(difference.max())
    lossy = path.suffix != ".png"
    if highest == 0 or (lossy and mean <= _LOSSY):
        return warning("rerender", what, f"the same pixels in other bytes ({since or 'the same versions'})", expected)
    share = np.mean(difference.reshape(*made.shape[:2], -1).any(axis=2))
    found = f"{share:.1%} of the pixels off by up to {highest} levels, a residual of {mean:.2f} on average"
    if highest <= _ROUNDING and since:
        return warning("rerender", what, f"{found} ({since})", expected)
    return error("rerender", what, found, expected)


def _changed_since(manifest: Manifest) -> str:
    """Return the versions that changed since the data set was made, as a phrase."""
    now = versions()
    return ", ".join(
        f"{name} {then}, now {now.get(name)}" for name, then in manifest.versions.items() if now.get(name) != then
    )
