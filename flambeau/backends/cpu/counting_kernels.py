"""Kernels that add up and count integers."""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import F64, I64, Array, S, T, larger, simd, smaller

BAND = 1024
"""Columns that are summed together; that of `reduction_kernels`."""


@kernel
def sum_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[I64],
    columns: int,
    step: int,
    piece: int,
    pieces: int,
) -> None:
    """The sum of each piece of each row."""
    for item in range(first, last):
        row = item // pieces
        start = (item - row * pieces) * piece
        source = x[row * step + start :]
        total = 0
        for j in simd(min(piece, columns - start)):
            total += source[j]
        out[item] = total


@inline
def clear(sums: Any, width: Any) -> None:
    """Set sums to zero."""
    for j in simd(width):
        sums[j] = 0


@kernel
def sum_columns(
    first: int,
    last: int,
    x: Array[T],
    out: Array[I64],
    rows: int,
    columns: int,
    step: int,
    stack_step: int,
    piece: int,
    pieces: int,
    bands: int,
) -> None:
    """The sums of each band of columns of each piece of each matrix."""
    for item in range(first, last):
        part = item // bands
        low = (item - part * bands) * BAND
        matrix = part // pieces
        start = (part - matrix * pieces) * piece
        width, target = min(BAND, columns - low), out[part * columns + low :]
        clear(target, width)
        for i in range(start, min(start + piece, rows)):
            source = x[matrix * stack_step + i * step + low :]
            for j in simd(width):
                target[j] += source[j]


@kernel
def find_limits(first: int, last: int, x: Array[T], limits: Array[I64], size: int) -> None:
    """The least and the greatest number of each of the pieces of `size` elements."""
    for item in range(first, last):
        source = x[item * size :]
        low, high = source[0], source[0]
        for j in simd(size):
            low = smaller(low, source[j])
            high = larger(high, source[j])
        limits[2 * item] = low
        limits[2 * item + 1] = high


LANES = 4
"""Counters of a number, so that equal numbers side by side do not wait for each other."""


@inline
def weight(weights: Any, j: Any) -> Any:
    """What element `j` counts."""
    if weights is None:
        return 1
    return weights[j]


@kernel
def count_numbers(
    first: int,
    last: int,
    x: Array[T],
    weights: Array[F64] | None,
    sums: Array[S],
    size: int,
    total: int,
    bins: int,
) -> None:
    """How often each number occurs in a piece of `size` of the `total` elements, or its weights.

    Each piece has LANES rows of `sums`, which begin at zero; all numbers are below `bins`.
    """
    for item in range(first, last):
        begin, rows = item * size, sums[item * LANES * bins :]
        end = min(begin + size, total)
        whole = end - max(end - begin, 0) % LANES
        for j in range(begin, whole, LANES):
            rows[x[j]] += weight(weights, j)
            rows[bins + x[j + 1]] += weight(weights, j + 1)
            rows[2 * bins + x[j + 2]] += weight(weights, j + 2)
            rows[3 * bins + x[j + 3]] += weight(weights, j + 3)
        for j in range(max(whole, begin), end):
            rows[x[j]] += weight(weights, j)
