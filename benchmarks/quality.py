"""Does a better training set give better mattes? Trains the same networks on plain sets and on ours, and scores them.

`benchmarks.ways` describes how the sets differ. All else is equal: networks start from the same weights and see the
same number of samples in the same order. The seed decides the set, the weights and the order. Both ways use the same
seeds, so differences are computed seed by seed.

All scores are on real photographs, never on composites, and no training set contains any of them. M-Net alone gets a
trimap with each image and is scored over its unknown region: objects have captured mattes and drawn trimaps, people
have mattes made by a network and trimaps derived from these. The baseline needs no network: alpha is the trimap, with
one half where it is unknown.

All training is `shm_model.train`. It draws M-Net's trimaps from alpha and uses those of the set only to choose crops,
while a public script would train on the trimaps of the set. So the trimaps are measured in two other ways. Large
sizes also train T-Net and both networks end to end, which learn the trimaps, and score them without a given trimap.
And for all sizes, a table shows the errors of perfect networks: T-Net predicts the trimap as taught, M-Net the true
alpha in its unknown region. Small sizes do not train T-Net: a CPU cannot train it from random weights in minutes; it
was worse than the mean of all mattes.

SHM_REALDATA names the folder of photographs.
"""

import json
import multiprocessing
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

from benchmarks.sources import REALDATA
from benchmarks.train_step import machine
from benchmarks.ways import (
    ONE_OF_OURS,
    OURS,
    PLAIN,
    Way,
    make_set,
    our_trimap,
    plain_trimap,
    write_backgrounds,
    write_photos,
    write_tests,
)
from cli.progress import show
from shm_data import images
from shm_data.dataset.layout import Layout, read_names
from shm_data.files import write_bytes
from shm_data.pixels.arrays import Array
from shm_data.pixels.trimap import UNKNOWN
from shm_model.config import Config
from shm_model.distributed import default_device
from shm_model.evaluate import REGIONS, evaluate, mean_row
from shm_model.metrics import sad
from shm_model.predict import Prediction, load_predictor
from shm_model.samples import read_sample, source_of
from shm_model.train import train

# The stages and their settings: small sizes for a CPU, the paper's sizes for a GPU.
_SMALL = {"num_workers": 0, "mnet_width": 0.125, "mnet_size": 96, "patch_sizes": (160, 192, 224, 256), "longest": 400}
_LARGE = {"num_workers": 8, "precision": "bf16", "batch_size": 16, "longest": 800}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "set": {"numbg": 20},
        "pretrain_mnet": _SMALL | {"batch_size": 8, "lr": 4e-3, "unknown_weight": 4.0, "max_epoch": 30},
    },
    "large": {
        "set": {"numbg": 100},
        "pretrain_mnet": _LARGE | {"lr": 5e-4, "max_epoch": 60},
        "pretrain_tnet": _LARGE | {"lr": 5e-4, "max_epoch": 60},
        "end_to_end": _LARGE | {"lr": 1e-4, "max_epoch": 20, "end_size": 480, "patch_sizes": (320, 400)},
    },
}
SAME = {"schedule": "cosine", "warmup": 10, "colour": 0.5}
ONLY_TRAIN = {"eval": False, "sample_period": 10**6, "checkpoint_period": 10**6}  # no scores in between

# The tests and regions of each network, and the names of the errors; smaller is better.
TESTS = {"M-Net": ("objects", "people"), "both": ("people",)}
SCORED_REGIONS = {"M-Net": ("unknown",), "both": ("unknown", "whole")}
METRICS = {"sad": "SAD/1000", "mse": "MSE", "grad": "Grad/1000", "conn": "Conn/1000"}
SOFT = {"share": "share of the errors in the unknown region", "bias": "mean of alpha - truth"}

Scored = dict[str, Any]  # test -> region -> metric -> mean over the pictures


@dataclass(frozen=True)
class Task:
    """A network to train on the set of one way and one seed, and to score."""

    network: str
    way: Way
    seed: int
    savedir: Path
    sizes: str = "small"
    cuda: bool = False

    @property
    def sources(self) -> Path:
        """The folder of the sources for the sets of this seed."""
        return self.savedir / f"seed{self.seed}"

    @property
    def work(self) -> Path:
        """The folder of the set and its networks."""
        return self.sources / self.way.name

    @property
    def scores(self) -> Path:
        """The file of the scores, written when the task is done."""
        return self.work / f"{self.network}.json"


def do(task: Task) -> None:
    """Make a set, train on it, and write the scores; resumes what an interrupted call left."""
    make_set(task.way, task.sources, task.work / "set", task.seed, SIZES[task.sizes]["set"]["numbg"])
    last = _train(task, "pretrain_mnet")
    if task.network == "both":
        last = _train(task, "end_to_end", tnet_checkpoint=_train(task, "pretrain_tnet"), mnet_checkpoint=last)
    predictor = load_predictor(last, default_device(task.cuda))
    found = {test: scores_of(predictor, task.savedir / test) for test in TESTS[task.network]}
    write_bytes(task.scores, (json.dumps(found, indent=1) + "\n").encode())
    shutil.rmtree(task.work / "set")


def _train(task: Task, mode: str, **checkpoints: Path) -> Path:
    """Train a stage unless it is done; return the path of its network."""
    folders = {"data_root": task.work / "set", "savedir": task.work / mode}
    values = SIZES[task.sizes][mode] | SAME | ONLY_TRAIN | folders | checkpoints
    return train(Config(mode=mode, seed=task.seed, cuda=task.cuda, **values)).last


def scores_of(predictor: Callable[..., Prediction], data: Path) -> dict[str, dict[str, float]]:
    """Return the mean scores over the pictures of a test for each region, and the errors of soft pixels."""
    row = mean_row(evaluate(predictor, source_of("layout", data, "val")))  # type: ignore[arg-type]
    found = {region: {metric: getattr(getattr(row, region), metric) for metric in METRICS} for region in REGIONS}
    return found | {"soft": soft_of(predictor, data)}


def soft_of(predictor: Callable[..., Prediction], data: Path) -> dict[str, float]:
    """Return the errors of soft pixels, unknown ones with a true alpha of 5 % to 95 %: their share, and their mean.

    Foreground colours that contain the old background should teach a network too much alpha: a mean error above 0.
    """
    shares, biases = [], []
    for name in read_names(data, "val"):
        image, alpha, trimap = read_sample(data, name)
        error = predictor(image, trimap).alpha - alpha / np.float32(255)
        unknown = trimap == UNKNOWN
        soft = unknown & (alpha > 0.05 * 255) & (alpha < 0.95 * 255)
        shares.append(float(np.abs(error[soft]).sum() / np.abs(error[unknown]).sum()))
        biases.append(float(error[soft].mean()))
    return {"share": statistics.mean(shares), "bias": statistics.mean(biases)}


def untrained(savedir: Path, alphas: Path) -> dict[str, Scored]:
    """Return the scores of the baselines: the trimap as alpha and, without a trimap, the mean of the alphas."""
    some = [cv2.resize(images.read_alpha(path), (256, 256)) for path in sorted(alphas.iterdir())]
    mean = np.mean(some, axis=0).astype(np.float32) / 255

    def trimap_as_alpha(image: Array, trimap: Array) -> Prediction:
        return Prediction(trimap / np.float32(255), trimap)

    def mean_of_alphas(image: Array, trimap: Array) -> Prediction:
        return Prediction(cv2.resize(mean, trimap.shape[::-1]), trimap)

    return {
        network: {test: scores_of(predict, savedir / test) for test in TESTS[network]}
        for network, predict in (("M-Net", trimap_as_alpha), ("both", mean_of_alphas))
    }


def remaining_error(trimap_of: Callable[[Array], Array], data: Path) -> float:
    """Return the mean SAD/1000 of mattes that are true where their trimap is unknown, and the trimap elsewhere."""
    errors = []
    for name in read_names(data, "val"):
        alpha = images.read_alpha(Layout(data).sample(name)[1])
        trimap = trimap_of(alpha)
        errors.append(sad(np.where(trimap == UNKNOWN, alpha, trimap), alpha))
    return statistics.mean(errors)


def collected(savedir: Path, network: str, way: Way, seeds: Sequence[int]) -> list[Scored]:
    """Return the scores of all seeds in order, or nothing if one is missing."""
    files = [Task(network, way, seed, savedir).scores for seed in seeds]
    return [json.loads(file.read_text()) for file in files] if all(file.is_file() for file in files) else []


def spread_of(values: Sequence[float]) -> str:
    """Return the mean and the sample standard deviation as text."""
    deviation = f" ± {_short(statistics.stdev(values))}" if len(values) > 1 else ""
    return _short(statistics.mean(values)) + deviation


def ratio_of(errors: Sequence[float], base: Sequence[float]) -> str:
    """Return the mean, lowest and highest of the ratios of single seeds."""
    ratios = [error / other for error, other in zip(errors, base, strict=True)]
    return f"**{statistics.mean(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f})"


def differences_of(errors: Sequence[float], base: Sequence[float]) -> str:
    """Return the differences of single seeds."""
    differences = (error - other for error, other in zip(errors, base, strict=True))
    return ", ".join(("+" if difference > 0 else "") + _short(difference) for difference in differences)


def _short(value: float) -> str:
    return f"{value:.3g}"


def table(plain: Sequence[Scored], better: Sequence[Scored], network: str, least: Scored) -> Iterator[str]:
    """Return our errors beside the plain ones, in Markdown."""
    yield f"| {network} | error | ours / plain | ours - plain, seed by seed | plain | ours | untrained |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for test, region, metric in _rows(network):
        base, errors = (_values(some, test, region, metric) for some in (plain, better))
        numbers = ratio_of(errors, base), differences_of(errors, base), spread_of(base), spread_of(errors)
        cells = f"{test}, {region}", METRICS[metric], *numbers, _short(least[test][region][metric])
        yield f"| {' | '.join(cells)} |"


def table_of_parts(plain: Sequence[Scored], others: dict[str, list[Scored]], network: str) -> Iterator[str]:
    """Return the errors of several ways as ratios to the plain ones, in Markdown."""
    yield f"| {network} | error | {' | '.join(f'{way} / plain' for way in others)} |"
    yield f"|---|---|{'---:|' * len(others)}"
    for test, region, metric in _rows(network):
        base = _values(plain, test, region, metric)
        ratios = (ratio_of(_values(some, test, region, metric), base) for some in others.values())
        yield f"| {test}, {region} | {METRICS[metric]} | {' | '.join(ratios)} |"


def table_of_soft(plain: Sequence[Scored], better: Sequence[Scored], network: str) -> Iterator[str]:
    """Return the errors of soft pixels, in Markdown."""
    yield f"| {network}, soft pixels | | ours - plain, seed by seed | plain | ours |"
    yield "|---|---|---:|---:|---:|"
    for test in TESTS[network]:
        for key, what in SOFT.items():
            base, found = (_values(some, test, "soft", key) for some in (plain, better))
            yield f"| {test} | {what} | {differences_of(found, base)} | {spread_of(base)} | {spread_of(found)} |"


def _rows(network: str) -> Iterator[tuple[str, str, str]]:
    for test in TESTS[network]:
        yield from ((test, region, metric) for region in SCORED_REGIONS[network] for metric in METRICS)


def _values(some: Sequence[Scored], test: str, region: str, metric: str) -> list[float]:
    return [scored[test][region][metric] for scored in some]


def report(savedir: Path, seeds: Sequence[int], ways: Sequence[Way]) -> Iterator[str]:
    """Return the tables of all finished tasks."""
    least = untrained(savedir, savedir / f"seed{seeds[0]}" / "alphas")
    for network in TESTS:
        found = {way.name: some for way in ways if (some := collected(savedir, network, way, seeds))}
        if PLAIN.name in found and OURS.name in found:
            yield from ("", *table(found[PLAIN.name], found[OURS.name], network, least[network]))
            yield from ("", *table_of_soft(found[PLAIN.name], found[OURS.name], network))
        plain = found.pop(PLAIN.name, None)
        if plain and len(found) > 1:
            yield from ("", *table_of_parts(plain, found, network))
    yield from ("", "| perfect networks, whole | error | plain | ours |", "|---|---|---:|---:|")
    for test in ("objects", "people"):
        errors = (remaining_error(rule, savedir / test) for rule in (plain_trimap, our_trimap))
        yield f"| {test} | SAD/1000 | {' | '.join(map(_short, errors))} |"


def prepare(root: Path, savedir: Path, seeds: Sequence[int]) -> None:
    """Write the sources of the sets and the photographs for the tests."""
    write_tests(root, savedir)
    for seed in seeds:
        write_photos(root, savedir / f"seed{seed}")
        write_backgrounds(root, savedir / f"seed{seed}", seed)


def run_tasks(tasks: Sequence[Task], jobs: int) -> None:
    """Run the tasks that are not done, `jobs` at once."""
    missing = [task for task in tasks if not task.scores.is_file()]
    # One thread each: sums depend on the number of threads, and processes use several cores better.
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), **one_thread) as pool:
        futures = [pool.submit(do, task) for task in missing]
        for future in show(as_completed(futures), len(missing), "networks"):
            future.result()


@click.command()
@click.option(
    "--savedir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the results; an unfinished run there is resumed.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Number of seeds.")
@click.option("--each", is_flag=True, help="Also measure sets that differ from the plain one in one thing only.")
@click.option(
    "--sizes", type=click.Choice(list(SIZES)), default="small", show_default=True, help="Large is for a GPU."
)
@click.option("--jobs", type=click.IntRange(1), help="Networks trained at once; default: one per core, on a GPU one.")
def main(savedir: Path, seeds: int, each: bool, sizes: str, jobs: int | None) -> None:
    """Train on sets of both ways, score on real photographs, and print tables in Markdown."""
    if not REALDATA.is_dir():
        click.echo(
            f"Nothing is measured: found no real photographs at {REALDATA}, expected their folder in SHM_REALDATA."
        )
        return
    device = default_device(sizes == "large")
    gpu = device.type == "cuda"
    ways = (PLAIN, OURS, *(ONE_OF_OURS if each else ()))
    prepare(REALDATA, savedir, range(seeds))
    for network in ("M-Net", "both") if "end_to_end" in SIZES[sizes] else ("M-Net",):
        tasks = [Task(network, way, seed, savedir, sizes, gpu) for seed in range(seeds) for way in ways]
        run_tasks(tasks, jobs or (1 if gpu else os.cpu_count() or 1))
    click.echo(machine(device))
    for line in report(savedir, range(seeds), ways):
        click.echo(line)


if __name__ == "__main__":
    main()
