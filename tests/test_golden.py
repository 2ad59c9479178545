"""The bytes that the commands have always written: a handful of option sets, each file by its SHA-256.

`python tests/test_golden.py` writes the digests anew. What is written for people (notes, cards, why a file was
skipped) is skipped: it may be worded better at any time.
"""

import hashlib
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.data import data

DIGESTS = Path(__file__).with_name("golden.json")
REALDATA = Path(os.environ.get("SHM_REALDATA", Path(__file__).parents[2] / "shared" / "realdata"))

# The libraries that decide the bytes of a picture.
LIBRARIES = ("numba", "numpy", "opencv-python-headless", "pillow", "scikit-image")

EXAMPLE = "--inimg {example}/photos --inalp {example}/alphas --vocroot {example}/VOC2012"
PORTRAITS = "--inimg {real}/fg/p3m_demo/original --inalp {real}/fg/p3m_demo/alpha --vocroot {real}/voc_mini/VOC2012"
GROUPS = "--augment none --numbg 3 --maxsize 320 --group p_(.)"
OBJECTS = "--inimg {real}/fg/alphamatting_gt27/input --inalp {real}/fg/alphamatting_gt27/GT"
SCALED = (
    "--inimg {real}/fg/vikram_humanseg/Training_Images --inalp {real}/fg/vikram_humanseg/Ground_Truth --resize-alpha"
)

# By name: the commands, one after the other, all into the folder {out}.
CASES = {
    "png": [f"composite {EXAMPLE} --numbg 3 --maxsize 240 --augment none --savedir {{out}}/set"],
    "jpg": [
        f"composite {EXAMPLE} --numbg 4 --maxsize 240 --format jpg --quality 90 --trimap random --trimap-size 21 "
        "--augment blur --augment shadow --augment gamma --augment colour --augment noise --augment jpeg "
        "--augment over --augment place --seed 3 --savedir {out}/set"
    ],
    "webp": [
        f"composite {EXAMPLE} --numbg 2 --maxsize 200 --augment none --format webp --foreground photo --no-originals "
        "--trimap ellipse --trimap-size 9 --trainsplit 0.5 --savedir {out}/set"
    ],
    "parts": [
        f"composite {EXAMPLE} --numbg 3 --maxsize 160 --seed 1 --part {number}/3 --savedir {{out}}/set"
        for number in (2, 1, 3)
    ],
    "shards": [
        f"composite {EXAMPLE} --numbg 1 --maxsize 160 --savedir {{out}}/set",
        "shards --data {out}/set --maxcount 4 --savedir {out}/shards",
    ],
    "groups": [
        f"composite {PORTRAITS} {GROUPS} --savedir {{out}}/set",
        f"composite {PORTRAITS} {GROUPS} --verify --link copy --savedir {{out}}/set",
    ],
    "own trimaps": [
        f"composite {OBJECTS} --intri {{real}}/fg/alphamatting_gt27/trimap --cocoroot {{real}}/coco_mini "
        "--augment none --numbg 2 --maxsize 256 --savedir {out}/set"
    ],
    "taken over": [
        f"prepare --pubdir {{real}}/fg/tsing90_shm --prefix AIT {SCALED} --bgdir {{real}}/bg_plain/skimage "
        "--augment none --numbg 2 --maxsize 256 --savedir {out}/set"
    ],
    "trimaps": ["trimap --inalp {real}/fg/p3m_demo/alpha --trimap-size 31 --savedir {out}/trimaps"],
}


def run(name: str, out: Path, example: Path) -> dict[str, str]:
    """What the commands of a case write, by name."""
    for line in CASES[name]:
        arguments = [word.format(out=out, example=example, real=REALDATA) for word in line.split()]
        result = CliRunner().invoke(data, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return {path.relative_to(out).as_posix(): digest(path) for path in sorted(out.rglob("*")) if is_counted(path)}


def is_counted(path: Path) -> bool:
    return path.is_file() and path.name not in ("README.md", "local.json")  # the second says where sources lie


def digest(path: Path) -> str:
    records = {"dataset.json": facts, "index.json": facts_of_shards}
    read = records.get(path.name, Path.read_bytes)
    return hashlib.sha256(read(path)).hexdigest()


def facts_of_shards(path: Path) -> bytes:
    """What the record of shards says, but the digest of dataset.json, which says where sources lie."""
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["dataset"]["dataset.json"]
    return json.dumps(record, sort_keys=True).encode()


def facts(path: Path) -> bytes:
    """What a record says, but where sources lie, when they were written, and what is worded for people.

    Of the foregrounds the values alone: what a field is called may change with the format's number.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: record[name] for name in ("complete", "counts", "digest", "fingerprint", "layouts")}
    for each in record["foregrounds"]:
        each["files"] = {name: value for name, value in each["files"].items() if (name, value) != ("colours", False)}
    kept["foregrounds"] = [[list(each.pop("files").values()), list(each.values())] for each in record["foregrounds"]]
    kept["sources"] = {key: (size, content) for key, (size, _, content) in record["sources"].items()}
    kept["skipped"] = sorted(name for names in record["skipped"].values() for name in names)
    return json.dumps(kept, sort_keys=True).encode()


def libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def needs_real_pictures(name: str) -> bool:
    return any("{real}" in line for line in CASES[name])


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def write_example(folder: Path) -> Path:
    """The sources of the embedded example, from the command that makes them."""
    result = CliRunner().invoke(data, ["demo", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "sources"


@pytest.mark.parametrize("name", CASES)
def test_every_file_is_the_one_it_has_always_been(name, tmp_path, example):
    golden = json.loads(DIGESTS.read_text(encoding="utf-8"))
    if libraries() != golden["libraries"]:
        pytest.skip(f"the digests are those of {golden['libraries']}, here is {libraries()}")
    if needs_real_pictures(name) and not REALDATA.is_dir():
        pytest.skip(f"no real pictures at {REALDATA}; SHM_REALDATA names their folder")
    assert run(name, tmp_path, example) == golden["files"][name]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sources = write_example(root / "example")
        files = {name: run(name, root / name, sources) for name in CASES}
    DIGESTS.write_text(json.dumps({"libraries": libraries(), "files": files}, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
