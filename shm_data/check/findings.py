"""What a check found, and the verdict on all of it, as text for people and as JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from shm_data.errors import ShmDataError, counted

# The number of findings of a kind that people are shown. JSON holds all.
_SHOWN = 5

Kind = Literal[
    "record", "list", "missing", "orphan", "unpaired", "unreadable", "channels", "size",
    "blank", "swapped", "inverted", "premultiplied", "binary", "noise", "maximum", "holes",
    "islands", "is_trimap", "turned", "estimated",
    "trimap", "foreground", "leak", "near_duplicate", "enlarged", "source", "rerender",
]  # fmt: skip

KINDS: dict[Kind, str] = {
    "record": "dataset.json or recipes.jsonl is broken, unfinished, or at odds with the lists",
    "list": "a list is missing or empty, or has a name twice, or one that leads out of the folder",
    "missing": "a sample lacks a file",
    "orphan": "a file belongs to no sample",
    "unpaired": "a file has no partner of its name",
    "unreadable": "a file does not decode, or is not of its kind",
    "channels": "a file has other channels than its folder promises",
    "size": "files that belong together differ in size",
    "blank": "an alpha is empty, or foreground everywhere",
    "swapped": "an alpha is a photo; perhaps image and alpha are swapped",
    "inverted": "an alpha is foreground at the border and background in the centre",
    "premultiplied": "the colours of a cut-out are multiplied by its alpha already",
    "binary": "an alpha has no soft edge",
    "noise": "an alpha is noisy where it should be flat",
    "maximum": "an alpha has no flat foreground, so its trimap has none",
    "islands": "an alpha has small parts of foreground far from the person",
    "turned": "a photo is turned by its EXIF tag, and its alpha is not",
    "is_trimap": "an alpha is a trimap",
    "estimated": "an alpha was estimated from a mask",
    "holes": "an alpha has specks of background deep inside its foreground",
    "trimap": "a trimap has other values than 0, 128, 255, or contradicts its alpha",
    "foreground": "a sample shows another foreground than its recipe names",
    "leak": "train and val share a foreground, a group or a background",
    "near_duplicate": "foregrounds or backgrounds in train and val are nearly the same picture",
    "enlarged": "backgrounds are enlarged, so that sharpness alone gives the person away",
    "source": "a source is not what was recorded when the data set was made",
    "rerender": "a sample is not what its recipe makes",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`grave`) or that should be known.

    `what` is the name of a sample, or the path of a file from its root; a path has a slash, unless it is of a list
    or a record. For files of one's own folders it is a key ROOT/relative/path, ROOT being inimg, inalp or intri.
    `other` is a second sample, or file, that the finding is about, if there is one.
    """

    kind: Kind
    what: str
    found: str
    expected: str
    grave: bool
    other: str = ""

    @property
    def folder(self) -> str:
        """Return the folder of the file that the finding is about, "" if it is about a sample."""
        return self.what.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.what}: found {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A kind of finding that a check could not look for, and why, as a phrase."""

    kind: Kind
    phrase: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings of a check, the number of things that it looked at, and what it did and did not check.

    The first of `counts` is the number of things that the verdict is about.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    checked: tuple[str, ...]
    unchecked: tuple[Unchecked, ...]

    @property
    def errors(self) -> int:
        """Return the number of grave findings."""
        return sum(finding.grave for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Return the number of findings that are not grave."""
        return len(self.findings) - self.errors

    @property
    def wrong(self) -> bool:
        """Return whether any finding is grave."""
        return is_wrong(self.findings)


def error(kind: Kind, what: str, found: str, expected: str, other: str = "") -> Finding:
    """Return a grave finding."""
    return Finding(kind, what, found, expected, grave=True, other=other)


def warning(kind: Kind, what: str, found: str, expected: str, other: str = "") -> Finding:
    """Return a finding that leaves the data usable."""
    return Finding(kind, what, found, expected, grave=False, other=other)


def is_wrong(findings: Iterable[Finding]) -> bool:
    """Return whether any finding is grave."""
    return any(finding.grave for finding in findings)


def of_fault(kind: Kind, what: str, fault: ShmDataError, expected: str) -> Finding:
    """Return the fault of a file as a grave finding; `expected` is used where the fault has none."""
    return error(kind, what, ": ".join(filter(None, (fault.what, fault.found))), fault.expected or expected)


def to_json(verdict: Verdict, root: str) -> str:
    """Return a verdict as a JSON object of root, counts, checked, unchecked and findings, in ASCII."""
    parts = asdict(verdict) | {"unchecked": [each.phrase for each in verdict.unchecked]}
    order = ("counts", "checked", "unchecked", "findings")
    return json.dumps({"root": root} | {name: parts[name] for name in order}, indent=1)


def to_lines(verdict: Verdict) -> list[str]:
    """Return a verdict as lines for people: the findings by kind, errors first, then a summary of one line."""
    lines = [*_lines_of(verdict, grave=True), *_lines_of(verdict, grave=False)]
    lines += [f"not checked: {each.phrase}" for each in verdict.unchecked]
    lines.append(_summary(verdict))
    return [line.encode("utf-8", "backslashreplace").decode() for line in lines]


def _lines_of(verdict: Verdict, *, grave: bool) -> Iterator[str]:
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


def _summary(verdict: Verdict) -> str:
    noun, number = next(iter(verdict.counts.items()))
    parts = ", ".join(f"{count} {name}" for name, count in list(verdict.counts.items())[1:])
    errors, warnings = verdict.errors, verdict.warnings
    result = [counted(errors, "error")] if errors else ["nothing wrong"]
    result += [counted(warnings, "warning")] * bool(warnings)
    return f"{counted(number, noun.removesuffix('s'))}{f' ({parts})' * bool(parts)}: {', '.join(result)}"
