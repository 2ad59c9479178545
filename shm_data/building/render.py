"""Recipe and pixels -> sample: pure, and without any random choice."""

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
from shm_data.pixels.placement import place_in_frame
from shm_data.pixels.trimap import TrimapRule, derive_trimap
from shm_data.sources import Pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255}, all uint8.

    `foreground` and `background` (H, W, 3) uint8 are the colours F and B that alpha mixes in the image, before noise
    and JPEG. They are None where they are not known, as for an original photo.
    """

    image: Array
    alpha: Array
    trimap: Array
    foreground: Array | None = None
    background: Array | None = None


@dataclass(frozen=True, slots=True)
class PreparedForeground:
    """A foreground at the size of its samples: the photo, its true colours (H, W, 3), alpha and trimap (H, W), uint8.

    Where no sample shows the photo itself, `photo` may be `colours`, which saves three bytes a pixel.
    `weights` is alpha in three channels (H, W, 3), as `blend` needs it.
    """

    photo: Array
    colours: Array
    alpha: Array
    weights: Array
    trimap: Array | None


@dataclass(frozen=True, slots=True)
class ReducedBackground:
    """A background photo (H, W, 3) uint8, decoded at 1/`factor` of the size that recipes refer to.

    `decoy` has the colours (H, W, 3) and alpha (H, W), uint8, of what is composited over it.
    """

    pixels: Array
    factor: int = 1
    decoy: tuple[Array, Array] | None = None


def prepare(pixels: Pixels, size: Size, *, straight: bool, estimated: bool) -> PreparedForeground:
    """Resize a foreground to `size` (width, height) and find its colours, once for all its samples.

    The colours of a `straight` cut-out are true already. Those of a photo are `estimated`, or the photo itself with
    the old background in its soft edges.
    """
    alpha = resize_matte(pixels.alpha, size)
    trimap = None if pixels.trimap is None else resize_nearest(pixels.trimap, size)
    if straight:
        colours = resize_straight(pixels.image, pixels.alpha, size)
        return PreparedForeground(colours, colours, alpha, to_three_channels(alpha), trimap)
    photo = resize(pixels.image, size)
    colours = estimate_foreground(photo, alpha) if estimated else photo
    return PreparedForeground(photo, colours, alpha, to_three_channels(alpha), trimap)


def arrange(recipe: Recipe, prepared: PreparedForeground, partner: PreparedForeground | None) -> PreparedForeground:
    """Return the foreground as one sample shows it: scaled and moved in the frame, and in front of its `partner`.

    For most recipes that is `prepared` itself. Else the trimap follows from the recipe's rule.
    """
    augment = recipe.augment
    if augment is None or not augment.changes_person:
        return prepared
    behind = None if partner is None else (partner.colours, partner.alpha)
    colours, alpha = effects.augment_person((prepared.colours, prepared.alpha), recipe.size, augment, behind)
    return PreparedForeground(prepared.photo, colours, alpha, to_three_channels(alpha), None)


def render(recipe: Recipe, prepared: PreparedForeground, background: ReducedBackground | None) -> Sample:
    """Return the sample of a recipe from its arranged foreground and its background."""
    image, foreground, behind = _composite(recipe, prepared, background, None)
    if recipe.augment is not None and foreground is not None and behind is not None:
        foreground, behind = effects.augment_layers(foreground, prepared.alpha, behind, recipe.augment)
    return Sample(image, *render_labels(recipe, prepared), foreground, behind)


def render_labels(recipe: Recipe, prepared: PreparedForeground) -> tuple[Array, Array]:
    """Return alpha and trimap (H, W) uint8 of a sample from its arranged foreground."""
    alpha = prepared.alpha if recipe.augment is None else effects.augment_alpha(prepared.alpha, recipe.augment)
    return alpha, render_trimap(recipe.trimap, alpha, prepared.trimap)


def render_image(
    recipe: Recipe,
    prepared: PreparedForeground,
    background: ReducedBackground | None,
    out: Array | None = None,
) -> Array:
    """Return the image (H, W, 3) uint8 of a recipe: the composite, or the photo itself for an original.

    A composite may be written to `out`, an array of its shape.
    """
    return _composite(recipe, prepared, background, out)[0]


def render_trimap(rule: TrimapRule | None, alpha: Array, own: Array | None) -> Array:
    """Return the trimap (H, W) uint8: derived from alpha by the rule, or the user's own where there is no rule."""
    if rule is not None:
        return derive_trimap(alpha, rule)
    if own is None:
        raise ValueError("a recipe without a trimap rule needs a foreground with a trimap")
    return own


def _composite(
    recipe: Recipe,
    prepared: PreparedForeground,
    background: ReducedBackground | None,
    out: Array | None,
) -> tuple[Array, Array | None, Array | None]:
    """Return the image and its colours F and B, None for an original; in `out` the image replaces B."""
    augment = recipe.augment
    if background is None or recipe.crop is None:
        photo = prepared.photo
        return photo if augment is None else effects.augment_photo(photo, augment), None, None
    behind = cover(background.pixels, _box(recipe.crop, recipe, background), recipe.size, out)
    if recipe.decoy is not None and background.decoy is not None:
        front, alpha = place_in_frame(*background.decoy, recipe.size, recipe.decoy.position)
        behind = blend(front, alpha, behind, out)
    colours = prepared.colours
    if augment is not None:
        colours = effects.augment_person_in_scene(colours, prepared.alpha, behind, augment)
        colours = effects.augment_foreground(colours, augment)
        behind = effects.augment_background(behind, prepared.alpha, augment)
        colours, behind = effects.match_gray(colours, behind, augment)
    image = blend(colours, prepared.weights, behind, out)
    if augment is not None:
        image = effects.augment_image(image, augment)
    return image, colours, behind if out is None else None


def _box(crop: Box, recipe: Recipe, background: ReducedBackground) -> Box:
    """Return the crop of a recipe in the decoded background. Raises ShmDataError where it reaches beyond."""
    box = crop if background.factor == 1 else reduce_box(crop, background.factor)
    height, width = background.pixels.shape[:2]
    if height < box[1] + box[3] or width < box[0] + box[2]:
        raise ShmDataError(
            f"background {recipe.background} of {recipe.name}",
            found=f"{width}x{height}",
            expected=f"at least {box[0] + box[2]}x{box[1] + box[3]}, as when the recipe was drawn",
        )
    return box
