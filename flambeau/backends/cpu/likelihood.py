"""Negative log-likelihood of target classes: kernels that pick, and in backward place, one element.

Scores are (N, C) or (N, C, B): samples, classes, places; int64 targets (N,) or (N, B). A target
equal to `ignored` counts for nothing; IndexError for one that is no class.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import kernel, serves
from ...compiler.language import F64, I64, Array, S, Static, T, f64, simd
from .cross_entropy_kernels import is_class
from .normalization import parameter
from .precision import FLOATS, wide_dtype

_BLOCK = 2048
"""Targets whose losses are summed together."""


class Likelihood(NamedTuple):
    """The loss of each target if asked for, the sum of the losses and that of the weights."""

    losses: Any
    total: float
    mass: float


def likelihood(
    scores: Any, target: Any, weight: Any, ignored: int, each: bool
) -> Likelihood | None:
    """The losses before reduction; None where no kernel serves."""
    if not _is_for_kernels(scores, target, weight):
        return None
    kind, items, launch = _plan(scores.dtype, scores.shape, target.shape, weight is not None, each)
    losses = np.empty(target.shape, kind) if each else None
    given = [scores, target]
    if weight is not None:
        given.append(parameter(weight, kind))
    if losses is not None:
        given.append(losses)
    sums, status = np.empty((items, 2)), np.zeros(2, np.int64)
    launch(given, sums, status, ignored)
    _refuse_outsiders(status)
    total, mass = (sums[0] if items == 1 else np.add.reduce(sums, 0)).tolist()
    return Likelihood(losses, total, mass)


@functools.lru_cache(maxsize=1024)
def _plan(
    dtype: Any, shape: tuple[int, ...], targets: tuple[int, ...], weighted: bool, each: bool
) -> tuple[Any, int, Callable[..., None]]:
    """The dtype of the losses, how many sums there are, and the launch for scores of `shape`."""
    kind, count = wide_dtype(dtype), math.prod(targets)
    items = -(-count // _BLOCK)
    wide, last = np.empty(0, kind), (count, shape[1], count // targets[0])
    launch = picked_losses.prepare(
        np.empty(0, dtype), np.empty(0, np.int64), wide if weighted else None,
        wide if each else None, np.empty(0), np.empty(0, np.int64), *last, 0, _BLOCK,
    )  # fmt: skip
    cost = min(count, _BLOCK) * 1.0

    def run(given: list[Any], sums: Any, status: Any, ignored: int) -> None:
        chunks, share = threads.split(items, cost)
        launch(chunks, items, share, *given, sums, status, *last, ignored, _BLOCK)

    return kind, items, run


def likelihood_back(
    g: Any,
    target: Any,
    weight: Any,
    ignored: int,
    scale: float,
    shape: Any,
    dtype: Any,
) -> Any | None:
    """The gradient for scores of `shape`, from `g` of the targets' shape or 0-d, times `scale`."""
    out = np.empty(0, dtype)
    if not _is_for_kernels(out, target, weight) or not target.size:
        return None
    kind = wide_dtype(dtype)
    g = parameter(np.asarray(g), kind)
    weight = None if weight is None else parameter(weight, kind)
    samples, classes = shape[0], shape[1]
    places = target.size // samples
    allocator.prepare(samples * classes * places * dtype.itemsize)
    out, status = np.empty(shape, dtype), np.zeros(2, np.int64)
    placed_gradients(
        samples, classes * places + 20 * places, out, target, weight, g, status, classes, places,
        ignored, -scale, g.ndim > 0,
    )  # fmt: skip
    _refuse_outsiders(status)
    return out


def _is_for_kernels(scores: Any, target: Any, weight: Any) -> bool:
    known = scores.dtype in FLOATS and (weight is None or weight.dtype in FLOATS)
    return bool(known and target.size and target.dtype == np.int64 and serves(scores, target))


def _refuse_outsiders(status: Any) -> None:
    wrong, which = status.tolist()
    if wrong:
        raise IndexError(f"Target {which} is out of bounds.")


@kernel
def picked_losses(
    first: int,
    last: int,
    x: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    losses: Array[S] | None,
    sums: Array[F64],
    status: Array[I64],
    count: int,
    classes: int,
    places: int,
    ignored: int,
    block: int,
) -> None:
    """The loss of each target; each block's sum of losses and of weights, into `sums`."""
    for item in range(first, last):
        total, mass = f64(0.0), f64(0.0)
        for i in range(item * block, min(item * block + block, count)):
            t = target[i]
            loss = T(0.0)
            if is_class(t, classes, ignored, status):
                sample = i // places
                factor = T(weight[t]) if weight is not None else T(1.0)
                loss = -x[(sample * classes + t) * places + i - sample * places] * factor
                mass += factor
            total += loss
            if losses is not None:
                losses[i] = loss
        sums[2 * item], sums[2 * item + 1] = total, mass


@kernel
def placed_gradients(
    first: int,
    last: int,
    out: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    g: Array[S],
    status: Array[I64],
    classes: int,
    places: int,
    ignored: int,
    scale: float,
    each: Static,
) -> None:
    """For each sample, zeros, and at the target classes g times the weight times `scale`."""
    for n in range(first, last):
        rows = out[n * classes * places :]
        for j in simd(classes * places):
            rows[j] = T(0.0)
        for b in range(places):
            t = target[n * places + b]
            if is_class(t, classes, ignored, status):
                share = g[n * places + b if each else 0] * scale
                rows[t * places + b] = share * weight[t] if weight is not None else share
