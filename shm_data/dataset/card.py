"""The card of a data set, README.md: what it is, how it was made, its sources and licences."""

import hashlib
import html
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shm_data.dataset.citations import citations_of
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.rebuild_command import command
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, counted, one_line
from shm_data.files import write_bytes
from shm_data.options.published_sets import PUBLISHED_SETS

_KINDS = {
    "inimg": "photos",
    "inalp": "alphas of the photos",
    "intri": "trimaps of the photos",
    "pubdir": "a published data set: photos and alphas",
    "trimapdir": "trimaps of the published data set",
    "maskimg": "photos with masks in place of alphas",
    "inmask": "masks of the photos",
    "voc": "backgrounds: Pascal VOC",
    "coco": "backgrounds: COCO",
    "bgdir": "backgrounds",
}

# The names of licences that hubs know.
_HUB = frozenset(
    "apache-2.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "mit".split()
)

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGER = "10M<n<100M"

_log = logging.getLogger(__name__)

_UNKNOWN = "**unknown**"
_MARK = re.compile(r"\n<!-- Written by shm-data; sha256 ([0-9a-f]{64})\. Changed by hand, it is kept\. -->\n\Z")


@dataclass(slots=True)
class Share:
    """What one split holds, counted from its recipes."""

    samples: int = 0
    composites: int = 0
    foregrounds: set[str] = field(default_factory=set)
    backgrounds: set[str] = field(default_factory=set)

    def count(self, recipe: Recipe) -> None:
        """Count the sample of a recipe."""
        self.samples += 1
        self.foregrounds.add(recipe.foreground)
        if recipe.background is not None:
            self.composites += 1
            self.backgrounds.add(recipe.background)


def card(manifest: Manifest, shares: Mapping[str, Share]) -> str:
    """Return the text of README.md: Markdown below the YAML header that data set hubs read.

    It says neither where the sources lie nor when it was made, so that equal sets have equal cards.
    """
    parts = [
        *_header(manifest),
        *_summary(manifest, shares),
        *_splits(manifest, shares),
        *_files(manifest),
        *_sources(manifest),
        *_skipped(manifest),
        *_how(manifest),
        *_citations(manifest),
    ]
    text = "\n".join(parts) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- Written by shm-data; sha256 {digest}. Changed by hand, it is kept. -->\n"


def _is_untouched(text: str) -> bool:
    """Return whether a README.md is unchanged since `card` wrote it, for any data set."""
    mark = _MARK.search(text)
    return mark is not None and hashlib.sha256(text[: mark.start()].encode()).hexdigest() == mark[1]


def write_card(layout: Layout, text: str) -> None:
    """Write README.md, unless somebody has written or changed it, which is logged. Raises WriteError."""
    try:
        there = layout.card.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):  # a folder of this name is reported when the card is written
        there = ""
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=layout.card) from error
    if there and not _is_untouched(there):
        _log.warning("%s was written or changed by hand and is kept", layout.card)
    elif there != text:
        write_bytes(layout.card, text.encode(), durable=True)


def _header(manifest: Manifest) -> Iterator[str]:
    """Return the YAML header. Its strings are JSON, which is valid YAML."""
    samples = manifest.counts.samples
    size = next((name for bound, name in _SIZES if samples < bound), _LARGER)
    yield from ("---", f"pretty_name: {_quoted(_title(manifest))}")
    yield from ("task_categories:", "- image-segmentation", "tags:", "- human-matting", "- image-matting")
    yield from ("size_categories:", f"- {size}")
    one = _one_licence(manifest)
    if one is not None:
        name = "-".join(one.lower().split())
        yield from [f"license: {name}"] if name in _HUB else ["license: other", f"license_name: {_quoted(one)}"]
    yield "---"


def _summary(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    composites = sum(share.composites for share in shares.values())
    counts = manifest.counts
    made = f"{counted(composites, 'composite')} of people over new backgrounds"
    kept = counted(counts.samples - composites, "original photo")
    masks = sum(foreground.files.has_mask for foreground in manifest.foregrounds)
    kept += f" ({masks} with a mask in place of an alpha)" * bool(masks)
    parts = [made] * bool(composites) + [kept] * (composites < counts.samples)
    yield from ("", f"# {_title(manifest)}", "")
    yield f"A data set for human matting. It has images with alphas and trimaps: {' and '.join(parts)}."
    yield f"Made by shm-data {_plain(manifest.versions.get('shm_data', ''))}."


def _splits(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    yield from ("", "## Splits", "")
    rows = [
        [split, share.samples, share.composites, len(share.foregrounds), len(share.backgrounds)]
        for split, share in shares.items()
    ]
    yield from _table(["split", "samples", "composites", "foregrounds", "backgrounds"], rows)
    yield ""
    yield "No foreground and no background is in both splits."
    if any(foreground.files.split and not foreground.files.has_mask for foreground in manifest.foregrounds):
        yield "Foregrounds from published data sets stay in the split of their data set."


def _files(manifest: Manifest) -> Iterator[str]:
    extension = manifest.options.extension
    yield from ("", "## Files", "", "```")
    yield f"input/NAME{extension:7} image, 8-bit RGB{', lossy' * (extension != '.png')}"
    yield "mask/NAME.png     alpha, 8-bit gray: 0 background to 255 foreground"
    yield "trimap/NAME.png   0 background, 128 unknown, 255 foreground"
    if any(foreground.files.has_mask for foreground in manifest.foregrounds):
        yield "                  64: not labelled, near the edge of a mask; its mask/NAME.png is that mask"
    yield "train.txt val.txt the names of each split, one a line"
    yield "recipes.jsonl     how each sample was made: every random choice"
    yield "dataset.json      options, versions, sources, skipped files"
    yield "```"


def _sources(manifest: Manifest) -> Iterator[str]:
    used = manifest.used
    yield from ("", "## Sources", "")
    rows = [[label, _kind(label, manifest), used[label], _terms(label, manifest)] for label in manifest.roots]
    yield from _table(["source", "contents", "files used", "licence"], rows)
    unknown = [label for label in manifest.roots if used[label] and _UNKNOWN in _terms(label, manifest)]
    if unknown:
        yield ""
        yield f"> **Warning:** the licence of some files is unknown: {_plain(', '.join(unknown))}."
        yield "> Find out the licence before you publish or share this data set."


def _skipped(manifest: Manifest) -> Iterator[str]:
    if manifest.skipped:
        yield from ("", "## Skipped", "")
        yield from (f"- {len(what)}: {_plain(why)}" for why, what in manifest.skipped.items())
    if manifest.notes:
        yield from ("", "## Notes", "")
        yield from (f"- {_plain(note)}" for note in manifest.notes)


def _how(manifest: Manifest) -> Iterator[str]:
    yield from ("", "## How it was made", "")
    yield "This command makes the same data set from the same sources. Capitals stand for your folders. Options that"
    yield "are not shown have their defaults; dataset.json lists all, and recipes.jsonl every random choice."
    yield ""
    yield from _fenced(command(manifest, "DATASET", {label: label.upper() for label in manifest.roots}), "sh")
    yield ""
    yield from _table(["made with", "version"], [[name, version] for name, version in manifest.versions.items()])


def _citations(manifest: Manifest) -> Iterator[str]:
    names = {_bare(label) for label in manifest.used} | set(manifest.layouts.values())
    yield from ("", "## Citation", "")
    yield from _fenced("\n\n".join(citations_of(names)), "bibtex")


def _title(manifest: Manifest) -> str:
    return f"Human matting, {counted(manifest.counts.samples, 'sample')}"


def _bare(label: str) -> str:
    """Return the label of a source without its number."""
    return label.rstrip("0123456789")


def _kind(label: str, manifest: Manifest) -> str:
    """Return what a source holds."""
    if label in manifest.layouts:
        return PUBLISHED_SETS[manifest.layouts[label]].title
    cutouts = label == "inimg" and "inalp" not in manifest.roots
    return "RGBA cut-outs" if cutouts else _KINDS[_bare(label)]


def _terms(label: str, manifest: Manifest) -> str:
    """Return the licence of a source: as the user gave it, else as its annotations have it."""
    given = manifest.options.license.get(label)
    if given:
        return _plain(given)
    counts = manifest.licences.get(label)
    if not counts:
        return _UNKNOWN
    return "; ".join(f"{_plain(name) if name else _UNKNOWN} ({number})" for name, number in counts.items())


def _one_licence(manifest: Manifest) -> str | None:
    """Return the licence of all used sources, if it is the same for all."""
    licences = {manifest.options.license.get(label) for label in manifest.used}
    return licences.pop() if len(licences) == 1 else None


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Return a Markdown table; foreign strings must be escaped already."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def _fenced(text: str, language: str) -> Iterator[str]:
    """Return a code block whose fence does not occur in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield from (f"{fence}{language}", text, fence)


def _plain(text: str) -> str:
    """Return the text on one line, escaped for Markdown and HTML."""
    return html.escape(re.sub(r"([\\`*_\[\]|~$])", r"\\\1", one_line(text)), quote=False)


def _quoted(text: str) -> str:
    return json.dumps(one_line(text), ensure_ascii=False)
