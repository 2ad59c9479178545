"""The commands `shm-data` and `shm-model`: they parse, call the library once, and print."""

from cli import startup

__all__ = ["startup"]  # first: Ctrl-C must end even an import quietly
