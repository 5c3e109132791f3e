"""Factors of batches of small matrices, and systems with triangular ones: one kernel for a batch.

LAPACK takes one matrix a call, and the way to it costs more than the work on a matrix of a few
rows. Pivots are chosen as LAPACK chooses them. Matrices are the last two dimensions, in C order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler.kernel import inline, kernel, serves
from ...compiler.language import F64, I32, Array, T, f64, isnan, local, select, simd, sqrt

_LARGEST = 32
"""Rows and columns up to which a plain loop beats a call of LAPACK."""

_FEW = 64

_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})

# Bunch and Kaufman's bound (1977), for which blocks of one and of two rows let entries grow alike.
_ALPHA = (1 + math.sqrt(17)) / 8


def _are_small(a: Any) -> bool:
    return bool(a.size and a.dtype in _FLOATS and max(a.shape[-2:]) <= _LARGEST)


def lu(a: Any) -> tuple[Any, Any] | None:
    """The compact LU factors and the row exchanges (int32, from one); None without a kernel."""
    if not _are_small(a) or not serves(out := np.array(a, order="C")):
        return None
    rows, columns = a.shape[-2:]
    least = min(rows, columns)
    pivots = np.empty((*a.shape[:-2], least), np.int32)
    eliminated(a.size // (rows * columns), 20 * rows * columns * least, out, pivots, rows, columns)
    return out, pivots


def qr(a: Any) -> tuple[Any, Any] | None:
    """Q with orthonormal columns and upper triangular R with Q R = A; None without a kernel.

    Computed in float64, rounded once.
    """
    kind = a.dtype
    few = a.size < _FEW  # not worth the loading of a kernel
    if few or not _are_small(a) or not serves(a := np.array(a, np.float64, order="C")):
        return None
    lead, (rows, columns) = a.shape[:-2], a.shape[-2:]
    least = min(rows, columns)
    q, r = np.empty((*lead, rows, least), a.dtype), np.empty((*lead, least, columns), a.dtype)
    cost = 20 * rows * (columns + least) * least
    orthogonalised(a.size // (rows * columns), cost, a, q, r, rows, columns)
    return q.astype(kind, copy=False), r.astype(kind, copy=False)


def ldl(a: Any) -> tuple[Any, Any, Any] | None:
    """The compact LDL factors of lower triangles, LAPACK's pivots and infos (int32), or None."""
    if not _are_small(a) or not serves(out := np.array(np.tril(a), order="C")):
        return None
    n = a.shape[-1]
    pivots, infos = np.empty(a.shape[:-1], np.int32), np.zeros(a.shape[:-2], np.int32)
    symmetric_eliminated(infos.size, 20 * n * n * n, out, pivots, infos, n, _ALPHA)
    return out, pivots, infos


def substituted(a: Any, b: Any, upper: bool, unit: bool) -> Any | None:
    """X with A X = B for triangular A of the batch of B; None without a kernel."""
    n, columns = b.shape[-2:]
    count = b.size // (n * columns)
    if not _are_small(a) or a.dtype != b.dtype or (count < 4 and columns > 4 * _LARGEST):
        return None
    x, a = np.array(b, order="C"), np.ascontiguousarray(a)
    if not serves(a, x):
        return None
    triangular_solved(count, n * (n + 20) * columns, a, x, n, columns, upper, unit)
    return x


def permutations(pivots: Any, n: int, kind: Any) -> Any | None:
    """The n by n permutation matrices of row exchanges, of dtype `kind`; None without a kernel."""
    known = pivots.size and n <= _LARGEST and pivots.dtype == np.int32 and kind in _FLOATS
    if not known or not serves(pivots := np.ascontiguousarray(pivots)):
        return None
    out, k = np.empty((*pivots.shape[:-1], n, n), kind), pivots.shape[-1]
    exchanged(pivots.size // k, n * n + 40 * k, pivots, out, n, k)
    return out


def ldl_solved(ld: Any, pivots: Any, b: Any) -> Any | None:
    """X with A X = B from A's LDL factors and checked pivots of the batch of B, or None."""
    n, columns = b.shape[-2:]
    if not _are_small(ld) or ld.dtype != b.dtype:
        return None
    x, ld = np.array(b, order="C"), np.ascontiguousarray(ld)
    order = np.ascontiguousarray(pivots, np.int32)
    if not serves(ld, order, x):
        return None
    blocks_solved(b.size // (n * columns), 2 * n * (n + 20) * columns, ld, order, x, n, columns)
    return x


@inline
def exchange_rows(x: Any, i: Any, j: Any, columns: Any) -> None:
    """Exchange two rows."""
    if i != j:
        for c in range(columns):
            held = x[i * columns + c]
            x[i * columns + c] = x[j * columns + c]
            x[j * columns + c] = held


@inline
def subtract_row(x: Any, i: Any, j: Any, factor: Any, columns: Any) -> None:
    """Subtract a multiple of row j from row i."""
    source, row = x[j * columns :], x[i * columns :]
    for c in simd(columns):
        row[c] = row[c] - factor * source[c]


@inline
def divide_by_block(a: Any, x: Any, n: Any, k: Any, columns: Any) -> None:
    """Solve with the block of rows k and k + 1 of D."""
    beside = a[(k + 1) * n + k]
    top, low = a[k * n + k] / beside, a[(k + 1) * n + k + 1] / beside
    size = top * low - 1.0
    for c in range(columns):
        upper = x[k * columns + c] / beside
        lower = x[(k + 1) * columns + c] / beside
        x[k * columns + c] = (low * upper - lower) / size
        x[(k + 1) * columns + c] = (top * lower - upper) / size


@kernel
def blocks_solved(
    first: int, last: int, ld: Array[T], pivots: Array[I32], b: Array[T], n: int, columns: int
) -> None:
    """Systems with L, with D and with L's transpose, in place, rows exchanged on the way."""
    for item in range(first, last):
        a, x, order = ld[item * n * n :], b[item * n * columns :], pivots[item * n :]
        k = 0
        while k < n:
            if order[k] > 0:
                exchange_rows(x, k, order[k] - 1, columns)
                for i in range(k + 1, n):
                    subtract_row(x, i, k, a[i * n + k], columns)
                pivot = a[k * n + k]
                for c in simd(columns):
                    x[k * columns + c] = x[k * columns + c] / pivot
                k += 1
            else:
                exchange_rows(x, k + 1, -order[k] - 1, columns)
                for i in range(k + 2, n):
                    subtract_row(x, i, k, a[i * n + k], columns)
                    subtract_row(x, i, k + 1, a[i * n + k + 1], columns)
                divide_by_block(a, x, n, k, columns)
                k += 2
        k = n - 1
        while k >= 0:
            for i in range(k + 1, n):
                subtract_row(x, k, i, a[i * n + k], columns)
            if order[k] > 0:
                exchange_rows(x, k, order[k] - 1, columns)
                k -= 1
            else:
                for i in range(k + 1, n):
                    subtract_row(x, k - 1, i, a[i * n + k - 1], columns)
                exchange_rows(x, k, -order[k] - 1, columns)
                k -= 2


@kernel
def exchanged(first: int, last: int, pivots: Array[I32], out: Array[T], n: int, k: int) -> None:
    """The identity with its rows exchanged, from the last exchange to the first."""
    for item in range(first, last):
        p, order = out[item * n * n :], pivots[item * k :]
        for j in simd(n * n):
            p[j] = T(0.0)
        for i in range(n):
            p[i * n + i] = T(1.0)
        for step in range(k):
            i = k - 1 - step
            other = order[i] - 1
            if other != i and other >= 0 and other < n and i < n:
                for j in range(n):
                    held = p[i * n + j]
                    p[i * n + j] = p[other * n + j]
                    p[other * n + j] = held


@kernel
def eliminated(
    first: int, last: int, a: Array[T], pivots: Array[I32], rows: int, columns: int
) -> None:
    """Gaussian elimination in place, with exchanges for the largest pivot of each column."""
    least = min(rows, columns)
    for item in range(first, last):
        x, order = a[item * rows * columns :], pivots[item * least :]
        for k in range(least):
            best, high = k, abs(x[k * columns + k])
            for i in range(k + 1, rows):
                size = abs(x[i * columns + k])
                if size > high:
                    best, high = i, size
            order[k] = best + 1
            if best != k:
                for j in simd(columns):
                    held = x[k * columns + j]
                    x[k * columns + j] = x[best * columns + j]
                    x[best * columns + j] = held
            if high != 0.0:
                pivot = x[k * columns + k]
                for i in range(k + 1, rows):
                    factor = x[i * columns + k] / pivot
                    x[i * columns + k] = factor
                    for j in simd(k + 1, columns):
                        x[i * columns + j] = x[i * columns + j] - factor * x[k * columns + j]


@inline
def reflect(
    x: Any, v: Any, tau: Any, k: Any, rows: Any, columns: Any, start: Any, step: Any
) -> None:
    """Subtract tau v (v' x) from columns `start` and on; v is 1 at row k, then column k of `v`."""
    products = local(F64, 32)
    for j in simd(start, columns):
        products[j] = x[k * columns + j]
    for i in range(k + 1, rows):
        factor = v[i * step + k]
        for j in simd(start, columns):
            products[j] += factor * x[i * columns + j]
    for j in simd(start, columns):
        products[j] = tau * products[j]
        x[k * columns + j] -= products[j]
    for i in range(k + 1, rows):
        factor = v[i * step + k]
        for j in simd(start, columns):
            x[i * columns + j] -= factor * products[j]


@inline
def reflection(x: Any, k: Any, rows: Any, columns: Any) -> Any:
    """Replace column k by R's entry and the vector of the reflection below it; its factor."""
    head, scale, tau = x[k * columns + k], f64(0.0), f64(0.0)
    for i in range(k + 1, rows):
        size = abs(x[i * columns + k])
        if size > scale or isnan(size):
            scale = size
    if scale != 0.0:
        scale = max(scale, abs(head))
        total = head / scale * (head / scale)
        for i in range(k + 1, rows):
            part = x[i * columns + k] / scale
            total += part * part
        entry = scale * sqrt(total)
        if head > 0.0:
            entry = -entry
        tau = (entry - head) / entry
        for i in range(k + 1, rows):
            x[i * columns + k] = x[i * columns + k] / (head - entry)
        x[k * columns + k] = entry
    return tau


@kernel
def orthogonalised(
    first: int, last: int, a: Array[F64], q: Array[F64], r: Array[F64], rows: int, columns: int
) -> None:
    """Householder's reflections of each matrix, as LAPACK chooses them: Q and R; a is lost."""
    least = min(rows, columns)
    taus = local(F64, 32)
    for item in range(first, last):
        x, basis = a[item * rows * columns :], q[item * rows * least :]
        upper = r[item * least * columns :]
        for k in range(least):
            taus[k] = reflection(x, k, rows, columns)
            reflect(x, x, taus[k], k, rows, columns, k + 1, columns)
        for i in range(least):
            for j in simd(columns):
                upper[i * columns + j] = select(j < i, 0.0, x[i * columns + j])
        for i in range(rows):
            for j in simd(least):
                basis[i * least + j] = select(i == j, 1.0, 0.0)
        for step in range(least):
            k = least - 1 - step
            reflect(basis, x, taus[k], k, rows, least, k, columns)


@inline
def exchange(x: Any, n: Any, k: Any, moved: Any, chosen: Any) -> None:
    """Exchange rows and columns `moved` and `chosen`, the later one, of a lower triangle."""
    for i in range(chosen + 1, n):
        held = x[i * n + moved]
        x[i * n + moved] = x[i * n + chosen]
        x[i * n + chosen] = held
    for j in range(moved + 1, chosen):
        held = x[j * n + moved]
        x[j * n + moved] = x[chosen * n + j]
        x[chosen * n + j] = held
    held = x[moved * n + moved]
    x[moved * n + moved] = x[chosen * n + chosen]
    x[chosen * n + chosen] = held
    if moved != k:  # a block of two rows: the entry between them
        held = x[moved * n + k]
        x[moved * n + k] = x[chosen * n + k]
        x[chosen * n + k] = held


@inline
def remove_one(x: Any, n: Any, k: Any) -> None:
    """Subtract what column k explains; L takes its place."""
    pivot = x[k * n + k]
    for i in range(k + 1, n):
        factor = x[i * n + k] / pivot
        for j in range(k + 1, i + 1):
            x[i * n + j] = x[i * n + j] - factor * x[j * n + k]
    for i in range(k + 1, n):
        x[i * n + k] = x[i * n + k] / pivot


@inline
def remove_two(x: Any, n: Any, k: Any) -> None:
    """Subtract what columns k and k + 1 explain; L takes their place."""
    beside = x[(k + 1) * n + k]
    low, top = x[(k + 1) * n + k + 1] / beside, x[k * n + k] / beside
    scale = 1.0 / (low * top - 1.0) / beside
    for j in range(k + 2, n):
        left = scale * (low * x[j * n + k] - x[j * n + k + 1])
        right = scale * (top * x[j * n + k + 1] - x[j * n + k])
        for i in range(j, n):
            x[i * n + j] = x[i * n + j] - x[i * n + k] * left - x[i * n + k + 1] * right
        x[j * n + k] = left
        x[j * n + k + 1] = right


@kernel
def symmetric_eliminated(
    first: int,
    last: int,
    a: Array[T],
    pivots: Array[I32],
    infos: Array[I32],
    n: int,
    alpha: float,
) -> None:
    """Bunch and Kaufman's elimination of lower triangles in place, by blocks of one or two rows."""
    for item in range(first, last):
        x, order = a[item * n * n :], pivots[item * n :]
        k = 0
        while k < n:
            diagonal = abs(x[k * n + k])
            far, high = k, T(0.0)
            for i in range(k + 1, n):
                size = abs(x[i * n + k])
                if size > high:
                    far, high = i, size
            chosen, step = k, 1
            if diagonal < alpha * high:
                across = T(0.0)  # the largest entry of row and column `far` beside the diagonal
                for j in range(k, far):
                    across = max(across, abs(x[far * n + j]))
                for i in range(far + 1, n):
                    across = max(across, abs(x[i * n + far]))
                if diagonal < alpha * high * (high / across):
                    chosen = far
                    if abs(x[far * n + far]) < alpha * across:
                        step = 2
            moved = k + step - 1
            if chosen != moved:
                exchange(x, n, k, moved, chosen)
            if step == 2:
                order[k], order[k + 1] = -chosen - 1, -chosen - 1
                remove_two(x, n, k)
            else:
                order[k] = chosen + 1
                if diagonal != 0.0 or high != 0.0:
                    remove_one(x, n, k)
                elif infos[item] == 0:
                    infos[item] = k + 1
            k += step


@kernel
def triangular_solved(
    first: int,
    last: int,
    a: Array[T],
    x: Array[T],
    n: int,
    columns: int,
    upper: int,
    unit: int,
) -> None:
    """Substitution in place, row by row: from the last one up if `upper`."""
    for item in range(first, last):
        matrix, rows = a[item * n * n :], x[item * n * columns :]
        for step in range(n):
            i, start, stop = step, 0, step
            if upper != 0:
                i, start, stop = n - 1 - step, n - step, n
            row = rows[i * columns :]
            for j in range(start, stop):
                factor = matrix[i * n + j]
                known = rows[j * columns :]
                for c in simd(columns):
                    row[c] = row[c] - factor * known[c]
            if unit == 0:
                pivot = matrix[i * n + i]
                for c in simd(columns):
                    row[c] = row[c] / pivot
