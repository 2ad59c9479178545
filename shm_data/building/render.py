"""Recipe + pixels -> sample: pure, and without any choice of its own."""

from dataclasses import dataclass

from shm_data.dataset.recipes import Recipe
from shm_data.errors import ShmDataError
from shm_data.pixels import effects
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import (
    Box,
    Size,
    blend,
    cover,
    reduce_box,
    resize,
    resize_matte,
    resize_nearest,
    resize_straight,
    to_three_channels,
)
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import TrimapRule, derive_trimap
from shm_data.sources.types import Pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a data set: image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255}, all uint8."""

    image: Array
    alpha: Array
    trimap: Array


@dataclass(frozen=True, slots=True)
class Scene:
    """A sample, image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255}, and what it was composed of.

    `foreground` and `background` (H, W, 3) are the colours that alpha mixes; None for an original, whose background
    nobody knows. All are uint8.
    """

    image: Array
    alpha: Array
    trimap: Array
    foreground: Array | None
    background: Array | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A foreground at the size of its samples: the photo, its true colours (H, W, 3), alpha and trimap (H, W).

    Where no sample shows the photo as it is, the colours may stand in its place: three bytes less a pixel.
    `weights` is alpha three times beside itself (H, W, 3), as the blend needs it.
    """

    photo: Array
    colours: Array
    alpha: Array
    weights: Array
    trimap: Array | None


def prepare(pixels: Pixels, size: Size, *, straight: bool, estimated: bool) -> Prepared:
    """Brings a foreground to `size` and finds its colours, once for all its samples.

    The colours of a `straight` cut-out are true as they are; of a photo they are estimated, or, not
    `estimated`, the photo itself with the old background in its soft edges.
    """
    alpha = resize_matte(pixels.alpha, size)
    trimap = None if pixels.trimap is None else resize_nearest(pixels.trimap, size)
    if straight:
        colours = resize_straight(pixels.image, pixels.alpha, size)
        return Prepared(colours, colours, alpha, to_three_channels(alpha), trimap)
    photo = resize(pixels.image, size)
    return Prepared(
        photo, estimate_foreground(photo, alpha) if estimated else photo, alpha, to_three_channels(alpha), trimap
    )


@dataclass(frozen=True, slots=True)
class ReducedBackground:
    """A background photo (H, W, 3) uint8, and by how much it is smaller than the one that recipes speak of."""

    pixels: Array
    factor: int = 1


def arrange(recipe: Recipe, prepared: Prepared, partner: Prepared | None) -> Prepared:
    """The foreground as it stands in this sample: in its place, and before its `partner`, if it has one.

    For most recipes that is the foreground itself. The trimap of another alpha follows from the recipe's rule.
    """
    done = recipe.augment
    if done is None or not recipe.has_own_alpha:
        return prepared
    behind = None if partner is None else (partner.colours, partner.alpha)
    colours, alpha = effects.augment_person((prepared.colours, prepared.alpha), recipe.size, done, behind)
    return Prepared(prepared.photo, colours, alpha, to_three_channels(alpha), None)


def render(recipe: Recipe, prepared: Prepared, background: ReducedBackground | None) -> Sample:
    """The sample of a recipe, from its foreground as it stands in it and its background."""
    return Sample(render_image(recipe, prepared, background), prepared.alpha, render_trimap(recipe.trimap, prepared))


@dataclass(frozen=True, slots=True)
class Mixture:
    """An image (H, W, 3) uint8, and the colours F and B (H, W, 3) uint8 that alpha mixes in it.

    They are None for an original, B also where the image took its place, and know nothing of noise and of what JPEG
    left of the image.
    """

    image: Array
    foreground: Array | None
    background: Array | None


def render_image(
    recipe: Recipe, prepared: Prepared, background: ReducedBackground | None, room: Array | None = None
) -> Array:
    """The image (H, W, 3) uint8 of a recipe: the composite, or the photo itself for an original.

    A composite may lie in the `room`, an array of its shape, if there is one: until the next is rendered there.
    """
    return mix(recipe, prepared, background, room).image


def mix(
    recipe: Recipe, prepared: Prepared, background: ReducedBackground | None, room: Array | None = None
) -> Mixture:
    """The image of a recipe, as `render_image` gives it, and its colours; in a `room` it lies where B was."""
    done = recipe.augment
    if background is None or recipe.crop is None:
        return Mixture(prepared.photo if done is None else effects.augment_photo(prepared.photo, done), None, None)
    behind = cover(background.pixels, _box(recipe.crop, recipe, background), recipe.size, room)
    if done is None:
        image = blend(prepared.colours, prepared.weights, behind, room)
        return Mixture(image, prepared.colours, behind if room is None else None)
    colours = effects.augment_foreground(prepared.colours, done)
    behind = effects.augment_background(behind, prepared.alpha, done)
    image = effects.augment_image(blend(colours, prepared.weights, behind, room), done)
    return Mixture(image, colours, behind if room is None else None)


def _box(crop: Box, recipe: Recipe, background: ReducedBackground) -> Box:
    """The crop of a recipe in the background as it was read. Raises ShmDataError where it reaches beyond."""
    box = crop if background.factor == 1 else reduce_box(crop, background.factor)
    height, width = background.pixels.shape[:2]
    if height < box[1] + box[3] or width < box[0] + box[2]:
        raise ShmDataError(
            f"background {recipe.background} of {recipe.name}",
            found=f"{width}x{height}",
            expected=f"at least {box[0] + box[2]}x{box[1] + box[3]}, as it was when the recipe was drawn",
        )
    return box


def render_trimap(rule: TrimapRule | None, prepared: Prepared) -> Array:
    """The trimap (H, W) uint8: derived from alpha by the rule, or the user's own where there is no rule."""
    if rule is not None:
        return derive_trimap(prepared.alpha, rule)
    if prepared.trimap is None:
        raise ValueError("a recipe without a trimap rule needs a foreground with a trimap")
    return prepared.trimap
