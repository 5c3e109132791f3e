"""Running sums, products and extrema along one dimension: compiled for large arrays, else NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler import allocator
from ...compiler.kernel import serves
from ...compiler.language import F64, I64
from . import scan_kernels as kernels
from .precision import FLOATS

SMALL = 1024
"""Elements below which NumPy is faster."""
_LONG = 65536
"""Elements from which the segments of a single row are summed side by side."""
_WIDE = np.dtype(np.float64)
_JOINS = {np.add: (kernels.plus, 0), np.multiply: (kernels.times, 1)}


def _stacked(x: Any, axis: int) -> tuple[Any, int, int, int]:
    """`x` without gaps, and its sizes before, along and after `axis`."""
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return np.ascontiguousarray(x), before, x.shape[axis], after


def accumulate(x: Any, axis: int, ufunc: Any, dtype: Any) -> Any:
    """The running sum (np.add) or product (np.multiply) along `axis`, in `dtype`.

    Floats run in float64 and are rounded once.
    """
    kind = np.dtype(dtype)
    wide = _WIDE if kind in FLOATS else kind
    known = (kind in FLOATS and x.dtype in FLOATS) or (x.dtype.kind in "iu" and kind == np.int64)
    if x.size < SMALL or not known or not serves(np.empty(0, x.dtype)):
        return ufunc.accumulate(x, axis, wide).astype(kind, copy=False)
    x, before, n, after = _stacked(x, axis)
    allocator.prepare(x.size * kind.itemsize)
    out = np.empty(x.shape, kind)
    join, start = _JOINS[ufunc]
    state = F64 if kind in FLOATS else I64
    if after > 1:
        bands = -(-after // kernels.BAND)
        width = min(after, kernels.BAND)
        kernels.accumulate_columns(
            before * bands, n * width * 2, x, out, n, after, bands, start, state, join
        )
    elif before < kernels.ROWS and ufunc is np.add and state is F64 and n >= _LONG:
        for row, result in zip(x.reshape(before, n), out.reshape(before, n), strict=True):
            _sum_long(row, result)
    else:
        groups = -(-before // kernels.ROWS)
        kernels.accumulate_rows(groups, n * kernels.ROWS * 4, x, out, before, n, start, state, join)
    return out


def _sum_long(x: Any, out: Any) -> None:
    """The running sum of a vector: its segments side by side, from where the ones before end."""
    width = x.size // kernels.ROWS
    whole = width * kernels.ROWS
    totals, starts = np.empty(kernels.ROWS), np.zeros(kernels.ROWS + 1)
    kernels.total_segments(kernels.ROWS, width, x, totals, width)
    np.cumsum(totals, out=starts[1:])
    kernels.accumulate_segments(1, x.size, x, out, starts, width)
    rest = x[whole:].astype(_WIDE)
    if rest.size:
        rest[0] += starts[-1]
        out[whole:] = np.cumsum(rest)


def extremes(x: Any, axis: int, ufunc: Any) -> tuple[Any, Any]:
    """The running maximum (np.maximum) or minimum along `axis` and its last place; NaN wins."""
    if x.size < SMALL or x.dtype not in FLOATS or not serves(np.empty(0, x.dtype)):
        return _extremes_by_numpy(x, axis, ufunc)
    x, before, n, after = _stacked(x, axis)
    allocator.prepare(8 * x.size)
    out, places = np.empty(x.shape, x.dtype), np.empty(x.shape, np.int64)
    beats = kernels.at_least if ufunc is np.maximum else kernels.at_most
    if after > 1:
        bands = -(-after // kernels.BAND)
        width = min(after, kernels.BAND)
        kernels.extreme_columns(
            before * bands, n * width * 10, x, out, places, n, after, bands, beats
        )
    else:
        groups = -(-before // kernels.ROWS)
        kernels.extreme_rows(groups, n * kernels.ROWS * 25, x, out, places, before, n, beats)
    return out, places


def _extremes_by_numpy(x: Any, axis: int, ufunc: Any) -> tuple[Any, Any]:
    values = ufunc.accumulate(x, axis)
    here = np.equal(x, values)
    if x.dtype.kind in "fV":
        here |= np.isnan(x)
    shape = [1] * x.ndim
    shape[axis] = -1
    place = np.arange(x.shape[axis]).reshape(shape)
    return values, np.maximum.accumulate(np.where(here, place, 0), axis)
