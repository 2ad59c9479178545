"""Test the documentation: run its commands, compare their output, follow its links."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pages
import pytest
import yaml
from small import photo

from cli import entry
from cli.data import data
from cli.model import model
from shm_data import images
from shm_data.building.build import composite
from shm_data.demo import write_sources
from shm_data.options import CompositeOptions
from shm_model.config import Config, config_of, load_config
from shm_model.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "THIRD_PARTY.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
    ROOT / "benchmarks" / "RESULTS.md",
]
PROGRAMS = {"shm-data": data, "shm-model": model}
LANGUAGES = {"console", "sh", "python", "text", "yaml", "json"}
# Options and arguments of other programs in prose.
FOREIGN = {"--array", "--nproc_per_node", "--shm-size", "processes"}

# A program of ours, or make, anywhere in a line, with its arguments.
CALL = r"(shm-data|shm-model|cli\.model|make)\s(.*?)(?=[\"&;|]|\s#|$)"

# Networks and pictures so small that a stage takes seconds.
TINY = {
    "cuda": False, "precision": "fp32", "backbone": "resnet18", "output_stride": 16, "mnet_width": 0.125,
    "tnet_size": 64, "mnet_size": 48, "end_size": 64, "patch_sizes": [48, 64], "longest": 96, "batch_size": 4,
    "warmup": 2, "num_workers": 0, "max_epoch": 1, "eval": False, "sample_period": 9, "checkpoint_period": 9,
}  # fmt: skip


def name(path):
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", [pages.read(path) for path in PAGES], ids=lambda page: name(page.path))


# What the pages assume.


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Return a folder with those that pages mention: the sources of the embedded example, and others made of them."""
    folder = tmp_path_factory.mktemp("ground")
    write_sources(folder)
    for sub in ("cutouts", "published", "places"):
        (folder / sub).mkdir()
    for number, alpha in enumerate(sorted((folder / "alphas").glob("[b-z]*.png"))):
        colours, matte = images.read_image(folder / "truth" / f"{alpha.stem}.webp"), images.read_alpha(alpha)
        images.write_png(folder / "cutouts" / alpha.name, np.dstack([colours, matte]))
        images.write_png(folder / "published" / f"q{number}.png", images.read_image(folder / "photos" / alpha.name))
        images.write_png(folder / "published" / f"q{number}_matte.png", matte)
    for number in range(6):
        images.write_jpeg(folder / "places" / f"b{number}.jpg", photo(number, (256, 320)))
    write_clip(folder / "clip.mp4", images.read_image(folder / "photos" / "june.png"))
    for file in (ROOT / "configs").rglob("*.yaml"):
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        target.write_text(yaml.safe_dump(values | TINY), encoding="utf-8")
    return folder


def write_clip(path, picture, frames=5):
    """A small video that shows one picture."""
    small = cv2.resize(picture, (180, 240))[..., ::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (180, 240))
    for _ in range(frames):
        writer.write(small)
    writer.release()


@pytest.fixture(scope="module")
def given(ground, tmp_path_factory):
    """Return a folder with the results of other pages: a small data set, and networks trained on it."""
    folder = tmp_path_factory.mktemp("given")
    options = {"inimg": ground / "photos", "inalp": ground / "alphas", "vocroot": (ground / "VOC2012",)}
    composite(CompositeOptions(**options, numbg=3, maxsize=96), folder / "dataset")
    last = {f"{name}_checkpoint": folder / "runs" / name / "last.pt" for name in ("tnet", "mnet")}
    for mode, stage in (("pretrain_tnet", "tnet"), ("pretrain_mnet", "mnet"), ("end_to_end", "shm")):
        more = {"mode": mode, "data_root": folder / "dataset", "savedir": folder / "runs" / stage}
        more |= last | {"eval": True} if stage == "shm" else {}
        train(config_of(TINY | more, "a test"))
    return folder


def copy_sources(ground, folder):
    for drawn in ("photos", "alphas", "truth", "VOC2012"):
        shutil.copytree(ground / drawn, folder / drawn, dirs_exist_ok=True)


@pytest.fixture
def desk(request, ground, tmp_path, monkeypatch):
    """Return a function that makes the folder for a page, with what the page assumes, and enters it."""

    def make(page):
        shutil.copytree(ground, tmp_path, dirs_exist_ok=True)
        for each in page.given:
            shutil.copytree(request.getfixturevalue("given") / each, tmp_path / each)
        monkeypatch.chdir(tmp_path)
        # Written once: the same bytes each time, as another test says.
        monkeypatch.setattr("shm_data.demo.write_sources", lambda folder: copy_sources(ground, folder))

    return make


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Return a function that runs a command line; it returns exit code, output as in the pages, and errors.

    Pages show the standard output and, of the error stream, the error but not the progress.
    """

    def run(line):
        words = shlex.split(line, comments=True)
        if words[0] not in PROGRAMS or set("|&;<>$*") & set(line):
            path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
            result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=path)
            return result.returncode, result.stdout, result.stderr
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            entry.run(PROGRAMS[words[0]])
        out, err = capsys.readouterr()
        return stop.value.code, out + "".join(err.partition("Error: ")[1:]), err

    return run


# Commands.


@every_page
def test_a_page_can_be_worked_through_from_top_to_bottom(page, desk, terminal):
    desk(page)
    namespace = {}
    for block in page.blocks:
        if block.mark == "not run" or block.language not in ("console", "sh", "python"):
            continue
        if block.language == "python":
            text = "\n" * (block.line - 1) + block.text
            exec(compile(text, page.path, "exec"), namespace)
            continue
        for command in pages.commands(block):
            code, out, err = terminal(command.line)
            where = f"{name(page.path)}, line {block.line}: {command.line}"
            wrong = re.search("^(Error|error): ", command.shown, re.MULTILINE)
            assert code == (1 if wrong else 0), f"{where}\n{out}{err}"
            if block.language == "console":
                expected = pages.pattern(command.shown, numbers_vary=block.mark == "numbers vary")
                assert expected.fullmatch(out), f"{where}\n{out}"


@every_page
def test_commands_that_are_not_run_have_existing_options(page):
    for block in page.blocks:
        if block.mark == "not run":
            if block.language == "python":
                compile(block.text, page.path, "exec")
            for program, text in re.findall(CALL, block.text.replace("\\\n", " "), re.MULTILINE):
                check_named(program, text, f"{name(page.path)}, line {block.line}: {program} {text}")


def check_named(program, text, where):
    words = shlex.split(text, comments=True)
    if program == "make":
        result = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{where}\n{result.stderr}"
        return
    group = model if program == "cli.model" else PROGRAMS[program]
    command = group.commands.get(words[0])
    assert command is not None, where
    expected = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= expected, where
    if command.name == "train":
        overrides = [word for word in words[1:] if "=" in word]
        assert {word.partition("=")[0] for word in overrides} <= Config.model_fields.keys(), where
        if (ROOT / words[1]).exists():
            load_config(ROOT / words[1], overrides)


# Names in prose.


def _options(group):
    for command in (group, *group.commands.values()):
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)


@every_page
def test_options_in_prose_exist(page):
    known = {"--help"} | FOREIGN | {option for group in PROGRAMS.values() for option in _options(group)}
    named = {option for span in page.spans for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert named <= known


@every_page
def test_python_names_in_prose_exist(page):
    for span in page.spans:
        if re.fullmatch(r"shm_(data|model)(\.\w+)+", span):
            module, _, attribute = span.rpartition(".")
            try:
                importlib.import_module(span)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), attribute), span


@every_page
def test_keys_of_configurations_in_prose_exist(page):
    named = {match[1] for span in page.spans if (match := re.fullmatch(r"([a-z]+(?:_[a-z]+)*)=\S+", span))}
    assert named <= Config.model_fields.keys() | FOREIGN


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=name)
def test_links_lead_somewhere(path):
    for link in pages.read(path).links:
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        assert not anchor or anchor in pages.read(file).anchors, link


@every_page
def test_every_block_is_of_a_known_kind(page):
    """A command in a block of another kind, or in an indented one, would not be tested."""
    assert {block.language for block in page.blocks} <= LANGUAGES
    assert not [line for line in page.prose if re.match(r"( {4}|\t)\s*\S", line)]
    assert {block.mark for block in page.blocks} <= {"", "not run", "numbers vary"}


def test_the_index_names_every_page():
    linked = {link.partition("#")[0] for link in pages.read(ROOT / "docs" / "README.md").links}
    assert {path.name for path in PAGES if path.parent.name == "docs" and path.name != "README.md"} <= linked


# The tools themselves.


@pytest.mark.parametrize(("shown", "out", "fits"), [
    ("3 samples\n", "3 samples\n", True),
    ("3 samples\n", "4 samples\n", False),
    ("3 samples\n", "3 samples\nnote: more\n", False),
    ("done in ... s\n", "done in 3.2 s\n", True),
    ("...\nthe end\n", "one\ntwo\nthe end\n", True),
    ("...\nthe end\n", "one\ntwo\n", False),
    ("", "", True),
])  # fmt: skip
def test_outputs_are_compared_but_for_dots(shown, out, fits):
    assert bool(pages.pattern(shown).fullmatch(out)) == fits


def test_where_numbers_vary_everything_else_is_compared():
    shown = pages.pattern("  whole    19.81906     0.07233\nmean of 17 images\n", numbers_vary=True)
    assert shown.fullmatch("  whole     1.5         nan\nmean of 4 images\n")
    assert not shown.fullmatch("  whole     1.5         nan\nmean of 4 pictures\n")


def test_a_page_is_parsed(tmp_path):
    script = "# A title: `x`, y\n\n<!-- not run: slow -->\n```sh\na b \\\n  c  # why\n```\n\n"
    (tmp_path / "p.md").write_text(script + "```console\n$ d\n1\n$ e\n```\n[z](f.md#g)\n")
    page = pages.read(tmp_path / "p.md")
    one, other = page.blocks
    assert (one.language, one.mark, one.line) == ("sh", "not run", 5)
    assert (other.language, other.mark, other.line) == ("console", "", 10)
    assert pages.commands(one) == [pages.Command("a b    c  # why")]
    assert pages.commands(other) == [pages.Command("d", "1\n"), pages.Command("e", "")]
    assert (page.anchors, page.links, page.spans) == ({"a-title-x-y"}, ["f.md#g"], ["x"])
