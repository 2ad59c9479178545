"""Checks data sets, and folders of images and alphas before a data set is made from them."""

from shm_data.check.dataset import check_dataset
from shm_data.check.findings import KINDS, Finding, Unchecked, Verdict, to_json, to_lines
from shm_data.check.pairs import check_pairs

__all__ = ["KINDS", "Finding", "Unchecked", "Verdict", "check_dataset", "check_pairs", "to_json", "to_lines"]
