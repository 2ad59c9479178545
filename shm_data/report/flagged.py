"""The findings of a check in groups, some of them with pictures."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from shm_data.check import KINDS, Finding, Verdict
from shm_data.dataset.layout import Layout

# The most findings of a kind that are listed, the most that have pictures, and the most pictures in all.
_LISTED, _PICTURED, MOST = 12, 4, 20

# The view of a card that shows a finding best, by the folder of the file or by the kind of the finding.
_VIEWS_OF_FOLDERS = {"mask": "alpha", "trimap": "band"}
_VIEWS_OF_KINDS = {"trimap": "band"} | dict.fromkeys(
    ("binary", "blank", "holes", "inverted", "maximum", "noise"), "alpha"
)


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one kind, `total` in all: some are listed, some have the names of samples or paths to show."""

    kind: str
    meaning: str
    grave: bool
    total: int
    listed: tuple[Finding, ...]
    pictured: tuple[tuple[Finding, tuple[str, ...]], ...]

    @property
    def view(self) -> str:
        """Return the view that the cards show first, a key of VIEWS."""
        folder = self.listed[0].what.partition("/")[0]
        return _VIEWS_OF_FOLDERS.get(folder) or _VIEWS_OF_KINDS.get(self.kind, "image")

    def names(self) -> Iterator[str]:
        """Yield the names of the samples, and the paths of the files, that are shown."""
        for _, names in self.pictured:
            yield from names


def groups_of(verdict: Verdict, layout: Layout, splits: Mapping[str, str]) -> list[Group]:
    """Return the findings of a verdict by kind, the grave ones first. No two have the same pictures."""
    by_kind = defaultdict(list)
    for finding in verdict.findings:
        by_kind[finding.grave, finding.kind].append(finding)
    groups, left = [], MOST
    for grave in (True, False):
        for kind, meaning in KINDS.items():
            if findings := by_kind.get((grave, kind)):
                pictured = _pictured(findings, layout, splits, left)
                left -= sum(len(names) for _, names in pictured)
                groups.append(Group(kind, meaning, grave, len(findings), tuple(findings[:_LISTED]), tuple(pictured)))
    return groups


def _pictured(
    findings: list[Finding], layout: Layout, splits: Mapping[str, str], left: int
) -> list[tuple[Finding, tuple[str, ...]]]:
    """Return the first findings that have something to show."""
    some: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        names = _names(finding, layout, splits)
        if names and len(names) <= left and names not in some:
            some[names] = finding
            left -= len(names)
        if len(some) == _PICTURED:
            break
    return [(finding, names) for names, finding in some.items()]


def _names(finding: Finding, layout: Layout, splits: Mapping[str, str]) -> tuple[str, ...]:
    """Return the samples that a finding is about, or the path of a file that belongs to none."""
    if finding.folder:
        owner = _owner(finding.folder, PurePosixPath(finding.what).name, splits)
        if owner:
            return (owner,)
        return (finding.what,) if (layout.root / finding.what).is_file() else ()
    if finding.what not in splits:
        return ()
    return (finding.what, finding.other) if finding.other in splits else (finding.what,)


def _owner(folder: str, file: str, splits: Mapping[str, str]) -> str | None:
    """Return the sample that a file belongs to: alphas and trimaps are PNG, whatever the image is."""
    endings = () if folder == "input" else (".jpg", ".webp")
    names = (file, *(f"{PurePosixPath(file).stem}{ending}" for ending in endings))
    return next((name for name in names if name in splits), None)
