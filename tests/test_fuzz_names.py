"""A file may have any name, and be no file at all: it is used, or named, and the rest goes on."""

import contextlib
import os
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from fuzz import PREDICTOR, fault_of, in_time
from small import matte, photo

from cli.data import main
from shm_data import images
from shm_data.building.build import composite
from shm_data.building.trimaps import write_trimaps
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.sources.backgrounds import scan as scan_backgrounds
from shm_data.sources.foregrounds import scan
from shm_model.predict import predict_files
from shm_model.samples import names_of, read_sample

ACCENT = "Zoë Müller ñ"

NAMES = [
    *("with space", " leading space", "trailing space ", "a.b.c", "a..", "two  spaces", "_", "-", "0"),
    *("-leading-dash", "--help", "%s%d%n", "100%", "quo'te", 'double"quote', "<script>alert(1)<script>", "&amp;"),
    *("$(touch pwned)", "`touch pwned`", "*", "?", "[a]", "{b}", "~", "#hash", "semi;colon", "pipe|", "back\\slash"),
    *("new\nline", "tab\there", "carriage\rreturn", "\x1b[31mred", "\x7f", "bell\x07", "\u2028line", "\u202eleft"),
    *("zero\u200bwidth", "\ufeffmark", "\xa0", "日本語", "emoji 😀", "İstanbul", "straße", "ﬁle", "Å", "Å"),
    *(unicodedata.normalize("NFC", ACCENT), unicodedata.normalize("NFD", ACCENT), "con", "nul", "a:b", "x" * 251),
    *("ü" * 125, "日" * 83, "train", "val.txt", "dataset.json", "input", "trimap", "alpha", "mask", "image", "inimg"),
]
NAMES = list(dict.fromkeys(NAMES))


def laid(folder, name, seed=0):
    """A photo, its alpha and a background, all of one name."""
    for room, pixels in (("photos", photo(seed)), ("alphas", matte(seed)), ("places", photo(seed + 50, (128, 136)))):
        (folder / room).mkdir(parents=True, exist_ok=True)
        images.write_png(folder / room / f"{name}.png", pixels)


def make(folder, **options):
    places = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",)}
    with in_time():
        return composite(CompositeOptions(foreground="photo", numbg=1, **places | options), folder / "out")


def held(root):
    """The names in the lists, each of which must be a whole sample; none may be missing in the folders."""
    names = [name for split in SPLITS for name in read_names(root, split)]
    for name in names:
        assert "\n" not in name and len(os.fsencode(name)) <= 255
        read_sample(root, name)
    for folder in Layout(root).folders:
        assert sorted(names) == sorted(os.listdir(folder))
    return names


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_set_is_made_of_files_of_any_name(tmp_path, name):
    laid(tmp_path, name)
    make(tmp_path)
    assert len(held(tmp_path / "out")) == 2
    again = make(tmp_path)
    assert again.complete and again.counts.samples == 2
    assert not (tmp_path / "pwned").exists() and not Path("pwned").exists()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_programs_print_any_name_on_a_line(tmp_path, name, monkeypatch, capsys):
    for number in range(2):
        laid(tmp_path, f"p{number}", number)
    (tmp_path / "photos" / f"{name}.png").write_bytes(b"no picture")
    (tmp_path / "places" / f"{name}.png").write_bytes(b"no picture")
    command = ["composite", "--inimg", "photos", "--inalp", "alphas", "--bgdir", "places", "--savedir", "out"]
    monkeypatch.chdir(tmp_path)
    code, out, error = run(monkeypatch, capsys, *command, "--numbg", "1", "--foreground", "photo")
    assert code == 0 and not [sign for sign in (out + error).replace("\n", "") if not sign.isprintable()]
    assert len([line for line in out.splitlines() if line.startswith("skipped")]) == 2
    (tmp_path / "alphas" / f"{name}.png").write_bytes(b"no picture")
    code, out, error = run(monkeypatch, capsys, "trimap", "--inalp", "alphas", "--savedir", "trimaps")
    assert code == 1 and len([line for line in error.splitlines() if line.startswith("Error: ")]) == 1
    assert not [sign for sign in (out + error).replace("\n", "") if not sign.isprintable()]
    assert images.find(tmp_path / "trimaps") == ["p0.png", "p1.png"]


def run(monkeypatch, capsys, *arguments):
    """The program in this process: its exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["shm-data", *arguments])
    with in_time(), pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, *capsys.readouterr()


def test_all_names_together_stay_apart(tmp_path):
    for seed, name in enumerate(NAMES):
        laid(tmp_path, name, seed)
    manifest = make(tmp_path)
    names = held(tmp_path / "out")
    assert manifest.counts.foregrounds == len(NAMES) and len(names) == 2 * len(NAMES)
    assert len({name.casefold() for name in names}) == len(names)
    stored = {images.read_image(tmp_path / "out" / "input" / name).tobytes() for name in names}
    assert len(stored) >= 2 * len(NAMES) - 5, "few photos of blocks are alike"


def test_trimaps_and_mattes_of_files_of_any_name(tmp_path):
    # Of two normal forms of a name one would get a number, since some file systems take them for one.
    names = list({unicodedata.normalize("NFC", name): name for name in NAMES}.values())
    for seed, name in enumerate(names):
        laid(tmp_path, name, seed)
    with in_time(60):
        write_trimaps(tmp_path / "alphas", tmp_path / "trimaps", TrimapOptions())
        made = images.find(tmp_path / "trimaps")
        count = predict_files(PREDICTOR, [tmp_path / "photos"], tmp_path / "trimaps", tmp_path / "mattes")
    assert len({name.casefold() for name in made}) == len(made) == len(names)
    assert count.pictures == len(names) and len(images.find(tmp_path / "mattes")) == 2 * len(names)


# Which belong together.


@pytest.mark.parametrize(("one", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_photo_finds_its_alpha_in_the_other_normal_form(tmp_path, one, other):
    laid(tmp_path, unicodedata.normalize(one, ACCENT))
    (alpha,) = (tmp_path / "alphas").iterdir()
    alpha.rename(alpha.with_name(f"{unicodedata.normalize(other, ACCENT)}_alpha.png"))
    assert make(tmp_path).counts.foregrounds == 1


def test_names_that_differ_in_normal_form_or_case_only_keep_their_own_alphas(tmp_path):
    names = [unicodedata.normalize(form, ACCENT) for form in ("NFC", "NFD")] + ["anna", "Anna", "ANNA"]
    for seed, name in enumerate(names):
        laid(tmp_path, name, seed)
    options = CompositeOptions(inimg=tmp_path / "photos", inalp=tmp_path / "alphas")
    files = scan(options).files
    assert {each.image.removeprefix("inimg/"): each.alpha.removeprefix("inalp/") for each in files} == {
        f"{name}.png": f"{name}.png" for name in names
    }
    assert len({each.name.casefold() for each in files}) == len(names)


# What is no plain file.


def nobody_knows(folder):
    """Things that look like pictures: name -> how to make it there."""
    return {
        "folder.png": lambda path: path.mkdir(),
        "pipe.png": os.mkfifo,
        "dangling.png": lambda path: path.symlink_to(folder / "absent"),
        "loop.png": lambda path: path.symlink_to(path),
        "ring.png": lambda path: (path.symlink_to(f"{path}2"), Path(f"{path}2").symlink_to(path)),
        "to_pipe.png": lambda path: (os.mkfifo(folder / "a_pipe"), path.symlink_to(folder / "a_pipe")),
        "to_folder.png": lambda path: ((folder / "a_folder").mkdir(), path.symlink_to(folder / "a_folder")),
        "to_device.png": lambda path: path.symlink_to("/dev/zero"),
        "to_nothing.png": lambda path: path.symlink_to("/dev/null"),
        "long.png": lambda path: path.symlink_to("x" * 255),
        "name_bytes": lambda path: Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.png")).write_bytes(b"x"),
        "folder_bytes": lambda path: Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe")).mkdir(),
        "hidden": lambda path: (path.parent / ".hidden.png").write_bytes(b"no picture"),
        "loop": lambda path: path.symlink_to(path.parent),
        "itself": lambda path: path.symlink_to(path),
    }


ODD = sorted(nobody_knows(Path()))
KEPT = {f"{name}.png" for name in ("dangling", "loop", "ring", "to_pipe", "to_device", "to_nothing", "long")}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_plain_file_stops_no_search_and_hangs_no_reader(tmp_path, odd):
    laid(tmp_path, "a")
    nobody_knows(tmp_path)[odd](tmp_path / "photos" / odd)
    with in_time():
        found = images.find(tmp_path / "photos")
    assert [name for name in found if name != odd] == ["a.png"]
    path = tmp_path / "photos" / odd
    for read in (images.read_size, images.read_image, images.read_alpha, images.read_trimap):
        if odd.endswith(".png"):
            assert fault_of(read, path, named=path)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("role", ["photos", "alphas", "places"])
def test_what_is_no_plain_file_is_skipped_or_named(tmp_path, role, odd):
    for number in range(2):
        laid(tmp_path, f"p{number}", number)
    nobody_knows(tmp_path)[odd](tmp_path / role / odd)
    manifest = make(tmp_path)
    assert manifest.counts.foregrounds == 2 and manifest.counts.samples == 4
    names = [name for names in manifest.skipped.values() for name in names]
    prefix = {"photos": "inimg", "alphas": "inalp", "places": "bgdir"}[role]
    assert names == [f"{prefix}/{odd}"] * (odd in KEPT)


@pytest.mark.parametrize("odd", sorted(KEPT))
def test_a_photo_that_is_no_plain_file_is_named(tmp_path, odd):
    laid(tmp_path, "p0")
    laid(tmp_path, odd.removesuffix(".png"))
    path = tmp_path / "photos" / odd
    path.unlink()
    nobody_knows(tmp_path)[odd](path)
    assert fault_of(make, tmp_path, named=path)
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_utf_8_are_skipped_by_every_search_and_logged_as_bytes(tmp_path, caplog):
    laid(tmp_path, "a")
    for role in ("photos", "alphas", "places"):
        strange = os.fsdecode(os.fsencode(tmp_path / role) + b"/caf\xe9.png")
        shutil.copy(tmp_path / role / "a.png", strange)
    assert make(tmp_path).counts.foregrounds == 1
    logged = [record.getMessage() for record in caplog.records]
    for role in ("photos", "alphas", "places"):
        path = os.fsencode(tmp_path / role) + b"/caf\xe9.png"
        assert f"{path!r} is skipped: its name is not UTF-8" in logged


def test_a_link_to_a_photo_is_that_photo(tmp_path):
    laid(tmp_path, "a")
    for role in ("photos", "alphas"):
        (tmp_path / role / "b.png").symlink_to(tmp_path / role / "a.png")
    manifest = make(tmp_path)
    assert manifest.counts.foregrounds == 1
    assert [name for names in manifest.skipped.values() for name in names] == ["inimg/b.png"]


ROLES = ("inimg", "inalp", "intri", "bgdir", "vocroot", "cocoroot", "pubdir", "trimapdir")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["absent", "file", "pipe", "dangling", "loop", "long", "below a file"])
def test_a_folder_that_is_none_is_named(tmp_path, role, kind):
    laid(tmp_path, "a")
    folder = tmp_path / "strange"
    if kind == "pipe":
        os.mkfifo(folder)
    elif kind in ("dangling", "loop"):
        folder.symlink_to(folder if kind == "loop" else tmp_path / "absent")
    elif kind == "file":
        folder.write_bytes(b"")
    elif kind == "below a file":
        folder = tmp_path / "photos" / "a.png" / "deeper"
    elif kind == "long":
        folder = tmp_path / ("x" * 300)
    options = {role: (folder,) if role in ("bgdir", "vocroot", "cocoroot") else folder}
    if role == "trimapdir":
        options["pubdir"] = tmp_path / "photos"
    assert fault_of(lambda: make(tmp_path, **options), named=folder)
    assert not (tmp_path / "out").exists()


# What may not be read.


@pytest.fixture
def restricted():
    """A folder in which this process has an ordinary user's rights: the superuser becomes `nobody` meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    laid(folder, "a")
    laid(folder, "b", 1)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_nobody():
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("read", [images.read_size, images.read_image, images.read_alpha])
def test_a_file_that_may_not_be_read_is_named(restricted, read):
    path = restricted / "photos" / "a.png"
    path.chmod(0)
    with as_nobody():
        assert "Permission denied" in fault_of(read, path, named=path)


def test_a_background_that_may_not_be_read_is_skipped(restricted):
    (restricted / "places" / "a.png").chmod(0)
    with as_nobody(), in_time():
        pool = scan_backgrounds(bgdir=[restricted / "places"], jobs=1)
    assert [background.key for background in pool.backgrounds] == ["bgdir/b.png"]
    assert [(item.what, "Permission denied" in item.why) for item in pool.skipped] == [("bgdir/a.png", True)]


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111], ids=oct)
@pytest.mark.parametrize("role", ["photos", "places"])
def test_a_folder_that_may_not_be_looked_into_is_named(restricted, role, mode):
    folder = restricted / role
    folder.chmod(mode)
    with as_nobody():
        search = {"photos": lambda: images.find(folder), "places": lambda: scan_backgrounds(bgdir=[folder], jobs=1)}
        assert "Permission denied" in fault_of(search[role], named=folder)
        assert fault_of(images.find, folder / "deeper", named=folder)
        for kind in ("vocroot", "cocoroot"):
            assert fault_of(lambda kind=kind: scan_backgrounds(**{kind: [folder]}, jobs=1), named=folder)
    folder.chmod(0o755)


def test_a_sample_that_may_not_be_read_is_named(restricted):
    (restricted / "train.txt").write_text("a.png\n")
    for room, there in (("input", "photos"), ("mask", "alphas"), ("trimap", "alphas")):
        (restricted / there).rename(restricted / room) if room != "trimap" else (restricted / room).mkdir()
    (restricted / "train.txt").chmod(0)
    with as_nobody():
        assert "Permission denied" in fault_of(names_of, restricted, "train", named=restricted / "train.txt")
