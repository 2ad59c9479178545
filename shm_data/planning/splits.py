"""Assigns foregrounds and backgrounds to train or val, before anything is composited."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

from shm_data.errors import ShmDataError, counted

# The number of names that an error names.
_NAMED = 5


def assign_splits(
    kind: str, keys: Iterable[str], ratio: float, seed: int, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return "train", with probability `ratio`, or "val" for each key of a kind of thing.

    The split of a key depends on nothing but kind, key and seed, so keys that are added move none. Splits that are
    already `known` are kept. Two exceptions, unless `ratio` is 0 or 1: a single key goes to train; and of several
    keys neither split stays empty, so the key nearest to the threshold changes sides, if one is free to.
    """
    positions = {key: position(kind, key, seed) for key in sorted(set(keys))}
    splits = {key: "train" if number < ratio else "val" for key, number in positions.items()}
    kept = {key: split for key, split in (known or {}).items() if key in positions}
    splits |= kept
    free = [key for key in positions if key not in kept]
    present = set(splits.values())
    if not 0 < ratio < 1 or len(present) != 1 or not free:
        return splits
    if len(positions) == 1:
        return dict.fromkeys(positions, "train")
    nearest = max if present == {"train"} else min
    splits[nearest(free, key=positions.__getitem__)] = "val" if present == {"train"} else "train"
    return splits


def assign_number(
    kind: str, keys: Iterable[str], number: int, seed: int, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return "val" for exactly `number` keys, those that `assign_splits` would send there first, "train" for others.

    Splits that are already `known` are kept and count. Raises ShmDataError where that leaves too few or too many.
    """
    every = sorted(set(keys))
    kept = {key: split for key, split in (known or {}).items() if key in every}
    missing = number - sum(split == "val" for split in kept.values())
    free = sorted(set(every) - kept.keys(), key=lambda key: position(kind, key, seed), reverse=True)
    if not 0 <= missing <= len(free):
        least, most = number - missing, number - missing + len(free)
        raise ShmDataError("--numval", found=number, expected=f"{least} to {most}, as many as can go to val")
    return dict.fromkeys(every, "train") | dict.fromkeys(free[:missing], "val") | kept


def names_in_val(identities: Mapping[str, Collection[str]], listed: Collection[str]) -> set[str]:
    """Return the foregrounds that --val lists; `identities` has what each may be called.

    Raises ShmDataError that names what fits none.
    """
    unknown = sorted(set(listed).difference(*identities.values()))
    if unknown:
        some = ", ".join(unknown[:_NAMED]) + ", ..." * (len(unknown) > _NAMED)
        raise ShmDataError(
            "--val",
            found=f"{counted(len(unknown), 'name')} of no foreground and no group: {some}",
            expected=f"names such as {min(identities)}",
        )
    chosen = set(listed)
    return {name for name, known_as in identities.items() if not chosen.isdisjoint(known_as)}


def position(kind: str, key: str, seed: int) -> float:
    """Return a number in [0, 1), uniform over keys and always the same for one key."""
    digest = hashlib.blake2b(f"{seed}/{kind}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def splits_of_groups(groups: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the split of each group with a member whose split is known; `groups` has the group of each name.

    Raises ShmDataError for a group with members in both splits.
    """
    first: dict[str, str] = {}
    for name, split in known.items():
        other = first.setdefault(groups[name], name)
        if known[other] != split:
            raise ShmDataError(
                f"{other} and {name} are in one group ({groups[name]})",
                found=f"{other} in {known[other]} and {name} in {split} by published sets, the record or --val",
                expected="a --group that fits only names of other photos",
            )
    return {group: known[name] for group, name in first.items()}


def merge_groups(groups: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the group of each name where the two names of a pair share one; of merged groups the first by name."""
    merged = dict(groups)
    for one, other in pairs:
        first, second = sorted((merged[one], merged[other]))
        merged = {name: first if group == second else group for name, group in merged.items()}
    return merged


def count_matches(names: Iterable[str], pattern: str) -> int:
    """Return how many names the pattern of --group matches."""
    return sum(re.search(pattern, name) is not None for name in names)


def group_of(name: str, pattern: str | None) -> str:
    """Return what the names of one person's photos share: the first group of `pattern`, or its whole match.

    Without a pattern, or where it does not match, each name is a group of its own.
    """
    found = re.search(pattern, name) if pattern else None
    if found is None:
        return name
    return next((part for part in found.groups() if part), found.group()) or name
