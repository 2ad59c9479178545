"""The commands `shm-data` and `shm-model`: they parse, call the library once, and print."""

from cli import entry

__all__ = ["entry"]  # first of all, since it sees to it that Ctrl-C ends even an import in peace
