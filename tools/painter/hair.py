"""Hair, strand by strand: every style has a part behind the body and one before it."""

import numpy as np
from numpy.random import Generator

from shm_data.pixels.arrays import Array
from tools.painter import brush
from tools.painter.brush import HEAD_X as X
from tools.painter.brush import HEAD_Y as Y
from tools.painter.brush import Colour, Floats, Light, area, bezier, fill, glow, merge, strands

_AUBURN = ((92, 40, 22), (186, 98, 50))
_BLACK = ((26, 20, 20), (72, 56, 50))
_BROWN = ((40, 27, 22), (104, 72, 52))
_SILVER = ((150, 147, 150), (220, 218, 220))

Points = tuple[tuple[float, float], ...]

# Where the beard grows: from the axis to the right.
_JAW = ((0, 152), (32, 147), (68, 124), (92, 84), (100, 34), (99, 4))
_CHEEK = ((0, 122), (24, 120), (44, 104), (54, 82), (78, 56), (91, 12))
_LIP = ((0, 74), (24, 72), (46, 88), (52, 106))
_MOUTH = ((0, 81), (26, 84), (42, 100), (50, 108))


def long_behind(target: Array, generator: Generator) -> None:
    """Draw hair that falls down the back."""
    layer = brush.canvas()
    mass = ((0, -150), (78, -134), (118, -60), (126, 60), (142, 190), (146, 300), (96, 352), (0, 350))
    fill(layer, area(_both(mass)), _AUBURN[0])
    for side in (-1, 1):
        _wavy(layer, generator, side, count=560, spread=(-0.25, 1.25), shade=0.7)
    merge(target, layer, np.float32(0.85) - 0.25 * glow(X, Y + 120, 90, 140))


def long_before(target: Array, generator: Generator) -> None:
    """Draw two curtains from a parting, over the shoulders."""
    layer = brush.canvas()
    for side in (-1, 1):
        _wavy(layer, generator, side, count=560, spread=(0.0, 0.8), shade=1.0)
    merge(target, layer, _shine(X - 60, Y - 105, 60, 26))
    wisps = brush.canvas()
    for side in (-1, 1):
        _wavy(wisps, generator, side, count=46, spread=(0.7, 1.5), shade=1.0, fine=True)
    merge(target, wisps, _shine(X - 60, Y - 105, 60, 26), 0.7)


def _wavy(
    layer: Array,
    generator: Generator,
    side: int,
    *,
    count: int,
    spread: tuple[float, float],
    shade: float,
    fine: bool = False,
) -> None:
    """Draw strands of one side of a parting, in locks that wave together."""
    locks = count if fine else count // 12
    lock = generator.integers(locks, size=count)
    base = generator.uniform(*spread, locks)[lock]
    out = base + generator.normal(0, 0.06, count)
    front = 1 - np.clip(out + generator.normal(0, 0.1, count), 0, 1)
    length = generator.uniform(0.8, 1.06, locks)[lock] + generator.normal(0, 0.025, count)
    control = np.stack(
        [
            _at(14 - side * 2 + 0 * out, -162 + 56 * front),
            _at(14 + side * (40 + 12 * out), -176 + 44 * front - 4 * out),
            _at(side * (140 + 26 * out), -176 + 44 * front - 12 * out),
            _at(side * (78 + 55 * out), 60 + 0 * out),
            _at(side * (121 + 46 * out), 170 + 0 * out),
            _at(side * (92 + 52 * base), 352 * length),
        ],
        axis=1,
    )
    curves = bezier(control, 44)
    t = np.linspace(0, 1, 44)
    phase = generator.uniform(0, 0.22, locks)[lock, None] + 0.16 * out[:, None]
    curves[..., 0] += side * (25 + 6 * out[:, None]) * np.clip(t - 0.2, 0, 1) * np.sin(2 * np.pi * (2.1 * t - phase))
    order = np.argsort(-out + generator.normal(0, 0.12, count))
    widths = generator.uniform(0.7, 1.3, count) if fine else generator.uniform(1.4, 3.6, count)
    colours = _tints(generator, _AUBURN, locks, 12 if fine else 3)[lock] * shade + generator.normal(0, 4, (count, 1))
    strands(layer, curves[order], widths[order], colours[order])


def afro_behind(target: Array, generator: Generator) -> None:
    """Draw a ball of small curls that thins out at its rim."""
    fill(target, area(_ball(generator, 152, 146)), _BLACK[0])
    layer = brush.canvas()
    angle = generator.uniform(0, 2 * np.pi, 7200)
    reach = np.sqrt(generator.uniform(0.2, 1, 7200)) + np.abs(generator.normal(0, 0.035, 7200))
    _curls(layer, generator, _at(166 * reach * np.cos(angle), -62 + 166 * reach * np.sin(angle)))
    merge(target, layer, _shine(X - 70, Y - 150, 70, 55))


def afro_before(target: Array, generator: Generator) -> None:
    """Draw curls over the forehead, down to a rounded hairline."""
    layer = brush.canvas()
    fringe = _both(((0, -150), (70, -130), (104, -60), (106, -8), (94, -4), (84, -52), (58, -86), (0, -104)))
    fill(layer, brush.soften(area(fringe), 2), _BLACK[0])
    x, y = generator.uniform(-112, 112, 3600), generator.uniform(-170, 6, 3600)
    hairline = (x / 86) ** 2 + ((y - 18) / 116) ** 2 + generator.normal(0, 0.03, 3600)
    _curls(layer, generator, _at(x, y)[hairline > 1.06])
    merge(target, layer, _shine(X - 70, Y - 150, 70, 55))


def _ball(generator: Generator, across: float, down: float) -> Floats:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rough = 1 + generator.normal(0, 0.012, 40)
    return _at(across * rough * np.cos(t), -62 + down * rough * np.sin(t))


def _curls(layer: Array, generator: Generator, centres: Floats) -> None:
    count = len(centres)
    turn = generator.uniform(0, 2 * np.pi, (count, 1)) + np.linspace(0, 1, 16) * generator.uniform(3, 6.5, (count, 1))
    size = generator.uniform(2.6, 5.6, (count, 1))
    curves = centres[:, None] + size[..., None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    curves += np.linspace(-1, 1, 16)[:, None] * generator.normal(0, 3, (count, 1, 2))
    strands(layer, curves, generator.uniform(1.0, 2.0, count), _tints(generator, _BLACK, count))


def short_before(target: Array, generator: Generator) -> None:
    """Draw a swept-up crop, with a trimmed beard."""
    beard = brush.canvas()
    _stubble(beard, generator)
    merge(target, beard, _shine(X - 60, Y + 40, 50, 60), 0.94)
    layer = brush.canvas()
    crop = [(-97, 6), (-106, -50), (-100, -110), (-62, -160), (0, -178), (66, -162), (102, -108), (106, -50), (97, 6)]
    line = [(91, -14), (87, -52), (78, -72), (68, -94), (32, -110), (-26, -112), (-66, -98), (-78, -74), (-87, -54)]
    cap = area(np.add([*crop, *line, (-91, -14)], (X, Y)))
    fill(layer, brush.soften(cap, 2.5), _BROWN[0])
    roots = _roots(generator, cap, 2600) + generator.normal(0, 1.8, (2600, 2))
    x, y = roots[:, 0] - X, roots[:, 1] - Y
    top = 1 / (1 + np.exp((y + 78) / 12))
    rise = np.stack([0.4 * x / 100 + 0.4, np.full(len(x), -1.0)], 1)
    fall = np.stack([np.sign(x) * 0.04, np.full(len(x), 1.0)], 1)
    aim = rise * top[:, None] * 27 + fall * (1 - top[:, None]) * 13 + generator.normal(0, 3.5, roots.shape)
    bend = np.stack([aim[:, 0] * 0.2, aim[:, 1] * 0.75], 1)
    order = np.argsort(y + generator.normal(0, 10, len(y)))
    curves = bezier(np.stack([roots, roots + bend, roots + aim], 1), 14)
    strands(layer, curves[order], generator.uniform(1.2, 2.8, len(y)), _tints(generator, _BROWN, len(y)))
    merge(target, layer, _shine(X - 40, Y - 150, 60, 30))


def _stubble(layer: Array, generator: Generator) -> None:
    beard, lip = area(_band(_JAW, _CHEEK)), area(_band(_LIP, _MOUTH))
    fill(layer, brush.soften(beard, 3), _BROWN[0], 0.72)
    fill(layer, brush.soften(lip, 2), _BROWN[0], 0.7)
    roots = np.concatenate([_roots(generator, beard, 2400), _roots(generator, lip, 420)])
    x = roots[:, 0] - X
    aim = np.stack([x * 0.05, np.full(len(x), 6.5)], 1) + generator.normal(0, 1.6, roots.shape)
    curves = bezier(np.stack([roots, roots + aim * (0.2, 0.6), roots + aim], 1), 8)
    strands(layer, curves, generator.uniform(0.9, 1.7, len(x)), _tints(generator, _BROWN, len(x)))


def _band(outer: Points, inner: Points) -> Floats:
    """Return the outline between two lines around the centre of the head, each given from the axis to the right."""
    above, below = np.array(outer, float), np.array(inner, float)[::-1]
    right = np.concatenate([above, below])
    outline: Floats = np.add(np.concatenate([right, right[::-1] * (-1, 1)]), (X, Y))
    return outline


def bun_behind(target: Array, generator: Generator) -> None:
    """Draw a knot on the crown."""
    layer = brush.canvas()
    fill(layer, brush.oval(X, Y - 192, 57, 48), _SILVER[0])
    count = 420
    turn = generator.uniform(0, 2 * np.pi, count)[:, None] + np.linspace(0, 1.9, 24)
    size = np.sqrt(generator.uniform(0.02, 1.0, count))[:, None] * np.linspace(1.03, 0.9, 24)
    curves = np.stack([X + 58 * size * np.cos(turn), Y - 192 + 49 * size * np.sin(turn)], -1)
    strands(layer, curves, generator.uniform(1.0, 2.8, count), _tints(generator, _SILVER, count))
    _loose(target, generator, _at(generator.uniform(-50, 50, 44), generator.uniform(-225, -160, 44)), (0, -192))
    merge(target, layer, _shine(X - 22, Y - 212, 26, 20, 0.14) - np.float32(0.22) * glow(X + 10, Y - 142, 50, 12))


def bun_before(target: Array, generator: Generator) -> None:
    """Draw hair combed up from the hairline to the knot."""
    layer = brush.canvas()
    crown = [(-98, 8), (-107, -46), (-98, -108), (-58, -154), (0, -168), (58, -154), (98, -108), (107, -46), (98, 8)]
    line = [(91, -16), (85, -62), (62, -98), (0, -116), (-62, -98), (-85, -62), (-91, -16)]
    fill(layer, area(np.add([*crown, *line], (X, Y))), _SILVER[0])
    count = 900
    turn = generator.uniform(-1.62, 1.62, count)
    depth = np.sqrt(generator.uniform(0, 1, count))
    start = _at((90 + 14 * (1 - depth)) * np.sin(turn), 4 - 118 * np.cos(turn) - 14 * (1 - depth))
    end = _at(20 * np.sin(turn) + generator.normal(0, 6, count), -162 + generator.normal(0, 4, count))
    pull = _at((122 - 8 * depth) * np.sin(turn), -40 - 100 * np.cos(turn) - 22 * np.abs(np.sin(turn)))
    over = _at(78 * np.sin(turn), -176 + 0 * turn)
    order = np.argsort(depth + generator.normal(0, 0.1, count))
    curves = bezier(np.stack([start, pull, over, end], 1))
    strands(layer, curves[order], generator.uniform(1.2, 3.0, count), _tints(generator, _SILVER, count))
    side = generator.choice([-1.0, 1.0], 60)
    _loose(target, generator, _at(side * generator.uniform(84, 104, 60), generator.uniform(-110, -10, 60)), (0, -40))
    merge(target, layer, _shine(X - 52, Y - 120, 44, 26, 0.18))


def _loose(target: Array, generator: Generator, roots: Floats, centre: tuple[float, float]) -> None:
    """Draw fine single hairs that leave the shape."""
    count = len(roots)
    away = roots - _at(*centre)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    reach = generator.uniform(12, 34, (count, 1))
    aside = np.stack([-away[:, 1], away[:, 0]], 1) * generator.normal(0, 20, (count, 1))
    curves = bezier(np.stack([roots, roots + away * reach * 0.9, roots + away * reach + aside], 1), 18)
    layer = brush.canvas()
    strands(layer, curves, generator.uniform(0.6, 1.1, count), _tints(generator, _SILVER, count, even=60))
    merge(target, layer, _daylight(), 0.8)


def _both(points: Points) -> Floats:
    """Return a closed outline around the centre of the head, the same on both sides, from its right half."""
    right = np.array(points, float)
    left = right[right[:, 0] != 0][::-1] * (-1, 1)
    outline: Floats = np.add(np.concatenate([right, left]), (X, Y))
    return outline


def _at(x: Floats | float, y: Floats | float) -> Floats:
    """Return points (N, 2) in px from offsets to the centre of the head."""
    places: Floats = np.stack(np.broadcast_arrays(np.add(x, X), np.add(y, Y)), -1)
    return places


def _roots(generator: Generator, mask: Array, count: int) -> Floats:
    """Return random points (count, 2) in px within a mask."""
    inside = np.flatnonzero(mask > 127)
    y, x = np.divmod(generator.choice(inside, count), mask.shape[1])
    places: Floats = np.stack([x, y], 1) / (mask.shape[1] / brush.WIDTH)
    return places


def _tints(generator: Generator, colours: tuple[Colour, Colour], count: int, even: float = 2.2) -> Floats:
    """Return colours (count, 3) between two, the more alike the larger `even` is."""
    dark, bright = np.array(colours, float)
    tints: Floats = dark + (bright - dark) * generator.beta(even, even * 1.3, (count, 1))
    return tints


def _shine(x: float, y: float, across: float, down: float, gain: float = 0.42) -> Light:
    """Return daylight with a soft highlight."""
    return _daylight() + np.float32(gain) * glow(x, y, across, down)


def _daylight() -> Light:
    """Return light (H, W) from the left."""
    return np.float32(0.98) - np.float32(0.3) * glow(X + 130, Y + 40, 80, 190)
