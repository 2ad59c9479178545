"""The array that everything is made of, and the check of arguments."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError

# Pictures, alphas and trimaps: (H, W, 3) or (H, W) uint8.
Array = NDArray[np.uint8]


def require_bytes(name: str, array: Any, *shape: int | None) -> None:
    """Raise ShmDataError unless an argument is a uint8 array of this shape and not empty; None is any length."""
    found = f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}".strip()
    sides = ", ".join(side if length is None else str(length) for side, length in zip("HWC", shape, strict=False))
    is_array = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == len(shape) and array.size
    if not is_array or any(length not in (None, side) for length, side in zip(shape, array.shape, strict=True)):
        raise ShmDataError(name, found=found, expected=f"uint8 ({sides})")
