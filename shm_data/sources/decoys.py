"""Finds decoys: RGBA cut-outs of things that are not people."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from shm_data import images
from shm_data.errors import ShmDataError
from shm_data.parallel import Progress, spread
from shm_data.sources.types import path_of

LABEL = "decoys"


def scan(folder: Path | None) -> tuple[str, ...]:
    """Return the keys of the pictures in a folder, sorted. Raises ShmDataError where there are none."""
    if folder is None:
        return ()
    found = images.find(folder)
    if not found:
        raise ShmDataError("--decoys", found=f"no pictures in {folder}", expected="RGBA cut-outs")
    return tuple(f"{LABEL}/{path}" for path in found)


def require_cutouts(keys: Sequence[str], roots: Mapping[str, Path], jobs: int, progress: Progress) -> None:
    """Read every decoy. Raises one ShmDataError with all that are no cut-outs."""
    results = spread(partial(_fault, roots), keys, jobs, ordered=True)
    shown = list(progress(results, len(keys), "reading decoys")) if keys else []
    bad = [result for result in shown if result is not None]
    if bad:
        raise ShmDataError(f"{len(bad)} of {len(shown)} decoys cannot be used", faults=bad)


def _fault(roots: Mapping[str, Path], key: str) -> ShmDataError | None:
    try:
        images.read_cutout(path_of(key, roots))
    except ShmDataError as error:
        return error
    return None
