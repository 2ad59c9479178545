"""local.json: where the sources of a data set lie on this machine, so that dataset.json can be published."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shm_data.dataset.json_model import read_json_model
from shm_data.dataset.layout import Layout
from shm_data.errors import ShmDataError
from shm_data.files import write_bytes


class _Local(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    roots: dict[str, Path]


def read_roots(layout: Layout, recorded: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folder of each source by its label, where local.json has it, else as recorded in dataset.json.

    Records of earlier versions have absolute paths; those of today have the name of the folder.
    """
    local = read_json_model(layout.local, _Local, "the file as shm-data wrote it")
    return {label: path if local is None else local.roots.get(label, path) for label, path in recorded.items()}


def write_roots(layout: Layout, roots: Mapping[str, Path]) -> None:
    """Write local.json, whole or not at all. Raises WriteError."""
    text = _Local(roots=dict(roots)).model_dump_json(indent=1)
    write_bytes(layout.local, f"{text}\n".encode(), durable=True)


def require_roots(roots: Mapping[str, Path]) -> None:
    """Raise ShmDataError where it is not known where the sources lie, as in a data set of another machine."""
    unknown = [label for label, path in roots.items() if not path.is_absolute()]
    if unknown:
        expected = "its local.json; the command that made it, run again, writes that file"
        found = f"no folder for {' and '.join(unknown)}"
        raise ShmDataError("where the sources of the data set lie is not known", found=found, expected=expected)
