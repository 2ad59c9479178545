"""What the project says about itself is the same everywhere."""

import tomllib
from pathlib import Path

import yaml

from shm_data import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_version_is_one():
    assert __version__ == PROJECT["version"] == CITATION["version"]


def test_the_citation_has_what_the_format_requires():
    assert CITATION["title"] == PROJECT["name"] and CITATION["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    assert [author["name"] for author in CITATION["authors"]] == ["The shm-matting authors"]


def test_hooks_run_tools_that_make_installs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in repository["hooks"]:
        assert hook["entry"].replace(".venv/bin", "$(BIN)") in makefile
