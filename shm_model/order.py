"""Which samples an epoch shows, and in which order: each once, by the shares of their roots, or in pairs."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from shm_data.dataset.origins import Origin
from shm_data.errors import ShmDataError, counted
from shm_model.augment import Generator, generator_for
from shm_model.config import Config
from shm_model.roots import JoinedSource
from shm_model.samples import Source

# Visit, index, and for the second of a pair the index of the first. A visit is an epoch, or, where samples come more
# than once in an epoch, a part of it: no sample has the same visit twice, so that it never looks the same twice.
Key = tuple[int, int] | tuple[int, int, int]

# What stays together in a batch: a sample, or two.
Unit = tuple[Key, ...]


class Deck(Protocol):
    """Samples of which each comes once before any comes again."""

    @property
    def count(self) -> int:
        """The number of its units."""

    def deal(self, generator: Generator, visit: int, count: int) -> list[Unit]:
        """Draw `count` of its units."""


@dataclass(frozen=True, slots=True)
class Singles:
    """Samples one by one."""

    indices: Sequence[int]

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.indices)

    def deal(self, generator: Generator, visit: int, count: int) -> list[Unit]:
        """Draw `count` samples."""
        indices = list(self.indices)
        if count < len(indices):
            generator.shuffle(indices)
        return [((visit, index),) for index in indices[:count]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Samples two by two: one foreground before two backgrounds, or two of the samples that are `alone`.

    `people` has for each foreground the indices of its samples by background.
    """

    people: Sequence[Sequence[Sequence[int]]]
    alone: Sequence[int]

    @property
    def count(self) -> int:
        """The number of units in all."""
        return sum(map(_count_pairs, self.people)) + len(self.alone) // 2

    def deal(self, generator: Generator, visit: int, count: int) -> list[Unit]:
        """Draw `count` units. Whose samples are odd in number, or mostly before one background, has some skipped."""
        pairs = (pair for groups in self.people for pair in _draw_pairs(groups, generator))
        units: list[Unit] = [((visit, one), (visit, other, one)) for one, other in pairs]
        alone = list(self.alone)
        generator.shuffle(alone)
        units += [((visit, one), (visit, other)) for one, other in zip(alone[::2], alone[1::2], strict=False)]
        if count < len(units):
            generator.shuffle(units)
        return units[:count]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of all epochs. An epoch has as many units as all decks together, of each deck its share of them.

    `unit` is the number of samples in a unit, `notes` are lines for the user.
    """

    seed: int
    decks: Sequence[Deck]
    shares: Sequence[float]
    unit: int = 1
    notes: Sequence[str] = ()

    @property
    def count(self) -> int:
        """The number of units in an epoch."""
        return sum(deck.count for deck in self.decks)

    def units(self, epoch: int) -> list[Unit]:
        """Draw the units of an epoch: the same whoever asks."""
        units: list[Unit] = []
        for number, (deck, count) in enumerate(zip(self.decks, self._counts(epoch), strict=True)):
            for repeat in range(math.ceil(count / deck.count)):
                visit = epoch * self._visits + repeat
                rest = min(deck.count, count - repeat * deck.count)
                units += deck.deal(generator_for(self.seed, visit, -3 - number), visit, rest)
        generator_for(self.seed, epoch, -1).shuffle(units)
        return units

    @property
    def _visits(self) -> int:
        """The most that a sample can come in an epoch."""
        if len(self.decks) == 1:
            return 1
        total = sum(self.shares)
        most = ((math.floor(self.count * share / total) + 1) for share in self.shares)
        return max(math.ceil(units / deck.count) for units, deck in zip(most, self.decks, strict=True))

    def _counts(self, epoch: int) -> Iterator[int]:
        """Yield how many units of each deck an epoch has: in the mean its share, never off by one or more.

        Systematic sampling: one offset is drawn, and each deck gets the whole numbers in its part of the line.
        """
        offset = generator_for(self.seed, epoch, -2).random()
        line = list(accumulate(self.shares))
        before = 0
        for end in line[:-1]:
            upto = math.floor(self.count * end / line[-1] + offset)
            yield upto - before
            before = upto
        yield self.count - before


def every_sample(count: int, seed: int) -> Order:
    """Return the order in which each of `count` samples comes once an epoch."""
    return Order(seed, [Singles(range(count))], [1.0])


def order_of(config: Config, source: Source) -> Order:
    """Return the order in which a training sees the samples of its source.

    Raises ShmDataError where the samples cannot be paired, or originals have no share.
    """
    if isinstance(source, JoinedSource):
        parts, starts = source.parts, source.starts
        shares = [root.share for root in config.roots if root.share > 0]
    else:
        parts, starts, shares = [source], [0], [1.0]
    ranges = [range(start, start + len(part.names)) for start, part in zip(starts, parts, strict=True)]
    if config.pairs:
        return _in_pairs(config, source, ranges, shares)
    if config.originals is not None:
        return _with_originals(config, source, ranges, shares)
    return Order(config.seed, [Singles(indices) for indices in ranges], shares)


def _with_originals(config: Config, source: Source, ranges: Sequence[range], shares: Sequence[float]) -> Order:
    """Return the order in which untouched photos have a share of their own in each set that has composites, too."""
    assert config.originals is not None
    origins, decks, weights = source.origins(), list[Singles](), list[float]()
    split = 0
    for indices, share in zip(ranges, shares, strict=True):
        known = [(index, origin) for index in indices if (origin := origins[index]) is not None]
        photos = [index for index, origin in known if origin.background is None]
        if not photos or len(photos) == len(known):
            decks.append(Singles(indices))
            weights.append(share)
            continue
        split += 1
        others = sorted(set(indices) - set(photos))
        for some, weight in ((photos, config.originals), (others, 1 - config.originals)):
            if weight > 0:
                decks.append(Singles(some))
                weights.append(share * weight)
    if not split:
        expected = "a data set whose recipes have both, or no originals"
        raise ShmDataError("originals", found="no originals beside composites", expected=expected)
    return Order(config.seed, decks, weights)


def _in_pairs(config: Config, source: Source, ranges: Sequence[range], shares: Sequence[float]) -> Order:
    origins = source.origins()
    decks = [_paired(indices, origins) for indices in ranges]
    if not any(deck.people for deck in decks):
        expected = "recipes that show a foreground before two"
        raise ShmDataError("pairs", found="no foreground with two backgrounds", expected=expected)
    for deck, root in zip(decks, (root for root in config.roots if root.share > 0), strict=True):
        if not deck.count:
            raise ShmDataError(f"pairs: {root.root}", found="one sample", expected="at least two")
    pairs, alone = sum(len(deck.people) for deck in decks), sum(len(deck.alone) for deck in decks)
    note = f"pairs: {counted(pairs, 'foreground')} before two backgrounds in one batch"
    rest = f"; {counted(alone, 'sample')} without a second background used alone" if alone else ""
    return Order(config.seed, decks, shares, unit=2, notes=[f"{note}{rest}."])


def _paired(indices: Sequence[int], origins: Sequence[Origin | None]) -> Pairs:
    people: dict[str, dict[str | None, list[int]]] = defaultdict(lambda: defaultdict(list))
    alone = []
    for index in indices:
        if (origin := origins[index]) is None:
            alone.append(index)
        else:
            people[origin.foreground][origin.background].append(index)
    paired = [list(groups.values()) for groups in people.values() if len(groups) > 1]
    alone += [index for groups in people.values() if len(groups) == 1 for some in groups.values() for index in some]
    return Pairs(paired, alone)


def _count_pairs(groups: Sequence[Sequence[int]]) -> int:
    """Return how many pairs of samples of two groups there are, each sample in one pair at most."""
    sizes = [len(group) for group in groups]
    return min(sum(sizes) // 2, sum(sizes) - max(sizes))


def _draw_pairs(groups: Sequence[Sequence[int]], generator: Generator) -> Iterator[tuple[int, int]]:
    """Draw as many pairs as there are. In a row of groups, partners are farther apart than any group is long."""
    drawn = [list(group) for group in groups]
    generator.shuffle(drawn)
    for group in drawn:
        generator.shuffle(group)
    row = [index for group in drawn for index in group]
    count = _count_pairs(groups)
    return zip(row[:count], row[len(row) - count :], strict=True)
