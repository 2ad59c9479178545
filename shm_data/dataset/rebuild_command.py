"""The command that makes a data set again, from its record."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from shm_data.dataset.manifest import Manifest
from shm_data.options import CompositeOptions

# Options that may be repeated, and the labels of their folders in the record.
_KINDS = {"vocroot": "voc", "cocoroot": "coco", "bgdir": "bgdir"}

# Shown always: their default depends on the command, or a reader should see them.
_ALWAYS = frozenset(("numbg", "seed"))


def command(manifest: Manifest, savedir: str, roots: Mapping[str, object]) -> str:
    """Return the shell command that makes the same data set in `savedir`; `roots` has the path of each source."""
    verb = "composite" if manifest.options.pubdir is None else "prepare"
    return shlex.join(["shm-data", verb, *_options(manifest.options, roots), "--savedir", savedir])


def _options(options: CompositeOptions, roots: Mapping[str, object]) -> Iterator[str]:
    for name, field in CompositeOptions.model_fields.items():
        value = getattr(options, name)
        if name in _KINDS:
            value = [root for label, root in roots.items() if re.fullmatch(rf"{_KINDS[name]}\d*", label)]
        elif name in roots:
            value = roots[name]
        elif name == "val" and value:
            value = name.upper()  # stands for a file with the names that the record has
        elif name == "vocset" and "voc" not in roots:
            continue  # no background was used
        elif name == "augment":
            value = value or ("none",)
        if value != field.default or name in _ALWAYS:
            yield from _words(f"--{name.replace('_', '-')}", value)


def _words(option: str, value: Any) -> Iterator[str]:
    """Return the words of an option on the command line."""
    if isinstance(value, bool):
        yield option if value else option.replace("--", "--no-", 1)
    elif isinstance(value, list | tuple):
        yield from (word for each in value for word in (option, str(each)))
    elif isinstance(value, dict):
        yield from (word for key in sorted(value) for word in (option, f"{key}={value[key]}"))
    else:
        yield from (option, str(value))
