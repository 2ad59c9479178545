"""Portraits the project draws itself, so that their true colours and alphas are known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from tools.painter import brush, hair
from tools.painter.brush import HEAD_X as X
from tools.painter.brush import HEAD_Y as Y
from tools.painter.brush import Colour, area, fill, line, mould, oval, soften, within

# The right half of a head from crown to chin, around its centre.
_HEAD = ((0, -152), (52, -140), (88, -98), (99, -34), (97, 28), (88, 76), (64, 116), (30, 139), (0, 144))


@dataclass(frozen=True, slots=True)
class Person:
    """Who is drawn, and how: colours as (bright, dark), `dip` the px from the eyes down to the neckline."""

    name: str
    seed: int
    skin: tuple[Colour, Colour]
    lips: Colour
    iris: Colour
    brows: Colour
    cloth: tuple[Colour, Colour]
    dip: float
    broad: float
    before: Callable[[Array, np.random.Generator], None]
    behind: Callable[[Array, np.random.Generator], None] | None = None
    extra: Callable[[Array], None] | None = None
    rolled: bool = False
    ears: bool = True


def draw(person: Person) -> tuple[Array, Array]:
    """Return the true colours (H, W, 3) uint8 and the alpha (H, W) uint8 of a person."""
    generator = np.random.default_rng(person.seed)
    target = brush.canvas()
    if person.behind:
        person.behind(target, generator)
    _body(target, person)
    _head(target, person)
    person.before(target, generator)
    if person.extra:
        person.extra(target)
    return brush.finish(target)


def _both(points: tuple[tuple[float, float], ...], x: float, y: float) -> NDArray[np.float64]:
    """Return a closed outline that is the same on both sides of x, from its right half."""
    right = np.array(points, float)
    inner = right[right[:, 0] != 0][::-1]
    outline: NDArray[np.float64] = np.add(np.concatenate([right, inner * (-1, 1)]), (x, y))
    return outline


def _body(target: Array, person: Person) -> None:
    bright, dark = person.skin
    b = person.broad
    side = ((47 * b, 80), (48 * b, 164), (62 * b, 204), (80 * b, 240), (76, 300))
    neck = area(_both(((0, 70), *side, (0, 320)), X, Y))
    mould(target, neck, bright, dark, 34)
    shadow = area(_both(((0, 70), (90, 60), (78, 128), (48, 166), (0, 180)), X, Y))
    fill(target, within(soften(shadow, 9), neck), dark, 0.75)
    if person.rolled:
        _roll(target, person)
    _clothes(target, person, neck)


def _roll(target: Array, person: Person) -> None:
    bright, dark = person.cloth
    roll = area(_both(((0, 176), (30, 172), (50, 162), (56, 172), (59, 200), (66, 236), (40, 256), (0, 260)), X, Y))
    mould(target, roll, bright, dark, 26)
    for x in range(-52, 53, 8):
        rib = line(np.add([(x * 0.92, 150), (x, 190), (x * 1.1, 240)], (X, Y)), 4)
        fill(target, within(soften(rib, 1.2), roll), dark, 0.3)


def _clothes(target: Array, person: Person, neck: Array) -> None:
    b = person.broad
    bright, dark = person.cloth
    t = np.linspace(0, np.pi / 2, 7)
    collar = np.stack([70 * b * np.sin(t), 206 + (person.dip - 206) * np.cos(t)], 1)
    right = np.concatenate([collar, np.multiply(_SLEEVE, (b, 1))])
    outline = np.concatenate([right, (right[1:] * (-1, 1))[::-1]])
    cloth = area(np.add(outline, (X, Y)))
    fill(target, within(soften(cloth, 7), neck), person.skin[1], 0.5)
    mould(target, cloth, bright, dark, 60)
    _folds(target, cloth, dark, b)
    edge = np.concatenate([(collar * (-1, 1))[::-1], collar[1:]])
    rim = _rim(np.add(edge, (X, Y)))
    fill(target, within(soften(rim, 3), cloth), dark, 0.7)
    mould(target, rim, bright, dark, 9)


# The right side from the collar down, beyond the lower edge of the picture.
_SLEEVE = ((116, 222), (182, 248), (222, 296), (242, 380), (254, 470), (264, 560), (270, 650), (150, 700))
_FOLDS = (((158, 290), (132, 470), 0.5), ((90, 290), (46, 430), 0.22), ((204, 300), (186, 420), 0.2))


def _folds(target: Array, cloth: Array, dark: Colour, broad: float) -> None:
    for sign in (-1, 1):
        for start, end, strength in _FOLDS:
            middle = ((start[0] + end[0]) / 2 + 14, (start[1] + end[1]) / 2)
            fold = line(np.add(np.array([start, middle, end]) * (sign * broad, 1), (X, Y)), 26)
            fill(target, within(soften(fold, 9), cloth), dark, strength)


def _rim(edge: NDArray[np.float64]) -> Array:
    """Return the band along a neckline."""
    along = np.gradient(edge, axis=0)
    down = np.stack([-along[:, 1], along[:, 0]], 1) / np.linalg.norm(along, axis=1, keepdims=True)
    return area(np.concatenate([edge, (edge + 9 * down)[::-1]]))


def _head(target: Array, person: Person) -> None:
    bright, dark = person.skin
    if person.ears:
        _ears(target, person)
    face = area(_both(_HEAD, X, Y))
    mould(target, face, bright, dark, 42)
    fill(target, within(soften(oval(X - 30, Y - 80, 46, 30), 22), face), _lighter(bright), 0.5)
    for sign in (-1, 1):
        fill(target, within(soften(oval(X + sign * 58, Y + 48, 24, 17), 13), face), person.lips, 0.28)
        fill(target, within(soften(oval(X + sign * 42, Y - 4, 30, 17), 8), face), dark, 0.32)
        _eye(target, person, sign)
    _nose(target, person, face)
    _mouth(target, person)


def _ears(target: Array, person: Person) -> None:
    bright, dark = person.skin
    for sign in (-1, 1):
        ear = oval(X + sign * 98, Y + 6, 15, 29)
        mould(target, ear, bright, dark, 9)
        fill(target, within(soften(oval(X + sign * 99, Y + 6, 7, 17), 3), ear), dark, 0.5)


def _lighter(colour: Colour) -> Colour:
    red, green, blue = (round(value + (255 - value) * 0.35) for value in colour)
    return red, green, blue


def _eye(target: Array, person: Person, sign: int) -> None:
    x, y = X + sign * 43, Y + 2

    def at(*points: tuple[float, float]) -> NDArray[np.float64]:
        return np.add(np.array(points, float) * (sign, 1), (x, y))

    opening = area(at((-21, 3), (-12, -6), (2, -10.5), (15, -6.5), (22, 0), (12, 6.5), (-4, 8)))
    fill(target, opening, (244, 238, 232))
    fill(target, within(soften(area(at((-24, 0), (0, -18), (26, -4), (0, -5))), 2.5), opening), (120, 95, 90), 0.7)
    fill(target, within(oval(x, y - 1, 10.4, 10.4), opening), _darker(_darker(person.iris)))
    fill(target, within(soften(oval(x, y, 8.8, 8.8), 0.8), opening), person.iris)
    fill(target, within(oval(x, y - 1, 4.4, 4.4), opening), (20, 14, 14))
    fill(target, oval(x - 3, y - 4.5, 2.3, 2.3), (255, 255, 255), 0.92)
    fill(target, line(at((-22, 4), (-12, -9), (8, -15), (25, -2)), 4.6), (34, 24, 24), 0.95)
    fill(target, line(at((-18, -8), (-6, -18), (10, -19), (24, -8)), 2.2), person.skin[1], 0.8)
    fill(target, line(at((-14, 8), (0, 12), (16, 7)), 1.8), person.skin[1], 0.7)
    brow = at((-26, -24), (-8, -36), (12, -37), (33, -24))
    fill(target, soften(line(brow, 9), 0.8), person.brows, 0.85)


def _nose(target: Array, person: Person, face: Array) -> None:
    bright, dark = person.skin
    side = area(np.add([(8, -18), (10, 20), (20, 48), (14, 60), (2, 62), (6, 20)], (X, Y)))
    fill(target, within(soften(side, 6), face), dark, 0.5)
    fill(target, soften(line(np.add([(-3, -14), (-5, 20), (-3, 46)], (X, Y)), 10), 4), _lighter(bright), 0.5)
    fill(target, soften(oval(X, Y + 64, 17, 4.5), 2.6), dark, 0.75)
    for sign in (-1, 1):
        fill(target, soften(oval(X + sign * 8.5, Y + 61.5, 4.4, 2.2), 1), _darker(dark), 0.75)
        wing = [(X + sign * 17, Y + 48), (X + sign * 23, Y + 54), (X + sign * 19, Y + 62)]
        fill(target, soften(line(wing, 3), 1), dark, 0.7)


def _darker(colour: Colour) -> Colour:
    red, green, blue = (round(value * 0.55) for value in colour)
    return red, green, blue


def _mouth(target: Array, person: Person) -> None:
    y = Y + 95
    upper = area(_both(((0, -8), (9, -10.5), (22, -5), (36, -2.5), (20, 3), (0, 3)), X, y))
    lower = area(_both(((0, 1), (20, 1.5), (35, -2), (22, 12), (0, 16)), X, y))
    fill(target, soften(oval(X, y + 21, 22, 4), 3.5), person.skin[1], 0.6)
    fill(target, lower, person.lips, 0.9)
    fill(target, upper, person.lips, 0.9)
    fill(target, upper, person.skin[1], 0.35)
    fill(target, soften(oval(X - 5, y + 7, 11, 2.2), 1.6), (255, 240, 235), 0.4)
    corners = np.add([(-39, -5), (-16, 4), (0, 0), (16, 4), (39, -5)], (X, y))
    fill(target, soften(line(corners, 3), 0.5), _darker(_darker(person.lips)), 0.8)


def _glasses(target: Array) -> None:
    for sign in (-1, 1):
        x, y = X + sign * 43, Y + 5
        ring = oval(x, y, 35, 33) - oval(x, y, 32.4, 30.4)
        fill(target, oval(x, y, 33, 31), (235, 245, 255), 0.07)
        fill(target, ring, (66, 44, 40), 0.95)
        fill(target, line([(x + sign * 34, y - 8), (x + sign * 48, y - 12), (x + sign * 60, y - 8)], 4), (66, 44, 40))
    fill(target, line([(X - 12, Y + 1), (X, Y - 8), (X + 12, Y + 1)], 4.5), (66, 44, 40))


def _earrings(target: Array) -> None:
    for sign in (-1, 1):
        x, y = X + sign * 99, Y + 48
        fill(target, oval(x, y, 12.5, 15) - oval(x, y, 9.5, 12), (226, 178, 84))
        fill(target, line([(x - 11, y - 5), (x - 10.5, y + 5), (x - 5, y + 12)], 2), (255, 236, 180))


PEOPLE = (
    Person(
        name="june", seed=1, skin=((244, 206, 182), (196, 136, 112)), lips=(206, 104, 100), iris=(92, 128, 96),
        brows=(112, 62, 40), cloth=((58, 112, 118), (22, 56, 66)), dip=246, broad=0.94,
        behind=hair.long_behind, before=hair.long_before, ears=False,
    ),
    Person(
        name="amara", seed=2, skin=((158, 104, 74), (92, 54, 38)), lips=(164, 76, 74), iris=(84, 54, 38),
        brows=(34, 22, 20), cloth=((236, 176, 66), (176, 108, 32)), dip=292, broad=0.96,
        behind=hair.afro_behind, before=hair.afro_before, extra=_earrings,
    ),
    Person(
        name="mateo", seed=3, skin=((226, 178, 142), (164, 108, 80)), lips=(178, 104, 92), iris=(96, 66, 44),
        brows=(46, 30, 24), cloth=((82, 96, 132), (38, 46, 74)), dip=246, broad=1.12,
        before=hair.short_before,
    ),
    Person(
        name="edith", seed=4, skin=((246, 216, 198), (204, 152, 134)), lips=(196, 112, 110), iris=(98, 130, 160),
        brows=(150, 140, 136), cloth=((168, 86, 96), (102, 42, 58)), dip=236, broad=0.94,
        behind=hair.bun_behind, before=hair.bun_before, extra=_glasses, rolled=True,
    ),
)  # fmt: skip
