"""Train T-Net, M-Net and their fusion on the data sets of `shm_data`, score them, and predict with them.

The names below are the public door. They load their module when they are first used. Modules keep their names, so
training is `train_network`, and scoring `evaluate_network`.
"""

from typing import TYPE_CHECKING

from shm_data.host.lazy import lazy_attributes

if TYPE_CHECKING:
    from shm_model.config import Config as Config
    from shm_model.config import load_config as load_config
    from shm_model.evaluate import evaluate
    from shm_model.matting_dataset import MattingDataset as MattingDataset
    from shm_model.metrics import Scores as Scores
    from shm_model.metrics import scores as scores
    from shm_model.mnet import MNet as MNet
    from shm_model.predict import Prediction as Prediction
    from shm_model.predict import PredictOptions as PredictOptions
    from shm_model.predict import Predictor as Predictor
    from shm_model.predict import load_predictor as load_predictor
    from shm_model.predict import predict_files as predict_files
    from shm_model.scoring import ScoreOptions as ScoreOptions
    from shm_model.scoring import score_folders as score_folders
    from shm_model.shm import SHM as SHM
    from shm_model.tnet import TNet as TNet
    from shm_model.train import train

    evaluate_network, train_network = evaluate, train

_HOMES = {
    "Config": "config",
    "MNet": "mnet",
    "MattingDataset": "matting_dataset",
    "PredictOptions": "predict",
    "Prediction": "predict",
    "Predictor": "predict",
    "SHM": "shm",
    "ScoreOptions": "scoring",
    "Scores": "metrics",
    "TNet": "tnet",
    "evaluate_network": "evaluate:evaluate",
    "load_config": "config",
    "load_predictor": "predict",
    "predict_files": "predict",
    "score_folders": "scoring",
    "scores": "metrics",
    "train_network": "train:train",
}

__all__ = list(_HOMES)  # the names are those above

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
