"""The card of a data set, README.md: what it is, how it was made, its sources and licences."""

import hashlib
import html
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shm_data.dataset.citations import citations_of
from shm_data.dataset.hub_header import Packaging, header, title
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Manifest, bare_label
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
    "decoys": "cut-outs of other things than people, behind people",
}

# A data set as `composite` writes it.
LAYOUT = Packaging(
    configs={"default": ("{split}.csv", "input/*", "mask/*", "trimap/*")},
    tables=[f"{split}.csv" for split in SPLITS],
    files=(
        "input/NAME{extension:7} {image}",
        "mask/NAME.png     alpha, 8-bit gray: 0 background to 255 foreground",
        "trimap/NAME.png   0 background, 128 unknown, 255 foreground",
        "train.txt val.txt the names of each split, one a line",
        "train.csv val.csv the same with the paths of the files, for hubs and the library datasets",
        "recipes.jsonl     how each sample was made: every random choice",
        "dataset.json      options, versions, sources, skipped files",
    ),
)

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


def shares_of(recipes: Iterable[Recipe]) -> dict[str, Share]:
    """Return what each split holds."""
    shares = {split: Share() for split in SPLITS}
    for recipe in recipes:
        shares[recipe.split].count(recipe)
    return shares


def card(manifest: Manifest, shares: Mapping[str, Share], packaging: Packaging = LAYOUT) -> str:
    """Return the text of README.md: Markdown below the YAML header that data set hubs read.

    It says neither where the sources lie nor when it was made, so that equal sets have equal cards.
    """
    counts = {split: getattr(manifest.counts, split) for split in SPLITS}
    return _marked(
        [
            *header(packaging, counts, manifest),
            *_summary(manifest, shares),
            *_splits(manifest, shares),
            *_files(packaging, manifest.options.extension, masks=_masks(manifest) > 0),
            *_sources(manifest),
            *_skipped(manifest),
            *_how(manifest, packaging.command),
            *_citations(manifest),
        ]
    )


def bare_card(counts: Mapping[str, int], packaging: Packaging) -> str:
    """Return the card of a data set that has no record: how it was made is not known."""
    samples = sum(counts.values())
    parts = [*header(packaging, counts, None), "", f"# {title(samples)}", ""]
    parts += ["A data set for human matting. It has images with alphas.", "", "## Splits", ""]
    parts += _table(["split", "samples"], counts.items())
    return _marked([*parts, *_files(packaging), *_made_by(packaging.command)])


def _marked(parts: Iterable[str]) -> str:
    """Return the text of a card, with a mark at its end that shows whether somebody changed it."""
    text = "\n".join(parts) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- Written by shm-data; sha256 {digest}. Changed by hand, it is kept. -->\n"


def _is_untouched(text: str) -> bool:
    """Return whether a README.md is unchanged since `card` wrote it, for any data set."""
    mark = _MARK.search(text)
    return mark is not None and hashlib.sha256(text[: mark.start()].encode()).hexdigest() == mark[1]


def write_card(path: Path, text: str) -> None:
    """Write README.md, unless somebody has written or changed it, which is logged. Raises WriteError."""
    try:
        there = path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):  # a folder of this name is reported when the card is written
        there = ""
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    if there and not _is_untouched(there):
        _log.warning("%s was written or changed by hand and is kept", path)
    elif there != text:
        write_bytes(path, text.encode(), durable=True)


def _summary(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    composites = sum(share.composites for share in shares.values())
    counts = manifest.counts
    made = f"{counted(composites, 'composite')} of people over new backgrounds"
    kept = counted(counts.samples - composites, "original photo")
    masks = _masks(manifest)
    kept += f" ({masks} with a mask in place of an alpha)" * bool(masks)
    parts = [made] * bool(composites) + [kept] * (composites < counts.samples)
    yield from ("", f"# {title(manifest.counts.samples)}", "")
    yield f"A data set for human matting. It has images with alphas and trimaps: {' and '.join(parts)}."
    yield f"Made by shm-data {_plain(manifest.versions.get('shm_data', ''))}."


def _masks(manifest: Manifest) -> int:
    """Return the number of photos that have a mask in place of an alpha."""
    return sum(foreground.files.has_mask for foreground in manifest.foregrounds)


def _splits(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    yield from ("", "## Splits", "")
    rows = [
        [split, share.samples, share.composites, len(share.foregrounds), len(share.backgrounds)]
        for split, share in shares.items()
    ]
    yield from _table(["split", "samples", "composites", "foregrounds", "backgrounds"], rows)
    yield ""
    yield "No foreground and no background is in both splits."
    if manifest.options.val:
        yield f"Chosen for val, a name a line of the file VAL below: {', '.join(map(_plain, manifest.options.val))}."
    if any(foreground.files.split and not foreground.files.has_mask for foreground in manifest.foregrounds):
        yield "Foregrounds from published data sets stay in the split of their data set."


def _files(packaging: Packaging, extension: str = ".*", *, masks: bool = False) -> Iterator[str]:
    image = f"image, 8-bit RGB{', lossy' * (extension not in ('.png', '.*'))}"
    lines = [line.format(extension=extension, image=image) for line in packaging.files]
    yield from ("", "## Files", "", "```", *lines, "```")
    if masks:
        yield "In trimaps of photos with a mask in place of an alpha, 64 is not labelled: near the edge of the mask."


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


def _how(manifest: Manifest, packed_by: str) -> Iterator[str]:
    yield from ("", "## How it was made", "")
    yield "This command makes the same data set from the same sources. Capitals stand for your folders. Options that"
    more = "." if packed_by else "; dataset.json lists all, and recipes.jsonl every random choice."
    yield f"are not shown have their defaults{more}"
    yield ""
    lines = [command(manifest, "DATASET", {label: label.upper() for label in manifest.roots})]
    yield from _fenced("\n".join([*lines, *[packed_by] * bool(packed_by)]), "sh")
    yield ""
    yield from _table(["made with", "version"], [[name, version] for name, version in manifest.versions.items()])


def _made_by(packed_by: str) -> Iterator[str]:
    yield from (
        "",
        "## How it was made",
        "",
        "By this command, from a data set without a record of how it was made:",
        "",
    )
    yield from _fenced(packed_by, "sh")


def _citations(manifest: Manifest) -> Iterator[str]:
    names = {bare_label(label) for label in manifest.used} | set(manifest.layouts.values())
    yield from ("", "## Citation", "")
    yield from _fenced("\n\n".join(citations_of(names)), "bibtex")


def _kind(label: str, manifest: Manifest) -> str:
    """Return what a source holds."""
    if label in manifest.layouts:
        return PUBLISHED_SETS[manifest.layouts[label]].title
    cutouts = label == "inimg" and "inalp" not in manifest.roots
    return "RGBA cut-outs" if cutouts else _KINDS[bare_label(label)]


def _terms(label: str, manifest: Manifest) -> str:
    """Return the licence of a source: as the user gave it, else as its annotations have it."""
    given = manifest.options.license.get(label)
    if given:
        return _plain(given)
    counts = manifest.licences.get(label)
    if not counts:
        return _UNKNOWN
    return "; ".join(f"{_plain(name) if name else _UNKNOWN} ({number})" for name, number in counts.items())


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
