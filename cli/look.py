"""Commands of `shm-data` that show a data set: before it is made, and after."""

from pathlib import Path
from typing import Any

import click

from cli.entry import say
from cli.options import PATH, jobs, plan_options


@click.command()
@click.argument("dataset", type=PATH)
@click.option("--out", type=PATH, help="File for the page.  [default: DATASET/report.html]")
@jobs
def report(dataset: Path, out: Path | None, jobs: int) -> None:
    """Write a page about DATASET: one file for a browser, which needs no network.

    It shows samples, statistics, what train and val share, what was skipped, and the findings of `check`.
    """
    from cli.progress import show
    from shm_data.report import write_report

    click.echo(f"The report is {write_report(dataset, out, jobs, show)}.")


@click.command()
@plan_options(numbg=20)
@click.option(
    "--count", type=click.IntRange(1, 100), default=12, show_default=True, help="Approximate number of samples."
)
@click.option(
    "--size", type=click.IntRange(64, 1024), default=320, show_default=True, help="Long edge of each picture in px."
)
@click.option("--out", type=PATH, required=True, help="File for the sheet, a PNG.")
def preview(count: int, size: int, out: Path, jobs: int, **options: Any) -> None:
    """Draw a contact sheet of samples that composite would make with the same options. Writes nothing else."""
    from cli.progress import show
    from shm_data.dataset.manifest import summary
    from shm_data.options import CompositeOptions
    from shm_data.report.preview import preview as draw

    manifest = draw(CompositeOptions.checked(**options), out, count, tile=size, jobs=jobs, progress=show)
    say(["Preview: no data set was written. It would be:", *summary(manifest, recorded=False)])
    click.echo(f"{out} shows some samples.")
