"""Small generated pictures, and what is in a data set."""

import json

import numpy as np

from shm_data import images

# EXIF orientation -> what makes the stored array upright.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.fliplr(np.rot90(a, 3)),
    6: lambda a: np.rot90(a, 3),
    7: lambda a: np.fliplr(np.rot90(a, 1)),
    8: lambda a: np.rot90(a, 1),
}


def contents(root):
    """Every file of a data set by name; dataset.json without what people read; not where the sources lie."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    record = json.loads(files.pop("dataset.json"))
    del files["local.json"]
    return files, {key: record[key] for key in ("counts", "notes", "skipped", "foregrounds", "complete")}


def photo(seed, size=(48, 64)):
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def write_people(folder, names, size=(48, 64)):
    """Write a photo and an alpha of this size for each name into `photos` and `alphas` of a folder."""
    for number, name in enumerate(names):
        for kind, pixels in (("photos", photo(number, size)), ("alphas", matte(number, size))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            images.write_png(folder / kind / f"{name}.png", pixels)


def matte(seed, size=(48, 64)):
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(y - size[0] / 2, (x - size[1] / 2) * (0.8 + seed % 5 / 10))
    return np.clip((size[0] / 3 - distance) * 40 + 128, 0, 255).astype(np.uint8)
