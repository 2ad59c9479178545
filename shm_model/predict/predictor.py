"""Predict with a checkpoint: a network in torch on a device."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shm_data.errors import ShmDataError
from shm_model.checkpoint import load, restore_network
from shm_model.mnet import MNet
from shm_model.predict.base import BasePredictor, Floats
from shm_model.predict.record import digest_file
from shm_model.shm import SHM, fuse_probabilities
from shm_model.tnet import TNet, make_portable


@dataclass(frozen=True, slots=True)
class Predictor(BasePredictor):
    """A network ready to predict on a device, optionally in half precision: float16 on GPUs, bfloat16 on CPUs.

    `digest` is the SHA-256 of its checkpoint. T-Net's logits, M-Net's last layer and the fusion are float32 in either
    case. In bfloat16 the mattes of the demo's networks differ by 0.0015 in the mean, by 0.03 in one pixel of a
    hundred, by 0.2 in single pixels; the rounding steps of float16 are an eighth of bfloat16's.
    """

    network: nn.Module
    device: torch.device
    longest: int
    half: bool = False
    digest: str = ""

    @property
    def needs_trimap(self) -> bool:
        """Return whether the network is an M-Net without a T-Net."""
        return isinstance(self.network, MNet)

    @property
    def settings(self) -> dict[str, object]:
        """Return what the mattes depend on: the SHA-256 of the checkpoint, `longest` and `half`."""
        return {"network": self.digest, "longest": self.longest, "half": self.half}

    def run(self, images: Floats, probabilities: Floats | None) -> tuple[Floats, Floats]:
        """Return alpha (N, 1, h, w) in [0, 1] and the probabilities of the trimap's classes (N, 3, h, w).

        Raises ShmDataError where the device has too little memory, or half precision overflows.
        """
        self.network.eval()
        dtype = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        arrays = [images] if probabilities is None else [images, probabilities]
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, dtype, enabled=self.half):
                tensors = [torch.from_numpy(array).to(self.device) for array in arrays]
                alpha, classes = (output.cpu().numpy() for output in run_network(self.network, *tensors))
        except torch.OutOfMemoryError as error:
            count, _, height, width = images.shape
            sizes = f"too little memory for {count} of {width}x{height} at once"
            raise ShmDataError(path=self.device, found=sizes, expected="a smaller --batch or --longest") from error
        if self.half and not bool(torch.from_numpy(alpha).isfinite().all()):
            raise ShmDataError("half precision", found="a matte that is not finite", expected="no --half")
        return alpha, classes


def load_predictor(path: Path, device: torch.device, half: bool = False) -> Predictor:
    """Return the predictor of a checkpoint file. Raises ShmDataError where the file is no checkpoint."""
    checkpoint = load(path)
    network = restore_network(checkpoint, path).to(device)
    if device.type == "mps":
        make_portable(network)
    return Predictor(network, device, checkpoint.config.long_edge, half, digest_file(path))


def run_network(network: nn.Module, image: Tensor, probabilities: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return alpha (N, 1, H, W) in [0, 1] and the probabilities of the trimap's classes (N, 3, H, W), both float32.

    `image` (N, 3, H, W) is RGB in [0, 1]. An M-Net needs `probabilities` (N, 3, H, W), and returns them.
    """
    if isinstance(network, MNet):
        assert probabilities is not None
        alpha = fuse_probabilities(probabilities, network(image, probabilities))
    elif isinstance(network, TNet):
        probabilities = network(image).float().softmax(1)
        alpha = probabilities[:, 2:3] + probabilities[:, 1:2] / 2
    else:
        assert isinstance(network, SHM)
        alpha, logits = network(image)
        probabilities = logits.float().softmax(1)
    return alpha.float().clamp(0, 1), probabilities
