"""The geometry of histograms; the templates draw them as SVG, whose colours come from the style sheet."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

# No histogram of whole numbers has more bars.
_BARS = 24


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of `heights` and equal widths from `low` to `high`; `label` describes the picture.

    `across` formats the ends of bars, `up` their heights; `ticks` are the numbers below the bars. The scale of
    heights is at least `least`.
    """

    # The size of the picture, and the part of it that the bars fill.
    WIDTH: ClassVar[int] = 340
    HEIGHT: ClassVar[int] = 178
    LEFT: ClassVar[int] = 42
    TOP: ClassVar[int] = 10
    ACROSS: ClassVar[int] = 290
    DOWN: ClassVar[int] = 138

    label: str
    low: float
    high: float
    heights: NDArray[np.float64]
    across: Callable[[float], str]
    up: Callable[[float], str]
    ticks: Sequence[float] = ()
    least: float = 0.0

    def bars(self) -> Iterator[tuple[float, float, float, float, str]]:
        """Yield x, y, width, height and a description of each bar that is not empty."""
        width = self.ACROSS / len(self.heights)
        for index in np.flatnonzero(self.heights).tolist():
            tall = max(1.0, self.DOWN * float(self.heights[index]) / self._top())
            low, high = self.across(self._edge(index)), self.across(self._edge(index + 1))
            tip = f"{low if low == high else f'{low} to {high}'}: {self.up(float(self.heights[index]))}"
            x, y = self.LEFT + index * width + 1, self.TOP + self.DOWN - tall
            yield round(x, 1), round(y, 1), round(max(1.0, width - 2), 1), round(tall, 1), tip

    def grid(self) -> Iterator[tuple[float, str]]:
        """Yield the y and the label of each horizontal line."""
        top = self._top()
        for value in (0.0, top / 2, top):
            yield round(self.TOP + self.DOWN * (1 - value / top), 1), self.up(value)

    def labels(self) -> Iterator[tuple[float, str, str]]:
        """Yield the x, the anchor and the text of each number below the bars."""
        for value in self.ticks or [self._edge(quarter * len(self.heights) / 4) for quarter in range(5)]:
            share = (value - self.low) / (self.high - self.low)
            yield round(self.LEFT + share * self.ACROSS, 1), "end" if share > 0.99 else "middle", self.across(value)

    def _top(self) -> float:
        return round_up(max(float(self.heights.max(initial=0)), self.least) or 1.0)

    def _edge(self, index: float) -> float:
        return float(self.low + (self.high - self.low) * index / len(self.heights))


def of_whole_numbers(label: str, values: NDArray[np.int64], up: Callable[[float], str]) -> Histogram:
    """Return the histogram of whole numbers from 1, a bar for one or for several of them."""
    highest = int(values.max())
    step = -(-highest // _BARS)
    heights = np.bincount((values - 1) // step).astype(np.float64)
    ticks = range(1, highest + 1, -(-highest // 6))
    high = len(heights) * step + 0.5
    return Histogram(label, 0.5, high, heights, lambda value: f"{value:,.0f}", up, ticks, least=2)


def round_up(value: float) -> float:
    """Return the next number of the form 1, 2, 4, 6, 8 or 10 times a power of ten: its half is short to write."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * (1 + 1e-9))
