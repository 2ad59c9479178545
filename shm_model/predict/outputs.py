"""The pictures that are made of a matte: the alpha, the cut-out, the composite over another background."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import ImageColor

from shm_data.errors import ShmDataError
from shm_data.images import read_image
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, blend, cover, cover_box
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_model.predict.base import Floats

Output = Literal["alpha", "cutout", "composite"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

GREEN = "#00ff00"


def parse_background(text: str) -> Array:
    """Return the background (H, W, 3) uint8 that a text names: a colour (#00ff00, white, rgb(0, 255, 0)) or a file.

    A colour is a picture of one pixel. Raises ShmDataError where the text is neither.
    """
    try:
        return np.array([[ImageColor.getcolor(text, "RGB")]], np.uint8)
    except ValueError:
        pass
    path = Path(text)
    if not path.exists():
        raise ShmDataError("the background", found=text, expected="a colour, as #00ff00 or white, or a picture")
    return read_image(path)


def crop_to_cover(background: Array, size: Size) -> Array:
    """Resize a background (h, w, 3) uint8 to cover `size` (width, height) and crop its middle: (H, W, 3) uint8."""
    return cover(background, cover_box((background.shape[1], background.shape[0]), size, 0.5, 0.5), size)


def render_outputs(image: Array, alpha: Floats, kinds: Collection[Output], background: Array) -> dict[Output, Array]:
    """Return the outputs of `kinds` of an image (H, W, 3) uint8 with alpha (H, W) float32 in [0, 1], all uint8.

    The alpha is (H, W), the cut-out (H, W, 4), the composite (H, W, 3) over the middle of a background (h, w, 3)
    uint8. Cut-out and composite use estimated foreground colours, free of the old background.
    """
    matte = np.rint(alpha * 255).astype(np.uint8)
    made: dict[Output, Array] = {"alpha": matte}
    if {"cutout", "composite"} & set(kinds):
        colours = estimate_foreground(image, matte)
        made["cutout"] = np.dstack([colours, matte])
        if "composite" in kinds:
            made["composite"] = blend(colours, matte, crop_to_cover(background, (matte.shape[1], matte.shape[0])))
    return {kind: made[kind] for kind in kinds}
