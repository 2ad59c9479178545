"""Foregrounds and backgrounds -> train or val, before anything is composited."""

import hashlib
import re
from collections.abc import Iterable, Mapping

from shm_data.errors import ShmDataError


def split(
    kind: str, keys: Iterable[str], ratio: float, seed: int, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Puts each key of a kind of thing into "train", with probability `ratio`, or "val".

    Where a key goes is decided by itself and the seed alone, so keys that come later move none. Sides already
    `known` are kept. Two exceptions, unless `ratio` is 0 or 1: a lone key goes to train; and of more keys neither
    split stays empty, so the key nearest to the bar crosses it, if there is one whose side is not yet known.
    """
    places = {key: place(kind, key, seed) for key in sorted(set(keys))}
    sides = {key: "train" if where < ratio else "val" for key, where in places.items()}
    kept = {key: side for key, side in (known or {}).items() if key in places}
    sides |= kept
    free = [key for key in places if key not in kept]
    present = set(sides.values())
    if not 0 < ratio < 1 or len(present) != 1 or not free:
        return sides
    if len(places) == 1:
        return dict.fromkeys(places, "train")
    farthest = max if present == {"train"} else min
    sides[farthest(free, key=places.__getitem__)] = "val" if present == {"train"} else "train"
    return sides


def place(kind: str, key: str, seed: int) -> float:
    """A number in [0, 1), uniform over keys and fixed for each."""
    digest = hashlib.blake2b(f"{seed}/{kind}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def of_groups(groups: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The side of each group of which one member's is known; `groups` has the group of each name.

    Raises ShmDataError for a group with members on both sides.
    """
    first: dict[str, str] = {}
    for name, side in known.items():
        other = first.setdefault(groups[name], name)
        if known[other] != side:
            raise ShmDataError(
                f"--group puts {other} and {name} together ({groups[name]})",
                found=f"{other} in {known[other]} and {name} in {side}, where their set has them",
                expected="a pattern that fits only names of other photos",
            )
    return {group: known[name] for group, name in first.items()}


def group_of(name: str, pattern: str | None) -> str:
    """What photos of one person share: the first group `pattern` finds in the name, or all that it finds.

    Without a pattern, or where it finds nothing, each name is a group of its own.
    """
    found = re.search(pattern, name) if pattern else None
    if found is None:
        return name
    return next((part for part in found.groups() if part), found.group()) or name
