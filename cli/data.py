"""The commands of `shm-data`: each parses, calls the library once, and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.entry import run, say
from cli.look import preview, report
from cli.options import PATH, build_options, from_table, jobs, plan_options, trimap_options
from shm_data import __version__

if TYPE_CHECKING:
    from shm_data.building.executors import Executor, Part
    from shm_data.dataset.manifest import Manifest
    from shm_data.exports.record import Kind
    from shm_data.options import CompositeOptions


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shm-data")
def data() -> None:
    """Make training sets for human matting: composites, alphas, trimaps, train and val lists."""


@data.command()
@plan_options(numbg=20)
@build_options
def composite(**options: Any) -> None:
    """Composite foregrounds over backgrounds into a training set.

    To resume a job that was stopped, run the same command again.
    """
    _composite(**options)


@data.command()
@plan_options(numbg=100, published=True)
@build_options
def prepare(**options: Any) -> None:
    """Import a published set (--pubdir), composite your own photos (--inimg), or both into one set."""
    _composite(**options)


@data.command()
@plan_options(numbg=20)
@click.option("--savedir", type=PATH, required=True, help="Folder for the plan.")
def plan(savedir: Path, jobs: int, **options: Any) -> None:
    """Write the plan of a set without making its samples. Training can read a plan (data=recipes).

    To make the samples, run composite with the same options.
    """
    from cli.progress import show
    from shm_data.building.build import write_plan
    from shm_data.dataset.manifest import summary
    from shm_data.options import CompositeOptions

    say(summary(write_plan(CompositeOptions.checked(**options), savedir, jobs, show)))
    click.echo(f"The plan is in {savedir}.")


@data.command()
@click.argument("dataset", type=PATH)
def finish(dataset: Path) -> None:
    """Write the lists of a data set that was made in parts, after the last part."""
    from shm_data.building.build import finish_parts
    from shm_data.dataset.manifest import summary

    say(summary(finish_parts(dataset)))
    click.echo(f"The data set is in {dataset}.")


@data.command()
@click.option("--inalp", type=PATH, required=True, help="An alpha, or a folder of alphas.")
@click.option("--savedir", type=PATH, required=True, help="Folder for the trimaps, one PNG for each alpha.")
@from_table("prefix")
@trimap_options
@jobs
def trimap(inalp: Path, savedir: Path, prefix: str | None, jobs: int, **options: Any) -> None:
    """Derive a trimap from an alpha, or from every alpha in a folder.

    In a folder of mixed files, photos and trimaps are skipped by their names.
    """
    from cli.progress import show
    from shm_data.building.trimaps import write_trimaps
    from shm_data.options import TrimapOptions

    remarks = write_trimaps(inalp, savedir, TrimapOptions.checked(**options), jobs, show, prefix=prefix)
    say([f"note: {remark}" for remark in remarks])
    click.echo(f"The trimaps are in {savedir}.")


@data.command()
@click.option("--inimg", type=PATH, required=True, help="Folder of photos.")
@click.option("--inmask", type=PATH, required=True, help="Folder of their masks: black and white, or labels.")
@click.option("--savedir", type=PATH, required=True, help="Folder for the alphas, one PNG for each photo.")
@from_table("prefix", "resize_alpha", "trimap_size")
@jobs
def matte(inimg: Path, inmask: Path, savedir: Path, trimap_size: str, **options: Any) -> None:
    """Estimate the alphas of photos from masks of the people in them.

    Near the edge of a mask alpha follows the colours of the photo, half a --trimap-size to the inside and a whole one
    to the outside. To resume a job that was stopped, run the same command again.
    """
    from cli.progress import show
    from shm_data.building.mattes import write_mattes
    from shm_data.options import TrimapOptions

    checked = TrimapOptions.checked(trimap_size=trimap_size)
    say(write_mattes(inimg, inmask, savedir, checked, progress=show, **options))
    click.echo(f"The alphas are in {savedir}. They are estimates, and marked as such.")


@data.command()
@click.argument("dataset", type=PATH, required=False)
@click.option(
    "--deep",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Make N samples again, and compare them with those on disk.",
)
@from_table("inimg", "inalp", "intri", "prefix", "layout", "resize_alpha")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@jobs
def check(dataset: Path | None, deep: int, jobs: int, as_json: bool, **options: Any) -> None:
    """Check DATASET, or the folders of --inimg before a set is made of them. Writes nothing.

    The exit code is 1 if something is wrong.
    """
    from cli.progress import show
    from shm_data.check import check_dataset, check_pairs, to_json, to_lines
    from shm_data.errors import ShmDataError

    layout, folders = options["layout"], any(value for name, value in options.items() if name != "layout")
    if dataset is not None and not folders and layout == "auto":
        verdict = check_dataset(dataset, deep=deep, jobs=jobs, progress=show)
    elif dataset is None and options["inimg"] is not None and not deep:
        verdict = check_pairs(**options, jobs=jobs, progress=show)
    else:
        raise ShmDataError("shm-data check", expected="a data set, with or without --deep, or folders (--inimg ...)")
    if as_json:
        click.echo(to_json(verdict, str(dataset or options["inimg"])))
    else:
        say(to_lines(verdict))
    if verdict.wrong:
        click.get_current_context().exit(1)


@data.command()
@click.option("--data", "dataset", type=PATH, required=True, help="Folder of a complete data set.")
@click.option("--savedir", type=PATH, required=True, help="Folder for the shards.")
@click.option(
    "--maxcount",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Largest number of samples in a shard.",
)
@jobs
def shards(dataset: Path, savedir: Path, maxcount: int, jobs: int) -> None:
    """Pack a data set into WebDataset shards: tar files that stream.

    To resume a job that was stopped, run the same command again.
    """
    from cli.progress import show
    from shm_data.dataset.shards import summary, write_shards

    click.echo(summary(write_shards(dataset, savedir, maxcount, jobs, show)))
    click.echo(f"The shards are in {savedir}.")


@data.command()
@click.argument("dataset", type=PATH)
@click.option(
    "--to",
    "kind",
    type=click.Choice(["hf", "birefnet", "fg-alpha-bg", "pairs"]),
    required=True,
    help="hf: for data set hubs and the library datasets; birefnet: folders im and gt; fg-alpha-bg: foreground "
    "colours, alphas and backgrounds; pairs: lists of an image and its alpha a line.",
)
@click.option("--savedir", type=PATH, required=True, help="Folder for the export.")
@jobs
def export(dataset: Path, kind: "Kind", savedir: Path, jobs: int) -> None:
    """Export DATASET, a data set or a folder of shards, to the folders that other trainers read.

    Pictures are hard links where possible. To resume a job that was stopped, run the same command again.
    """
    from cli.progress import show
    from shm_data.exports.export import export_dataset, summary

    click.echo(summary(export_dataset(dataset, savedir, kind, jobs, show)))
    click.echo(f"The export is in {savedir}.")


@data.command()
@click.argument("folder", type=PATH)
@jobs
def demo(folder: Path, jobs: int) -> None:
    """Make a small data set in FOLDER, from an embedded example, with a contact sheet of its samples."""
    from cli.progress import show
    from shm_data.building.build import composite as build
    from shm_data.building.executors import Threads
    from shm_data.dataset.manifest import summary
    from shm_data.demo import options, refuse_other, write_sources
    from shm_data.files import clear_leftovers, locked, make_folders
    from shm_data.images import write_png
    from shm_data.report.contact_sheet import sheet_of

    sources, dataset, sheet = folder / "sources", folder / "dataset", folder / "contact_sheet.png"
    refuse_other(folder)
    make_folders(folder)
    with locked(folder):
        clear_leftovers(folder, *(path for path in sources.rglob("*") if path.is_dir()))
        write_sources(sources)
        manifest = build(options(sources), dataset, Threads(jobs), show)
        write_png(sheet, sheet_of(dataset))
    say(summary(manifest))
    click.echo(f"The data set is in {dataset}; {sheet} shows some samples.")


data.add_command(report)
data.add_command(preview)


def _composite(savedir: Path, dry_run: bool, part: str | None, cluster: str | None, **options: Any) -> None:
    from cli.progress import show
    from shm_data.building.build import composite as make
    from shm_data.building.executors import Part
    from shm_data.dataset.manifest import summary
    from shm_data.options import CompositeOptions

    jobs, link, verify = (options.pop(name) for name in ("jobs", "link", "verify"))
    checked = CompositeOptions.checked(**options)
    executor = _executor(part, cluster, jobs)
    if dry_run:
        _dry_run(checked, savedir, executor, verify=verify)
        return
    manifest = make(checked, savedir, executor, show, link=link, verify=verify)
    if isinstance(executor, Part):
        _say_part(executor, savedir, manifest)
    if manifest.complete:
        say(summary(manifest))
        click.echo(f"The data set is in {savedir}.")


def _executor(part: str | None, cluster: str | None, jobs: int) -> "Executor":
    from shm_data.building.executors import Part, Threads

    if part is not None and cluster is not None:
        raise click.UsageError("--part and --cluster exclude each other: a cluster divides the work by itself")
    if cluster is not None:
        from shm_data.building.dask_executor import DaskCluster

        return DaskCluster(cluster, jobs)
    return Threads(jobs) if part is None else Part.parse(part, jobs)


def _dry_run(options: "CompositeOptions", savedir: Path, executor: "Executor", *, verify: bool) -> None:
    from cli.progress import show
    from shm_data.building.estimate import estimate_bytes
    from shm_data.building.executors import Part
    from shm_data.dataset.manifest import summary
    from shm_data.dataset.recipes import to_line
    from shm_data.dataset.store import Dataset
    from shm_data.planning.plan import current_plan

    planned = current_plan(Dataset(savedir), options, executor.jobs, show, verify=verify)
    say(["Dry run: nothing was written. The data set would be:", *summary(planned.manifest, recorded=False)])
    if isinstance(executor, Part):
        count = len(executor.indices(planned.manifest.counts.samples))
        click.echo(f"{count} of the samples are part {executor.number} of {executor.count}; of them all:")
    click.echo(f"about {estimate_bytes(planned) / 1e6:.1f} MB on disk; for example:")
    say([to_line(recipe) for recipe in planned.examples(3)])


def _say_part(part: "Part", savedir: Path, manifest: "Manifest") -> None:
    from shm_data.building.executors import missing_parts
    from shm_data.dataset.store import Dataset

    total = manifest.counts.samples
    click.echo(f"Part {part.number} of {part.count} is made: {len(part.indices(total))} of {total} samples.")
    if not manifest.complete:
        dataset = Dataset(savedir)
        recorded = dataset.recorded_plan()
        missing = missing_parts(recorded, dataset, part.count) if recorded else []
        click.echo(f"Parts that are missing: {', '.join(map(str, missing))}.")


def main() -> None:
    """Run the program `shm-data`."""
    run(data)
