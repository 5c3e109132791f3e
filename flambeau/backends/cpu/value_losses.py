"""Losses between numbers: the sum or mean of a scalar expression of x and y, and its slopes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compiler import allocator
from ...compiler.expressions import Expression
from ...compiler.kernel import kernel, serves
from ...compiler.language import Array, S, Static, T, simd
from ...compiler.scalar_ir import Unsupported
from . import reduction_kernels, reductions
from .precision import FLOATS, wide_dtype


def total(terms: Expression, x: Any, y: Any, mean: bool) -> Any:
    """The sum or mean of `terms` over all elements, 0-d; None where there is no kernel for it."""
    if x.shape != y.shape or not x.size:
        return None
    finish = reduction_kernels.over_count if mean else reduction_kernels.as_it_is
    return reductions.fold(terms, (x, y), tuple(range(x.ndim)), finish=finish)


def slopes(slope: Expression, g: Any, x: Any, y: Any, scale: float) -> Any:
    """``g * scale * slope`` with a 0-d `g`, for each element; None without a kernel for it."""
    if x.shape != y.shape or x.dtype != y.dtype or x.dtype not in FLOATS:
        return None
    if not (x.size and serves(x, y)):
        return None
    allocator.prepare(x.nbytes)
    out = np.empty(x.shape, x.dtype)
    factor = np.asarray(g, wide_dtype(x.dtype))
    try:
        scaled_slopes(x.size, 6, x, y, factor, out, scale, slope)
    except Unsupported:
        return None
    return out


@kernel
def scaled_slopes(
    first: int,
    last: int,
    x: Array[T],
    y: Array[T],
    g: Array[S],
    out: Array[T],
    scale: float,
    slope: Static,
) -> None:
    """The slope of a loss at each pair, times one number."""
    factor = g[0] * scale
    for i in simd(first, last):
        out[i] = slope(x=x[i], y=y[i]) * factor
