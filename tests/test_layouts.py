"""The trees of published matting sets are recognised, kept apart, and keep their splits."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from small import matte, photo

from cli.data import data
from shm_data import images
from shm_data.building.build import composite
from shm_data.check import check_dataset, check_pairs
from shm_data.dataset.citations import citations_of
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.manifest import read_manifest, summary
from shm_data.dataset.recipes import read_recipes
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.options.published_sets import PUBLISHED_SETS
from shm_data.pixels.compositing import resize
from shm_data.sources.foregrounds import scan


class Bench:
    """Writes the pictures of a set, each another."""

    def __init__(self, root):
        self.root = root
        self.count = 200

    def _put(self, path, pixels):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        (images.write_jpeg if path.suffix == ".jpg" else images.write_png)(path, pixels)

    def photo(self, path):
        self.count += 1
        self._put(path, photo(self.count))

    def alpha(self, path):
        self._put(path, matte(self.count))

    def trimap(self, path):
        alpha = matte(self.count)
        self._put(path, np.where(alpha == 255, 255, np.where(alpha == 0, 0, 128)).astype(np.uint8))

    def cutout(self, path):
        self._put(path, np.dstack([photo(self.count), matte(self.count)]))

    def text(self, path, text):
        (self.root / path).write_text(text)

    def pair(self, image, alpha, trimap=None):
        self.photo(image)
        self.alpha(alpha)
        if trimap:
            self.trimap(trimap)


def composition1k(bench):
    training, test = "Training_set/Adobe-licensed images", "Test_set/Adobe-licensed images"
    for folder, name in ((training, "a-1.jpg"), ("Training_set/Other", "b_2.png"), (training, "unlisted.jpg")):
        bench.pair(f"{folder}/fg/{name}", f"{folder}/alpha/{name}")
    for name in ("c_0", "d"):
        bench.pair(f"{test}/fg/{name}.png", f"{test}/alpha/{name}.png")
        for number in range(3):
            bench.trimap(f"{test}/trimaps/{name}_{number}.png")
    bench.text("Training_set/training_fg_names.txt", "b_2.png\r\na-1.jpg\r\nlost.png\r\n")
    bench.text("Test_set/test_fg_names.txt", "c_0.png\nd.png\n")
    home = {"a-1": training, "b_2": "Training_set/Other"}
    found = {(name, f"{folder}/alpha/{name}", None, "train") for name, folder in home.items()}
    found |= {(name, f"{test}/alpha/{name}", f"{test}/trimaps/{name}_0", "val") for name in ("c_0", "d")}
    return found, {f"{training}/fg/unlisted.jpg", f"{training}/alpha/unlisted.jpg", "lost.png"}


def distinctions646(bench):
    for folder, name in (("Train", "x"), ("Train", "y"), ("Test", "z")):
        bench.pair(f"{folder}/FG/{name}.jpg", f"{folder}/GT/{name}.png")
    bench.alpha("Test/GT/widow.png")
    sides = {"x": ("Train", "train"), "y": ("Train", "train"), "z": ("Test", "val")}
    return {(name, f"{home}/GT/{name}", None, side) for name, (home, side) in sides.items()}, {"Test/GT/widow.png"}


def videomatte240k(bench):
    sides = {"0000": "train", "0001": "train", "0010": "test"}
    for clip, side in sides.items():
        for frame in ("00000", "00001"):
            bench.pair(f"{side}/fgr/{clip}/{frame}.jpg", f"{side}/pha/{clip}/{frame}.jpg")
    splits = {"train": "train", "test": "val"}
    found = {
        # One clip in a split needs no name of its own.
        (frame if side == "test" else f"{clip}_{frame}", f"{side}/pha/{clip}/{frame}", None, splits[side])
        for clip, side in sides.items()
        for frame in ("00000", "00001")
    }
    return found, set()


def aim500(bench):
    names = ("o_e92b90fc", "o_2749e288")
    for name in names:
        bench.pair(f"original/{name}.jpg", f"mask/{name}.png", f"trimap/{name}.png")
        bench.trimap(f"usr/{name}.png")
    return {(name, f"mask/{name}", f"trimap/{name}", None) for name in names}, set()


def p3m(bench):
    here = {"p_0000000a": "train", "p_0000000b": "train"}
    for name in here:
        bench.pair(f"train/blurred_image/{name}.jpg", f"train/mask/{name}.png")
        bench.photo(f"train/fg/{name}.jpg")
        bench.photo(f"train/facemask/{name}.png")
    found = {(name, f"train/mask/{name}", None, "train") for name in here}
    for name, kind, folder in (("p_0000000c", "P", "blurred"), ("p_0000000d", "NP", "original")):
        home = f"validation/P3M-500-{kind}"
        bench.pair(f"{home}/{folder}_image/{name}.jpg", f"{home}/mask/{name}.png", f"{home}/trimap/{name}.png")
        found.add((name, f"{home}/mask/{name}", f"{home}/trimap/{name}", "val"))
    return found, set()


def ppm100(bench):
    names = ("49740440761_f9ffe43f60_o", "1387033_5f8c0a6e2d_k")
    for name in names:
        bench.pair(f"image/{name}.jpg", f"matte/{name}.jpg")
    return {(name, f"matte/{name}", None, None) for name in names}, set()


def ppm100_split(bench):
    sides = {"49740440761_f9ffe43f60_o": "train", "1387033_5f8c0a6e2d_k": "val"}
    for name, side in sides.items():
        bench.pair(f"{side}/fg/{name}.jpg", f"{side}/alpha/{name}.png")
    return {(name, f"{side}/alpha/{name}", None, side) for name, side in sides.items()}, set()


def aisegment(bench):
    """Mattes are cut-outs; the set has a few files of an Apple computer, and names without partner."""
    home = "{}/1803241125/{}_00000000"
    for name in ("1803241125-00000004", "1803241125-00000006"):
        bench.photo(f"{home.format('clip_img', 'clip')}/{name}.jpg")
        bench.cutout(f"{home.format('matting', 'matting')}/{name}.png")
    bench.text(f"{home.format('clip_img', 'clip')}/._1803241125-00000005.jpg", "no picture")
    bench.text("matting/1803241125/._matting_00000000", "no folder")
    bench.photo("clip_img/1803241125/clip_00000001/1803241125-00000007.jpg")
    bench.cutout("matting/1803201916/matting_00000000/1803201916-00000117.png")
    found = {
        (name, f"{home.format('matting', 'matting')}/{name}", None, None)
        for name in ("1803241125-00000004", "1803241125-00000006")
    }
    return found, {
        "clip_img/1803241125/clip_00000001/1803241125-00000007.jpg",
        "matting/1803201916/matting_00000000/1803201916-00000117.png",
    }


def alphamatting(bench):
    for name in ("GT01", "GT02"):
        bench.pair(f"input_training_lowres/{name}.png", f"gt_training_lowres/{name}.png")
        for number in (1, 2):
            bench.trimap(f"trimap_training_lowres/Trimap{number}/{name}.png")
    bench.trimap("trimap_training_lowres/Trimap1/GT99.png")
    found = {
        (name, f"gt_training_lowres/{name}", f"trimap_training_lowres/Trimap1/{name}", None)
        for name in ("GT01", "GT02")
    }
    return found, {"trimap_training_lowres/Trimap1/GT99.png"}


SETS = {
    "composition1k": composition1k,
    "distinctions646": distinctions646,
    "videomatte240k": videomatte240k,
    "aim500": aim500,
    "p3m": p3m,
    "ppm100": ppm100,
    "aisegment": aisegment,
    "alphamatting": alphamatting,
}
DRAWN = [*SETS.items(), ("ppm100", ppm100_split)]


def _stem(key, label):
    return None if key is None else key.removeprefix(f"{label}/").rpartition(".")[0]


COLOURS = {"composition1k", "distinctions646", "videomatte240k"}


@pytest.mark.parametrize(
    ("label", "name", "draw"),
    [(label, *each) for label in ("inimg", "pubdir") for each in DRAWN if label == "inimg" or each[0] not in COLOURS],
)
def test_exactly_the_pairs_of_a_set_are_found_named_or_recognised(tmp_path, name, draw, label):
    pairs, left = draw(Bench(tmp_path))
    named, recognised = (scan(CompositeOptions(**{label: tmp_path}, layout=layout)) for layout in (name, "auto"))
    assert named == recognised and named.layouts == {label: name}
    files = named.files
    assert {(f.name, _stem(f.alpha, label), _stem(f.trimap, label), f.split) for f in files} == pairs
    assert len(files) == len(pairs)
    assert {skipped.what.removeprefix(f"{label}/") for skipped in named.skipped} == left
    assert all(f.imported == (label == "pubdir") and f.colours == (name in COLOURS) for f in files)
    assert all(_stem(f.image, label).replace("/", "_").endswith(f.name) for f in files)


@pytest.mark.parametrize("name", sorted(COLOURS))
def test_colours_of_foregrounds_are_no_photos_to_import(tmp_path, name):
    SETS[name](Bench(tmp_path))
    with pytest.raises(ShmDataError, match=r"--pubdir .* found the colours of foregrounds, .* expected --inimg"):
        scan(CompositeOptions(pubdir=tmp_path))


def test_colours_of_foregrounds_give_composites_only_and_stay_as_they_are(sources, tmp_path):
    """Red people whose pictures are blue outside of their mattes: an estimate would mix, a cut-out stays red."""
    alpha = matte(1)
    picture = np.where((alpha > 0)[..., None], np.uint8([200, 0, 0]), np.uint8([0, 0, 200]))
    root = tmp_path / "clips"
    for side in ("train", "test"):
        for folder, pixels in (("fgr", picture), ("pha", alpha)):
            (root / side / folder / "0000").mkdir(parents=True)
            images.write_png(root / side / folder / "0000" / "0.png", pixels)
    places = {"bgdir": (sources / "places",), "numbg": 2, "augment": ()}
    by_set = CompositeOptions.checked(inimg=root, **places)
    cutouts = CompositeOptions.checked(
        inimg=root / "train/fgr", inalp=root / "train/pha", layout="cutouts", trainsplit=1, **places
    )
    for options, count in ((by_set, 4), (cutouts, 2)):
        manifest = composite(options, tmp_path / str(count))
        assert manifest.counts.samples == count
        assert any("they give composites only" in note for note in manifest.notes)
        for name in (tmp_path / str(count) / "input").iterdir():
            image, mask = images.read_image(name), images.read_gray(tmp_path / str(count) / "mask" / name.name)
            recipe = next(
                each for each in read_recipes(tmp_path / str(count) / "recipes.jsonl") if each.name == name.name
            )
            place = images.read_image(sources / "places" / recipe.background.rpartition("/")[2])
            x, y, width, height = recipe.crop
            behind = resize(place[y : y + height, x : x + width], image.shape[1::-1]).astype(float)
            weight = mask[..., None] / 255
            np.testing.assert_allclose(image, [200, 0, 0] * weight + behind * (1 - weight), atol=3)


def _drawn(page):
    """The paths below the root in the trees that a page draws by indenting, set by set."""
    drawn, above = {}, []
    for section in page.split("\n## ")[1:]:
        drawn[section.partition("\n")[0]] = paths = set()
        for tree in section.split("```text\n")[1:]:
            for line in tree.partition("```")[0].splitlines():
                above[(len(line) - len(line.lstrip())) // 2 :] = [line.strip().split("  ")[0].rstrip("/")]
                paths.add("/".join(above[1:]))
    return drawn


def _row(name):
    """The row of a set in the table on the page."""
    published = PUBLISHED_SETS[name]
    splits, trimaps = (
        [bool(value) for value in values]
        for values in zip(*((each.split, each.trimaps) for each in published.folders), strict=True)
    )
    split = "its own" if all(splits) else "drawn, unless its folders are split" if any(splits) else "drawn"
    trimap = "its own" if all(trimaps) else "its own for val" if any(trimaps) else "derived"
    anchor = published.title.lower().replace(".", "")
    return f"| [{published.title}](#{anchor}) | `--layout {name}` | {split} | {trimap} | {published.licence} |"


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_every_set_has_an_option_a_citation_a_row_and_its_tree_on_the_page(request, name):
    page = (request.config.rootpath / "docs" / "layouts.md").read_text(encoding="utf-8")
    (option,) = [option for option in data.commands["composite"].params if option.name == "layout"]
    assert name in option.type.choices and name in SETS
    assert citations_of({name})[1:] == [PUBLISHED_SETS[name].citation]
    assert _row(name) in page.splitlines()
    drawn = _drawn(page)[PUBLISHED_SETS[name].title]
    for each in PUBLISHED_SETS[name].folders:
        for path in filter(None, (each.images, each.alphas, each.trimaps, each.name_list)):
            assert any(f"{other}/".startswith(f"{path}/") for other in drawn)


def test_a_new_set_is_one_entry(sources, tmp_path):
    """In a process of its own: the entry is there before the options are made from the registry."""
    (sources / "toy").mkdir()
    for kind, name in (("photos", "toy/people"), ("alphas", "toy/mattes")):
        (sources / kind).rename(sources / name)
    script = """
import sys
from shm_data.options.published_sets import PUBLISHED_SETS, PairFolders, PublishedSet
folders = (PairFolders("people", "mattes", split="val"),)
PUBLISHED_SETS["toy"] = PublishedSet("Toy", folders, citation="@misc{toy}", licence="CC0")
from cli.data import main
main()
"""
    command = [sys.executable, "-c", script, "composite", "--layout", "toy", "--inimg", str(sources / "toy")]
    command += ["--bgdir", str(sources / "places"), "--numbg", "1", "--savedir", str(tmp_path / "set")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    manifest = json.loads(Layout(tmp_path / "set").manifest.read_text(encoding="utf-8"))
    assert manifest["layouts"] == {"inimg": "toy"}
    assert manifest["counts"]["val"] == manifest["counts"]["samples"] == 8
    assert "@misc{toy}" in Layout(tmp_path / "set").card.read_text(encoding="utf-8")


def test_a_tree_that_fits_two_sets_is_refused_until_one_is_named(tmp_path):
    bench = Bench(tmp_path)
    alphamatting(bench)
    p3m(bench)
    with pytest.raises(
        ShmDataError, match=r"the folders of P3M-10k and of alphamatting\.com, expected one of them by"
    ):
        scan(CompositeOptions(inimg=tmp_path))
    assert scan(CompositeOptions(inimg=tmp_path, layout="alphamatting")).layouts == {"inimg": "alphamatting"}


@pytest.mark.parametrize(
    "folders", ["original mask", "image matte", "val/fg val/alpha", "Train/FG Train/GT", "fg alpha"]
)
def test_folders_that_many_people_have_are_no_set(tmp_path, folders):
    bench = Bench(tmp_path)
    image, alpha = folders.split()
    bench.pair(f"{image}/alice.jpg", f"{alpha}/alice.png")
    assert scan(CompositeOptions(inimg=tmp_path)).layouts == {}


def test_who_says_how_to_pair_gets_no_layout(tmp_path):
    p3m(Bench(tmp_path))
    train = tmp_path / "train"
    options = CompositeOptions(inimg=tmp_path, inalp=train / "mask")
    assert scan(options).layouts == {} and not any(files.split for files in scan(options).files)
    assert scan(CompositeOptions(inimg=train / "blurred_image", inalp=train / "mask")).layouts == {}
    with pytest.raises(ShmDataError, match="has its alpha"):
        scan(CompositeOptions(pubdir=tmp_path, prefix="matte"))


@pytest.mark.parametrize("draw", [composition1k, p3m, distinctions646])
def test_one_folder_of_a_pair_is_refused(tmp_path, draw):
    draw(Bench(tmp_path))
    name = draw.__name__
    folders = PUBLISHED_SETS[name].folders[0]
    (tmp_path / folders.alphas).rename(tmp_path / "elsewhere")
    with pytest.raises(ShmDataError, match=rf"{folders.alphas}: found no folder"):
        scan(CompositeOptions(inimg=tmp_path, layout=name))


def test_a_part_of_a_set_will_do(tmp_path):
    pairs, _ = p3m(Bench(tmp_path))
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    found = scan(CompositeOptions(inimg=tmp_path))
    assert {files.name for files in found.files} == {name for name, *_, split in pairs if split == "val"}


def test_a_folder_without_the_set_says_what_is_expected(tmp_path):
    with pytest.raises(ShmDataError) as error:
        scan(CompositeOptions(inimg=tmp_path, layout="aim500"))
    assert "AIM-500" in error.value.found and "original and mask" in error.value.expected
    with pytest.raises(ShmDataError, match="no folder, expected a folder"):
        scan(CompositeOptions(inimg=tmp_path / "absent", layout="aim500"))


@pytest.mark.parametrize("name", ["../../c.png", "/etc/passwd", "a\\..\\b.png", ".."])
def test_a_list_leads_nowhere_else(tmp_path, name):
    composition1k(Bench(tmp_path / "set"))
    Bench(tmp_path).photo("c.png")
    with (tmp_path / "set/Test_set/test_fg_names.txt").open("a") as file:
        file.write(f"{name}\n")
    with pytest.raises(ShmDataError, match=r"test_fg_names\.txt: found .*, expected plain file names"):
        scan(CompositeOptions(inimg=tmp_path / "set"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "p3m"}, "--layout p3m needs --inimg or --pubdir"),
        ({"layout": "cutouts", "pubdir": "x"}, "--layout cutouts needs --inimg"),
        ({"layout": "cutouts", "inimg": "x", "prefix": "y"}, "leave out --prefix"),
        ({"layout": "p3m", "inimg": "x", "inalp": "y"}, "leave out --inalp"),
        ({"layout": "p3m", "inimg": "x", "intri": "y"}, "leave out --intri"),
        ({"layout": "p3m", "pubdir": "x", "trimapdir": "y"}, "leave out --trimapdir"),
        ({"layout": "p3m", "pubdir": "x", "prefix": "y"}, "leave out --prefix"),
        ({"layout": "p4m", "inimg": "x"}, "--layout: found 'p4m', expected one of auto, cutouts, composition1k"),
    ],
)
def test_options_that_contradict_a_layout_are_refused(given, message):
    with pytest.raises(ShmDataError, match=message):
        CompositeOptions.checked(**given)


def test_of_two_folders_the_layout_is_that_of_the_published_one(sources, tmp_path):
    pairs, _ = p3m(Bench(tmp_path / "set"))
    own = {"inimg": sources / "photos", "inalp": sources / "alphas"}
    found = scan(CompositeOptions(pubdir=tmp_path / "set", layout="p3m", prefix="alpha", **own))
    assert {files.name for files in found.files} == {f"p{number}" for number in range(4)} | {
        name for name, *_ in pairs
    }


def test_cutouts_are_cutouts_in_whatever_tree(tmp_path):
    bench = Bench(tmp_path)
    p3m(bench)
    bench.cutout("train/blurred_image/cut.png")
    found = scan(CompositeOptions(inimg=tmp_path, layout="cutouts"))
    assert found.layouts == {} and all(files.alpha is None for files in found.files)


def _made(out, **options):
    manifest = composite(CompositeOptions.checked(**options, seed=3), out)
    sides = {name: split for split in SPLITS for name in read_names(out, split)}
    verdict = check_dataset(out, jobs=2)
    assert not verdict.wrong, verdict.findings
    return manifest, sides


@pytest.mark.parametrize("draw", [composition1k, distinctions646, videomatte240k, p3m, ppm100_split])
def test_composites_of_a_set_are_where_it_has_their_foregrounds(sources, tmp_path, draw):
    pairs, _ = draw(Bench(tmp_path / "set"))
    manifest, sides = _made(
        tmp_path / "out", inimg=tmp_path / "set", bgdir=[sources / "places"], numbg=2, trainsplit=0.5
    )
    told = {name: split for name, _, _, split in pairs}
    originals = {} if draw.__name__ in COLOURS else told
    assert {name: sides.get(f"{name}.png") for name in told} == dict.fromkeys(told) | originals
    assert len(sides) == 2 * len(told) + len(originals)
    for name, side in sides.items():
        (owner,) = [stem for stem in told if name.startswith(stem)]
        assert side == told[owner]
    (title,) = [PUBLISHED_SETS[name].title for name in manifest.layouts.values()]
    assert f"note: inimg: read as {title}" in summary(manifest)


@pytest.mark.parametrize("trainsplit", [0, 1])
def test_a_published_split_wins_over_the_draw_which_decides_for_others(sources, tmp_path, trainsplit):
    pairs, _ = p3m(Bench(tmp_path / "set"))
    own = {"inimg": sources / "photos", "inalp": sources / "alphas"}
    _, sides = _made(tmp_path / "out", pubdir=tmp_path / "set", trainsplit=trainsplit, numbg=0, **own)
    told = {f"{name}.png": split for name, _, _, split in pairs}
    assert {name: sides[name] for name in told} == told
    assert {sides[name] for name in sides.keys() - told.keys()} == {"train" if trainsplit else "val"}


@pytest.mark.parametrize(("trainsplit", "side"), [(0, "train"), (1, "val")])
def test_a_side_that_a_set_fills_needs_backgrounds(sources, tmp_path, trainsplit, side):
    p3m(Bench(tmp_path / "set"))
    with pytest.raises(ShmDataError, match=rf"--trainsplit {trainsplit}: found no background for {side}"):
        _made(tmp_path / "out", inimg=tmp_path / "set", bgdir=[sources / "places"], numbg=1, trainsplit=trainsplit)


def test_a_set_without_a_split_is_split_by_the_draw(tmp_path):
    aim500(Bench(tmp_path / "set"))
    _, sides = _made(tmp_path / "out", pubdir=tmp_path / "set", trainsplit=0.5)
    assert set(sides.values()) == set(SPLITS)


def test_a_group_across_the_split_of_a_set_is_refused(tmp_path):
    p3m(Bench(tmp_path / "set"))
    with pytest.raises(ShmDataError) as error:
        _made(tmp_path / "out", pubdir=tmp_path / "set", group="^p")
    assert "p_0000000a in train and p_0000000c in val" in error.value.found and "--group" in error.value.expected
    _, sides = _made(tmp_path / "out", pubdir=tmp_path / "set", group="[ab]$")
    assert sides["p_0000000a.png"] == sides["p_0000000b.png"] == "train"


def test_ones_own_photos_go_with_the_group_that_a_set_has_placed(sources, tmp_path):
    p3m(Bench(tmp_path / "set"))
    for folder in ("photos", "alphas"):
        (sources / folder / "p0.png").rename(sources / folder / "p_0000000c_again.png")
    own = {"inimg": sources / "photos", "inalp": sources / "alphas", "bgdir": [sources / "places"], "numbg": 1}
    _, sides = _made(tmp_path / "out", pubdir=tmp_path / "set", trainsplit=0.9, group="^p_.{8}", **own)
    assert sides["p_0000000c_again.png"] == sides["p_0000000c.png"] == "val"


def test_a_tree_stays_what_it_was_read_as_when_a_set_is_resumed(tmp_path):
    """Auto is decided once: neither what comes to lie beside nor an option that says the same changes it."""
    bench = Bench(tmp_path / "set")
    p3m(bench)
    made, _ = _made(tmp_path / "out", pubdir=tmp_path / "set")
    alphamatting(bench)
    bench.pair("train/blurred_image/p_0000000e.jpg", "train/mask/p_0000000e.png")
    again, sides = _made(tmp_path / "out", pubdir=tmp_path / "set")
    assert again.layouts == made.layouts == {"pubdir": "p3m"} and again.counts.samples == made.counts.samples + 1
    assert sides["p_0000000e.png"] == "train"
    _made(tmp_path / "out", pubdir=tmp_path / "set", layout="p3m")
    with pytest.raises(ShmDataError, match="the data set was made with it"):
        _made(tmp_path / "out", pubdir=tmp_path / "set", layout="alphamatting")


def test_a_set_made_before_there_were_layouts_is_resumed_as_it_was_read(tmp_path):
    """As `prepare --pubdir SET` read it then: by words in names, with a split that was drawn."""
    bench = Bench(tmp_path / "set")
    for name in ("a", "b", "c"):
        bench.pair(f"train/blurred_image/{name}.jpg", f"train/mask/{name}.png")
    out = tmp_path / "out"
    own = {"inimg": tmp_path / "set" / "train" / "blurred_image", "inalp": tmp_path / "set" / "train" / "mask"}
    before, sides = _made(out, **own, numbg=0)
    record = (out / "dataset.json").read_text()
    old = before.model_dump_json(exclude={"layouts": True, "licences": True, "options": {"layout", "license"}})
    assert "layout" not in old and "layout" in record
    for files in ('"split":null,', ',"split":null'):
        old = old.replace(files, "")
    (out / "dataset.json").write_text(old)
    after, still = _made(out, **own, numbg=0)
    assert still == sides and after.foregrounds == before.foregrounds and after.layouts == {}


def test_check_reads_the_tree_too(tmp_path):
    aisegment(Bench(tmp_path))
    for layout in ("aisegment", "auto"):
        verdict = check_pairs(tmp_path, layout=layout, jobs=2)
        assert verdict.counts == {"foregrounds": 2} and "inimg: read as AISegment" in verdict.checked
        assert sorted(finding.kind for finding in verdict.findings) == ["unpaired", "unpaired"]


def test_the_commands_take_layouts(tmp_path):
    p3m(Bench(tmp_path / "set"))
    run = CliRunner().invoke
    result = run(data, ["check", "--inimg", str(tmp_path / "set"), "--layout", "p3m", "-j", "2"])
    assert result.exit_code == 0 and "4 foregrounds" in result.stdout, result.output
    result = run(data, ["prepare", "--pubdir", str(tmp_path / "set"), "--savedir", str(tmp_path / "out"), "-j", "2"])
    assert "4 samples (2 train, 2 val)" in result.stdout and "note: pubdir: read as P3M-10k" in result.stdout
    assert read_manifest(Layout(tmp_path / "out")).layouts == {"pubdir": "p3m"}


REAL = {
    "alphamatting": (
        "alphamatting_gt27",
        {"input": "input_training_lowres", "GT": "gt_training_lowres", "trimap": "trimap_training_lowres"},
        6,
    ),
    "p3m": (
        "p3m_demo",
        {"original": "validation/P3M-500-NP/original_image", "alpha": "validation/P3M-500-NP/mask"},
        3,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_in_the_tree_of_their_set_are_recognised(realdata, tmp_path, name):
    group, folders, count = REAL[name]
    for here, there in folders.items():
        (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / there).symlink_to(realdata / "fg" / group / here)
    found = scan(CompositeOptions(inimg=tmp_path))
    assert found.layouts == {"inimg": name} and len(found.files) == count and not found.skipped
    assert all(bool(files.trimap) == (name == "alphamatting") for files in found.files)
    assert not check_pairs(tmp_path, jobs=2).wrong


def test_the_real_list_of_composition_1k_is_read(realdata, tmp_path):
    composition1k(Bench(tmp_path))
    listed = (realdata / "lists" / "composition1k" / "test_fg_names.txt").read_text()
    (tmp_path / "Test_set" / "test_fg_names.txt").write_text(listed + "\nd.png\n")
    found = scan(CompositeOptions(inimg=tmp_path))
    assert {files.name for files in found.files} == {"a-1", "b_2", "d"}
    absent = [skipped.what for skipped in found.skipped if "test_fg_names.txt, without" in skipped.why]
    assert sorted(absent) == sorted(f"inimg/{name}" for name in listed.splitlines())
