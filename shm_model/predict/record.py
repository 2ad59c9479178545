"""What each output was made from: JSON lines in the folder of the outputs, so that none is believed by its name."""

import hashlib
import json
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shm_data.errors import ShmDataError, WriteError, is_machine_fault
from shm_data.pixels.arrays import Array
from shm_model.predict.jobs import PredictJob
from shm_model.predict.outputs import Output

RECORD = "predictions.jsonl"

Inputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: str
    made_from: Inputs


class PredictionRecord:
    """The outputs in a folder, with the digests of themselves and of all that they were made from.

    A line {"begun": [names]} announces outputs, which a killed run may leave without more; a line {"output": name,
    "sha256": ..., "made_from": {...}} follows when an output is whole. `settings` are those of the predictor, which
    belong to what an output is made from; so does the `background` (H, W, 3) of a composite.
    """

    def __init__(self, savedir: Path, settings: Mapping[str, object], background: Array) -> None:
        self._path = savedir / RECORD
        self._settings = dict(settings)
        self._background = hashlib.sha256(f"{background.shape}".encode() + background.tobytes()).hexdigest()
        self._entries: dict[str, _Entry | None] = {}  # None: begun, and perhaps written
        self._lock = threading.Lock()
        self._read()

    def check_overwriting(self, jobs: Sequence[PredictJob]) -> None:
        """Raise ShmDataError for outputs that would replace a file that no prediction wrote, or that was edited."""
        foreign = [path for job in jobs for path in job.outputs.values() if not self._may_replace(path)]
        if foreign:
            faults = [
                ShmDataError(
                    path=path,
                    found="a file that no prediction wrote, or that was edited",
                    expected="another --savedir, or the file removed",
                )
                for path in foreign
            ]
            raise ShmDataError("outputs would replace files", faults=faults)

    def is_done(self, job: PredictJob) -> bool:
        """Return whether all outputs of a job are whole and were made from the same inputs with the same settings."""
        if not self._settings.get("network"):
            return False
        entries = {kind: self._entries.get(path.name) for kind, path in job.outputs.items()}
        if not all(entries.values()):
            return False
        try:
            inputs = digest_inputs(job)
            return all(
                entry is not None
                and entry.made_from == self._made_from(inputs, kind)
                and entry.digest == digest_file(job.outputs[kind])
                for kind, entry in entries.items()
            )
        except ShmDataError:
            return False

    def begin(self, jobs: Sequence[PredictJob]) -> None:
        """Announce the outputs of jobs before the first is written."""
        names = [path.name for job in jobs for path in job.outputs.values()]
        if names:
            self._append([{"begun": names}])

    def add(self, job: PredictJob, inputs: Inputs) -> None:
        """Record the outputs of a job, which are whole."""
        lines = []
        for kind, path in job.outputs.items():
            made_from = {"source_name": job.source.name, **self._made_from(inputs, kind)}
            lines.append({"output": path.name, "sha256": digest_file(path), "made_from": made_from})
        self._append(lines)

    def _made_from(self, inputs: Inputs, kind: Output) -> Inputs:
        return inputs | self._settings | ({"background": self._background} if kind == "composite" else {})

    def _may_replace(self, path: Path) -> bool:
        if not os.path.lexists(path):
            return True
        if path.name not in self._entries:
            return False
        entry = self._entries[path.name]
        return entry is None or entry.digest == digest_file(path)

    def _append(self, lines: Collection[Mapping[str, object]]) -> None:
        """Append lines by one write, so that runs that share the folder do not mix theirs."""
        text = "".join(f"\n{json.dumps(line)}" for line in lines)  # \n first: a killed run may leave half a line
        try:
            with self._lock, self._path.open("ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise WriteError(f"cannot be written ({error.strerror or error})", path=self._path) from error

    def _read(self) -> None:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise ShmDataError(f"cannot be read ({error.strerror or error})", path=self._path) from error
        for line in text.splitlines():
            self._read_line(line)

    def _read_line(self, text: str) -> None:
        try:
            line = json.loads(text)
            if "begun" in line:
                self._entries |= dict.fromkeys(line["begun"])
            else:
                made_from = {key: value for key, value in line["made_from"].items() if key != "source_name"}
                self._entries[line["output"]] = _Entry(line["sha256"], made_from)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return  # a line that a killed run left, or that nobody of ours wrote, vouches for nothing


def digest_inputs(job: PredictJob) -> Inputs:
    """Return the SHA-256 of the source and of the trimap of a job. Raises ShmDataError."""
    return {
        "source": digest_file(job.source),
        "trimap": None if job.trimap is None else digest_file(job.trimap),
    }


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises ShmDataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
