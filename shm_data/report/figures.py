"""The section of histograms."""

from collections import Counter

import numpy as np

from shm_data.pixels.compositing import Size
from shm_data.report.charts import Histogram, histogram, of_whole_numbers, share_bar
from shm_data.report.facts import Facts
from shm_data.report.markup import number, section, size
from shm_data.report.measures import Floats, Measures

_BARS = 24

# 32 bars of 8 levels.
_LEVEL_BARS = 32


def statistics(facts: Facts, measured: Measures) -> str:
    """What the alphas, trimaps, sizes and backgrounds of a set are like."""
    total = len(facts.splits)
    lead = f"Alphas and trimaps were measured in {number(len(measured.sizes))} of {number(total)} samples"
    lead += "." if measured.asked == total else ", drawn by the seed of the set."
    if len(measured.sizes) < measured.asked:
        lead += f" {number(measured.asked - len(measured.sizes))} more could not be read."
    figures = [_alpha(measured), _unknown(measured), _area(measured)] if measured.sizes else []
    figures += [_sizes(facts, measured), _backgrounds(facts)]
    return section("statistics", "Statistics", lead, f'<div class="charts">{"".join(figures)}</div>')


def _figure(title: str, picture: str, words: str) -> str:
    return f'<figure class="chart"><h3>{title}</h3>{picture}<figcaption>{words}</figcaption></figure>'


def _alpha(measured: Measures) -> str:
    """Most of a matte is 0 or 255, so these are told apart from what lies between."""
    levels = measured.levels
    soft = levels.copy()
    soft[[0, 255]] = 0
    shares = [("bg", "0", levels[0]), ("soft", "1 to 254", soft.sum()), ("fg", "255", levels[255])]
    bars = soft.reshape(_LEVEL_BARS, -1).sum(axis=1) / max(soft.sum(), 1e-12)
    picture = histogram(Histogram(0, 256, bars, lambda level: f"{min(level, 255):.0f}", _percent), "Soft levels")
    words = "All pixels by alpha, and the soft ones among them by level."
    bar = share_bar([(kind, key, float(share)) for kind, key, share in shares])
    return (
        f'<figure class="chart wide"><div><h3>Alpha</h3>{bar}<figcaption>{words}</figcaption></div>{picture}</figure>'
    )


def _unknown(measured: Measures) -> str:
    return _shares("Unknown in the trimap", measured.unknowns, "of the picture")


def _area(measured: Measures) -> str:
    return _shares("Foreground area", measured.areas, "of the picture, as the mean of alpha")


def _shares(title: str, shares: Floats, of_what: str) -> str:
    """A histogram of samples over a share, up to the first of some round ones that holds all."""
    highest = next(top for top in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if shares.max() <= top or top == 1)
    heights, _ = np.histogram(shares, bins=_BARS, range=(0, highest))
    bars = Histogram(0, highest, heights.astype(float), _percent, _count, room=2)
    picture = histogram(bars, f"Samples by {title.lower()}")
    low, middle, high = (_percent(float(np.quantile(shares, part))) for part in (0, 0.5, 1))
    return _figure(title, picture, f"{low} to {high} {of_what}; the median is {middle}.")


def _sizes(facts: Facts, measured: Measures) -> str:
    """The long edges: of all samples by their recipes, or of those that were measured."""
    sizes = Counter(measured.sizes) if facts.tally is None else facts.tally.sizes
    if not sizes:
        return _figure("Long edge in px", "", "Not known: there is no sample.")
    edges = np.array([max(each) for each in sizes])
    top = float(10 ** np.ceil(np.log10(edges.max())))
    top = next(top * part for part in (0.125, 0.25, 0.5, 1.0) if edges.max() <= top * part)
    heights, _ = np.histogram(edges, bins=_BARS, range=(0, top), weights=list(sizes.values()))
    bars = Histogram(0, top, heights.astype(float), _count, _count, room=2)
    picture = histogram(bars, "Samples by long edge")
    return _figure("Long edge in px", picture, _words_on(sizes) + f", in {_of(sum(sizes.values()), facts)}.")


def _words_on(sizes: Counter[Size]) -> str:
    least, most = (pick(sizes, key=lambda each: (each[0] * each[1], each)) for pick in (min, max))
    if len(sizes) == 1:
        return f"All are {size(*least)}"
    often = min(sizes, key=lambda each: (-sizes[each], each))
    return f"{number(len(sizes))} sizes from {size(*least)} to {size(*most)}, most often {size(*often)}"


def _of(count: int, facts: Facts) -> str:
    return "all samples" if count == len(facts.splits) else f"{number(count)} samples"


def _backgrounds(facts: Facts) -> str:
    title = "Uses of a background"
    if facts.tally is None:
        return _figure(title, "", "Not known: the set has no recipes.jsonl that could be read.")
    uses = np.array(list(facts.tally.uses().values()), np.int64)
    if not len(uses):
        return _figure(title, "", "None: all samples are photos themselves.")
    picture = histogram(of_whole_numbers(uses, _count), "Backgrounds by the number of their uses")
    words = f"{number(len(uses))} backgrounds, each used {_range(int(uses.min()), int(uses.max()))}"
    return _figure(title, picture, f"{words}, {uses.mean():.1f} on average.")


def _range(low: int, high: int) -> str:
    times = f"{number(high)} time{'s' * (high != 1)}"
    return times if low == high else f"{number(low)} to {times}"


def _percent(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value * 100:.2g}%"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
