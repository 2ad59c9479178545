"""Annotations may hold anything: what they do not say is not known, and nobody slips into the backgrounds."""

import json

import pytest
from fuzz import fault_of, in_time, no_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shm_data.dataset.layout import Layout
from shm_data.sources.background_folders import SHOWS_PERSON, UNKNOWN
from shm_data.sources.backgrounds import scan
from shm_model.samples import names_of

# Hypothesis would have a new folder for each of its examples; they overwrite each other's files instead.
ONE_FOLDER = [HealthCheck.function_scoped_fixture]


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (130, 130), (90, 120, 60)).save(path)
    return path


def laid(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def verdicts(**roots):
    """What is said of each photo: "" where it is taken."""
    with in_time():
        pool = scan(**{kind: [root] for kind, root in roots.items()}, jobs=1)
    taken = {background.key.rpartition("/")[2]: "" for background in pool.backgrounds}
    return taken | {item.what.rpartition("/")[2]: item.why for item in pool.skipped}


# Pascal VOC.


def voc(tmp_path, **annotations):
    """A tree of photos with their XML, and the verdict on each by its id."""
    for id_, xml in annotations.items():
        picture(tmp_path / "JPEGImages" / f"{id_}.jpg")
        if xml is not None:
            laid(tmp_path / "Annotations" / f"{id_}.xml", xml)
    return {name.removesuffix(".jpg"): why for name, why in verdicts(vocroot=tmp_path).items()}


def annotation(*names, head=""):
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    return f"{head}<annotation><filename>a.jpg</filename>{objects}</annotation>"


PERSON = annotation("dog", "person")
DECLARED = '<?xml version="1.0" encoding="{}"?>'
ENTITIES = '<!DOCTYPE a [<!ENTITY p "{}">]>'
BOMB = "".join(f'<!ENTITY {one} "{f"&{other};" * 50}">' for one, other in zip("bcdefg", "abcdef", strict=True))

SHOWING = {
    "plain": PERSON,
    "utf-8": DECLARED.format("UTF-8") + PERSON,
    "mark": b"\xef\xbb\xbf" + PERSON.encode(),
    "utf-16": (DECLARED.format("UTF-16") + PERSON).encode("utf-16"),
    "latin-1": (DECLARED.format("ISO-8859-1") + annotation("caf\xe9", "person")).encode("latin-1"),
    "cp1252": (DECLARED.format("windows-1252") + annotation("\u20ac", "person")).encode("cp1252"),
    "windows line ends": PERSON.replace(">", ">\r\n"),
    "data section": annotation("<![CDATA[person]]>"),
    "comment": annotation("<!-- who? -->person"),
    "spaces": annotation("\n  Person\t"),
    "reference": annotation("&#112;erson"),
    "type": f"<!DOCTYPE annotation>{PERSON}",
    "part": PERSON.replace("<name>person</name>", "<part><object><name>person</name></object></part>"),
    "first name counts": "<annotation><object><name>person</name><name>dog</name></object></annotation>",
    "many": annotation(*["dog"] * 20000, "person"),
    "deep": f"<annotation>{'<part>' * 20000}<object><name>person</name></object>{'</part>' * 20000}</annotation>",
    "long": annotation("x" * 2_000_000, "person"),
}
UNTELLING = {
    "missing": None,
    "nothing": "",
    "spaces": " \n",
    "text": "person -1",
    "zeros": bytes(1000),
    "noise": bytes(range(256)) * 10,
    "html": "<html><body>404</body></html>",
    "json": '{"annotation": {"object": []}}',
    "another root": "<annotations><object><name>dog</name></object></annotations>",
    "namespace": '<annotation xmlns="http://example.org"><object><name>person</name></object></annotation>',
    "two roots": annotation("dog") * 2,
    "unclosed": "<annotation><object><name>dog</name></object>",
    "crossed": "<annotation><object></annotation></object>",
    "entity": ENTITIES.format("person") + annotation("&p;"),
    "unknown entity": annotation("&p;"),
    "outside entity": '<!DOCTYPE a [<!ENTITY p SYSTEM "file:///etc/passwd">]>' + annotation("&p;"),
    "outside type": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd" [<!ENTITY p "x">]>' + annotation("dog"),
    "bomb": f'<!DOCTYPE a [<!ENTITY a "person">{BOMB}]>' + annotation("&g;"),
    "long bomb": ENTITIES.format("x" * 50_000) + annotation("&p;" * 5000),
    "endless bomb": '<!DOCTYPE a [<!ENTITY a "&b;"><!ENTITY b "&a;">]>' + annotation("&a;"),
    "nonsense encoding": DECLARED.format("nonsense") + PERSON,
    "wrong encoding": DECLARED.format("UTF-8").encode() + annotation("caf\xe9").encode("latin-1"),
    "wrong encoding of 16 bits": DECLARED.format("UTF-16") + annotation("dog"),
    "control character": annotation("do\x01g"),
    "attribute twice": "<annotation a='1' a='2'/>",
}


@pytest.mark.parametrize("kind", SHOWING)
def test_a_person_is_found_however_the_annotation_is_written(tmp_path, kind):
    assert voc(tmp_path, a=SHOWING[kind], b=annotation("dog")) == {"a": SHOWS_PERSON, "b": ""}


@pytest.mark.parametrize("kind", UNTELLING)
def test_an_annotation_that_tells_nothing_leaves_its_photo_unknown(tmp_path, kind):
    assert voc(tmp_path, a=UNTELLING[kind], b=annotation("dog"), c=annotation()) == {"a": UNKNOWN, "b": "", "c": ""}


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling", "loop"])
def test_an_annotation_that_is_no_file_leaves_its_photo_unknown(tmp_path, kind):
    path = tmp_path / "Annotations" / "a.xml"
    path.parent.mkdir()
    no_file(path, kind)
    assert voc(tmp_path, a=None, b=annotation("dog")) == {"a": UNKNOWN, "b": ""}


def test_wherever_an_annotation_is_cut_its_photo_is_skipped(tmp_path):
    xml = annotation("dog", "person", head=DECLARED.format("UTF-8"))
    cuts = {f"p{length:03}": xml[:length] for length in range(len(xml))}
    assert set(voc(tmp_path, **cuts).values()) == {UNKNOWN}


@settings(
    derandomize=True, max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, len(PERSON) - 1), st.binary(max_size=6))
def test_noise_in_an_annotation_stops_nothing(tmp_path, place, noise):
    xml = PERSON.encode()
    assert voc(tmp_path, a=xml[:place] + noise + xml[place + len(noise) :])["a"] in ("", SHOWS_PERSON, UNKNOWN)


# The lists of Pascal VOC.

LISTS = {
    "plain": ("a\nb\n", {"a", "b"}),
    "windows line ends": ("a\r\nb\r\n", {"a", "b"}),
    "old line ends": ("a\rb\r", {"a", "b"}),
    "mark": (b"\xef\xbb\xbfa\nb\n", {"a", "b"}),
    "mark and windows line ends": (b"\xef\xbb\xbfa\r\nb\r\n", {"a", "b"}),
    "labels": ("a  1\nb -1\n", {"a", "b"}),
    "no last line end": ("a\nb", {"a", "b"}),
    "empty lines": ("\n\na\n \n\tb \n\n", {"a", "b"}),
    "twice": ("a\na\nb\na\n", {"a", "b"}),
    "missing files": ("a\nabsent\n", {"a"}),
    "nothing": ("", set()),
    "too long": ("a\n" + "x" * 5000 + "\n", {"a"}),
    "latin-1": (b"a\ncaf\xe9\n", {"a"}),
    "noise": (bytes(range(128, 256)) + b"\na\n", {"a"}),
    "dots": ("a\nb.c.d\n", {"a"}),
    "many": ("a\n" + "absent\n" * 50_000, {"a"}),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_takes_the_photos_that_it_names(tmp_path, kind):
    text, expected = LISTS[kind]
    laid(tmp_path / "ImageSets" / "Main" / "some.txt", text)
    for id_ in ("a", "b", "c"):
        laid(
            picture(tmp_path / "JPEGImages" / f"{id_}.jpg").parents[1] / "Annotations" / f"{id_}.xml",
            annotation("dog"),
        )
    with in_time():
        pool = scan(vocroot=[tmp_path], vocset="some", jobs=1)
    assert {background.path.stem for background in pool.backgrounds} == expected


@pytest.mark.parametrize("id_", ["../a", "/etc/passwd", "..", "a/b", "a\\b", "..\\..\\a", "~/../a", ".", "a\0"])
def test_a_list_that_points_out_of_its_tree_is_named(tmp_path, id_):
    picture(tmp_path / "JPEGImages" / "a.jpg")
    path = laid(tmp_path / "ImageSets" / "Main" / "some.txt", f"a\n{id_}\n")
    assert "plain ids" in fault_of(lambda: scan(vocroot=[tmp_path], vocset="some"), named=path)


@pytest.mark.parametrize(
    "vocset", ["", "absent", "../Main/some", "/etc/passwd", "x" * 300, "so\nme", "some.txt", "*"]
)
def test_a_list_that_is_not_there_is_named(tmp_path, vocset):
    picture(tmp_path / "JPEGImages" / "a.jpg")
    laid(tmp_path / "ImageSets" / "Main" / "some.txt", "a\n")
    assert "expected one of those" in fault_of(lambda: scan(vocroot=[tmp_path], vocset=vocset), named=tmp_path)


@pytest.mark.parametrize("text", ["b", "b x", "b -1 3", "b\0-1", "", "-1", "\xff", "b  1", "b 0", "b -1\nb 1"])
def test_a_person_list_lets_in_only_what_it_says_shows_nobody(tmp_path, text):
    laid(tmp_path / "ImageSets" / "Main" / "person_val.txt", f"a -1\n{text}\n".encode("latin-1"))
    assert voc(tmp_path, a=None, b=None)["a"] == ""
    assert voc(tmp_path, a=None, b=None)["b"] in (UNKNOWN, SHOWS_PERSON)


# COCO.

GOOD = {
    "info": {"year": 2017},
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[1.5, 2, 3]], "bbox": [0, 0, 1, 1]},
        {"id": 2, "image_id": 2, "category_id": 7, "segmentation": {"counts": [1, 2], "size": [1, 3]}},
    ],
    "categories": [{"id": 3, "name": "person"}, {"id": 7, "name": "dog"}],
}
TEXT = json.dumps(GOOD)


def coco(tmp_path, text, *more):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "train2017" / name)
    for number, each in enumerate((text, *more)):
        laid(tmp_path / "annotations" / f"instances_{number}.json", each)
    return tmp_path


def with_(**sections):
    return json.dumps({name: value for name, value in (GOOD | sections).items() if value != "nothing"})


WHOLE = {
    "plain": TEXT,
    "indented": json.dumps(GOOD, indent=4),
    "windows line ends": json.dumps(GOOD, indent=1).replace("\n", "\r\n"),
    "dense": json.dumps(GOOD, separators=(",", ":")),
    "escaped": TEXT.replace("person", "\\u0070erson").replace("a.jpg", "\\u0061.jpg"),
    "sections in another order": json.dumps(dict(reversed(GOOD.items()))),
    "mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "numbers that are none": TEXT.replace('"image_id": 1', '"area": NaN, "score": -Infinity, "image_id": 1'),
    "unknown images": with_(annotations=[*GOOD["annotations"], {"image_id": 99, "category_id": 3}]),
    "category by another case": TEXT.replace("person", " PERSON "),
    "two categories of people": with_(categories=[*GOOD["categories"], {"id": 8, "name": "Person"}]),
    "paths": TEXT.replace("a.jpg", "../../etc/a.jpg").replace("b.jpg", "/abs/b.jpg"),
    "windows paths": TEXT.replace("a.jpg", "C:\\\\x\\\\a.jpg"),
    "more fields": with_(licenses=[{"id": 1, "name": "person"}], extra={"images": [{"id": 1}]}),
    "negative ids": TEXT.replace('"id": 1, "file', '"id": -1, "file').replace('"image_id": 1', '"image_id": -1'),
    "listed twice": with_(images=[*GOOD["images"], {"id": 1, "file_name": "a.jpg"}]),
    "a section twice": TEXT[:-1] + ', "images": [{"id": 9, "file_name": "c.jpg"}]}',
}
BROKEN = {
    "nothing": "",
    "spaces": " \n ",
    "text": "no JSON",
    "zeros": bytes(500),
    "noise": bytes(range(256)) * 4,
    "list": json.dumps([GOOD]),
    "number": "3",
    "null": "null",
    "nested": json.dumps({"data": GOOD}),
    "cut": TEXT[:-20],
    "behind it": TEXT + "x",
    "two": TEXT * 2,
    "utf-16": TEXT.encode("utf-16"),
    "latin-1": TEXT.replace("a.jpg", "caf\xe9.jpg").encode("latin-1"),
    "single quotes": TEXT.replace('"', "'"),
    "comma": TEXT.replace("]}", "],}"),
    "comment": "// COCO\n" + TEXT,
    "nan": TEXT.replace('"image_id": 1', '"image_id": NaN'),
    "infinity": TEXT.replace('"image_id": 1', '"image_id": 1e999999'),
    "enormous": TEXT.replace('"image_id": 1', '"image_id": 1' + "0" * 30),
    "endless": TEXT.replace('"image_id": 1', '"image_id": 1' + "0" * 10_000),
    "fraction": TEXT.replace('"image_id": 1', '"image_id": 1.0'),
    "id of text": TEXT.replace('"image_id": 1', '"image_id": "1"'),
    "id of truth": TEXT.replace('"image_id": 1', '"image_id": true'),
    "id of nothing": TEXT.replace('"image_id": 1', '"image_id": null'),
    "id of list": TEXT.replace('"image_id": 1', '"image_id": [1]'),
    "id of object": TEXT.replace('"image_id": 1', '"image_id": {"id": 1}'),
    "id twice": TEXT.replace('"image_id": 1', '"image_id": 2, "image_id": 1'),
    "category twice": TEXT.replace('"category_id": 3', '"category_id": 3, "category_id": 7'),
    "no image id": TEXT.replace('"image_id": 1, ', ""),
    "no category id": TEXT.replace('"category_id": 3, ', ""),
    "no id": TEXT.replace('"id": 1, "file_name"', '"file_name"'),
    "no name": TEXT.replace(', "file_name": "a.jpg"', ""),
    "no category name": TEXT.replace(', "name": "person"', ""),
    "name of number": TEXT.replace('"a.jpg"', "7"),
    "category of number": TEXT.replace('"person"', "7"),
    "no annotations": with_(annotations="nothing"),
    "annotations of nothing": with_(annotations=None),
    "annotations of text": with_(annotations="person"),
    "annotations in an object": with_(annotations={"1": GOOD["annotations"][0]}),
    "annotations in lists": with_(annotations=[GOOD["annotations"]]),
    "annotations that are texts": with_(annotations=["person"]),
    "annotations deeper": with_(annotations=[{"annotation": GOOD["annotations"][0]}]),
    "an item": with_(annotations={"item": GOOD["annotations"][0]}),
    "no images": with_(images="nothing"),
    "images in an object": with_(images={"1": GOOD["images"][0]}),
    "images that are texts": with_(images=["a.jpg"]),
    "no categories": with_(categories="nothing"),
    "categories in an object": with_(categories={"3": "person"}),
    "deep lists": "[" * 50_000 + "]" * 50_000,
    "deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "deep in an annotation": with_(annotations="X").replace('"X"', "[" * 30_000 + "]" * 30_000),
    "unclosed lists": "[" * 1_000_000,
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_person_is_found_however_the_file_is_written(tmp_path, kind):
    assert verdicts(cocoroot=coco(tmp_path, WHOLE[kind])) == {"a.jpg": SHOWS_PERSON, "b.jpg": ""}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_and_nobody_is_let_in(tmp_path, kind):
    root = coco(tmp_path, TEXT, BROKEN[kind])
    assert fault_of(lambda: scan(cocoroot=[root]), named=root / "annotations" / "instances_1.json")
    assert verdicts(bgdir=root) == {"a.jpg": "", "b.jpg": ""}, "as a plain folder it is used all the same"


def test_wherever_the_file_is_cut_it_is_named(tmp_path):
    root = coco(tmp_path, TEXT)
    path = root / "annotations" / "instances_0.json"
    for length in range(0, len(TEXT), 3):
        path.write_text(TEXT[:length])
        assert fault_of(lambda: scan(cocoroot=[root], jobs=1), named=path), length


@pytest.mark.parametrize("categories", [[], [{"id": 7, "name": "dog"}], [{"id": 3, "name": "thing"}]], ids=str)
def test_without_a_category_of_people_nothing_is_known(tmp_path, categories):
    root = coco(tmp_path, with_(categories=categories))
    assert verdicts(cocoroot=root) == {"a.jpg": UNKNOWN, "b.jpg": UNKNOWN}


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling", "loop"])
def test_a_file_of_annotations_that_is_no_file_hangs_nothing(tmp_path, kind):
    root = coco(tmp_path, TEXT)
    no_file(root / "annotations" / "instances_1.json", kind)
    assert verdicts(cocoroot=root) == {"a.jpg": SHOWS_PERSON, "b.jpg": ""}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "image_id", "x"]), inner),
    max_leaves=5,
)


def places(value, place=()):
    """The way to every value in a document."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*place, key))


@settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([place for place in places(GOOD) if place]), ANYTHING)
def test_a_value_of_any_kind_anywhere_stops_no_more_than_its_file(tmp_path, place, value):
    document = json.loads(TEXT)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    root = coco(tmp_path, json.dumps(document))
    if not fault_of(lambda: scan(cocoroot=[root], jobs=1), named=root / "annotations" / "instances_0.json"):
        assert set(verdicts(cocoroot=root)) == {"a.jpg", "b.jpg"}


@settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=4))
def test_noise_in_a_file_stops_no_more_than_that(tmp_path, place, noise):
    raw = TEXT.encode()
    root = coco(tmp_path, raw[:place] + noise + raw[place + len(noise) :])
    fault_of(lambda: scan(cocoroot=[root], jobs=1), named=root / "annotations" / "instances_0.json")


# The lists of a data set.

NAMED = {
    "windows line ends": b"a.png\r\nb.png\r\n",
    "no last line end": b"a.png\nb.png",
    "mark": b"\xef\xbb\xbfa.png\nb.png\n",
    "empty lines": b"\n\na.png\n\n\nb.png\n\n",
}
MISLED = {
    "nothing": b"",
    "empty lines": b"\n\r\n\n",
    "a missing file": b"a.png\nabsent.png\n",
    "latin-1": b"caf\xe9.png\n",
    "utf-16": "a.png\n".encode("utf-16"),
    "null bytes": b"a.png\0\n",
    "zeros": bytes(100),
    "above": b"../a.png\n",
    "absolute": b"/etc/passwd\n",
    "windows path": b"..\\a.png\n",
    "dots": b"..\n",
    "a folder": b"sub\n",
    "too long": b"x" * 5000,
    "spaces": b" a.png\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.fixture
def listed(tmp_path):
    for folder in Layout(tmp_path).folders:
        for name in ("a.png", "b.png"):
            picture(folder / name)
        (folder / "sub").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", NAMED)
def test_a_list_is_read_whatever_its_line_ends(listed, kind):
    laid(listed / "train.txt", NAMED[kind])
    assert names_of(listed, "train") == ["a.png", "b.png"]


@pytest.mark.parametrize("kind", MISLED)
def test_a_list_that_names_what_is_not_there_is_named(listed, kind):
    laid(listed / "train.txt", MISLED[kind])
    sentence = fault_of(names_of, listed, "train", named=listed)
    assert "train.txt" in sentence or "sample" in sentence


@pytest.mark.parametrize("kind", ["absent", "folder", "dangling", "loop"])
def test_a_list_that_is_no_file_is_named(listed, kind):
    path = no_file(listed / "train.txt", kind)
    assert fault_of(names_of, listed, "train", named=path)
