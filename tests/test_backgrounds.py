import io
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shm_data.errors import ShmDataError
from shm_data.sources import coco
from shm_data.sources.background_folders import SHOWS_PERSON, UNKNOWN
from shm_data.sources.backgrounds import MIN_EDGE, Pool, scan

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "person"}]


def picture(path: Path, size: tuple[int, int] = (200, 150), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path, **options)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def annotation(*names: str) -> str:
    objects = "".join(f"<object><name>{name}</name><difficult>1</difficult></object>" for name in names)
    return f"<annotation>{objects}</annotation>"


def voc_tree(root: Path, **objects: str | None) -> Path:
    """A tree of photos: each id with the names in its XML, or None for no XML."""
    for id_, names in objects.items():
        picture(root / "JPEGImages" / f"{id_}.jpg")
        if names is not None:
            text(root / "Annotations" / f"{id_}.xml", annotation(*names.split()))
    return root


def instances(path: Path, images: dict[int, str], shown: dict[int, list[int]], **extra: object) -> Path:
    """A COCO file: the file name of each image, and the categories shown in it. Categories come last, as they do."""
    annotations = [
        {"id": 1, "image_id": number, "category_id": category, "segmentation": [[1.5, 2, 3]], "iscrowd": 0}
        for number, ids in shown.items()
        for category in ids
    ]
    named = [{"id": number, "file_name": name} for number, name in images.items()]
    content = {"info": {}, "images": named, "annotations": annotations, "categories": CATEGORIES} | extra
    return text(path, json.dumps(content))


def keys(pool: Pool) -> list[str]:
    return [background.key for background in pool.backgrounds]


def reasons(pool: Pool) -> dict[str, str]:
    return {item.what: item.why for item in pool.skipped}


# Pascal VOC


def test_the_real_voc_photos_without_people(realdata: Path) -> None:
    pool = scan(vocroot=[realdata / "voc_mini"])
    assert len(pool.backgrounds) == 39
    assert list(reasons(pool).values()) == [SHOWS_PERSON] * 21


def test_the_person_lists_say_the_same_as_the_annotations(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "voc_mini" / "VOC2012"
    tree = tmp_path / "VOC2012"
    shutil.copytree(source / "JPEGImages", tree / "JPEGImages")
    lists = source / "ImageSets" / "Main"
    listed = (lists / "DERIVED_person_trainval.txt").read_text()
    text(tree / "ImageSets" / "Main" / "person_trainval.txt", listed)
    by_list, by_xml = scan(vocroot=[tree]), scan(vocroot=[source])
    assert keys(by_list) == keys(by_xml)
    assert by_list.skipped == by_xml.skipped


def test_the_real_lists_with_their_windows_line_ends(realdata: Path, tmp_path: Path) -> None:
    main = tmp_path / "ImageSets" / "Main"
    main.mkdir(parents=True)
    for path in (realdata / "lists" / "voc2007_main").glob("*.txt"):
        shutil.copy(path, main)
    labels = dict(line.split() for line in (main / "person_trainval.txt").read_text().splitlines())
    person = next(id_ for id_, label in labels.items() if label == "1")
    difficult = next(id_ for id_, label in labels.items() if label == "0")
    nobody = next(id_ for id_, label in labels.items() if label == "-1")
    voc_tree(tmp_path, **dict.fromkeys((person, difficult, nobody, "000000")))
    pool = scan(vocroot=[tmp_path], vocset="trainval")
    assert keys(pool) == [f"voc/JPEGImages/{nobody}.jpg"]
    assert reasons(pool)[f"voc/JPEGImages/{person}.jpg"] == SHOWS_PERSON
    assert reasons(pool)[f"voc/JPEGImages/{difficult}.jpg"] == SHOWS_PERSON
    assert len(pool.skipped) == len(labels) - 1, "the ids without a picture are told; 000000 is not listed"


def test_photos_nobody_annotated_stay_out(tmp_path: Path) -> None:
    voc_tree(tmp_path, a="dog", b=None, c="")
    pool = scan(vocroot=[tmp_path])
    assert keys(pool) == ["voc/JPEGImages/a.jpg", "voc/JPEGImages/c.jpg"]
    assert reasons(pool) == {"voc/JPEGImages/b.jpg": UNKNOWN}


def test_with_people_every_photo_is_used_and_no_annotation_is_needed(tmp_path: Path) -> None:
    voc_tree(tmp_path / "voc", a="person", b=None)
    picture(tmp_path / "coco" / "train2017" / "000000000001.jpg")
    pool = scan(vocroot=[tmp_path / "voc"], cocoroot=[tmp_path / "coco"], people=True)
    assert len(pool.backgrounds) == 3
    assert not pool.skipped


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "'
    + "&a;" * 100
    + '"><!ENTITY c "'
    + "&b;" * 100
    + '">]><annotation>&c;</annotation>'
)


@pytest.mark.parametrize(
    "xml",
    ["", "<annotation>", "no xml", BOMB, '<?xml version="1.0" encoding="nonsense"?><annotation/>', "<html></html>"],
    ids=["empty", "cut", "text", "bomb", "encoding", "html"],
)
def test_a_broken_annotation_leaves_the_photo_unknown_unless_a_list_knows_it(tmp_path: Path, xml: str) -> None:
    voc_tree(tmp_path, a=None, b=None)
    text(tmp_path / "Annotations" / "a.xml", xml)
    text(tmp_path / "Annotations" / "b.xml", xml)
    text(tmp_path / "ImageSets" / "Main" / "person_val.txt", "b -1\n")
    pool = scan(vocroot=[tmp_path])
    assert keys(pool) == ["voc/JPEGImages/b.jpg"]
    assert reasons(pool) == {"voc/JPEGImages/a.jpg": UNKNOWN}


def test_a_list_limits_the_photos_and_any_extension_will_do(tmp_path: Path) -> None:
    voc_tree(tmp_path, a="dog", b="dog")
    picture(tmp_path / "JPEGImages" / "c.d.png")
    text(tmp_path / "Annotations" / "c.d.xml", annotation("cat"))
    text(tmp_path / "ImageSets" / "Main" / "some.txt", "c.d\r\na  1\r\ngone\r\n\r\n")
    pool = scan(vocroot=[tmp_path], vocset="some")
    assert keys(pool) == ["voc/JPEGImages/a.jpg", "voc/JPEGImages/c.d.png"]
    assert list(reasons(pool)) == ["voc/JPEGImages/gone"]


def test_a_missing_list_is_reported_with_those_that_are_there(tmp_path: Path) -> None:
    voc_tree(tmp_path, a="dog")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "a")
    with pytest.raises(ShmDataError, match=r"'trainval': found val"):
        scan(vocroot=[tmp_path], vocset="trainval")


def test_a_tree_without_lists_is_taken_as_a_whole_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voc_tree(tmp_path, a="dog", b="cat")
    pool = scan(vocroot=[tmp_path], vocset="trainval")
    assert keys(pool) == ["voc/JPEGImages/a.jpg", "voc/JPEGImages/b.jpg"]
    assert "has no lists in ImageSets/Main" in caplog.text


@pytest.mark.parametrize("id_", ["../secret", "..", "sub/a", "sub\\a", "/etc/a"])
def test_an_id_is_a_plain_name(tmp_path: Path, id_: str) -> None:
    voc_tree(tmp_path / "tree", a="dog")
    picture(tmp_path / "tree" / "secret.jpg")
    text(tmp_path / "tree" / "ImageSets" / "Main" / "val.txt", id_)
    with pytest.raises(ShmDataError, match="plain ids"):
        scan(vocroot=[tmp_path / "tree"], vocset="val")
    with pytest.raises(ShmDataError, match="no list"):
        scan(vocroot=[tmp_path / "tree"], vocset="../Main/val")


def test_voc_trees_are_found_up_to_two_levels_down(tmp_path: Path) -> None:
    voc_tree(tmp_path / "VOCdevkit" / "VOC2007", a="dog")
    voc_tree(tmp_path / "VOCdevkit" / "VOC2012", a="dog")
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        pool = scan(vocroot=[root])
        assert keys(pool) == ["voc/JPEGImages/a.jpg", "voc2/JPEGImages/a.jpg"]
        assert [path.name for path in pool.roots.values()] == ["VOC2007", "VOC2012"]


def test_voc_trees_deeper_than_that_are_refused(tmp_path: Path) -> None:
    voc_tree(tmp_path / "one" / "two" / "VOC2012", a="dog")
    with pytest.raises(ShmDataError, match="found one, expected JPEGImages"):
        scan(vocroot=[tmp_path])


# COCO


def test_the_real_coco_photos_without_people(realdata: Path) -> None:
    pool = scan(cocoroot=[realdata / "coco_mini"])
    train = [key for key in keys(pool) if key.startswith("coco/train2017/")]
    assert len(train) == 15
    assert {"coco/train2017/000000058636.jpg", "coco/train2017/000000226111.jpg"} <= set(train), "without annotation"
    assert [key for key in keys(pool) if key not in train] == ["coco/val2017/000000471345.jpg"]
    assert list(reasons(pool).values()) == [SHOWS_PERSON] * 22


def test_people_are_found_by_the_name_of_their_category(tmp_path: Path) -> None:
    for name in "abcd":
        picture(tmp_path / "images" / f"{name}.jpg")
    images = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
    instances(tmp_path / "annotations" / "instances_x.json", images, {1: [7], 2: [7, 3]})
    pool = scan(cocoroot=[tmp_path])
    assert keys(pool) == ["coco/images/a.jpg", "coco/images/c.jpg"]
    assert reasons(pool) == {"coco/images/b.jpg": SHOWS_PERSON, "coco/images/d.jpg": UNKNOWN}


# Who is a person: one rule for VOC and COCO.


def both(root: Path, name: str, **more: object) -> Pool:
    """Scan a tree of each kind: photo a shows an object of this name, b a dog, c nothing."""
    voc_tree(root / "voc", b="dog", c="")
    picture(root / "voc" / "JPEGImages" / "a.jpg")
    text(root / "voc" / "Annotations" / "a.xml", f"<annotation><object><name>{name}</name></object></annotation>")
    for photo in "abc":
        picture(root / "coco" / "images" / f"{photo}.jpg")
    categories = [*CATEGORIES, {"id": 5, "name": name, "supercategory": None}]
    images = {number: f"{photo}.jpg" for number, photo in enumerate("abc")}
    path = root / "coco" / "annotations" / "instances_x.json"
    instances(path, images, {0: [5], 1: [7]}, categories=categories)
    return scan(vocroot=[root / "voc"], cocoroot=[root / "coco"], **more)


PEOPLE = (
    "people,person-fa,Pedestrian,woman,Man,boy,girl,human,Human face,face,crowd_of_people,PersonFar,Persons".split(
        ","
    )
)


@pytest.mark.parametrize("name", PEOPLE)
def test_names_of_people_are_people_in_every_kind_of_annotation(tmp_path: Path, name: str) -> None:
    pool = both(tmp_path, name)
    assert reasons(pool) == {"voc/JPEGImages/a.jpg": SHOWS_PERSON, "coco/images/a.jpg": SHOWS_PERSON}
    assert pool.notes == ()


@pytest.mark.parametrize("name", ["snowman", "manhole", "mannequin", "Frau", "class 7"])
def test_a_class_that_is_not_understood_is_used_and_reported_unless_it_is_named(tmp_path: Path, name: str) -> None:
    pool = both(tmp_path, name)
    assert len(pool.backgrounds) == 6
    assert [note.partition(":")[0] for note in pool.notes] == ["voc", "coco"] and all(name in n for n in pool.notes)
    named = both(tmp_path, name, people_classes=[name.upper()])
    assert reasons(named) == {"voc/JPEGImages/a.jpg": SHOWS_PERSON, "coco/images/a.jpg": SHOWS_PERSON}
    assert named.notes == ()


def test_a_class_that_the_user_names_and_nobody_has_is_reported(tmp_path: Path) -> None:
    (note,) = both(tmp_path, "cat", people_classes=["Frua"]).notes
    assert "Frua" in note
    assert both(tmp_path, "cat", people=True).notes == ()


def test_a_supercategory_of_people_counts(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    categories = [*CATEGORIES, {"id": 9, "name": "goalkeeper", "supercategory": "Person"}]
    instances(tmp_path / "annotations" / "instances_x.json", {1: "a.jpg"}, {1: [9]}, categories=categories)
    assert reasons(scan(cocoroot=[tmp_path])) == {"coco/images/a.jpg": SHOWS_PERSON}


def test_where_nothing_at_all_is_annotated_nothing_is_known(tmp_path: Path) -> None:
    voc_tree(tmp_path / "voc", a="", b="")
    picture(tmp_path / "coco" / "images" / "a.jpg")
    instances(tmp_path / "coco" / "annotations" / "instances_x.json", {1: "a.jpg"}, {})
    pool = scan(vocroot=[tmp_path / "voc"], cocoroot=[tmp_path / "coco"])
    assert not pool.backgrounds and set(reasons(pool).values()) == {UNKNOWN}
    assert [note.partition(":")[0] for note in pool.notes] == ["voc", "coco"]


@pytest.mark.parametrize(
    "thing",
    [
        "<object><name></name></object>",
        "<object><pose/></object>",
        "<OBJECT><NAME>person</NAME></OBJECT>",
        "<Object><name>person</name></Object>",
        '<object name="person"/>',
        "<object><category><name>person</name></category></object>",
        '<v:object xmlns:v="x"><v:name>person</v:name></v:object>',
        '<object xmlns="urn:x"><name>person</name></object>',
    ],
)
def test_an_object_without_a_name_that_can_be_read_leaves_its_photo_unknown(tmp_path: Path, thing: str) -> None:
    voc_tree(tmp_path, a=None, b="dog")
    text(tmp_path / "Annotations" / "a.xml", f"<annotation>{thing}<object><name>dog</name></object></annotation>")
    assert reasons(scan(vocroot=[tmp_path])) == {"voc/JPEGImages/a.jpg": UNKNOWN}


def test_an_annotation_of_no_category_leaves_its_photo_unknown(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.jpg")
    images = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
    instances(tmp_path / "annotations" / "instances_x.json", images, {1: [77], 2: [77, 3], 3: [7]})
    assert reasons(scan(cocoroot=[tmp_path])) == {"coco/images/a.jpg": UNKNOWN, "coco/images/b.jpg": SHOWS_PERSON}


def test_photos_of_one_name_in_two_folders_have_the_annotations_of_their_path(tmp_path: Path) -> None:
    for folder in ("vid1", "vid2", "vid3"):
        picture(tmp_path / "images" / folder / "0001.jpg")
    images = {1: "vid1/0001.jpg", 2: "images/vid2/0001.jpg"}
    instances(tmp_path / "annotations" / "instances_x.json", images, {1: [3], 2: [7]})
    pool = scan(cocoroot=[tmp_path])
    assert keys(pool) == ["coco/images/vid2/0001.jpg"]
    assert reasons(pool) == {
        "coco/images/vid1/0001.jpg": SHOWS_PERSON,
        "coco/images/vid3/0001.jpg": UNKNOWN,
    }


@pytest.mark.parametrize("first", ["annotated", "other"])
def test_a_person_annotated_in_one_of_two_files_counts_in_whatever_order(tmp_path: Path, first: str) -> None:
    picture(tmp_path / "images" / "a.jpg")
    names = ("instances_1.json", "instances_2.json")
    annotated, other = names if first == "annotated" else reversed(names)
    instances(tmp_path / "annotations" / annotated, {1: "a.jpg"}, {1: [3]})
    instances(tmp_path / "annotations" / other, {1: "a.jpg"}, {1: [7]})
    assert reasons(scan(cocoroot=[tmp_path])) == {"coco/images/a.jpg": SHOWS_PERSON}


@pytest.mark.parametrize("name", ["PERSON", "Person", "per\u017fon"])  # a long s folds to s, and does not lower to it
def test_case_does_not_matter_in_the_name_of_a_class(tmp_path: Path, name: str) -> None:
    voc_tree(tmp_path / "voc", a=name, b="dog")
    picture(tmp_path / "coco" / "images" / "a.jpg")
    categories = [{"id": 3, "name": name}]
    instances(tmp_path / "coco" / "annotations" / "instances_x.json", {1: "a.jpg"}, {1: [3]}, categories=categories)
    pool = scan(vocroot=[tmp_path / "voc"], cocoroot=[tmp_path / "coco"])
    assert reasons(pool) == {"voc/JPEGImages/a.jpg": SHOWS_PERSON, "coco/images/a.jpg": SHOWS_PERSON}


def test_a_file_without_a_category_for_people_knows_nothing_of_them(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    instances(tmp_path / "annotations" / "instances_x.json", {1: "a.jpg"}, {1: [7]}, categories=CATEGORIES[:1])
    assert reasons(scan(cocoroot=[tmp_path])) == {"coco/images/a.jpg": UNKNOWN}


def test_swapped_folders_and_other_releases_are_one_photo(tmp_path: Path) -> None:
    names = ["val2017/000000000001.jpg", "train2014/COCO_train2014_000000000001.jpg", "val2017/000000000002.jpg"]
    for name in names:
        picture(tmp_path / name)
    picture(tmp_path / "other" / "val2014" / "COCO_val2014_000000000001.jpg")
    images = {1: "000000000001.jpg", 2: "000000000002.jpg"}
    instances(tmp_path / "annotations" / "instances_train2017.json", images, {1: [7], 2: [3]})
    pool = scan(cocoroot=[tmp_path])
    assert keys(pool) == ["coco/other/val2014/COCO_val2014_000000000001.jpg"]
    assert reasons(pool)["coco/val2017/000000000002.jpg"] == SHOWS_PERSON
    assert {reasons(pool)[f"coco/{name}"] for name in names[:2]} == {"the same photo as another background"}


def test_a_person_in_one_release_keeps_the_photo_out_of_all(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "train2017" / "000000000009.jpg")
    picture(tmp_path / "b" / "train2014" / "COCO_train2014_000000000009.jpg")
    instances(tmp_path / "a" / "annotations" / "instances_a.json", {9: "000000000009.jpg"}, {})
    instances(tmp_path / "b" / "annotations" / "instances_b.json", {5: "COCO_train2014_000000000009.jpg"}, {5: [3]})
    pool = scan(cocoroot=[tmp_path / "a", tmp_path / "b"])
    assert not pool.backgrounds
    assert set(reasons(pool).values()) == {SHOWS_PERSON}


def test_file_names_never_lead_out_of_the_root(tmp_path: Path) -> None:
    picture(tmp_path / "secret" / "x.jpg")
    picture(tmp_path / "root" / "images" / "y.jpg")
    images = {1: "../secret/x.jpg", 2: str(tmp_path / "secret" / "x.jpg"), 3: "..\\images\\y.jpg"}
    instances(tmp_path / "root" / "annotations" / "instances_x.json", images, {1: [7]})
    assert keys(scan(cocoroot=[tmp_path / "root"])) == ["coco/images/y.jpg"]


def test_pictures_among_the_annotations_are_no_photos(tmp_path: Path) -> None:
    picture(tmp_path / "annotations" / "panoptic_val2017" / "000000000001.jpg")
    picture(tmp_path / "val2017" / "000000000001.jpg")
    instances(tmp_path / "annotations" / "instances_val2017.json", {1: "000000000001.jpg"}, {1: [7]})
    assert keys(scan(cocoroot=[tmp_path])) == ["coco/val2017/000000000001.jpg"]


def test_without_annotations_coco_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "val2017" / "000000000001.jpg")
    with pytest.raises(ShmDataError, match=r"found no annotations, expected annotations/instances_\*\.json"):
        scan(cocoroot=[tmp_path])


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"images": [{"id": 1,',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"segmentation": [[1, 2',
        '{"images": [{"id": 1}]}',
        '{"images": [{"id": 1, "file_name": ["a.jpg"]}]}',
        '{"annotations": [{"image_id": "one", "category_id": 1}]}',
        '{"annotations": [{"image_id": 123456789012345678901234567890, "category_id": 1}]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}]} more',
        "\xff\xfe{",
    ],
)
def test_broken_annotations_are_named(tmp_path: Path, content: str) -> None:
    picture(tmp_path / "images" / "a.jpg")
    text(tmp_path / "annotations" / "instances_broken.json", content)
    with pytest.raises(ShmDataError, match=r"instances_broken\.json: found .*, expected COCO annotations"):
        scan(cocoroot=[tmp_path])


def test_outlines_vanish_and_nothing_else_changes() -> None:
    polygon = [[float(number) for number in range(3000)], [1, 2.5e-3]]
    entries = [
        {"segmentation": polygon, "bbox": [1, 2, 3, 4], "id": 1},
        {"id": 2, "bbox": [], "segmentation": []},
        {
            "note": 'a "segmentation": [[1, 2]] in words, {"bbox": [3]}',
            "segmentation": {"counts": [1, 2], "size": [3, 4]},
        },
    ] * 40
    bare = [{key: [] if isinstance(value, list) else value for key, value in entry.items()} for entry in entries]
    for indent in (None, 1):
        file = io.BytesIO(json.dumps({"annotations": entries}, indent=indent).encode())
        assert json.loads(b"".join(coco._without_outlines(file))) == {"annotations": bare}


def test_a_large_coco_file_is_read_in_little_memory(tmp_path: Path) -> None:
    polygon = np.linspace(0, 640, 400).round(2).tolist()
    numbers = range(1, 6001)
    entries = [
        {"segmentation": [polygon], "image_id": number, "category_id": 3 if number % 3 else 7} for number in numbers
    ]
    names = {number: f"{number:012}.jpg" for number in numbers}
    path = instances(tmp_path / "annotations" / "instances_x.json", names, {}, annotations=entries)
    size = path.stat().st_size
    del entries
    picture(tmp_path / "images" / "000000000003.jpg")
    tracemalloc.start()
    pool = scan(cocoroot=[tmp_path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert keys(pool) == ["coco/images/000000000003.jpg"]
    assert size > 12_000_000
    assert peak < size / 4


# Folders, headers, keys


def test_a_plain_folder_is_used_whole(realdata: Path) -> None:
    pool = scan(bgdir=[realdata / "bg_plain"])
    assert "bgdir/sklearn/china.jpg" in keys(pool)
    assert len(pool.backgrounds) == 5
    assert {b.key: b.size for b in pool.backgrounds}["bgdir/sklearn/china.jpg"] == (640, 427)


def test_sizes_are_upright(realdata: Path) -> None:
    sizes = {b.key: b.size for b in scan(bgdir=[realdata / "odd" / "exif_orientation"]).backgrounds}
    assert sizes == {"bgdir/Portrait_6.jpg": (1200, 1800), "bgdir/Landscape_8.jpg": (1800, 1200)}


def test_unreadable_and_tiny_pictures_are_reported_and_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "good.jpg", (MIN_EDGE, 300))
    picture(tmp_path / "tiny.png", (900, MIN_EDGE - 1))
    text(tmp_path / "empty.jpg", "")
    text(tmp_path / "words.jpg", "not a picture")
    pool = scan(bgdir=[tmp_path])
    assert keys(pool) == ["bgdir/good.jpg"]
    why = reasons(pool)
    assert why["bgdir/empty.jpg"] == why["bgdir/words.jpg"]
    assert "a broken or unknown file" in why["bgdir/empty.jpg"]
    assert why["bgdir/tiny.png"] == "shorter edge below 128 px"


def test_a_header_is_enough(tmp_path: Path) -> None:
    path = picture(tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-100])
    assert keys(scan(bgdir=[tmp_path])) == ["bgdir/cut.jpg"]


def test_keys_do_not_depend_on_the_place_or_the_number_of_workers(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "far" / "there"
    voc_tree(here / "v", a="dog", b="person", c=None)
    picture(here / "c" / "val" / "000000000001.jpg")
    instances(here / "c" / "annotations" / "instances_x.json", {1: "000000000001.jpg"}, {})
    picture(here / "z" / "sub" / "A photo.PNG")
    text(here / "z" / "broken.png", "")
    shutil.copytree(here, there)
    one, other = (
        scan(vocroot=[root / "v"], cocoroot=[root / "c"], bgdir=[root / "z"], jobs=jobs)
        for root, jobs in ((here, 1), (there, 4))
    )
    assert keys(one) == keys(other) == sorted(keys(one))
    assert one.skipped == other.skipped
    assert [background.path for background in one.backgrounds] == [
        one.roots[key.partition("/")[0]] / key.partition("/")[2] for key in keys(one)
    ]


def test_a_photo_reached_twice_is_used_once_and_people_stay_out(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path / "tree", a="dog", b="person", c=None)
    link = tmp_path / "links" / "b.jpg"
    link.parent.mkdir()
    link.symlink_to(tree / "JPEGImages" / "b.jpg")
    picture(link.with_name("own.jpg"))
    pool = scan(vocroot=[tree], bgdir=[tree / "JPEGImages", tmp_path / "links", tree / "JPEGImages"])
    assert keys(pool) == ["bgdir/c.jpg", "bgdir2/own.jpg", "voc/JPEGImages/a.jpg"]
    assert reasons(pool)["bgdir2/b.jpg"] == SHOWS_PERSON
    assert list(pool.roots) == ["voc", "bgdir", "bgdir2"]


def test_a_person_outside_the_list_stays_out_of_a_folder_too(tmp_path: Path) -> None:
    tree = voc_tree(tmp_path, a="dog", b="person")
    text(tree / "ImageSets" / "Main" / "val.txt", "a")
    pool = scan(vocroot=[tree], vocset="val", bgdir=[tree / "JPEGImages"])
    assert keys(pool) == ["voc/JPEGImages/a.jpg"]
    assert reasons(pool)["bgdir/b.jpg"] == SHOWS_PERSON
    assert "voc/JPEGImages/b.jpg" not in reasons(pool)


def test_roots_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    for roots in ({"vocroot": [tmp_path]}, {"cocoroot": [tmp_path]}, {"bgdir": [tmp_path]}):
        with pytest.raises(ShmDataError, match="found no pictures"):
            scan(**roots)
    with pytest.raises(ShmDataError, match="found no folder"):
        scan(vocroot=[tmp_path / "nowhere"])


def test_progress_counts_the_headers(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    seen = []

    def progress(items, total, label):
        seen.append((total, label))
        return items

    scan(bgdir=[tmp_path], progress=progress)
    assert seen == [(1, "reading background headers")]
