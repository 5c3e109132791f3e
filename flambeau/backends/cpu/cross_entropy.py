"""Cross-entropy of scores with target classes: kernels where they serve, else NumPy.

Scores are (N, C) or (N, C, B): samples, classes, places; int64 targets (N,) or (N, B). float16 and
bfloat16 are computed in float32; `weight` and all results but the scores' gradient are as wide as
what is computed with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import UNIT, serves
from . import cross_entropy_kernels as kernels
from . import loss as reference
from .normalization import parameter
from .precision import FLOATS, wide_dtype, widened
from .softmax_kernels import SHORT

Array = Any

_COST = 8
"""What an exponential and its share of the sums cost, in additions."""
_BLOCK = 16384
"""Scores of the rows that are done together, and whose losses are summed."""


class Likelihood(NamedTuple):
    """The loss of each target if asked for, the log of each sum of exponentials, and two sums.

    `total` is the sum of the losses, `mass` that of the targets' weights.
    """

    losses: Array | None
    lse: Array
    total: float
    mass: float


def cross_entropy(
    scores: Array, target: Array, weight: Array | None, ignored: int, smoothing: float, each: bool
) -> Likelihood:
    """The loss of each target, before reduction; IndexError for a target that is no class."""
    target = np.ascontiguousarray(target)
    if not _is_for_kernels(scores, target):
        return _reference(scores, target, weight, ignored, smoothing)
    kind, items, launch = _plan(
        scores.dtype, scores.shape, weight is not None, each, smoothing != 0
    )
    lse = np.empty(target.shape, kind)
    losses = np.empty(target.shape, kind) if each else None
    given = [scores, target]
    if weight is not None:
        given.append(parameter(weight, kind))
    if losses is not None:
        given.append(losses)
    sums, status = np.empty((items, 2)), np.zeros(2, np.int64)
    launch([*given, lse, sums, status], ignored, smoothing)
    wrong, which = status.tolist()
    if wrong:
        raise IndexError(f"Target {which} is out of bounds.")
    total, mass = (sums[0] if items == 1 else np.add.reduce(sums, 0)).tolist()
    return Likelihood(losses, lse, total, mass)


@functools.lru_cache(maxsize=1024)
def _plan(
    dtype: Any, shape: tuple[int, ...], weighted: bool, each: bool, smooth: bool
) -> tuple[Any, int, Callable[..., None]]:
    """The dtype computed in, how many sums there are, and the launch for scores of `shape`."""
    kind, classes = wide_dtype(dtype), shape[1]
    if len(shape) == 2:
        block = max(min(_BLOCK // classes, 256), 1)
        items = -(-shape[0] // block)
        cost, kernel = min(block, shape[0]) * classes * _COST, kernels.cross_entropy_rows
        last, statics = (shape[0], classes, block), (smooth, classes <= SHORT)
    else:
        items, cost = _bands(shape)
        kernel, last, statics = kernels.cross_entropy_columns, shape[1:], (smooth,)
    wide, whole = np.empty(0, kind), np.empty(0, np.int64)
    launch = kernel.prepare(
        np.empty(0, dtype), whole, wide if weighted else None, wide if each else None, wide,
        np.empty(0), whole, *last, 0, 0.0, *statics,
    )  # fmt: skip

    def run(arrays: list[Any], ignored: int, smoothing: float) -> None:
        chunks, share = threads.split(items, cost * UNIT)
        launch(chunks, items, share, *arrays, *last, ignored, smoothing)

    return kind, items, run


def cross_entropy_back(
    g: Array,
    scores: Array,
    lse: Array,
    target: Array,
    weight: Array | None,
    ignored: int,
    smoothing: float,
    divisor: float,
) -> Array:
    """The gradient of `cross_entropy` for the scores: g / divisor is that of each loss.

    `g` is 0-d or has the targets' shape.
    """
    target = np.ascontiguousarray(target)
    if not _is_for_kernels(scores, target):
        return _reference_back(g, scores, lse, target, weight, ignored, smoothing, divisor)
    kind = wide_dtype(scores.dtype)
    g, lse, weight = parameter(np.asarray(g), kind), parameter(lse, kind), parameter(weight, kind)
    total = float(scores.shape[1]) if weight is None else 0.0
    if smoothing and weight is not None:
        total = float(np.add.reduce(weight))
    scale = 1.0 / divisor if divisor else np.inf
    allocator.prepare(scores.nbytes)
    out = np.empty(scores.shape, scores.dtype)
    numbers = ignored, scale, smoothing, total, g.ndim > 0, smoothing != 0
    if scores.ndim == 2:
        rows, classes = scores.shape
        kernels.cross_entropy_back_rows(
            rows, classes * _COST, g, scores, target, weight, lse, out, classes, *numbers
        )
    else:
        items, cost = _bands(scores.shape)
        kernels.cross_entropy_back_columns(
            items, cost, g, scores, target, weight, lse, out, *scores.shape[1:], *numbers
        )
    return out


def _is_for_kernels(scores: Array, target: Array) -> bool:
    return bool(
        scores.size
        and scores.dtype in FLOATS
        and target.dtype == np.int64
        and serves(scores, target)
    )


def _bands(shape: tuple[int, ...]) -> tuple[int, int]:
    """The items of a column kernel, and what one costs."""
    samples, classes, places = shape
    width = min(places, kernels.BAND)
    return samples * -(-places // kernels.BAND), classes * width * _COST


# ---------------------------------------------------------------- in NumPy
def _reference(
    scores: Array, target: Array, weight: Array | None, ignored: int, smoothing: float
) -> Likelihood:
    wide = None if weight is None else widened(weight)
    scores = widened(scores)
    targets = reference.prepare(target, wide, ignored, scores.shape[1], scores.dtype)
    losses, lse = reference.cross_entropy(scores, targets, wide, smoothing)
    mass = losses.size if targets.factors is None else float(targets.factors.sum())
    return Likelihood(losses, lse, float(losses.sum()), mass)


def _reference_back(
    g: Array, scores: Array, lse: Array, target: Array, weight: Any, ignored: int,
    smoothing: float, divisor: float,
) -> Array:  # fmt: skip
    weight, x = None if weight is None else widened(weight), widened(scores)
    targets = reference.prepare(target, weight, ignored, x.shape[1], x.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.broadcast_to(widened(g) / x.dtype.type(divisor), target.shape)
    r = reference.cross_entropy_back(shares, x, lse, targets, weight, smoothing)
    return r.astype(scores.dtype, copy=False)
