"""Cross-entropy of scores with target classes: kernels where they serve, else NumPy.

Scores are (N, C) or (N, C, B): samples, classes, places; int64 targets (N,) or (N, B). float16 and
bfloat16 are computed in float32; `weight` and all results but the scores' gradient are as wide as
what is computed with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...compiler import allocator
from ...compiler.kernel import serves
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
    kind = wide_dtype(scores.dtype)
    weight = parameter(weight, kind)
    classes = scores.shape[1]
    lse = np.empty(target.shape, kind)
    losses = np.empty(target.shape, kind) if each else None
    status = np.zeros(2, np.int64)
    if scores.ndim == 2:
        rows = scores.shape[0]
        block = max(min(_BLOCK // classes, 256), 1)
        items = -(-rows // block)
        sums = np.empty((items, 2))
        kernels.cross_entropy_rows(
            items, min(block, rows) * classes * _COST, scores, target, weight, losses, lse, sums,
            status, rows, classes, block, ignored, smoothing, smoothing != 0, classes <= SHORT,
        )  # fmt: skip
    else:
        items, cost = _bands(scores)
        sums = np.empty((items, 2))
        kernels.cross_entropy_columns(
            items, cost, scores, target, weight, losses, lse, sums, status, classes,
            scores.shape[2], ignored, smoothing, smoothing != 0,
        )  # fmt: skip
    wrong, which = status.tolist()
    if wrong:
        raise IndexError(f"Target {which} is out of bounds.")
    total, mass = (sums[0] if items == 1 else np.add.reduce(sums, 0)).tolist()
    return Likelihood(losses, lse, total, mass)


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
        items, cost = _bands(scores)
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


def _bands(scores: Array) -> tuple[int, int]:
    """The items of a column kernel, and what one costs."""
    samples, classes, places = scores.shape
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
