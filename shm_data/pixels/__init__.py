"""Pure functions on arrays. Pictures are (H, W, 3) RGB, alphas and trimaps (H, W), all uint8.

- `compositing`: blend, resize and crop a background; rounded once, exactly
- `trimap`: derive a trimap from alpha by a `TrimapRule`, read trimaps of any convention
- `foreground_colours`: estimate the colours of a foreground without its old background
- `placement`: put a person elsewhere in the frame, or one over another
- `augmentations`, `effects`: the registry of augmentations, and what they do to pixels
- `kernels`: compiled loops

The names below are loaded with their first use: numba, which some need, takes its time.
"""

import importlib
from typing import Any

_HOMES = {
    "Augmentation": "augmentations",
    "TrimapRule": "trimap",
    "blend": "compositing",
    "composite_over": "placement",
    "cover": "compositing",
    "cover_box": "compositing",
    "derive_trimap": "trimap",
    "estimate_foreground": "foreground_colours",
    "kernel_width": "trimap",
    "normalise_trimap": "trimap",
    "place_in_frame": "placement",
    "resize": "compositing",
    "resize_matte": "compositing",
    "resize_nearest": "compositing",
    "resize_straight": "compositing",
    "separate_colours": "foreground_colours",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
