"""What is made of a matte for people: the alpha, the cut-out, the composite on another background."""

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
from shm_model.predict.mattes import Floats

Output = Literal["alpha", "cutout", "composite"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

GREEN = "#00ff00"


def background_of(text: str) -> Array:
    """The background (H, W, 3) uint8 that a text names: a colour (#00ff00, white, rgb(0, 255, 0)), or a picture.

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


def covering(background: Array, size: Size) -> Array:
    """The middle of a background (h, w, 3) uint8, resized to cover a picture of `size`: (H, W, 3) uint8."""
    return cover(background, cover_box((background.shape[1], background.shape[0]), size, 0.5, 0.5), size)


def rendered(image: Array, alpha: Floats, expected: Collection[Output], background: Array) -> dict[Output, Array]:
    """What is expected of an image (H, W, 3) uint8 with alpha (H, W) float32 in [0, 1], all uint8.

    The alpha is (H, W), the cut-out (H, W, 4), the composite (H, W, 3) over the middle of a background (h, w, 3)
    uint8. The colours of the latter two are freed of the old background.
    """
    matte = np.rint(alpha * 255).astype(np.uint8)
    made: dict[Output, Array] = {"alpha": matte}
    if {"cutout", "composite"} & set(expected):
        colours = estimate_foreground(image, matte)
        made["cutout"] = np.dstack([colours, matte])
        if "composite" in expected:
            made["composite"] = blend(colours, matte, covering(background, (matte.shape[1], matte.shape[0])))
    return {kind: made[kind] for kind in expected}
