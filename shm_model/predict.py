"""From a picture to its matte, by a T-Net alone, an M-Net with a trimap, or both end to end."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from shm_data.arrays import Array
from shm_data.compositing import fit, resize, resize_nearest
from shm_data.errors import ShmDataError, WriteError
from shm_data.foreground import estimate
from shm_data.images import find, read_image, read_trimap, write_png
from shm_data.layout import make_folders, safe_stem, unused
from shm_data.pairing import TRIMAP_WORDS, pair
from shm_data.parallel import Progress, quiet
from shm_data.trimap import CLASSES
from shm_model.checkpoint import load, restored
from shm_model.dataset import labels_of
from shm_model.mnet import MNet
from shm_model.shm import SHM, fused
from shm_model.tnet import TNet

_VALUES = np.array(CLASSES, np.uint8)


@dataclass(frozen=True, slots=True)
class Prediction:
    """alpha (H, W) float32 in [0, 1]; trimap (H, W) uint8 in {0, 128, 255}: T-Net's, or the one that was given."""

    alpha: NDArray[np.float32]
    trimap: Array


@dataclass(frozen=True, slots=True)
class Predictor:
    """A network ready to predict on a device."""

    network: nn.Module
    device: torch.device
    longest: int

    def __call__(self, image: Array, trimap: Array | None = None) -> Prediction:
        """Predicts the matte of an image (H, W, 3) uint8, whose trimap (H, W) in {0, 128, 255} M-Net alone needs.

        Pictures with a longer edge than `longest` are scaled down, and the matte is scaled back.
        Raises ShmDataError where M-Net is given no trimap, or one of another size.
        """
        if isinstance(self.network, MNet):
            if trimap is None:
                raise ShmDataError("this checkpoint is an M-Net", found="no trimap", wanted="--trimap")
            if trimap.shape != image.shape[:2]:
                sizes = f"a {trimap.shape[1]}x{trimap.shape[0]} trimap of a {image.shape[1]}x{image.shape[0]} image"
                raise ShmDataError("a trimap", found=sizes, wanted="the same size")
        height, width = image.shape[:2]
        size = fit((width, height), self.longest)
        tensor = _tensor(resize(image, size)).to(self.device)
        self.network.eval()
        with torch.inference_mode():
            alpha, probabilities = self._run(tensor, trimap, size)
        matte = alpha[0, 0].float().clamp(0, 1).cpu().numpy()
        back = cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
        if isinstance(self.network, MNet) and trimap is not None:
            return Prediction(back, trimap)
        classes = probabilities[0].argmax(0).to(torch.uint8).cpu().numpy()
        return Prediction(back, resize_nearest(_VALUES[classes], (width, height)))

    def _run(self, image: Tensor, trimap: Array | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """alpha (1, 1, h, w) and the probabilities of the trimap's classes (1, 3, h, w)."""
        if isinstance(self.network, MNet) and trimap is not None:
            labels = labels_of(resize_nearest(trimap, size)).long().to(self.device)
            probabilities = one_hot(labels, 3).permute(2, 0, 1)[None].float()
            return fused(probabilities, self.network(image, probabilities)), probabilities
        if isinstance(self.network, TNet):
            probabilities = self.network(image).softmax(1)
            return probabilities[:, 2:3] + probabilities[:, 1:2] / 2, probabilities
        assert isinstance(self.network, SHM)
        matte = self.network(image)
        return matte.alpha, matte.logits.softmax(1)


def predictor_of(path: Path, device: torch.device) -> Predictor:
    """The predictor of a checkpoint file. Raises ShmDataError where the file is none."""
    checkpoint = load(path)
    return Predictor(restored(checkpoint, path).to(device), device, checkpoint.config.longest)


def predict_files(
    predictor: Predictor, pictures: Sequence[Path], trimap: Path | None, savedir: Path, progress: Progress = quiet
) -> int:
    """Writes NAME.png, the alpha, and NAME_cutout.png, RGBA with estimated colours, for pictures and folders of them.

    `trimap` is a file for one picture, or a folder with a trimap for each by name. Gives the number of mattes.
    Raises ShmDataError that names the pictures which are missing or broken, or whose trimap is, once all others are
    done.
    """
    files = [file for path in pictures for file in _files(path)]
    trimaps = _trimaps(files, trimap)
    make_folders(savedir)
    taken: dict[str, int] = {}
    faults = []
    for file in progress(files, len(files), "predicting"):
        stem = unused(safe_stem(file.stem), taken)
        try:
            _predict_file(predictor, file, trimaps.get(file), savedir, stem)
        except WriteError:
            raise
        except ShmDataError as error:
            faults.append(str(error) if str(file) in str(error) else f"{file}: {error}")
    if faults:
        raise ShmDataError.of_many(f"{len(faults)} of {len(files)} mattes could not be predicted", faults)
    return len(files)


def _predict_file(predictor: Predictor, file: Path, trimap: Path | None, savedir: Path, stem: str) -> None:
    image = read_image(file)
    prediction = predictor(image, None if trimap is None else read_trimap(trimap))
    alpha = np.rint(prediction.alpha * 255).astype(np.uint8)
    write_png(savedir / f"{stem}.png", alpha)
    write_png(savedir / f"{stem}_cutout.png", np.dstack([estimate(image, alpha), alpha]))


def _files(path: Path) -> list[Path]:
    return [path / name for name in find(path)] if os.path.isdir(path) else [path]


def _trimaps(files: Sequence[Path], trimap: Path | None) -> dict[Path, Path]:
    """The trimap of each picture: the file itself for a single one, or by name in a folder."""
    if trimap is None:
        return {}
    if not os.path.isdir(trimap):
        if len(files) > 1:
            raise ShmDataError("--trimap", found=f"one file for {len(files)} pictures", wanted="a folder of trimaps")
        return {files[0]: trimap}
    by_name = {file.name: file for file in files}
    pairs = pair(list(by_name), find(trimap), TRIMAP_WORDS)
    if pairs.images_left:
        raise ShmDataError(f"no trimap in {trimap}", found=f"none for {pairs.images_left[0]}", wanted="one for each")
    return {by_name[name]: trimap / other for name, other in pairs.matched.items()}


def _tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float() / 255
