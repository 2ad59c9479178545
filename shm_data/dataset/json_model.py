"""Reads JSON files into pydantic models, which check every field."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shm_data.errors import ShmDataError

Record = TypeVar("Record", bound=BaseModel)


def read_json_model(path: Path, kind: type[Record], expected: str) -> Record | None:
    """Return the model in a JSON file, None where there is no file. Raises ShmDataError where it does not fit."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    except ValidationError as error:
        what = error.errors()[0]
        found = f"{'.'.join(map(str, what['loc']))}: {what['msg']}"
        raise ShmDataError(path=path, found=found, expected=expected) from error
