"""Checks data sets, and folders of images and alphas before a set is made of them."""

from shm_data.check.dataset import check_dataset
from shm_data.check.findings import KINDS, Finding, Verdict, to_json, to_lines
from shm_data.check.pairs import check_pairs

__all__ = ["KINDS", "Finding", "Verdict", "check_dataset", "check_pairs", "to_json", "to_lines"]
