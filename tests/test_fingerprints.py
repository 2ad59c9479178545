"""A file is what it was if its content is; size and time are believed only when they both agree."""

import os

from shm_data.dataset.fingerprints import changed, fingerprint_of


def write(path, data, time=None):
    path.write_bytes(data)
    if time is not None:
        os.utime(path, ns=(time, time))
    return fingerprint_of(path)


def test_an_untouched_file_is_what_it_was(tmp_path):
    then = write(tmp_path / "a", b"one")
    assert changed(then, tmp_path / "a") is None
    assert changed(then, tmp_path / "a", verify=True) is None


def test_a_copy_with_another_time_is_what_it_was(tmp_path):
    then = write(tmp_path / "a", b"one", 10**18)
    write(tmp_path / "b", b"one", 2 * 10**18)
    assert changed(then, tmp_path / "b") is None


def test_another_size_and_other_content_are_reported(tmp_path):
    then = write(tmp_path / "a", b"one", 10**18)
    write(tmp_path / "longer", b"one more", 10**18)
    write(tmp_path / "other", b"two", 2 * 10**18)
    assert changed(then, tmp_path / "longer") == ("8 bytes", "3 bytes as recorded")
    assert changed(then, tmp_path / "other") == ("other content of the same size", "the recorded content")
    assert changed(then, tmp_path / "gone") == ("nothing", "3 bytes")


def test_what_hides_behind_size_and_time_is_found_by_verifying_only(tmp_path):
    then = write(tmp_path / "a", b"one", 10**18)
    write(tmp_path / "a", b"two", 10**18)
    assert changed(then, tmp_path / "a") is None
    assert changed(then, tmp_path / "a", verify=True) is not None
