"""Predict with an ONNX file that `shm-model export` wrote, by onnxruntime. Needs no torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from shm_data.errors import ShmDataError
from shm_model.predict.base import BasePredictor, Floats

_EXPECTED = "a file that shm-model export wrote"

# A flipped byte in a name is a UnicodeDecodeError; in a number, whatever onnxruntime checks last.
_UNREADABLE = (
    *(faults.Fail, faults.InvalidArgument, faults.InvalidGraph, faults.InvalidProtobuf, faults.NoModel),
    *(faults.NotImplemented, faults.RuntimeException, UnicodeDecodeError),
)

_FATAL_ONLY = 4


@dataclass(frozen=True, slots=True)
class OnnxPredictor(BasePredictor):
    """A session of onnxruntime, ready to predict."""

    session: onnxruntime.InferenceSession
    mode: str
    longest: int
    digest: str

    @property
    def needs_trimap(self) -> bool:
        """Return whether the network is an M-Net without a T-Net."""
        return self.mode == "pretrain_mnet"

    @property
    def settings(self) -> dict[str, object]:
        """Return what the mattes depend on: the SHA-256 of the file and `longest`."""
        return {"network": self.digest, "longest": self.longest}

    def run(self, images: Floats, probabilities: Floats | None) -> tuple[Floats, Floats]:
        """Return alpha (N, 1, h, w) in [0, 1] and the probabilities of the trimap's classes (N, 3, h, w)."""
        if probabilities is None:
            alpha, classes = self.session.run(["alpha", "probabilities"], {"image": images})
            return alpha, classes
        (alpha,) = self.session.run(["alpha"], {"image": images, "probabilities": probabilities})
        return alpha, probabilities


def load_onnx_predictor(path: Path, device: str | None = None) -> OnnxPredictor:
    """Return the predictor of an ONNX file, on a device as torch names it: cpu, cuda, cuda:1.

    Without a device it is a GPU if onnxruntime knows one, else the CPU. Raises ShmDataError where `export` did not
    write the file, or the device does not exist.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    try:
        data = path.read_bytes()
        # Without the fallback, which would print its attempts.
        session = onnxruntime.InferenceSession(data, options, providers=_providers(device), enable_fallback=0)
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    except OSError as error:
        raise ShmDataError(f"cannot be read ({error.strerror or error})", path=path) from error
    except _UNREADABLE as error:
        raise ShmDataError(path=path, found="no ONNX model that can be run", expected=_EXPECTED) from error
    if device and device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise ShmDataError(
            "--device", found=f"{device}, which onnxruntime cannot start", expected="a GPU with CUDA, or cpu"
        )
    if not {"mode", "longest"} <= set(metadata) or not metadata["longest"].isdecimal():
        raise ShmDataError(path=path, found="another ONNX model", expected=_EXPECTED)
    return OnnxPredictor(session, metadata["mode"], int(metadata["longest"]), hashlib.sha256(data).hexdigest())


def _providers(device: str | None) -> list[str | tuple[str, dict[str, str]]]:
    """Return onnxruntime's names of a device, and the CPU after it for operators that the device lacks."""
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    kind, _, number = (device or ("cuda" if gpu else "cpu")).partition(":")
    if kind == "cpu" and not number:
        return ["CPUExecutionProvider"]
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ShmDataError("--device", found=str(device), expected="cpu, cuda or cuda:1 for an ONNX file")
    if not gpu:
        raise ShmDataError(
            "--device", found=f"{device}, and an onnxruntime for CPUs", expected="onnxruntime-gpu, or cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": number or "0"}), "CPUExecutionProvider"]
