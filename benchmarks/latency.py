"""Measures the latency of a matte on the CPU with torch, torch.export and onnxruntime, side by side in one run.

The network is T-Net, M-Net and their fusion, with random weights, which do not change the time. In each round every
runtime processes one picture, so that a slow machine slows all of them.
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

# The network that `make train` trains, and the paper's.
NETWORKS = {"demo": ("resnet18", 16, 0.125), "paper": ("resnet50", 8, 1.0)}
SIZES = (320, 512, 1024)

Runtime = Callable[[torch.Tensor], object]


def runtimes_of(name: str, folder: Path) -> dict[str, Runtime]:
    """Return the functions from an image (1, 3, H, W) to its matte, one per runtime."""
    backbone, stride, width = NETWORKS[name]
    torch.manual_seed(0)
    network = SHM(TNet(backbone, stride), MNet(width)).eval()  # type: ignore[arg-type]
    values = {
        "backbone": backbone,
        "output_stride": stride,
        "mnet_width": width,
        "tnet_checkpoint": "t",
        "mnet_checkpoint": "m",
    }
    config = Config(mode="end_to_end", data_root=folder, **values)  # type: ignore[arg-type]
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


def seconds_of(runtimes: dict[str, Runtime], size: int, repeats: int, patience: float) -> dict[str, list[float]]:
    """Return the seconds of each runtime for a square of `size`, one per round, without the first, which allocates.

    Returns nothing if one picture takes more than `patience` seconds.
    """
    image = torch.rand(1, 3, size, size)
    found: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(repeats + 1):
        for name, runtime in runtimes.items():
            begun = time.perf_counter()
            runtime(image)
            found[name].append(time.perf_counter() - begun)
            if found[name][-1] > patience:
                return {}
    return {name: seconds[1:] for name, seconds in found.items()}


@click.command()
@click.option("--network", "networks", type=click.Choice([*NETWORKS]), multiple=True, help="[default: both]")
@click.option(
    "--size", "sizes", type=int, multiple=True, help="Sides of square pictures in px.  [default: 320, 512, 1024]"
)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Number of rounds.")
@click.option(
    "--patience", default=30.0, show_default=True, help="Most seconds per picture; slower ones are skipped."
)
def main(networks: tuple[str, ...], sizes: tuple[int, ...], repeats: int, patience: float) -> None:
    """Print a table in Markdown."""
    warnings.simplefilter("ignore")
    print(f"{machine(torch.device('cpu'))}, onnxruntime {onnxruntime.__version__}\n")
    print("| network, px | runtime | ms per picture, median (least to most) | speed-up over eager |")
    print("|---|---|---:|---:|")
    with TemporaryDirectory() as folder, torch.inference_mode():
        for name in networks or NETWORKS:
            runtimes = runtimes_of(name, Path(folder))
            for size in sizes or SIZES:
                found = seconds_of(runtimes, size, repeats, patience)
                if not found:
                    print(f"| {name}, {size} | | more than {patience:g} s | |")
                for runtime, seconds in found.items():
                    ratio = median(one / other for one, other in zip(found["torch, eager"], seconds, strict=True))
                    spread = f"{median(seconds) * 1e3:.0f} ({min(seconds) * 1e3:.0f} to {max(seconds) * 1e3:.0f})"
                    print(f"| {name}, {size} | {runtime} | {spread} | {ratio:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
