"""What is scored and how, from what a user chose: a protocol fills in what is not given."""

from collections.abc import Sequence
from pathlib import Path

from shm_data.errors import ShmDataError
from shm_model.scoring.conventions import CONVENTIONS, Convention
from shm_model.scoring.folders import ScoreOptions
from shm_model.scoring.protocols import OF_TRIMAP, PROTOCOLS, REGIONS, Protocol, Region, derive_default

_ANY = Protocol(("whole",), "adobe", "")


def plan_scoring(
    *,
    trimap: Path | None = None,
    derive_trimap: bool = False,
    region: Sequence[Region] = (),
    protocol: str | None = None,
    convention: str | None = None,
    frames: bool = False,
    resize: bool = False,
    prefix: str = "",
) -> tuple[ScoreOptions, Convention, dict[str, str]]:
    """Return the options, the convention, and the header that states them with each result.

    Raises ShmDataError where a region needs trimaps, and none are given or derived.
    """
    rules = PROTOCOLS[protocol] if protocol else _ANY
    has_trimaps = trimap is not None or derive_trimap
    regions = tuple(region) or (REGIONS if has_trimaps and not protocol else rules.regions)
    if OF_TRIMAP.keys() & set(regions) and not has_trimaps and rules.derive is None:
        needing = next(each for each in regions if each in OF_TRIMAP)
        raise ShmDataError(f"the region {needing}", found="no trimaps", expected="--trimap DIR or --derive-trimap")
    derive = rules.derive or derive_default
    chosen = CONVENTIONS[convention or rules.convention]
    options = ScoreOptions(regions, trimap, derive, frames or rules.frames, resize, prefix)
    header = {
        "convention": f"{convention or rules.convention} ({chosen.summary})",
        "regions": ", ".join(regions),
    }
    if protocol:
        header = {"protocol": f"{protocol} ({rules.summary})"} | header
    if OF_TRIMAP.keys() & set(regions):
        header["trimaps"] = str(trimap) if trimap else f"derived from the truth: {_first_line(derive.__doc__)}"
    if resize:
        header["sizes"] = "predictions are resized to the truth"
    return options, chosen, header


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0].removeprefix("Return the trimap of a truth ").rstrip(".")
