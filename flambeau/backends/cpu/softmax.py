"""Softmax and its kin along an axis: kernels where they serve, else NumPy.

float16 and bfloat16 are computed in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import UNIT, serves
from . import softmax_kernels as kernels
from .precision import FLOATS, NARROW, widened

Array = Any

_COST = 8
"""What an exponential and its share of the sums cost, in additions."""


def softmax(x: Array, axis: int) -> Array:
    """exp(x) divided by its sum along `axis`."""
    return _forward(x, axis, False)


def log_softmax(x: Array, axis: int) -> Array:
    """x minus the logarithm of the sum of exp(x) along `axis`."""
    return _forward(x, axis, True)


Plan = tuple[Any, int, float, tuple[Any, ...]]
"""A compiled kernel, its items, what one costs in nanoseconds, and the numbers that it takes."""

_plans: dict[Any, Plan] = {}


def _forward(x: Array, axis: int, logarithm: bool) -> Array:
    x = _laid_out(x)
    shape, dtype = x.shape, x.dtype
    if not (x.size and dtype in FLOATS and serves(x)):
        return _in_wide(_log_softmax if logarithm else _softmax, axis, x)
    key = shape, dtype, axis, logarithm
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) > 4096:
            _plans.clear()
        plan = _plans[key] = _plan_forward(x, axis, logarithm)
    launch, items, cost, numbers = plan
    allocator.prepare(x.nbytes)
    out = np.empty(shape, dtype)
    chunks, share = threads.split(items, cost)
    launch(chunks, items, share, x, out, *numbers)
    return out


def _plan_forward(x: Array, axis: int, logarithm: bool) -> Plan:
    stack, length, columns = _matrices(x.shape, axis)
    if columns > 1:
        items, cost = _bands(stack, length, columns)
        launch = kernels.softmax_columns.prepare(x, x, length, columns, logarithm)
        return launch, items, cost * UNIT, (length, columns)
    if length <= kernels.SHORT:
        launch = kernels.softmax_short_rows.prepare(x, x, length, logarithm)
    elif logarithm:
        launch = kernels.log_softmax_rows.prepare(x, x, length)
    elif x.dtype in NARROW:
        launch = kernels.softmax_rows.prepare(x, x, length)
    else:
        launch = kernels.softmax_stored_rows.prepare(x, x, length)
    return launch, stack, length * _COST * UNIT, (length,)


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The logarithm of the sum of exp(x) over `axes`."""
    count = len(axes)
    adjacent = count and max(axes) - min(axes) == count - 1
    if not (adjacent and x.size and x.dtype in FLOATS and serves(x)):
        return np.asarray(_logsumexp(widened(x), axes, keepdims)).astype(x.dtype, copy=False)
    start, stop = min(axes), max(axes) + 1
    shape = x.shape
    out = np.empty(shape[:start] + (1,) * (count * keepdims) + shape[stop:], x.dtype)
    stack, columns = math.prod(shape[:start]), math.prod(shape[stop:])
    length = x.size // (stack * columns)
    if columns == 1:
        kernels.logsumexp_rows(stack, length * _COST, x, out, length)
    else:
        items, cost = _bands(stack, length, columns)
        kernels.logsumexp_columns(items, cost, x, out, length, columns)
    return out


def softmax_back(g: Array, out: Array, axis: int) -> Array:
    """The gradient of `softmax` from that of its result `out`."""
    return _back(g, out, axis, False)


def log_softmax_back(g: Array, out: Array, axis: int) -> Array:
    """The gradient of `log_softmax` from that of its result `out`."""
    return _back(g, out, axis, True)


def _back(g: Array, y: Array, axis: int, logarithm: bool) -> Array:
    g, y = _laid_out(g), _laid_out(y)
    alike = g.shape == y.shape and g.dtype == y.dtype
    if not (alike and y.size and y.dtype in FLOATS and serves(g, y)):
        return _in_wide(_log_softmax_back if logarithm else _softmax_back, axis, g, y)
    allocator.prepare(y.nbytes)
    out = np.empty(y.shape, y.dtype)
    stack, length, columns = _matrices(y.shape, axis)
    if columns > 1:
        items, cost = _bands(stack, length, columns)
        kernels.softmax_back_columns(items, cost, g, y, out, length, columns, logarithm)
    elif logarithm:
        kernels.log_softmax_back_rows(stack, length * _COST, g, y, out, length)
    else:
        kernels.softmax_back_rows(stack, length * 3, g, y, out, length)
    return out


def _laid_out(x: Array) -> Array:
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def _matrices(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """A shape as (stack, length, columns), `axis` being the length."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _bands(stack: int, length: int, columns: int) -> tuple[int, int]:
    """The items of a column kernel, and what one costs."""
    width = min(columns, kernels.BAND)
    return stack * -(-columns // kernels.BAND), length * width * _COST


# ---------------------------------------------------------------- in NumPy
def _in_wide(function: Callable[..., Array], axis: int, *arrays: Array) -> Array:
    """`function` computed in single precision or better, in the last array's dtype."""
    return function(*map(widened, arrays), axis).astype(arrays[-1].dtype, copy=False)


def _softmax(x: Array, axis: int) -> Array:
    e = _shifted(x, axis)
    np.exp(e, out=e)
    e /= e.sum(axis, keepdims=True)
    return e


def _log_softmax(x: Array, axis: int) -> Array:
    e = _shifted(x, axis)
    e -= np.log(np.exp(e).sum(axis, keepdims=True))
    return e


def _logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if not all(x.shape[axis] for axis in axes):
        return np.log(np.asarray(np.exp(x).sum(axes, keepdims=keepdims)))
    highest = x.real.max(axes, keepdims=True)
    # An infinite maximum would give inf - inf; the sum of exponentials is right without a shift.
    highest = np.where(np.isfinite(highest), highest, 0)
    total = np.log(np.exp(x - highest).sum(axes, keepdims=keepdims))
    return total + (highest if keepdims else highest.reshape(np.shape(total)))


def _softmax_back(g: Array, out: Array, axis: int) -> Array:
    r = g * out
    r -= out * r.sum(axis, keepdims=True)
    return r


def _log_softmax_back(g: Array, out: Array, axis: int) -> Array:
    r = np.exp(out)
    r *= g.sum(axis, keepdims=True)
    return np.subtract(g, r, out=r)


def _shifted(x: Array, axis: int) -> Array:
    """`x` minus its maximum along `axis`, in a new array."""
    if not x.shape[axis]:
        return x.copy()
    return np.subtract(x, x.max(axis, keepdims=True))
