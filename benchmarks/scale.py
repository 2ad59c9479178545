"""Measures how planning, making and resuming scale with the number of composites: seconds and peak memory.

Each step is a process of its own. Foregrounds are 16 px wide and backgrounds 128, so that everything except the work
on pixels is measured.
"""

import os
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.processes import run
from shm_data import images
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import read_recipes

# ext4 allows 65,000 links to one file.
_MOST_LINKS = 60_000


@click.command()
@click.option("--foregrounds", default=1000, show_default=True)
@click.option("--backgrounds", default=50_000, show_default=True)
@click.option("--numbg", default=1000, show_default=True, help="Composites per foreground in the largest plan.")
@click.option(
    "--made",
    default="1,10,100",
    show_default=True,
    help="Composites per foreground that are made, one run for each number.",
)
def main(foregrounds: int, backgrounds: int, numbg: int, made: str) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        sources, largest = Path(folder) / "sources", Path(folder) / "largest"
        write_sources(sources, foregrounds, backgrounds)
        click.echo("| step | composites | seconds | ms per composite | peak MB |\n|---|---|---|---|---|")
        for each in map(int, made.split(",")):
            row(
                "plan and make",
                foregrounds * each,
                shm_data("composite", sources, Path(folder) / f"made{each}", each),
            )
        row("plan", foregrounds * numbg, shm_data("plan", sources, largest, numbg))
        fill(Layout(largest))
        row("resume, all samples exist", foregrounds * numbg, shm_data("composite", sources, largest, numbg))


def shm_data(command: str, sources: Path, savedir: Path, numbg: int) -> list[str]:
    """Return the command that plans or makes a set."""
    where = ["--inimg", sources / "photos", "--inalp", sources / "alphas", "--bgdir", sources / "backgrounds"]
    what = ["--no-originals", "--augment", "none", "--numbg", numbg, "--savedir", savedir]
    return [str(word) for word in (Path(sys.executable).with_name("shm-data"), command, *where, *what)]


def write_sources(folder: Path, foregrounds: int, backgrounds: int) -> None:
    """Write tiny photos, alphas and backgrounds: ten different pictures of each kind under many names."""
    draw = np.random.default_rng(0)
    for name in ("photos", "alphas", "backgrounds"):
        (folder / name).mkdir(parents=True)
    alpha = np.kron(np.array([[0, 0, 0, 0], [0, 128, 255, 0], [0, 255, 255, 0], [0, 255, 255, 0]]), np.ones((4, 4)))
    matte = images.encode(alpha.astype(np.uint8))
    photos = [images.encode(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(10)]
    flat = [np.full((128, 128, 3), draw.integers(0, 256, 3), np.uint8) for _ in range(10)]
    encoded = [images.encode(pixels, ".jpg") for pixels in flat]
    for number in range(foregrounds):
        (folder / "photos" / f"p{number:05d}.png").write_bytes(photos[number % 10])
        (folder / "alphas" / f"p{number:05d}.png").write_bytes(matte)
    for number in range(backgrounds):
        (folder / "backgrounds" / f"b{number:06d}.jpg").write_bytes(encoded[number % 10])


def row(step: str, count: int, words: list[str]) -> None:
    """Run a step and print its row of the table."""
    usage = run(words)
    each = usage.wall / count * 1e3
    click.echo(f"| {step} | {count:,} | {usage.wall:.1f} | {each:.3f} | {usage.peak / 1e6:.0f} |")


def fill(layout: Layout) -> None:
    """Write a file of one byte for each picture that the plan names."""
    for folder in layout.folders:
        folder.mkdir()
    for number, recipe in enumerate(read_recipes(layout.recipes)):
        if number % _MOST_LINKS == 0:
            twins = [folder / f".{number}" for folder in layout.folders]
            for twin in twins:
                twin.write_bytes(b"1")
        for path, twin in zip(layout.sample(recipe.name), twins, strict=True):
            os.link(twin, path)


if __name__ == "__main__":
    main()
