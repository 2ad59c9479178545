"""Random numbers that depend on nothing but a seed and a key. Standard library only."""

import hashlib
import itertools
import json
import struct
from collections.abc import Iterator


def draws(seed: int, *key: str | int) -> Iterator[float]:
    """Numbers in [0, 1) for one thing, named by its key: the same on every machine, in every version."""
    named = hashlib.blake2b(json.dumps([seed, *key]).encode())
    for block in itertools.count():
        numbered = named.copy()
        numbered.update(block.to_bytes(8))
        for number in struct.unpack(">8Q", numbered.digest()):
            yield (number >> 11) / 2**53
