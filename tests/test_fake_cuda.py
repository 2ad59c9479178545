"""The training step on a fake CUDA device, in the CPU build: what a card would wait for, copy, and compute in."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent / "fake_cuda"

# The only line of a step at which the host may wait for the card, and the only one that copies to it.
WAIT, COPY = "step.py: numbers = torch.cat(", "step.py: tensor = value.to("


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library that lets a torch without CUDA carry fake tensors of a card."""
    compiler = shutil.which("g++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("compiles a small library with g++, on Linux")
    if torch.version.cuda:
        pytest.skip("needs a build of torch without CUDA")
    root, path = Path(torch.__file__).parent, tmp_path_factory.mktemp("fake") / "libfakecuda.so"
    includes = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
    includes.append(f"-I{sysconfig.get_paths()['include']}")
    source = [FOLDER / "fakecuda.cpp", "-o", path, f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu"]
    result = subprocess.run(
        [compiler, "-std=c++20", "-shared", "-fPIC", *includes, *source], capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.skip(f"g++ cannot compile against this torch: {result.stderr[-300:]}")
    return path


def step(library, mode, **more):
    """What a card sees of a step."""
    given = {"mode": mode, "data_root": "-", "precision": "bf16", "batch_size": 2, "backbone": "resnet18"}
    if mode == "end_to_end":
        given |= {"tnet_checkpoint": "-", "mnet_checkpoint": "-", "end_size": 320}
    command = [sys.executable, FOLDER / "steps.py", library, json.dumps(given | more)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def heavy(seen, kind, file):
    """The dtypes and memory formats of an operation that lines of a module carry out."""
    entries = [entry.split(" at ", 1) for entry in seen["heavy"]]
    return {tuple(what.split()[1:3]) for what, line in entries if what.startswith(kind) and line.startswith(file)}


@pytest.mark.parametrize(("mode", "more"), [
    ("pretrain_tnet", {}),
    ("pretrain_mnet", {}),
    ("end_to_end", {"unknown_weight": 2.0, "loss": "dice"}),
])  # fmt: skip
def test_a_step_waits_once_and_copies_only_its_batch(library, mode, more):
    seen = step(library, mode, **more)
    assert len(seen["waits"]) == 1 and next(iter(seen["waits"])).startswith(WAIT)
    assert len(seen["to_device"]) == 1 and next(iter(seen["to_device"])).startswith(COPY)
    assert not seen["to_host"]
    if mode != "pretrain_mnet":
        assert heavy(seen, "aten::cat", "tnet.py") == {("bfloat16", "NHWC")}
    if mode != "pretrain_tnet":
        assert heavy(seen, "aten::where", "mnet.py") == {("bfloat16", "NHWC"), ("uint8", "NHWC")}
        assert not heavy(seen, "aten::upsample", "mnet.py")
    assert heavy(seen, "aten::convolution", "resnet.py") <= {("bfloat16", "NHWC")}


def test_the_unknown_region_is_not_looked_for_where_it_weighs_no_more(library):
    assert not heavy(step(library, "end_to_end"), "aten::upsample", "step.py")


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_other_precisions_run(library, precision):
    seen = step(library, "pretrain_tnet", precision=precision, tnet_size=96)
    assert len(seen["waits"]) == 1 and not seen["to_host"]
