"""Make training sets for human matting: composites, alphas, trimaps and splits.

The names below are the public door. They load their module when they are first used: `import shm_data` loads
neither numpy nor OpenCV. Subpackages keep their names, so checking is `check_dataset`, and the report `write_report`.
"""

from typing import TYPE_CHECKING

from shm_data.host.lazy import lazy_attributes

if TYPE_CHECKING:
    from shm_data.building.build import composite as composite
    from shm_data.building.build import finish_parts as finish_parts
    from shm_data.building.build import write_plan as write_plan
    from shm_data.building.dask_executor import DaskCluster as DaskCluster
    from shm_data.building.executors import Part as Part
    from shm_data.building.executors import Threads as Threads
    from shm_data.building.mattes import write_mattes as write_mattes
    from shm_data.building.processes import Processes as Processes
    from shm_data.building.render import Sample as Sample
    from shm_data.building.render import render as render
    from shm_data.building.trimaps import write_trimaps as write_trimaps
    from shm_data.building.worker import make_sample as make_sample
    from shm_data.check import check_dataset as check_dataset
    from shm_data.check import check_pairs as check_pairs
    from shm_data.dataset.manifest import Manifest as Manifest
    from shm_data.dataset.recipes import Recipe as Recipe
    from shm_data.dataset.recipes import read_recipes as read_recipes
    from shm_data.dataset.shards import write_shards as write_shards
    from shm_data.dataset.store import Dataset as Dataset
    from shm_data.errors import ShmDataError as ShmDataError
    from shm_data.exports.export import export_dataset as export_dataset
    from shm_data.images import read_alpha as read_alpha
    from shm_data.images import read_image as read_image
    from shm_data.images import read_trimap as read_trimap
    from shm_data.images import write_png as write_png
    from shm_data.options import CompositeOptions as CompositeOptions
    from shm_data.options import TrimapOptions as TrimapOptions
    from shm_data.pixels.compositing import blend as blend
    from shm_data.pixels.foreground_colours import estimate_foreground as estimate_foreground
    from shm_data.pixels.trimap import TrimapRule as TrimapRule
    from shm_data.pixels.trimap import derive_trimap as derive_trimap
    from shm_data.pixels.trimap import kernel_width as kernel_width
    from shm_data.report import write_report as write_report
    from shm_data.report.preview import preview as preview

__version__ = "0.2.0"

_HOMES = {
    "CompositeOptions": "options",
    "DaskCluster": "building.dask_executor",
    "Dataset": "dataset.store",
    "Manifest": "dataset.manifest",
    "Part": "building.executors",
    "Processes": "building.processes",
    "Recipe": "dataset.recipes",
    "Sample": "building.render",
    "ShmDataError": "errors",
    "Threads": "building.executors",
    "TrimapOptions": "options",
    "TrimapRule": "pixels.trimap",
    "blend": "pixels.compositing",
    "check_dataset": "check",
    "check_pairs": "check",
    "composite": "building.build",
    "derive_trimap": "pixels.trimap",
    "estimate_foreground": "pixels.foreground_colours",
    "export_dataset": "exports.export",
    "finish_parts": "building.build",
    "kernel_width": "pixels.trimap",
    "make_sample": "building.worker",
    "preview": "report.preview",
    "read_alpha": "images",
    "read_image": "images",
    "read_recipes": "dataset.recipes",
    "read_trimap": "images",
    "render": "building.render",
    "write_mattes": "building.mattes",
    "write_plan": "building.build",
    "write_png": "images",
    "write_report": "report",
    "write_shards": "dataset.shards",
    "write_trimaps": "building.trimaps",
}

__all__ = list(_HOMES)  # the names are those above

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
