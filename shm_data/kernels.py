"""Compiled loops. Import this where one is called: numba takes a fifth of a second to load, and compiles once."""

import numpy as np
from numba import njit, types, uint8, uint16, uint32, uint64, void
from numpy.typing import NDArray

from shm_data.arrays import Array

_READ = types.Array(uint8, 1, "C", readonly=True)
_READ_ROWS = types.Array(uint8, 2, "C", readonly=True)


@njit(void(_READ, _READ, _READ, uint8[::1]), cache=True, nogil=True)
def blend(foreground: Array, alpha: Array, background: Array, image: Array) -> None:
    """image = rint((alpha F + (255 - alpha) B) / 255), exact, value by value of flat arrays of equal length.

    For s = a f + (255 - a) b + 128 the quotient of s - 128 by 255, rounded to nearest, is (s + (s >> 8)) >> 8:
    exact for all 256^3 triples, and s fits 16 bits. `image` must not overlap the others, or the loop is no longer
    vectorised and takes seven times as long.
    """
    for place in range(image.size):
        a = np.uint16(alpha[place])
        f, b = np.uint16(foreground[place]), np.uint16(background[place])
        s = np.uint16(np.uint16(a * f) + np.uint16(np.uint16(np.uint16(255) - a) * b) + np.uint16(128))
        image[place] = np.uint8(np.uint16(s + np.uint16(s >> np.uint16(8))) >> np.uint16(8))


@njit(void(_READ, _READ, uint8[::1], types.intp), cache=True, nogil=True)
def _less_average(row: Array, above: Array, filtered: Array, step: int) -> None:
    """A row less the mean, rounded down, of what is `step` before and what is above; outside the picture is 0.

    The mean of two bytes, without a ninth bit, is (a & b) + ((a ^ b) >> 1).
    """
    for place in range(step):
        filtered[place] = row[place] - (above[place] >> np.uint8(1))
    before, here, over, out = row[: row.size - step], row[step:], above[step:], filtered[step:]
    for place in range(out.size):
        left, up = before[place], over[place]
        out[place] = here[place] - ((left & up) + ((left ^ up) >> np.uint8(1)))


@njit(void(_READ_ROWS, uint8[:, ::1], types.intp), cache=True, nogil=True)
def filter_rows(rows: Array, filtered: Array, step: int) -> None:
    """Rows (H, N) as PNG's filter 3, Average, leaves them in (H, 1 + N), its number first; `step` bytes a pixel."""
    for y in range(rows.shape[0]):
        filtered[y, 0] = 3
        above = rows[y - 1] if y else np.zeros_like(rows[0])
        _less_average(rows[y], above, filtered[y, 1:], step)


@njit(uint32[::1](_READ_ROWS), cache=True, nogil=True)
def histogram(rows: Array) -> NDArray[np.uint32]:
    """How often each byte occurs in the rows. Four tables take turns, since the same byte often follows itself."""
    tables = np.zeros((4, 256), np.uint32)
    for y in range(rows.shape[0]):
        row = rows[y]
        for place in range(0, row.size - 3, 4):
            for turn in range(4):
                tables[turn, row[place + turn]] += np.uint32(1)
        for place in range(row.size // 4 * 4, row.size):
            tables[0, row[place]] += np.uint32(1)
    counts: NDArray[np.uint32] = tables.sum(axis=0).astype(np.uint32)
    return counts


@njit(uint8[::1](uint64[::1]), cache=True, nogil=True)
def _depths(weights: NDArray[np.uint64]) -> Array:
    """How deep Huffman's tree has each leaf, of which the positive weights are given in ascending order.

    The two lightest nodes are joined again and again. Joints arise in ascending order, too, so that the lightest node
    is always the first unjoined leaf or the first unjoined joint (van Leeuwen 1976).
    """
    leaves = weights.size
    nodes = np.empty(2 * leaves - 1, np.uint64)
    nodes[:leaves] = weights
    above = np.zeros(2 * leaves - 1, np.int64)
    leaf, joint = 0, leaves
    for new in range(leaves, 2 * leaves - 1):
        nodes[new] = 0
        for _ in range(2):
            if leaf < leaves and (joint == new or nodes[leaf] <= nodes[joint]):
                lightest, leaf = leaf, leaf + 1
            else:
                lightest, joint = joint, joint + 1
            nodes[new] += nodes[lightest]
            above[lightest] = new
    depths = np.zeros(2 * leaves - 1, np.uint8)
    for node in range(2 * leaves - 3, -1, -1):
        depths[node] = depths[above[node]] + np.uint8(1)
    return depths[:leaves]


def code_lengths(counts: NDArray[np.uint64], longest: int) -> Array:
    """The lengths in bits, none over `longest`, of a prefix code for symbols that occur so often, each at least once.

    It is Huffman's, which is the shortest, unless that is too deep: then rare symbols are made less rare.
    """
    while True:
        order = np.argsort(counts, kind="stable")
        lengths = np.empty(counts.size, np.uint8)
        lengths[order] = _depths(counts[order])
        if lengths.max() <= longest:
            return lengths
        counts = counts // 2 + 1


@njit(uint64[::1](uint32[::1], uint8[::1]), cache=True, nogil=True)
def _of_pairs(codes: NDArray[np.uint32], lengths: Array) -> NDArray[np.uint64]:
    """For each two bytes, the first the lower, their codes behind each other, and above bit 32 how long they are."""
    table = np.empty(65536, np.uint64)
    for second in range(256):
        for first in range(256):
            both = np.uint64(codes[first]) | np.uint64(codes[second]) << np.uint64(lengths[first])
            length = np.uint64(lengths[first]) + np.uint64(lengths[second])
            table[second << 8 | first] = both | length << np.uint64(32)
    return table


@njit(uint32[::1](_READ), cache=True, nogil=True)
def canonical_codes(lengths: Array) -> NDArray[np.uint32]:
    """The code of these lengths that deflate means (RFC 1951, 3.2.2), its bits in the order they are written."""
    codes = np.zeros(lengths.size, np.uint32)
    code = np.uint32(0)
    for length in range(1, lengths.max() + 1):
        for symbol in range(lengths.size):
            if lengths[symbol] == length:
                for bit in range(length):
                    codes[symbol] |= (code >> np.uint32(bit) & np.uint32(1)) << np.uint32(length - 1 - bit)
                code += np.uint32(1)
        code <<= np.uint32(1)
    return codes


_State = tuple[np.uint64, np.uint64, np.uint64]
_STATE = types.UniTuple(uint64, 3)  # type: ignore[no-untyped-call]


@njit(_STATE(uint16[::1], uint64[::1], uint32[::1], uint64, uint64), cache=True, nogil=True)
def _pack_pairs(
    pairs: NDArray[np.uint16],
    table: NDArray[np.uint64],
    words: NDArray[np.uint32],
    held: np.uint64,
    count: np.uint64,
) -> _State:
    """Writes the codes of pairs of bytes behind the `count` bits `held`; gives the words written, and bits held.

    Each step writes 32 bits and keeps them as written only if there were so many: no branch depends on the data.
    """
    place = np.uint64(0)
    low, five, thirty_two = np.uint64(0xFFFFFFFF), np.uint64(5), np.uint64(32)
    for pair in pairs:
        entry = table[pair]
        held |= (entry & low) << count
        count += entry >> thirty_two
        words[place] = np.uint32(held & low)
        full = count >> five
        place += full
        held >>= full << five
        count -= full << five
    return place, held, count


def pack(
    data: Array, codes: NDArray[np.uint32], lengths: Array, held: int, count: int
) -> tuple[NDArray[np.uint32], int, int]:
    """The codes of `data`, an even number of bytes, behind the `count` bits `held`, the lowest bit first.

    Gives whole words of 32 bits, and the bits that are left with their number, less than 32. Codes have 15 bits at
    most.
    """
    words = np.empty(data.size * 15 // 32 + 2, np.uint32)
    table = _of_pairs(codes[:256], lengths[:256])
    written, left, number = _pack_pairs(data.view("<u2"), table, words, np.uint64(held), np.uint64(count))
    return words[: int(written)], int(left), int(number)


@njit(uint32(_READ), cache=True, nogil=True)
def adler32(data: Array) -> np.uint32:
    """Adler-32 (RFC 1950, 8.2): the sum of all bytes from 1 on, and the sum of these sums, modulo 65521.

    Over a chunk of n bytes the second grows by n times the first and by the bytes times how many follow, their own
    place included. Chunks are so short that no sum passes 32 bits.
    """
    first, second, prime = np.uint32(1), np.uint32(0), np.uint32(65521)
    for start in range(0, data.size, 4096):
        chunk = data[start : start + 4096]
        plain = weighted = np.uint32(0)
        for place in range(chunk.size):
            plain += np.uint32(chunk[place])
            weighted += np.uint32(chunk[place]) * np.uint32(chunk.size - place)
        second = np.uint32(
            (np.uint64(second) + np.uint64(first) * np.uint64(chunk.size) + np.uint64(weighted)) % prime
        )
        first = np.uint32((first + plain) % prime)
    return second << np.uint32(16) | first
