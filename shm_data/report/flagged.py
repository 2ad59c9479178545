"""What a check found, in groups to be shown: the words of all, and the pictures of some."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from shm_data.check import KINDS, Finding, Verdict
from shm_data.dataset.layout import Layout

# So many findings of a kind are told, so many shown as pictures, and so many pictures are shown in all.
_TOLD, _PICTURED, MOST = 12, 4, 20

# What of a sample shows best what is wrong, by where the file lies, or by the kind of the finding.
_FOLDERS = {"mask": "alpha", "trimap": "band"}
_KINDS = {"trimap": "band"} | dict.fromkeys(("binary", "blank", "holes", "inverted", "maximum", "noise"), "alpha")


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one kind, `total` in all: some told, and of some the names or paths of what shows them."""

    kind: str
    meaning: str
    grave: bool
    total: int
    told: tuple[Finding, ...]
    pictured: tuple[tuple[Finding, tuple[str, ...]], ...]

    def show(self) -> str:
        """What of the pictures tells most: alpha, trimap ("band") or image."""
        folder = self.told[0].what.partition("/")[0]
        return _FOLDERS.get(folder) or _KINDS.get(self.kind, "image")

    def names(self) -> Iterator[str]:
        """What is to be shown: names of samples, and paths of files that belong to none."""
        for _, names in self.pictured:
            yield from names


def groups_of(verdict: Verdict, layout: Layout, splits: Mapping[str, str]) -> list[Group]:
    """The findings of a verdict by kind, the grave first. No sample is shown twice for the same."""
    by_kind = defaultdict(list)
    for finding in verdict.findings:
        by_kind[finding.grave, finding.kind].append(finding)
    groups, left = [], MOST
    for grave in (True, False):
        for kind, meaning in KINDS.items():
            if findings := by_kind.get((grave, kind)):
                pictured = _pictured(findings, layout, splits, left)
                left -= sum(len(names) for _, names in pictured)
                groups.append(Group(kind, meaning, grave, len(findings), tuple(findings[:_TOLD]), tuple(pictured)))
    return groups


def _pictured(
    findings: list[Finding], layout: Layout, splits: Mapping[str, str], left: int
) -> list[tuple[Finding, tuple[str, ...]]]:
    """The first findings of which there is something to show."""
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
    """The samples that a finding is about, or the path of a file that belongs to none."""
    if finding.folder:
        owner = _owner(finding.folder, PurePosixPath(finding.what).name, splits)
        if owner:
            return (owner,)
        return (finding.what,) if (layout.root / finding.what).is_file() else ()
    if finding.what not in splits:
        return ()
    return (finding.what, finding.other) if finding.other in splits else (finding.what,)


def _owner(folder: str, file: str, splits: Mapping[str, str]) -> str | None:
    """The sample that a file in one of the folders belongs to: alphas and trimaps are PNG, whatever the image is."""
    endings = () if folder == "input" else (".jpg", ".webp")
    names = (file, *(f"{PurePosixPath(file).stem}{ending}" for ending in endings))
    return next((name for name in names if name in splits), None)
