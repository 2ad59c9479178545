"""Scenes made from noise, as backgrounds."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from shm_data.pixels.arrays import Array

Floats = NDArray[np.float64]
Size = tuple[int, int]  # width, height
Stops = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

SIZE = (960, 720)

_SUMMER: Stops = ((52, 112, 190), (120, 172, 222), (206, 226, 238))
_DUSK: Stops = ((58, 62, 112), (150, 112, 150), (246, 178, 150))
_LAMPS = ((255, 176, 84), (255, 120, 92), (255, 214, 150), (120, 170, 255), (230, 120, 190))


def studio(size: Size, bright: ArrayLike, dark: ArrayLike) -> Array:
    """Return a lit studio wall (H, W, 3) uint8, brightest behind the head."""
    x, y = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    light = np.exp(-((x + 0.1) ** 2 + (y + 0.25) ** 2) * 0.9)[..., None]
    return _pixels(np.asarray(dark) + (np.asarray(bright, float) - np.asarray(dark)) * light)


def bokeh(size: Size = SIZE, seed: int = 11) -> Array:
    """Return city lights out of focus at night, (H, W, 3) uint8."""
    generator = np.random.default_rng(seed)
    picture = _gradient(size, (24, 22, 52), (74, 40, 74), (30, 22, 40))
    for _ in range(70):
        radius = int(generator.uniform(0.012, 0.06) * size[0])
        x, y = generator.uniform(0, size[0]), np.clip(generator.normal(0.55, 0.2), 0, 1) * size[1]
        colour = np.array(_LAMPS[generator.integers(len(_LAMPS))]) * generator.uniform(0.1, 0.5)
        _shine(picture, int(x), int(y), _disc(radius)[..., None] * colour)
    return _pixels(255 * (1 - np.exp(-picture / 190)))


def clouds(size: Size = SIZE, seed: int = 12, sky: Stops = _SUMMER, lit: ArrayLike = (255, 250, 244)) -> Array:
    """Return clouds of the colour `lit` on a sky of three colours from top to bottom, (H, W, 3) uint8."""
    noise = _noise(np.random.default_rng(seed), size, 3, stretch=2)
    cover = np.clip((noise - 0.46) / 0.26, 0, 1)[..., None] ** 1.3
    shade = 1 - 0.1 * np.clip((noise - 0.55) / 0.3, 0, 1)[..., None]
    return _pixels(_gradient(size, *sky) * (1 - cover) + np.asarray(lit) * shade * cover)


def sunset(size: Size = SIZE, seed: int = 13) -> Array:
    """Return hills against the evening sky, (H, W, 3) uint8."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    sky = _gradient(size, (58, 52, 110), (226, 120, 104), (255, 206, 130))
    sun = np.exp(-((x - 0.66) ** 2 * 1.8 + (y - 0.56) ** 2) / 0.03)[..., None]
    veil = np.clip((_noise(np.random.default_rng(seed), size, 3, stretch=5) - 0.5) * 3, 0, 1)[..., None] * 0.35
    picture = sky * (1 - veil) + np.array([255, 170, 140]) * veil
    picture += sun * (np.array([255, 244, 200]) - picture) * 0.85
    return _hills(picture, seed, 0.6, (170, 92, 100), (34, 26, 48))


def mountains(size: Size = SIZE, seed: int = 14) -> Array:
    """Return ridges in the morning mist, (H, W, 3) uint8."""
    sky = _gradient(size, (176, 206, 220), (224, 228, 222), (246, 232, 214))
    return _hills(sky, seed, 0.42, (182, 204, 208), (24, 66, 70))


def dunes(size: Size = SIZE, seed: int = 17) -> Array:
    """Return sand under a hazy sky, (H, W, 3) uint8."""
    sky = _gradient(size, (120, 168, 196), (214, 214, 200), (244, 222, 184))
    return _hills(sky, seed, 0.5, (238, 200, 152), (156, 92, 54))


def _disc(radius: int) -> Floats:
    """Return a disc out of focus, brighter at its rim."""
    edge = 2 * radius + 12
    disc = np.zeros((edge, edge), np.float32)
    centre = (edge // 2, edge // 2)
    cv2.circle(disc, centre, radius, (1.0,), cv2.FILLED)
    cv2.circle(disc, centre, radius, (1.3,), 2)
    return cv2.GaussianBlur(disc, (0, 0), 1.6).astype(np.float64)


def _shine(picture: Floats, x: int, y: int, light: Floats) -> None:
    """Add a patch of light to a picture, centred at x and y, as far as it lies inside."""
    height, width = picture.shape[:2]
    top, left = y - light.shape[0] // 2, x - light.shape[1] // 2
    bottom, right = min(height, top + light.shape[0]), min(width, left + light.shape[1])
    inside = light[max(0, -top) : bottom - top, max(0, -left) : right - left]
    picture[max(0, top) : bottom, max(0, left) : right] += inside


def _hills(picture: Floats, seed: int, horizon: float, far: ArrayLike, near: ArrayLike) -> Array:
    """Return five ridges over a picture, from the colour of the far ones to that of the near ones."""
    height, width = picture.shape[:2]
    generator = np.random.default_rng(seed)
    rows = np.arange(height)[:, None]
    for depth in np.linspace(0, 1, 5):
        ridge = _noise(generator, (width, 2), 3)[0] - 0.5
        top = height * (horizon + 0.46 * depth - ridge * (0.34 - 0.16 * depth))
        inside = np.clip(rows - top[None] + 0.5, 0, 1)[..., None]
        mist = np.clip((rows - top[None]) / (0.4 * height), 0, 1)[..., None] * (1 - depth) * 0.5
        colour = np.asarray(far) + (np.asarray(near, float) - np.asarray(far)) * depth
        picture = picture * (1 - inside) + (colour + (np.asarray(far) - colour + 20) * mist) * inside
    return _pixels(picture + generator.normal(0, 1.2, (height, width, 1)))


def _gradient(size: Size, top: ArrayLike, middle: ArrayLike, bottom: ArrayLike) -> Floats:
    rows = np.linspace(0, 1, size[1])
    stops = np.array([top, middle, bottom], float)
    column = np.stack([np.interp(rows, (0, 0.55, 1), stops[:, channel]) for channel in range(3)], 1)
    return np.repeat(column[:, None], size[0], axis=1)


def _noise(generator: Generator, size: Size, cells: int, stretch: int = 1) -> Floats:
    """Return smooth noise (H, W) around 0.5: octaves of random grids, each finer and half as strong."""
    total = np.zeros(size[::-1])
    for octave in range(6):
        count = cells * 2**octave
        grid = generator.random((max(2, count * stretch), max(2, count)))
        total += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 1.97


def _pixels(values: ArrayLike) -> Array:
    pixels: Array = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return pixels


SCENES: dict[str, Callable[[], Array]] = {
    "bokeh": bokeh,
    "clouds": clouds,
    "dunes": dunes,
    "dusk": lambda: clouds(seed=21, sky=_DUSK, lit=(246, 196, 188)),
    "mountains": mountains,
    "sunset": sunset,
}
