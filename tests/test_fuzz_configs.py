"""Configurations, checkpoints and records may be broken or hostile: none is run, and every fault is reported."""

import io
import json
import math
import os
import pickle
import re
import struct
import zipfile

import pytest
import torch
from fuzz import fault_of, in_time, no_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shm_data.building.build import composite
from shm_data.dataset.layout import Layout
from shm_data.dataset.manifest import read_manifest
from shm_data.dataset.recipes import read_recipes
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions
from shm_model import checkpoint
from shm_model.config import Config, load_config
from shm_model.distributed import ProcessContext
from shm_model.resnet import ResNet, load_resnet
from shm_model.run import start_run

ONE_FOLDER = [HealthCheck.function_scoped_fixture]


# Configurations.

BASE = "mode: pretrain_tnet\ndata_root: d\n"


def nested(opening, closing, depth):
    return opening * depth + "1" + closing * depth


def multiplied(first, line):
    """Nine levels, each of nine times the one before."""
    levels = zip("bcdefghij", "abcdefghi", strict=True)
    return first + "".join(line.format(one, ",".join([f"*{other}"] * 9)) for one, other in levels)


TAKEN = {
    "plain": BASE,
    "mark": "\ufeff" + BASE,
    "windows line ends": BASE.replace("\n", "\r\n"),
    "comments": f"# first\n{BASE}# last",
    "json": '{"mode": "pretrain_tnet", "data_root": "d"}',
    "explicit document": f"---\n{BASE}...\n",
    "another name of a value": BASE + "savedir: &x d\ntnet_checkpoint: *x\n",
    "numbers as texts": BASE + 'lr: "1e-3"\nbatch_size: "4"\n',
    "names from all over": BASE + "savedir: Zoë/日本語/😀\n",
}
REFUSED = {
    "nothing": "",
    "spaces": " \n\n",
    "comment alone": "# mode: x",
    "list": "- mode: pretrain_tnet",
    "text": "pretrain_tnet",
    "number": "7",
    "set": "!!set {mode, data_root}",
    "pairs": "!!pairs [mode: x]",
    "two documents": f"{BASE}---\n{BASE}",
    "latin-1": b"mode: pretrain_tnet\ndata_root: caf\xe9\n",
    "utf-16": BASE.encode("utf-16"),
    "noise": bytes(range(256)) * 4,
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "zeros": bytes(100),
    "tab": "\tmode: x",
    "unclosed": "mode: [",
    "no such alias": "mode: *x",
    "unknown tag": BASE + "lr: !foo 1",
    "function": "!!python/object/apply:os.mkdir ['{mark}']",
    "function as value": BASE + "lr: !!python/object/apply:os.mkdir ['{mark}']",
    "function, new": BASE + "lr: !!python/object/new:os.mkdir ['{mark}']",
    "function by name": BASE + "lr: !!python/name:os.mkdir",
    "module": BASE + "lr: !!python/module:os",
    "unknown key": BASE + "batchsize: 3",
    "key of number": BASE + "1: 2",
    "key of nothing": BASE + "~: 2",
    "key of list": BASE + "? [1]\n: 2",
    "key of 100,000 letters": BASE + f"? {'k' * 100_000}\n: 2",
    "key twice": BASE + "lr: 1.0e-4\nlr: 2.0e-4\n",
    "merging": f"<<: {{lr: 1}}\n{BASE}",
    "bomb": multiplied("a: &a [x,x,x,x,x,x,x,x,x]\n", "{0}: &{0} [{1}]\n"),
    "bomb as value": multiplied("a: &a [x,x,x,x,x,x,x,x,x]\n", "{0}: &{0} [{1}]\n").replace("j:", "mode:"),
    "bomb under one key": BASE + "lr:\n" + multiplied("  - &a [x,x]\n", "  - &{0} [{1}]\n"),
    "merging bomb": multiplied("a: &a {k: v}\n", "{0}: &{0} {{<<: [{1}]}}\n"),
    "itself": f"lr: &a [*a]\n{BASE}",
    "itself in a mapping": f"lr: &a {{x: *a}}\n{BASE}",
    "deep lists": BASE + "lr: " + nested("[", "]", 20_000),
    "deep mappings": BASE + "lr: " + nested("{a: ", "}", 5000),
    "deep blocks": "".join(" " * depth + "a:\n" for depth in range(1500)),
    "seed of 5000 digits": BASE + "seed: " + "9" * 5000,
    "seed of 5000 hexadecimal digits": BASE + "seed: 0x" + "f" * 5000,
    "seed of 30 digits": BASE + "seed: " + "9" * 30,
    "batch of 30 digits": BASE + "batch_size: " + "9" * 30,
    "size": BASE + "tnet_size: 1000000000",
    "width": BASE + "mnet_width: 1.0e+9",
    "workers": BASE + "num_workers: 1000000",
    "negative": BASE + "batch_size: -1",
    "zero": BASE + "max_epoch: 0",
    "fraction": BASE + "batch_size: 1.5",
    "not a number": BASE + "lr: .nan",
    "infinite": BASE + "lr: .inf",
    "infinite as text": BASE + "lr: 1e999",
    "minus infinite": BASE + "weight_decay: -.inf",
    "no such date": BASE + "savedir: 2020-99-99",
    "date": BASE + "savedir: 2020-09-09",
    "odd time": BASE + "savedir: !!timestamp x",
    "odd truth": BASE + "eval: !!bool maybe",
    "odd number": BASE + "lr: !!float x",
    "odd integer": BASE + "seed: !!int x",
    "bytes": BASE + "mode: !!binary aGVsbG8=",
    "null byte in a path": 'mode: pretrain_tnet\ndata_root: "a\\0b"',
    "half a sign": 'mode: pretrain_tnet\ndata_root: "\\ud800"\nbackbone: "\\ud800"',
    "path of truth": BASE + "savedir: true",
    "path of mapping": BASE + "savedir: {a: 1}",
    "sizes of text": BASE + "patch_sizes: [64, x]",
    "no sizes": BASE + "patch_sizes: []",
    "sizes without end": BASE + f"patch_sizes: {[64] * 5000}",
    "value of 100,000 letters": "mode: " + "v" * 100_000,
    "a way out": BASE + "checkpoint_name: ../x.pt",
    "dots": BASE + "checkpoint_name: '..'",
    "no checkpoint": "mode: end_to_end\ndata_root: d",
}


def config(tmp_path, content):
    path = tmp_path / "run.yaml"
    content = content.replace("{mark}", str(tmp_path / "mark")) if isinstance(content, str) else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize("kind", TAKEN)
def test_a_configuration_is_read_however_it_is_written(tmp_path, kind):
    assert load_config(config(tmp_path, TAKEN[kind])).mode == "pretrain_tnet"


@pytest.mark.parametrize("kind", REFUSED)
def test_a_broken_configuration_is_explained_in_one_sentence(tmp_path, kind):
    path = config(tmp_path, REFUSED[kind])
    assert fault_of(load_config, path, named=path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["absent", "folder", "dangling", "loop", "below a file"])
def test_a_configuration_that_is_no_file_is_named(tmp_path, kind):
    path = no_file(tmp_path / "run.yaml", kind)
    assert fault_of(load_config, path, named=path)


@pytest.mark.parametrize(
    "override",
    [
        *("lr", "=1", "lr=[", "lr=!!python/object/apply:os.mkdir ['x']", "seed=" + "9" * 5000, "lr=" + "[" * 5000),
        *("lr=.inf", "eval=!!bool x", "savedir=2020-99-99", 'data_root="a\\0b"', "lr=*x", "unknown=1", "mode="),
    ],
    ids=lambda text: text[:30],
)
def test_a_broken_override_is_explained_in_one_sentence(tmp_path, override):
    path = config(tmp_path, BASE)
    assert fault_of(load_config, path, [override], named=override.partition("=")[0])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=200, deadline=None, suppress_health_check=ONE_FOLDER)
@given(st.sampled_from(sorted(Config.model_fields)), ANYTHING)
def test_any_value_of_any_key_is_accepted_or_refused(tmp_path, key, value):
    path = config(tmp_path, json.dumps({"mode": "pretrain_mnet", "data_root": "d"} | {key: value}))
    if not fault_of(load_config, path, named=path):
        kept = getattr(load_config(path), key)
        assert not isinstance(kept, float) or math.isfinite(kept)


@settings(derandomize=True, max_examples=200, deadline=None, suppress_health_check=ONE_FOLDER)
@given(st.binary(max_size=80) | st.text(alphabet="abm:-[]{},&*!|>'\"#%?\n <\t1.e", max_size=60))
def test_any_text_is_accepted_or_refused(tmp_path, content):
    path = config(tmp_path, content)
    assert fault_of(load_config, path, named=path)


# Checkpoints.


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


SMALL = Config(mode="pretrain_mnet", data_root="d", mnet_width=0.0625)
torch.manual_seed(0)
WEIGHTS = checkpoint.new_network(SMALL).state_dict()
FIRST = next(name for name, value in WEIGHTS.items() if value.is_floating_point())
CONTENT = {
    "config": SMALL.model_dump(mode="json"),
    "network": WEIGHTS,
    "optimizer": {},
    "scaler": {},
    "epoch": 1,
    "best": 0.5,
}


def stored(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def changed(**fields):
    return stored(CONTENT | fields)


def weights(**entries):
    return changed(network=dict(WEIGHTS) | entries)


def settings_of(**keys):
    return changed(config=CONTENT["config"] | keys)


def zipped(data, change, kind=zipfile.ZIP_STORED):
    """The same file with its parts changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", kind) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def doubled(levels):
    value = [1]
    for _ in range(levels):
        value = [value] * 9
    return value


GOOD = stored(CONTENT)
STRANGE = {
    "nothing": b"",
    "text": b"weights\n",
    "zeros": bytes(1000),
    "noise": bytes(range(256)) * 10,
    "html": b"<!doctype html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(90),
    "empty archive": b"PK\x05\x06" + bytes(18),
    "half an archive": b"PK\x03\x04" + bytes(100),
    "old archive": b"\x1f\x8b\x08" + bytes(50),
    "plain pickle": pickle.dumps(CONTENT["config"]),
    "a text of 2 GB": b"\x80\x02X\xff\xff\xff\x7f" + b"a" * 10,
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"a" * 10,
    "bytes of 1 TB": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"aa",
    "list": stored([1]),
    "tensor": stored(torch.zeros(3)),
    "other keys": stored({"state_dict": WEIGHTS}),
    "keys of numbers": stored({1: 2}),
    "weights alone": stored(WEIGHTS),
    "a field too few": stored({name: value for name, value in CONTENT.items() if name != "best"}),
    "a field too many": changed(more=1),
    "epoch of text": changed(epoch="1"),
    "best of text": changed(best="1"),
    "optimiser of list": changed(optimizer=[1]),
    "network of list": changed(network=[1]),
    "network of nothing": changed(network=None),
    "network of tensor": changed(network=torch.zeros(3)),
    "no weights": changed(network={}),
    "weights by number": changed(network={1: torch.zeros(1)}),
    "a weight of number": weights(**{FIRST: 5}),
    "a weight of another shape": weights(**{FIRST: torch.zeros(3)}),
    "a weight too few": changed(network={name: value for name, value in WEIGHTS.items() if name != FIRST}),
    "a weight too many": weights(more=torch.zeros(1)),
    "a weight that is none": weights(**{FIRST: torch.full_like(WEIGHTS[FIRST], math.nan)}),
    "a weight without end": weights(**{FIRST: torch.full_like(WEIGHTS[FIRST], math.inf)}),
    "complex weights": weights(**{FIRST: WEIGHTS[FIRST].to(torch.complex64)}),
    "whole weights": weights(**{FIRST: WEIGHTS[FIRST].to(torch.int64)}),
    "sparse weights": weights(**{FIRST: WEIGHTS[FIRST].to_sparse()}),
    "weights that are nowhere": weights(**{FIRST: torch.zeros(WEIGHTS[FIRST].shape, device="meta")}),
    "a weight of a terabyte": weights(**{FIRST: torch.zeros(1).as_strided((10**6, 10**6), (0, 0))}),
    "settings of text": changed(config="x"),
    "no settings": changed(config={}),
    "settings by number": changed(config={1: 2}),
    "unknown settings": settings_of(zzz=1),
    "another network": settings_of(mode="pretrain_tnet"),
    "another width": settings_of(mnet_width=0.125),
    "a huge width": settings_of(mnet_width=1e9),
    "a width without end": settings_of(mnet_width=math.inf),
    "settings that multiply": settings_of(mode=doubled(12)),
    "a bomb of numbers": zipped(
        GOOD, lambda name, data: bytes(50_000_000) if "/data/0" in name else data, zipfile.ZIP_DEFLATED
    ),
    "a bomb of pickles": zipped(
        GOOD,
        lambda name, data: b"\x80\x02" + b"N0" * 10_000_000 if name.endswith(".pkl") else data,
        zipfile.ZIP_DEFLATED,
    ),
    "half the numbers": zipped(GOOD, lambda name, data: data[: len(data) // 2] if "/data/" in name else data),
    "no numbers": zipped(GOOD, lambda name, data: b"" if "/data/" in name else data),
}


def restored(path):
    return checkpoint.restore_network(checkpoint.load(path), path)


def test_a_whole_checkpoint_is_restored(tmp_path):
    (tmp_path / "x.pt").write_bytes(GOOD)
    assert all(torch.equal(value, WEIGHTS[name]) for name, value in restored(tmp_path / "x.pt").state_dict().items())


@pytest.mark.parametrize("kind", STRANGE)
def test_a_file_that_is_no_checkpoint_is_explained_in_one_sentence(tmp_path, kind):
    path = tmp_path / "x.pt"
    path.write_bytes(STRANGE[kind])
    assert fault_of(restored, path, named=path)


@pytest.mark.parametrize("field", ["config", "network", "optimizer", "epoch", "everything"])
@pytest.mark.parametrize("how", ["zip", "old", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, field, how):
    evil = Evil(tmp_path / "mark")
    content = evil if field == "everything" else CONTENT | {field: evil}
    path = tmp_path / "x.pt"
    plain = content if field == "everything" else content | {"network": {}} | {field: evil}
    options = {"_use_new_zipfile_serialization": how == "zip"}
    path.write_bytes(pickle.dumps(plain) if how == "pickle" else stored(content, **options))
    assert fault_of(restored, path, named=path)
    assert fault_of(load_resnet, ResNet("resnet18"), path, named=path)
    assert not (tmp_path / "mark").exists()
    pickle.loads(pickle.dumps(evil))  # which runs it
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("new", [True, False])
def test_a_checkpoint_cut_short_is_named(tmp_path, share, new):
    whole = stored(CONTENT, _use_new_zipfile_serialization=new)
    path = tmp_path / "x.pt"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert fault_of(restored, path, named=path)


@settings(derandomize=True, max_examples=80, deadline=None, suppress_health_check=ONE_FOLDER)
@given(st.floats(0, 1), st.binary(min_size=1, max_size=8))
def test_overwritten_bytes_in_a_checkpoint_are_found_or_harmless(tmp_path, place, noise):
    data = bytearray(GOOD)
    start = int(place * (len(data) - len(noise)))
    data[start : start + len(noise)] = noise
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    if not fault_of(restored, path, named=path):
        network = restored(path)
        assert all(torch.equal(value, WEIGHTS[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "dangling", "loop", "device", "too long"])
def test_a_checkpoint_that_is_no_file_is_named(tmp_path, kind):
    path = no_file(tmp_path / "x.pt", kind)
    assert fault_of(restored, path, named=path)
    assert fault_of(load_resnet, ResNet("resnet18"), path, named=path)


@pytest.mark.parametrize("optimizer", [{"state": 1}, {"state": {0: 1}}, {"other": {}}], ids=str)
def test_a_run_with_the_state_of_another_optimiser_is_not_resumed(tmp_path, optimizer):
    small = SMALL.model_copy(update={"savedir": tmp_path, "cuda": False})
    (tmp_path / "last.pt").write_bytes(changed(config=small.model_dump(mode="json"), optimizer=optimizer))
    place = ProcessContext(torch.device("cpu"), 0, 1)
    assert fault_of(start_run, small, place, named=tmp_path / "last.pt")


# The records of a data set.


@pytest.fixture
def made(sources, tmp_path):
    options = CompositeOptions(inimg=sources / "photos", inalp=sources / "alphas", numbg=0)
    composite(options, tmp_path / "out")
    return options, tmp_path / "out"


DEEP = "[" * 100_000 + "]" * 100_000
RECORDS = {
    "nothing": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "all but one": lambda text: text.rstrip()[:-1],
    "text": lambda text: "no JSON",
    "zeros": lambda text: "\0" * len(text),
    "null": lambda text: "null",
    "list": lambda text: f"[{text}]",
    "number": lambda text: "7",
    "deep": lambda text: DEEP,
    "deep inside": lambda text: '{"complete": ' + DEEP + "}",
    "huge number": lambda text: re.sub(r": \d+", ": 1" + "0" * 5000, text, count=1),
    "infinity": lambda text: re.sub(r": \d+", ": 1e999", text, count=1),
    "nan": lambda text: re.sub(r": \d+", ": NaN", text, count=1),
    "another kind": lambda text: re.sub(r": \d+", ": {}", text, count=1),
    "latin-1": lambda text: text.replace("p0", "caf\udce9", 1),
    "mark": lambda text: "\ufeff" + text,
}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("record", ["dataset.json", "recipes.jsonl"])
def test_a_broken_record_is_named_and_nothing_is_touched(made, record, kind):
    options, root = made
    path = root / record
    text = path.read_text()
    path.write_bytes(RECORDS[kind](text).encode("utf-8", "surrogateescape"))
    assert path.read_text(errors="replace") != text
    before = {each: each.read_bytes() for each in root.rglob("*") if each.is_file()}
    assert fault_of(composite, options, root, named=path)
    assert fault_of(read_manifest, Layout(root), named=path)
    assert before == {each: each.read_bytes() for each in root.rglob("*") if each.is_file()}


LINES = {
    "nothing": "",
    "text": "x",
    "null": "null",
    "number": "7",
    "list": "[]",
    "object": "{}",
    "deep": DEEP,
    "deep object": nested('{"a":', "}", 50_000),
    "huge number": '{"name": ' + "9" * 5000 + "}",
    "zeros": "\0" * 50,
    "latin-1": "caf\udce9",
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_that_is_no_recipe_is_named_by_its_number(made, kind):
    path = made[1] / "recipes.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_bytes(f"{first}\n{LINES[kind]}\n".encode("utf-8", "surrogateescape"))
    with in_time():
        recipes = read_recipes(path)
        next(recipes)
        with pytest.raises(ShmDataError, match=r"recipes\.jsonl, line 2: found .* expected a recipe"):
            next(recipes)
