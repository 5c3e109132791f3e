"""Hinge losses of scores (N, C) against classes: a kernel each for losses and for gradients.

One target class a row (N,), or a list of them (N, C) that ends at its first -1; int64. An excess
that is NaN counts for nothing. The functions return None where no kernel serves, and RuntimeError
for a target that is no class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compiler import allocator
from ...compiler.kernel import inline, kernel, serves
from ...compiler.language import F64, I64, Array, Static, T, inf, select, simd
from .precision import FLOATS

_OUTSIDE = "target out of range", "argument #2 'target' is out of range"


def refuse_outsiders(outside: Any, listed: bool) -> None:
    """RuntimeError if any target is `outside` the classes."""
    if outside:
        raise RuntimeError(_OUTSIDE[listed])


def losses(scores: Any, target: Any, weight: Any, power: int, margin: float) -> Any | None:
    """Each row's loss against its class, float64 (N,)."""
    if not _serve(scores, target, weight):
        return None
    rows, classes = scores.shape
    out, status = np.empty(rows), np.zeros(1, np.int64)
    class_excesses(
        rows, 40 + 4 * classes, scores, target, weight, out, status, classes, margin, power == 2
    )
    refuse_outsiders(status[0], False)
    return out


def gradients(
    g: Any, scores: Any, target: Any, weight: Any, power: int, margin: float, scale: float
) -> Any | None:
    """The gradient of the scores; `g`, float64, is 0-d or (N,) and is multiplied by `scale`."""
    if not (_serve(scores, target, weight) and serves(g)):
        return None
    rows, classes = scores.shape
    allocator.prepare(scores.nbytes)
    out, status = np.empty(scores.shape, scores.dtype), np.zeros(1, np.int64)
    class_slopes(
        rows, 40 + 6 * classes, scores, target, weight, g, out, status, classes, margin,
        scale / classes, power == 2, g.ndim > 0,
    )  # fmt: skip
    refuse_outsiders(status[0], False)
    return out


def listed_losses(scores: Any, target: Any) -> Any | None:
    """Each row's loss against its list of classes, float64 (N,)."""
    if not _serve(scores, target, None):
        return None
    rows, classes = scores.shape
    out, status = np.empty(rows), np.zeros(1, np.int64)
    listed_excesses(
        rows, 40 + 20 * classes, scores, target, np.empty_like(scores), out, status, classes
    )
    refuse_outsiders(status[0], True)
    return out


def listed_gradients(g: Any, scores: Any, target: Any, scale: float) -> Any | None:
    """`gradients` for lists of classes."""
    if not (_serve(scores, target, None) and serves(g)):
        return None
    rows, classes = scores.shape
    allocator.prepare(2 * scores.nbytes)
    out, status = np.empty(scores.shape, scores.dtype), np.zeros(1, np.int64)
    listed_slopes(
        rows, 40 + 30 * classes, scores, target, np.empty_like(scores), g, out, status, classes,
        scale / classes, g.ndim > 0,
    )  # fmt: skip
    refuse_outsiders(status[0], True)
    return out


def _serve(scores: Any, target: Any, weight: Any) -> bool:
    arrays = (scores, target) if weight is None else (scores, target, weight)
    known = scores.size and scores.dtype in FLOATS and target.dtype == np.int64
    return bool(known and (weight is None or weight.dtype == scores.dtype) and serves(*arrays))


@kernel
def class_excesses(
    first: int,
    last: int,
    scores: Array[T],
    target: Array[I64],
    weight: Array[T] | None,
    out: Array[F64],
    status: Array[I64],
    classes: int,
    margin: float,
    squared: Static,
) -> None:
    """The sum over the other classes of what their scores exceed the target's by, over C."""
    for n in range(first, last):
        x, t = scores[n * classes :], target[n]
        if t < 0 or t >= classes:
            status[0] = 1
        else:
            base = T(margin) - x[t]
            total = T(0.0)
            for c in simd(classes):
                excess = base + x[c]
                part = excess * excess if squared else excess
                total += select(excess > 0.0, select(c == t, T(0.0), part), T(0.0))
            factor = weight[t] if weight is not None else T(1.0)
            out[n] = total * factor / classes


@kernel
def class_slopes(
    first: int,
    last: int,
    scores: Array[T],
    target: Array[I64],
    weight: Array[T] | None,
    g: Array[F64],
    out: Array[T],
    status: Array[I64],
    classes: int,
    margin: float,
    scale: float,
    squared: Static,
    each: Static,
) -> None:
    """The gradient of `class_excesses`."""
    for n in range(first, last):
        x, row, t = scores[n * classes :], out[n * classes :], target[n]
        if t < 0 or t >= classes:
            status[0] = 1
        else:
            share = T(g[n if each else 0] * scale)
            if weight is not None:
                share = share * weight[t]
            base = T(margin) - x[t]
            total = T(0.0)
            for c in simd(classes):
                excess = base + x[c]
                slope = share * 2.0 * excess if squared else share
                slope = select(excess > 0.0, select(c == t, T(0.0), slope), T(0.0))
                row[c] = slope
                total += slope
            row[t] = -total


@inline
def keep_others(x: Any, labels: Any, others: Any, classes: Any, status: Any) -> Any:
    """The scores with -inf for the listed classes; returns how many are listed, 0 if wrongly."""
    for c in simd(classes):
        others[c] = x[c]
    count, ended = 0, 0
    for k in range(classes):
        t = labels[k]
        if t < -1 or t >= classes:
            status[0] = 1
            return 0
        if t < 0:
            ended = 1
        if ended == 0:
            others[t] = -inf
            count += 1
    return count


@kernel
def listed_excesses(
    first: int,
    last: int,
    scores: Array[T],
    target: Array[I64],
    scratch: Array[T],
    out: Array[F64],
    status: Array[I64],
    classes: int,
) -> None:
    """The sum of what other classes' scores, plus one, exceed each listed one by, over C."""
    for n in range(first, last):
        x, labels, others = scores[n * classes :], target[n * classes :], scratch[n * classes :]
        count = keep_others(x, labels, others, classes, status)
        total = T(0.0)
        for k in range(count):
            base = 1.0 - x[labels[k]]
            part = T(0.0)
            for c in simd(classes):
                excess = base + others[c]
                part += select(excess > 0.0, excess, T(0.0))
            total += part
        out[n] = total / classes


@kernel
def listed_slopes(
    first: int,
    last: int,
    scores: Array[T],
    target: Array[I64],
    scratch: Array[T],
    g: Array[F64],
    out: Array[T],
    status: Array[I64],
    classes: int,
    scale: float,
    each: Static,
) -> None:
    """The gradient of `listed_excesses`."""
    for n in range(first, last):
        x, labels, others = scores[n * classes :], target[n * classes :], scratch[n * classes :]
        row = out[n * classes :]
        count = keep_others(x, labels, others, classes, status)
        share = T(g[n if each else 0] * scale)
        for c in simd(classes):
            row[c] = T(0.0)
        for k in range(count):
            t = labels[k]
            base = 1.0 - x[t]
            total = T(0.0)
            for c in simd(classes):
                slope = select(base + others[c] > 0.0, share, T(0.0))
                row[c] = row[c] + slope
                total += slope
            row[t] = row[t] - total
