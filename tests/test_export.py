"""Networks in files of their own say what they said in torch, for pictures of any number and size."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from nets import MODES, SMALL, checkpoint, network
from small import photo

from shm_data import __version__, images
from shm_data.errors import ShmDataError
from shm_model import mnet
from shm_model.export import METADATA, MattingNetwork, _check_overwriting, export
from shm_model.predict.onnx_predictor import load_onnx_predictor
from shm_model.tnet import Means

pytestmark = pytest.mark.usefixtures("one_thread")

TOLD = {"mode": MODES["shm"], "longest": str(SMALL["longest"]), "version": __version__}

# Sizes that strides divide and that they do not, some pixels alone, and several batches.
SIZES = [(1, 75, 91), (3, 64, 48), (1, 33, 130), (2, 49, 49), (1, 2, 3), (4, 17, 16)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An end-to-end network: its checkpoint, and its ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    export(checkpoint("shm", folder / "shm.pt"), folder / "shm.onnx")
    return folder


@pytest.fixture
def shallow(monkeypatch):
    """M-Nets of one pooling, which takes seconds to trace; all of its depth is in the end-to-end ONNX."""
    monkeypatch.setattr(mnet, "_ENCODER", ((16,), (32, 32)))
    monkeypatch.setattr(mnet, "_DECODER", (16, 16))


def inputs(kind, size):
    """A batch of pictures, with what an M-Net needs beside."""
    torch.manual_seed(sum(size))
    batch, height, width = size
    given = {"image": torch.rand(batch, 3, height, width)}
    if kind == "mnet":
        given["probabilities"] = torch.rand(batch, 3, height, width).softmax(1)
    return given


def require_alike(kind, run):
    """The law: what a file gives by `run` is within 1e-3 of what the network gives in torch."""
    module = MattingNetwork(network(kind)).eval()
    for size in SIZES:
        given = inputs(kind, size)
        with torch.inference_mode():
            expected = module(**given)
        outputs = run(given)
        assert len(outputs) == len(expected) == (1 if kind == "mnet" else 2)
        for one, other in zip(outputs, expected, strict=True):
            assert one.shape == other.shape
            assert np.abs(one - other.numpy()).max() < 1e-3
        assert outputs[0].min() >= 0 and outputs[0].max() <= 1
    assert np.ptp(expected[0].numpy()) > 0.05, "the network should say something"


def session_of(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {name: value.numpy() for name, value in given.items()})


@pytest.mark.parametrize("kind", ["tnet", "mnet"])
@pytest.mark.usefixtures("shallow")
def test_the_command_exports_one_network_alone_without_a_word_more(kind, tmp_path, shm_model):
    given, out = checkpoint(kind, tmp_path / "c.pt"), tmp_path / "new" / "m.onnx"
    code, said, err = shm_model("export", "--checkpoint", given, "--out", out)
    assert (code, said, err) == (0, f"The network is in {out}, {out.stat().st_size / 1e6:.1f} MB.\n", "")
    require_alike(kind, session_of(out))
    assert load_onnx_predictor(out).needs_trimap == (kind == "mnet")


def test_both_networks_with_their_fusion_are_alike_in_onnx(files):
    require_alike("shm", session_of(files / "shm.onnx"))


@pytest.mark.usefixtures("shallow")
def test_both_networks_with_their_fusion_are_alike_in_an_exported_program(tmp_path):
    export(checkpoint("shm", tmp_path / "shm.pt"), tmp_path / "shm.pt2")
    extra = {METADATA: ""}
    program = torch.export.load(tmp_path / "shm.pt2", extra_files=extra).module()
    with torch.inference_mode():
        require_alike("shm", lambda given: [output.numpy() for output in program(**given)])
    assert TOLD.items() <= json.loads(extra[METADATA]).items()


def test_all_that_is_needed_to_predict_is_in_the_file(files):
    model = onnx.load(files / "shm.onnx")
    assert TOLD.items() <= {each.key: each.value for each in model.metadata_props}.items()
    names = [each.name for each in (*model.graph.input, *model.graph.output)]
    assert names == ["image", "alpha", "probabilities"]
    sizes = [each.dim_param for each in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", "", "height", "width"]


def test_pictures_are_predicted_from_onnx_without_torch_and_are_the_same(files, tmp_path, shm_model):
    for seed, size in enumerate(((120, 96), (200, 240))):  # the second is larger than `longest`
        (tmp_path / "in").mkdir(exist_ok=True)
        images.write_png(tmp_path / "in" / f"{seed}.png", photo(seed, size))
    script = "import sys; sys.modules['torch'] = None; from cli.model import main; main()"
    command = [sys.executable, "-c", script, "predict", "--onnx", files / "shm.onnx", tmp_path / "in"]
    program = subprocess.run([*command, "--savedir", tmp_path / "o"], check=False, capture_output=True, text=True)
    assert (program.returncode, program.stdout) == (0, f"2 mattes are in {tmp_path / 'o'}.\n"), program.stderr
    code, *_ = shm_model("predict", "--checkpoint", files / "shm.pt", tmp_path / "in", "--savedir", tmp_path / "t")
    assert code == 0
    for name in ("0.png", "1.png"):
        one, other = (images.read_gray(tmp_path / folder / name).astype(int) for folder in "ot")
        assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 6), (13, 17)])
def test_means_are_those_of_torch(bins, size):
    x = torch.rand(2, 4, *size)
    torch.testing.assert_close(Means(bins)(x), torch.nn.functional.adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize(("name", "message"), [
    ("m.txt", "found the suffix '.txt', expected .onnx or .pt2"),
    ("m", "found the suffix '', expected .onnx or .pt2"),
])  # fmt: skip
def test_another_suffix_is_an_error_before_anything_is_done(tmp_path, name, message):
    with pytest.raises(ShmDataError, match=message):
        export(tmp_path / "absent.pt", tmp_path / name)


def test_a_file_that_export_did_not_write_is_an_error(tmp_path, files):
    model = onnx.load(files / "shm.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    (tmp_path / "broken.onnx").write_bytes((files / "shm.onnx").read_bytes()[:5000])
    for name, found in {
        "foreign": "another ONNX model",
        "broken": "no ONNX model that can be run",
        "absent": "",
    }.items():
        with pytest.raises(ShmDataError) as fault:
            load_onnx_predictor(tmp_path / f"{name}.onnx")
        assert (fault.value.path, fault.value.found) == (str(tmp_path / f"{name}.onnx"), found)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_export_replaces_its_own_file_and_no_other_and_clears_what_a_killed_one_left(tmp_path, suffix):
    given, out = checkpoint("tnet", tmp_path / "c.pt"), tmp_path / f"net{suffix}"
    out.write_bytes(b"somebody's network")
    with pytest.raises(ShmDataError) as fault:
        export(given, out)
    assert fault.value.path == str(out) and out.read_bytes() == b"somebody's network"
    out.unlink()
    (tmp_path / ".0123456789abcdef.shm-tmp").write_bytes(b"half")
    export(given, out)
    _check_overwriting(out)  # its own file may be replaced
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pt", out.name]


def test_a_flipped_byte_in_an_onnx_file_is_a_fault_of_the_file(tmp_path, files, capfd):
    """Wherever it is: in a name it is no UTF-8 any more, in the metadata it is another model."""
    data = (files / "shm.onnx").read_bytes()
    path = tmp_path / "flipped.onnx"
    offsets = [
        2,
        10,
        83,
        *np.linspace(100, len(data) - 1, 40, dtype=int),
        data.rindex(b"longest"),
        data.rindex(b"mode"),
    ]
    for offset in offsets:
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x80]) + data[offset + 1 :])
        try:
            load_onnx_predictor(path)
        except ShmDataError as error:
            assert error.path == str(path)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("device", "message"), [
    ("cuda", "found cuda, and an onnxruntime for CPUs, expected onnxruntime-gpu, or cpu"),
    ("mps", "found mps, expected cpu, cuda or cuda:1 for an ONNX file"),
    ("cpu:1", "found cpu:1, expected cpu, cuda"),
    ("cuda:x", "found cuda:x, expected cpu, cuda"),
])  # fmt: skip
def test_a_device_that_onnxruntime_lacks_is_an_error(files, device, message):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime knows GPUs")
    with pytest.raises(ShmDataError, match=message):
        load_onnx_predictor(files / "shm.onnx", device)


@pytest.mark.parametrize(("command", "module"), [("export", "onnxscript"), ("predict", "onnxruntime")])
def test_a_missing_extra_is_named(command, module, tmp_path, shm_model, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "shm_model.predict.onnx_predictor", raising=False)
    given = {
        "export": ["--checkpoint", "c.pt", "--out", tmp_path / "m.onnx"],
        "predict": ["--onnx", "m.onnx", "a.png"],
    }
    code, _, err = shm_model(command, *given[command])
    assert (code, err) == (1, f"Error: {module} is not installed: run pip install 'shm-matting[export]'\n")
