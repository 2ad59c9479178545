"""Compiled loops over pixels. Import them in the function that calls one: numba takes its time to load."""

from shm_data.pixels.compiling import warn_if_slow

with warn_if_slow():
    from shm_data.pixels.kernels import blending, colours, components, deflating, discs, grains

__all__ = ["blending", "colours", "components", "deflating", "discs", "grains"]
