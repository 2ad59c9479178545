"""How long `check` and `report` take, compared with making the set: `python -m benchmarks.check`.

All three run in this process after a warm-up, in turn, on a set of about 1 Mpx per sample. Wall-clock times are
those of an idle machine only; the time of all cores together (CPU) tells more on a busy one.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import click

from benchmarks.sources import write_sources
from shm_data.building.build import composite
from shm_data.check import check_dataset
from shm_data.options import CompositeOptions
from shm_data.report import write_report


def measure(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds by the clock and of all cores that a call takes."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    call()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option("--foregrounds", default=16, show_default=True)
@click.option("--numbg", default=20, show_default=True, help="Backgrounds per foreground.")
@click.option("--turns", default=3, show_default=True)
@click.option("--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the sets are written.  [default: a new one]")
def main(foregrounds: int, numbg: int, turns: int, form: str, folder: Path | None) -> None:
    """Print the times of composite, check and report, and their ratios to composite."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root = Path(scratch)
        click.echo(write_sources(root / "sources", 1_000_000, foregrounds, 60))
        sources = {"inimg": root / "sources/photos", "inalp": root / "sources/alphas"}
        options = CompositeOptions.checked(
            **sources, bgdir=(root / "sources/backgrounds",), numbg=numbg, format=form, augment=()
        )
        times: dict[str, list[tuple[float, float]]] = {"composite": [], "check": [], "report": []}
        for turn in range(turns + 1):
            folder = root / f"set{turn}"
            calls = {
                "composite": partial(composite, options, folder),
                "check": partial(check_dataset, folder),
                "report": partial(write_report, folder),
            }
            for name, call in calls.items():
                taken = measure(call)
                times[name] += [taken] if turn else []  # the first turn warms up
        click.echo("| | seconds | CPU seconds | of composite | of composite, CPU |\n|---|---:|---:|---:|---:|")
        for name, taken in times.items():
            wall, cpu = (median(each[kind] for each in taken) for kind in (0, 1))
            shares = [
                median(a[kind] / b[kind] for a, b in zip(taken, times["composite"], strict=True)) for kind in (0, 1)
            ]
            click.echo(f"| {name} | {wall:.1f} | {cpu:.1f} | {shares[0]:.2f} | {shares[1]:.2f} |")


if __name__ == "__main__":
    main()
