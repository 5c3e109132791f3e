"""Products of vectors with vectors: compiled for many numbers in float32, else NumPy."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...compiler import allocator, jit, threads
from ...compiler.kernel import UNIT, kernel
from ...compiler.language import Array, Static, T, f64, simd
from .layout import contiguous

_FEW = 2048
_SINGLE = np.dtype(np.float32)


@kernel
def multiply_all(
    first: int, last: int, x: Array[T], y: Array[T], out: Array[T], columns: int
) -> None:
    """out[i, j] = x[i] * y[j]; an item is a row."""
    for i in range(first, last):
        target, factor = out[i * columns :], x[i]
        for j in simd(columns):
            target[j] = factor * y[j]


def outer(x: Any, y: Any) -> Any:
    """All products of the elements of two vectors of one dtype, (n,), (m,) -> (n, m)."""
    rows, columns = x.size, y.size
    fits = rows * columns >= _FEW and x.dtype == y.dtype == _SINGLE and jit.available()
    if not fits or not (x.flags.aligned and y.flags.aligned):
        return x[:, None] * y
    allocator.prepare(4 * rows * columns)
    out = np.empty((rows, columns), _SINGLE)
    chunks, share = threads.split(rows, columns * UNIT)
    _multiplier()(chunks, rows, share, contiguous(x), contiguous(y), out, columns)
    return out


@functools.cache
def _multiplier() -> Any:
    one = np.empty(1, _SINGLE)
    return multiply_all.prepare(one, one, one, 1)


@kernel
def cross_rows(
    first: int,
    last: int,
    x: Array[T],
    y: Array[T],
    out: Array[T],
    columns: int,
    dense: Static,
) -> None:
    """Vectors along the second of three dimensions, of which `columns` is the last.

    An item is a position of the first. With `dense` there is one column. Products are exact in
    float64, so that vectors of one direction have a product of zero.
    """
    if dense:
        for i in simd(first, last):
            a, b, c = f64(x[3 * i]), f64(x[3 * i + 1]), f64(x[3 * i + 2])
            d, e, f = f64(y[3 * i]), f64(y[3 * i + 1]), f64(y[3 * i + 2])
            out[3 * i] = T(b * f - c * e)
            out[3 * i + 1] = T(c * d - a * f)
            out[3 * i + 2] = T(a * e - b * d)
    else:
        for i in range(first, last):
            left, right = x[3 * i * columns :], y[3 * i * columns :]
            target = out[3 * i * columns :]
            for j in simd(columns):
                a, b, c = f64(left[j]), f64(left[columns + j]), f64(left[2 * columns + j])
                d, e, f = f64(right[j]), f64(right[columns + j]), f64(right[2 * columns + j])
                target[j] = T(b * f - c * e)
                target[columns + j] = T(c * d - a * f)
                target[2 * columns + j] = T(a * e - b * d)


def cross(x: Any, y: Any, axis: int) -> Any:
    """The cross products of vectors along `axis` of two arrays of one shape and dtype."""
    if x.size >= _FEW and x.dtype == _SINGLE and jit.available():
        x, y = contiguous(x), contiguous(y)
        if x.flags.aligned and y.flags.aligned:
            return _cross_by_kernel(x, y, axis)
    out = np.empty(x.shape, x.dtype)
    lead = (slice(None),) * axis
    keys = [(*lead, i, ...) for i in range(3)]
    a, b = [x[key] for key in keys], [y[key] for key in keys]
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        part = out[keys[i]]
        np.multiply(a[j], b[k], part)
        np.subtract(part, a[k] * b[j], part)
    return out


def _cross_by_kernel(x: Any, y: Any, axis: int) -> Any:
    allocator.prepare(x.nbytes)
    out = np.empty(x.shape, x.dtype)
    columns = math.prod(x.shape[axis + 1 :])
    rows = x.size // (3 * columns)
    chunks, share = threads.split(rows, 20 * columns * UNIT)
    _crosser(columns == 1)(chunks, rows, share, x, y, out, columns)
    return out


@functools.cache
def _crosser(dense: bool) -> Any:
    one = np.empty(1, _SINGLE)
    return cross_rows.prepare(one, one, one, 1, dense)
