"""Warnings that are logged once. Standard library only."""

import functools
import logging


@functools.lru_cache(maxsize=2**12)
def log_once(logger: str, level: int, message: str) -> None:
    """Log a message, though its reason occurs again and again."""
    logging.getLogger(logger).log(level, "%s", message)
