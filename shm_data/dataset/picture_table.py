"""CSV tables of samples, which the library `datasets` and data set hubs read as columns of pictures."""

import contextlib
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from shm_data.dataset.layout import SPLITS, Layout
from shm_data.dataset.manifest import Manifest
from shm_data.dataset.recipes import Recipe
from shm_data.files import open_whole, to_line

# `datasets` turns a column NAME_file_name into a column NAME of pictures, and `file_name` into `image`.
PICTURES = ("file_name", "alpha_file_name", "trimap_file_name")
SOURCES = ("foreground", "background")

# The background of an original. A column that were empty in one split alone would have another type there.
_ORIGINAL = "original"


def csv_line(cells: Sequence[str]) -> str:
    """Return a line of CSV without its line break."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def photos_of(manifest: Manifest) -> dict[str, str]:
    """Return the key of the photo of each foreground, by its name."""
    return {foreground.files.name: foreground.files.image for foreground in manifest.foregrounds}


def sources_of(recipe: Recipe, photos: Mapping[str, str]) -> tuple[str, str]:
    """Return the keys of foreground and background. They have slashes, so no reader takes them for numbers."""
    return photos[recipe.foreground], recipe.background or _ORIGINAL


@contextlib.contextmanager
def open_tables(layout: Layout, manifest: Manifest) -> Iterator[Callable[[Recipe], None]]:
    """Write the tables of all splits, each whole or not at all, by the function that is given: it adds a sample."""
    photos = photos_of(manifest)
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context(open_whole(layout.table_of(split))) for split in SPLITS}
        for file in files.values():
            file.write(to_line(csv_line((*PICTURES, *SOURCES))))

        def add(recipe: Recipe) -> None:
            paths = (f"{path.parent.name}/{path.name}" for path in layout.sample(recipe.name))
            files[recipe.split].write(to_line(csv_line((*paths, *sources_of(recipe, photos)))))

        yield add
