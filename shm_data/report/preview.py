"""A contact sheet of the data set that a job would make: rendered from the plan, without making the set."""

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
from shm_data.files import require_own, write_own
from shm_data.options import CompositeOptions
from shm_data.parallel import Progress, quiet, spread
from shm_data.pixels.arrays import Array
from shm_data.planning.plan import make_plan
from shm_data.planning.scan import refuse_inside, scan
from shm_data.report.contact_sheet import TILE, Row, choose, contact_sheet, header, row_of

# A comment in the file that distinguishes a sheet from other pictures.
_MARK = b"shm-data preview"


def preview(
    options: CompositeOptions,
    out: Path,
    count: int = 12,
    *,
    tile: int = TILE,
    jobs: int = -1,
    progress: Progress = quiet,
) -> Manifest:
    """Write a contact sheet, as PNG, of about `count` samples that `composite` would make in a new folder.

    They are the samples that `sheet_of` shows of the data set once it is made, with the same pixels; `tile` is the
    long edge of a picture in px. Returns the record that the set would have. Raises ShmDataError where a source is at
    fault, where `out` is a file that is no such sheet, and where it cannot be written.
    """
    _require_sheet(out, options)
    plan = make_plan(scan(options, None, jobs, progress), options, None, jobs, progress)
    sheet = images.encode(sheet_of_plan(plan, count, tile, jobs, progress))
    write_own(out, images.with_comment(sheet, _MARK))
    return plan.manifest


def sheet_of_plan(plan: Plan, count: int, tile: int = TILE, jobs: int = -1, progress: Progress = quiet) -> Array:
    """Return a contact sheet (H, W, 3) uint8 of some samples of a plan; only their foregrounds are prepared."""
    originals: dict[str, list[bool]] = {split: [] for split in SPLITS}
    for recipe in plan.recipes():
        originals[recipe.split].append(recipe.background is None)
    chosen = {split: set(some) for split, some in choose(originals, count).items()}
    by_foreground = itertools.groupby(_at(plan, chosen), key=lambda recipe: recipe.foreground)
    parts = [tuple(recipes) for _, recipes in by_foreground]
    results = spread(partial(_rows, plan.manifest, tile), parts, jobs, ordered=True)
    rows = [row for some in progress(results, len(parts), "rendering foregrounds") for row in some]
    counts = {split: len(some) for split, some in originals.items()}
    return contact_sheet([row for split in SPLITS for row in rows if row.split == split], header(counts))


def _require_sheet(out: Path, options: CompositeOptions) -> None:
    """Raise ShmDataError where the sheet cannot be written, before the sources are read."""
    if out.suffix.lower() != ".png":
        raise ShmDataError(f"--out {out}", expected="a name that ends with .png")
    require_own("--out", out, _MARK)
    refuse_inside("--out", out, options)


def _at(plan: Plan, chosen: dict[str, set[int]]) -> Iterator[Recipe]:
    """Yield the recipes at the chosen indices of each split, in the order of the plan."""
    numbers = {split: itertools.count() for split in SPLITS}
    for recipe in plan.recipes():
        if next(numbers[recipe.split]) in chosen[recipe.split]:
            yield recipe


def _rows(manifest: Manifest, tile: int, recipes: tuple[Recipe, ...]) -> list[Row]:
    """Return samples of one foreground, no larger than they are shown."""
    people = {foreground.files.name: foreground for foreground in manifest.foregrounds}
    options, roots = manifest.options, manifest.roots
    prepared = read_prepared(people[recipes[0].foreground], recipes, options, roots)
    with_partner = {recipe.partner: recipe for recipe in recipes}
    partners = {name: read_partner(recipe, people, options, roots) for name, recipe in with_partner.items()}
    rows = []
    for recipe in recipes:
        arranged = arrange(recipe, prepared, partners[recipe.partner])
        sample = render(recipe, arranged, read_background(recipe, roots))
        image = _as_written(sample.image, options)
        rows.append(row_of(recipe.name, recipe.split, (image, sample.alpha, sample.trimap), tile))
    return rows


def _as_written(image: Array, options: CompositeOptions) -> Array:
    """Return the image as its file will hold it: JPEG and WebP lose some."""
    if options.format == "png":
        return image
    return images.read_image(images.Encoded("a sample", bytes(encode_image(image, options))))
