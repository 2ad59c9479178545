"""Export networks for use without this package, as ONNX or by torch.export, for any batch and picture size."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.fx.experimental._config as shapes
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from shm_data import __version__
from shm_data.errors import ShmDataError
from shm_data.files import make_folders, shared_folder, whole_file, write_bytes
from shm_model.checkpoint import load, restore_network
from shm_model.mnet import MNet
from shm_model.predict.predictor import run_network
from shm_model.tnet import make_portable

SUFFIXES = (".onnx", ".pt2")

# The extra file of a .pt2 with the metadata as JSON.
METADATA = "shm.json"

# The oldest opset that torch exports to directly: the most runtimes know it.
_OPSET = 18

# The shape of the traced example: no size is a multiple of a stride, so that none is taken for a constant.
_EXAMPLE_SHAPE = (2, 3, 75, 91)


class MattingNetwork(nn.Module):
    """A network of any kind with common inputs and outputs.

    Its input is `image` (N, 3, H, W) float32, RGB in [0, 1]; that of an M-Net also `probabilities` (N, 3, H, W)
    float32 of background, unknown and foreground. Its outputs are `alpha` (N, 1, H, W) in [0, 1] and, unless they
    are an input, `probabilities`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map image (N, 3, H, W) to alpha (N, 1, H, W) and probabilities (N, 3, H, W)."""
        alpha, classes = run_network(self.network, image, probabilities)
        return (alpha, classes) if probabilities is None else (alpha,)


def export(checkpoint: Path, out: Path) -> None:
    """Write the network of a checkpoint as ONNX (.onnx) or as an exported program of torch (.pt2).

    The file is whole or absent. It computes `MattingNetwork`, and has the metadata `mode`, `longest`, `version` and
    `input`. Raises ShmDataError for another suffix or a file that is no checkpoint, and WriteError.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ShmDataError(path=out, found=f"the suffix {out.suffix!r}", expected=" or ".join(SUFFIXES))
    _check_overwriting(out)
    if out.suffix.lower() == ".onnx":
        import onnxscript  # noqa: F401, PLC0415  # torch needs it, but would fail only after tracing
    loaded = load(checkpoint)
    network = restore_network(loaded, checkpoint)
    metadata = {
        "mode": loaded.config.mode,
        "longest": str(loaded.config.long_edge),
        "version": __version__,
        "input": "RGB in [0, 1], (batch, 3, height, width)",
    }
    make_folders(out.parent)
    with shared_folder(out.parent), _quiet_exporters():
        program = export_program(network)
        write = _write_onnx if out.suffix.lower() == ".onnx" else _write_program
        write(program, out, metadata)


def _check_overwriting(out: Path) -> None:
    """Raise ShmDataError where `out` exists, and `export` did not write it: both hold the metadata."""
    names = (b"longest", b"RGB in [0, 1]")
    if os.path.lexists(out) and not (out.is_file() and all(name in out.read_bytes() for name in names)):
        raise ShmDataError(path=out, found="a file that shm-model export did not write", expected="a new name")


def export_program(network: nn.Module) -> ExportedProgram:
    """Return the program of a network, for any batch, height and width from 2 px on. Changes `network`."""
    make_portable(network)
    portable = MattingNetwork(network).eval()
    names = ("image", "probabilities") if isinstance(network, MNet) else ("image",)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    example = {name: torch.zeros(_EXAMPLE_SHAPE) for name in names}
    # As torch.onnx does: sizes must not be specialised to those of the example.
    with torch.no_grad(), shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(portable, (), example, dynamic_shapes=dict.fromkeys(names, sizes), strict=False)


def _write_onnx(program: ExportedProgram, out: Path, metadata: dict[str, str]) -> None:
    outputs = ["alpha", "probabilities"][: len(program.graph_signature.user_outputs)]
    translated = torch.onnx.export(
        program, dynamo=True, opset_version=_OPSET, output_names=outputs, external_data=False, verbose=False
    )
    assert translated is not None
    model = translated.model
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.shape is not None
        value.shape = type(value.shape)(["batch", value.shape[1], "height", "width"])
    model.metadata_props.update(metadata)
    with whole_file(out) as target:
        translated.save(target, external_data=False)


def _write_program(program: ExportedProgram, out: Path, metadata: dict[str, str]) -> None:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    write_bytes(out, buffer.getvalue())


@contextlib.contextmanager
def _quiet_exporters() -> Iterator[None]:
    """Silence the exporters' notes about their own code and about the absence of torchvision."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
            yield
    finally:
        registration.setLevel(before)
