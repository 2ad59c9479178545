"""From pictures and videos to mattes. torch is imported only where a checkpoint is loaded: ONNX files need none."""

from typing import TYPE_CHECKING, Any

from shm_model.predict.base import BasePredictor, Prediction
from shm_model.predict.files import Outcome, predict_files
from shm_model.predict.jobs import PredictOptions

if TYPE_CHECKING:
    from shm_model.predict.predictor import Predictor, load_predictor

__all__ = [
    "BasePredictor",
    "Outcome",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "load_predictor",
    "predict_files",
]


def __getattr__(name: str) -> Any:
    if name not in ("Predictor", "load_predictor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shm_model.predict import predictor  # noqa: PLC0415

    return getattr(predictor, name)
