"""What brings T-Net to real photographs? Trains it in several ways on the same people, and scores all on others.

All ways get the same ten portraits with mattes. They are scored on seventeen real photographs with masks, from three
other folders that count alike, at the size that the network sees. Networks of one kind take equal numbers of
optimiser steps: as many as `--seconds` of processor time allow, measured once for each kind. The seed decides set,
weights and order, and all ways use the same seeds, so that differences are computed seed by seed.

    python -m benchmarks.real REALDATA PEOPLE --savedir FOLDER

An interrupted run is resumed; `--table` only prints what is there.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from shm_data import CompositeOptions, images, write_plan
from shm_data.files import make_folders, write_bytes
from shm_data.images.masks import read_mask
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import fit, resize, resize_matte, resize_nearest
from shm_model.config import Config
from shm_model.predict import Predictor, load_predictor
from shm_model.samples import source_of
from shm_model.train import train

Floats = np.ndarray[Any, np.dtype[np.float32]]

_LONGEST = 288


@dataclass(frozen=True)
class Arm:
    """A way to train: options of the set, settings of the training, and further sources that the set gets."""

    set: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


_RESNET = {"backbone": "resnet18", "output_stride": 16, "pretrained_lr": 1.0, "freeze_bn": False}
_RANDOM = {"backbone_weights": "none", "pretrained_lr": 1.0, "freeze_bn": False}
_CAMERA = {"augment": ("camera",)}
_DEGRADE = {"degrade": True}

BASE = "lite0"
ARMS: Mapping[str, Arm] = {
    BASE: Arm(),
    "resnet18, random": Arm(train=_RESNET),
    "resnet18, auxiliary": Arm(train=_RESNET | {"aux_weight": 0.4}),
    "lite0, random": Arm(train=_RANDOM),
    "degrade": Arm(train=_DEGRADE),
    "masks": Arm(sources=("masks",)),
    "degrade, masks": Arm(train=_DEGRADE, sources=("masks",)),
    "plain": Arm(set={"foreground": "photo", "people": True}),
    "max-enlarge 1": Arm(set={"max_enlarge": 1.0}),
    "max-enlarge 0.5": Arm(set={"max_enlarge": 0.5}),
    "sharp backgrounds": Arm(sources=("sharp",)),
    "camera": Arm(set=_CAMERA),
    "decoys": Arm(sources=("decoys",)),
    "pairs": Arm(train={"pairs": True}),
    "camera, degrade": Arm(set=_CAMERA, train=_DEGRADE),
    "camera, masks": Arm(set=_CAMERA, sources=("masks",)),
    "all": Arm(set=_CAMERA, train=_DEGRADE, sources=("masks", "decoys")),
}

# Crops of nearly whole pictures, and rates for a pretrained encoder.
_TRAINING: Mapping[str, Any] = {
    "mode": "pretrain_tnet",
    "data": "recipes",
    "resample_backgrounds": True,
    "cuda": False,
    "backbone": "efficientnet_lite0",
    "pretrained_lr": 0.3,
    "freeze_bn": True,
    "tnet_size": 224,
    "least_crop": 0.8,
    "longest": _LONGEST,
    "colour": 0.5,
    "batch_size": 8,
    "lr": 1e-3,
    "schedule": "cosine",
    "warmup": 10,
    "num_workers": 0,
    "eval": False,
    "max_epoch": 10_000,
    "sample_period": 10_000,
    "checkpoint_period": 10_000,
}


class Sources:
    """Where the photographs are, and the folders that are written from them once."""

    def __init__(self, realdata: Path, people: Path, folder: Path) -> None:
        self.realdata, self.people, self.folder = realdata, people, folder
        self._coco = realdata / "coco_mini"

    def write(self) -> None:
        """Write the portraits, the photographs with masks, and the decoys."""
        for number, (photo, alpha) in enumerate(self._portraits()):
            _write(self.folder / "photos" / f"{number:02}.png", images.read_image(photo))
            _write(self.folder / "alphas" / f"{number:02}.png", images.read_alpha(alpha))
        for name, mask in self._coco_masks():
            _write(self.folder / "masks" / f"{name}.png", mask)
            _write(self.folder / "crowd" / f"{name}.png", images.read_image(self._coco / "train2017" / f"{name}.jpg"))
        objects = self.realdata / "fg/alphamatting_gt27"
        for photo in sorted((objects / "input").iterdir()):
            cutout = np.dstack([images.read_image(photo), images.read_alpha(objects / "GT" / photo.name)])
            _write(self.folder / "decoys" / photo.name, cutout)

    def options(self, arm: Arm, seed: int) -> CompositeOptions:
        """Return the options of the set of an arm."""
        more: dict[str, Any] = {"vocroot": (self.realdata / "voc_mini",), "cocoroot": (self._coco,)}
        if "sharp" in arm.sources:
            more = {"bgdir": (self.people / "bg/bg20k",)}
        if "masks" in arm.sources:
            more |= {"maskimg": self.folder / "crowd", "inmask": self.folder / "masks"}
        if "decoys" in arm.sources:
            more["decoys"] = self.folder / "decoys"
        photos = {"inimg": self.folder / "photos", "inalp": self.folder / "alphas"}
        return CompositeOptions.checked(
            **photos, **more, numbg=4, seed=seed, resize_alpha=True, maxsize=800, **{"augment": ()} | arm.set
        )

    def tests(self) -> Iterator[tuple[str, Array, Array]]:
        """Yield folder, image (h, w, 3) and mask (h, w) of each photograph to score on, at the network's size."""
        vikram, masks = self.realdata / "fg/vikram_humanseg", self.people / "masks"
        pairs = [(path, vikram / "Ground_Truth") for path in sorted((vikram / "Training_Images").iterdir())]
        for photos, truth in (("skin_clothes_hair/image", "annotation"), ("cihp/images", "labels")):
            pairs += [(path, path.parents[1] / truth) for path in sorted((masks / photos).iterdir())]
        for photo, folder in pairs:
            image = images.read_image(photo)
            size = fit((image.shape[1], image.shape[0]), _LONGEST)
            mask = resize_nearest(read_mask(folder / f"{photo.stem}.png"), size)
            yield folder.parent.name, resize(image, size), mask

    def _portraits(self) -> Iterator[tuple[Path, Path]]:
        fg, more = self.realdata / "fg", self.people / "fg"
        for photo in sorted((fg / "p3m_demo/original").iterdir()):
            yield photo, fg / "p3m_demo/alpha" / f"{photo.stem}.png"
        for photo in sorted((more / "p3m_more/im").iterdir()):
            yield photo, more / "p3m_more/gt" / photo.name
        yield more / "p3m_trimap/image.jpg", more / "p3m_trimap/ground_truth.png"
        yield fg / "bluestyle97_shm/sample_image.png", fg / "bluestyle97_shm/sample_alpha.png"
        yield fg / "tsing90_shm/0000.jpg", fg / "tsing90_shm/0000-AIT.png"
        yield fg / "carvekit_docs/1.jpg", fg / "carvekit_docs/1_bg_removed.png"

    def _coco_masks(self) -> Iterator[tuple[str, Array]]:
        """Yield name and mask of the photographs in which annotated people, but no crowd, cover 2 % or more."""
        listed = json.loads((self._coco / "annotations/instances_train2017.json").read_text())
        person = next(each["id"] for each in listed["categories"] if each["name"] == "person")
        for entry in listed["images"]:
            people = [a for a in listed["annotations"] if (a["image_id"], a["category_id"]) == (entry["id"], person)]
            if people and not any(each["iscrowd"] for each in people):
                mask: Array = np.zeros((entry["height"], entry["width"]), np.uint8)
                for outline in (part for each in people for part in each["segmentation"]):
                    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32).reshape(-1, 2)], 255)
                if mask.mean() >= 0.02 * 255:
                    yield Path(entry["file_name"]).stem, mask


def _write(path: Path, pixels: Array) -> None:
    if not path.exists():  # plans know their sources by size and time
        make_folders(path.parent)
        images.write_png(path, pixels)


def iou_and_mad(alpha: Floats, matte: Array) -> tuple[float, float]:
    """Return the IoU of the person, where alpha is at least a half, and the mean absolute difference times 1000."""
    truth = matte / np.float32(255)
    found, true = alpha >= 0.5, truth >= 0.5
    return float((found & true).sum() / max(1, (found | true).sum())), float(np.abs(alpha - truth).mean() * 1000)


def steps_in(seconds: float, arm: Arm, plan: Path, work: Path) -> int:
    """Return how many optimiser steps a network of this kind takes in `seconds` of processor time."""
    times = []
    for count in (3, 13):
        start = time.process_time()
        _train(arm, plan, work / f"steps{count}", 0, count)
        times.append(time.process_time() - start)
    return max(1, round(seconds * 10 / (times[1] - times[0])))


def _train(arm: Arm, plan: Path, savedir: Path, seed: int, steps: int) -> Path:
    values = {**_TRAINING, **arm.train, "data_root": plan, "savedir": savedir, "seed": seed, "max_steps": steps}
    return train(Config(**values)).last


def run(name: str, seed: int, sources: Sources, savedir: Path, seconds: float) -> None:
    """Train a network and write its scores, unless they are there."""
    folder, arm = savedir / f"seed{seed}" / name.replace(", ", "_"), ARMS[name]
    scores = folder / "scores.json"
    if scores.is_file():
        return
    write_plan(sources.options(arm, seed), folder / "plan")
    auxiliary = " auxiliary" * ("aux_weight" in arm.train)
    kind = savedir / f"steps {arm.train.get('backbone', _TRAINING['backbone'])}{auxiliary}.json"
    if not kind.is_file():
        write_bytes(kind, json.dumps(steps_in(seconds, arm, folder / "plan", folder)).encode())
    steps, start = json.loads(kind.read_text()), time.process_time()
    predictor = load_predictor(_train(arm, folder / "plan", folder / "tnet", seed, steps), torch.device("cpu"))
    spent = time.process_time() - start
    real: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for origin, image, truth in sources.tests():
        real[origin].append(iou_and_mad(predictor(image).alpha, truth))
    val = {"val": _val_scores(predictor, folder / "plan")}
    write_bytes(scores, json.dumps({"steps": steps, "seconds": spent, "real": real, "val": val}).encode())


def _val_scores(predictor: Predictor, plan: Path) -> list[tuple[float, float]]:
    val = source_of("recipes", plan, "val")
    found = []
    for index in range(len(val.names)):
        image, alpha, _ = val.read(index)
        size = fit((image.shape[1], image.shape[0]), _LONGEST)
        found.append(iou_and_mad(predictor(resize(image, size)).alpha, resize_matte(alpha, size)))
    return found


def table(savedir: Path, seeds: Sequence[int]) -> Iterator[str]:
    """Return the table of all arms of which every seed is done, in Markdown."""
    yield f"| arm | IoU real | minus {BASE}, by seed | MAD x 1000 real | IoU val | drop | steps | processor s |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    base = _scores(savedir, BASE, seeds)
    for name in ARMS:
        some = _scores(savedir, name, seeds)
        if some is None or base is None:
            continue
        real, val, mads = (_means(some, *key) for key in (("real", 0), ("val", 0), ("real", 1)))
        against = ", ".join(f"{a - b:+.3f}" for a, b in zip(real, _means(base, "real", 0), strict=True))
        drop = statistics.mean(val) - statistics.mean(real)
        seconds = statistics.mean(each["seconds"] for each in some)
        cells = _spread(real, 3), against, _spread(mads, 0), _spread(val, 3), f"{drop:.3f}"
        yield f"| {name} | {' | '.join(cells)} | {some[0]['steps']} | {seconds:.0f} |"


def _scores(savedir: Path, name: str, seeds: Sequence[int]) -> list[dict[str, Any]] | None:
    files = [savedir / f"seed{seed}" / name.replace(", ", "_") / "scores.json" for seed in seeds]
    return [json.loads(file.read_text()) for file in files] if all(file.is_file() for file in files) else None


def _means(some: Sequence[Mapping[str, Any]], part: str, which: int) -> list[float]:
    """Return by seed the mean over folders of their means: some folders show one person several times."""
    return [
        statistics.mean(statistics.mean(pair[which] for pair in pairs) for pairs in each[part].values())
        for each in some
    ]


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("realdata", type=Path)
    parser.add_argument("people", type=Path)
    parser.add_argument("--savedir", type=Path, required=True, help="Folder of the results.")
    parser.add_argument("--seconds", type=float, default=300, help="Processor time of one training.")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds.")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), metavar="ARM")
    parser.add_argument("--table", action="store_true", help="Train nothing.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sources = Sources(given.realdata, given.people, given.savedir / "sources")
    if not given.table:
        sources.write()
        for seed in range(given.seeds):
            for name in given.arms:
                run(name, seed, sources, given.savedir, given.seconds)
    print("\n".join(table(given.savedir, range(given.seeds))))


if __name__ == "__main__":
    main()
