"""README.md of a data set tells of what it was made, under which licences, and how to make it again."""

import json
import logging
import re
import shlex
import shutil
from collections import Counter

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from faults import fault_of
from small import contents, matte

from cli.data import data
from shm_data import images
from shm_data.building.build import composite, finish_parts
from shm_data.building.executors import Part, Threads
from shm_data.check import check_dataset
from shm_data.dataset.card import card
from shm_data.dataset.manifest import Manifest
from shm_data.options import CompositeOptions
from shm_data.sources import coco

TRIMAP = np.where(matte(0) % 255, 128, matte(0)).astype(np.uint8)
NASTY = "a|b `c` <script>*d*\n## e [f](javascript:g) \\| $h$ ~i~ & \u202e"


@pytest.fixture
def folders(sources):
    return {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": (sources / "places",), "numbg": 2}


def _made(folders, out, jobs=2, **options):
    manifest = composite(CompositeOptions.checked(**folders, **options), out, Threads(jobs))
    return manifest, (out / "README.md").read_text()


def _header(text):
    return yaml.safe_load(text.split("---\n")[1])


def _cells(text, first):
    """The cells of the row of a table that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_card_tells_counts_splits_and_sources(folders, tmp_path):
    manifest, text = _made(folders, tmp_path / "out")
    header = _header(text)
    assert header["pretty_name"] == "Human matting, 12 samples" and header["size_categories"] == ["n<1K"]
    assert header["task_categories"] == ["image-segmentation"] and "license" not in header
    rows = [list(map(int, _cells(text, split)[1:])) for split in ("train", "val")]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert sums == [12, 8, 4, manifest.counts.backgrounds] and rows[0][0] == manifest.counts.train
    assert _cells(text, "inimg") == ["inimg", "photos", "4", "**unknown**"]
    assert _cells(text, "bgdir")[2] == str(manifest.counts.backgrounds)
    assert "Semantic Human Matting" in text and "COCO" not in text
    assert not check_dataset(tmp_path / "out", jobs=2).findings


SIZES = {999: "n<1K", 1000: "1K<n<10K", 99_999: "10K<n<100K", 10**6: "1M<n<10M", 10**7: "10M<n<100M"}


def test_sizes_are_those_of_hubs(folders, tmp_path):
    manifest, _ = _made(folders, tmp_path / "out")
    for samples, size in SIZES.items():
        larger = manifest.model_copy(update={"counts": manifest.counts.model_copy(update={"samples": samples})})
        assert _header(card(larger, {}))["size_categories"] == [size]


def test_equal_sets_have_equal_cards_wherever_and_by_whomever_they_are_made(folders, sources, tmp_path):
    _, text = _made(folders, tmp_path / "one", jobs=1)
    shutil.copytree(sources, tmp_path / "elsewhere")
    moved = folders | {"inimg": tmp_path / "elsewhere" / "photos", "bgdir": (tmp_path / "elsewhere" / "places",)}
    assert _made(moved, tmp_path / "many", jobs=4)[1] == text
    assert str(tmp_path) not in text


def test_its_command_names_no_list_of_backgrounds_that_nobody_looked_at(sources, tmp_path):
    published = tmp_path / "published"
    shutil.copytree(sources / "photos", published)
    for alpha in (sources / "alphas").iterdir():
        shutil.copy(alpha, published / f"{alpha.stem}_matte.png")
    options = CompositeOptions.checked(pubdir=published, prefix="matte", vocroot=(sources,), vocset="trainval")
    composite(options, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "shm-data prepare" in text and "--vocset" not in text


@pytest.mark.parametrize("val", [None, ("p1", "p3")])
def test_its_command_makes_the_same_set(folders, sources, tmp_path, val):
    more = {"val": val, "maxsize": 40, "group": "(p.)|'```", "format": "jpg", "originals": False, "trimap": "random"}
    _, text = _made(folders, tmp_path / "out", **more, license={"inimg": NASTY})
    fence, command = re.search(r"^(`{3,})sh\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL).groups()
    assert len(fence) > 3
    places = {
        "INIMG": sources / "photos",
        "INALP": sources / "alphas",
        "BGDIR": sources / "places",
        "DATASET": tmp_path / "again",
        "VAL": tmp_path / "names.txt",
    }
    if val is not None:
        listed = re.search(r"a name a line of the file VAL below: (.*)\.$", text, re.MULTILINE).group(1)
        places["VAL"].write_text("\n".join(listed.split(", ")))
    words = [str(places.get(word, word)) for word in shlex.split(command)[1:]]
    result = CliRunner().invoke(data, words)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "again") == contents(tmp_path / "out")


def test_what_people_wrote_means_nothing_to_markdown(folders, tmp_path):
    manifest, text = _made(folders, tmp_path / "out", license=dict.fromkeys(("inimg", "inalp", "bgdir"), NASTY))
    shown = text.split("---\n")[2].partition("```sh")[0]
    assert "<script" not in shown and "\n## e" not in shown and len(_cells(text, "inimg")) == 4
    told = _cells(text, "inimg")[3]
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]$~]|[<>\u202e]", told), told
    header = _header(text)
    assert header["license"] == "other" and header["license_name"].startswith("a|b `c` <script>*d*\\n## e")
    odd = manifest.model_copy(update={"skipped": {NASTY: ("x",)}, "notes": (NASTY,)})
    assert "\n## e" not in card(odd, {}).partition("```sh")[0]


@pytest.mark.parametrize(
    ("told", "license_", "warned"),
    [
        ({"inimg": "CC BY 4.0", "inalp": "CC BY 4.0", "bgdir": "cc-by-4.0"}, None, False),
        ({"inimg": "CC BY 4.0", "inalp": "CC BY 4.0", "bgdir": "CC BY 4.0"}, "cc-by-4.0", False),
        ({"inimg": "ours", "inalp": "ours", "bgdir": "ours"}, "other", False),
        ({"inimg": "mit", "inalp": "mit"}, None, True),
    ],
)
def test_the_header_has_a_licence_if_all_sources_have_one_and_the_same(folders, tmp_path, told, license_, warned):
    _, text = _made(folders, tmp_path / "out", license=told)
    assert _header(text).get("license") == license_
    assert ("of some files is unknown: bgdir." in text) == ("Warning" in text) == warned


def test_another_licence_writes_the_card_again_and_nothing_else(folders, tmp_path):
    _, before = _made(folders, tmp_path / "out", license=["inimg=mine", "bgdir=theirs"])
    files, _ = contents(tmp_path / "out")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*")}
    _, after = _made(folders, tmp_path / "out", license=["inimg=CC0 = free"])
    assert _cells(after, "inimg")[3] == "CC0 = free" and _cells(after, "bgdir")[3] == "theirs" and after != before
    assert contents(tmp_path / "out")[0] == files | {"README.md": after.encode()}
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert _made(folders, tmp_path / "out")[1] == after


def test_a_licence_of_no_source_is_refused_with_the_names_of_all(folders, tmp_path):
    fault = fault_of(_made, folders, tmp_path / "out", license={"voc": "mine"})
    assert "voc" in fault.found and fault.expected == "inimg or inalp or bgdir"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["inimg", "=mine", "inimg= "])
def test_a_licence_is_reported_with_its_source(text):
    assert "NAME=TEXT" in fault_of(CompositeOptions.checked, license=(text,)).expected


@pytest.mark.parametrize("words", ["# My own words\n", "changed"])
def test_a_card_in_other_words_is_kept(folders, tmp_path, caplog, words):
    out = tmp_path / "out"
    if words == "changed":
        words = _made(folders, out)[1].replace("12 samples", "a dozen samples")
    out.mkdir(exist_ok=True)
    (out / "README.md").write_text(words)
    with caplog.at_level(logging.WARNING):
        assert _made(folders, out, license={"inimg": "mine"})[1] == words
    assert "README.md was written or changed by hand and is kept" in caplog.text
    (out / "README.md").unlink()
    assert _cells(_made(folders, out)[1], "inimg")[3] == "mine"


def test_a_set_in_parts_has_its_card_when_it_is_complete(folders, tmp_path):
    _, whole = _made(folders, tmp_path / "whole")
    options = CompositeOptions.checked(**folders)
    for number in (1, 2):
        assert not (tmp_path / "parts" / "README.md").exists()
        composite(options, tmp_path / "parts", Part(number, 2, jobs=2))
    assert (tmp_path / "parts" / "README.md").read_text() == whole
    (tmp_path / "parts" / "README.md").unlink()
    finish_parts(tmp_path / "parts")
    assert (tmp_path / "parts" / "README.md").read_text() == whole


def test_a_record_from_before_there_were_cards_gets_one(folders, tmp_path):
    manifest, text = _made(folders, tmp_path / "out")
    plain = json.loads(manifest.model_dump_json())
    del plain["layouts"], plain["licences"], plain["options"]["license"], plain["options"]["layout"]
    (tmp_path / "out" / "dataset.json").write_text(json.dumps(plain))
    (tmp_path / "out" / "README.md").unlink()
    finish_parts(tmp_path / "out")
    assert (tmp_path / "out" / "README.md").read_text() == text and Manifest.model_validate(plain).layouts == {}


# COCO's own words.


def test_the_licences_of_real_backgrounds_are_reported_by_their_annotations(realdata, folders, tmp_path):
    root = realdata / "coco_mini"
    del folders["bgdir"]
    manifest, text = _made(folders, tmp_path / "out", cocoroot=(root,))
    used = {key.rpartition("/")[2] for key in manifest.sources if key.startswith("coco/")}
    expected = Counter()
    for path in (root / "annotations").glob("instances_*.json"):
        told = json.loads(path.read_bytes())
        names = {licence["id"]: f"{licence['name']}, {licence['url']}" for licence in told["licenses"]}
        expected.update(names[image["license"]] for image in told["images"] if image["file_name"] in used)
    assert manifest.licences == {"coco": dict(expected)} and sum(expected.values()) == len(used) > 0
    for name, count in expected.items():
        assert f"{name} ({count})" in _cells(text, "coco")[3]
    assert "is unknown: inimg, inalp." in text and "Microsoft {COCO}" in text


ONE = [{"id": 1, "name": "A"}]
ANNOTATIONS = [
    ({"licenses": ONE, "images": [{"file_name": "x.jpg", "license": 1}]}, {"A": 1}),
    (
        {"images": [{"license": "1", "file_name": "x.jpg"}], "licenses": [{"url": "u", "name": "A", "id": "1"}]},
        {"A, u": 1},
    ),
    ({"images": [{"file_name": "d/x.jpg", "license": 2}], "licenses": ONE}, {"": 1}),
    ({"images": [{"file_name": "x.jpg", "license": None}], "licenses": [{"id": None, "name": None}]}, {"": 1}),
    ({"images": [{"file_name": "other.jpg", "license": 1}], "licenses": ONE}, {"": 1}),
    ({"images": {}, "licenses": [[[1]]]}, {"": 1}),
    ([], {"": 1}),
]


@pytest.mark.parametrize(("annotations", "counts"), ANNOTATIONS)
def test_licences_are_reported_as_far_as_annotations_go(tmp_path, annotations, counts):
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances_x.json"
    path.write_text(json.dumps(annotations))
    assert coco.licences(tmp_path, ["train/x.jpg"]) == counts
    path.write_text(json.dumps(annotations)[:-1])
    assert coco.licences(tmp_path, ["train/x.jpg"]) in (counts, {"": 1})
    path.unlink()
    assert coco.licences(tmp_path, ["train/x.jpg"]) == {"": 1}


def test_the_annotations_after_both_lists_are_not_read(tmp_path):
    (tmp_path / "annotations").mkdir()
    text = (
        json.dumps({"licenses": ONE, "images": [{"file_name": "x.jpg", "license": 1}]})[:-1]
        + ', "annotations": broken'
    )
    (tmp_path / "annotations" / "instances_x.json").write_text(text)
    assert coco.licences(tmp_path, ["x.jpg"]) == {"A": 1}


# What hubs read.


def test_a_header_names_the_kinds_of_sources(folders, sources, tmp_path):
    header = _header(_made(folders, tmp_path / "out")[1])
    assert header["source_datasets"] == ["original"]
    assert header["annotations_creators"] == ["found", "machine-generated"]
    (sources / "trimaps").mkdir()
    for alpha in (sources / "alphas").iterdir():
        images.write_png(sources / "trimaps" / alpha.name, TRIMAP)
    with_trimaps = folders | {"intri": sources / "trimaps"}
    header = _header(_made(with_trimaps, tmp_path / "own")[1])
    assert header["annotations_creators"] == ["found"]


def test_other_sets_are_named_as_what_a_set_extends(realdata, folders, tmp_path):
    del folders["bgdir"]
    header = _header(_made(folders, tmp_path / "out", cocoroot=(realdata / "coco_mini",))[1])
    assert sorted(header["source_datasets"]) == ["extended|other-coco", "original"]


@pytest.mark.parametrize(
    ("given", "name", "link"),
    [
        ("Ours, https://example.org/l?a=1", "Ours", "https://example.org/l?a=1"),
        ("https://example.org/l", "https://example.org/l", "https://example.org/l"),
        ("Ours", "Ours", None),
    ],
)
def test_the_address_of_a_licence_is_its_link(folders, tmp_path, given, name, link):
    header = _header(_made(folders, tmp_path / "out", license=dict.fromkeys(("inimg", "inalp", "bgdir"), given))[1])
    assert (header["license"], header["license_name"], header.get("license_link")) == ("other", name, link)


def test_a_viewer_is_shown_no_split_without_samples(folders, tmp_path):
    header = _header(_made(folders, tmp_path / "out", trainsplit=1)[1])
    (config,) = header["configs"]
    assert [each["split"] for each in config["data_files"]] == ["train"]
