"""Kernels of running sums, products and extrema, along the rows or the columns of matrices.

Each result waits for the one before it, so `ROWS` rows are gone through side by side: more of them
LLVM would gather into vectors, which is slower. Sums and products of floats run in float64.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    F64,
    I64,
    Array,
    S,
    Static,
    T,
    f64,
    isnan,
    local,
    select,
    simd,
    unrolled,
)

ROWS = 4
"""Rows that are gone through together."""
BAND = 256
"""Columns that are gone through together."""


@inline
def plus(before: Any, x: Any) -> Any:
    """The step of a running sum."""
    return before + x


@inline
def times(before: Any, x: Any) -> Any:
    """The step of a running product."""
    return before * x


@kernel
def accumulate_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[S],
    rows: int,
    columns: int,
    start: int,
    wide: Static,
    join: Static,
) -> None:
    """The running value of each row by `join` from `start` on; an item is `ROWS` rows."""
    state = local(wide, ROWS)
    for item in range(first, last):
        row = item * ROWS
        if row + ROWS <= rows:
            for r in unrolled(ROWS):
                state[r] = start
            for j in range(columns):
                for r in unrolled(ROWS):
                    at = (row + r) * columns + j
                    state[r] = join(state[r], x[at])
                    out[at] = S(state[r])
        else:
            for at in range(row, rows):
                state[0] = start
                for j in range(at * columns, (at + 1) * columns):
                    state[0] = join(state[0], x[j])
                    out[j] = S(state[0])


@kernel
def total_segments(first: int, last: int, x: Array[T], totals: Array[F64], columns: int) -> None:
    """The float64 sum of each segment."""
    for segment in range(first, last):
        total = f64(0.0)
        for j in simd(segment * columns, (segment + 1) * columns):
            total += x[j]
        totals[segment] = total


@kernel
def accumulate_segments(
    first: int,
    last: int,
    x: Array[T],
    out: Array[S],
    starts: Array[F64],
    columns: int,
) -> None:
    """Running sums of `ROWS` segments, each from a start of its own; there is one item."""
    state = local(F64, ROWS)
    for r in unrolled(ROWS):
        state[r] = starts[r]
    for j in range(columns):
        for r in unrolled(ROWS):
            state[r] += x[r * columns + j]
            out[r * columns + j] = S(state[r])


@kernel
def accumulate_columns(
    first: int,
    last: int,
    x: Array[T],
    out: Array[S],
    rows: int,
    columns: int,
    bands: int,
    start: int,
    wide: Static,
    join: Static,
) -> None:
    """The running value of each column of a stack of matrices; an item is a band of columns."""
    state = local(wide, BAND)
    for item in range(first, last):
        stack = item // bands
        left = (item - stack * bands) * BAND
        width = min(BAND, columns - left)
        for j in simd(width):
            state[j] = start
        for i in range(rows):
            at = (stack * rows + i) * columns + left
            for j in simd(width):
                state[j] = join(state[j], x[at + j])
                out[at + j] = S(state[j])


@inline
def at_least(x: Any, best: Any) -> Any:
    """Whether `x` is the running maximum after `best`; a NaN always is."""
    return (x >= best) | isnan(x)


@inline
def at_most(x: Any, best: Any) -> Any:
    """Whether `x` is the running minimum after `best`; a NaN always is."""
    return (x <= best) | isnan(x)


@kernel
def extreme_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    places: Array[I64],
    rows: int,
    columns: int,
    beats: Static,
) -> None:
    """The running extreme of each row and its last place; an item is `ROWS` rows."""
    best = local(T, ROWS)
    place = local(I64, ROWS)
    for item in range(first, last):
        row = item * ROWS
        if row + ROWS <= rows:
            for r in unrolled(ROWS):
                best[r] = x[(row + r) * columns]
                place[r] = 0
            for j in range(columns):
                for r in unrolled(ROWS):
                    at = (row + r) * columns + j
                    v = x[at]
                    wins = beats(v, best[r])
                    best[r] = select(wins, v, best[r])
                    place[r] = select(wins, j, place[r])
                    out[at] = best[r]
                    places[at] = place[r]
        else:
            for at in range(row, rows):
                best[0] = x[at * columns]
                place[0] = 0
                for j in range(columns):
                    v = x[at * columns + j]
                    wins = beats(v, best[0])
                    best[0] = select(wins, v, best[0])
                    place[0] = select(wins, j, place[0])
                    out[at * columns + j] = best[0]
                    places[at * columns + j] = place[0]


@kernel
def extreme_columns(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    places: Array[I64],
    rows: int,
    columns: int,
    bands: int,
    beats: Static,
) -> None:
    """The running extreme of each column of a stack of matrices and its last place."""
    best = local(T, BAND)
    place = local(I64, BAND)
    for item in range(first, last):
        stack = item // bands
        left = (item - stack * bands) * BAND
        width = min(BAND, columns - left)
        for j in simd(width):
            best[j] = x[stack * rows * columns + left + j]
            place[j] = 0
        for i in range(rows):
            at = (stack * rows + i) * columns + left
            for j in simd(width):
                v = x[at + j]
                wins = beats(v, best[j])
                best[j] = select(wins, v, best[j])
                place[j] = select(wins, i, place[j])
                out[at + j] = best[j]
                places[at + j] = place[j]
