"""The command that makes a data set once more, from its record."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from shm_data.dataset.manifest import Manifest
from shm_data.options import CompositeOptions

# The options that may be given several times, and how the recorded roots of their folders are called.
_KINDS = {"vocroot": "voc", "cocoroot": "coco", "bgdir": "bgdir"}

# Those whose default is not the same for every command, or that one should see.
_ALWAYS = frozenset(("numbg", "seed"))


def command(manifest: Manifest, savedir: str, roots: Mapping[str, object]) -> str:
    """What to type, in a shell, to make the same data set in a new folder; `roots` has each source as it is typed."""
    verb = "composite" if manifest.options.pubdir is None else "prepare"
    return shlex.join(["shm-data", verb, *_options(manifest.options, roots), "--savedir", savedir])


def _options(options: CompositeOptions, roots: Mapping[str, object]) -> Iterator[str]:
    for name, field in CompositeOptions.model_fields.items():
        value = getattr(options, name)
        if name in _KINDS:
            value = [root for label, root in roots.items() if re.fullmatch(rf"{_KINDS[name]}\d*", label)]
        elif name in roots:
            value = roots[name]
        elif name == "vocset" and "voc" not in roots:
            continue  # where nothing was composited, no background was looked at
        if value != field.default or name in _ALWAYS:
            yield from _typed(f"--{name.replace('_', '-')}", value)


def _typed(option: str, value: Any) -> Iterator[str]:
    """An option as it is typed."""
    if isinstance(value, bool):
        yield option if value else option.replace("--", "--no-", 1)
    elif isinstance(value, list | tuple):
        yield from (word for each in value for word in (option, str(each)))
    elif isinstance(value, dict):
        yield from (word for key in sorted(value) for word in (option, f"{key}={value[key]}"))
    else:
        yield from (option, str(value))
