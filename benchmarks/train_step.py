"""Measures what each optimisation gives to a training step: images/s and memory, in one run, on synthetic pictures.

The step is the one of `shm_model.train`, from uint8 pictures in memory to new weights. The first row is what public
scripts do: eager, float32, NCHW, F.max_unpool2d, one optimiser kernel after the other. Each row adds one optimisation
to the row above. In each round every row of a stage runs once, so that a slow machine slows all of them. With --fed
the last row is also fed from a data set or a plan, and its images/s are compared with those on pictures in memory.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from shm_model import mnet
from shm_model.batches import Batch, EndToEndBatch, MNetBatch, TNetBatch
from shm_model.config import Config
from shm_model.dataset import EpochBatches, TrainingSet, data_loader
from shm_model.distributed import ProcessContext, default_device
from shm_model.mnet import MNet
from shm_model.run import Run, new_run, parameter_groups
from shm_model.samples import kind_of
from shm_model.shm import SHM
from shm_model.step import train_step
from shm_model.tnet import TNet

STAGES = ("pretrain_tnet", "pretrain_mnet", "end_to_end")

# The paper's sizes, and sizes for a CPU.
PAPER: dict[str, Any] = {"backbone": "resnet50", "output_stride": 8, "mnet_width": 1.0}
SMALL: dict[str, Any] = {"backbone": "resnet18", "output_stride": 16, "mnet_width": 0.25}
PAPER_SIZES: dict[str, Any] = {"tnet_size": 400, "mnet_size": 320, "end_size": 800}
SMALL_SIZES: dict[str, Any] = {"tnet_size": 128, "mnet_size": 96, "end_size": 192}
CORES = os.cpu_count() or 1
PAPER_BATCH = {"pretrain_tnet": 16, "pretrain_mnet": 16, "end_to_end": 10}


@dataclass(frozen=True)
class Optimisations:
    """The optimisations that a row switches on."""

    name: str = "eager fp32 NCHW"
    unpool: bool = False
    channels_last: bool = False
    bf16: bool = False
    fused: bool = False
    compile: bool = False
    graphs: bool = False


@dataclass
class Row:
    """A run with its optimisations, and its measurements: seconds per step, one per round, and bytes at its peak."""

    optimisations: Optimisations
    run: Run
    seconds: list[float] = field(default_factory=list)
    peak: int = 0


def rows_of(stage: str, compiled: bool) -> Iterator[Optimisations]:
    """Return the optimisations of each row, added one by one; T-Net has no unpooling."""
    optimisations = Optimisations()
    yield optimisations
    names = {
        "unpool": "our unpooling",
        "channels_last": "channels_last",
        "bf16": "bf16 autocast",
        "fused": "fused Adam",
    }
    if stage == "pretrain_tnet":
        names.pop("unpool")
    if compiled:
        names |= {"compile": "torch.compile", "graphs": "CUDA graphs"}
    for key, name in names.items():
        optimisations = replace(optimisations, name=f"+ {name}", **{key: True})
        yield optimisations


def config_of(stage: str, optimisations: Optimisations, sizes: dict[str, Any], batch: int) -> Config:
    """Return the configuration of a row."""
    unused = {"tnet_checkpoint": Path("-"), "mnet_checkpoint": Path("-")} if stage == "end_to_end" else {}
    form = {"channels_last": optimisations.channels_last, "compile": optimisations.compile}
    precision = "bf16" if optimisations.bf16 else "fp32"
    return Config(mode=stage, data_root=Path("-"), batch_size=batch, precision=precision, **form, **sizes, **unused)


def run_with(optimisations: Optimisations, config: Config, device: torch.device) -> Run:
    """Return a run as training sets it up, with random weights."""
    torch.manual_seed(0)
    tnet, alpha = TNet(config.backbone, config.output_stride), MNet(config.mnet_width)
    network = {"pretrain_tnet": tnet, "pretrain_mnet": alpha}.get(config.mode) or SHM(tnet, alpha)
    run = new_run(network, config, ProcessContext(device))
    if optimisations.graphs:  # without a GPU there are no graphs, and this is torch.compile
        run.forward = torch.compile(network, mode="reduce-overhead")
    groups = parameter_groups(network, config)
    run.optimizer = torch.optim.AdamW(groups, config.lr, weight_decay=0.0, fused=optimisations.fused)
    return run


def batch_of(config: Config) -> Batch:
    """Return a batch of random pictures, as the loader returns batches."""
    count, patch_size = config.batch_size, config.mnet_size

    def pixels(channels: int, side: int) -> Tensor:
        made = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
        return made.pin_memory() if torch.cuda.is_available() else made  # as the loader does

    def labels(side: int) -> Tensor:
        made = pixels(1, side)[:, 0] % 3
        return made.pin_memory() if torch.cuda.is_available() else made

    names, size = ["-"] * count, config.tnet_size if config.mode == "pretrain_tnet" else config.end_size
    if config.mode == "pretrain_tnet":
        return TNetBatch(names, pixels(3, size), labels(size))
    patch = [pixels(channels, patch_size) for channels in (3, 1, 1, 3, 3)]
    if config.mode == "pretrain_mnet":
        return MNetBatch(names, labels(patch_size), *patch)
    box = torch.tensor([[0, 0, size // 2, size // 2]] * count)
    return EndToEndBatch(names, pixels(3, size), labels(size), box, *patch)


@contextmanager
def unpooling(ours: bool) -> Iterator[None]:
    """Use our pooling and unpooling in M-Net, or torch's."""
    if ours:
        yield
        return
    theirs: dict[str, Callable[..., Any]] = {
        "pool": lambda x: F.max_pool2d(x, 2, return_indices=True),
        "unpool": lambda x, code: F.max_unpool2d(x, code, 2),
    }
    with patch.multiple(mnet, **theirs):
        yield


def step_of(row: Row, batch: Batch, steps: int = 1) -> float:
    """Run some steps and return the seconds per step."""
    device = row.run.context.device
    with unpooling(row.optimisations.unpool):
        synchronise(device)
        begun = time.perf_counter()
        for _ in range(steps):
            train_step(row.run, batch, 0, 1)
        synchronise(device)
    return (time.perf_counter() - begun) / steps


def peak_of(row: Row, batch: Batch) -> int:
    """Return the peak bytes of a step, weights and optimiser included; 0 on a CPU, where torch does not count."""
    if row.run.context.device.type != "cuda":
        return 0
    states = (value for state in row.run.optimizer.state.values() for value in state.values())
    own = [*row.run.network.parameters(), *row.run.network.buffers(), *filter(torch.is_tensor, states)]
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step_of(row, batch)
    return torch.cuda.max_memory_allocated() - before + sum(each.nbytes for each in own)


def synchronise(device: torch.device) -> None:
    """Wait until the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Return the FLOP/s of a large matrix product, the best of eight."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(8):
        synchronise(device)
        begun = time.perf_counter()
        a @ b
        synchronise(device)
        times.append(time.perf_counter() - begun)
    return 2 * side**3 / min(times)


def measure(stage: str, sizes: dict[str, Any], batch: int, options: dict[str, Any]) -> tuple[list[Row], int]:
    """Return the measured rows of a stage, and the FLOPs of a step."""
    device, rows = options["device"], []
    for optimisations in rows_of(stage, options["compiled"]):
        config = config_of(stage, optimisations, sizes, batch)
        rows.append(Row(optimisations, run_with(optimisations, config, device)))
    data = batch_of(rows[0].run.config)
    with FlopCounterMode(display=False) as counter:
        step_of(rows[0], data)
    for row in rows:
        step_of(row, data, 2)  # warm-up: compiles, chooses kernels, creates the optimiser's state
        row.peak = peak_of(row, data)
    for _ in range(options["repeats"]):
        for row in rows:
            row.seconds.append(step_of(row, data, options["steps"]))
    return rows, counter.get_total_flops()


def fed_share(row: Row, root: Path, workers: int, options: dict[str, Any]) -> float:
    """Return the ratio of the images/s of a row that is fed from a folder to its images/s on pictures in memory.

    Both alternate. Batches that the workers made in the meantime are used up before the clock starts.
    """
    config = row.run.config.model_copy(update={"data": kind_of(root), "data_root": root, "num_workers": workers})
    dataset = TrainingSet(config.model_copy(update={"max_epoch": 10**6}))
    feed = iter(data_loader(dataset, EpochBatches(dataset.order(), dataset.config)))
    steps, ready = max(options["steps"], 2 * workers), next(feed)
    shares = []
    for _ in range(options["repeats"]):
        for _ in range(2 * workers):
            step_of(row, next(feed))
        synchronise(row.run.context.device)
        begun = time.perf_counter()
        for _ in range(steps):
            step_of(row, next(feed))
        fed = (time.perf_counter() - begun) / steps
        shares.append(step_of(row, ready, steps) / fed)
    return median(shares)


def table(rows: list[Row], flops: int, rate: float) -> Iterator[str]:
    """Return the rows of a stage in Markdown. Ratios are medians of the ratios within a round."""
    batch = rows[0].run.config.batch_size
    yield "| | speed-up | images/s | ms per step | peak memory | share of matmul rate |"
    yield "|---|---:|---:|---:|---:|---:|"
    for row in rows:
        ratio = median(first / own for first, own in zip(rows[0].seconds, row.seconds, strict=True))
        seconds = median(row.seconds)
        memory = f"{row.peak / 2**30:.2f} GiB" if row.peak else "-"
        share = flops / seconds / rate
        cells = f"{ratio:.2f}x", f"{batch / seconds:.1f}", f"{1000 * seconds:.1f}", memory, f"{share:.1%}"
        yield f"| {row.optimisations.name} | {' | '.join(cells)} |"


def machine(device: torch.device) -> str:
    """Return a description of the machine and the packages."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else _cpu()
    tf32 = f", TF32 in convolutions: {torch.backends.cudnn.allow_tf32}" if device.type == "cuda" else ""
    return f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}{tf32}"


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"


@click.command()
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), default=STAGES, help="Default: all.")
@click.option("--batch", type=click.IntRange(1), help="Images per step; default: the paper's, on a CPU 2.")
@click.option("--paper/--small", default=None, help="The paper's sizes (default on a GPU) or small ones (on a CPU).")
@click.option("--repeats", default=5, show_default=True, help="Number of rounds.")
@click.option("--steps", type=click.IntRange(1), help="Steps per round; default: 5, on a CPU 1.")
@click.option(
    "--compile/--no-compile", "compiled", default=None, help="Measure torch.compile; default: on a GPU only."
)
@click.option("--cuda/--no-cuda", default=True, help="Use a GPU if there is one.")
@click.option(
    "--fed", type=click.Path(path_type=Path), help="Folder of a data set, shards or a plan that feeds the last row."
)
@click.option(
    "--workers", type=click.IntRange(1), default=CORES, show_default=True, help="Worker processes for --fed."
)
def main(  # noqa: PLR0917
    stages: tuple[str, ...],
    batch: int | None,
    paper: bool | None,
    repeats: int,
    steps: int | None,
    compiled: bool | None,
    cuda: bool,
    fed: Path | None,
    workers: int,
) -> None:
    """Measure a training step of each stage, one optimisation after the other, and print tables in Markdown."""
    device = default_device(cuda)
    gpu = device.type == "cuda"
    paper = gpu if paper is None else paper
    options = {"device": device, "repeats": repeats, "steps": steps or (5 if gpu else 1)}
    options["compiled"] = gpu if compiled is None else compiled
    sizes = PAPER | PAPER_SIZES if paper else SMALL | SMALL_SIZES
    side = 8192 if gpu else 1024
    rates = {
        name: matmul_rate(device, dtype, side) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    click.echo(machine(device))
    click.echo(
        f"A {side} x {side} matrix product: " + ", ".join(f"{n} {r / 1e12:.2f} TFLOP/s" for n, r in rates.items())
    )
    for stage in stages:
        count = batch or (PAPER_BATCH[stage] if gpu else 2)
        rows, flops = measure(stage, sizes, count, options)
        shown = ", ".join(f"{key} {value}" for key, value in sizes.items())
        click.echo(f"\n### {stage}, batch {count}\n\n{shown}; {flops / count / 1e9:.1f} GFLOP per image and step.\n")
        for line in table(rows, flops, max(rates.values())):
            click.echo(line)
        if fed is not None:
            share = fed_share(rows[-1], fed, workers, options)
            click.echo(
                f"\nFed by {workers} workers from {kind_of(fed)}, the last row reaches {share:.0%} of its images/s."
            )


if __name__ == "__main__":
    main()
