"""Shards: what is in them, that they are the same bytes however they came to be, and that training reads them."""

import errno
import functools
import gc
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import numpy as np
import pages
import pytest
import torch
import webdataset
from click.testing import CliRunner
from faults import fault_of
from small import photo, write_people

from cli.model import model
from shm_data import images
from shm_data.building.build import composite
from shm_data.dataset import shards
from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.shard_format import INDEX, Row, Table, read_index, read_table, table_of
from shm_data.dataset.shards import summary, write_shards
from shm_data.errors import BusyError, ShmDataError
from shm_data.files import locked
from shm_data.options import CompositeOptions
from shm_model.checkpoint import load
from shm_model.config import Config
from shm_model.dataset import TrainingSet
from shm_model.samples import kind_of, names_of, source_of
from shm_model.train import train

PEOPLE = ("a.b", "a.c", "ü日本", "plain", "__meta__", "d")


def made(folder, **more):
    """A small complete data set of people with odd names."""
    write_people(folder, PEOPLE)
    (folder / "places").mkdir()
    for number in range(6):
        images.write_png(folder / "places" / f"b.{number}.png", photo(50 + number, (128, 136)))
    options = CompositeOptions(
        inimg=folder / "photos", inalp=folder / "alphas", bgdir=(folder / "places",), numbg=2, trimap_size=9, **more
    )
    composite(options, folder / "set")
    return folder / "set"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set that no test changes: 15 samples in train, 3 in val."""
    return made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def packed(root, tmp_path_factory):
    """Its shards, which no test changes."""
    write_shards(root, tmp_path_factory.mktemp("packed") / "shards", maxcount=5)
    return tmp_path_factory.getbasetemp() / "packed0" / "shards"


@pytest.fixture
def copy(root, tmp_path):
    """A data set to change, with its hard links."""
    links = {}

    def copied(source, target):
        first = links.setdefault(os.stat(source).st_ino, target)
        return shutil.copy2(source, target) if first == target else os.link(first, target)

    return Path(shutil.copytree(root, tmp_path / "copy", copy_function=copied))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def streamed(folder, split, *decoded):
    """What webdataset gives, which leaves it to the collector to close files."""
    tars = [str(folder / shard.file) for shard in read_index(folder).shards if shard.split == split]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        dataset = webdataset.WebDataset(tars, shardshuffle=False)
        samples = list(dataset.decode(*decoded) if decoded else dataset)
        del dataset
        gc.collect()
    return samples


def fault(function, *arguments, **named):
    sentence = str(fault_of(function, *arguments, **named))
    assert len(sentence.splitlines()) == 1
    return sentence


# What is in them.


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_webdataset_finds_every_sample_once_with_the_bytes_of_its_files(tmp_path, extension):
    root, out = made(tmp_path, format=extension), tmp_path / "shards"
    write_shards(root, out, maxcount=4)
    recipes = [json.loads(line) for line in Layout(root).recipes.read_text().splitlines()]
    keys = set()
    for split in SPLITS:
        samples = streamed(out, split)
        records = [json.loads(sample["json"]) for sample in samples]
        assert sorted(each["name"] for each in records) == sorted(read_names(root, split)) != []
        assert all(each in recipes and each["split"] == split for each in records)
        for sample, each in zip(samples, records, strict=True):
            files = [path.read_bytes() for path in Layout(root).sample(each["name"])]
            assert [sample[f"image.{extension}"], sample["alpha.png"], sample["trimap.png"]] == files
            assert read_names(root, split)[int(sample["__key__"].partition("-")[2])] == each["name"]
            keys.add(sample["__key__"])
    assert len(keys) == len(recipes) == 18


def test_webdataset_decodes_them_to_the_pixels_of_the_files(root, packed):
    for sample in streamed(packed, "val", "rgb8"):
        image, alpha, _ = Layout(root).sample(sample["json"]["name"])
        assert np.array_equal(sample["image.png"], images.read_image(image))
        assert np.array_equal(sample["alpha.png"][..., 0], images.read_alpha(alpha))


def test_the_page_streams_them(root, packed, tmp_path):
    """In a process of its own, since webdataset leaves it to the collector to close files."""
    page = pages.read(Path(__file__).parents[1] / "docs" / "shards.md")
    (tmp_path / "shards").symlink_to(packed)
    code = next(block.text for block in page.blocks if block.language == "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = {line.split()[1] for line in done.stdout.splitlines()}
    assert names == set(read_names(root, "train")) and "train-00000000" in done.stdout and not done.stderr
    assert all(line.endswith("(48, 64, 3) (48, 64) (48, 64)") for line in done.stdout.splitlines())


def test_alphas_that_are_hard_links_are_whole_in_each_sample(root, packed):
    names = read_names(root, "train")
    assert any(os.stat(Layout(root).sample(name)[1]).st_nlink > 1 for name in names)
    for path in packed.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.isreg() and member.size > 0 and len(tar.extractfile(member).read()) == member.size
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_the_index_is_correct(packed):
    index = read_index(packed)
    assert index.complete and (index.counts.train, index.counts.val) == (15, 3)
    assert [shard.file for shard in index.shards] == sorted(path.name for path in packed.glob("*.tar"))
    for shard in index.shards:
        data = (packed / shard.file).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
        assert shard.samples == len(read_table(packed / shard.file).samples) <= 5
    assert summary(index).startswith("18 samples (15 train in 3 shards, 3 val in 1 shard), 0.")


def neighbours(names):
    """How often two samples of one person come one after the other."""
    people = [name.removesuffix(".png").partition("_b.")[0] for name in names]
    return sum(one == other for one, other in itertools.pairwise(people))


def test_the_order_is_drawn_and_not_that_of_the_list_whatever_the_size_of_a_shard(root, packed, tmp_path):
    write_shards(root, tmp_path / "one")
    one, other = (
        [json.loads(sample["json"])["name"] for sample in streamed(folder, "train")]
        for folder in (packed, tmp_path / "one")
    )
    listed = read_names(root, "train")
    assert one == other and sorted(one) == sorted(listed)
    assert neighbours(listed) == 10 and neighbours(one) < 6


def test_a_shard_is_bounded_in_bytes_too(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_BYTES", 40_000)
    index = write_shards(root, tmp_path / "out")
    assert len(index.shards) > 4 and all(shard.bytes <= 41_024 for shard in index.shards)
    monkeypatch.setattr(shards, "_MOST_BYTES", 1)
    assert {shard.samples for shard in write_shards(root, tmp_path / "each").shards} == {1}


def test_a_set_without_a_record_gives_name_and_split(root, copy, tmp_path):
    Layout(copy).manifest.unlink()
    Layout(copy).recipes.unlink()
    index = write_shards(copy, tmp_path / "out")
    assert index.seed == 0 and set(index.dataset) == {"train.txt", "val.txt"}
    records = [json.loads(sample["json"]) for split in SPLITS for sample in streamed(tmp_path / "out", split)]
    expected = [{"name": name, "split": split} for split in SPLITS for name in read_names(root, split)]
    assert sorted(records, key=str) == sorted(expected, key=str)


def test_any_name_of_a_set_made_elsewhere_gets_a_key_of_its_own(copy, tmp_path):
    Layout(copy).manifest.unlink()
    files = Layout(copy).sample(read_names(copy, "train")[0])
    names = ["x.y.png", "x.z.png", ".png.png", "a b.PNG", "x" * 240 + ".png", "X.Y.png", "x.y.png", "%s{0..9}.png"]
    for name in names:
        for source, target in zip(files, Layout(copy).sample(name), strict=True):
            if not target.exists():
                shutil.copy(source, target)
    Layout(copy).names_of("train").write_text("\n".join(names) + "\n")
    write_shards(copy, tmp_path / "out")
    samples = streamed(tmp_path / "out", "train")
    assert sorted(json.loads(sample["json"])["name"] for sample in samples) == sorted(names)
    assert len({sample["__key__"] for sample in samples}) == len(names)
    assert list(source_of("shards", tmp_path / "out", "train").names) == names


# The same bytes.


def test_neither_threads_nor_folders_change_a_byte(copy, packed, tmp_path):
    for jobs in (1, 4):
        write_shards(copy, tmp_path / str(jobs), maxcount=5, jobs=jobs)
        assert contents(tmp_path / str(jobs)) == contents(packed)


def test_a_second_run_changes_nothing(root, packed, tmp_path):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert write_shards(root, out, maxcount=5) == read_index(packed)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("change", [1, 2, 4, 5, 6, 8, 11, 14, 19, 21])
def test_a_killed_run_is_resumed_to_the_same_bytes(root, packed, tmp_path, change):
    out = tmp_path / "out"
    command = ["shards", "--data", root, "--savedir", out, "--maxcount", 5, "--jobs", 1]
    killed = forked.shm_data(*command, before=forked.AtChange(out, change, forked.Send(signal.SIGKILL)))
    assert killed.code == -signal.SIGKILL
    there = contents(out) if out.exists() else {}
    whole = {name: data for name, data in there.items() if not name.startswith(".") and name != INDEX}
    assert whole.items() <= contents(packed).items()
    if INDEX in there:
        assert "not complete" in fault(source_of, "shards", out, "train")
    times = {name: (out / name).stat().st_mtime_ns for name in whole if table_of(out / name).name in whole}
    again = forked.shm_data(*command)
    assert again.code == 0, again.err
    assert contents(out) == contents(packed)
    assert all((out / name).stat().st_mtime_ns == time for name, time in times.items())


def test_a_full_disk_is_one_sentence_and_the_same_command_resumes(root, packed, tmp_path):
    out = tmp_path / "out"
    command = ["shards", "--data", root, "--savedir", out, "--maxcount", 5, "--jobs", 1]
    full = forked.AtChange(out, 8, forked.Fail(errno.ENOSPC), lasting=True)
    ended = forked.shm_data(*command, before=full)
    assert ended.code == 1 and "No space left on device" in ended.err and "Traceback" not in ended.err
    assert forked.shm_data(*command).out.endswith(f"The shards are in {out}.\n")
    assert contents(out) == contents(packed)


def test_a_lost_shard_is_written_again(root, packed, tmp_path):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    (out / "train-000001.tar").unlink()
    (out / "val-000000.tar").write_bytes(b"short")
    (out / "train-000000.json").unlink()
    write_shards(root, out, maxcount=5)
    assert contents(out) == contents(packed)


# What is refused.


def test_a_data_set_that_is_not_complete_is_refused(copy, tmp_path):
    record = Layout(copy).manifest
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    assert "a data set that is not complete" in fault(write_shards, copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert str(tmp_path / "absent") in fault(write_shards, tmp_path / "absent", tmp_path / "out")


@pytest.mark.parametrize("inside", ["", "shards", "input", "mask/deep"])
def test_shards_inside_the_data_set_are_refused(copy, inside):
    before = sorted(copy.rglob("*"))
    assert "inside" in fault(write_shards, copy, copy / inside)
    assert sorted(copy.rglob("*")) == before


def test_another_data_set_in_the_folder_is_refused(copy, packed, tmp_path):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    before = contents(out)
    assert "found --maxcount 4, expected 5 as before" in fault(write_shards, copy, out, maxcount=4)
    names = read_names(copy, "train")
    Layout(copy).names_of("train").write_text("".join(f"{name}\n" for name in names[:-1]))
    sentence = fault(write_shards, copy, out, maxcount=5)
    assert "holds shards of another data set, or of this one before it changed: found another train.txt" in sentence
    (out / INDEX).unlink()
    assert "holds shards without index.json" in fault(write_shards, copy, out, maxcount=5)
    assert contents(out).items() < before.items()


def test_a_picture_that_changed_its_size_on_the_disk_is_refused(copy, packed, tmp_path):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    image = Layout(copy).sample(read_names(copy, "train")[0])[0]
    images.write_png(image, photo(99, (56, 64)))
    assert "found files of other sizes in the data set" in fault(write_shards, copy, out, maxcount=5)
    assert contents(out) == contents(packed)


def test_missing_files_are_named(copy, tmp_path):
    one, other = read_names(copy, "train")[1:3]
    Layout(copy).sample(one)[2].unlink()
    assert f"sample {one} of {copy}: found no trimap/{one}, expected the file" in fault(
        write_shards, copy, tmp_path / "o"
    )
    Layout(copy).sample(other)[0].write_bytes(b"")
    with pytest.raises(ShmDataError) as caught:
        write_shards(copy, tmp_path / "o")
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of 15 samples in train cannot be packed:" and f"found no input/{other}" in lines[2]


def test_a_file_that_changes_while_it_is_read_is_named(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_content", functools.partial(_longer, shards._content))
    assert "as when packing began" in fault(write_shards, copy, tmp_path / "out", jobs=1)
    assert not list((tmp_path / "out").glob("*.tar")) and not list((tmp_path / "out").glob(".*"))


def _longer(content, path):
    return content(path) + b"more" * (path.suffix == ".png")


@pytest.mark.parametrize("name", ["noextension", "a.png~", "a.p n g", "a.pñg", "a." + "x" * 9])
def test_names_that_no_member_can_have_are_named(copy, tmp_path, name):
    Layout(copy).manifest.unlink()
    Layout(copy).names_of("val").write_text(f"{name}\n")
    assert "expected a file name with an extension such as .png" in fault(write_shards, copy, tmp_path / "out")


def test_a_name_that_is_not_utf_8_is_named(copy, tmp_path):
    Layout(copy).manifest.unlink()
    Layout(copy).names_of("val").write_bytes(b"caf\xe9.png\n")
    assert "expected a name in UTF-8" in fault(write_shards, copy, tmp_path / "out")


def test_two_runs_at_once_are_refused(root, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with locked(out), pytest.raises(BusyError):
        write_shards(root, out)
    with locked(root), pytest.raises(BusyError):
        write_shards(root, out)
    assert not list(out.iterdir())


def test_one_data_set_may_be_packed_into_two_folders_at_once(root, packed, tmp_path):
    start = threading.Barrier(2)

    def pack(name):
        start.wait()
        return write_shards(root, tmp_path / name, maxcount=5)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(pack, ("one", "other")))
    assert contents(tmp_path / "one") == contents(tmp_path / "other") == contents(packed)


# How they are read.


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_the_samples_are_those_of_the_layout_in_its_order(tmp_path, extension):
    root, out = made(tmp_path, format=extension), tmp_path / "shards"
    write_shards(root, out, maxcount=4)
    assert (kind_of(root), kind_of(out)) == ("layout", "shards")
    for split in SPLITS:
        here, there = source_of("layout", root, split), source_of("shards", out, split)
        assert list(here.names) == list(there.names) == names_of(root, split)
        for index in range(len(here.names)):
            assert all(map(np.array_equal, here.read(index), there.read(index)))


def spoiled(out, how):
    """Breaks a folder of shards so that no size changes if possible; what the sentence names."""
    tar, index = out / "train-000001.tar", out / INDEX
    if how == "missing":
        tar.unlink()
    elif how == "cut short":
        tar.write_bytes(tar.read_bytes()[:-700])
    elif how == "longer":
        tar.write_bytes(tar.read_bytes() + b"x")
    elif how == "no table":
        table_of(tar).unlink()
    elif how == "table of another":
        shutil.copy(table_of(out / "train-000000.tar"), table_of(tar))
    elif how == "broken table":
        table_of(tar).write_text('{"sha256": 3}')
    elif how == "huge":
        table = read_table(tar)
        rows = (table.samples[0]._replace(image=2**31), *table.samples[1:])
        table_of(tar).write_text(Table(sha256=table.sha256, samples=rows).model_dump_json())
    elif how == "twice":
        table = read_table(tar)
        rows = (table.samples[0]._replace(position=table.samples[1].position), *table.samples[1:])
        table_of(tar).write_text(Table(sha256=table.sha256, samples=rows).model_dump_json())
        return out
    elif how == "elsewhere":
        index.write_text(index.read_text().replace("train-000001.tar", "../train-000001.tar"))
        return index
    elif how == "no index":
        index.unlink()
        return out
    elif how == "broken index":
        index.write_text(index.read_text()[:-9])
        return index
    return tar.with_suffix("")


HOW = "missing,cut short,longer,no table,table of another,broken table,huge,twice,elsewhere,no index,broken index"


@pytest.mark.parametrize("how", HOW.split(","))
def test_another_folder_than_one_of_shards_is_one_sentence(packed, tmp_path, how):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    named = spoiled(out, how)
    assert str(named) in fault(source_of, "shards", out, "train")


def test_a_split_without_samples_is_one_sentence(tmp_path):
    root = made(tmp_path, trainsplit=1)
    write_shards(root, tmp_path / "out")
    assert "found no samples in val" in fault(source_of, "shards", tmp_path / "out", "val")


@pytest.mark.parametrize("how", ["swapped", "zeros", "gone", "cut"])
def test_a_shard_that_changes_under_a_reader_is_named(packed, tmp_path, how):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    source, tar = source_of("shards", out, "train"), out / "train-000001.tar"
    index = read_table(tar).samples[-1].position
    size = tar.stat().st_size
    data = {"swapped": (out / "train-000000.tar").read_bytes(), "zeros": bytes(size), "cut": tar.read_bytes()[:-6000]}
    tar.unlink() if how == "gone" else tar.write_bytes(data[how])
    sentence = fault(source.read, index)
    assert str(tar) in sentence and (how == "gone" or source.names[index] in sentence)


def test_a_broken_picture_in_a_shard_is_named(packed, tmp_path):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    source, tar = source_of("shards", out, "train"), out / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 255
    tar.write_bytes(data)
    position = read_table(tar).samples[0].position
    assert f"{tar}: train-{position:08}.image.png" in fault(source.read, position)


def test_a_row_is_checked_before_a_byte_is_read():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Table(sha256="0" * 64, samples=(Row(0, "a.png", -5, 1, 1, 1),))
    with pytest.raises(ValueError, match="a file name"):
        Table(sha256="0" * 64, samples=(Row(0, "../a.png", 1, 1, 1, 1),))


# What training makes of them.


@pytest.fixture
def one_thread():
    """Small tensors on shared cores: threads would only wait for each other, and sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(data, data_root, savedir, **more):
    small = {
        "cuda": False, "mnet_width": 0.125, "mnet_size": 32, "patch_sizes": (32, 48), "batch_size": 4, "lr": 2e-3,
        "num_workers": 0, "max_epoch": 2, "sample_period": 100, "checkpoint_period": 100,
    }  # fmt: skip
    return Config(mode="pretrain_mnet", data=data, data_root=data_root, savedir=savedir, **small | more)


def logged(savedir):
    return (savedir / "log.jsonl").read_text().splitlines()


def test_training_from_shards_repeats_the_losses_of_the_layout_with_any_workers_and_after_a_stop(
    copy, tmp_path, one_thread
):
    out, shelf = tmp_path / "runs", tmp_path / "shards"
    last = train(config("layout", copy, out / "layout")).last
    write_shards(copy, shelf, maxcount=4)
    shutil.rmtree(copy)  # a machine may have nothing but the shards
    train(config("shards", shelf, out / "workers", num_workers=2))
    train(config("shards", shelf, out / "stopped", max_epoch=1))
    assert logged(out / "stopped")
    again = train(config("shards", shelf, out / "stopped"))
    assert (again.begun, again.done) == (1, 2)
    assert logged(out / "layout") == logged(out / "workers") == logged(out / "stopped")
    one, other = load(last), load(again.last)
    assert one.best == other.best and all(torch.equal(one.network[key], other.network[key]) for key in one.network)


def test_evaluate_knows_shards_by_their_index_and_scores_as_on_the_layout(root, packed, tmp_path, one_thread):
    last = train(config("shards", packed, tmp_path, max_epoch=1, eval=False)).last
    scores = []
    for data in (root, packed):
        command = ["evaluate", "--checkpoint", last, "--data", data, "--savedir", tmp_path / data.name]
        result = CliRunner().invoke(model, [*map(str, command)])
        assert result.exit_code == 0, result.output
        scores.append(result.stdout.partition("mean of 3 images")[0])
    assert scores[0] == scores[1] and "SAD/1000" in scores[0]
    for name in ("scores.csv", "scores.json", "samples.png"):
        assert (tmp_path / root.name / name).read_bytes() == (tmp_path / packed.name / name).read_bytes()


def test_a_broken_sample_in_a_shard_stops_training_with_its_name(packed, tmp_path, one_thread):
    out = Path(shutil.copytree(packed, tmp_path / "out"))
    tar = out / "train-000002.tar"
    tar.write_bytes(bytes(tar.stat().st_size))
    assert f"{tar}: found something else, expected train-" in fault(train, config("shards", out, tmp_path / "run"))


def test_training_needs_data_shards_for_shards(root, packed, tmp_path):
    assert str(packed / "train.txt") in fault(TrainingSet, config("layout", packed, tmp_path))
    assert f"{root}: found no index.json" in fault(TrainingSet, config("shards", root, tmp_path))
