"""Kills the commands of `shm-data` at random moments, again and again, and compares with a run that nobody disturbed.

    python tests/torture.py --kills 200 --seed 0

After each kill every file under its final name must be whole; at the end all files must be the same, byte for byte.
The seed decides jobs, signals and moments; how far a job has come at a moment is up to the machine.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from forked import AtChange, shm_data
from small import contents, matte, photo

from cli.startup import MESSAGE
from shm_data import images

REALDATA = Path(os.environ.get("SHM_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))
LINE = f"{MESSAGE}\n"

# No job takes longer, so one that does hangs.
_PATIENCE = 120

# Moments of a job: files as they come to be.
_SET = ("recipes.jsonl", "dataset.json", "input", "input/*.png", "train.txt", "val.txt", ".*.shm-tmp", "*/.*.shm-tmp")
_TRIMAPS = ("*.png", ".*.shm-tmp")
_DEMO = ("sources", "sources/truth", "sources/*/*.png", "dataset/*.json", "dataset/val.txt", "**/.*.shm-tmp", "*.png")

# They come in every run, even where they were before.
_EVERY_TIME = ("dataset.json", "train.txt", "val.txt")


@dataclass(frozen=True)
class Job:
    """A command whose last argument is the folder that it fills, the moments of its work, how often it is drawn."""

    name: str
    arguments: tuple[object, ...]
    moments: tuple[str, ...]
    weight: int = 1

    def start(self, root):
        """Starts it as a process group of its own."""
        command = [Path(sys.executable).with_name("shm-data"), *map(str, (*self.arguments, root))]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def with_options(self, *more):
        """The same job with more options."""
        return replace(self, arguments=(*self.arguments[:-1], *more, self.arguments[-1]))


@dataclass(frozen=True)
class Truth:
    """What a run that nobody disturbs leaves, the seconds that it takes, and those of a second run after it."""

    files: dict[str, bytes]
    facts: object
    seconds: float
    again: float


@dataclass(frozen=True)
class Strike:
    """A kill: when it was to be, when it was in the job's work, how many unfinished files it left, what was wrong."""

    job: str
    how: signal.Signals
    aim: str
    phase: str
    leftovers: int
    faults: tuple[str, ...]


def draw_sources(folder, foregrounds=12, backgrounds=24, mattes=300):
    """Small photos with alphas, places, a published set, and a folder of many mattes."""
    for name in ("photos", "alphas", "places", "public", "mattes"):
        (folder / name).mkdir(parents=True)
    for number in range(foregrounds):
        images.write_png(folder / "photos" / f"p{number:02}.png", photo(number))
        images.write_png(folder / "alphas" / f"p{number:02}.png", matte(number))
        images.write_png(folder / "public" / f"q{number:02}.png", photo(500 + number))
        images.write_png(folder / "public" / f"q{number:02}_matte.png", matte(number + 1))
    for number in range(backgrounds):
        images.write_png(folder / "places" / f"b{number:02}.png", photo(100 + number, (128 + 8 * (number % 5), 200)))
    for number in range(mattes):
        images.write_png(folder / "mattes" / f"m{number:03}.png", matte(number))


def jobs(sources, numbg=24):
    """The commands to be tortured: a few hundred tiny samples, the demo, and large samples of real photos."""
    own = ("--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "places")
    own += ("--numbg", numbg, "--savedir")
    some = [
        Job("composite", ("composite", *own), _SET, weight=5),
        Job("prepare", ("prepare", "--pubdir", sources / "public", *own), _SET, weight=2),
        Job("trimap", ("trimap", "--inalp", sources / "mattes", "--savedir"), _TRIMAPS, weight=2),
        Job("part", ("composite", *own), _SET).with_options("--part", "1/1"),
        Job("demo", ("demo",), _DEMO),
    ]
    if REALDATA.is_dir():
        people, places = REALDATA / "fg" / "p3m_demo", REALDATA / "voc_mini"
        real = ("--inimg", people / "original", "--inalp", people / "alpha", "--vocroot", places, "--maxsize", 800)
        some.append(Job("composite of real photos", ("composite", *real, "--numbg", 6, "--savedir"), _SET))
    return some


def few(folder):
    """Jobs of four samples, cheap enough to be disturbed everywhere, on sources drawn in a folder; their truths."""
    draw_sources(folder / "sources", foregrounds=2, backgrounds=4, mattes=4)
    composite, _, trimap = jobs(folder / "sources", numbg=1)[:3]
    alone = composite.with_options("--foreground", "photo", "--jobs", 1), trimap.with_options("--jobs", 1)
    return {job.name: (job, truth_of(job, folder / "whole" / job.name)) for job in alone}


def truth_of(job, root):
    """What a job leaves that nobody disturbs."""
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        code, errors = finish(job, root)
        require(code == 0, f"{job.name} fails undisturbed: {errors}")
        seconds.append(time.monotonic() - begun)
    return Truth(*everything(root), *seconds)


def finish(job, root):
    """Runs a job to its end: its exit code and errors."""
    process = job.start(root)
    _, errors = process.communicate(timeout=_PATIENCE)
    return process.returncode, errors


def finish_forked(job, root):
    """As `finish`, but cheap."""
    ended = shm_data(*job.arguments, root)
    return ended.code, ended.err


def everything(root):
    """Every file by name, and what the record of a data set says, but for where its sources lie."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    records = [name for name in files if name.rpartition("/")[2] == "dataset.json"]
    for name in records:
        del files[name]
    return files, [contents((root / name).parent)[1] for name in records]


def faults(root, truth):
    """What is wrong in a folder in which a job was killed: a file is half or foreign, or says more than is true."""
    found = []
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or is_unfinished(path):
            continue
        if path.name == "dataset.json":
            lost = [other for other in missing(root, truth) if (root / other).is_relative_to(path.parent)]
            found += [f"{name} says complete"] * bool(lost and json.loads(path.read_bytes())["complete"])
        elif truth.files.get(name) != path.read_bytes():
            found.append(f"{name} is {'half' if name in truth.files else 'foreign'}")
    return found


def missing(root, truth):
    """The files that are not there yet."""
    return {name for name in truth.files if not (root / name).is_file()}


def is_unfinished(path):
    """Whether a file is one that was being written; its name is no picture's and no list's."""
    return path.name.startswith(".") and path.name.endswith(".shm-tmp")


def marks(root, pattern="**/*"):
    """The files of a pattern that are there; one that was written anew counts as another."""
    there = set()
    for path in root.glob(pattern):
        try:
            there.add((path, path.lstat().st_ino, path.lstat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return there


def strike(job, root, how, *, seconds=None, moment=None, delay=0.0):
    """Starts a job and sends `how` to its group after `seconds`, or `delay` after a file of `moment` came to be.

    Return its exit code and errors. SIGTERM and SIGINT are sent only once the process handles them.
    """
    before = marks(root, moment) if moment else set()
    begun = time.monotonic()
    process = job.start(root)
    while process.poll() is None and moment and marks(root, moment) <= before:
        pass
    time.sleep(delay if moment else max(0.0, begun + seconds - time.monotonic()))
    while how != signal.SIGKILL and process.poll() is None and not _listens(process):
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, how)
    _, errors = process.communicate(timeout=_PATIENCE)
    return process.returncode, errors


def _listens(process):
    """Whether a process catches SIGTERM: until then nothing has begun."""
    caught = Path(f"/proc/{process.pid}/status").read_text().partition("SigCgt:")[2].split()
    return bool(caught) and bool(int(caught[0], 16) >> (signal.SIGTERM - 1) & 1)


def torture_one(job, truth, root, generator, kills):
    """Kills a job `kills` times in one folder, then lets it end; the strikes."""
    strikes = []
    for number in range(kills):
        how = generator.choice([signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT])
        aim, when = _aim(generator, job, root, truth)
        before = marks(root)
        code, errors = strike(job, root, how, **when)
        left = sum(is_unfinished(path) for path in root.rglob("*"))
        came_to = "too late" if code == 0 else phase(root, before, truth)
        wrong = [*faults_of_end(how, code, errors), *faults(root, truth)]
        wrong += faults_of_next_run(job, root, truth) if number == kills - 1 else []
        strikes.append(Strike(job.name, how, aim, came_to, left, tuple(wrong)))
    return strikes


def _aim(generator, job, root, truth):
    """When to strike: at any time of what is left to do, or at a moment that is too short to be met by chance."""
    left = len(missing(root, truth)) / len(truth.files)
    every_time = (*_EVERY_TIME, ".shm-tmp") if left else _EVERY_TIME
    to_come = [m for m in job.moments if m.endswith(every_time) or (left and not any(root.glob(m)))]
    if not to_come or generator.random() < 0.5:
        seconds = generator.uniform(0, truth.again + left * (truth.seconds - truth.again))
        return f"after {seconds:.3f} s", {"seconds": seconds}
    moment, delay = generator.choice(to_come), generator.choice([0, generator.uniform(0, 0.005)])
    return f"{1000 * delay:.1f} ms after {moment}", {"moment": moment, "delay": delay}


def faults_of_end(how, code, errors):
    """What is wrong with how a job ended that was sent a signal. The end may have come before the signal."""
    if how == signal.SIGKILL:
        return [] if code in (0, -how) else [f"exit code {code}: {errors}"]
    wrong = [f"exit code {code}"] * (code not in (0, 130))
    return wrong + [f"it says {errors}"] * ("Traceback" in errors or errors.count(LINE) != bool(code))


def faults_of_next_run(job, root, truth, finish=finish):
    """What is wrong with the run that nobody disturbs any more, and with what it leaves."""
    code, errors = finish(job, root)
    if code:
        return [f"the next run ends with {code}: {errors}"]
    files, facts = everything(root)
    other = {name for name in files.keys() | truth.files.keys() if files.get(name) != truth.files.get(name)}
    return [f"the next run leaves {name} other than it was to be" for name in sorted(other)] + [
        f"the record is another: {facts}"
    ] * (facts != truth.facts)


def phase(root, before, truth):
    """How far a job had come when it was killed, by what it left."""
    if marks(root) == before:
        return "starting, reading"
    there = {path.name for path in root.rglob("*")}
    pictures = [name for name in missing(root, truth) if name.endswith(".png")]
    if pictures and "dataset.json" in there:
        return "samples"
    if pictures:
        return "recipes" if "recipes.jsonl" in there else "first files"
    return "lists" if missing(root, truth) else "last record"


def strike_before_each_change(job, root, truth, act, how):
    """Does `act` to a job before its first change to the disk, in another folder before its second, and so on.

    Gives how many there were, and what was wrong.
    """
    wrong = []
    for number in range(1, 10**6):
        shutil.rmtree(root, ignore_errors=True)
        ended = shm_data(*job.arguments, root, before=AtChange(root, number, act))
        if ended.code == 0:
            return number - 1, wrong
        found = [*faults_of_end(how, ended.code, ended.err), *faults(root, truth)]
        found += faults_of_next_run(job, root, truth, finish_forked)
        wrong += [f"{job.name} before change {number}: {fault}" for fault in found]
    raise AssertionError("no end")


def torture(work, kills, seed, some):
    """Kills `some` jobs in `work`, `kills` times in all; the strikes. The folders in which there were faults stay."""
    generator = random.Random(seed)
    truths = {job.name: truth_of(job, work / "undisturbed" / job.name) for job in some}
    strikes = []
    while len(strikes) < kills:
        job = generator.choices(some, [job.weight for job in some])[0]
        count = min(generator.randint(1, 5), kills - len(strikes))
        root = work / "killed" / f"{len(strikes):04} {job.name}"
        strikes += torture_one(job, truths[job.name], root, generator, count)
        if not any(strike.faults for strike in strikes[-count:]):
            shutil.rmtree(root)
    return strikes


def summary(strikes):
    """Lines that say what was killed, how, where in its work, and what was wrong."""
    lines = [f"{len(strikes)} kills; {sum(s.leftovers > 0 for s in strikes)} of them left an unfinished file"]
    for what in ("job", "how", "phase"):
        counts = collections.Counter(getattr(strike, what) for strike in strikes)
        lines.append(", ".join(f"{getattr(value, 'name', value)} {count}" for value, count in counts.most_common()))
    for s in strikes:
        lines += [f"FAULT, {s.job}, {s.how.name} {s.aim} ({s.phase}): {fault}" for fault in s.faults]
    return lines


def require(holds, message):
    """Raises AssertionError with a message unless something holds."""
    if not holds:
        raise AssertionError(message)


def main():
    """Tortures as often as the command line asks for; exit code 1 where there were faults."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.monotonic()
    work = Path(tempfile.mkdtemp())
    draw_sources(work / "sources")
    sources = everything(work / "sources")
    strikes = torture(work, options.kills, options.seed, jobs(work / "sources"))
    require(everything(work / "sources") == sources, "a source was changed")
    require({path.name for path in work.iterdir()} <= {"sources", "undisturbed", "killed"}, "a stray file")
    print(*summary(strikes), f"{time.monotonic() - begun:.0f} s", sep="\n")
    if any(strike.faults for strike in strikes):
        sys.exit(f"What was left is in {work / 'killed'}.")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
