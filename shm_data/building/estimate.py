"""Estimates the size of a data set before it is made."""

from shm_data import images
from shm_data.building.worker import encode_image, make_sample
from shm_data.dataset.store import Plan


def estimate_bytes(plan: Plan, count: int = 4) -> int:
    """Return about how many bytes the whole data set will take, from `count` samples made in memory.

    Alphas and trimaps count once a foreground, since its samples share them; random trimaps, and what samples with an
    alpha of their own have, count once a sample.
    """
    manifest = plan.manifest
    options = manifest.options
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    own, shared, area = 0, 0, 0
    for recipe in plan.some_recipes(count):
        sample = make_sample(recipe, people, manifest)
        own += len(encode_image(sample.image, options))
        alpha, trimap = len(images.encode(sample.alpha)), len(images.encode(sample.trimap))
        has_own_trimap = recipe.has_own_alpha or options.trimap == "random"
        own += alpha * recipe.has_own_alpha + trimap * has_own_trimap
        shared += alpha * (not recipe.has_own_alpha) + trimap * (not has_own_trimap)
        area += recipe.size[0] * recipe.size[1]
    share = manifest.counts.foregrounds / manifest.counts.samples
    return round((own + shared * share) / area * sum(r.size[0] * r.size[1] for r in plan.recipes()))
