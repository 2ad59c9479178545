"""Names are safe, files are whole or absent, lists never leave the data set."""

import errno
import os
import unicodedata
from pathlib import Path

import pytest
from faults import fault_of
from hypothesis import given
from hypothesis import strategies as st

from shm_data import files
from shm_data.dataset.layout import Layout, read_names, write_lists, write_names
from shm_data.errors import BusyError, ShmDataError, WriteError
from shm_data.files import locked, safe_stem, unused, whole_file, write_bytes, write_twin


def test_names_come_back_as_they_were_written(tmp_path):
    names = ["a.png", "with space.png", "Zoë.png", "-dash.png", "a.b.c.png"]
    write_names(tmp_path, "train", names)
    assert read_names(tmp_path, "train") == names
    assert (tmp_path / "train.txt").read_text(encoding="utf-8") == "".join(f"{name}\n" for name in names)


def test_lists_of_all_splits_are_written_in_one_go(tmp_path):
    samples = [("train", "a.png"), ("val", "b.png"), ("train", "c.png")]
    write_lists(tmp_path, samples)
    assert read_names(tmp_path, "train") == ["a.png", "c.png"]
    assert read_names(tmp_path, "val") == ["b.png"]
    write_lists(tmp_path, [])
    assert read_names(tmp_path, "train") == read_names(tmp_path, "val") == []


def test_lists_that_cannot_be_finished_leave_those_of_before(tmp_path):
    write_names(tmp_path, "train", ["old.png"])

    def samples():
        yield "train", "new.png"
        yield "val", "new_2.png"
        raise ShmDataError("a recipe that is none")

    with pytest.raises(ShmDataError):
        write_lists(tmp_path, samples())
    assert read_names(tmp_path, "train") == ["old.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_lists_with_crlf_and_blank_lines_are_read(tmp_path):
    (tmp_path / "val.txt").write_bytes(b"a.png\r\n\r\nb.png\r\n")
    assert read_names(tmp_path, "val") == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a/b.png", "..", "..\\a.png"])
def test_a_list_that_leaves_the_data_set_is_refused(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"good.png\n{name}\n")
    fault = fault_of(read_names, tmp_path, "train")
    assert (fault.path, fault.found) == (str(tmp_path / "train.txt"), name)


@given(st.text(min_size=1))
def test_any_text_gives_a_file_name_on_one_line(text):
    stem = safe_stem(text)
    assert "/" not in stem and "\0" not in stem and len(stem.splitlines()) <= 1
    assert len(f"{stem}_99.png".encode("utf-8", "surrogateescape")) <= 255


@given(st.text("abc/_", min_size=1, max_size=20))
def test_a_harmless_stem_stays_as_it_is(text):
    assert safe_stem(text) == text.replace("/", "_")


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("CON", "_CON"),
        ("nul.tar", "_nul.tar"),
        ("com1", "_com1"),
        ("lpt\u00b9 .x", "_lpt\u00b9 .x"),
        ("console", "console"),
        ("a.con", "a.con"),
        ('10:30 "who?" <a|b>*', "10_30 _who__ _a_b__"),
        ("Zoë (2)", "Zoë (2)"),
    ],
)
def test_names_that_windows_forbids_are_changed_and_no_others(text, stem):
    assert safe_stem(text) == stem


def test_long_names_that_differ_at_the_end_stay_different():
    assert safe_stem("x" * 300 + "a") != safe_stem("x" * 300 + "b")


@given(st.lists(st.sampled_from(["a", "A", "a_2", "b"])))
def test_unused_names_never_collide_even_without_regard_to_case(stems):
    taken: dict[str, int] = {}
    given_out = [unused(stem, taken) for stem in stems]
    assert len({name.casefold() for name in given_out}) == len(stems)


def test_two_ways_to_compose_a_name_are_one_name():
    taken: dict[str, int] = {}
    composed, apart = unicodedata.normalize("NFC", "Zoë"), unicodedata.normalize("NFD", "Zoë")
    assert [unused(name, taken) for name in (composed, apart)] == [composed, f"{apart}_2"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_file(target) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    fault = fault_of(write_bytes, tmp_path / "absent" / "a.txt", b"x")
    assert isinstance(fault, WriteError) and fault.path == str(tmp_path / "absent" / "a.txt")


def test_only_samples_with_all_three_files_are_present(tmp_path):
    layout = Layout(tmp_path)
    assert layout.present() == set()
    for folder in layout.folders:
        folder.mkdir()
        (folder / "whole.png").write_bytes(b"x")
        (folder / "empty.png").write_bytes(b"x" if folder == layout.input else b"")
    (layout.input / "half.png").write_bytes(b"x")
    assert layout.present() == {"whole.png"}


def test_samples_of_another_format_have_lossless_alphas_and_trimaps(tmp_path):
    layout = Layout(tmp_path)
    assert [path.name for path in layout.sample("a.b.jpg")] == ["a.b.jpg", "a.b.png", "a.b.png"]
    for folder, name in zip(layout.folders, ("x.webp", "x.png", "x.png"), strict=True):
        folder.mkdir()
        (folder / name).write_bytes(b"x")
    assert layout.present(".webp") == {"x.webp"}
    assert layout.present() == layout.present(".jpg") == set()


def test_a_twin_is_the_same_file_and_replaces_what_was_there(tmp_path):
    (tmp_path / "first").write_bytes(b"data")
    (tmp_path / "old").write_bytes(b"half")
    for name in ("new", "old"):
        assert write_twin(tmp_path / name, b"data", tmp_path / "first")
        assert (tmp_path / name).samefile(tmp_path / "first")
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("why", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EINVAL, None])
def test_without_links_a_twin_is_a_copy(tmp_path, monkeypatch, why):
    def refuse(*_, **__):
        raise NotImplementedError if why is None else OSError(why, os.strerror(why))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "first").write_bytes(b"data")
    assert not write_twin(tmp_path / "new", b"data", tmp_path / "first")
    assert (tmp_path / "new").read_bytes() == b"data"


def test_a_twin_that_is_gone_is_written_anew(tmp_path):
    assert not write_twin(tmp_path / "new", b"data", tmp_path / "gone")
    assert (tmp_path / "new").read_bytes() == b"data"


@pytest.fixture(params=["as here", "as on Windows"])
def system(request, monkeypatch):
    """Both ways to lock a folder: itself, and where no folder can be opened, by a file in it."""
    monkeypatch.setattr(files, "_WINDOWS", request.param == "as on Windows")


@pytest.mark.usefixtures("system")
def test_those_who_share_a_folder_keep_out_who_wants_it_alone(tmp_path):
    with locked(tmp_path, shared=True), locked(tmp_path, shared=True), pytest.raises(BusyError), locked(tmp_path):
        pass


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("shared", [False, True])
def test_who_has_a_folder_alone_keeps_out_others_and_leaves_no_file(tmp_path, shared):
    with locked(tmp_path), pytest.raises(BusyError), locked(tmp_path, shared=shared):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_a_file_that_another_program_has_open_is_replaced_a_moment_later(tmp_path, monkeypatch):
    """Windows refuses as long as somebody, such as a virus scanner, holds it open."""
    refused = iter((True, True, False))
    rename = Path.replace

    def replace(source, target):
        if next(refused):
            raise PermissionError(errno.EACCES, "Access is denied")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "_WINDOWS", True)
    write_bytes(tmp_path / "a", b"new", durable=True)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_system_without_locks_is_trusted_and_that_is_logged(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("portalocker.portalocker.LOCKER", refuse)
    with locked(tmp_path):
        assert "without locks" in caplog.text


def test_a_folder_that_is_gone_cannot_be_locked(tmp_path):
    with pytest.raises(ShmDataError) as raised, locked(tmp_path / "gone"):
        pass
    assert raised.value.path == str(tmp_path / "gone")
