"""Histograms as SVG: no colour of their own, so that they go with light and dark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shm_data.report.markup import text

# The picture, and the part of it that bars lie in: left, top, width, height.
_WIDTH, _HEIGHT = 340, 178
_LEFT, _TOP, _ACROSS, _DOWN = 42, 10, 290, 138

# No histogram of whole numbers has more.
_BARS = 24


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of `heights`, of equal widths, from `low` to `high`.

    How the ends of bars are told is up to `across`, and their heights to `up`; `ticks` are told below them. The scale
    of heights reaches `room` at least.
    """

    low: float
    high: float
    heights: NDArray[np.float64]
    across: Callable[[float], str]
    up: Callable[[float], str]
    ticks: Sequence[float] = ()
    room: float = 0.0

    def edge(self, index: float) -> float:
        """Where a bar begins."""
        return self.low + (self.high - self.low) * index / len(self.heights)

    def tip(self, index: int) -> str:
        """What a bar stands for."""
        low, high = self.across(self.edge(index)), self.across(self.edge(index + 1))
        return low if low == high else f"{low} to {high}"


def histogram(bars: Histogram, label: str) -> str:
    """An SVG picture of a histogram; `label` tells those who cannot see it what it shows."""
    top = _round_up(max(float(bars.heights.max(initial=0)), bars.room) or 1.0)
    ticks = bars.ticks or [bars.edge(quarter * len(bars.heights) / 4) for quarter in range(5)]
    parts = [_grid(value, top, bars.up(value)) for value in (0.0, top / 2, top)]
    parts += [_bar(bars, index, top) for index in range(len(bars.heights))]
    parts += [_tick(bars, value) for value in ticks]
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">{"".join(parts)}</svg>'


def share_bar(parts: Sequence[tuple[str, str, float]]) -> str:
    """One bar of parts (class, label, share) that sum to 1, with the key to it."""
    bar = "".join(f'<i class="{kind}" style="flex-grow:{share:.6f}"></i>' for kind, _, share in parts if share)
    key = "".join(f'<li><i class="{kind}"></i>{label} <b>{share:.1%}</b></li>' for kind, label, share in parts)
    return f'<div class="share" aria-hidden="true">{bar}</div><ul class="key">{key}</ul>'


def of_whole_numbers(values: NDArray[np.int64], up: Callable[[float], str]) -> Histogram:
    """The histogram of whole numbers from 1: a bar for each, or for several each, with ticks below their middles."""
    highest = int(values.max())
    step = -(-highest // _BARS)
    heights = np.bincount((values - 1) // step).astype(np.float64)
    ticks = range(1, highest + 1, -(-highest // 6))
    high = len(heights) * step + 0.5
    return Histogram(0.5, high, heights, lambda value: f"{value:,.0f}", up, ticks, room=2)


def _bar(bars: Histogram, index: int, top: float) -> str:
    height = float(bars.heights[index])
    if height == 0:
        return ""
    wide = _ACROSS / len(bars.heights)
    tall = max(1.0, _DOWN * height / top)
    tip = f"<title>{text(bars.tip(index))}: {text(bars.up(height))}</title>"
    place = f'x="{_LEFT + index * wide + 1:.1f}" y="{_TOP + _DOWN - tall:.1f}"'
    return f'<rect {place} width="{max(1.0, wide - 2):.1f}" height="{tall:.1f}" rx="1.5">{tip}</rect>'


def _grid(value: float, top: float, label: str) -> str:
    y = _TOP + _DOWN * (1 - value / top)
    line = f'<line x1="{_LEFT}" x2="{_LEFT + _ACROSS}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text(label)}</text>'


def _tick(bars: Histogram, value: float) -> str:
    place = (value - bars.low) / (bars.high - bars.low)
    x = _LEFT + place * _ACROSS
    anchor = "end" if place > 0.99 else "middle"
    return f'<text x="{x:.1f}" y="{_TOP + _DOWN + 19}" text-anchor="{anchor}">{text(bars.across(value))}</text>'


def _round_up(value: float) -> float:
    """The next number whose half is short to write: 1, 2, 4, 6, 8 or 10 of a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * (1 + 1e-9))
