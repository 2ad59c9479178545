"""Keeps the memory of arrays that are no longer needed for the next ones."""

import contextlib
import ctypes

# glibc's names for the sizes, in bytes, from which an array has pages of its own, and from which free memory at the
# end of a heap goes back; and what the first becomes, the most that it allows.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_OWN_PAGES = 32 * 2**20


def tune_allocator(most: int) -> None:
    """Tells the C library to keep what is freed, for this process, where it is glibc; another is left alone.

    Every thread may have a heap of its own, at the end of which at most so many bytes are kept. Otherwise the arrays
    of each picture are given back to the system, which hands the same memory out for the next one, zeroed page by
    page: to read a photo of a megapixel took twice as long.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # TypeError on Windows
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _OWN_PAGES)
        library.mallopt(_TRIM_THRESHOLD, most)
