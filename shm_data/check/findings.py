"""What a check found, the verdict on all of it, and how people and machines are told."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from shm_data.errors import ShmDataError, counted

# So many findings of a kind are told to people; machines are told all.
_SHOWN = 5

Kind = Literal[
    "record", "list", "missing", "orphan", "unpaired", "unreadable", "channels", "size",
    "blank", "swapped", "inverted", "premultiplied", "binary", "noise", "maximum", "holes",
    "trimap", "foreground", "leak", "lookalike", "rerender",
]  # fmt: skip

KINDS: dict[Kind, str] = {
    "record": "dataset.json or recipes.jsonl is broken, unfinished, or at odds with the lists",
    "list": "a list is missing or empty, or a name in it is there twice or points elsewhere",
    "missing": "a sample lacks a file",
    "orphan": "a file belongs to no sample",
    "unpaired": "a file has no partner of its name",
    "unreadable": "a file does not decode, or is not of its kind",
    "channels": "a file has other channels than its folder promises",
    "size": "files that belong together differ in size",
    "blank": "an alpha tells nothing apart",
    "swapped": "an alpha is a photo, perhaps in the place of its image",
    "inverted": "an alpha calls its border foreground and its centre background",
    "premultiplied": "the colours of a cut-out are multiplied by its alpha already",
    "binary": "an alpha has no soft edge",
    "noise": "an alpha is noisy where it should be flat",
    "maximum": "an alpha never reaches 255",
    "holes": "an alpha has specks of background deep inside its foreground",
    "trimap": "a trimap has other values than 0, 128, 255, or contradicts its alpha",
    "foreground": "a sample shows another foreground than its recipe names",
    "leak": "train and val share a foreground, a group or a background",
    "lookalike": "foregrounds in train and val are nearly the same picture",
    "rerender": "a sample is not what its recipe makes",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`grave`) or that should be known.

    `what` is the name of a sample, or the path of a file from its root; a path has a slash, unless it is of a list
    or a record. For files of one's own folders it is a key ROOT/relative/path, ROOT being inimg, inalp or intri.
    """

    kind: Kind
    what: str
    found: str
    expected: str
    grave: bool

    def __str__(self) -> str:
        return f"{self.what}: found {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that a check found, how many things it looked at, and what it did and could not check, in phrases.

    Of `counts` the first tells of how many things the verdict is.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def errors(self) -> int:
        """How many findings are grave."""
        return sum(finding.grave for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are not."""
        return len(self.findings) - self.errors

    @property
    def wrong(self) -> bool:
        """Whether any finding is grave."""
        return is_wrong(self.findings)


def error(kind: Kind, what: str, found: str, expected: str) -> Finding:
    """A grave finding."""
    return Finding(kind, what, found, expected, grave=True)


def warning(kind: Kind, what: str, found: str, expected: str) -> Finding:
    """A finding that leaves the data usable."""
    return Finding(kind, what, found, expected, grave=False)


def is_wrong(findings: Iterable[Finding]) -> bool:
    """Whether any finding is grave."""
    return any(finding.grave for finding in findings)


def of_fault(kind: Kind, what: str, fault: ShmDataError, expected: str) -> Finding:
    """The grave finding that a fault of a file is; `expected` is what is told where the fault does not."""
    return error(kind, what, ": ".join(filter(None, (fault.what, fault.found))), fault.expected or expected)


def to_json(verdict: Verdict, root: str) -> str:
    """A verdict as a JSON object of root, counts, checked, unchecked and findings, in ASCII."""
    parts = asdict(verdict)
    order = ("counts", "checked", "unchecked", "findings")
    return json.dumps({"root": root} | {name: parts[name] for name in order}, indent=1)


def to_lines(verdict: Verdict) -> list[str]:
    """A verdict in lines for people: the findings by kind, errors first, then one line that sums up."""
    lines = [*_told(verdict, grave=True), *_told(verdict, grave=False)]
    lines += [f"not checked: {phrase}" for phrase in verdict.unchecked]
    lines.append(_summed_up(verdict))
    return [line.encode("utf-8", "backslashreplace").decode() for line in lines]


def _told(verdict: Verdict, *, grave: bool) -> Iterator[str]:
    by_kind: dict[Kind, list[Finding]] = defaultdict(list)
    for finding in verdict.findings:
        if finding.grave == grave:
            by_kind[finding.kind].append(finding)
    for kind, meaning in KINDS.items():
        some = by_kind[kind]
        if some:
            yield f"{'error' if grave else 'warning'}: {meaning} ({kind}, {len(some)})"
            yield from (f"  {finding}" for finding in some[:_SHOWN])
        if len(some) > _SHOWN:
            yield f"  and {len(some) - _SHOWN} more, see --json"


def _summed_up(verdict: Verdict) -> str:
    noun, number = next(iter(verdict.counts.items()))
    parts = ", ".join(f"{count} {name}" for name, count in list(verdict.counts.items())[1:])
    errors, warnings = verdict.errors, verdict.warnings
    said = [counted(errors, "error") if errors else "nothing wrong"] + [counted(warnings, "warning")] * bool(warnings)
    return f"{counted(number, noun.removesuffix('s'))}{f' ({parts})' * bool(parts)}: {', '.join(said)}"
