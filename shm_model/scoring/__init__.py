"""Score folders of mattes of any model against truths. Needs no torch."""

from shm_model.scoring.conventions import CONVENTIONS
from shm_model.scoring.folders import ImageScores, ScoreOptions, score_folders
from shm_model.scoring.own_files import require_own_files
from shm_model.scoring.page import write_page
from shm_model.scoring.plan import plan_scoring
from shm_model.scoring.protocols import PROTOCOLS, REGIONS
from shm_model.scoring.tables import SCORE_FILES, format_scores, write_scores

__all__ = [
    "CONVENTIONS",
    "PROTOCOLS",
    "REGIONS",
    "SCORE_FILES",
    "ImageScores",
    "ScoreOptions",
    "format_scores",
    "plan_scoring",
    "require_own_files",
    "score_folders",
    "write_page",
    "write_scores",
]
