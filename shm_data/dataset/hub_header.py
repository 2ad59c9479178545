"""The YAML header of a card, which data set hubs read: licence, sources, and which files a viewer shows."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shm_data.dataset.manifest import Manifest, bare_label
from shm_data.errors import counted, one_line

# The names of licences that hubs know.
_HUB = frozenset(
    "apache-2.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "mit".split()
)

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGER = "10M<n<100M"

# What hubs call our splits.
_SPLITS = {"train": "train", "val": "validation"}

# How hubs name data sets that others are made of, by the label of a source without its number.
_EXTENDED = {"voc": "extended|other-pascal-voc", "coco": "extended|other-coco", "pubdir": "extended|other"}


@dataclass(frozen=True, slots=True)
class Packaging:
    """How a data set lies in a folder, for its card.

    `configs` has for each configuration of a hub's viewer the patterns of its files, in which `{split}` stands for
    the split; `tables` are the tables of pictures among them unless they have their usual name. `files` says for
    people what lies where, with `{extension}` and `{image}` for those of the images. `command` makes the folder from
    the data set, "" for the data set itself.
    """

    configs: Mapping[str, Sequence[str]]
    files: Sequence[str]
    tables: Sequence[str] = ()
    command: str = ""


def header(packaging: Packaging, counts: Mapping[str, int], manifest: Manifest | None) -> Iterator[str]:
    """Return the lines of the header. Its strings are JSON, which is valid YAML."""
    samples = sum(counts.values()) if manifest is None else manifest.counts.samples
    size = next((name for bound, name in _SIZES if samples < bound), _LARGER)
    yield from ("---", f"pretty_name: {_quoted(title(samples))}")
    yield from ("task_categories:", "- image-segmentation", "tags:", "- human-matting", "- image-matting")
    yield from ("size_categories:", f"- {size}")
    if manifest is not None:
        yield from _list("annotations_creators", _annotations(manifest))
        yield from _list("source_datasets", _sources(manifest))
        yield from _licence(manifest)
    yield from _configs(packaging, [split for split, count in counts.items() if count])
    yield "---"


def title(samples: int) -> str:
    """Return the title of a data set."""
    return f"Human matting, {counted(samples, 'sample')}"


def _configs(packaging: Packaging, splits: Sequence[str]) -> Iterator[str]:
    yield "configs:"
    for name, patterns in packaging.configs.items():
        yield from (f"- config_name: {name}", *["  default: true"] * (name == next(iter(packaging.configs))))
        yield "  data_files:"
        for split in splits:
            paths = [pattern.format(split=split) for pattern in patterns]
            yield from (f"  - split: {_SPLITS[split]}", f"    path: {json.dumps(paths)}")
        if packaging.tables:
            yield f"  metadata_filenames: {json.dumps(list(packaging.tables))}"


def _annotations(manifest: Manifest) -> Iterator[str]:
    """Return who made alphas and trimaps: alphas come with the photos, trimaps are derived unless they do, too."""
    yield "found"
    if not all(foreground.files.trimap for foreground in manifest.foregrounds):
        yield "machine-generated"


def _sources(manifest: Manifest) -> Iterator[str]:
    for label in manifest.used:
        if label in manifest.layouts:
            yield f"extended|other-{manifest.layouts[label]}"
        else:
            yield _EXTENDED.get(bare_label(label), "original")


def _licence(manifest: Manifest) -> Iterator[str]:
    """Return the licence of all used sources, if it is the same for all, with the address in it."""
    licences = {manifest.options.license.get(label) for label in manifest.used}
    one = licences.pop() if len(licences) == 1 else None
    if one is None:
        return
    name = "-".join(one.lower().split())
    if name in _HUB:
        yield f"license: {name}"
        return
    address = re.search(r"https?://[^\s<>\"]+", one)
    bare = one if address is None else one.replace(address[0], "").strip(" ,;()")
    yield from ("license: other", f"license_name: {_quoted(bare or one)}")
    if address is not None:
        yield f"license_link: {_quoted(address[0])}"


def _list(key: str, values: Iterable[str]) -> Iterator[str]:
    yield f"{key}:"
    yield from (f"- {_quoted(value)}" for value in dict.fromkeys(values))


def _quoted(text: str) -> str:
    return json.dumps(one_line(text), ensure_ascii=False)
