"""How well low-level statistics alone tell the person from the background, in composites and in photographs.

A linear detector sees nothing but the shape of the local spectrum: the energies of Y, Cb and Cr in bands of
frequency, relative to the patch's total, so neither colours nor the strength of texture. It is fitted to the patches
of some people and scored on those of others (leave one out). An AUC of 0.5 is chance. The aim is what photographs of
the same people have: there, too, people differ from what is behind them.

    python -m benchmarks.giveaway REALDATA PEOPLE
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shm_data import CompositeOptions, Recipe, composite, images
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import read_recipes
from shm_data.pixels.giveaway import SPECTRUM, Sides, mean_auc, sides_of
from shm_data.planning.resolution import enlargement

# By name: options of the composites.
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "--augment none": {},
    "--maxsize 400": {"maxsize": 400},
    "--max-enlarge 1": {"max_enlarge": 1.0},
    "--max-enlarge 0.5": {"max_enlarge": 0.5},
    "--augment camera": {"augment": ("camera",)},
    "--max-enlarge 1 --augment camera": {"max_enlarge": 1.0, "augment": ("camera",)},
    "--maxsize 800 --augment camera": {"maxsize": 800, "augment": ("camera",)},
}


def people_of(root: Path, chosen: Sequence[Recipe]) -> dict[str, list[Sides]]:
    """Return, by foreground, the features of its samples."""
    found: dict[str, list[Sides]] = defaultdict(list)
    for recipe in chosen:
        image_path, mask, _ = Layout(root).sample(recipe.name)
        sides = sides_of(images.read_image(image_path), images.read_alpha(mask))
        if sides is not None:
            found[recipe.foreground].append(sides)
    return found


def people_in(realdata: Path, people: Path, folder: Path) -> tuple[Path, Path]:
    """Link portraits with mattes of several sources into two folders, and return these."""
    known, more = realdata / "fg", people / "fg/p3m_more"
    pairs = [
        (path, known / "p3m_demo/alpha" / f"{path.stem}.png") for path in (known / "p3m_demo/original").iterdir()
    ]
    pairs += [(path, more / "gt" / path.name) for path in (more / "im").iterdir()]
    pairs += [
        (known / "bluestyle97_shm/sample_image.png", known / "bluestyle97_shm/sample_alpha.png"),
        (known / "tsing90_shm/0000.jpg", known / "tsing90_shm/0000-AIT.png"),
        (known / "carvekit_docs/1.jpg", known / "carvekit_docs/1_bg_removed.png"),
    ]
    for kind in ("photos", "alphas"):
        (folder / kind).mkdir()
    for number, (photo, alpha) in enumerate(sorted(pairs)):
        (folder / "photos" / f"p{number:02}{photo.suffix}").symlink_to(photo.resolve())
        (folder / "alphas" / f"p{number:02}{alpha.suffix}").symlink_to(alpha.resolve())
    return folder / "photos", folder / "alphas"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("realdata", type=Path)
    parser.add_argument("people", type=Path)
    parser.add_argument("--numbg", type=int, default=6)
    given = parser.parse_args()
    sources = {
        "Pascal VOC": {"vocroot": (given.realdata / "voc_mini/VOC2012",)},
        "BG-20k": {"bgdir": (given.people / "bg/bg20k",)},
    }
    print("| backgrounds | options | enlarged, median | composites | their own photographs |")
    print("|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        photos, alphas = people_in(given.realdata, given.people, Path(folder))
        plain = {
            "inimg": photos,
            "inalp": alphas,
            "numbg": given.numbg,
            "trainsplit": 1.0,
            "resize_alpha": True,
            "augment": (),
        }
        for title, roots in sources.items():
            for name, more in SETTINGS.items():
                root = Path(folder) / f"{title} {name}"
                composite(CompositeOptions.checked(**plain, **roots, **more), root)
                print(f"| {title} | {name} | {' | '.join(row(root))} |", flush=True)


def row(root: Path) -> tuple[str, ...]:
    """Return the figures of a data set: median enlargement, AUC in composites, AUC in its own photographs."""
    recipes = list(read_recipes(Layout(root).recipes))
    made, photos = [r for r in recipes if r.crop], [r for r in recipes if not r.crop]
    factor = float(np.median([enlargement(recipe) for recipe in made]))
    return f"{factor:.1f}", *(f"{mean_auc(people_of(root, some), SPECTRUM):.2f}" for some in (made, photos))


if __name__ == "__main__":
    main()
