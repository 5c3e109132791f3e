"""Kernels that fold an expression: sums, products, extrema and spreads of rows and of columns.

An array is seen as rows, `step` elements apart, that are folded each; or as a stack of matrices
whose columns are folded. A long row is cut into `pieces` of `piece` elements, a tall matrix into
pieces of `piece` rows; each piece gives one partial result. Where the cuts are depends on the shape
alone, so the results do not depend on the number of threads.

`f` is an expression of `x`, `y` and `z`, arrays of one layout (the latter two may be missing).
Floating-point sums are taken over short runs in the elements' own precision, and from run to run in
float64.
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
    larger,
    local,
    nan,
    select,
    simd,
    smaller,
    sqrt,
)

RUN = 512
"""Elements that are summed in their own precision before they meet a float64 sum."""
RISE = 32
"""Rows that are summed in their own precision before they meet the float64 sums of columns."""
BAND = 1024
"""Columns that are folded together."""


# ---------------------------------------------------------------- what becomes of a total
@inline
def as_it_is(total: Any, count: Any) -> Any:
    """The sum itself."""
    return total


@inline
def over_count(total: Any, count: Any) -> Any:
    """The mean."""
    return total / count


@inline
def root(total: Any, count: Any) -> Any:
    """The root of a sum of squares."""
    return sqrt(total)


# ---------------------------------------------------------------- what is folded
@inline
def value(x: Any, y: Any, z: Any, j: Any, f: Any) -> Any:
    """`f` of the elements `j`."""
    return f(x=x[j], y=y[j] if y is not None else 0.0, z=z[j] if z is not None else 0.0)


@inline
def sum_run(x: Any, y: Any, z: Any, start: Any, stop: Any, f: Any) -> Any:
    """The float64 sum of `f` from element `start` to `stop`."""
    total = f64(0.0)
    for at in range(start, stop, RUN):
        part = 0.0
        for j in simd(at, min(at + RUN, stop)):
            part += value(x, y, z, j, f)
        total += part
    return total


@inline
def multiply_run(x: Any, start: Any, stop: Any) -> Any:
    """The product of the elements from `start` to `stop`, between runs in float64."""
    total = f64(1.0)
    for at in range(start, stop, RUN):
        part = 1.0
        for j in simd(at, min(at + RUN, stop)):
            part *= x[j]
        total *= part
    return total


# ---------------------------------------------------------------- rows
@kernel
def sum_rows(
    first: int,
    last: int,
    x: Array[T],
    y: Array[T] | None,
    z: Array[T] | None,
    out: Array[S],
    columns: int,
    step: int,
    piece: int,
    pieces: int,
    count: int,
    f: Static,
    finish: Static,
) -> None:
    """The sum of `f` over each piece of each row, through `finish`."""
    for item in range(first, last):
        row = item // pieces
        start = (item - row * pieces) * piece
        stop = min(start + piece, columns)
        at = row * step
        out[item] = S(finish(sum_run(x, y, z, at + start, at + stop, f), count))


@kernel
def multiply_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[S],
    columns: int,
    step: int,
    piece: int,
    pieces: int,
) -> None:
    """The product of each piece of each row."""
    for item in range(first, last):
        row = item // pieces
        start = (item - row * pieces) * piece
        stop = min(start + piece, columns)
        out[item] = S(multiply_run(x, row * step + start, row * step + stop))


@kernel
def extreme_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    columns: int,
    step: int,
    piece: int,
    pieces: int,
    f: Static,
    pick: Static,
) -> None:
    """The extreme of `f` in each piece of each row by `pick`; NaN wins."""
    for item in range(first, last):
        row = item // pieces
        start = (item - row * pieces) * piece
        stop = min(start + piece, columns)
        at = row * step
        best = f(x=x[at + start])
        strange = isnan(best)
        for j in simd(at + start, at + stop):
            v = f(x=x[j])
            best = pick(best, v)
            strange |= isnan(v)
        out[item] = select(strange, T(nan), best)


@inline
def find(x: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """The first element from `start` to `stop` that is `wanted`; the first NaN if that is NaN."""
    for at in range(start, stop, 256):
        end = min(at + 256, stop)
        seen = x[at] == wanted
        for j in simd(at, end):
            seen |= (x[j] == wanted) | isnan(x[j])
        if seen:
            for j in range(at, end):
                if x[j] == wanted or (isnan(wanted) and isnan(x[j])):
                    return j
    return start


@kernel
def locate_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T] | None,
    places: Array[I64],
    columns: int,
    step: int,
    pick: Static,
) -> None:
    """The extreme of each row by `pick` and its first place; NaN wins."""
    for row in range(first, last):
        start, stop = row * step, row * step + columns
        best = x[start]
        strange = isnan(best)
        for j in simd(start, stop):
            best = pick(best, x[j])
            strange |= isnan(x[j])
        best = select(strange, T(nan), best)
        places[row] = find(x, start, stop, best) - start
        if out is not None:
            out[row] = best


@kernel
def spread_rows(
    first: int,
    last: int,
    x: Array[T],
    means: Array[F64],
    spreads: Array[F64],
    columns: int,
    step: int,
    piece: int,
    pieces: int,
    identity: Static,
) -> None:
    """The mean of each piece of each row, and the sum of squared distances from it."""
    for item in range(first, last):
        row = item // pieces
        start = (item - row * pieces) * piece
        stop = min(start + piece, columns)
        at = row * step
        count = stop - start
        mean = sum_run(x, None, None, at + start, at + stop, identity) / count
        near = T(mean)
        squares = f64(0.0)
        rest = f64(0.0)
        for low in range(at + start, at + stop, RUN):
            square, part = 0.0, 0.0
            for j in simd(low, min(low + RUN, at + stop)):
                apart = x[j] - near
                square += apart * apart
                part += apart
            squares += square
            rest += part
        # `near` is the mean but for its rounding, of which the squares are freed here.
        means[item] = mean
        spreads[item] = squares - rest * rest / count


# ---------------------------------------------------------------- columns
@kernel
def sum_columns(
    first: int,
    last: int,
    x: Array[T],
    y: Array[T] | None,
    z: Array[T] | None,
    out: Array[S],
    rows: int,
    columns: int,
    step: int,
    stack_step: int,
    piece: int,
    pieces: int,
    bands: int,
    count: int,
    f: Static,
    finish: Static,
) -> None:
    """The sum of `f` over each piece of each column, through `finish`."""
    total = local(F64, BAND)
    part = local(T, BAND)
    for item in range(first, last):
        block = item // bands
        left = (item - block * bands) * BAND
        width = min(BAND, columns - left)
        stack = block // pieces
        top = (block - stack * pieces) * piece
        bottom = min(top + piece, rows)
        corner = stack * stack_step + left
        for j in simd(width):
            total[j] = 0.0
        for start in range(top, bottom, RISE):
            stop = min(start + RISE, bottom)
            for j in simd(width):
                part[j] = 0.0
            i = start
            while i + 4 <= stop:
                a = corner + i * step
                b = a + step
                c = b + step
                d = c + step
                for j in simd(width):
                    part[j] += (value(x, y, z, a + j, f) + value(x, y, z, b + j, f)) + (
                        value(x, y, z, c + j, f) + value(x, y, z, d + j, f)
                    )
                i += 4
            while i < stop:
                a = corner + i * step
                for j in simd(width):
                    part[j] += value(x, y, z, a + j, f)
                i += 1
            for j in simd(width):
                total[j] += part[j]
        for j in simd(width):
            out[block * columns + left + j] = S(finish(total[j], count))


@kernel
def extreme_columns(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    rows: int,
    columns: int,
    step: int,
    stack_step: int,
    piece: int,
    pieces: int,
    bands: int,
    f: Static,
    pick: Static,
) -> None:
    """The extreme of `f` in each piece of each column by `pick`; NaN wins."""
    best = local(T, BAND)
    for item in range(first, last):
        block = item // bands
        left = (item - block * bands) * BAND
        width = min(BAND, columns - left)
        stack = block // pieces
        top = (block - stack * pieces) * piece
        corner = stack * stack_step + left
        for j in simd(width):
            best[j] = f(x=x[corner + top * step + j])
        for i in range(top + 1, min(top + piece, rows)):
            at = corner + i * step
            for j in simd(width):
                v = f(x=x[at + j])
                best[j] = v if pick(v, best[j]) else best[j]
        for j in simd(width):
            out[block * columns + left + j] = best[j]


@kernel
def locate_columns(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T] | None,
    places: Array[I64],
    rows: int,
    columns: int,
    step: int,
    stack_step: int,
    bands: int,
    pick: Static,
) -> None:
    """The extreme of each column by `pick` and its first place; NaN wins."""
    best = local(T, BAND)
    place = local(I64, BAND)
    for item in range(first, last):
        stack = item // bands
        left = (item - stack * bands) * BAND
        width = min(BAND, columns - left)
        corner = stack * stack_step + left
        for j in simd(width):
            best[j] = x[corner + j]
            place[j] = 0
        for i in range(1, rows):
            at = corner + i * step
            for j in simd(width):
                v = x[at + j]
                beyond = pick(v, best[j])
                best[j] = v if beyond else best[j]
                place[j] = i if beyond else place[j]
        for j in simd(width):
            places[stack * columns + left + j] = place[j]
            if out is not None:
                out[stack * columns + left + j] = best[j]


@inline
def is_above(v: Any, best: Any) -> Any:
    """Whether `v` takes the place of the largest so far: NaN beats all but a NaN."""
    return (not v <= best) and best == best


@inline
def is_below(v: Any, best: Any) -> Any:
    """Whether `v` takes the place of the smallest so far: NaN beats all but a NaN."""
    return (not v >= best) and best == best


@inline
def larger_of(a: Any, b: Any) -> Any:
    """The fold of `extreme_rows` for maxima."""
    return larger(a, b)


@inline
def smaller_of(a: Any, b: Any) -> Any:
    """The fold of `extreme_rows` for minima."""
    return smaller(a, b)


@kernel
def spread_columns(
    first: int,
    last: int,
    x: Array[T],
    means: Array[F64],
    spreads: Array[F64],
    rows: int,
    columns: int,
    step: int,
    stack_step: int,
    piece: int,
    pieces: int,
    bands: int,
) -> None:
    """The mean of each piece of each column, and the sum of squared distances from it."""
    total = local(F64, BAND)
    near = local(T, BAND)
    part = local(T, BAND)
    square = local(T, BAND)
    rest = local(F64, BAND)
    for item in range(first, last):
        block = item // bands
        left = (item - block * bands) * BAND
        width = min(BAND, columns - left)
        stack = block // pieces
        top = (block - stack * pieces) * piece
        bottom = min(top + piece, rows)
        count = bottom - top
        corner = stack * stack_step + left
        for j in simd(width):
            total[j] = 0.0
        for start in range(top, bottom, RISE):
            for j in simd(width):
                part[j] = 0.0
            for i in range(start, min(start + RISE, bottom)):
                for j in simd(width):
                    part[j] += x[corner + i * step + j]
            for j in simd(width):
                total[j] += part[j]
        for j in simd(width):
            mean = total[j] / count
            means[block * columns + left + j] = mean
            near[j] = T(mean)
            total[j] = 0.0
            rest[j] = 0.0
        for start in range(top, bottom, RISE):
            for j in simd(width):
                part[j] = 0.0
                square[j] = 0.0
            for i in range(start, min(start + RISE, bottom)):
                for j in simd(width):
                    apart = x[corner + i * step + j] - near[j]
                    square[j] += apart * apart
                    part[j] += apart
            for j in simd(width):
                total[j] += square[j]
                rest[j] += part[j]
        for j in simd(width):
            spreads[block * columns + left + j] = total[j] - rest[j] * rest[j] / count
