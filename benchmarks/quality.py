"""Does a better set make better mattes? The same networks, trained on sets made in the plain way and in ours.

`benchmarks.ways` says what the sets differ in. All else is equal: networks start from the same weights, and see as
many samples in the same order. A seed is that of the set, of the weights and of the order; both ways have it, so
differences are taken seed by seed.

Scores are of real photographs, never of composites, that no set has anything of. M-Net alone gets a trimap with each,
and is scored over its unknown region: objects have captured mattes and drawn trimaps, people mattes that a network
made and trimaps derived from these. Beside it stands what needs no network: the trimap as it is, half opaque where
unknown.

Training is `shm_model.train` for all. It draws M-Net's trimaps from alpha, and takes from those of the set only where
to crop; a public script feeds the latter to it. What they do is measured in two other ways. Large sizes train T-Net
and both networks together, which learn them, and are scored without a trimap. And for all sizes a table tells what is
left of errors if networks did perfectly what they are taught: T-Net the trimap, M-Net alpha in its unknown region.
Small sizes leave T-Net out: what a CPU teaches it in minutes, from random weights, is worse than the mean of all
mattes.

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
    ONE_THING,
    OURS,
    PLAIN,
    Way,
    binarised,
    make_set,
    ours,
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

# What is trained and how: small for a CPU, the paper's sizes for a card.
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
NEVER = {"eval": False, "sample_period": 10**6, "checkpoint_period": 10**6}  # nothing is scored on the way

# Networks, what they are scored on, over which regions, and how errors are named: less is better.
TESTS = {"M-Net": ("objects", "people"), "both": ("people",)}
SHOWN = {"M-Net": ("unknown",), "both": ("unknown", "whole")}
METRICS = {"sad": "SAD/1000", "mse": "MSE", "grad": "Grad/1000", "conn": "Conn/1000"}
SOFT = {"share": "of the errors in the unknown region", "bias": "mean of alpha - truth"}

Scored = dict[str, Any]  # test -> region -> metric -> mean over the pictures


@dataclass(frozen=True)
class Task:
    """A network to train on the set of a way and a seed, and to score."""

    network: str
    way: Way
    seed: int
    savedir: Path
    sizes: str = "small"
    cuda: bool = False

    @property
    def sources(self) -> Path:
        """The folder of what sets of this seed are made from."""
        return self.savedir / f"seed{self.seed}"

    @property
    def work(self) -> Path:
        """The folder of the set and its networks."""
        return self.sources / self.way.name

    @property
    def scores(self) -> Path:
        """The file that is there when all is done."""
        return self.work / f"{self.network}.json"


def do(task: Task) -> None:
    """Makes a set, trains on it, and writes the scores; goes on with what an interrupted call left."""
    make_set(task.way, task.sources, task.work / "set", task.seed, SIZES[task.sizes]["set"]["numbg"])
    last = _train(task, "pretrain_mnet")
    if task.network == "both":
        last = _train(task, "end_to_end", tnet_checkpoint=_train(task, "pretrain_tnet"), mnet_checkpoint=last)
    predictor = load_predictor(last, default_device(task.cuda))
    found = {test: scores_of(predictor, task.savedir / test) for test in TESTS[task.network]}
    write_bytes(task.scores, (json.dumps(found, indent=1) + "\n").encode())
    shutil.rmtree(task.work / "set")


def _train(task: Task, mode: str, **given: Path) -> Path:
    """Trains a stage, or finds it done, and tells where its network lies."""
    places = {"data_root": task.work / "set", "savedir": task.work / mode}
    values = SIZES[task.sizes][mode] | SAME | NEVER | places | given
    return train(Config(mode=mode, seed=task.seed, cuda=task.cuda, **values)).last


def scores_of(predictor: Callable[..., Prediction], data: Path) -> dict[str, dict[str, float]]:
    """The mean scores over the pictures of a test, for each region, and what is said of soft pixels."""
    row = mean_row(evaluate(predictor, source_of("layout", data, "val")))  # type: ignore[arg-type]
    found = {region: {metric: getattr(getattr(row, region), metric) for metric in METRICS} for region in REGIONS}
    return found | {"soft": soft_of(predictor, data)}


def soft_of(predictor: Callable[..., Prediction], data: Path) -> dict[str, float]:
    """Of unknown pixels, those with a true alpha from 5 % to 95 %: their share of all errors, and their mean error.

    Colours with the old background in them would teach a network more alpha than there is: a mean error above 0.
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
    """The scores of what needs no network: the trimap as it is and, where none is given, the mean of the alphas."""
    some = [cv2.resize(images.read_alpha(path), (256, 256)) for path in sorted(alphas.iterdir())]
    mean = np.mean(some, axis=0).astype(np.float32) / 255

    def as_it_is(image: Array, trimap: Array) -> Prediction:
        return Prediction(trimap / np.float32(255), trimap)

    def as_others(image: Array, trimap: Array) -> Prediction:
        return Prediction(cv2.resize(mean, trimap.shape[::-1]), trimap)

    return {
        network: {test: scores_of(predict, savedir / test) for test in TESTS[network]}
        for network, predict in (("M-Net", as_it_is), ("both", as_others))
    }


def left_over(trimap_of: Callable[[Array], Array], data: Path) -> float:
    """The mean SAD/1000 of mattes that are the truth where their trimap is unknown, and the trimap elsewhere."""
    errors = []
    for name in read_names(data, "val"):
        alpha = images.read_alpha(Layout(data).sample(name)[1])
        trimap = trimap_of(alpha)
        errors.append(sad(np.where(trimap == UNKNOWN, alpha, trimap), alpha))
    return statistics.mean(errors)


def collected(savedir: Path, network: str, way: Way, seeds: Sequence[int]) -> list[Scored]:
    """The scores of all seeds, in their order; none if one of them is not there."""
    files = [Task(network, way, seed, savedir).scores for seed in seeds]
    return [json.loads(file.read_text()) for file in files] if all(file.is_file() for file in files) else []


def spread_of(values: Sequence[float]) -> str:
    """Mean and standard deviation, as that of a sample."""
    deviation = f" ± {_short(statistics.stdev(values))}" if len(values) > 1 else ""
    return _short(statistics.mean(values)) + deviation


def ratio_of(errors: Sequence[float], base: Sequence[float]) -> str:
    """The mean of each seed's ratio, and from where to where these go."""
    ratios = [error / other for error, other in zip(errors, base, strict=True)]
    return f"**{statistics.mean(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f})"


def differences_of(errors: Sequence[float], base: Sequence[float]) -> str:
    """What each seed has more, or less."""
    differences = (error - other for error, other in zip(errors, base, strict=True))
    return ", ".join(("+" if difference > 0 else "") + _short(difference) for difference in differences)


def _short(value: float) -> str:
    return f"{value:.3g}"


def table(plain: Sequence[Scored], better: Sequence[Scored], network: str, least: Scored) -> Iterator[str]:
    """Our way's errors beside the plain way's, in Markdown."""
    yield f"| {network} | error | ours / plain | ours - plain, seed by seed | plain | ours | untrained |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for test, region, metric in _rows(network):
        base, errors = (_values(some, test, region, metric) for some in (plain, better))
        numbers = ratio_of(errors, base), differences_of(errors, base), spread_of(base), spread_of(errors)
        cells = f"{test}, {region}", METRICS[metric], *numbers, _short(least[test][region][metric])
        yield f"| {' | '.join(cells)} |"


def table_of_parts(plain: Sequence[Scored], others: dict[str, list[Scored]], network: str) -> Iterator[str]:
    """The errors of ways as ratios to those of the plain way, in Markdown."""
    yield f"| {network} | error | {' | '.join(f'{way} / plain' for way in others)} |"
    yield f"|---|---|{'---:|' * len(others)}"
    for test, region, metric in _rows(network):
        base = _values(plain, test, region, metric)
        ratios = (ratio_of(_values(some, test, region, metric), base) for some in others.values())
        yield f"| {test}, {region} | {METRICS[metric]} | {' | '.join(ratios)} |"


def table_of_soft(plain: Sequence[Scored], better: Sequence[Scored], network: str) -> Iterator[str]:
    """What was found of soft pixels, in Markdown."""
    yield f"| {network}, soft pixels | | ours - plain, seed by seed | plain | ours |"
    yield "|---|---|---:|---:|---:|"
    for test in TESTS[network]:
        for key, what in SOFT.items():
            base, found = (_values(some, test, "soft", key) for some in (plain, better))
            yield f"| {test} | {what} | {differences_of(found, base)} | {spread_of(base)} | {spread_of(found)} |"


def _rows(network: str) -> Iterator[tuple[str, str, str]]:
    for test in TESTS[network]:
        yield from ((test, region, metric) for region in SHOWN[network] for metric in METRICS)


def _values(some: Sequence[Scored], test: str, region: str, metric: str) -> list[float]:
    return [scored[test][region][metric] for scored in some]


def report(savedir: Path, seeds: Sequence[int], ways: Sequence[Way]) -> Iterator[str]:
    """The tables of all that is done."""
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
        errors = (left_over(rule, savedir / test) for rule in (binarised, ours))
        yield f"| {test} | SAD/1000 | {' | '.join(map(_short, errors))} |"


def prepare(root: Path, savedir: Path, seeds: Sequence[int]) -> None:
    """Writes what sets are made from, and what networks are tested on."""
    write_tests(root, savedir)
    for seed in seeds:
        write_photos(root, savedir / f"seed{seed}")
        write_backgrounds(root, savedir / f"seed{seed}", seed)


def carry_out(tasks: Sequence[Task], jobs: int) -> None:
    """Does what is not done yet, `jobs` tasks at once."""
    missing = [task for task in tasks if not task.scores.is_file()]
    # One thread each: sums depend on their number, and processes use several cores better.
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), **one_thread) as pool:
        futures = [pool.submit(do, task) for task in missing]
        for future in show(as_completed(futures), len(missing), "networks"):
            future.result()


@click.command()
@click.option("--savedir", type=click.Path(path_type=Path), required=True, help="A run that was begun there goes on.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many.")
@click.option("--each", is_flag=True, help="Also sets that differ from the plain way in one thing alone.")
@click.option(
    "--sizes", type=click.Choice(list(SIZES)), default="small", show_default=True, help="Large: for a card."
)
@click.option("--jobs", type=click.IntRange(1), help="Networks at once; by default one a core, on a card one.")
def main(savedir: Path, seeds: int, each: bool, sizes: str, jobs: int | None) -> None:
    """Train on sets of both ways, score on real photographs, and print tables in Markdown."""
    if not REALDATA.is_dir():
        click.echo(
            f"No real photographs at {REALDATA}: SHM_REALDATA names their folder; without them nothing is measured."
        )
        return
    device = default_device(sizes == "large")
    gpu = device.type == "cuda"
    ways = (PLAIN, OURS, *(ONE_THING if each else ()))
    prepare(REALDATA, savedir, range(seeds))
    for network in ("M-Net", "both") if "end_to_end" in SIZES[sizes] else ("M-Net",):
        tasks = [Task(network, way, seed, savedir, sizes, gpu) for seed in range(seeds) for way in ways]
        carry_out(tasks, jobs or (1 if gpu else os.cpu_count() or 1))
    click.echo(machine(device))
    for line in report(savedir, range(seeds), ways):
        click.echo(line)


if __name__ == "__main__":
    main()
