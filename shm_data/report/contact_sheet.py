"""Pictures of a data set on one sheet, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.errors import ShmDataError, counted
from shm_data.images import read_alpha, read_gray, read_image
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, blend, resize, resize_nearest
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import BACKGROUND, UNKNOWN

Colour = tuple[int, int, int]

_PANEL: Size = (204, 272)
_PANELS = ("image", "trimap", "alpha", "foreground")
_GAP, _GUTTER, _MARGIN = 6, 28, 32
_HEADER, _CAPTION = 88, 44
_CARD = len(_PANELS) * (_PANEL[0] + _GAP) - _GAP

_PAPER: Colour = (247, 246, 243)
_INK: Colour = (44, 46, 54)
_FAINT: Colour = (134, 136, 146)
_FRAME: Colour = (232, 231, 227)
_UNKNOWN: Colour = (255, 176, 32)
_CHIPS: dict[str, Colour] = {"train": (62, 112, 148), "val": (188, 98, 62)}


@dataclass(frozen=True, slots=True)
class Row:
    """A sample to show: image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255}, all uint8."""

    name: str
    split: str
    image: Array
    alpha: Array
    trimap: Array


def sheet_of(root: Path, count: int = 12) -> Array:
    """A contact sheet (H, W, 3) uint8 of about `count` samples of a data set, the same ones each time.

    They are spread evenly over the lists, so over the foregrounds too, and every split that has samples is
    shown. Raises ShmDataError where the data set is empty or one of its files is missing.
    """
    names = {split: read_names(root, split) for split in SPLITS}
    counts = {split: len(listed) for split, listed in names.items()}
    if not any(counts.values()):
        raise ShmDataError(path=root, found="no samples", expected="a data set with at least one")
    chosen = places(counts, count)
    rows = [_read(root, names[split][place], split) for split in SPLITS for place in chosen[split]]
    return contact_sheet(rows, header(counts))


def places(counts: Mapping[str, int], count: int) -> dict[str, list[int]]:
    """The places in the list of each split, of so many samples, that a sheet of about `count` shows.

    They are at equal distances, and at least one of each split that has samples.
    """
    total = sum(counts.values())
    shares = {split: min(number, max(1, round(count * number / total))) for split, number in counts.items() if total}
    return {split: [index * counts[split] // share for index in range(share)] for split, share in shares.items()}


def header(counts: Mapping[str, int]) -> str:
    """The first line of a sheet: how many samples there are, and how many in each split."""
    parts = ", ".join(f"{number} {split}" for split, number in counts.items())
    return f"{counted(sum(counts.values()), 'sample')}: {parts}"


def fitted(row: Row) -> Row:
    """The sample as small as it is shown. Of it a sheet is the same, and many need little memory."""
    size = _contained((row.image.shape[1], row.image.shape[0]))
    alpha, trimap = resize(row.alpha, size), resize_nearest(row.trimap, size)
    return Row(row.name, row.split, resize(row.image, size), alpha, trimap)


def contact_sheet(rows: Sequence[Row], header: str) -> Array:
    """A sheet (H, W, 3) uint8 with a card a sample, two abreast: its image, trimap, alpha and foreground.

    In the trimap panel the background is dimmed and the unknown band coloured; the foreground, freed of its
    background, lies on a checkerboard.
    """
    abreast = min(2, len(rows))
    lines = -(-len(rows) // abreast)
    width = 2 * _MARGIN + abreast * (_CARD + _GUTTER) - _GUTTER
    height = _HEADER + lines * (_PANEL[1] + _CAPTION) + _MARGIN
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    corners = [_corner(index, abreast) for index in range(len(rows))]
    for row, corner in zip(rows, corners, strict=True):
        _place(sheet, row, corner)
    return _lettered(sheet, rows, corners, header)


def _read(root: Path, name: str, split: str) -> Row:
    image, alpha, trimap = Layout(root).sample(name)
    return fitted(Row(name, split, read_image(image), read_alpha(alpha), read_gray(trimap)))


def _corner(index: int, abreast: int) -> tuple[int, int]:
    x = _MARGIN + (index % abreast) * (_CARD + _GUTTER)
    return x, _HEADER + (index // abreast) * (_PANEL[1] + _CAPTION)


def _place(sheet: Array, row: Row, corner: tuple[int, int]) -> None:
    """Puts the four panels of a sample side by side, each in the middle of its frame."""
    for index, panel in enumerate(_panels(row)):
        left, top = corner[0] + index * (_PANEL[0] + _GAP), corner[1]
        sheet[top : top + _PANEL[1], left : left + _PANEL[0]] = _FRAME
        height, width = panel.shape[:2]
        y, x = top + (_PANEL[1] - height) // 2, left + (_PANEL[0] - width) // 2
        sheet[y : y + height, x : x + width] = panel


def _panels(row: Row) -> tuple[Array, ...]:
    row = fitted(row)
    image, alpha = row.image, row.alpha
    cutout = blend(estimate_foreground(image, alpha), alpha, _checkerboard(image.shape[1::-1]))
    return image, _coloured(image, row.trimap), np.repeat(alpha[..., None], 3, axis=2), cutout


def _contained(size: Size) -> Size:
    """`size` scaled, up or down, to just fit into a panel."""
    scale = min(_PANEL[0] / size[0], _PANEL[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _coloured(image: Array, trimap: Array) -> Array:
    """The image with its background dimmed and its unknown band coloured."""
    gray = image.mean(axis=2, keepdims=True)
    dimmed = np.where(trimap[..., None] == BACKGROUND, 0.25 * gray + 24, image)
    mixed = np.where(trimap[..., None] == UNKNOWN, 0.35 * dimmed + 0.65 * np.array(_UNKNOWN), dimmed)
    pixels: Array = np.rint(mixed).astype(np.uint8)
    return pixels


def _checkerboard(size: Size, square: int = 10) -> Array:
    column, row = np.arange(size[0]) // square, np.arange(size[1])[:, None] // square
    tones = np.where((column + row) % 2, 222, 250).astype(np.uint8)
    return np.repeat(tones[..., None], 3, axis=2)


def _lettered(sheet: Array, rows: Sequence[Row], corners: Sequence[tuple[int, int]], header: str) -> Array:
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, 18), header, _INK, ImageFont.load_default(25))
    for left in sorted({x for x, _ in corners}):
        for index, label in enumerate(_PANELS):
            place = left + index * (_PANEL[0] + _GAP) + 1, _HEADER - 26
            draw.text(place, label, _FAINT, ImageFont.load_default(17))
    for row, (x, y) in zip(rows, corners, strict=True):
        _caption(draw, row, (x, y + _PANEL[1] + 7))
    return np.asarray(picture)


def _caption(draw: ImageDraw.ImageDraw, row: Row, corner: tuple[int, int]) -> None:
    """The split as a coloured chip, then the name."""
    x, y = corner
    font = ImageFont.load_default(16)
    width = round(font.getlength(row.split)) + 16
    draw.rounded_rectangle((x, y, x + width, y + 23), 6, _CHIPS.get(row.split, _FAINT))
    draw.text((x + 8, y + 2), row.split, (255, 255, 255), font)
    draw.text((x + width + 9, y + 2), _shortened(row.name, font, _CARD - width - 9), _INK, font)


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The name, or as much of it as `width` px hold."""
    if font.getlength(name) <= width:
        return name
    return next(
        (f"{name[:end]}..." for end in range(len(name), 0, -1) if font.getlength(f"{name[:end]}...") <= width), "..."
    )
