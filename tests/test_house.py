"""The rules of the house that a machine can hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for room in ("shm_data", "shm_model", "cli") for path in (ROOT / room).rglob("*.py"))
LONGEST = 60


def test_imports_run_one_way():
    # In a process of its own: it silences all loggers that are there already.
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_can_be_read_at_a_glance(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= LONGEST, node.name


def test_randomness_has_one_home_in_each_library():
    """Temporary names need no seed."""
    homes = {"augment.py", "effects.py"}
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if path.name not in homes:
            assert not re.search(r"import random|from random|np\.random|default_rng|torch\.rand", text), path
