"""How well low-level cues tell the person from the background in the samples of a set, cue by cue."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shm_data.dataset.recipes import Recipe
from shm_data.pixels.arrays import Array
from shm_data.pixels.giveaway import CUES, Sides, aucs, mean_auc, sides_of

# The number of samples that are named since they give most away.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Giveaway:
    """The AUCs of detectors: by cue, for each kind of sample; None where there are too few people.

    `most` names the composites, or samples, that give most away by all cues together, with their AUCs.
    """

    kinds: tuple[tuple[str, int], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    most: tuple[tuple[str, float], ...]


class GiveawayStatistics:
    """Measures some samples while a check has their files in memory."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._found: dict[str, tuple[str, Sides]] = {}
        self._asked = frozenset(names)
        self._lock = threading.Lock()

    def visit(self, name: str, image: Array | None, alpha: Array | None) -> None:
        """Measure a sample if it is one of those."""
        if name not in self._asked or image is None or alpha is None or image.shape[:2] != alpha.shape:
            return
        sides = sides_of(image, alpha)
        if sides is not None:
            digest = hashlib.blake2b(alpha.tobytes(), digest_size=16).hexdigest()
            with self._lock:
                self._found[name] = digest, sides

    def giveaway(self, recipes: Mapping[str, Recipe]) -> Giveaway:
        """Return the AUCs. Without a recipe a sample's foreground is known by its alpha, and its kind is not."""
        kinds: dict[str, dict[str, list[Sides]]] = defaultdict(lambda: defaultdict(list))
        names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in self._names:
            if name in self._found:
                digest, sides = self._found[name]
                kind, person = _kind(recipes.get(name), digest)
                kinds[kind][person].append(sides)
                names[kind][person].append(name)
        ordered = sorted(kinds)  # composites, original photos, samples
        cues = {**CUES, "all together": slice(None)}
        rows = [(cue, tuple(mean_auc(kinds[kind], part) for kind in ordered)) for cue, part in cues.items()]
        most = _most(kinds[ordered[0]], names[ordered[0]]) if ordered else ()
        counts = tuple((kind, sum(map(len, kinds[kind].values()))) for kind in ordered)
        return Giveaway(counts, tuple(rows), tuple(most))


def _kind(recipe: Recipe | None, digest: str) -> tuple[str, str]:
    if recipe is None:
        return "samples", digest
    return "composites" if recipe.background is not None else "original photos", recipe.foreground


def _most(people: Mapping[str, Sequence[Sides]], names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, float]]:
    """Yield the samples with the highest AUCs by all cues together, the highest first."""
    scored = [
        (name, score)
        for person, scores in (aucs(people) or {}).items()
        for name, score in zip(names[person], scores, strict=True)
    ]
    yield from sorted(scored, key=lambda each: (-each[1], each[0]))[:_NAMED]
