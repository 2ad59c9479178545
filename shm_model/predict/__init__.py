"""From pictures and videos to mattes. What needs torch is loaded when it is asked for: an ONNX file does without."""

from typing import TYPE_CHECKING, Any

from shm_model.predict.files import Outcome, Wishes, predict_files
from shm_model.predict.mattes import AnyPredictor, Prediction

if TYPE_CHECKING:
    from shm_model.predict.predictor import Predictor, predictor_of

__all__ = ["AnyPredictor", "Outcome", "Prediction", "Predictor", "Wishes", "predict_files", "predictor_of"]


def __getattr__(name: str) -> Any:
    if name not in ("Predictor", "predictor_of"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shm_model.predict import predictor  # noqa: PLC0415

    return getattr(predictor, name)
