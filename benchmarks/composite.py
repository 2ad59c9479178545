"""Measures `shm-data composite` against a simple script like the public ones, and against a lower bound, the floor.

Every row is a whole process, start-up included. In each round every row runs once, so that a slow machine slows all
of them; a ratio is the median of the ratios within a round. One more round at the start, with few backgrounds, warms
the page cache and the compiled code; memory is measured in it.
"""

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.memory import hold_memory
from benchmarks.processes import NotAvailableError, Usage, disk_use, run

# The numbers of backgrounds per foreground with which each size (width, height) is measured.
Plan = dict[tuple[int, int], tuple[int, ...]]

HERE = Path(__file__).parent
SHM_DATA = str(Path(sysconfig.get_path("scripts")) / "shm-data")
CORES = len(os.sched_getaffinity(0))
FORMATS = ("png", "jpg", "webp")
PACKAGES = ("numpy", "opencv-python-headless", "pillow", "numba")

# About 1 megapixel, for which the goals are set; all other sizes; backgrounds per foreground of each.
USUAL, MATRIX = (1200, 900), ((800, 600), (1500, 1500), (4000, 3000))
USUAL_NUMBG, MATRIX_NUMBG = (20, 60), (20, 100)

# Speed-ups over the simple script by (format, backgrounds per foreground); and the other goals.
GOALS = {("png", 20): 8, ("png", 60): 10, ("jpg", 60): 14}
LEAST_FLOOR, MOST_DISK, MOST_BYTES, MOST_FIXED, MOST_HELP = 0.85, 0.7, 30, 1.0, 0.1

_WARM_UP = 8  # backgrounds
_MOST_OTHERS = 0.05  # of the CPU time; with more, wall-clock times measure the other processes
_TINY = 64 * 48  # pixels
_LIBRARY_OPTIONS = {"png": (), "jpg": ("--format", "jpg", "--quality", "95"), "webp": ("--format", "webp")}


@dataclass
class Row:
    """A command that makes the set, and its measurements, one per round; `why` says why it is not available."""

    name: str
    command: Callable[[Path, int], list[str]]  # takes the output folder and the backgrounds per foreground
    form: str = "png"
    estimated: bool = False
    workers: int = 1
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak: int = 0
    disk: int = 0
    why: str = ""


@dataclass
class Table:
    """The rows of one size and number of backgrounds, and the milliseconds of each stage, one per round."""

    area: int
    numbg: int
    samples: int
    rows: list[Row]
    floors: list[dict[str, float]] = field(default_factory=list)
    together: list[float] = field(default_factory=list)

    def ratios(self, row: Row) -> list[float]:
        """Return the speed-ups of a row over the simple script, one per round."""
        return [base / own for base, own in zip(self.rows[0].walls, row.walls, strict=True)]

    def least(self, row: Row) -> list[float]:
        """Return the floor in seconds for the whole set, with all workers of the row busy, one per round."""
        return [self.samples * least(stages, row, self.numbg) for stages in self.floors]

    def shares(self, row: Row) -> list[float]:
        """Return the share of the floor in the time of a row, one per round."""
        return [least / own for least, own in zip(self.least(row), row.walls, strict=True)]

    def long_share(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """Return the share of the floor in a much longer job: without the time that a tiny job takes."""
        start = median(fixed[_tiny(row.estimated)].walls)
        return median(least / (own - start) for least, own in zip(self.least(row), row.walls, strict=True))

    def reachable(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """Return the speed-up that a row could reach: the time of a tiny job, then the floor."""
        start = median(fixed[_tiny(row.estimated)].walls)
        pairs = zip(self.rows[0].walls, self.least(row), strict=True)
        return median(base / (start + least) for base, least in pairs)

    def bytes_a_pixel(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """Return the bytes per worker and pixel of a foreground, beyond the memory of a tiny job."""
        return (row.peak - fixed[_tiny(row.estimated)].peak) / self.area / row.workers


@dataclass
class Fixed:
    """The cost of a command that makes next to nothing: seconds, one per round, and bytes at its peak."""

    walls: list[float] = field(default_factory=list)
    peak: int = 0


def composited(sources: Path, *options: str) -> Callable[[Path, int], list[str]]:
    """Return the command of `shm-data` as a function. One split: both draw from all backgrounds."""

    def command(savedir: Path, numbg: int) -> list[str]:
        folders = {"inimg": "photos", "inalp": "alphas", "bgdir": "backgrounds"}
        inputs = [text for name, folder in folders.items() for text in (f"--{name}", str(sources / folder))]
        count = ["--no-originals", "--trainsplit", "1", "--numbg", str(numbg), "--savedir", str(savedir)]
        return [SHM_DATA, "composite", "--augment", "none", *inputs, *count, *options]

    return command


def rows_of(sources: Path, formats: Sequence[str], *, everything: bool) -> list[Row]:
    """Return the simple script, then ours by format, colours (photo or estimated) and workers (one or all cores)."""
    script = [sys.executable, str(HERE / "plain.py"), str(sources)]
    rows = [Row("simple script", lambda savedir, numbg: [*script, str(savedir), "--numbg", str(numbg)])]
    for form in formats:
        for estimated in (False, True):
            for workers in sorted({1, CORES}):
                if form == "webp" and not everything and (estimated or workers < CORES):
                    continue  # it takes several times as long as any other
                options = [*_LIBRARY_OPTIONS[form], *(() if estimated else ("--foreground", "photo"))]
                options += ["--jobs", str(workers)]
                name = f"{form}, {'estimated colours' if estimated else 'photo colours'}, {_counted(workers)}"
                rows.append(Row(name, composited(sources, *options), form, estimated, workers))
    return rows


def measure(table: Table, sources: Path, formats: Sequence[str], rounds: int) -> None:
    """Measure all rows and the floor once per round. The order shifts from round to round."""
    hold_memory(sources.parent)
    for row in table.rows:
        _make(row, sources, min(table.numbg, _WARM_UP), watched=True)
    formats = [form for form in formats if any(row.form == form and not row.why for row in table.rows[1:])]
    for number in range(rounds):
        table.floors.append(floor(sources, formats, table.numbg, 1)[0])
        table.together.append(_slowdown(floor(sources, formats, table.numbg, CORES), table.floors[-1]))
        rows = [row for row in table.rows if not row.why]
        for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
            usage = _make(row, sources, table.numbg)
            row.walls.append(usage.wall)
            row.cpus.append(usage.cpu)
            row.others.append(usage.others / usage.wall / CORES)
            click.echo(f"round {number + 1} of {rounds}: {row.name} {usage.wall:.1f} s", err=True)


def _make(row: Row, sources: Path, numbg: int, *, watched: bool = False) -> Usage:
    """Make a set, measure it, and empty its files."""
    savedir = sources / "made"
    os.sync()  # otherwise the time would include earlier writes
    try:
        usage = run(row.command(savedir, numbg), watched=watched)
        row.peak, row.disk = max(row.peak, usage.peak), disk_use(savedir)
        found, expected = len(list((savedir / "input").iterdir())), numbg * len(list((sources / "photos").iterdir()))
        if found != expected:
            raise click.ClickException(f"{row.name}: found {found} composites, expected {expected}")
        return usage
    except NotAvailableError as error:
        row.why = str(error)
        return Usage(0, 0, 0, 0)
    finally:
        _empty(savedir)


def _empty(savedir: Path) -> None:
    """Free the disk space of a set: truncate its files and rename the folder, but remove nothing.

    For minutes after files are removed, ext4 checks each freed inode before it uses it again, which made creating the
    files of the next set three times as slow.
    """
    if savedir.is_dir():
        for path in savedir.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)
        savedir.rename(tempfile.mkdtemp(dir=savedir.parent, prefix="emptied"))


def floor(sources: Path, formats: Sequence[str], numbg: int, processes: int) -> list[dict[str, float]]:
    """Return the milliseconds of each stage, measured by several processes at once that share the work."""
    options = ["--count", str(max(1, numbg // processes)), *(text for form in formats for text in ("--format", form))]
    folders = [Path(tempfile.mkdtemp(dir=sources, prefix="floor")) for _ in range(processes)]
    commands = [[sys.executable, str(HERE / "floor.py"), str(sources), str(folder), *options] for folder in folders]
    os.sync()
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    stages = [json.loads(process.communicate()[0]) for process in started]
    for folder in folders:
        _empty(folder)
    return stages


def _slowdown(together: list[dict[str, float]], alone: dict[str, float]) -> float:
    stages = ("decode", "resize", "blend", next(form for form in FORMATS if form in alone))
    return sum(each[stage] for each in together for stage in stages) / sum(alone[s] * len(together) for s in stages)


def least(stages: dict[str, float], row: Row, numbg: int) -> float:
    """Return the floor of a row in seconds per composite, with all its workers busy."""
    of_foreground = ["read foreground", "trimap", "encode alpha and trimap", *(["estimate"] if row.estimated else [])]
    of_composite = ["decode", "resize", "blend", row.form, f"write {row.form}", "link"]
    own, shared = (sum(stages[stage] for stage in names) for names in (of_composite, of_foreground))
    return (own + shared / numbg) / row.workers / 1000


def lines_of(table: Table) -> Iterator[str]:
    """Return the rows in Markdown, then the speed-ups that the floor would reach."""
    base = table.rows[0]
    yield "| | speed-up | CPU speed-up | composites/s | CPU ms each | MB | size ratio | peak MB | floor / time |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in table.rows:
        if row.why:
            yield f"| {row.name} | not available: {row.why} | | | | | | | |"
            continue
        cells = (
            f"**{_spread(table.ratios(row), '.1f')}**",
            f"{row.workers * median(base.cpus) / median(row.cpus):.1f}",
            f"{table.samples / median(row.walls):.1f}",
            f"{1000 * median(row.cpus) / table.samples:.1f}",
            f"{row.disk / 1e6:.1f}",
            f"{row.disk / base.disk:.2f}",
            f"{row.peak / 1e6:.0f}",
            "" if row is base else _spread(table.shares(row), ".0%"),
        )
        yield f"| {row.name} | {' | '.join(cells)} |"
    for row in table.rows[1:]:
        if row.workers == CORES and not row.why:
            floor = table.least(row)
            faster = _spread([wall / least for wall, least in zip(base.walls, floor, strict=True)], ".1f")
            yield f"| *floor of {row.name}* | {faster} | | {table.samples / median(floor):.1f} | | | | | |"


def stage_line(table: Table) -> str:
    """Return a sentence on the stages of the floor, on parallel processes, and on the load by other programs."""
    stages = ", ".join(f"{name} {median(each[name] for each in table.floors):.2f}" for name in table.floors[0])
    others = _spread([share for row in table.rows for share in row.others], ".0%")
    return (
        f"Floor, ms in one thread: {stages}. "
        f"With {CORES} processes at once each takes {_spread(table.together, '.2f')} times as long. "
        f"Other programs used {others} of the CPU time, which slows several workers more than one; "
        'the "CPU speed-up" compares CPU time with all workers busy, which an idle machine would come close to.'
    )


def fixed_costs(sources: Path, tiny: Path, rounds: int) -> dict[str, Fixed]:
    """Measure the costs that do not depend on the size of the job, once per round."""
    shutil.copytree(sources / "backgrounds", tiny / "backgrounds", dirs_exist_ok=True)
    savedir = tiny / "made"
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "python, click": [sys.executable, "-c", "import click"],
        "shm-data --help": [SHM_DATA, "--help"],
        _tiny(estimated=False): composited(tiny, "--foreground", "photo")(savedir, 1),
        _tiny(estimated=True): composited(tiny)(savedir, 1),
    }
    found = {name: Fixed() for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            usage = run(command, watched=number == 0)
            _empty(savedir)
            found[name].peak = max(found[name].peak, usage.peak)
            found[name].walls += [usage.wall] if number else []
    return found


def fixed_lines(fixed: dict[str, Fixed]) -> Iterator[str]:
    """Return the fixed costs in Markdown."""
    yield "| fixed cost | seconds | peak MB |"
    yield "|---|---:|---:|"
    for name, cost in fixed.items():
        yield f"| {name} | {_spread(cost.walls, '.2f')} | {cost.peak / 1e6:.0f} |"


def goal_lines(tables: Sequence[Table], fixed: dict[str, Fixed]) -> Iterator[str]:
    """Return the goals and the results in Markdown, with one worker per core."""
    others = median(share for table in tables for row in table.rows for share in row.others)
    if others > _MOST_OTHERS:
        yield f"**Do not quote these figures: other programs used {others:.0%} of the CPU time.**\n"
    yield "| goal | expected | photo colours, as in the simple script | estimated colours, the default |"
    yield "|---|---:|---:|---:|"
    for table in tables:
        title = f"{table.area / 1e6:.2f} Mpx, {table.numbg} backgrounds"
        for (form, numbg), expected in GOALS.items():
            if table.area == USUAL[0] * USUAL[1] and table.numbg == numbg:
                cells = _verdicts(table, form, lambda t, row: median(t.ratios(row)), expected)
                yield f"| {form}, {title}: speed-up | at least {expected} | {cells} |"
                cells = _verdicts(table, form, lambda t, row: t.reachable(row, fixed))
                yield f"| the same, if the job took only the start-up and the floor | | {cells} |"
        for form in dict.fromkeys(row.form for row in table.rows):
            cells = _verdicts(table, form, lambda t, row: t.long_share(row, fixed), LEAST_FLOOR)
            yield f"| {form}, {title}: floor / time without start-up | at least {LEAST_FLOOR} | {cells} |"
        cells = _verdicts(table, "png", lambda t, row: row.disk / t.rows[0].disk, -MOST_DISK)
        yield f"| png, {title}: size ratio | at most {MOST_DISK} | {cells} |"
        cells = _verdicts(table, "png", lambda t, row: t.bytes_a_pixel(row, fixed), -MOST_BYTES)
        yield f"| png, {title}: bytes per pixel and worker | at most {MOST_BYTES} | {cells} |"
    seconds = {name: median(cost.walls) for name, cost in fixed.items()}
    cells = " | ".join(_verdict(seconds[_tiny(estimated)], -MOST_FIXED) for estimated in (False, True))
    yield f"| one tiny composite, s | at most {MOST_FIXED} | {cells} |"
    more = seconds["shm-data --help"] - seconds["python, click"]
    yield f"| `shm-data --help`, s beyond Python and click | at most {MOST_HELP} | {_verdict(more, -MOST_HELP)} | |"


def _tiny(estimated: bool) -> str:
    return f"one tiny composite, {'estimated' if estimated else 'photo'} colours"


def _verdicts(table: Table, form: str, value: Callable[[Table, Row], float], expected: float | None = None) -> str:
    """Return the cells of the rows with one worker per core: photo colours, then estimated ones."""
    rows = [row for row in table.rows[1:] if row.form == form and row.workers == CORES]
    return " | ".join("not available" if row.why else _verdict(value(table, row), expected) for row in rows)


def _verdict(value: float, expected: float | None) -> str:
    """Return a value and whether it met the expectation: at least `expected` or, if that is negative, at most."""
    if expected is None:
        return f"{value:.2f}"
    met = value >= expected if expected > 0 else value <= -expected
    return f"{value:.2f}, {'met' if met else '**missed**'}"


def _spread(values: Sequence[float], form: str) -> str:
    """Return "median (least to most)"."""
    low, high = format(min(values), form), format(max(values), form)
    return f"{format(median(values), form)} ({low} to {high})"


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def machine() -> str:
    """Return the machine and the packages of a measurement."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{model}, {CORES} cores, load {load}; Python {platform.python_version()}, {packages}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def pictures(folder: Path, area: int, foregrounds: int, backgrounds: int) -> str:
    """Write sources to a new folder and return their description."""
    options = ["--area", str(area), "--foregrounds", str(foregrounds), "--backgrounds", str(backgrounds)]
    command = [sys.executable, str(HERE / "sources.py"), str(folder), *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def report(folder: Path, sizes: Plan, options: dict[str, Any]) -> None:
    """Measure each size and number of backgrounds, and print each table as soon as it is ready."""
    tables = []
    for (width, height), numbgs in sizes.items():
        area, sources = width * height, folder / f"{width}x{height}"
        foregrounds = options["foregrounds"] or min(8, max(CORES, round(8 * USUAL[0] * USUAL[1] / area)))
        click.echo(f"\n{pictures(sources, area, foregrounds, 100)}.")
        for numbg in numbgs:
            slow = {"webp"} if numbg != numbgs[0] and not options["everything"] else set()
            formats = [form for form in options["formats"] if form not in slow]
            rows = rows_of(sources, formats, everything=options["everything"])
            table = Table(area, numbg, numbg * foregrounds, rows)
            measure(table, sources, formats, options["rounds"])
            click.echo(f"\n### {width}x{height}, {numbg} backgrounds per foreground\n")
            click.echo("\n".join([*lines_of(table), "", stage_line(table)]))
            tables.append(table)
    tiny = folder / "tiny"
    pictures(tiny, _TINY, 1, 1)
    fixed = fixed_costs(sources, tiny, options["rounds"])
    click.echo("\n".join(["\n### Fixed costs\n", *fixed_lines(fixed), "\n### Goals\n", *goal_lines(tables, fixed)]))


def _size(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[int, int]]:
    """Parse sizes such as 1200x900; photos keep their shape, so only the area counts."""
    del context, parameter
    try:
        return [(int(width), int(height)) for width, height in (value.split("x") for value in values)]
    except ValueError as error:
        raise click.BadParameter("expected sizes such as 1200x900") from error


@click.command()
@click.option("--size", "sizes", multiple=True, callback=_size, help="Size of a foreground; default 1200x900.")
@click.option("--numbg", "numbgs", multiple=True, type=int, help="Backgrounds per foreground; default 20 and 60.")
@click.option(
    "--foregrounds", type=click.IntRange(1), help="Number of foregrounds; default 8, fewer if they are large."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Number of rounds.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), default=FORMATS)
@click.option("--all", "everything", is_flag=True, help="All sizes and rows; takes some hours.")
@click.option("--folder", type=click.Path(path_type=Path), help="Working folder; by default a temporary one.")
def main(
    sizes: list[tuple[int, int]], numbgs: tuple[int, ...], everything: bool, folder: Path | None, **options: Any
) -> None:
    """Measure `shm-data composite` and print tables in Markdown."""
    matrix: Plan = {USUAL: USUAL_NUMBG, **dict.fromkeys(MATRIX, MATRIX_NUMBG)}
    chosen = matrix if everything else dict.fromkeys(sizes or [USUAL], numbgs or USUAL_NUMBG)
    command = " ".join(["python -m benchmarks.composite", *sys.argv[1:]])
    click.echo(f"`{command}`, {datetime.date.today()}\n\n{machine()}")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        report(Path(work), chosen, options | {"everything": everything})
    click.echo(f"\nLoad at the end: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
