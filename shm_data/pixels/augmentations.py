"""What makes a composite look more like a photo of one camera: drawn once, recorded in the recipe, and applied. Pure.

docs/augmentations.md tells where the ranges come from.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import blend, resize

# From where to where the numbers of each are drawn, uniformly; integers where both ends are. Lengths are shares of
# the long edge, the hue is one of the whole circle. New ones come last: so the numbers of the others stay.
RANGES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "blur": ((0.002, 0.01),),  # sigma
    "shadow": ((0.1, 0.3), (-0.08, 0.08), (-0.04, 0.08), (0.01, 0.03)),  # strength, across, down, sigma
    "gamma": ((0.8, 1.25),),
    "colour": ((-0.1, 0.1), (-0.1, 0.1), (-0.15, 0.15), (-0.02, 0.02)),  # brightness, contrast, saturation, hue
    "noise": ((1.0, 10.0), (0, 2**32 - 1)),  # sigma in levels, and what the grains are drawn from
    "jpeg": ((70, 95),),  # quality
    "over": ((0.7, 1.0), (0.0, 1.0), (0.0, 1.0)),  # of the one behind, as arrange.placed takes them
    "place": ((0.6, 1.2), (0.0, 1.0), (0.0, 1.0)),  # the same of the sample's own foreground
}

# What a recipe may hold, of this version or another: whatever the functions below can do.
_POSSIBLE: Mapping[str, tuple[tuple[float, float], ...]] = {
    "blur": ((0.0, 1.0),),
    "shadow": ((0.0, 1.0), (-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)),
    "gamma": ((0.01, 100.0),),
    "colour": ((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0)),
    "noise": ((0.0, 255.0), (0, 2**32 - 1)),
    "jpeg": ((1, 100),),
    "over": ((0.1, 10.0), (0.0, 1.0), (0.0, 1.0)),
    "place": ((0.1, 10.0), (0.0, 1.0), (0.0, 1.0)),
}

# What suits an untouched photo: the others need to know what was composited.
_OF_PHOTO = frozenset(("gamma", "colour", "noise", "jpeg"))

# What changes alpha: a trimap of somebody's own would no longer fit.
_OF_ALPHA = frozenset(("over", "place"))

# A Gaussian is taken at a scale at which it is no wider than this, in px; by then the scale makes no difference.
_WIDEST = 4.0

# Rows of noise that are drawn at a time: so it needs little memory.
_ROWS = 64

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to one sample, by the numbers that RANGES describes; None is not done.

    `partner` is the name of the foreground that stands behind it.
    """

    blur: Numbers | None = None
    shadow: Numbers | None = None
    gamma: Numbers | None = None
    colour: Numbers | None = None
    noise: Numbers | None = None
    jpeg: Numbers | None = None
    over: Numbers | None = None
    place: Numbers | None = None
    partner: str | None = None

    @property
    def changes_alpha(self) -> bool:
        """Whether the sample has an alpha of its own, and not that of its foreground."""
        return self.over is not None or self.place is not None


def draw_augmentation(
    numbers: Iterator[float],
    names: Collection[str],
    *,
    photo: bool = False,
    own_trimap: bool = False,
    partner: str | None = None,
) -> Augmentation | None:
    """Draws each of the named with probability one half, from numbers in [0, 1); None where there is none.

    As many numbers are taken whatever the names: so one more changes none of the others. Left out is what needs to
    know the background of an untouched `photo`, what an `own_trimap` would no longer fit, and what lacks a `partner`.
    """
    allowed = set(names) & _OF_PHOTO if photo else set(names)
    allowed -= _OF_ALPHA if own_trimap else set()
    allowed -= {"over"} if partner is None else set()
    values: dict[str, Numbers] = {}
    for name, ranges in RANGES.items():
        coin, *some = itertools.islice(numbers, 1 + len(ranges))
        if name in allowed and coin < 0.5:
            values[name] = tuple(map(_within, some, ranges))
    return Augmentation(**values, partner=partner if "over" in values else None) if values else None


def to_plain(augmentation: Augmentation) -> dict[str, Any]:
    """As JSON holds it: what is done, by name."""
    plain = {name: getattr(augmentation, name) for name in Augmentation.__slots__}
    return {name: value for name, value in plain.items() if value is not None}


def to_words(augmentation: Augmentation) -> list[str]:
    """What is done, each with its numbers, for people."""
    plain = to_plain(augmentation)
    return [f"{name} {value if name == 'partner' else ' '.join(map(str, value))}" for name, value in plain.items()]


def from_plain(plain: Mapping[str, Any]) -> Augmentation:
    """What JSON held. Raises TypeError, ValueError or KeyError where it is none."""
    values = {name: tuple(value) for name, value in plain.items() if name != "partner"}
    for name, some in values.items():
        _require_numbers(name, some)
    partner = plain.get("partner")
    if not isinstance(partner, str if "over" in values else None.__class__):
        raise ValueError("one over another, and who is not told; or the other way round")
    return Augmentation(**values, partner=partner)


def of_foreground(colours: Array, augmentation: Augmentation) -> Array:
    """The colours F (H, W, 3) uint8 as the camera gives them."""
    return tinted(colours, augmentation.gamma, augmentation.colour)


def of_background(background: Array, alpha: Array, augmentation: Augmentation) -> Array:
    """The background B (H, W, 3) uint8 behind an alpha (H, W) uint8: blurred, shaded, then as the camera gives it."""
    if augmentation.blur is not None:
        background = blurred(background, *augmentation.blur)
    if augmentation.shadow is not None:
        background = shadowed(background, alpha, augmentation.shadow)
    return tinted(background, augmentation.gamma, augmentation.colour)


def of_image(image: Array, augmentation: Augmentation) -> Array:
    """An image (H, W, 3) uint8 as the camera stores it: with its noise, then compressed. Raises ShmDataError."""
    if augmentation.noise is not None:
        sigma, seed = augmentation.noise
        image = noisy(image, sigma, int(seed))
    if augmentation.jpeg is not None:
        image = recompressed(image, int(augmentation.jpeg[0]))
    return image


def of_photo(photo: Array, augmentation: Augmentation) -> Array:
    """An untouched photo (H, W, 3) uint8, whose background nobody knows. Raises ShmDataError as `of_image` does."""
    return of_image(tinted(photo, augmentation.gamma, augmentation.colour), augmentation)


def blurred(pixels: Array, sigma: float) -> Array:
    """Pixels (H, W) or (H, W, 3) uint8 out of focus: a Gaussian whose sigma is a share of the long edge.

    A wide one is taken of a smaller picture: it leaves no detail that would show it.
    """
    height, width = pixels.shape[:2]
    wide = sigma * max(height, width)
    if wide == 0:
        return pixels
    by = max(1, int(wide / _WIDEST))
    small = resize(pixels, (max(1, width // by), max(1, height // by)))
    soft = cv2.GaussianBlur(small, (0, 0), wide * small.shape[1] / width, wide * small.shape[0] / height)
    if by == 1:
        return soft.astype(np.uint8, copy=False)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def shadowed(background: Array, alpha: Array, shadow: Numbers) -> Array:
    """A background (H, W, 3) uint8 under the soft shadow of what has this alpha (H, W) uint8.

    The shadow, (strength, across, down, sigma), is alpha, moved and blurred by shares of the long edge, and as much
    black as it is strong. Beyond the frame alpha goes on as it ends.
    """
    strength, across, down, sigma = shadow
    height, width = alpha.shape
    move = np.array([[1, 0, round(across * max(alpha.shape))], [0, 1, round(down * max(alpha.shape))]], np.float64)
    method = cv2.INTER_NEAREST
    moved = cv2.warpAffine(alpha, move, (width, height), flags=method, borderMode=cv2.BORDER_REPLICATE)
    cast = np.rint(strength * np.arange(256)).astype(np.uint8)[blurred(moved.astype(np.uint8, copy=False), sigma)]
    return blend(np.zeros_like(background), cast, background)


def tinted(pixels: Array, gamma: Numbers | None, colour: Numbers | None) -> Array:
    """Pixels (H, W, 3) uint8 under a gamma, then other brightness, contrast, saturation and hue; rounded once.

    Of foreground and background alike: what is mixed of both is then mixed as before. But for clipping, colours
    change by an affine map, contrast around the middle gray.
    """
    if gamma is None and colour is None:
        return pixels
    curve = 255 * (np.arange(256) / 255) ** (gamma[0] if gamma else 1.0)
    if colour is None:
        return np.rint(curve).astype(np.uint8)[pixels]
    brightness, contrast, saturation, hue = colour
    scale, middle = (1 + brightness) * (1 + contrast), 127.5 * (1 + brightness)
    mixed = scale * turned(2 * np.pi * hue, saturation)
    matrix = np.hstack([mixed, np.full((3, 1), middle * -contrast)])
    exact = cv2.transform(cv2.LUT(pixels, curve.astype(np.float32)), matrix)
    return np.rint(exact, out=exact).clip(0, 255).astype(np.uint8)


def turned(angle: float, saturation: float) -> NDArray[np.float64]:
    """The linear map (3, 3) of RGB that turns the hue around the grays and scales how far colours are from them."""
    gray = np.full((3, 3), 1 / 3)
    around = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    colourful = np.cos(angle) * (np.eye(3) - gray) + np.sin(angle) * around
    return np.asarray(gray + (1 + saturation) * colourful)


def noisy(image: Array, sigma: float, seed: int) -> Array:
    """An image (H, W, 3) uint8 with Gaussian noise of `sigma` levels, in each channel for itself, clipped.

    The same `seed` gives the same grains.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    grainy = np.empty_like(image)
    for top in range(0, image.shape[0], _ROWS):
        rows = image[top : top + _ROWS]
        grains = generator.standard_normal(rows.shape, np.float32)
        exact = rows + np.float32(sigma) * grains
        grainy[top : top + _ROWS] = np.rint(exact, out=exact).clip(0, 255)
    return grainy


def recompressed(image: Array, quality: int) -> Array:
    """An image (H, W, 3) uint8 after it was a JPEG, with its colours at half the resolution as cameras store them.

    Raises ShmDataError where a side is too long for one.
    """
    parameters = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    parameters += [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        size = f"{image.shape[1]}x{image.shape[0]} pixels"
        raise ShmDataError("--augment jpeg", found=size, expected="fewer, or without") from error
    return cv2.cvtColor(np.asarray(pixels), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _within(number: float, ends: tuple[float, float]) -> float:
    """Where a number in [0, 1) leads to between two ends, in four digits; with integers, each has the same chance."""
    low, high = ends
    if isinstance(low, int) and isinstance(high, int):
        return low + int(number * (high - low + 1))
    return round(low + number * (high - low), 4)


def _require_numbers(name: str, values: Numbers) -> None:
    """Raises ValueError unless these are as many numbers as it takes, of the right kind, and possible ones."""
    possible = _POSSIBLE[name]
    kinds = [type(low) for low, _ in possible]
    if list(map(type, values)) != kinds:
        raise ValueError(f"other numbers than {name} takes")
    if not all(low <= value <= high for value, (low, high) in zip(values, possible, strict=True)):
        raise ValueError(f"numbers that {name} cannot take")
