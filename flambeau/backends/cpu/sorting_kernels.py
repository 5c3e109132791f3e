"""Kernels that sort and select by the digits of keys.

An element's key is an integer whose unsigned order is the elements': equal elements have equal
keys, NaN has the largest. A word is a key with the element's number in the low bits, so that words
differ, and their order is the stable one. Where both do not fit into 64 bits, keys and numbers go
side by side.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I64,
    Array,
    S,
    Static,
    T,
    bits,
    isnan,
    local,
    select,
    shift_right,
    simd,
)

LOWEST, LARGEST = -(1 << 63), (1 << 63) - 1
DIGITS = 256
SHORT = 128
"""Elements of a row up to which to compare every two of them is quickest."""


@inline
def float_key(x: Any, descending: Any) -> Any:
    """The key of a float, of 32 bits."""
    b = select(x == 0.0, 0, bits(x))
    key = select(isnan(x), 0xFFFFFFFF, (b ^ ((b >> 63) & 0x7FFFFFFF)) + 0x80000000)
    if descending:
        return 0xFFFFFFFF - key
    return key


@inline
def double_key(x: Any, descending: Any) -> Any:
    """The key of a double, of 64 bits."""
    b = select(x == 0.0, 0, bits(x))
    key = select(isnan(x), -1, (b ^ ((b >> 63) & 0x7FFFFFFFFFFFFFFF)) ^ LOWEST)
    if descending:
        return ~key
    return key


@inline
def integer_key(x: Any, low: Any, high: Any, descending: Any) -> Any:
    """The key of an integer in [low, high], of as many bits as their difference."""
    if descending:
        return high - int(x)
    return int(x) - low


@inline
def key_of(x: Any, low: Any, high: Any, kind: Any, descending: Any) -> Any:
    """The key of an element; `kind` is "float", "double", "wide" or "integer" (in a range)."""
    if kind == "float":
        return float_key(x, descending)
    if kind == "double":
        return double_key(x, descending)
    if kind == "wide":
        return (~int(x) if descending else int(x)) ^ LOWEST
    return integer_key(x, low, high, descending)


@inline
def insert(words: Any, count: Any, word: Any) -> None:
    """Put `word` among `count` ascending words, which have room for one more."""
    at = count
    while at > 0 and words[at - 1] > word:
        words[at] = words[at - 1]
        at -= 1
    words[at] = word


@inline
def start_places(counts: Any) -> None:
    """Turn the counts of digits into where the first element with each digit goes."""
    total = 0
    for digit in range(DIGITS):
        here = counts[digit]
        counts[digit] = total
        total += here


@kernel
def sort_rows(
    first: int,
    last: int,
    x: Array[T],
    values: Array[T],
    indices: Array[I64],
    scratch: Array[I64],
    thread: int,
    columns: int,
    low: int,
    high: int,
    shift: int,
    passes: int,
    kind: Static,
    descending: Static,
) -> None:
    """Each row's elements in their order and their numbers, by words whose keys begin at `shift`.

    `scratch` has `columns` words for each thread; `passes` digits of eight bits make a key.
    """
    counts = local(I64, 2048)
    for row in range(first, last):
        line = x[row * columns :]
        source, target = scratch[thread * columns :], indices[row * columns :]
        for digit in simd(passes * DIGITS):
            counts[digit] = 0
        for j in simd(columns):
            source[j] = (key_of(line[j], low, high, kind, descending) << shift) | j
        for j in range(columns):
            key = shift_right(source[j], shift)
            for p in range(passes):
                counts[p * DIGITS + (shift_right(key, 8 * p) & 255)] += 1
        for p in range(passes):
            place, at = counts[p * DIGITS :], shift + 8 * p
            if place[shift_right(source[0], at) & 255] == columns:
                continue
            start_places(place)
            for j in range(columns):
                word = source[j]
                digit = shift_right(word, at) & 255
                to = place[digit]
                place[digit] = to + 1
                target[to] = word
            source, target = target, source
        order, ranked = indices[row * columns :], values[row * columns :]
        for j in range(columns):
            number = source[j] & ((1 << shift) - 1)
            order[j] = number
            ranked[j] = line[number]


@inline
def comes_before(x: Any, y: Any, descending: Any) -> Any:
    """1 where x comes before y, both known."""
    if descending:
        return select(x > y, T(1), T(0))
    return select(x < y, T(1), T(0))


@kernel
def rank_rows(
    first: int,
    last: int,
    x: Array[T],
    values: Array[T],
    indices: Array[I64],
    columns: int,
    descending: Static,
) -> None:
    """`sort_rows` for rows of at most SHORT elements: each goes where its rank says.

    Its rank is how many elements come before it, and how many equal ones have been met.
    """
    ranks, met = local(T, SHORT), local(I64, SHORT)
    for row in range(first, last):
        line = x[row * columns :]
        order, ranked = indices[row * columns :], values[row * columns :]
        missing = 0
        for j in simd(columns):
            missing += select(isnan(line[j]), 1, 0)
            met[j] = 0
        start, unknown = 0, columns - missing  # where the known elements and the NaNs go
        if descending:
            start, unknown = missing, 0
        for j in simd(columns):
            ranks[j] = T(start)
        whole = columns & -4
        for i in range(0, whole, 4):
            a, b, c, d = line[i], line[i + 1], line[i + 2], line[i + 3]
            for j in simd(columns):
                v = line[j]
                ranks[j] += (comes_before(a, v, descending) + comes_before(b, v, descending)) + (
                    comes_before(c, v, descending) + comes_before(d, v, descending)
                )
        for i in range(whole, columns):
            a = line[i]
            for j in simd(columns):
                ranks[j] += comes_before(a, line[j], descending)
        for j in range(columns):
            rank = int(ranks[j])
            if isnan(line[j]):
                rank = unknown
            place = rank + met[rank]
            met[rank] += 1
            order[place] = j
            ranked[place] = line[j]


@kernel
def make_words(
    first: int,
    last: int,
    x: Array[T],
    words: Array[I64],
    numbers: Array[I64] | None,
    low: int,
    high: int,
    shift: int,
    kind: Static,
    descending: Static,
) -> None:
    """The words of elements; or their keys, and their numbers apart."""
    for j in simd(first, last):
        key = key_of(x[j], low, high, kind, descending)
        if numbers is None:
            words[j] = (key << shift) | j
        else:
            words[j] = key
            numbers[j] = j


@kernel
def count_digits(
    first: int, last: int, words: Array[I64], counts: Array[I64], total: int, block: int, shift: int
) -> None:
    """How often each digit at `shift` occurs in each block of words: counts[block, digit]."""
    for b in range(first, last):
        here = counts[b * DIGITS :]
        for digit in simd(DIGITS):
            here[digit] = 0
        for j in range(b * block, min(total, (b + 1) * block)):
            here[shift_right(words[j], shift) & 255] += 1


@kernel
def move_by_digits(
    first: int,
    last: int,
    words: Array[I64],
    numbers: Array[I64] | None,
    target: Array[I64],
    target_numbers: Array[I64] | None,
    places: Array[I64],
    total: int,
    block: int,
    shift: int,
) -> None:
    """Move each block's words to where its digits go, places[block, digit] and following."""
    for b in range(first, last):
        here = places[b * DIGITS :]
        for j in range(b * block, min(total, (b + 1) * block)):
            word = words[j]
            digit = shift_right(word, shift) & 255
            to = here[digit]
            here[digit] = to + 1
            target[to] = word
            if numbers is not None and target_numbers is not None:
                target_numbers[to] = numbers[j]


@kernel
def keep_numbers(first: int, last: int, words: Array[I64], mask: int) -> None:
    """Words become the numbers in their low bits."""
    for j in simd(first, last):
        words[j] = words[j] & mask


@kernel
def smallest_words(
    first: int,
    last: int,
    x: Array[T],
    best: Array[I64],
    columns: int,
    block: int,
    k: int,
    low: int,
    high: int,
    shift: int,
    kind: Static,
    descending: Static,
) -> None:
    """The `k` smallest words of each block of each row, ascending; `best` has k + 1 for each.

    What a block lacks is filled with the largest word.
    """
    blocks = (columns + block - 1) // block
    words = local(I64, 64)
    for item in range(first, last):
        row = item // blocks
        begin = (item - row * blocks) * block
        end = min(begin + block, columns)
        line, chosen = x[row * columns :], best[item * (k + 1) :]
        for j in range(k + 1):
            chosen[j] = LARGEST
        for start in range(begin, end, 64):
            n = min(64, end - start)
            worst = chosen[k - 1]
            better = 0
            for j in simd(n):
                at = start + j
                word = (key_of(line[at], low, high, kind, descending) << shift) | at
                words[j] = word
                better |= select(word < worst, 1, 0)
            if better != 0:
                for j in range(n):
                    if words[j] < chosen[k - 1]:
                        insert(chosen, k - 1, words[j])


@kernel
def select_rows(
    first: int,
    last: int,
    x: Array[T],
    indices: Array[I64],
    scratch: Array[I64],
    thread: int,
    columns: int,
    rank: int,
    low: int,
    high: int,
    shift: int,
    passes: int,
    kind: Static,
    nan: Static,
) -> None:
    """The number of the element that is `rank`-th of each row.

    ``nan`` "median" asks for the lower median, or the first NaN if there is one, "nanmedian" for
    the lower median of what is not NaN, and "rank" for the rank. `scratch` has `columns` words for
    each thread.
    """
    counts = local(I64, 256)
    for row in range(first, last):
        line, words = x[row * columns :], scratch[thread * columns :]
        missing = 0
        for j in simd(columns):
            words[j] = (key_of(line[j], low, high, kind, False) << shift) | j
            missing += select(isnan(line[j]), 1, 0)
        known = columns - missing
        wanted = rank
        if nan == "nanmedian":
            wanted = max(known - 1, 0) // 2
        if nan == "median":
            wanted = select(missing > 0, known, (columns - 1) // 2)
        left = columns
        at = shift + 8 * (passes - 1)
        while at >= shift and left > 1:
            for digit in simd(DIGITS):
                counts[digit] = 0
            for j in range(left):
                counts[shift_right(words[j], at) & 255] += 1
            digit = 0
            while wanted >= counts[digit]:
                wanted -= counts[digit]
                digit += 1
            if counts[digit] < left:
                kept = 0
                for j in range(left):
                    word = words[j]
                    words[kept] = word
                    kept += select((shift_right(word, at) & 255) == digit, 1, 0)
                left = kept
            at -= 8
        indices[row] = words[wanted] & ((1 << shift) - 1)


@kernel
def longest_runs(
    first: int, last: int, ranked: Array[T], order: Array[I64], ends: Array[I64], columns: int
) -> None:
    """The number of the last element of each row's longest run, the first of equally long ones."""
    for row in range(first, last):
        line = ranked[row * columns :]
        start, longest, end = 0, 0, 0
        for j in range(columns):
            if j > 0 and line[j] != line[j - 1]:
                start = j
            if j + 1 - start > longest:
                longest, end = j + 1 - start, j
        ends[row] = order[row * columns + end]


@kernel
def number_runs(
    first: int,
    last: int,
    ranked: Array[T],
    order: Array[I64],
    inverse: Array[I64],
    starts: Array[I64],
    found: Array[I64],
    total: int,
) -> None:
    """Number the runs of equal ranked elements: of each element its run, of each run its start.

    There is one item; ``found[0]`` becomes the number of runs.
    """
    run = -1
    for j in range(total):
        if j == 0 or ranked[j] != ranked[j - 1]:
            run += 1
            starts[run] = j
        inverse[order[j]] = run
    found[0] = run + 1


@kernel
def search_rows(
    first: int,
    last: int,
    table: Array[T],
    values: Array[T],
    out: Array[S],
    columns: int,
    count: int,
    block: int,
    table_step: int,
    steps: int,
    right: Static,
) -> None:
    """How many elements of an ascending row of `table` lie before each value, NaN the largest.

    An item is a block of a row of `count` values; `steps` halvings find a place among `columns`.
    """
    blocks = (count + block - 1) // block
    places = local(I64, 128)
    for item in range(first, last):
        row = item // blocks
        begin = (item - row * blocks) * block
        line, wanted, found = table[row * table_step :], values[row * count :], out[row * count :]
        for start in range(begin, min(begin + block, count), 128):
            n = min(128, count - start)
            for j in simd(n):
                places[j] = 0
            half = 1 << steps
            while half > 0:
                for j in simd(n):
                    to = places[j] + half
                    v, seen = wanted[start + j], line[min(to, columns) - 1]
                    if right:
                        before = (seen <= v) | (isnan(v))
                    else:
                        before = (seen < v) | (isnan(v) & (seen == seen))
                    places[j] = select(before & (to <= columns), to, places[j])
                half = half >> 1
            for j in simd(n):
                found[start + j] = places[j]
