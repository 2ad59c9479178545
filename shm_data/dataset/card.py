"""README.md of a data set: what it is, of what it was made and how, and under which licences."""

import hashlib
import html
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shm_data.dataset import citations
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.rebuild_command import command
from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError, counted, one_line
from shm_data.files import write_bytes
from shm_data.sources import published_sets

_KINDS = {
    "inimg": "photos",
    "inalp": "their alphas",
    "intri": "their trimaps",
    "pubdir": "a published set: photos and alphas",
    "trimapdir": "its trimaps",
    "voc": "backgrounds: Pascal VOC",
    "coco": "backgrounds: COCO",
    "bgdir": "backgrounds",
}

# Licences by the names that hubs know them by.
_HUB = frozenset(
    "apache-2.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "mit".split()
)

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGER = "10M<n<100M"

_log = logging.getLogger(__name__)

_UNTOLD = "**not told**"
_MARK = re.compile(r"\n<!-- Written by shm-data; sha256 ([0-9a-f]{64})\. Changed by hand, it is kept\. -->\n\Z")


@dataclass(slots=True)
class Share:
    """What one split has, as its recipes tell."""

    samples: int = 0
    composites: int = 0
    foregrounds: set[str] = field(default_factory=set)
    backgrounds: set[str] = field(default_factory=set)

    def count(self, recipe: Recipe) -> None:
        """Counts the sample of a recipe."""
        self.samples += 1
        self.foregrounds.add(recipe.foreground)
        if recipe.background is not None:
            self.composites += 1
            self.backgrounds.add(recipe.background)


def card(manifest: Manifest, shares: Mapping[str, Share]) -> str:
    """The text of README.md: Markdown under the YAML header that hubs for data sets read.

    It holds nothing of where the sources lie or when it was made, so that equal sets have equal cards.
    """
    parts = [
        *_header(manifest),
        *_what(manifest, shares),
        *_splits(manifest, shares),
        *_files(manifest),
        *_sources(manifest),
        *_left_out(manifest),
        *_recipe(manifest),
        *_citations(manifest),
    ]
    text = "\n".join(parts) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- Written by shm-data; sha256 {digest}. Changed by hand, it is kept. -->\n"


def _is_untouched(text: str) -> bool:
    """Whether a README.md is as `card` wrote it, for whatever set."""
    mark = _MARK.search(text)
    return mark is not None and hashlib.sha256(text[: mark.start()].encode()).hexdigest() == mark[1]


def write_card(layout: Layout, text: str) -> None:
    """Writes README.md, unless one is there in other words than ours, which is logged. Raises WriteError."""
    try:
        there = layout.card.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):  # that a folder cannot be written over, writing it tells
        there = ""
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=layout.card) from error
    if there and not _is_untouched(there):
        _log.warning("%s was not written by shm-data, or was changed since: it is kept as it is", layout.card)
    elif there != text:
        write_bytes(layout.card, text.encode(), durable=True)


def _header(manifest: Manifest) -> Iterator[str]:
    """What hubs read. Strings are JSON, which is YAML."""
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


def _what(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    composites = sum(share.composites for share in shares.values())
    counts = manifest.counts
    made = f"{counted(composites, 'composite')} of foregrounds over other backgrounds"
    kept = f"{counted(counts.samples - composites, 'photo')} as they were"
    parts = [made] * bool(composites) + [kept] * (composites < counts.samples)
    yield from ("", f"# {_title(manifest)}", "")
    yield f"Images with their alphas and trimaps, to train networks for human matting: {' and '.join(parts)}."
    yield f"Made by shm-data {_plain(manifest.versions.get('shm_data', ''))}."


def _splits(manifest: Manifest, shares: Mapping[str, Share]) -> Iterator[str]:
    yield from ("", "## Splits", "")
    rows = [
        [split, share.samples, share.composites, len(share.foregrounds), len(share.backgrounds)]
        for split, share in shares.items()
    ]
    yield from _table(["split", "samples", "composites", "foregrounds", "backgrounds"], rows)
    yield ""
    yield "No foreground and no background is in both."
    if any(foreground.files.split for foreground in manifest.foregrounds):
        yield "Foregrounds of published sets that are split are where those sets have them."


def _files(manifest: Manifest) -> Iterator[str]:
    extension = manifest.options.extension
    yield from ("", "## Files", "", "```")
    yield f"input/NAME{extension:7} image, 8-bit RGB{', with a loss' * (extension != '.png')}"
    yield "mask/NAME.png     alpha, 8-bit gray: 0 background to 255 foreground"
    yield "trimap/NAME.png   0 background, 128 unknown, 255 foreground"
    yield "train.txt val.txt the names of each split, one a line"
    yield "recipes.jsonl     how each sample was made: every random choice"
    yield "dataset.json      options, versions, sources, what was left out"
    yield "```"


def _sources(manifest: Manifest) -> Iterator[str]:
    used = manifest.used
    yield from ("", "## Sources", "")
    rows = [[label, _kind(label, manifest), used[label], _terms(label, manifest)] for label in manifest.roots]
    yield from _table(["source", "what it is", "files used", "licence"], rows)
    untold = [label for label in manifest.roots if used[label] and _UNTOLD in _terms(label, manifest)]
    if untold:
        yield ""
        yield f"> **Warning:** the licence is not told of all that is used from {_plain(', '.join(untold))}."
        yield "> Find it out before you publish or share this data set."


def _left_out(manifest: Manifest) -> Iterator[str]:
    if manifest.skipped:
        yield from ("", "## Skipped", "")
        yield from (f"- {len(what)}: {_plain(why)}" for why, what in manifest.skipped.items())
    if manifest.notes:
        yield from ("", "## Notes", "")
        yield from (f"- {_plain(note)}" for note in manifest.notes)


def _recipe(manifest: Manifest) -> Iterator[str]:
    yield from ("", "## How it was made", "")
    yield "This command makes the same set from the same sources, whose folders stand in capitals. What it does not"
    yield "name has its default; dataset.json has all options, and recipes.jsonl every random choice."
    yield ""
    yield from _fenced(command(manifest, "DATASET", {label: label.upper() for label in manifest.roots}), "sh")
    yield ""
    yield from _table(["made with", "version"], [[name, version] for name, version in manifest.versions.items()])


def _citations(manifest: Manifest) -> Iterator[str]:
    names = {_bare(label) for label in manifest.used} | set(manifest.layouts.values())
    entries = [citations.SHM, *(text for name, text in citations.OF_SOURCES.items() if name in names)]
    yield from ("", "## Citation", "")
    yield from _fenced("\n\n".join(entries), "bibtex")


def _title(manifest: Manifest) -> str:
    return f"Human matting, {counted(manifest.counts.samples, 'sample')}"


def _bare(label: str) -> str:
    """The label of a root without its number."""
    return label.rstrip("0123456789")


def _kind(label: str, manifest: Manifest) -> str:
    """What a source is."""
    if label in manifest.layouts:
        return published_sets.TREES[manifest.layouts[label]].title
    cutouts = label == "inimg" and "inalp" not in manifest.roots
    return "RGBA cut-outs" if cutouts else _KINDS[_bare(label)]


def _terms(label: str, manifest: Manifest) -> str:
    """What is known of the licence of a source: what the user told, else what its annotations do."""
    told = manifest.options.license.get(label)
    if told:
        return _plain(told)
    counts = manifest.licences.get(label)
    if not counts:
        return _UNTOLD
    return "; ".join(f"{_plain(name) if name else _UNTOLD} ({number})" for name, number in counts.items())


def _one_licence(manifest: Manifest) -> str | None:
    """The licence of all sources of which anything is used, if it is one and the same."""
    told = {manifest.options.license.get(label) for label in manifest.used}
    return told.pop() if len(told) == 1 else None


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table; strings that are not ours must be escaped already."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def _fenced(text: str, language: str) -> Iterator[str]:
    """A block of code that nothing in the text ends."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield from (f"{fence}{language}", text, fence)


def _plain(text: str) -> str:
    """The text on one line, without meaning to Markdown or HTML."""
    return html.escape(re.sub(r"([\\`*_\[\]|~$])", r"\\\1", one_line(text)), quote=False)


def _quoted(text: str) -> str:
    return json.dumps(one_line(text), ensure_ascii=False)
