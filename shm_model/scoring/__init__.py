"""Score folders of mattes of any model against truths. Needs no torch."""

from shm_model.scoring.conventions import CONVENTIONS
from shm_model.scoring.folders import ImageScores, ScoreOptions, score_folders
from shm_model.scoring.page import write_page
from shm_model.scoring.plan import plan_scoring
from shm_model.scoring.protocols import PROTOCOLS, REGIONS
from shm_model.scoring.tables import format_scores, require_own_scores, write_scores

__all__ = [
    "CONVENTIONS",
    "PROTOCOLS",
    "REGIONS",
    "ImageScores",
    "ScoreOptions",
    "format_scores",
    "plan_scoring",
    "require_own_scores",
    "score_folders",
    "write_page",
    "write_scores",
]
