"""The charts of the section on statistics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shm_data.pixels.compositing import Size
from shm_data.planning.resolution import VISIBLE_ENLARGEMENT
from shm_data.report.charts import Histogram, of_whole_numbers
from shm_data.report.facts import Facts
from shm_data.report.measures import Floats, Measures

_BARS = 24

# 32 bars of 8 levels.
_LEVEL_BARS = 32


@dataclass(frozen=True, slots=True)
class Chart:
    """A histogram, its title and caption; `shares` are the parts (class, label, share) of one more bar above it."""

    title: str
    caption: str
    bars: Histogram | None = None
    shares: tuple[tuple[str, str, float], ...] = ()


def charts_of(facts: Facts, measured: Measures) -> list[Chart]:
    """Return charts of the alphas, trimaps, sizes and backgrounds of a set."""
    charts = [_sizes(facts, measured), _backgrounds(facts), *_enlargements(facts)]
    if not measured.sizes:
        return charts
    unknown = _shares("Unknown region of the trimap", measured.unknowns, "of the picture")
    area = _shares("Foreground area", measured.areas, "of the picture, as the mean of alpha")
    return [_alpha(measured), unknown, area, *charts]


def _alpha(measured: Measures) -> Chart:
    """Most pixels of a matte are 0 or 255, so the levels between have a histogram of their own."""
    levels = measured.levels
    soft = levels.copy()
    soft[[0, 255]] = 0
    shares = (("bg", "0", levels[0]), ("soft", "1 to 254", soft.sum()), ("fg", "255", levels[255]))
    heights = soft.reshape(_LEVEL_BARS, -1).sum(axis=1) / max(soft.sum(), 1e-12)
    bars = Histogram("Soft levels of alpha", 0, 256, heights, lambda level: f"{min(level, 255):.0f}", _percent)
    return Chart("Alpha", "All pixels by alpha, and the soft pixels among them by level.", bars, shares)


def _shares(title: str, shares: Floats, of_what: str) -> Chart:
    """Return a histogram of samples by a share, up to the first of some round numbers that holds all."""
    highest = next(top for top in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if shares.max() <= top or top == 1)
    heights, _ = np.histogram(shares, bins=_BARS, range=(0, highest))
    bars = Histogram(f"Samples by {title.lower()}", 0, highest, heights.astype(float), _percent, _count, least=2)
    low, middle, high = (_percent(float(np.quantile(shares, part))) for part in (0, 0.5, 1))
    return Chart(title, f"{low} to {high} {of_what}; the median is {middle}.", bars)


def _sizes(facts: Facts, measured: Measures) -> Chart:
    """Return the long edges of all samples, by their recipes, or of those that were measured."""
    title, sizes = "Long edge in px", Counter(measured.sizes) if facts.tally is None else facts.tally.sizes
    if not sizes:
        return Chart(title, "Not known: there are no samples.")
    edges = np.array([max(each) for each in sizes])
    top = float(10 ** np.ceil(np.log10(edges.max())))
    top = next(top * part for part in (0.125, 0.25, 0.5, 1.0) if edges.max() <= top * part)
    heights, _ = np.histogram(edges, bins=_BARS, range=(0, top), weights=list(sizes.values()))
    bars = Histogram("Samples by long edge", 0, top, heights.astype(float), _count, _count, least=2)
    count = sum(sizes.values())
    samples = "all samples" if count == len(facts.splits) else f"{count:,} samples"
    return Chart(title, f"{_range_of(sizes)}, in {samples}.", bars)


def _range_of(sizes: Counter[Size]) -> str:
    least, most = (pick(sizes, key=lambda each: (each[0] * each[1], each)) for pick in (min, max))
    if len(sizes) == 1:
        return f"All are {_size(least)}"
    common = min(sizes, key=lambda each: (-sizes[each], each))
    return f"{len(sizes):,} sizes from {_size(least)} to {_size(most)}, most often {_size(common)}"


def _size(size: Size) -> str:
    return f"{size[0]} \N{MULTIPLICATION SIGN} {size[1]}"


def _backgrounds(facts: Facts) -> Chart:
    title = "Uses of a background"
    if facts.tally is None:
        return Chart(title, "Not known: the set has no readable recipes.jsonl.")
    uses = np.array(list(facts.tally.uses.values()), np.int64)
    if not len(uses):
        return Chart(title, "None: all samples are original photos.")
    bars = of_whole_numbers("Backgrounds by the number of their uses", uses, _count)
    least, most = int(uses.min()), int(uses.max())
    times = f"{most:,} time{'s' * (most != 1)}"
    times = times if least == most else f"{least:,} to {times}"
    return Chart(title, f"{len(uses):,} backgrounds, each used {times}, {uses.mean():.1f} on average.", bars)


def _enlargements(facts: Facts) -> Iterator[Chart]:
    """Yield how many times the backgrounds are enlarged, where there are recipes of composites."""
    if facts.tally is None or not facts.tally.enlargements:
        return
    factors = np.array(facts.tally.enlargements, np.float64)
    high = float(max(1.0, 2 ** np.ceil(np.log2(factors.max()))))
    heights, _ = np.histogram(factors, bins=_BARS, range=(0, high))
    bars = Histogram("Composites by enlargement", 0, high, heights.astype(float), _factor, _count, least=2)
    sharp = f"{_percent(float(np.mean(factors <= VISIBLE_ENLARGEMENT)))} at most {VISIBLE_ENLARGEMENT:g} times"
    caption = (
        f"Backgrounds are enlarged {np.median(factors):.1f} times in the median, {sharp}; below 1 they are reduced."
    )
    yield Chart("Enlargement of the backgrounds", caption, bars)


def _factor(value: float) -> str:
    return f"{value:.1f}"


def _percent(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value * 100:.2g}%"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
