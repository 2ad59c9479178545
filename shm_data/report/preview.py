"""A contact sheet of what a data set would hold: rendered from the plan, and nothing built."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from shm_data import images
from shm_data.building.render import arrange, render
from shm_data.building.worker import encode_image, read_background, read_partner, read_prepared
from shm_data.dataset.layout import SPLITS
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.recipes import Recipe
from shm_data.dataset.store import Plan
from shm_data.errors import ShmDataError
from shm_data.files import visited_folder
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.planning.plan import make_plan
from shm_data.planning.scan import refuse_inside, scan
from shm_data.report.contact_sheet import Row, contact_sheet, fitted, header, places


def preview(
    options: CompositeOptions, out: Path, count: int = 12, jobs: int = -1, progress: Progress = quiet
) -> Manifest:
    """Writes a contact sheet, as PNG, of about `count` samples that `composite` would make in a new folder.

    They are the ones that `sheet_of` shows of the data set once it is built, and the same pixels. Gives the record
    that the set would have. Raises ShmDataError where a source is at fault, or `out` cannot be written.
    """
    _require_place(out, options)
    plan = make_plan(scan(options, None, jobs, progress), options, None, jobs, progress)
    sheet = sheet_of_plan(plan, count, jobs, progress)
    with visited_folder(out.parent):
        images.write_png(out, sheet)
    return plan.manifest


def sheet_of_plan(plan: Plan, count: int, jobs: int = -1, progress: Progress = quiet) -> Array:
    """A contact sheet (H, W, 3) uint8 of about `count` samples of a plan. Only their foregrounds are prepared."""
    counts = {split: getattr(plan.manifest.counts, split) for split in SPLITS}
    chosen = {split: set(some) for split, some in places(counts, count).items()}
    by_foreground = itertools.groupby(_shown(plan, chosen), key=lambda recipe: recipe.foreground)
    parts = [tuple(recipes) for _, recipes in by_foreground]
    results = spread(partial(_rows, plan.manifest), parts, jobs, ordered=True)
    rows = [row for some in progress(results, len(parts), "rendering foregrounds") for row in some]
    return contact_sheet([row for split in SPLITS for row in rows if row.split == split], header(counts))


def _require_place(out: Path, options: CompositeOptions) -> None:
    """Raises ShmDataError where the sheet cannot be written, before the sources are read."""
    if out.suffix.lower() != ".png":
        raise ShmDataError(f"--out {out}", expected="a name that ends with .png")
    if not out.parent.is_dir():
        raise ShmDataError(f"--out {out}", found=f"no folder {out.parent}", expected="a folder that is there")
    refuse_inside("--out", out, options)


def _shown(plan: Plan, chosen: dict[str, set[int]]) -> Iterator[Recipe]:
    """The recipes at the chosen places of each split's list, in the order of the plan."""
    numbers = {split: itertools.count() for split in SPLITS}
    for recipe in plan.recipes():
        if next(numbers[recipe.split]) in chosen[recipe.split]:
            yield recipe


def _rows(manifest: Manifest, recipes: tuple[Recipe, ...]) -> list[Row]:
    """Samples of one foreground, as small as they are shown."""
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    options, roots = manifest.options, manifest.roots
    prepared = read_prepared(people[recipes[0].foreground], recipes, options, roots)
    behind = {recipe.partner: recipe for recipe in recipes}
    partners = {name: read_partner(recipe, people, options, roots) for name, recipe in behind.items()}
    rows = []
    for recipe in recipes:
        arranged = arrange(recipe, prepared, partners[recipe.partner])
        sample = render(recipe, arranged, read_background(recipe, roots))
        image = _as_written(sample.image, options)
        rows.append(fitted(Row(recipe.name, recipe.split, image, sample.alpha, sample.trimap)))
    return rows


def _as_written(image: Array, options: CompositeOptions) -> Array:
    """The image as its file will hold it: JPEG and WebP lose some."""
    if options.format == "png":
        return image
    return images.read_image(images.Encoded("a sample", bytes(encode_image(image, options))))
