"""Samples of a data set on one sheet, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shm_data.dataset.layout import SPLITS, Layout, read_names
from shm_data.dataset.recipes import read_recipes
from shm_data.errors import ShmDataError, counted
from shm_data.images import read_alpha, read_gray, read_image
from shm_data.pixels.arrays import Array
from shm_data.pixels.compositing import Size, blend, resize, resize_nearest
from shm_data.pixels.foreground_colours import estimate_foreground
from shm_data.pixels.trimap import BACKGROUND, UNKNOWN

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# The long edge of a tile in px.
TILE = 320

_TILES = ("image", "trimap", "alpha", "foreground", "edge at 100 %")
_GAP, _GUTTER, _MARGIN = 6, 28, 32
_HEADER, _CAPTION = 118, 44

# The least and the greatest width of a sheet, if one card fits into that: the legend needs the first.
_LEAST_WIDTH, _WIDTH = 1300, 2000

_PAPER: Colour = (247, 246, 243)
_INK: Colour = (44, 46, 54)
_FAINT: Colour = (134, 136, 146)
_FRAME: Colour = (232, 231, 227)
_UNKNOWN: Colour = (255, 176, 32)
_DIMMED: Colour = (58, 58, 58)
_CHIPS: dict[str, Colour] = {"train": (62, 112, 148), "val": (188, 98, 62)}

_LEGEND: tuple[tuple[Colour | None, str], ...] = (
    (_UNKNOWN, "unknown region of the trimap"),
    (_DIMMED, "background of the trimap"),
    (_FRAME, "checkerboard: no background"),
    (None, "edge: the part of the image with the most soft pixels, not scaled"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A sample to show: image (H, W, 3), alpha (H, W) and trimap (H, W) in {0, 128, 255}, and a crop of the image.

    All are uint8.
    """

    name: str
    split: str
    image: Array
    alpha: Array
    trimap: Array
    edge: Array


def sheet_of(root: Path, count: int = 12, tile: int = TILE) -> Array:
    """Return a contact sheet (H, W, 3) uint8 of about `count` samples of a data set, the same ones each time.

    `tile` is the long edge of a picture in px. The samples are chosen as by `choose`, for which originals are known
    by recipes.jsonl. Raises ShmDataError where the data set is empty or a file of a sample is missing.
    """
    names = {split: read_names(root, split) for split in SPLITS}
    if not any(names.values()):
        raise ShmDataError(path=root, found="no samples", expected="a data set with at least one")
    originals = _originals(root)
    chosen = choose({split: [name in originals for name in listed] for split, listed in names.items()}, count)
    rows = [_read(root, names[split][index], split, tile) for split in SPLITS for index in chosen[split]]
    return contact_sheet(rows, header({split: len(listed) for split, listed in names.items()}))


def choose(originals: Mapping[str, Sequence[bool]], count: int) -> dict[str, list[int]]:
    """Return the indices of about `count` samples in the list of each split, given which samples are originals.

    Each split with samples has one at least. Composites are chosen first, at equal distances, then originals.
    """
    total = max(1, sum(map(len, originals.values())))
    return {split: _choose(some, max(1, round(count * len(some) / total))) for split, some in originals.items()}


def _choose(originals: Sequence[bool], count: int) -> list[int]:
    sides: tuple[list[int], list[int]] = ([], [])
    for index, original in enumerate(originals):
        sides[original].append(index)
    chosen: list[int] = []
    for some in sides:
        share = min(len(some), count - len(chosen))
        chosen += [some[index * len(some) // share] for index in range(share)]
    return sorted(chosen)


def _originals(root: Path) -> set[str]:
    """Return the names of the samples without a new background; none where no recipes can be read."""
    try:
        return {recipe.name for recipe in read_recipes(Layout(root).recipes) if recipe.background is None}
    except ShmDataError:
        return set()


def header(counts: Mapping[str, int]) -> str:
    """Return the first line of a sheet: the number of samples, in all and by split."""
    parts = ", ".join(f"{number} {split}" for split, number in counts.items())
    return f"{counted(sum(counts.values()), 'sample')}: {parts}"


def row_of(name: str, split: str, pixels: Sequence[Array], tile: int = TILE) -> Row:
    """Return a sample, of its image, alpha and trimap, scaled to that long edge, and a crop of its image as it is.

    The crop has the size of the scaled image and the most soft pixels.
    """
    image, alpha, trimap = pixels
    scale = tile / max(alpha.shape)
    width, height = (max(1, round(edge * scale)) for edge in alpha.shape[1::-1])
    x, y = _softest(alpha, (min(width, alpha.shape[1]), min(height, alpha.shape[0])))
    edge = image[y : y + height, x : x + width].copy()
    small = resize(image, (width, height)), resize(alpha, (width, height)), resize_nearest(trimap, (width, height))
    return Row(name, split, *small, edge)


def contact_sheet(rows: Sequence[Row], header: str) -> Array:
    """Return a sheet (H, W, 3) uint8 with a card for each sample: image, trimap, alpha, foreground and edge.

    The frames of the tiles are as wide as the widest picture and as high as the highest.
    """
    frame = max(row.image.shape[1] for row in rows), max(row.image.shape[0] for row in rows)
    card = len(_TILES) * (frame[0] + _GAP) - _GAP
    abreast = min(len(rows), max(1, (_WIDTH - 2 * _MARGIN + _GUTTER) // (card + _GUTTER)))
    width = max(_LEAST_WIDTH, 2 * _MARGIN + abreast * (card + _GUTTER) - _GUTTER)
    height = _HEADER + -(-len(rows) // abreast) * (frame[1] + _CAPTION) + _MARGIN
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    corners = [
        (_MARGIN + (index % abreast) * (card + _GUTTER), _HEADER + (index // abreast) * (frame[1] + _CAPTION))
        for index in range(len(rows))
    ]
    for row, corner in zip(rows, corners, strict=True):
        _draw(sheet, row, corner, frame)
    return _add_text(sheet, rows, corners, frame, header)


def _read(root: Path, name: str, split: str, tile: int) -> Row:
    image, alpha, trimap = Layout(root).sample(name)
    return row_of(name, split, (read_image(image), read_alpha(alpha), read_gray(trimap)), tile)


def _softest(alpha: Array, size: Size) -> tuple[int, int]:
    """Return x and y of the window of that size with the most soft pixels, the one nearest to the top left."""
    soft = ((alpha > 0) & (alpha < 255)).astype(np.uint8)
    sums = cv2.integral(soft)
    width, height = size
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return int(x), int(y)


def _draw(sheet: Array, row: Row, corner: tuple[int, int], frame: Size) -> None:
    """Draw the tiles of a sample side by side, each in the middle of its frame."""
    for index, tile in enumerate(_tiles(row)):
        left, top = corner[0] + index * (frame[0] + _GAP), corner[1]
        sheet[top : top + frame[1], left : left + frame[0]] = _FRAME
        height, width = tile.shape[:2]
        y, x = top + (frame[1] - height) // 2, left + (frame[0] - width) // 2
        sheet[y : y + height, x : x + width] = tile


def _tiles(row: Row) -> tuple[Array, ...]:
    image, alpha = row.image, row.alpha
    cutout = blend(estimate_foreground(image, alpha), alpha, _checkerboard(image.shape[1::-1]))
    return image, _coloured(image, row.trimap), np.repeat(alpha[..., None], 3, axis=2), cutout, row.edge


def _coloured(image: Array, trimap: Array) -> Array:
    """Return the image with its background dimmed and its unknown region coloured."""
    gray = image.mean(axis=2, keepdims=True)
    dimmed = np.where(trimap[..., None] == BACKGROUND, 0.25 * gray + 24, image)
    mixed = np.where(trimap[..., None] == UNKNOWN, 0.35 * dimmed + 0.65 * np.array(_UNKNOWN), dimmed)
    pixels: Array = np.rint(mixed).astype(np.uint8)
    return pixels


def _checkerboard(size: Size, square: int = 10) -> Array:
    column, row = np.arange(size[0]) // square, np.arange(size[1])[:, None] // square
    tones = np.where((column + row) % 2, 222, 250).astype(np.uint8)
    return np.repeat(tones[..., None], 3, axis=2)


def _add_text(
    sheet: Array, rows: Sequence[Row], corners: Sequence[tuple[int, int]], frame: Size, header: str
) -> Array:
    picture = Image.fromarray(sheet)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, 16), header, _INK, ImageFont.load_default(25))
    _draw_legend(draw)
    label, caption = (ImageFont.load_default(size) for size in (17, 16))
    for left in sorted({x for x, _ in corners}):
        for index, name in enumerate(_TILES):
            x = left + index * (frame[0] + _GAP) + 1
            draw.text((x, _HEADER - 26), _shortened(name, label, frame[0]), _FAINT, label)
    card = len(_TILES) * (frame[0] + _GAP) - _GAP
    for row, (x, y) in zip(rows, corners, strict=True):
        _draw_caption(draw, row, (x, y + frame[1] + 7), card, caption)
    return np.asarray(picture)


def _draw_legend(draw: ImageDraw.ImageDraw) -> None:
    x, font = _MARGIN, ImageFont.load_default(16)
    for colour, text in _LEGEND:
        if colour is not None:
            draw.rectangle((x, 57, x + 13, 70), colour)
            x += 20
        draw.text((x, 53), text, _INK, font)
        x += round(font.getlength(text)) + 26


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    row: Row,
    corner: tuple[int, int],
    width: int,
    font: Font,
) -> None:
    """Draw the split on a coloured chip, then the name."""
    x, y = corner
    chip = round(font.getlength(row.split)) + 16
    draw.rounded_rectangle((x, y, x + chip, y + 23), 6, _CHIPS.get(row.split, _FAINT))
    draw.text((x + 8, y + 2), row.split, (255, 255, 255), font)
    draw.text((x + chip + 9, y + 2), _shortened(row.name, font, width - chip - 9), _INK, font)


def _shortened(name: str, font: Font, width: int) -> str:
    """Return the name, or as much of it as fits into `width` px."""
    if font.getlength(name) <= width:
        return name
    return next(
        (f"{name[:end]}..." for end in range(len(name), 0, -1) if font.getlength(f"{name[:end]}...") <= width), "..."
    )
