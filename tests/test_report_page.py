"""The page about a data set: true, the same each time, in one file, of bounded size, and safe for any names."""

import html
import json
import re
import shlex
import shutil
from collections import Counter

import numpy as np
import pytest
from browser import opened
from click.testing import CliRunner
from PIL import Image
from small import contents, matte, photo

from cli.data import data
from shm_data import images
from shm_data.building.build import composite
from shm_data.check import Finding, check_dataset
from shm_data.check.dataset import check_index
from shm_data.check.index import read_index
from shm_data.dataset.layout import Layout, read_names, write_names
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import read_recipes
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_data.report import cards, charts, facts, flagged, write_report
from shm_data.report.measures import Statistics
from shm_data.report.page import in_bytes


def built(sources, root, **more):
    plain = {
        "inimg": sources / "photos",
        "inalp": sources / "alphas",
        "bgdir": (sources / "places",),
        "numbg": 3,
        "augment": (),
    }
    composite(CompositeOptions.checked(**plain | more), root)
    return Layout(root)


def page_of(layout, **more):
    return write_report(layout.root, **more).read_text("utf-8")


def words_of(page):
    """Return the visible text of a page."""
    bare = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare)).strip()


def tile(page, name):
    found = re.search(rf"<dt>{name}</dt><dd>(.*?)<small>(.*?)</small>", page)
    return found.groups()


@pytest.fixture
def ours(sources, tmp_path):
    return built(sources, tmp_path / "set")


@pytest.fixture
def theirs(ours):
    """The same set as other tools would make it: without recipes and record."""
    ours.recipes.unlink()
    ours.manifest.unlink()
    return ours


def damage(layout):
    """A leak, a file that is cut short, one that is missing, one too many, and a trimap that is none."""
    train, val = read_names(layout.root, "train"), read_names(layout.root, "val")
    write_names(layout.root, "train", [*train[1:], val[0]])
    write_names(layout.root, "val", [*val[1:], train[0]])
    broken, lacking, strange = (layout.sample(name) for name in train[1:4])
    broken[0].write_bytes(broken[0].read_bytes()[:200])
    lacking[1].unlink()
    strange[2].unlink()
    images.write_png(strange[2], np.full((48, 64), 77, np.uint8))
    images.write_png(layout.input / "stray.png", photo(7))
    return layout


def test_the_same_set_has_the_same_page(ours, tmp_path):
    first = write_report(ours.root).read_bytes()
    assert write_report(ours.root, jobs=1).read_bytes() == first
    assert write_report(ours.root, tmp_path / "other.html").read_bytes() == first


def test_a_page_in_its_set_disturbs_neither_check_nor_composite(ours, sources):
    before = check_dataset(ours.root)
    assert write_report(ours.root) == ours.root / "report.html"
    assert check_dataset(ours.root) == before
    built(sources, ours.root)
    assert (ours.root / "report.html").exists()


def test_no_folder_of_the_machine_is_on_the_page(ours, tmp_path):
    """The page is shown to strangers."""
    assert str(tmp_path) not in page_of(ours) + page_of(damage(ours))


@pytest.mark.parametrize("name", ["train.txt", "dataset.json", "mask/{}", "new.txt"])
def test_no_other_file_is_overwritten(ours, name):
    path = ours.root / name.format(read_names(ours.root, "val")[0])
    if name == "new.txt":
        path.write_text("mine")
    before = contents(ours.root)
    with pytest.raises(ShmDataError) as error:
        write_report(ours.root, path)
    assert error.value.found == "another file"
    assert contents(ours.root) == before


def test_a_report_reads_each_file_once(ours, monkeypatch):
    """Samples on the page and in the statistics are those that the check has in memory."""
    read = Counter()
    read_channels = images.read_channels
    for module in ("read_image", "read_alpha", "read_gray"):
        monkeypatch.setattr(cards, module, lambda path: pytest.fail(f"read again: {path}"))
    monkeypatch.setattr(images, "read_channels", lambda path: read.update([path]) or read_channels(path))
    write_report(ours.root)
    names = [name for split in ("train", "val") for name in read_names(ours.root, split)]
    assert {ours.sample(name)[0] for name in names} <= read.keys()
    assert set(read.values()) == {1}


def test_nothing_else_is_written(ours):
    before = contents(ours.root)[0]
    page = write_report(ours.root)
    after = contents(ours.root)[0]
    after.pop(page.name)
    assert after == before


def test_a_page_holds_all_that_it_shows_and_may_load_nothing(ours):
    page = page_of(ours)
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)[\w/.]""", page)
    assert "@import" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_counts_are_those_of_the_set(ours):
    page = page_of(ours)
    recipes = list(read_recipes(ours.recipes))
    sides = Counter(recipe.split for recipe in recipes)
    assert tile(page, "Samples") == (str(len(recipes)), f"{sides['train']} train &middot; {sides['val']} val")
    assert tile(page, "Foregrounds") == ("4", "4 original photos")
    used = {recipe.background for recipe in recipes} - {None}
    assert tile(page, "Backgrounds") == (str(len(used)), "in 12 composites")


def test_the_disk_use_counts_each_file_once(sources, tmp_path):
    linked = facts._disk(built(sources, tmp_path / "linked"))
    layout = Layout(tmp_path / "linked")
    shutil.copytree(layout.root, tmp_path / "copied")
    copied = facts._disk(Layout(tmp_path / "copied"))
    files = [path for folder in layout.folders for path in folder.iterdir()]
    assert sum(copied.folders.values()) == sum(path.stat().st_size for path in files)
    assert copied.saved == 0
    once = {path.stat().st_ino: path.stat().st_size for path in files}
    assert sum(linked.folders.values()) == sum(once.values())
    assert linked.saved == sum(copied.folders.values()) - sum(linked.folders.values()) > 0


def test_the_splits_are_shown_with_what_they_do_not_share(ours):
    page = page_of(ours)
    recipes = list(read_recipes(ours.recipes))
    for split in ("train", "val"):
        mine = [recipe for recipe in recipes if recipe.split == split]
        people, places = {r.foreground for r in mine}, {r.background for r in mine} - {None}
        row = f"{split} {len(mine)} {len(mine) / len(recipes):.1%} {len(people)} {len(places)}"
        assert row in words_of(page)
    assert "Train and val share no foreground, no near-duplicate foreground, no background" in words_of(page)


def test_groups_are_shown_where_the_set_has_them(sources, tmp_path):
    words = words_of(page_of(built(sources, tmp_path / "set", group="^p")))
    assert "Split Samples Share Foregrounds Groups Backgrounds train 16 100.0% 4 1" in words
    assert "Only one split has samples, so there is nothing to compare" in words


def test_a_leak_is_shown_with_both_samples(ours):
    page = page_of(damage(ours))
    words = words_of(page)
    assert "Train and val overlap" in words
    verdict = check_dataset(ours.root)
    leak = next(finding for finding in verdict.findings if finding.kind == "leak")
    assert f"{leak.what} : found {leak.found}, expected {leak.expected}" in words
    assert f"{sum(finding.grave for finding in verdict.findings)} errors" in words
    groups = flagged.groups_of(verdict, ours, dict.fromkeys(read_names(ours.root, "val"), "val") | {"x": ""})
    assert {"leak", "unreadable", "missing", "trimap", "orphan"} <= {group.kind for group in groups}


def test_every_kind_of_finding_in_a_damaged_set_has_a_picture(ours):
    damage(ours)
    splits = {name: split for split in ("train", "val") for name in read_names(ours.root, split)}
    for group in flagged.groups_of(check_dataset(ours.root), ours, splits):
        assert group.pictured, group.kind
        for finding, names in group.pictured:
            assert all(name in splits or (ours.root / name).is_file() for name in names)
            assert len(names) == (2 if finding.kind == "leak" else 1)


@pytest.mark.parametrize(
    ("finding", "names"),
    [
        (("leak", "b.png", "a.png"), ("b.png", "a.png")),
        (("leak", "b.png", "man of war.png"), ("b.png", "man of war.png")),
        (("near_duplicate", "b.png", "gone.png"), ("b.png",)),
        (("unreadable", "mask/b.png", ""), ("b.png",)),
        (("missing", "trimap/c.png", ""), ("c.jpg",)),
        (("orphan", "input/c.png", ""), ()),
        (("list", "train.txt", ""), ()),
    ],
)  # fmt: skip
def test_a_finding_leads_to_the_samples_it_is_about(tmp_path, finding, names):
    kind, what, other = finding
    splits = dict.fromkeys(["a.png", "b.png", "man of war.png", "c.jpg"], "train")
    assert flagged._names(Finding(kind, what, "", "", grave=True, other=other), Layout(tmp_path), splits) == names


def test_a_pair_that_is_nearly_the_same_is_shown_side_by_side(sources, tmp_path):
    layout = built(sources, tmp_path / "set", trainsplit=1.0, originals=True, numbg=0)
    twin, other = read_names(layout.root, "train")[:2]
    for one, two in zip(layout.sample(twin), layout.sample(other), strict=True):
        two.unlink()
        shutil.copy(one, two)
    alpha = images.read_alpha(layout.sample(other)[1]).copy()
    alpha[0, 0] = 3
    images.write_png(layout.sample(other)[1], alpha)
    for path in (layout.recipes, layout.manifest):
        path.unlink()
    write_names(layout.root, "train", [twin])
    write_names(layout.root, "val", [other])
    groups = flagged.groups_of(check_dataset(layout.root), layout, {twin: "train", other: "val"})
    pictured = next(group.pictured for group in groups if group.kind == "near_duplicate")
    assert pictured[0][1] == (other, twin)


def test_skipped_files_are_listed_with_the_reason(sources, tmp_path):
    images.write_png(sources / "photos" / "lonely.png", photo(30))
    path = sources / "places" / "b0.png"
    path.write_bytes(path.read_bytes()[:-200])
    layout = built(sources, tmp_path / "set", numbg=8)
    words = words_of(page_of(layout))
    skipped = json.loads(layout.manifest.read_text())["skipped"]
    assert len(skipped) >= 2
    for why, names in skipped.items():
        assert f"{why} {len(names)} {names[0]}" in words


def test_long_lists_are_cut_and_count_the_rest(sources, tmp_path):
    for number in range(60):
        images.write_png(sources / "photos" / f"lonely{number:02}.png", photo(30))
    words = words_of(page_of(built(sources, tmp_path / "set")))
    assert "lonely49.png" in words
    assert "lonely50.png" not in words
    assert "and 10 more, see dataset.json" in words


def test_the_command_on_the_page_makes_the_set_again(sources, tmp_path, monkeypatch):
    odd = tmp_path / "odd $HOME 'places' & \"more\""
    sources.rename(odd)
    monkeypatch.chdir(tmp_path)
    here = {"inimg": "photos", "inalp": "alphas"}
    relative = {name: (odd / folder).relative_to(tmp_path) for name, folder in here.items()}
    layout = built(
        odd, tmp_path / "set", **relative, originals=False, seed=3, trimap="random", maxsize=48, group="^p."
    )
    typed = re.search(r'<pre class="command"><code>(.*?)</code>', page_of(layout), re.DOTALL).group(1)
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    program, *arguments = shlex.split(html.unescape(typed))
    folders = {label.upper(): str(path) for label, path in read_manifest(layout).roots.items()}
    arguments = [folders.get(word, word) for word in arguments]
    result = CliRunner().invoke(data, arguments)
    assert (program, result.exit_code) == ("shm-data", 0), result.output
    (layout.root / "report.html").unlink()
    assert contents(away / "set") == contents(layout.root)


def test_the_page_of_a_set_of_another_tool_names_what_is_not_known(theirs):
    page = page_of(theirs)
    words = words_of(page)
    assert tile(page, "Foregrounds") == ("4", "counted by their alphas")
    assert tile(page, "Backgrounds") == ("?", "not known")
    assert words.count("Not known: the set has no readable dataset.json") == 2
    assert "Not known: the set has no readable recipes.jsonl" in words
    assert "All are 64 \N{MULTIPLICATION SIGN} 48, in all samples." in words
    assert "Not checked: backgrounds that the splits share (no recipes.jsonl)." in words


def test_a_set_without_lists_is_shown_too(theirs):
    for split in ("train", "val"):
        theirs.names_of(split).unlink()
    page = page_of(theirs)
    assert tile(page, "Samples") == ("16", "0 train &middot; 0 val &middot; 16 in no list")
    assert page.count("<figure style=") >= 16


def test_a_broken_record_stops_no_page(ours):
    ours.manifest.write_text("{}")
    assert "dataset.json" in words_of(page_of(ours))


def test_an_empty_set_has_a_page(tmp_path):
    layout = Layout(tmp_path / "set")
    for folder in layout.folders:
        folder.mkdir(parents=True)
    page = page_of(layout)
    assert tile(page, "Samples")[0] == "0"
    assert "The data set has no samples." in words_of(page)


def test_a_folder_that_is_no_set_and_a_page_that_cannot_be_written_are_refused(ours, tmp_path):
    with pytest.raises(ShmDataError, match="found no folder, expected a data set"):
        write_report(tmp_path / "absent")
    with pytest.raises(ShmDataError, match=r"--out .*expected an existing folder"):
        write_report(ours.root, tmp_path / "absent" / "page.html")


def test_samples_are_drawn_the_same_whatever_their_order(ours):
    names = [f"n{number}.png" for number in range(1000)]
    some = facts.choose(names, 5, 40)
    assert facts.choose(reversed(names), 5, 40) == some
    assert len(set(some)) == 40 and set(some) <= set(names)
    assert set(facts.choose(names, 6, 40)) != set(some)


def test_a_small_split_is_shown_too():
    splits = {f"n{number}": "train" for number in range(990)} | {f"v{number}": "val" for number in range(10)}
    shown = facts.names_to_show(splits, 0)
    sides = Counter(splits[name] for name in shown)
    assert sides == {"train": facts.SHOWN, "val": facts.LEAST}


def test_measures_are_those_of_the_files(ours):
    names = [name for split in ("train", "val") for name in read_names(ours.root, split)]
    statistics = Statistics(names)
    check_index(ours, read_index(ours), visit=lambda name, _, alpha, trimap: statistics.visit(name, alpha, trimap))
    found = statistics.measures()
    alphas = [images.read_alpha(ours.sample(name)[1]) for name in names]
    trimaps = [images.read_gray(ours.sample(name)[2]) for name in names]
    np.testing.assert_allclose(found.areas, [alpha.mean() / 255 for alpha in alphas])
    np.testing.assert_allclose(found.unknowns, [(trimap == 128).mean() for trimap in trimaps])
    np.testing.assert_allclose(found.levels, np.bincount(np.stack(alphas).ravel(), minlength=256) / (16 * 48 * 64))
    assert found.sizes == ((64, 48),) * 16


def test_what_cannot_be_measured_is_counted(ours):
    damage(ours)
    assert "measured in 15 of 16 samples. 1 more could not be read." in words_of(page_of(ours))


def test_some_samples_are_measured_and_the_page_says_how_many(ours, monkeypatch):
    monkeypatch.setattr("shm_data.report._MEASURED", 5)
    assert "measured in 5 of 16 samples, chosen at random by the seed of the set." in words_of(page_of(ours))


def test_uses_of_backgrounds_are_counted(ours):
    uses = Counter(recipe.background for recipe in read_recipes(ours.recipes) if recipe.background)
    page = page_of(ours)
    low, high = min(uses.values()), max(uses.values())
    caption = f"{len(uses)} backgrounds, each used {low} to {high} times, {12 / len(uses):.1f} on average."
    assert caption in words_of(page)
    chart = page[page.index("Uses of a background") :]
    for times, number in Counter(uses.values()).items():
        assert f": {number}</title>" in chart and f">{times}</text>" in chart


@pytest.mark.parametrize("highest", [1, 5, 24, 25, 1000])
def test_bars_of_whole_numbers_miss_none(highest):
    values = np.arange(1, highest + 1)
    bars = charts.of_whole_numbers("", values, str)
    assert bars.heights.sum() == highest
    assert len(bars.heights) <= 24
    assert bars.high >= highest


@pytest.mark.parametrize("value", [1e-3, 0.19, 1, 3, 7, 9.9, 26, 101, 12345])
def test_the_scale_of_heights_reaches_all_and_not_far_beyond(value):
    assert value <= charts.round_up(value) <= 2 * value * (1 + 1e-9)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (10**7, "10.0 MB"), (123 * 10**9, "123 GB")],
)
def test_bytes_have_the_unit_that_suits(count, words):
    assert in_bytes(count) == words


def test_no_picture_is_larger_than_its_share_so_no_page_larger_than_10_mb():
    """Noise is the worst: nothing of it can be saved."""
    most = facts.SHOWN + 2 * facts.LEAST + flagged.MOST
    assert sum(cards.MOST.values()) * most * 4 / 3 < 9.9e6
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (600, 700, 3), np.uint8)
    layers = cards._layers(noise, noise[..., 0], noise[..., 1])
    assert {kind: len(data) <= cards.MOST[kind] for kind, data in layers.items()} == dict.fromkeys(cards.MOST, True)


def test_a_cutout_keeps_the_alpha_of_its_sample(tmp_path):
    layers = cards._layers(photo(1), matte(1), matte(1))
    (tmp_path / "cutout.webp").write_bytes(layers["cutout"])
    with Image.open(tmp_path / "cutout.webp") as picture:
        assert picture.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(picture)[..., 3], matte(1))


STRANGE = '<script>alert(1)<b> & "it\'s" \u202e<img src=x onerror=alert(2)>'


def with_strange_samples(layout):
    """Rename the samples of train as no tool of ours would, but others may; those of val keep their recipes."""
    names = read_names(layout.root, "train")
    for name in names:
        for path in layout.sample(name):
            path.rename(path.with_name(f"{STRANGE}{path.name}"))
    write_names(layout.root, "train", [f"{STRANGE}{name}" for name in names])
    return layout


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """The page about a set whose every name is markup, and which has something of everything that goes wrong."""
    folder = tmp_path_factory.mktemp("strange") / STRANGE
    for name in ("photos", "alphas", "places"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        images.write_png(folder / "photos" / f"{STRANGE}{number}.png", photo(number))
        images.write_png(folder / "alphas" / f"{STRANGE}{number}.png", matte(number))
    for number in range(9):
        images.write_png(folder / "places" / f"{STRANGE}{number}.png", photo(100 + number, (128 + 8 * number, 200)))
    images.write_png(folder / "photos" / f"lonely {STRANGE}.png", photo(30))
    layout = damage(with_strange_samples(built(folder, folder / STRANGE)))
    images.write_png(layout.mask / f"stray {STRANGE}.png", matte(0))
    return write_report(layout.root)


@pytest.fixture(scope="module")
def tab(strange):
    """A browser that has the page open, wide and light."""
    with opened(strange.as_uri()) as tab:
        yield tab


def test_names_are_text_and_nothing_else(strange):
    page = strange.read_text("utf-8")
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img src=x" not in page
    without_command = re.sub(r'<pre class="command">.*?</pre>', "", page, flags=re.DOTALL)
    assert "\u202e" not in without_command
    assert "\\u202e" in without_command


def test_a_page_is_whole_in_a_browser(tab, strange, tmp_path):
    tab.photograph(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == 1280 and picture.height > 2000
    assert tab.page.locator("h1").inner_text() == STRANGE.replace("\u202e", "\\u202e")
    assert tab.page.locator(".grid .name").first.inner_text().startswith("<script>alert(1)<b>")
    assert tab.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert tab.page.evaluate("document.querySelectorAll('main script, [onerror]').length") == 0
    assert {address for address in tab.asked if not address.startswith("data:")} == {strange.as_uri()}
    assert not tab.errors  # nor was a script refused


def test_clicking_enlarges_and_escape_closes(tab):
    page, box = tab.page, tab.page.locator("dialog")
    small = page.locator("#samples .frame").first
    name = page.locator("#samples .name").first.inner_text()
    assert not box.is_visible()
    small.click()
    assert box.is_visible()
    assert box.locator(".frame").bounding_box()["height"] > 2 * small.bounding_box()["height"]
    assert name in box.inner_text()
    page.keyboard.press("ArrowRight")
    assert name not in box.inner_text()
    page.keyboard.press("ArrowLeft")
    assert name in box.inner_text()
    box.get_by_role("button", name="+ trimap").click()
    assert box.locator(".band").is_visible() and not box.locator(".cutout").is_visible()
    page.keyboard.press("Escape")
    assert not box.is_visible()
    assert not tab.errors


def test_the_switch_shows_alpha_in_place_of_the_images(tab):
    samples = tab.page.locator("#samples")
    samples.get_by_role("button", name="Alpha", exact=True).click()
    assert not samples.locator("img.image").first.is_visible() and samples.locator("img.alpha").first.is_visible()
    assert samples.locator("[aria-pressed=true]").inner_text() == "Alpha"
    samples.get_by_role("button", name="Image", exact=True).click()
    assert samples.locator("img.image").first.is_visible() and not samples.locator("img.alpha").first.is_visible()
    assert not tab.errors


def test_light_and_dark_differ_and_nothing_is_wider_than_a_phone(tab, tmp_path):
    shades = {}
    tab.page.set_viewport_size({"width": 390, "height": 844})
    for scheme in ("dark", "light"):
        tab.page.emulate_media(color_scheme=scheme)
        tab.page.screenshot(path=tmp_path / f"{scheme}.png")
        with Image.open(tmp_path / f"{scheme}.png") as picture:
            shades[scheme] = np.asarray(picture.convert("L")).mean()
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert shades["light"] > 180 and shades["dark"] < 80


def test_the_command_says_where_the_page_is(ours):
    result = CliRunner().invoke(data, ["report", str(ours.root)])
    assert result.exit_code == 0, result.output
    assert f"The report is {ours.root / 'report.html'}." in result.output
    assert "checking: 16 in" in result.output
