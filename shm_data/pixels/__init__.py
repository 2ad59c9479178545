"""Pure functions on arrays. Pictures are (H, W, 3) RGB, alphas and trimaps (H, W), all uint8.

- `compositing`: blend, resize and crop a background; rounded once, exactly
- `trimap`: derive a trimap from alpha by a `TrimapRule`, read trimaps of any convention
- `foreground_colours`: estimate the colours of a foreground without its old background
- `placement`: put a person elsewhere in the frame, or one over another
- `augmentations`, `effects`: the registry of augmentations, and what they do to pixels
- `kernels`: compiled loops

The names below are loaded with their first use: numba, which some need, takes its time.
"""

from typing import TYPE_CHECKING

from shm_data.lazy import lazy_attributes

if TYPE_CHECKING:
    from shm_data.pixels.augmentations import Augmentation as Augmentation
    from shm_data.pixels.compositing import blend as blend
    from shm_data.pixels.compositing import cover as cover
    from shm_data.pixels.compositing import cover_box as cover_box
    from shm_data.pixels.compositing import resize as resize
    from shm_data.pixels.compositing import resize_matte as resize_matte
    from shm_data.pixels.compositing import resize_nearest as resize_nearest
    from shm_data.pixels.compositing import resize_straight as resize_straight
    from shm_data.pixels.foreground_colours import estimate_foreground as estimate_foreground
    from shm_data.pixels.foreground_colours import separate_colours as separate_colours
    from shm_data.pixels.placement import composite_over as composite_over
    from shm_data.pixels.placement import place_in_frame as place_in_frame
    from shm_data.pixels.trimap import TrimapRule as TrimapRule
    from shm_data.pixels.trimap import derive_trimap as derive_trimap
    from shm_data.pixels.trimap import kernel_width as kernel_width
    from shm_data.pixels.trimap import normalise_trimap as normalise_trimap

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

__all__ = list(_HOMES)  # the names are those above

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
