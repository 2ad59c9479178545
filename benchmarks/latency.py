"""How long a matte takes on the CPU: by torch, by torch.export and by onnxruntime, side by side in one run.

The network is T-Net, M-Net and their fusion, with random weights: they take as long as others. All ways take turns,
one picture at a time, so that a machine that slows down slows all of them.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import onnxruntime
import torch

from benchmarks.train_step import machine
from shm_model.checkpoint import Checkpoint, save
from shm_model.config import Config
from shm_model.export import MattingNetwork, export
from shm_model.mnet import MNet
from shm_model.shm import SHM
from shm_model.tnet import TNet

# What `make train` trains, and what the paper has.
NETWORKS = {"demo": ("resnet18", 16, 0.125), "paper": ("resnet50", 8, 1.0)}
SIZES = (320, 512, 1024)

Way = Callable[[torch.Tensor], object]


def ways_of(name: str, folder: Path) -> dict[str, Way]:
    """What takes an image (1, 3, H, W) to its matte, each by another program."""
    backbone, stride, width = NETWORKS[name]
    torch.manual_seed(0)
    network = SHM(TNet(backbone, stride), MNet(width)).eval()  # type: ignore[arg-type]
    given = {
        "backbone": backbone,
        "output_stride": stride,
        "mnet_width": width,
        "tnet_checkpoint": "t",
        "mnet_checkpoint": "m",
    }
    config = Config(mode="end_to_end", data_root=folder, **given)  # type: ignore[arg-type]
    save(folder / f"{name}.pt", Checkpoint(config, network.state_dict(), {}, {}, 1, 0.0))
    for suffix in (".pt2", ".onnx"):
        export(folder / f"{name}.pt", folder / f"{name}{suffix}")
    eager, program = MattingNetwork(network), torch.export.load(folder / f"{name}.pt2").module()
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return {
        "torch, eager": eager,
        "torch.export": lambda image: program(image=image),
        "onnxruntime": lambda image: session.run(None, {"image": image.numpy()}),
    }


def seconds_of(ways: dict[str, Way], size: int, repeats: int, patience: float) -> dict[str, list[float]]:
    """The seconds of each way for a square of `size`, in turns; the first, which also allocates, does not count.

    A network of which one picture takes more than `patience` seconds is left out.
    """
    image = torch.rand(1, 3, size, size)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(image)
            found[name].append(time.perf_counter() - begun)
            if found[name][-1] > patience:
                return {}
    return {name: seconds[1:] for name, seconds in found.items()}


@click.command()
@click.option("--network", "networks", type=click.Choice([*NETWORKS]), multiple=True, help="[default: both]")
@click.option("--size", "sizes", type=int, multiple=True, help="Of squares, in px.  [default: 320, 512, 1024]")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--patience", default=30.0, show_default=True, help="Seconds that a picture may take at most.")
def main(networks: tuple[str, ...], sizes: tuple[int, ...], repeats: int, patience: float) -> None:
    """Print a table in Markdown."""
    warnings.simplefilter("ignore")
    print(f"{machine(torch.device('cpu'))}, onnxruntime {onnxruntime.__version__}\n")
    print("| network, px | way | ms a picture, median (least to most) | faster than eager |")
    print("|---|---|---:|---:|")
    with TemporaryDirectory() as folder, torch.inference_mode():
        for name in networks or NETWORKS:
            ways = ways_of(name, Path(folder))
            for size in sizes or SIZES:
                found = seconds_of(ways, size, repeats, patience)
                if not found:
                    print(f"| {name}, {size} | | more than {patience:g} s | |")
                for way, seconds in found.items():
                    ratio = median(one / other for one, other in zip(found["torch, eager"], seconds, strict=True))
                    spread = f"{median(seconds) * 1e3:.0f} ({min(seconds) * 1e3:.0f} to {max(seconds) * 1e3:.0f})"
                    print(f"| {name}, {size} | {way} | {spread} | {ratio:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
