"""Keeps the memory of freed arrays for the next ones. Standard library only."""

import contextlib
import ctypes

# glibc's parameters: the size in bytes from which an array gets pages of its own, and how much free memory at the end
# of a heap is kept. The first is set to the most that glibc allows.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_OWN_PAGES = 32 * 2**20

# Bytes of freed memory that a thread keeps: two pictures of a megapixel. With twice as much, memory grows.
FREED_MEMORY_KEPT = 2**23


def tune_allocator(kept: int = FREED_MEMORY_KEPT) -> None:
    """Let glibc keep up to `kept` bytes of freed memory in each thread's heap; other C libraries stay as they are.

    By default the arrays of each picture go back to the system, which hands out the same memory for the next one,
    zeroed page by page: reading a photo of a megapixel took twice as long. It lasts as long as the process, so only
    programs call it.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # TypeError on Windows
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _OWN_PAGES)
        library.mallopt(_TRIM_THRESHOLD, kept)
