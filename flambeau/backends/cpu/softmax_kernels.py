"""Kernels of softmax and its kin, along the rows or the columns of matrices.

The row kernels take a matrix and fold each row. The column kernels take a stack of matrices
[stack, length, columns] and fold each column, `BAND` of them side by side.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    Array,
    Static,
    T,
    decay,
    exp,
    f64,
    inf,
    larger,
    local,
    log,
    select,
    simd,
)

BLOCK = 4096
"""Elements that are summed in their own precision before they meet a float64 sum."""
SHORT = 128
"""Elements of a row up to which several are done together."""
GROUP = 512
"""Elements of short rows that are done together."""
BAND = 64
"""Columns that are folded together."""


@inline
def highest(x: Any, n: Any) -> Any:
    """The largest of the first `n` elements; anything if one is NaN."""
    high = -inf
    for j in simd(n):
        high = larger(high, x[j])
    return high


@inline
def exponential_sum(x: Any, n: Any, shift: Any) -> Any:
    """The sum of exp(x - shift), in float64."""
    total = f64(0.0)
    for start in range(0, n, BLOCK):
        part = 0.0
        for j in simd(start, min(start + BLOCK, n)):
            part += decay(x[j] - shift)
        total += part
    return total


@inline
def fill_exponentials(
    e: Any, high: Any, total: Any, x: Any, row: Any, rows: Any, columns: Any
) -> None:
    """exp(x - high) of `rows` rows from `row` on, one after the other, and each row's sum.

    Exponentials of many short rows are taken in one run: what is left over of a row after whole
    vectors would cost more than the row.
    """
    for i in range(rows):
        p = x[(row + i) * columns :]
        top = highest(p, columns)
        high[i] = top
        q = e[i * columns :]
        for j in simd(columns):
            q[j] = p[j] - top
    for j in simd(rows * columns):
        e[j] = decay(e[j])
    for i in range(rows):
        q = e[i * columns :]
        part = 0.0
        for j in simd(columns):
            part += q[j]
        total[i] = part


# ---------------------------------------------------------------- rows
@kernel
def softmax_rows(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """exp(x) over its sum."""
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        high = highest(p, columns)
        scale = T(1.0 / exponential_sum(p, columns, high))
        for j in simd(columns):
            q[j] = decay(p[j] - high) * scale


@kernel
def softmax_stored_rows(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """`softmax_rows` whose exponentials wait in `out` for their sum: not for half precision."""
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        high = highest(p, columns)
        total = f64(0.0)
        for start in range(0, columns, BLOCK):
            part = 0.0
            for j in simd(start, min(start + BLOCK, columns)):
                e = decay(p[j] - high)
                q[j] = e
                part += e
            total += part
        scale = T(1.0 / total)
        for j in simd(columns):
            q[j] = q[j] * scale


@kernel
def softmax_short_rows(
    first: int, last: int, x: Array[T], out: Array[T], columns: int, logarithm: Static
) -> None:
    """Softmax, or its logarithm, of rows of up to `SHORT` elements."""
    e, high, total = local(T, GROUP), local(T, GROUP), local(T, GROUP)
    together = GROUP // columns
    for start in range(first, last, together):
        rows = min(together, last - start)
        fill_exponentials(e, high, total, x, start, rows, columns)
        for i in simd(rows):
            total[i] = log(total[i]) if logarithm else 1.0 / total[i]
        for i in range(rows):
            p, q, source = (
                x[(start + i) * columns :],
                out[(start + i) * columns :],
                e[i * columns :],
            )
            top, rest = high[i], total[i]
            for j in simd(columns):
                q[j] = (p[j] - top) - rest if logarithm else source[j] * rest


@kernel
def log_softmax_rows(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """x minus the logarithm of the sum of exp(x)."""
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        high = highest(p, columns)
        rest = T(log(exponential_sum(p, columns, high)))
        for j in simd(columns):
            q[j] = (p[j] - high) - rest


@kernel
def logsumexp_rows(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """The logarithm of the sum of exp(x); rows of infinities are not shifted."""
    for row in range(first, last):
        p = x[row * columns :]
        high = highest(p, columns)
        if abs(high) < inf:
            out[row] = T(log(exponential_sum(p, columns, high))) + high
        else:
            total = 0.0
            for j in simd(columns):
                total += exp(p[j])
            out[row] = log(total)


@kernel
def softmax_back_rows(
    first: int, last: int, g: Array[T], y: Array[T], out: Array[T], columns: int
) -> None:
    """y * (g - sum of g * y), for the softmax y."""
    for row in range(first, last):
        at = row * columns
        p, q, r = g[at:], y[at:], out[at:]
        total = f64(0.0)
        for start in range(0, columns, BLOCK):
            part = 0.0
            for j in simd(start, min(start + BLOCK, columns)):
                part += p[j] * q[j]
            total += part
        mean = T(total)
        for j in simd(columns):
            r[j] = (p[j] - mean) * q[j]


@kernel
def log_softmax_back_rows(
    first: int, last: int, g: Array[T], y: Array[T], out: Array[T], columns: int
) -> None:
    """g - exp(y) * sum of g, for the logarithmic softmax y."""
    for row in range(first, last):
        at = row * columns
        p, q, r = g[at:], y[at:], out[at:]
        total = f64(0.0)
        for start in range(0, columns, BLOCK):
            part = 0.0
            for j in simd(start, min(start + BLOCK, columns)):
                part += p[j]
            total += part
        mass = T(total)
        for j in simd(columns):
            r[j] = p[j] - decay(q[j]) * mass


# ---------------------------------------------------------------- columns
@inline
def fill_highest(high: Any, x: Any, length: Any, step: Any, width: Any) -> None:
    """The largest element of each of `width` columns, into `high`."""
    for j in simd(width):
        high[j] = -inf
    for i in range(length):
        p = x[i * step :]
        for j in simd(width):
            high[j] = larger(high[j], p[j])


@inline
def fill_exponential_sums(
    total: Any, x: Any, shift: Any, length: Any, step: Any, width: Any
) -> None:
    """The sum of exp(x - shift) over each of `width` columns, into `total`."""
    for j in simd(width):
        total[j] = 0.0
    for i in range(length):
        p = x[i * step :]
        for j in simd(width):
            total[j] += decay(p[j] - shift[j])


@kernel
def softmax_columns(
    first: int, last: int, x: Array[T], out: Array[T], length: int, columns: int, logarithm: Static
) -> None:
    """exp(x) over its sum along each column, or the logarithm of that."""
    high, total = local(T, BAND), local(T, BAND)
    bands = (columns + BAND - 1) // BAND
    for item in range(first, last):
        start = (item % bands) * BAND
        at = (item // bands) * length * columns + start
        width = min(BAND, columns - start)
        fill_highest(high, x[at:], length, columns, width)
        fill_exponential_sums(total, x[at:], high, length, columns, width)
        for j in simd(width):
            total[j] = log(total[j]) if logarithm else 1.0 / total[j]
        for i in range(length):
            p, q = x[at + i * columns :], out[at + i * columns :]
            for j in simd(width):
                shifted = p[j] - high[j]
                q[j] = shifted - total[j] if logarithm else decay(shifted) * total[j]


@kernel
def logsumexp_columns(
    first: int, last: int, x: Array[T], out: Array[T], length: int, columns: int
) -> None:
    """The logarithm of the sum of exp(x) along each column."""
    high, total = local(T, BAND), local(T, BAND)
    bands = (columns + BAND - 1) // BAND
    for item in range(first, last):
        start = (item % bands) * BAND
        at = (item // bands) * length * columns + start
        width = min(BAND, columns - start)
        fill_highest(high, x[at:], length, columns, width)
        for j in simd(width):
            high[j] = select(abs(high[j]) < inf, high[j], 0.0)
            total[j] = 0.0
        for i in range(length):
            p = x[at + i * columns :]
            for j in simd(width):
                total[j] += exp(p[j] - high[j])
        q = out[(item // bands) * columns + start :]
        for j in simd(width):
            q[j] = log(total[j]) + high[j]


@kernel
def softmax_back_columns(
    first: int,
    last: int,
    g: Array[T],
    y: Array[T],
    out: Array[T],
    length: int,
    columns: int,
    logarithm: Static,
) -> None:
    """What the row kernels of the same name compute, along each column."""
    total = local(T, BAND)
    bands = (columns + BAND - 1) // BAND
    for item in range(first, last):
        start = (item % bands) * BAND
        at = (item // bands) * length * columns + start
        width = min(BAND, columns - start)
        for j in simd(width):
            total[j] = 0.0
        for i in range(length):
            p, q = g[at + i * columns :], y[at + i * columns :]
            for j in simd(width):
                total[j] += p[j] if logarithm else p[j] * q[j]
        for i in range(length):
            p, q = g[at + i * columns :], y[at + i * columns :]
            r = out[at + i * columns :]
            for j in simd(width):
                v = p[j] - decay(q[j]) * total[j] if logarithm else (p[j] - total[j]) * q[j]
                r[j] = v
