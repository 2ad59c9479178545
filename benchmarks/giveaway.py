"""How well low-level statistics alone tell the person from the background, in composites and in photographs.

A linear detector sees nothing but the shape of the local spectrum: the energies of Y, Cb and Cr in bands of
frequency, relative to the patch's total, so neither colours nor the strength of texture. It is fitted to the patches
of some people and scored on those of others (leave one out). An AUC of 0.5 is chance. The aim is what photographs of
the same people have: there, too, people differ from what is behind them.

    python -m benchmarks.giveaway REALDATA PEOPLE
"""

import argparse
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shm_data import CompositeOptions, Recipe, composite, images
from shm_data.dataset.layout import Layout
from shm_data.dataset.recipes import read_recipes
from shm_data.planning.resolution import enlargement

Floats = NDArray[np.float64]

_PATCH = 32
_BANDS = 6
_PATCHES = 40  # of a side of one sample, at most
_RIDGE = 1e-2

# Rec. 601, as JPEG.
_YCC = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])

# By name: options of the composites.
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "as it comes": {},
    "--maxsize 400": {"maxsize": 400},
    "--max-enlarge 1": {"max_enlarge": 1.0},
    "--max-enlarge 0.5": {"max_enlarge": 0.5},
    "--augment camera": {"augment": ("camera",)},
    "--max-enlarge 1 --augment camera": {"max_enlarge": 1.0, "augment": ("camera",)},
    "--maxsize 800 --augment camera": {"maxsize": 800, "augment": ("camera",)},
}


def spectrum(patch: NDArray[np.uint8]) -> Floats:
    """Return log energies of a patch (32, 32, 3) in bands of frequency, by channel, relative to their mean."""
    window = np.hanning(_PATCH)
    planes = np.moveaxis(patch.astype(float) @ _YCC.T, -1, 0)
    planes = (planes - planes.mean(axis=(1, 2), keepdims=True)) * window[:, None] * window
    energy = np.abs(np.fft.fft2(planes)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_PATCH), np.fft.fftfreq(_PATCH)))
    edges = 0.5 * 2.0 ** np.linspace(-3, 0.5, _BANDS + 1)
    bands = [(frequency >= low) & (frequency < high) for low, high in itertools.pairwise(edges)]
    energies = np.log(np.array([[plane[band].mean() for band in bands] for plane in energy]) + 1e-2)
    return (energies - energies.mean(axis=1, keepdims=True)).ravel()


def patches(image: NDArray[np.uint8], inside: NDArray[np.bool_]) -> Iterator[NDArray[np.uint8]]:
    """Return patches that lie wholly inside a region, spread evenly over it."""
    rows, columns = (range(0, length - _PATCH + 1, _PATCH) for length in inside.shape)
    corners = [(y, x) for y in rows for x in columns if inside[y : y + _PATCH, x : x + _PATCH].all()]
    for y, x in corners[:: max(1, len(corners) // _PATCHES)][:_PATCHES]:
        yield image[y : y + _PATCH, x : x + _PATCH]


def features_of(root: Path, chosen: Sequence[Recipe]) -> dict[str, tuple[Floats, Floats]]:
    """Return, by foreground, the spectra of its person's patches and of the background's."""
    found: dict[str, tuple[list[Floats], list[Floats]]] = defaultdict(lambda: ([], []))
    for recipe in chosen:
        image_path, mask, _ = Layout(root).sample(recipe.name)
        image, alpha = images.read_image(image_path), images.read_alpha(mask)
        for side, region in enumerate((alpha >= 250, alpha <= 5)):
            found[recipe.foreground][side].extend(map(spectrum, patches(image, region)))
    return {name: (np.array(a), np.array(b)) for name, (a, b) in found.items() if a and b}


def auc(scores: Floats, others: Floats) -> float:
    """Return the share of pairs in which the first score is the higher one."""
    ranks = np.argsort(np.argsort(np.concatenate([scores, others]))) + 1.0
    return float((ranks[: len(scores)].sum() - len(scores) * (len(scores) + 1) / 2) / (len(scores) * len(others)))


def fit(people: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return the weights of a linear detector (ridge regression; people count alike), and the mean to subtract."""
    rows = np.concatenate([side for person in people for side in person])
    labels = np.concatenate([np.full(len(p[side]), sign) for p in people for side, sign in ((0, 1.0), (1, -1.0))])
    counts = np.concatenate([np.full(len(side), 1 / len(side)) for person in people for side in person])
    mean = np.average(rows, axis=0, weights=counts)
    centred = rows - mean
    gram = (centred * counts[:, None]).T @ centred / len(people)
    target = (centred * (labels * counts)[:, None]).sum(axis=0) / len(people)
    return np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), target), mean


def detector_auc(people: Mapping[str, tuple[Floats, Floats]]) -> float:
    """Return the mean AUC over people, each scored by a detector that was fitted to all others."""
    results = []
    for name, (inside, outside) in people.items():
        weights, mean = fit([each for other, each in people.items() if other != name])
        results.append(auc((inside - mean) @ weights, (outside - mean) @ weights))
    return float(np.mean(results))


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
    print("| backgrounds | options | enlarged, median | composites | photographs, same size |")
    print("|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        photos, alphas = people_in(given.realdata, given.people, Path(folder))
        plain = {"inimg": photos, "inalp": alphas, "numbg": given.numbg, "trainsplit": 1.0, "resize_alpha": True}
        for title, roots in sources.items():
            for name, more in SETTINGS.items():
                root = Path(folder) / f"{title} {name}"
                composite(CompositeOptions.checked(**plain, **roots, **more), root)
                print(f"| {title} | {name} | {' | '.join(row(root))} |", flush=True)


def row(root: Path) -> tuple[str, ...]:
    """Return the figures of a data set: median enlargement, AUC in composites, AUC in its untouched photographs."""
    recipes = list(read_recipes(Layout(root).recipes))
    made, photos = [r for r in recipes if r.crop], [r for r in recipes if not r.crop]
    factor = float(np.median([enlargement(recipe) for recipe in made]))
    return f"{factor:.1f}", *(f"{detector_auc(features_of(root, some)):.2f}" for some in (made, photos))


if __name__ == "__main__":
    main()
