"""Losses over classes on NumPy arrays. Scores are (N, C, B): samples, classes, positions.

Targets are int64 (N, B); `prepare` gives the ignored ones the class 0 and the factor 0. Where there
is one position only, B may be left out.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Targets(NamedTuple):
    """Target classes, the factor of each one's loss (None: all 1), and which are ignored."""

    classes: Array
    factors: Array | None
    ignored: Array | None

    def weighted(self, loss: Array) -> Array:
        """`loss` (N, B) times the factors."""
        return loss if self.factors is None else self.without_ignored(loss * self.factors)

    def without_ignored(self, loss: Array) -> Array:
        """`loss` (N, B) with 0 for the ignored targets, whatever was computed for them."""
        if self.ignored is not None:
            loss[self.ignored] = 0
        return loss


def prepare(
    target: Array, weight: Array | None, ignore_index: int, count: int, dtype: Any
) -> Targets:
    """Targets among `count` classes with their weights; IndexError for one that is no class."""
    ignored = None
    outside = target.size and (target.min() < 0 or target.max() >= count)
    if outside or 0 <= ignore_index < count:
        ignored = target == ignore_index
        if not ignored.any():
            ignored = None
        else:
            target = np.where(ignored, 0, target)
            outside = target.min() < 0 or target.max() >= count
    if outside:
        wrong = target[(target < 0) | (target >= count)].flat[0]
        raise IndexError(f"Target {wrong} is out of bounds.")
    if weight is None and ignored is None:
        return Targets(target, None, None)
    factors = np.ones(target.shape, dtype) if weight is None else weight[target].astype(dtype)
    if ignored is not None:
        factors[ignored] = 0
    return Targets(target, factors, ignored)


@functools.lru_cache(maxsize=64)
def _offsets(samples: int, classes: int, rest: tuple[int, ...]) -> tuple[Array, int]:
    """Where class 0 of each target lies in the flattened scores, and the step between classes."""
    step = math.prod(rest)
    first = np.arange(samples).reshape(-1, *(1 for _ in rest)) * (classes * step)
    return first + np.arange(step).reshape(rest), step


def _positions(target: Array, classes: int) -> Array:
    first, step = _offsets(target.shape[0], classes, target.shape[1:])
    return first + (target if step == 1 else target * step)


def picked(scores: Array, target: Array) -> Array:
    """The scores of the target classes, (N, B)."""
    return scores.reshape(-1)[_positions(target, scores.shape[1])]


def scattered(values: Array, target: Array, classes: int) -> Array:
    """The adjoint of `picked`: zeros (N, C, B) with the values at the target classes."""
    out = np.zeros((target.shape[0], classes, *target.shape[1:]), values.dtype)
    out.reshape(-1)[_positions(target, classes)] = values
    return out


def log_sum_exp(scores: Array) -> Array:
    """The logarithm of the sum of exp(scores) over the classes, (N, B)."""
    highest = scores.max(1, keepdims=True)
    e = np.subtract(scores, highest)
    np.exp(e, out=e)
    total = e.sum(1)
    np.log(total, out=total)
    total += highest[:, 0]
    return total


def cross_entropy(
    scores: Array, targets: Targets, weight: Array | None, smoothing: float
) -> tuple[Array, Array]:
    """The loss of each target (N, B) before reduction, and `log_sum_exp`.

    With `smoothing` that share of a target's probability is spread evenly over the classes, each
    with its own `weight`.
    """
    lse = log_sum_exp(scores)
    loss = lse - picked(scores, targets.classes)
    loss = targets.weighted(loss)
    if smoothing:
        count = scores.shape[1]
        if weight is None:
            spread = lse * scores.dtype.type(count) - scores.sum(1)
        else:
            spread = lse * weight.sum() - np.einsum("nc...,c->n...", scores, weight)
        loss = loss * (1 - smoothing) + spread * (smoothing / count)
    return targets.without_ignored(loss), lse


def cross_entropy_back(
    g: Array, scores: Array, lse: Array, targets: Targets, weight: Array | None, smoothing: float
) -> Array:
    """The gradient of `cross_entropy` for the scores, from g (N, B)."""
    direct = targets.weighted(g)
    p = np.subtract(scores, lse[:, None], order="C")
    np.exp(p, out=p)
    if not smoothing:
        p *= direct[:, None]
    else:
        count = scores.shape[1]
        direct = direct * (1 - smoothing)
        even = targets.without_ignored(g * (smoothing / count))
        total = count if weight is None else weight.sum()
        p *= (direct + even * total)[:, None]
        shape = (-1, *(1 for _ in even.shape[1:]))
        p -= even[:, None] if weight is None else even[:, None] * weight.reshape(shape)
    p.reshape(-1)[_positions(targets.classes, p.shape[1])] -= direct
    if targets.ignored is not None:  # their scores may be anything, and 0 * NaN is NaN
        np.moveaxis(p, 1, -1)[targets.ignored] = 0
    return p
