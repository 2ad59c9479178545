"""The files of `score` and `evaluate` in a folder: they replace only those that they wrote."""

import json
from collections.abc import Sequence
from pathlib import Path

from shm_data.errors import ShmDataError

# Written first, with the names of all files that follow.
SCORES = "scores.json"


def require_own_files(savedir: Path, names: Sequence[str]) -> None:
    """Raise ShmDataError where a folder has files of these names that no earlier scores list as theirs."""
    own = _listed(savedir / SCORES)
    foreign = [name for name in names if name not in own and (savedir / name).exists()]
    if foreign:
        found = f"{', '.join(foreign)} of another origin"
        raise ShmDataError(f"--savedir {savedir}", found=found, expected="another folder, or earlier scores")


def _listed(path: Path) -> Sequence[str]:
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    files = report.get("files") if isinstance(report, dict) else None
    return files if isinstance(files, list) else ()
