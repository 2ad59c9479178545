"""How fast `shm-data composite` is: against the plain way of public scripts, and against the least it could cost.

Every row is a whole process, start-up included. All rows take turns, so that a machine that slows down slows all of
them; a ratio is the median of those within a turn. One turn before the others, on few backgrounds, warms the page
cache and the compiled code, and there memory is watched.
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

# Backgrounds a foreground that each size (width, height) is measured with.
Plan = dict[tuple[int, int], tuple[int, ...]]

HERE = Path(__file__).parent
SHM_DATA = str(Path(sysconfig.get_path("scripts")) / "shm-data")
CORES = len(os.sched_getaffinity(0))
FORMATS = ("png", "jpg", "webp")
PACKAGES = ("numpy", "opencv-python-headless", "pillow", "numba", "joblib")

# About 1 megapixel, at which the goals are set; the matrix; backgrounds a foreground of each.
USUAL, MATRIX = (1200, 900), ((800, 600), (1500, 1500), (4000, 3000))
USUAL_NUMBG, MATRIX_NUMBG = (20, 60), (20, 100)

# How many times as fast as the plain way (format, backgrounds a foreground); and the other goals.
GOALS = {("png", 20): 8, ("png", 60): 10, ("jpg", 60): 14}
LEAST_FLOOR, MOST_DISK, MOST_BYTES, MOST_FIXED, MOST_HELP = 0.85, 0.7, 30, 1.0, 0.1

_WARM_UP = 8  # backgrounds
_MOST_OTHERS = 0.05  # of the machine, or wall-clock times tell nothing of ours
_TINY = 64 * 48  # pixels
_LIBRARY_OPTIONS = {"png": (), "jpg": ("--format", "jpg", "--quality", "95"), "webp": ("--format", "webp")}


@dataclass
class Row:
    """A way to make the set, and what its turns took. `why` is empty unless it is not available."""

    name: str
    command: Callable[[Path, int], list[str]]  # of the folder to write to, and backgrounds a foreground
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
    """The rows of one size and number of backgrounds, and the stages' milliseconds in each turn."""

    area: int
    numbg: int
    samples: int
    rows: list[Row]
    floors: list[dict[str, float]] = field(default_factory=list)
    together: list[float] = field(default_factory=list)

    def ratios(self, row: Row) -> list[float]:
        """How many times as fast as the plain way a row is, in each turn."""
        return [plain / own for plain, own in zip(self.rows[0].walls, row.walls, strict=True)]

    def least(self, row: Row) -> list[float]:
        """Seconds that the whole set costs at least with all the row's workers busy, in each turn."""
        return [self.samples * least(stages, row, self.numbg) for stages in self.floors]

    def shares(self, row: Row) -> list[float]:
        """Which part of a row's time is unavoidable, in each turn."""
        return [least / own for least, own in zip(self.least(row), row.walls, strict=True)]

    def long_share(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """The share of what is unavoidable that a much longer job comes to: without what a tiny job takes."""
        start = median(fixed[_tiny(row.estimated)].walls)
        return median(least / (own - start) for least, own in zip(self.least(row), row.walls, strict=True))

    def reachable(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """How many times as fast as the plain way a row could be: a tiny job, then what is unavoidable."""
        start = median(fixed[_tiny(row.estimated)].walls)
        pairs = zip(self.rows[0].walls, self.least(row), strict=True)
        return median(plain / (start + least) for plain, least in pairs)

    def bytes_a_pixel(self, row: Row, fixed: "dict[str, Fixed]") -> float:
        """Memory of a worker for each pixel of a foreground, beyond what a tiny job takes."""
        return (row.peak - fixed[_tiny(row.estimated)].peak) / self.area / row.workers


@dataclass
class Fixed:
    """What a command takes that makes next to nothing: seconds in each turn, and bytes at its peak."""

    walls: list[float] = field(default_factory=list)
    peak: int = 0


def composited(sources: Path, *options: str) -> Callable[[Path, int], list[str]]:
    """The command line of ours. All in one split, so that both ways draw from the same backgrounds."""

    def command(savedir: Path, numbg: int) -> list[str]:
        folders = {"inimg": "photos", "inalp": "alphas", "bgdir": "backgrounds"}
        given = [text for name, folder in folders.items() for text in (f"--{name}", str(sources / folder))]
        count = ["--no-originals", "--trainsplit", "1", "--numbg", str(numbg), "--savedir", str(savedir)]
        return [SHM_DATA, "composite", *given, *count, *options]

    return command


def rows_of(sources: Path, formats: Sequence[str], *, everything: bool) -> list[Row]:
    """The plain way and ours: each format, one worker and all, with the photo's colours and with estimated ones."""
    script = [sys.executable, str(HERE / "plain.py"), str(sources)]
    rows = [Row("the plain way", lambda savedir, numbg: [*script, str(savedir), "--numbg", str(numbg)])]
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
    """Lets all rows and the floor take turns. The order shifts from turn to turn."""
    hold_memory(sources.parent)
    for row in table.rows:
        _make(row, sources, min(table.numbg, _WARM_UP), watched=True)
    formats = [form for form in formats if any(row.form == form and not row.why for row in table.rows[1:])]
    for turn in range(rounds):
        table.floors.append(floor(sources, formats, table.numbg, 1)[0])
        table.together.append(_slowdown(floor(sources, formats, table.numbg, CORES), table.floors[-1]))
        rows = [row for row in table.rows if not row.why]
        for row in rows[turn % len(rows) :] + rows[: turn % len(rows)]:
            usage = _make(row, sources, table.numbg)
            row.walls.append(usage.wall)
            row.cpus.append(usage.cpu)
            row.others.append(usage.others / usage.wall / CORES)
            click.echo(f"turn {turn + 1} of {rounds}: {row.name} {usage.wall:.1f} s", err=True)


def _make(row: Row, sources: Path, numbg: int, *, watched: bool = False) -> Usage:
    """Makes a set, measures and empties it."""
    savedir = sources / "made"
    os.sync()  # or somebody else's writing would be waited for
    try:
        usage = run(row.command(savedir, numbg), watched=watched)
        row.peak, row.disk = max(row.peak, usage.peak), disk_use(savedir)
        found, expected = len(list((savedir / "input").iterdir())), numbg * len(list((sources / "photos").iterdir()))
        if found != expected:
            raise click.ClickException(f"{row.name} made {found} composites instead of {expected}")
        return usage
    except NotAvailableError as error:
        row.why = str(error)
        return Usage(0, 0, 0, 0)
    finally:
        _empty(savedir)


def _empty(savedir: Path) -> None:
    """Makes room for the next set: the files are emptied and put aside, but not removed.

    ext4 gives the places of removed files away for minutes only after it has looked at each of them, which made every
    file of the next set three times as slow to create.
    """
    if savedir.is_dir():
        for path in savedir.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)
        savedir.rename(tempfile.mkdtemp(dir=savedir.parent, prefix="emptied"))


def floor(sources: Path, formats: Sequence[str], numbg: int, processes: int) -> list[dict[str, float]]:
    """Milliseconds of each stage, by as many processes at once that share the work."""
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
    """Seconds that a composite of a row costs at least, all its workers busy."""
    of_foreground = ["read foreground", "trimap", "encode alpha and trimap", *(["estimate"] if row.estimated else [])]
    of_composite = ["decode", "resize", "blend", row.form, f"write {row.form}", "link"]
    own, shared = (sum(stages[stage] for stage in names) for names in (of_composite, of_foreground))
    return (own + shared / numbg) / row.workers / 1000


def lines_of(table: Table) -> Iterator[str]:
    """The rows in Markdown, then what the floor would reach."""
    plain = table.rows[0]
    yield "| | plain / this | by CPU | composites/s | CPU ms each | MB | of plain's | peak MB | of the floor |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in table.rows:
        if row.why:
            yield f"| {row.name} | not available: {row.why} | | | | | | | |"
            continue
        cells = (
            f"**{_spread(table.ratios(row), '.1f')}**",
            f"{row.workers * median(plain.cpus) / median(row.cpus):.1f}",
            f"{table.samples / median(row.walls):.1f}",
            f"{1000 * median(row.cpus) / table.samples:.1f}",
            f"{row.disk / 1e6:.1f}",
            f"{row.disk / plain.disk:.2f}",
            f"{row.peak / 1e6:.0f}",
            "" if row is plain else _spread(table.shares(row), ".0%"),
        )
        yield f"| {row.name} | {' | '.join(cells)} |"
    for row in table.rows[1:]:
        if row.workers == CORES and not row.why:
            floor = table.least(row)
            faster = _spread([wall / least for wall, least in zip(plain.walls, floor, strict=True)], ".1f")
            yield f"| *floor of {row.name}* | {faster} | | {table.samples / median(floor):.1f} | | | | | |"


def stage_line(table: Table) -> str:
    """The floor's stages, how much several processes hinder one another, and how much others did."""
    stages = ", ".join(f"{name} {median(each[name] for each in table.floors):.2f}" for name in table.floors[0])
    others = _spread([share for row in table.rows for share in row.others], ".0%")
    return (
        f"Floor, ms in one thread: {stages}. "
        f"{CORES} processes at once take {_spread(table.together, '.2f')} times as long each. "
        f"Other processes took {others} of the machine meanwhile, which slows several workers more than one; "
        '"By CPU" compares the time of processors, all workers busy: about what nobody else there would make of it.'
    )


def fixed_costs(sources: Path, tiny: Path, rounds: int) -> dict[str, Fixed]:
    """What is paid however small the job, in turns."""
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
    for turn in range(rounds + 1):
        for name, command in commands.items():
            usage = run(command, watched=turn == 0)
            _empty(savedir)
            found[name].peak = max(found[name].peak, usage.peak)
            found[name].walls += [usage.wall] if turn else []
    return found


def fixed_lines(fixed: dict[str, Fixed]) -> Iterator[str]:
    """The fixed costs in Markdown."""
    yield "| fixed cost | seconds | peak MB |"
    yield "|---|---:|---:|"
    for name, cost in fixed.items():
        yield f"| {name} | {_spread(cost.walls, '.2f')} | {cost.peak / 1e6:.0f} |"


def goal_lines(tables: Sequence[Table], fixed: dict[str, Fixed]) -> Iterator[str]:
    """What was aimed at and what came of it, with all workers."""
    others = median(share for table in tables for row in table.rows for share in row.others)
    if others > _MOST_OTHERS:
        yield f"**Not to be quoted: other processes took {others:.0%} of the machine.**\n"
    yield "| goal | expected | photo colours, as in the plain way | estimated colours, the default |"
    yield "|---|---:|---:|---:|"
    for table in tables:
        title = f"{table.area / 1e6:.2f} Mpx, {table.numbg} backgrounds"
        for (form, numbg), expected in GOALS.items():
            if table.area == USUAL[0] * USUAL[1] and table.numbg == numbg:
                cells = _verdicts(table, form, lambda t, row: median(t.ratios(row)), expected)
                yield f"| {form}, {title}: plain / ours | at least {expected} | {cells} |"
                cells = _verdicts(table, form, lambda t, row: t.reachable(row, fixed))
                yield f"| the same, if after the start-up nothing were done but the floor | | {cells} |"
        for form in dict.fromkeys(row.form for row in table.rows):
            cells = _verdicts(table, form, lambda t, row: t.long_share(row, fixed), LEAST_FLOOR)
            yield f"| {form}, {title}: of the floor, start-up left out | at least {LEAST_FLOOR} | {cells} |"
        cells = _verdicts(table, "png", lambda t, row: row.disk / t.rows[0].disk, -MOST_DISK)
        yield f"| png, {title}: disk, of the plain way's | at most {MOST_DISK} | {cells} |"
        cells = _verdicts(table, "png", lambda t, row: t.bytes_a_pixel(row, fixed), -MOST_BYTES)
        yield f"| png, {title}: bytes a pixel and worker | at most {MOST_BYTES} | {cells} |"
    seconds = {name: median(cost.walls) for name, cost in fixed.items()}
    cells = " | ".join(_verdict(seconds[_tiny(estimated)], -MOST_FIXED) for estimated in (False, True))
    yield f"| one tiny composite, s | at most {MOST_FIXED} | {cells} |"
    more = seconds["shm-data --help"] - seconds["python, click"]
    yield f"| `shm-data --help`, s beyond Python and click | at most {MOST_HELP} | {_verdict(more, -MOST_HELP)} | |"


def _tiny(estimated: bool) -> str:
    return f"one tiny composite, {'estimated' if estimated else 'photo'} colours"


def _verdicts(table: Table, form: str, value: Callable[[Table, Row], float], expected: float | None = None) -> str:
    """Verdicts on the rows with all workers: photo colours, then estimated ones."""
    rows = [row for row in table.rows[1:] if row.form == form and row.workers == CORES]
    return " | ".join("not available" if row.why else _verdict(value(table, row), expected) for row in rows)


def _verdict(value: float, expected: float | None) -> str:
    """A value, and whether it is at least what is expected, if anything is; or, where that is negative, at most."""
    if expected is None:
        return f"{value:.2f}"
    met = value >= expected if expected > 0 else value <= -expected
    return f"{value:.2f}, {'met' if met else '**missed**'}"


def _spread(values: Sequence[float], form: str) -> str:
    """Median (least to most)."""
    low, high = format(min(values), form), format(max(values), form)
    return f"{format(median(values), form)} ({low} to {high})"


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def machine() -> str:
    """What the figures were measured on, and with which packages."""
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
    """Writes sources to a new folder and tells what they are."""
    options = ["--area", str(area), "--foregrounds", str(foregrounds), "--backgrounds", str(backgrounds)]
    command = [sys.executable, str(HERE / "sources.py"), str(folder), *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def report(folder: Path, sizes: Plan, options: dict[str, Any]) -> None:
    """Measures each size and number of backgrounds and prints a table of each as soon as it is there."""
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
            click.echo(f"\n### {width}x{height}, {numbg} backgrounds a foreground\n")
            click.echo("\n".join([*lines_of(table), "", stage_line(table)]))
            tables.append(table)
    tiny = folder / "tiny"
    pictures(tiny, _TINY, 1, 1)
    fixed = fixed_costs(sources, tiny, options["rounds"])
    click.echo("\n".join(["\n### Fixed costs\n", *fixed_lines(fixed), "\n### Goals\n", *goal_lines(tables, fixed)]))


def _size(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[int, int]]:
    """Sizes as "1200x900"; the shapes of the photos stay, only the area counts."""
    del context, parameter
    try:
        return [(int(width), int(height)) for width, height in (value.split("x") for value in values)]
    except ValueError as error:
        raise click.BadParameter("expected sizes such as 1200x900") from error


@click.command()
@click.option("--size", "sizes", multiple=True, callback=_size, help="Pixels of a foreground, 1200x900 by default.")
@click.option("--numbg", "numbgs", multiple=True, type=int, help="Backgrounds a foreground; 20 and 60 by default.")
@click.option("--foregrounds", type=click.IntRange(1), help="By default 8, fewer of large ones.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), default=FORMATS)
@click.option("--all", "everything", is_flag=True, help="All sizes, all rows: some hours.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work, by default among temporary files.")
def main(
    sizes: list[tuple[int, int]], numbgs: tuple[int, ...], everything: bool, folder: Path | None, **options: Any
) -> None:
    """Measure `shm-data composite` and print tables in Markdown."""
    matrix: Plan = {USUAL: USUAL_NUMBG, **dict.fromkeys(MATRIX, MATRIX_NUMBG)}
    chosen = matrix if everything else dict.fromkeys(sizes or [USUAL], numbgs or USUAL_NUMBG)
    command = " ".join(["python -m benchmarks.composite", *sys.argv[1:]])
    click.echo(f"`{command}`, {datetime.date.today()}\n\n{machine()}")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        report(Path(place), chosen, options | {"everything": everything})
    click.echo(f"\nLoad at the end: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
