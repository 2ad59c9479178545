"""Breaks the code on purpose, line by line of tests/mutants.toml, and fails where no test notices.

    python tests/mutants.py             all of them, two at a time
    python tests/mutants.py trimap      those whose law or file holds the word

Each mutant is applied in a copy of the project, and its tests are run there. A mutant survives if they pass.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("shm_data", "shm_model", "cli", "tests", "configs", "docs", "pyproject.toml")
AT_ONCE = 2

# No named test takes longer, so a mutant that never ends is noticed, too.
_PATIENCE = 300
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """A change of one place in a file, the law that it breaks, and the tests that must fail."""

    law: str
    file: str
    old: str
    new: str
    tests: list[str]

    def applied(self, source: str) -> str | None:
        """Return the source with the change; None unless the old text occurs exactly once."""
        return source.replace(self.old, self.new) if source.count(self.old) == 1 else None


def read_list(words: list[str]) -> list[Mutant]:
    """Return the mutants whose law or file holds one of the words; all without words."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    some = [Mutant(**entry) for entry in entries]
    return [each for each in some if not words or any(word in each.law + each.file for word in words)]


def copy_project(folder: Path) -> Path:
    """Copy what the tests need."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, arguments: list[str]) -> tuple[int, str]:
    """Run pytest in a copy of the project; return its exit code and what it prints."""
    more = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    more["SHM_REALDATA"] = os.environ.get("SHM_REALDATA", str(ROOT.parent / "shared" / "realdata"))
    command = [sys.executable, *_PYTEST, *arguments]
    try:
        ended = subprocess.run(
            command, cwd=tree, env=os.environ | more, timeout=_PATIENCE, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return _FAILED, "timed out"
    return ended.returncode, ended.stdout + ended.stderr


def failing(tree: Path, mutants: list[Mutant]) -> list[str]:
    """Return the tests that fail without any mutant, as options that leave them out."""
    code, output = run_tests(tree, sorted({test for mutant in mutants for test in mutant.tests}))
    if code not in (_PASSED, _FAILED):
        sys.exit(f"pytest ends with {code}: {output[-1000:]}")
    return [f"--deselect={name}" for name in re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)]


def fault_of(mutant: Mutant, tree: Path, options: list[str]) -> str:
    """Return why a mutant is a fault: it survives, or cannot be tried; "" where its tests fail."""
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    changed = mutant.applied(source)
    if changed is None:
        return f"does not apply: {mutant.old!r} occurs {source.count(mutant.old)} times"
    times = path.stat()
    path.write_text(changed, encoding="utf-8")
    code, output = run_tests(tree, ["-x", *options, *mutant.tests])
    path.write_text(source, encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # compiled loops are kept by the time of their source
    if code == _FAILED:
        return ""
    return "SURVIVES" if code == _PASSED else f"cannot be tried, pytest ends with {code}: {output[-500:]}"


def main() -> None:
    """Try the mutants; exit code 1 where one survives or no longer applies."""
    mutants = read_list(sys.argv[1:])
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(AT_ONCE):
            trees.put(copy_project(Path(folder, str(number))))
        whole = trees.get()
        options = failing(whole, mutants)
        trees.put(whole)
        faults = len(options)
        print(*(f"fails without any mutant: {option}" for option in options), sep="\n", end="\n" * bool(options))

        def tried(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                return fault_of(mutant, tree, options)
            finally:
                trees.put(tree)

        for mutant, fault in zip(mutants, pool.map(tried, mutants), strict=True):
            faults += bool(fault)
            print(f"{fault or 'killed'}: {mutant.law} ({mutant.file})", flush=True)
    print(f"{len(mutants)} mutants, {faults} faults, {time.monotonic() - begun:.0f} s")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
