"""Parts, made in any order and at once, are one data set; what cannot become one is refused."""

import itertools
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import forked
import pytest
from faults import fault_of
from hypothesis import given
from hypothesis import strategies as st
from small import contents, matte, photo

from shm_data import images
from shm_data.building import build
from shm_data.building.build import composite, finish_parts
from shm_data.building.executors import Part, missing_parts
from shm_data.dataset.layout import Layout
from shm_data.dataset.store import Dataset
from shm_data.errors import BusyError
from shm_data.files import locked
from shm_data.options import CompositeOptions


def options(folder, **more):
    plain = {"inimg": folder / "photos", "inalp": folder / "alphas", "bgdir": (folder / "places",), "numbg": 3}
    return CompositeOptions(**plain | more)


def command(sources, out, *more):
    folders = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places"]
    return ["composite", *folders, "--numbg", 3, "--savedir", out, *more]


@pytest.fixture
def truth(sources, tmp_path):
    """What one run makes."""
    composite(options(sources), tmp_path / "truth")
    return contents(tmp_path / "truth")


def composite_part(options, root, part, **more):
    """Makes a part; gives the record and the numbers of the parts that are still missing."""
    manifest = composite(options, root, part, **more)
    dataset = Dataset(root)
    return manifest, missing_parts(dataset.recorded_plan(), dataset, part.count)


def made(root):
    return len(Layout(root).present())


@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_indices_of_all_parts_are_the_whole_plan(count, total):
    indices = [Part(number, count).indices(total) for number in range(1, count + 1)]
    assert list(itertools.chain.from_iterable(indices)) == list(range(total))
    assert max(map(len, indices)) - min(map(len, indices)) <= 1


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_any_order_makes_the_files_of_one_run(sources, tmp_path, truth, order):
    for number in order:
        manifest, missing = composite_part(options(sources), tmp_path / "out", Part(number, 3))
        assert missing == [other for other in sorted(order) if order.index(other) > order.index(number)]
        assert manifest.complete == (not missing)
        assert (tmp_path / "out" / "train.txt").exists() == (not missing)
    assert contents(tmp_path / "out") == truth


@pytest.mark.parametrize("count", [2, 5])
def test_parts_that_start_at_the_same_time_in_an_empty_folder_agree(sources, tmp_path, truth, count):
    def make(number):
        return forked.shm_data(*command(sources, tmp_path / "out", "--part", f"{number}/{count}"))

    with ThreadPoolExecutor(count) as machines:
        ended = list(machines.map(make, range(1, count + 1)))
    assert [each.code for each in ended] == [0] * count, ended
    assert contents(tmp_path / "out") == truth


def test_each_part_names_the_parts_that_are_missing(sources, tmp_path):
    first = forked.shm_data(*command(sources, tmp_path / "out", "--part", "2/3"))
    assert first.out == "Part 2 of 3 is made: 5 of 16 samples.\nParts that are missing: 1, 3.\n"
    assert made(tmp_path / "out") == 5
    forked.shm_data(*command(sources, tmp_path / "out", "--part", "1/3"))
    last = forked.shm_data(*command(sources, tmp_path / "out", "--part", "3/3"))
    assert last.out.startswith("Part 3 of 3 is made: 6 of 16 samples.\n16 samples (")
    assert last.out.endswith(f"The data set is in {tmp_path / 'out'}.\n")


def test_finish_names_what_is_missing_and_writes_no_lists(sources, tmp_path, truth):
    root = tmp_path / "out"
    composite_part(options(sources), root, Part(1, 2))
    early = forked.shm_data("finish", root)
    assert (early.code, early.out) == (1, "")
    names = [json.loads(line)["name"] for line in (root / "recipes.jsonl").read_text().splitlines()]
    assert early.err == f"Error: {root}: found 8 missing: {', '.join(names[8:13])}, ..., expected all 16 samples\n"
    assert not (root / "train.txt").exists()
    composite_part(options(sources), root, Part(2, 2))
    (root / "train.txt").unlink()
    late = forked.shm_data("finish", root)
    assert late.code == 0 and late.out.startswith("16 samples (")
    assert contents(root) == truth


def test_finish_requires_a_data_set(tmp_path):
    assert fault_of(finish_parts, tmp_path).found == "no dataset.json"
    assert fault_of(finish_parts, tmp_path / "absent").path == str(tmp_path / "absent")


def test_finish_is_refused_while_a_part_runs(sources, tmp_path):
    composite_part(options(sources), tmp_path / "out", Part(1, 1))
    with locked(tmp_path / "out", shared=True), pytest.raises(BusyError):
        finish_parts(tmp_path / "out")


@pytest.mark.parametrize("change", [2, 9, 20])
def test_a_killed_part_is_resumed(sources, tmp_path, truth, change):
    root = tmp_path / "out"
    composite_part(options(sources), root, Part(2, 2))
    killed = forked.shm_data(
        *command(sources, root, "--part", "1/2", "--jobs", 1),
        before=forked.AtChange(root, change, forked.Send(signal.SIGKILL)),
    )
    assert killed.code == -signal.SIGKILL
    assert not (root / "train.txt").exists()
    assert composite_part(options(sources), root, Part(1, 2))[1] == []
    assert contents(root) == truth


@pytest.mark.parametrize("change", range(1, 7))
def test_the_first_part_may_be_killed_while_it_writes_the_plan(sources, tmp_path, truth, change):
    root = tmp_path / "out"
    killed = forked.shm_data(
        *command(sources, root, "--part", "1/2"), before=forked.AtChange(root, change, forked.Send(signal.SIGKILL))
    )
    assert killed.code == -signal.SIGKILL
    for number in (2, 1):
        composite_part(options(sources), root, Part(number, 2))
    assert contents(root) == truth


def test_a_part_made_again_changes_nothing(sources, tmp_path, truth):
    root = tmp_path / "out"
    for number in (1, 2):
        composite_part(options(sources), root, Part(number, 2))
    times = {path: path.stat().st_mtime_ns for folder in Layout(root).folders for path in folder.iterdir()}
    assert composite_part(options(sources), root, Part(1, 2))[1] == []
    assert contents(root) == truth
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


@pytest.mark.parametrize("index", [0, 3, 4, 8])
def test_a_part_that_lost_a_sample_is_named(sources, tmp_path, truth, index):
    root = tmp_path / "out"
    for number in (1, 2, 3):
        composite_part(options(sources), root, Part(number, 3))
    names = [json.loads(line)["name"] for line in (root / "recipes.jsonl").read_text().splitlines()]
    (root / "trimap" / names[index]).unlink()
    lacking = 1 + sum(index >= Part(number, 3).indices(16).stop for number in (1, 2))
    assert composite_part(options(sources), root, Part(3, 3))[1] == [lacking]
    assert composite_part(options(sources), root, Part(lacking, 3))[1] == []
    assert contents(root) == truth


def test_there_may_be_more_parts_than_samples(sources, tmp_path, truth):
    root = tmp_path / "out"
    empty = next(number for number in range(1, 41) if not Part(number, 40).indices(16))
    composite_part(options(sources), root, Part(empty, 40))
    assert made(root) == 0
    for number in range(1, 41):
        composite_part(options(sources), root, Part(number, 40))
    assert contents(root) == truth


def test_parts_run_at_the_same_time(sources, tmp_path, truth, monkeypatch):
    monkeypatch.setattr(build, "_PATIENCE", 0.0)
    root = tmp_path / "out"

    def other(items, total, label):
        del total
        if label == "compositing":
            composite_part(options(sources), root, Part(2, 2))
            assert not (root / "train.txt").exists()
        return items

    assert composite_part(options(sources), root, Part(1, 2), progress=other)[1] == []
    assert contents(root) == truth


def test_a_part_leaves_the_lists_to_one_that_still_runs(sources, tmp_path, truth):
    root = tmp_path / "out"
    composite_part(options(sources), root, Part(1, 2))
    with locked(root, shared=True):
        assert composite_part(options(sources), root, Part(2, 2))[1] == []
        assert not (root / "train.txt").exists()
    finish_parts(root)
    assert contents(root) == truth


def test_a_run_of_all_is_refused_while_a_part_runs(sources, tmp_path, truth):
    root = tmp_path / "out"

    def refused(items, total, label):
        del total
        if label == "compositing":
            with pytest.raises(BusyError):
                composite(options(sources), root)
        return items

    composite_part(options(sources), root, Part(1, 2), progress=refused)
    composite(options(sources), root)
    assert contents(root) == truth


def test_a_part_is_refused_while_a_run_of_all_runs(sources, tmp_path, truth, monkeypatch):
    monkeypatch.setattr(build, "_PATIENCE", 0.0)
    monkeypatch.setattr(build, "_PAUSE", 0.01)
    root = tmp_path / "out"

    def refused(items, total, label):
        del total
        if label == "compositing":
            with pytest.raises(BusyError):
                composite_part(options(sources), root, Part(1, 2))
        return items

    composite(options(sources), root, progress=refused)
    assert contents(root) == truth


def test_a_part_waits_while_another_writes_the_plan_or_the_lists(sources, tmp_path, truth, monkeypatch, caplog):
    monkeypatch.setattr(build, "_PAUSE", 0.01)
    root = tmp_path / "out"
    root.mkdir()
    with locked(root):
        part = threading.Thread(target=composite_part, args=(options(sources), root, Part(1, 2)))
        part.start()
        until = time.monotonic() + 60
        while "this part waits for the plan" not in caplog.text:
            assert time.monotonic() < until, "it never logged that it waits"
            time.sleep(0.01)
    part.join()
    with locked(root):
        part = threading.Thread(target=composite_part, args=(options(sources), root, Part(2, 2)))
        part.start()
        time.sleep(0.3)
        assert part.is_alive() and made(root) == 8
    part.join()
    assert contents(root) == truth


@pytest.mark.parametrize("other", [{"numbg": 4}, {"seed": 1}, {"format": "jpg"}])
def test_parts_with_other_options_are_refused(sources, tmp_path, other):
    composite_part(options(sources), tmp_path / "out", Part(1, 2))
    (name,) = other
    assert name in fault_of(composite_part, options(sources, **other), tmp_path / "out", Part(2, 2)).found


def test_of_two_simultaneous_parts_with_different_options_one_is_refused(sources, tmp_path):
    def make(number):
        seed = ("--seed", number, "--part", f"{number}/2")
        return forked.shm_data(*command(sources, tmp_path / "out", *seed))

    with ThreadPoolExecutor(2) as machines:
        ended = list(machines.map(make, (1, 2)))
    assert sorted(each.code for each in ended) == [0, 1]
    assert "made with other options" in "".join(each.err for each in ended)


def test_photos_may_be_added_between_parts(sources, tmp_path):
    root = tmp_path / "out"
    composite_part(options(sources), root, Part(1, 2))
    images.write_png(sources / "photos" / "q.png", photo(7))
    images.write_png(sources / "alphas" / "q.png", matte(7))
    assert composite_part(options(sources), root, Part(2, 2))[1] == [1]
    assert composite_part(options(sources), root, Part(1, 2))[1] == []
    composite(options(sources), tmp_path / "whole")
    assert {name for name in contents(root)[0] if "/q" in name} == {
        name for name in contents(tmp_path / "whole")[0] if "/q" in name
    }
    before = contents(root)
    composite(options(sources), root)
    assert contents(root) == before


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1 / 3", "1.0/3"])
def test_an_invalid_part_is_one_sentence(sources, tmp_path, text):
    for more in ([], ["--dry-run"]):
        ended = forked.shm_data(*command(sources, tmp_path / "out", "--part", text, *more))
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == f"Error: --part: found {text}, expected K/N with K from 1 to N, such as 3/8\n".replace(
            "found , ", ""
        )
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_the_size_of_the_part(sources, tmp_path):
    ended = forked.shm_data(*command(sources, tmp_path / "out", "--part", "3/3", "--dry-run"))
    assert ended.code == 0, ended.err
    assert "16 samples (" in ended.out and "6 of the samples are part 3 of 3; of them all:" in ended.out
    assert not (tmp_path / "out").exists()


def test_the_last_part_clears_what_a_killed_one_left(sources, tmp_path, truth):
    root = tmp_path / "out"
    composite_part(options(sources), root, Part(1, 2))
    (root / "mask" / ".0123456789abcdef.shm-tmp").write_bytes(b"half")
    composite_part(options(sources), root, Part(2, 2))
    assert contents(root) == truth
