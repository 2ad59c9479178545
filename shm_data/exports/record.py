"""export.json: which data set a folder was exported from, and whether it is complete."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from shm_data.dataset.json_model import read_json_model
from shm_data.errors import ShmDataError
from shm_data.files import write_bytes

RECORD = "export.json"

Kind = Literal["hf", "birefnet", "fg-alpha-bg", "pairs"]


class ExportRecord(BaseModel):
    """The record of an export. `dataset` has the SHA-256 of the files that identify the data set.

    `counts` has the number of files or samples of each split by what they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Kind
    complete: bool
    dataset: dict[str, str]
    counts: dict[str, dict[str, NonNegativeInt]] = {}


def write_record(savedir: Path, record: ExportRecord) -> None:
    """Write export.json, whole or not at all."""
    write_bytes(savedir / RECORD, f"{record.model_dump_json(indent=1)}\n".encode(), durable=True)


def require_own(savedir: Path, kind: Kind, dataset: dict[str, str]) -> None:
    """Raise ShmDataError unless a folder is empty or holds an export of this kind of this data set."""
    expected = "an empty folder, or an export of this data set; or another --savedir"
    old = read_json_model(savedir / RECORD, ExportRecord, "the record as shm-data export wrote it")
    if old is None:
        there = sorted(path.name for path in savedir.iterdir())
        if there:
            raise ShmDataError(f"holds files but no {RECORD}", path=savedir, found=there[0], expected=expected)
    elif old.kind != kind:
        raise ShmDataError("holds another export", path=savedir, found=f"--to {old.kind}", expected=expected)
    elif old.dataset != dataset:
        changed = sorted(name for name in old.dataset | dataset if old.dataset.get(name) != dataset.get(name))
        what = "holds an export of another data set, or of this one before it changed"
        raise ShmDataError(what, path=savedir, found=f"another {' and '.join(changed)}", expected=expected)
