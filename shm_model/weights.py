"""The only module that reads files of torch.save: runs no code in them, reports broken ones in one sentence."""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from shm_data.errors import ShmDataError

# What torch.load raises for a file that is cut short, not its own, or holds more than tensors and plain values.
_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    EOFError,
    AssertionError,
    MemoryError,
    OverflowError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)


def read(path: Path | str, expected: str) -> object:
    """Return the tensors and plain values in a file. Raises ShmDataError where it is missing or broken."""
    broken = ShmDataError(path=path, found="a file of another kind, or broken", expected=expected)
    try:
        if Path(path).is_fifo() or not _is_sound(path):
            raise broken
        with warnings.catch_warnings():
            # Of an old pickle torch first says that its protocol is unusual; whether it is any good shows next.
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ShmDataError("does not exist", path=path) from error
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    except _UNREADABLE as error:
        raise broken from error
    return content


def _is_sound(path: Path | str) -> bool:
    """Return whether an archive fits its checksums, which torch does not check, and nothing in it is compressed.

    torch never compresses, and a few compressed bytes may expand to any number. Older files are no archives.
    """
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as file:
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in file.infolist())
        return stored and file.testzip() is None


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors in a file by name: a state_dict, or one under "state_dict", without "module." before names.

    Raises ShmDataError where the file holds anything else. Nothing in it is executed.
    """
    expected = "a state_dict written by torch.save"
    content = read(path, expected)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not content:
        raise ShmDataError(path=path, found=f"a {type(content).__name__} without tensors", expected=expected)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ShmDataError(f"{path}, {key}", found=f"a {type(value).__name__}", expected="a tensor with a name")
    return {key.removeprefix("module."): value for key, value in content.items()}


def check_weights(
    path: Path | str, found: Mapping[str, Tensor], expected: Mapping[str, torch.Size], ignored: str | tuple[str, ...]
) -> None:
    """Raise ShmDataError with the first name that is missing, has another shape, or is not expected.

    Names that begin with `ignored` may be there. A surplus is a fault, too: the layers of ResNet-50 fit the
    file of a ResNet-101, whose other half would be dropped in silence.
    """
    for key, shape in expected.items():
        if key not in found:
            raise ShmDataError(f"{path}, {key}", found="nothing", expected=f"shape {tuple(shape)}")
        if found[key].shape != shape:
            raise ShmDataError(f"{path}, {key}", found=f"shape {tuple(found[key].shape)}", expected=f"{tuple(shape)}")
    for key in found:
        if key not in expected and not key.startswith(ignored) and not is_count(key):
            raise ShmDataError(
                f"{path}, {key}", found="a layer too many", expected="the weights of a smaller network"
            )


def is_count(key: str) -> bool:
    """Return whether an entry is batch norm's counter of batches: old files lack it, and nothing here uses it."""
    return key.endswith(".num_batches_tracked")
