"""Sums of integers and counts of numbers: compiled for many of them, else NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import jit, threads
from ...compiler.kernel import serves
from . import counting_kernels as kernels
from .reductions import Planned, lay_out

Array = Any
FEW = 20000
"""Numbers below which NumPy counts as fast."""
_MANY = 1 << 17
"""Truth values below which NumPy is faster where all of them are counted."""
_PIECES = 4
_BINS = 1 << 14
"""Bins up to which the counters of all pieces stay in the caches."""
_LONG = np.dtype(np.int64)


def add(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """The int64 sum of integers or truth values over `axes`."""
    if len(axes) == x.ndim and not keepdims and x.dtype == np.bool_ and x.size < _MANY:
        return np.asarray(np.count_nonzero(x), _LONG)
    total = _sum(x, axes, keepdims)
    return np.add.reduce(x, axes, _LONG, keepdims=keepdims) if total is None else total


def _plan(x: Array, axes: tuple[int, ...], keepdims: bool) -> Callable[[Array], Array] | None:
    """The launch of a kernel for sums over `axes`."""
    if x.dtype.kind not in "iub" or not x.dtype.isnative or not jit.available():
        return None
    p = lay_out(x, axes, keepdims)
    if p is None:
        return None
    kernel = kernels.sum_rows if p.along_rows else kernels.sum_columns
    bools = x.dtype == np.bool_
    example = np.empty(1, np.uint8 if bools else x.dtype)
    launch = kernel.prepare(example, np.empty(1, _LONG), *p.numbers)
    items, cost, numbers = p.items, p.cost(0.1), p.numbers

    def run(x: Array) -> Array:
        out = np.empty(p.partial, _LONG)
        chunks, share = threads.split(items, cost) if items > 1 else (1, 1)
        launch(chunks, items, share, x.view(np.uint8) if bools else x, out, *numbers)
        if p.rest:
            out = np.add.reduce(out, p.rest)
        return np.asarray(p.shaped(out))

    return run


_sum = Planned(_plan)


def count_numbers(x: Array, weights: Array | None = None, least: int = 0) -> Array:
    """How often each number occurs in the vector `x`, int64, for at least `least` numbers.

    With `weights` the float64 sums of the weights of each. Raises ValueError where a number is
    negative.
    """
    if weights is not None:
        weights = np.ascontiguousarray(weights, np.float64)
    if x.size < FEW or not serves(x):
        return np.bincount(x, weights, least)
    low, high = _limits(x)
    if low < 0:
        raise ValueError("a number to count is negative")
    bins = max(least, high + 1)
    pieces = min(_PIECES, x.size // (4 * bins))
    if bins > _BINS or not pieces:
        return np.bincount(x, weights, least)
    size = -(-x.size // pieces)
    kind = np.int64 if weights is None else np.float64
    sums = np.zeros((pieces, kernels.LANES, bins), kind)
    kernels.count_numbers(pieces, 20 * size, x, weights, sums, size, x.size, bins)
    return sums.sum((0, 1))


def _limits(x: Array) -> tuple[int, int]:
    """The least and the greatest number."""
    size = min(x.size, 1024)
    pieces = x.size // size
    limits = np.empty((pieces, 2), np.int64)
    kernels.find_limits(pieces, 2 * size, x, limits, size)
    rest = x[pieces * size :]
    low, high = int(limits[:, 0].min()), int(limits[:, 1].max())
    return (min(low, int(rest.min())), max(high, int(rest.max()))) if rest.size else (low, high)
