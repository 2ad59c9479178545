"""Networks for use without this package, as ONNX and as torch.export's files, for pictures of any number and size."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.fx.experimental._config as shapes
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from shm_data import __version__
from shm_data.errors import ShmDataError
from shm_data.files import make_folders, whole_file, write_bytes
from shm_model.checkpoint import load, restore_network
from shm_model.mnet import MNet
from shm_model.predict.predictor import mattes_of
from shm_model.tnet import make_portable

SUFFIXES = (".onnx", ".pt2")

# The extra file of a .pt2 that holds its metadata as JSON.
METADATA = "shm.json"

# The oldest that torch translates to directly: what is widely understood.
_OPSET = 18

# What the networks are traced with: two pictures of sizes that no stride divides, so that nothing is taken for fixed.
_TRACED = (2, 3, 75, 91)


class Matting(nn.Module):
    """A network whose outputs are what a matte is made of.

    Its input is `image` (N, 3, H, W) float32, RGB in [0, 1]; that of an M-Net also `probabilities` (N, 3, H, W)
    float32 of background, unknown and foreground. Its outputs are `alpha` (N, 1, H, W) in [0, 1] and, unless they
    were given, `probabilities`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, ...]:
        """image (N, 3, H, W) -> alpha (N, 1, H, W), probabilities (N, 3, H, W)."""
        alpha, found = mattes_of(self.network, image, probabilities)
        return (alpha, found) if probabilities is None else (alpha,)


def export(checkpoint: Path, out: Path) -> None:
    """Writes the network of a checkpoint as ONNX (.onnx) or as an exported program of torch (.pt2), whole or not.

    The file holds what `Matting` computes, and as metadata `mode`, `longest`, `version` and `input`. Raises
    ShmDataError where the suffix is another or the checkpoint none, and WriteError.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ShmDataError(path=out, found=f"the suffix {out.suffix!r}", expected=" or ".join(SUFFIXES))
    if out.suffix.lower() == ".onnx":
        import onnxscript  # noqa: F401, PLC0415  # torch needs it, but would tell so only after a while
    loaded = load(checkpoint)
    network = restore_network(loaded, checkpoint)
    told = {
        "mode": loaded.config.mode,
        "longest": str(loaded.config.longest),
        "version": __version__,
        "input": "RGB in [0, 1], (batch, 3, height, width)",
    }
    make_folders(out.parent)
    with _without_noise():
        program = exported(network)
        write = _write_onnx if out.suffix.lower() == ".onnx" else _write_program
        write(program, out, told)


def exported(network: nn.Module) -> ExportedProgram:
    """The program of a network, which is changed for it; for any batch, height and width (torch's, from 2 px on)."""
    make_portable(network)
    portable = Matting(network).eval()
    names = ("image", "probabilities") if isinstance(network, MNet) else ("image",)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    given = {name: torch.zeros(_TRACED) for name in names}
    # As torch.onnx does: sizes are not compared with what the example happens to have.
    with torch.no_grad(), shapes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(portable, (), given, dynamic_shapes=dict.fromkeys(names, sizes), strict=False)


def _write_onnx(program: ExportedProgram, out: Path, told: dict[str, str]) -> None:
    outputs = ["alpha", "probabilities"][: len(program.graph_signature.user_outputs)]
    translated = torch.onnx.export(
        program, dynamo=True, opset_version=_OPSET, output_names=outputs, external_data=False, verbose=False
    )
    assert translated is not None
    model = translated.model
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.shape is not None
        value.shape = type(value.shape)(["batch", value.shape[1], "height", "width"])
    model.metadata_props.update(told)
    with whole_file(out) as target:
        translated.save(target, external_data=False)


def _write_program(program: ExportedProgram, out: Path, told: dict[str, str]) -> None:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(told)})
    write_bytes(out, buffer.getvalue())


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Keeps back what the exporters say about their own code, and about torchvision, which nobody needs."""
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
