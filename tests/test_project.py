"""What the project says about itself is the same everywhere."""

import os
import re
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


def test_the_metadata_are_complete():
    supported = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    tested = {each["python"] for each in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert PROJECT["requires-python"].removeprefix(">=") in supported and tested <= supported
    assert all((ROOT / name).is_file() for name in (*PROJECT["license-files"], PROJECT["readme"]))
    assert not [each for each in PROJECT["classifiers"] if each.startswith("License")]  # `license` says it


def test_a_release_is_what_was_tried_and_is_published_without_a_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "build" and publish["permissions"] == {"id-token": "write"} and "secrets" not in text
    assert "make dist-test" in text and os.access(ROOT / "tools" / "dist-test", os.X_OK)


def test_the_address_that_a_release_adds_fits_the_metadata():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    added = re.search(r"printf '(.*)'", release)[1].replace(r"\n", "\n") % (("https://example.org/a/b",) * 3)
    urls = tomllib.loads(text + added)["project"]["urls"]
    assert urls["Source"] == "https://example.org/a/b" and all(url.startswith("https://") for url in urls.values())


def test_shipped_pictures_are_named_as_ours():
    named = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assets = ROOT / "shm_data" / "demo" / "assets"
    assert {path.name for path in assets.iterdir()} == {"photos", "truth", "alphas", "VOC2012"}
    drawn = {path.stem for path in (assets / "photos").iterdir()}
    for path in (assets / "alphas").iterdir():
        assert path.stem in drawn or f"alphas/{path.name}" in named
