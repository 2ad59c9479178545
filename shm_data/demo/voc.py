"""Writes backgrounds as Pascal VOC lays them out."""

from pathlib import Path

from shm_data.demo.scenes import Scene, Thing, scenes
from shm_data.files import make_folders, write_lines
from shm_data.images import write_jpeg


def write(root: Path) -> None:
    """Writes all scenes to `root`: JPEGImages/NAME.jpg and Annotations/NAME.xml. Raises WriteError."""
    pictures, annotations = root / "JPEGImages", root / "Annotations"
    make_folders(pictures, annotations)
    for scene in scenes():
        pixels = scene.pixels()
        height, width = pixels.shape[:2]
        write_jpeg(pictures / f"{scene.name}.jpg", pixels, quality=92)
        write_lines(annotations / f"{scene.name}.xml", _annotation(scene, width, height))


def _annotation(scene: Scene, width: int, height: int) -> list[str]:
    return [
        "<annotation>",
        "  <folder>VOC2012</folder>",
        f"  <filename>{scene.name}.jpg</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
        *(_object(thing) for thing in scene.things),
        "</annotation>",
    ]


def _object(thing: Thing) -> str:
    left, top, right, bottom = thing.box
    corners = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"  <object><name>{thing.name}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"
