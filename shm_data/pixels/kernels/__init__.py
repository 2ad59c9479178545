"""Compiled loops over pixels. Import these where one is called: numba takes its time to load, and compiles once."""

from shm_data.pixels.compiling import warn_if_slow

with warn_if_slow():
    from shm_data.pixels.kernels import blending, colours, deflating, discs

__all__ = ["blending", "colours", "deflating", "discs"]
