"""The one real portrait: scikit-image's astronaut.

Its alpha is kept beside this file. It was found by closed-form matting along an outline made by hand, which
tests/test_astronaut.py holds and finds it by again.
"""

from pathlib import Path

from shm_data.demo.scenes import photo
from shm_data.images import read_alpha
from shm_data.pixels.arrays import Array


def portrait() -> tuple[Array, Array]:
    """The photo (512, 512, 3) uint8 and its alpha (512, 512) uint8."""
    return photo("astronaut.png"), read_alpha(Path(__file__).with_name("astronaut-alpha.png"))
