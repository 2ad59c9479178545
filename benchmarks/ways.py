"""Makes training sets in two ways from the same photographs, and writes the photographs for the tests.

One way is that of public scripts ("plain"), the other is ours. They differ in three things only:

- colours: plain takes the colours of the photo, ours the estimate, which contains no old background;
- backgrounds: plain takes all photographs, some with people, ours those without people. Both pools have the same size
  and the same photographs, except that in the plain pool photographs with people replace some of the others;
- trimaps: plain takes alpha > 0, eroded by a kernel of 12 px and dilated by one of 15; ours derives them from alpha.

`shm_data.composite` makes both sets with the same draws: names, alphas, originals, and the positions of backgrounds
in their pool are equal.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shm_data import images
from shm_data.building.build import composite
from shm_data.dataset.layout import Layout, read_names, write_names
from shm_data.draws import draws
from shm_data.files import make_folders
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_matte, resize_nearest
from shm_data.pixels.trimap import BACKGROUND, FOREGROUND, UNKNOWN, derive_trimap
from shm_data.planning.draw import trimap_rule
from shm_data.sources import backgrounds


@dataclass(frozen=True)
class Way:
    """How a set is made: each of the three things is plain, or ours if true."""

    name: str
    colours: bool = False
    backgrounds: bool = False
    trimaps: bool = False


PLAIN, OURS = Way("plain"), Way("ours", colours=True, backgrounds=True, trimaps=True)
ONE_OF_OURS = tuple(Way(thing, **{thing: True}) for thing in ("colours", "backgrounds", "trimaps"))

# Photographs for training: three people with soft mattes, six with binary masks, and three animals with fur.
TRAINING = (
    ("bluestyle97_shm/sample_image.png", "bluestyle97_shm/sample_alpha.png"),
    ("tsing90_shm/0000.jpg", "tsing90_shm/0000-AIT.png"),
    ("carvekit_docs/1.jpg", "carvekit_docs/1_bg_removed.png"),
    *(
        (f"vikram_humanseg/Training_Images/{number}.jpg", f"vikram_humanseg/Ground_Truth/{number}.png")
        for number in (1, 56, 101, 113, 115)
    ),
    ("pifu_sample/ryota.png", "pifu_sample/ryota_mask.png"),
    *((f"gfm_samples/original/{number}.jpg", f"gfm_samples/result_alpha/{number}.png") for number in (1, 4)),
    ("pymatting_lemur/lemur.png", "pymatting_lemur/lemur_alpha.png"),
)

# Photographs for tests: objects with captured mattes and drawn trimaps, and people whose mattes a network made.
OBJECTS = tuple(f"GT{number}" for number in ("01", "04", "13", "18", "21", "25"))
PEOPLE = ("p_51c916fc", "p_bc5cfad1", "p_bd6af989")

# The longest edge of all pictures, for training and tests: that of the objects.
LONGEST = 800


def write_photos(root: Path, folder: Path) -> None:
    """Write the photographs for training to photos/ and alphas/ in `folder`, scaled down, in equal sizes."""
    make_folders(folder / "photos", folder / "alphas")
    for number, (photo, matte) in enumerate(TRAINING):
        image, alpha = _pair(root / "fg" / photo, root / "fg" / matte)
        images.write_png(folder / "photos" / f"f{number:02}.png", image)
        images.write_png(folder / "alphas" / f"f{number:02}.png", alpha)


def _pair(photo: Path, matte: Path) -> tuple[Array, Array]:
    image, alpha = images.read_image(photo), images.read_alpha(matte)
    size = fit((image.shape[1], image.shape[0]), LONGEST)
    return resize(image, size), resize_matte(alpha, size)


def write_backgrounds(root: Path, folder: Path, seed: int) -> None:
    """Write the pools of background photographs from VOC and COCO under `root`."""
    roots = {"vocroot": [root / "voc_mini"], "cocoroot": [root / "coco_mini"]}
    without = [background.path for background in backgrounds.scan(**roots).backgrounds]
    every = [background.path for background in backgrounds.scan(**roots, people=True).backgrounds]
    write_pools(without, sorted(set(every) - set(without)), folder, seed)


def write_pools(without: Sequence[Path], people: Sequence[Path], folder: Path, seed: int) -> None:
    """Write two pools of the same size to `folder`: empty/ with the photographs `without` people, and mixed/.

    In mixed/, random photographs of `people` replace random others. Their share is that among all photographs.
    """
    drawn = draws(seed, "people")
    positions = sorted(range(len(without)), key=lambda _: next(drawn))
    shown = sorted(people, key=lambda _: next(drawn))
    share = round(len(without) * len(people) / (len(without) + len(people)))
    empty = dict(enumerate(without))
    mixed = empty | dict(zip(positions[:share], shown[:share], strict=True))
    for name, pool in (("empty", empty), ("mixed", mixed)):
        make_folders(folder / name)
        for position, path in pool.items():
            shutil.copyfile(path, folder / name / f"b{position:03}{path.suffix}")


def make_set(way: Way, sources: Path, folder: Path, seed: int, numbg: int) -> None:
    """Make the set of a way in `folder` from photos/, alphas/, empty/ and mixed/ in `sources`."""
    options = CompositeOptions(
        inimg=sources / "photos",
        inalp=sources / "alphas",
        bgdir=(sources / ("empty" if way.backgrounds else "mixed"),),
        foreground="estimate" if way.colours else "photo",
        numbg=numbg,
        trainsplit=1.0,
        seed=seed,
        augment=(),
    )
    composite(options, folder)
    names = read_names(folder, "train")
    write_names(folder, "val", names[:1])  # training needs one, although it neither scores nor writes pictures
    if not way.trimaps:
        for name in names:
            _, alpha, trimap = Layout(folder).sample(name)
            images.write_png(trimap, plain_trimap(images.read_alpha(alpha)))


def plain_trimap(alpha: Array) -> Array:
    """Return the trimap (H, W) of an alpha (H, W) uint8 in the plain way: alpha > 0 counts as foreground."""
    shown = (alpha > 0).astype(np.uint8)
    erode, dilate = (cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)) for width in (12, 15))
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[cv2.dilate(shown, dilate) == 0] = BACKGROUND
    trimap[cv2.erode(shown, erode) == 1] = FOREGROUND
    return trimap


def our_trimap(alpha: Array) -> Array:
    """Return the trimap (H, W) of an alpha (H, W) uint8 as `shm-data` derives it by default."""
    return derive_trimap(alpha, trimap_rule("", (alpha.shape[1], alpha.shape[0]), 0, TrimapOptions()))


def write_tests(root: Path, folder: Path) -> None:
    """Write objects/ and people/ to `folder`: real photographs in the layout of a data set, as its val split."""
    people, gt27 = root / "fg" / "p3m_demo", root / "fg" / "alphamatting_gt27"
    for name in PEOPLE:
        image, alpha = _pair(people / "original" / f"{name}.jpg", people / "alpha" / f"{name}.png")
        _write_sample(folder / "people", name, image, alpha, our_trimap(alpha))
    for name in OBJECTS:
        image, alpha = _pair(gt27 / "input" / f"{name}.png", gt27 / "GT" / f"{name}.png")
        trimap = images.read_trimap(gt27 / "trimap" / "Trimap1" / f"{name}.png")
        _write_sample(folder / "objects", name, image, alpha, resize_nearest(trimap, image.shape[1::-1]))
    for kind, names in (("people", PEOPLE), ("objects", OBJECTS)):
        write_names(folder / kind, "val", (f"{name}.png" for name in names))


def _write_sample(root: Path, name: str, *pictures: Array) -> None:
    make_folders(*Layout(root).folders)
    for path, pixels in zip(Layout(root).sample(f"{name}.png"), pictures, strict=True):
        images.write_png(path, pixels)
