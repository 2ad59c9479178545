"""What augmentations do to pixels. Pure: the numbers were drawn before, see `augmentations`."""

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from shm_data.errors import ShmDataError
from shm_data.pixels.arrays import Array
from shm_data.pixels.augmentations import Augmentation, Numbers, factor_of
from shm_data.pixels.band_limit import limit_band, limit_band_of_layers
from shm_data.pixels.compositing import Size, blend, resize
from shm_data.pixels.placement import composite_over, place_in_frame

# Colours (H, W, 3) and alpha (H, W), uint8, of a person.
Person = tuple[Array, Array]

# A Gaussian is applied at a scale at which its sigma is at most this, in px; by then the scale makes no difference.
_MAX_SIGMA = 4.0

# Rows of noise that are drawn at a time, to bound the memory.
_ROWS = 64

# By how much a spread of colours may change, and every how many pixels it is measured.
_MOST_SPREAD, _MOMENT_STEP = 1.5, 4

# The side of the tile of grains, a power of two, in px.
_TILE = 512

# A picture is gray if the channels of all but a few of its pixels differ by at most so many levels; JPEG blurs some.
_GRAY_SPREAD, _GRAY_FEW, _GRAY_STEP = 8, 0.01, 16


@dataclass(frozen=True, slots=True)
class Light:
    """A change of all colours: first `curve`, from 256 levels to levels, then `matrix` (3, 4), affine on RGB."""

    curve: NDArray[np.float64]
    matrix: NDArray[np.float64] | None = None


def augment_person(person: Person, size: Size, augmentation: Augmentation, partner: Person | None) -> Person:
    """Return colours and alpha of a person in a frame of `size` (width, height), with the partner behind."""
    for kind, numbers in augmentation.at("person"):
        person = kind.apply(person, size, numbers, partner)
    return person


def augment_foreground(colours: Array, augmentation: Augmentation) -> Array:
    """Return the colours F (H, W, 3) uint8 under the light of the sample."""
    return change_light(colours, _light(augmentation))


def augment_background(background: Array, alpha: Array, augmentation: Augmentation) -> Array:
    """Return the background B (H, W, 3) uint8 behind an alpha (H, W) uint8, under the light of the sample."""
    for kind, numbers in augmentation.at("background"):
        background = kind.apply(background, alpha, numbers)
    return change_light(background, _light(augmentation))


def augment_alpha(alpha: Array, augmentation: Augmentation) -> Array:
    """Return the alpha (H, W) uint8 of a sample: what its foreground covers of each pixel of the blended image."""
    return limit_band(alpha, augmentation.band_factor)


def augment_layers(
    foreground: Array, alpha: Array, background: Array, augmentation: Augmentation
) -> tuple[Array, Array]:
    """Return F and B (H, W, 3) uint8 that the image mixes by `augment_alpha`, of those that were blended by alpha."""
    return limit_band_of_layers(foreground, alpha, background, augmentation.band_factor)


def augment_person_in_scene(foreground: Array, alpha: Array, background: Array, augmentation: Augmentation) -> Array:
    """Return the colours F (H, W, 3) uint8 of a person with alpha (H, W) uint8 before a background of their size."""
    for kind, numbers in augmentation.at("scene"):
        foreground = kind.apply(foreground, alpha, background, numbers)
    return foreground


def match_gray(foreground: Array, background: Array, augmentation: Augmentation) -> tuple[Array, Array]:
    """Return F and B (H, W, 3) uint8, both gray if one of them is and both are of one camera."""
    if augmentation.numbers("camera") is None or is_gray(foreground) == is_gray(background):
        return foreground, background
    return to_gray(foreground), to_gray(background)


def augment_image(image: Array, augmentation: Augmentation) -> Array:
    """Return a blended image (H, W, 3) uint8 as the camera stores it. Raises ShmDataError if that fails."""
    for kind, numbers in augmentation.at("image"):
        image = kind.apply(image, numbers)
    return image


def augment_photo(photo: Array, augmentation: Augmentation) -> Array:
    """Return an untouched photo (H, W, 3) uint8 under the light of the sample, stored as `augment_image` does."""
    return augment_image(change_light(photo, _light(augmentation)), augmentation)


def place_person(person: Person, size: Size, numbers: Numbers, partner: Person | None) -> Person:
    """Return the person scaled and moved in the frame."""
    del partner
    return place_in_frame(*person, size, numbers)


def put_partner_behind(person: Person, size: Size, numbers: Numbers, partner: Person | None) -> Person:
    """Return the person composited over the partner, who is scaled and moved in the frame."""
    if partner is None:
        raise ValueError("a recipe of two foregrounds needs the other")
    return composite_over(person, place_in_frame(*partner, size, numbers))


def blur_background(background: Array, alpha: Array, numbers: Numbers) -> Array:
    """Return the background out of focus."""
    del alpha
    return blur(background, *numbers)


def blur(pixels: Array, sigma: float) -> Array:
    """Blur pixels (H, W) or (H, W, 3) uint8 by a Gaussian whose sigma is a share of the long edge.

    A wide one is applied to a smaller picture: what it leaves has no detail that would show it.
    """
    height, width = pixels.shape[:2]
    wide = sigma * max(height, width)
    if wide == 0:
        return pixels
    factor = max(1, int(wide / _MAX_SIGMA))
    small = resize(pixels, (max(1, width // factor), max(1, height // factor)))
    soft = cv2.GaussianBlur(small, (0, 0), wide * small.shape[1] / width, wide * small.shape[0] / height)
    if factor == 1:
        return soft.astype(np.uint8, copy=False)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def cast_shadow(background: Array, alpha: Array, shadow: Numbers) -> Array:
    """Darken a background (H, W, 3) uint8 by the soft shadow of an alpha (H, W) uint8.

    `shadow` is (strength, to the right, down, sigma), lengths as shares of the long edge: alpha is moved, blurred and
    blended in black. Alpha is replicated beyond the frame.
    """
    strength, right, down, sigma = shadow
    height, width = alpha.shape
    move = np.array([[1, 0, round(right * max(alpha.shape))], [0, 1, round(down * max(alpha.shape))]], np.float64)
    method = cv2.INTER_NEAREST
    moved = cv2.warpAffine(alpha, move, (width, height), flags=method, borderMode=cv2.BORDER_REPLICATE)
    cast = np.rint(strength * np.arange(256)).astype(np.uint8)[blur(moved.astype(np.uint8, copy=False), sigma)]
    return blend(np.zeros_like(background), cast, background)


def change_gamma(light: Light, numbers: Numbers) -> Light:
    """Return the light with a gamma curve."""
    return replace(light, curve=255 * (light.curve / 255) ** numbers[0])


def change_colours(light: Light, numbers: Numbers) -> Light:
    """Return the light with other brightness, contrast around the middle gray, saturation and hue."""
    brightness, contrast, saturation, hue = numbers
    scale, middle = (1 + brightness) * (1 + contrast), 127.5 * (1 + brightness)
    mixed = scale * hue_saturation_matrix(2 * np.pi * hue, saturation)
    return replace(light, matrix=np.hstack([mixed, np.full((3, 1), middle * -contrast)]))


def change_light(pixels: Array, light: Light | None) -> Array:
    """Return pixels (H, W, 3) uint8 under a light, rounded once; None changes nothing.

    The same light on foreground and background keeps the image their mixture by the same alpha.
    """
    if light is None:
        return pixels
    if light.matrix is None:
        return np.rint(light.curve).astype(np.uint8)[pixels]
    exact = cv2.transform(cv2.LUT(pixels, light.curve.astype(np.float32)), light.matrix)
    return np.rint(exact, out=exact).clip(0, 255).astype(np.uint8)


def hue_saturation_matrix(angle: float, saturation: float) -> NDArray[np.float64]:
    """Return the linear map (3, 3) of RGB that turns the hue around the grays and scales the distance from gray."""
    gray = np.full((3, 3), 1 / 3)
    around = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    colourful = np.cos(angle) * (np.eye(3) - gray) + np.sin(angle) * around
    return np.asarray(gray + (1 + saturation) * colourful)


def add_noise(image: Array, numbers: Numbers) -> Array:
    """Add Gaussian noise to an image (H, W, 3) uint8, independent in each channel, and clip.

    `numbers` are sigma in levels and the seed; the same seed gives the same grains.
    """
    sigma, seed = numbers
    generator = np.random.Generator(np.random.PCG64(int(seed)))
    noisy = np.empty_like(image)
    for top in range(0, image.shape[0], _ROWS):
        rows = image[top : top + _ROWS]
        grains = generator.standard_normal(rows.shape, np.float32)
        exact = rows + np.float32(sigma) * grains
        noisy[top : top + _ROWS] = np.rint(exact, out=exact).clip(0, 255)
    return noisy


def match_colours(colours: Array, alpha: Array, background: Array, numbers: Numbers) -> Array:
    """Return colours (H, W, 3) uint8 whose mean and spread in Lab move towards those of the background.

    `numbers` are the shares of the way in lightness, and in a and b. The person's own are weighted by alpha.
    (Reinhard et al., "Color Transfer between Images", CG&A 2001, in CIE Lab.)
    """
    lightness, chroma = numbers
    person, behind = (np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2LAB), np.uint8) for each in (colours, background))
    table = np.empty((1, 256, 3), np.uint8)
    for channel, share in enumerate((lightness, chroma, chroma)):
        mean, spread = _moments(person[..., channel], alpha)
        other_mean, other_spread = _moments(behind[..., channel], None)
        scale = (max(other_spread, 1.0) / max(spread, 1.0)) ** share
        scale = min(max(scale, 1 / _MOST_SPREAD), _MOST_SPREAD)
        moved = mean + share * (other_mean - mean) + scale * (np.arange(256) - mean)
        table[0, :, channel] = np.rint(moved).clip(0, 255)
    return np.asarray(cv2.cvtColor(cv2.LUT(person, table), cv2.COLOR_LAB2RGB), np.uint8)


def _moments(plane: Array, alpha: Array | None) -> tuple[float, float]:
    """Return mean and deviation of a plane (H, W) uint8, weighted by alpha; those of the whole where alpha is 0."""
    weights = None if alpha is None else alpha[::_MOMENT_STEP, ::_MOMENT_STEP].astype(np.float64)
    some = plane[::_MOMENT_STEP, ::_MOMENT_STEP].astype(np.float64)
    if weights is not None and weights.sum() == 0:
        weights = None
    mean = float(np.average(some, weights=weights))
    return mean, float(np.sqrt(np.average((some - mean) ** 2, weights=weights)))


def take_photo(image: Array, numbers: Numbers) -> Array:
    """Return an image (H, W, 3) uint8 as one camera gives it: at a coarser band limit, with grain, as JPEG."""
    half_octaves, sigma, seed, quality = numbers
    limited = limit_band(image, factor_of(half_octaves))
    return recompress(add_grain(limited, sigma, int(seed)), (quality,))


def add_grain(image: Array, sigma: float, seed: int) -> Array:
    """Add noise to an image (H, W, 3) uint8 as a camera stores it, and clip.

    `sigma` is that of middle levels; at 0 and 255 it is half as large: noise of stored photos depends on the level so
    (Liu et al., "Automatic Estimation and Removal of Noise from a Single Image", PAMI 2008). Neighbours are
    correlated, as demosaicing leaves them. The seed chooses where in the tile of grains the picture begins.
    """
    from shm_data.pixels.kernels import grains  # noqa: PLC0415  # numba takes its time to load

    start, sign = divmod(seed % (2 * _TILE**2), 2)
    scaled = round(2**grains.SIGMA_BITS * sigma) * (1 if sign else -1)
    noisy = np.empty(image.shape, np.uint8)
    rows = image.shape[0], -1
    grains.add(np.ascontiguousarray(image).reshape(rows), _grains(), scaled, start, noisy.reshape(rows))
    return noisy


@functools.cache
def _grains() -> NDArray[np.int8]:
    """Return a tile (T, 3 T) of grains in units of 1/32 sigma, which continues at its edges. In whole numbers.

    White noise under the kernel (1, 2, 1) along rows and columns, by which bilinear demosaicing fills in a channel.
    """
    from shm_data.pixels.kernels import grains  # noqa: PLC0415

    generator = np.random.Generator(np.random.PCG64(0))
    noise = np.rint(2.0**16 * generator.standard_normal((_TILE, _TILE, 3))).astype(np.int64)
    for axis in (0, 1):
        noise = np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)
    unit = 2.0**16 * 6 / 2**grains.GRAIN_BITS  # the kernel's norm is sqrt(6) along each axis
    tile: NDArray[np.int8] = np.rint(noise / unit).clip(-127, 127).astype(np.int8)
    return tile.reshape(_TILE, -1)


def is_gray(pixels: Array) -> bool:
    """Return whether a picture (H, W, 3) uint8 has no colours, as of a black-and-white photo."""
    red, green, blue = cv2.split(np.ascontiguousarray(pixels[::_GRAY_STEP, ::_GRAY_STEP]))
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return bool(np.mean(spread > _GRAY_SPREAD) < _GRAY_FEW)


def to_gray(pixels: Array) -> Array:
    """Return a picture (H, W, 3) uint8 without its colours."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.merge((gray, gray, gray)), np.uint8)


def recompress(image: Array, numbers: Numbers) -> Array:
    """Return an image (H, W, 3) uint8 after JPEG of a quality, its chroma at half the resolution as in cameras.

    Raises ShmDataError where a side is too long for JPEG.
    """
    parameters = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    parameters += [cv2.IMWRITE_JPEG_QUALITY, int(numbers[0])]
    try:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        size = f"{image.shape[1]}x{image.shape[0]} pixels"
        raise ShmDataError("--augment jpeg", found=size, expected="fewer, or without") from error
    return cv2.cvtColor(np.asarray(pixels), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _light(augmentation: Augmentation) -> Light | None:
    light = None
    for kind, numbers in augmentation.at("light"):
        light = kind.apply(light or Light(np.arange(256.0)), numbers)
    return light
