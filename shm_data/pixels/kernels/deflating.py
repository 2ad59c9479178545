"""The loops of PNG over rows of bytes: filter, count, find a code, pack, sum up; and undo filters."""

import numpy as np
from numba import njit, types, uint8, uint32, uint64
from numpy.typing import NDArray

from shm_data.pixels.arrays import Array
from shm_data.pixels.kernels.jit import compiled

_READ = types.Array(uint8, 1, "C", readonly=True)
_READ_ROWS = types.Array(uint8, 2, "C", readonly=True)

# A code: its bits, the first one lowest, and their number above bit 32.
Codes = NDArray[np.uint64]
_BITS, _NUMBER = np.uint64(2**32 - 1), np.uint64(32)

# The longest code: four of them, and up to seven bits of the byte before, fit 64 bits.
LONGEST = 14

# The number of written bytes, the bits of the next one, and their number.
_State = tuple[np.uint64, np.uint64, np.uint64]

_SIZE_AND_SUM = types.Tuple((uint64, uint32))  # type: ignore[no-untyped-call]

_AVERAGE = 3  # the number of the filter

# Bytes that are summed before the remainder is taken, so that no sum exceeds 32 bits.
_CHUNK = 4096


@njit(nogil=True)
def _filter(rows: Array, y: int, filtered: Array, step: int) -> None:
    """Write row `y` by PNG's filter 3, Average, behind the filter's number; a pixel has `step` bytes.

    That is the row minus the mean, rounded down, of the bytes `step` before and above, 0 outside the picture.
    The mean of two bytes, without a ninth bit, is (a & b) + ((a ^ b) >> 1).
    """
    row, out = rows[y], filtered[1:]
    filtered[0] = _AVERAGE
    if y == 0:
        for index in range(row.size):
            out[index] = row[index] - ((row[index - step] >> np.uint8(1)) if index >= step else np.uint8(0))
        return
    above = rows[y - 1]
    for index in range(step):
        out[index] = row[index] - (above[index] >> np.uint8(1))
    before, here, over, rest = row[: row.size - step], row[step:], above[step:], out[step:]
    for index in range(rest.size):
        left, up = before[index], over[index]
        rest[index] = here[index] - ((left & up) + ((left ^ up) >> np.uint8(1)))


@compiled(uint32[::1](_READ_ROWS, types.intp, types.intp))
def histogram(rows: Array, step: int, every: int) -> NDArray[np.uint32]:
    """Return how often each byte occurs in one of `every` rows (H, N), filtered.

    Four tables take turns, since the same byte often follows itself.
    """
    tables = np.zeros((4, 256), np.uint32)
    filtered = np.empty(rows.shape[1] + 1, np.uint8)
    for y in range(0, rows.shape[0], every):
        _filter(rows, y, filtered, step)
        for index in range(0, filtered.size - 3, 4):
            for turn in range(4):
                tables[turn, filtered[index + turn]] += np.uint32(1)
        for index in range(filtered.size // 4 * 4, filtered.size):
            tables[0, filtered[index]] += np.uint32(1)
    for turn in range(1, 4):
        for byte in range(256):
            tables[0, byte] += tables[turn, byte]
    counts: NDArray[np.uint32] = tables[0]
    return counts


@compiled(types.void(_READ_ROWS, types.intp, uint8[:, ::1]))
def filter_rows(rows: Array, step: int, filtered: Array) -> None:
    """Write all rows (H, N), filtered, to (H, 1 + N)."""
    for y in range(rows.shape[0]):
        _filter(rows, y, filtered[y], step)


@compiled(uint8[::1](uint64[::1]))
def _depths(weights: NDArray[np.uint64]) -> Array:
    """Return the depth of each leaf of Huffman's tree for positive weights in ascending order.

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
    """Return the lengths in bits, at most `longest`, of a prefix code for symbols by their counts, each at least 1.

    It is Huffman's, which is the shortest, unless that is too deep: then rare symbols are counted as less rare.
    """
    order = np.argsort(counts, kind="stable")
    weights = counts[order]
    while (depths := _depths(weights)).max() > longest:
        weights = weights // 2 + 1
    lengths = np.empty(counts.size, np.uint8)
    lengths[order] = depths
    return lengths


@compiled(uint64[::1](_READ))
def canonical_codes(lengths: Array) -> Codes:
    """Return deflate's code of these lengths (RFC 1951, 3.2.2), its bits in the order in which they are written."""
    codes = np.zeros(lengths.size, np.uint64)
    one, code = np.uint64(1), np.uint64(0)
    for length in range(1, LONGEST + 1):
        for symbol in range(lengths.size):
            if lengths[symbol] == length:
                for bit in range(length):
                    codes[symbol] |= (code >> np.uint64(bit) & one) << np.uint64(length - 1 - bit)
                codes[symbol] |= np.uint64(length) << _NUMBER
                code += one
        code <<= one
    return codes


@njit(nogil=True)
def _joined(first: np.uint64, second: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the bits of two codes one after the other, and their number."""
    number = first >> _NUMBER
    return first & _BITS | (second & _BITS) << number, number + (second >> _NUMBER)


@njit(nogil=True)
def _of_pairs(codes: Codes) -> Codes:
    """Return the codes of each pair of bytes, the first one lower."""
    table = np.empty(65536, np.uint64)
    for second in range(256):
        for first in range(256):
            bits, number = _joined(codes[first], codes[second])
            table[second << 8 | first] = bits | number << _NUMBER
    return table


@njit(nogil=True)
def _append(bits: np.uint64, number: np.uint64, out: Array, state: _State) -> _State:
    """Append up to 56 bits to `out`.

    Eight bytes are written each time, of which the full ones count: no branch depends on the data.
    """
    index, held, count = state
    held |= bits << count
    count += number
    for byte in range(8):  # compilers make one store of it
        out[index + np.uint64(byte)] = np.uint8(held >> np.uint64(8 * byte))
    seven = np.uint64(7)
    return index + (count >> np.uint64(3)), held >> (count & ~seven), count & seven


@njit(nogil=True)
def _pack(row: Array, codes: Codes, pairs: Codes, out: Array, state: _State) -> _State:
    """Append the codes of a row, four at a time."""
    one = np.uint64(1)
    doubles = row[: row.size // 4 * 4].view(np.uint16)
    index, end = np.uint64(0), np.uint64(doubles.size)
    while index < end:
        bits, number = _joined(pairs[doubles[index]], pairs[doubles[index + one]])
        state = _append(bits, number, out, state)
        index += one + one
    for byte in row[row.size // 4 * 4 :]:
        state = _append(codes[byte] & _BITS, codes[byte] >> _NUMBER, out, state)
    return state


@njit(nogil=True)
def _add(row: Array, first: np.uint32, second: np.uint32) -> tuple[np.uint32, np.uint32]:
    """Continue the two sums of Adler-32 (RFC 1950, 8.2) over a row: of 1 and all bytes, and of these sums.

    Over a chunk of n bytes the second grows by n times the first and by each byte times n minus its index; both are
    taken modulo 65521.
    """
    prime = np.uint32(65521)
    for start in range(0, row.size, _CHUNK):
        chunk = row[start : start + _CHUNK]
        plain = weighted = np.uint32(0)
        for index in range(chunk.size):
            plain += np.uint32(chunk[index])
            weighted += np.uint32(chunk[index]) * np.uint32(chunk.size - index)
        grown = np.uint64(second) + np.uint64(first) * np.uint64(chunk.size) + np.uint64(weighted)
        second = np.uint32(grown % prime)
        first = np.uint32((first + plain) % prime)
    return first, second


@compiled(_SIZE_AND_SUM(_READ_ROWS, types.intp, uint64[::1], uint64, uint8[::1]))
def deflate(rows: Array, step: int, codes: Codes, begun: np.uint64, out: Array) -> tuple[np.uint64, np.uint32]:
    """Filter rows (H, N) and write their codes and that of the end, after the fewer than eight bits in `begun`.

    Returns how many bytes of `out` that took, and the Adler-32 of the filtered rows. `out` has space for as many
    codes of LONGEST bits, and 8 bytes more. A row is filtered, summed and packed while it is in its core's cache.
    """
    pairs = _of_pairs(codes)
    filtered = np.empty(rows.shape[1] + 1, np.uint8)
    state = np.uint64(0), begun & _BITS, begun >> _NUMBER
    first, second = np.uint32(1), np.uint32(0)
    for y in range(rows.shape[0]):
        _filter(rows, y, filtered, step)
        first, second = _add(filtered, first, second)
        state = _pack(filtered, codes, pairs, out, state)
    state = _append(codes[256] & _BITS, codes[256] >> _NUMBER, out, state)
    return state[0] + np.uint64(state[2] > 0), second << np.uint32(16) | first


@njit(nogil=True)
def _paeth(left: int, up: int, corner: int) -> np.uint8:
    """Return whichever of three bytes is nearest to left + up - corner."""
    a, b, c = np.int64(left), np.int64(up), np.int64(corner)
    to_left, to_up, to_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    if to_left <= to_up and to_left <= to_corner:
        return np.uint8(a)
    return np.uint8(b) if to_up <= to_corner else np.uint8(c)


@njit(nogil=True)
def _add_average(row: Array, above: Array, step: int) -> None:
    if step == 3:
        _add_average_of_three(row, above)
        return
    for index in range(step):
        row[index] += above[index] >> np.uint8(1)
    for index in range(step, row.size):
        left, up = row[index - step], above[index]
        row[index] += (left & up) + ((left ^ up) >> np.uint8(1))


@njit(nogil=True)
def _add_average_of_three(row: Array, above: Array) -> None:
    """Keep the pixel before in registers: what was just written is slow to read again."""
    red = green = blue = np.uint32(0)
    byte = np.uint32(255)
    for index in range(np.uint64(0), np.uint64(row.size - 2), np.uint64(3)):
        red = (row[index] + ((red + above[index]) >> np.uint32(1))) & byte
        green = (row[index + 1] + ((green + above[index + 1]) >> np.uint32(1))) & byte
        blue = (row[index + 2] + ((blue + above[index + 2]) >> np.uint32(1))) & byte
        row[index], row[index + 1], row[index + 2] = red, green, blue


@njit(nogil=True)
def _add_paeth(row: Array, above: Array, step: int) -> None:
    for index in range(step):
        row[index] += above[index]
    for index in range(step, row.size):
        row[index] += _paeth(row[index - step], above[index], above[index - step])


@compiled(types.boolean(_READ_ROWS, types.intp, uint8[:, ::1]))
def unfilter_rows(filtered: Array, step: int, rows: Array) -> bool:
    """Write all rows (H, N) of rows with the number of their filter in front (H, 1 + N); False for unknown numbers.

    The five filters of PNG (RFC 2083, 6): None, Sub, Up, Average, Paeth. A pixel has `step` bytes.
    """
    above = np.zeros(rows.shape[1], np.uint8)
    for y in range(rows.shape[0]):
        kind, row = filtered[y, 0], rows[y]
        if kind > 4:
            return False
        row[:] = filtered[y, 1:]
        if kind == 1:
            for index in range(step, row.size):
                row[index] += row[index - step]
        elif kind == 2:
            for index in range(row.size):
                row[index] += above[index]
        elif kind == _AVERAGE:
            _add_average(row, above, step)
        elif kind == 4:
            _add_paeth(row, above, step)
        above = row
    return True
