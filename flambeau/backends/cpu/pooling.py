"""Pooling on NumPy arrays: the largest value and the mean of windows over the last dimensions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .windows import Axis, spread_windows, taps, window_sums

Array = Any


def lowest(dtype: Any) -> Any:
    """What is less than or equal to every value of `dtype`."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return False if dtype.kind == "b" else -np.inf


def max_pool(x: Array, axes: tuple[Axis, ...]) -> Array:
    """The largest value of each window; NaN where a window has one."""
    lead, counts = x.shape[: x.ndim - len(axes)], tuple(a.count for a in axes)
    best = np.full((*lead, *counts), lowest(x.dtype), x.dtype)
    for tap in taps(axes):
        part = best[tap.outputs]
        np.maximum(part, x[tap.inputs], out=part)
    return best


def max_pool_indices(x: Array, axes: tuple[Axis, ...]) -> tuple[Array, Array]:
    """The largest values and where they lie in the flattened last dimensions, int64."""
    lead, counts = x.shape[: x.ndim - len(axes)], tuple(a.count for a in axes)
    best = np.full((*lead, *counts), lowest(x.dtype), x.dtype)
    indices = np.empty((*lead, *counts), np.int64)
    indices[...] = _flat_positions([_first_inside(a) for a in axes], axes)
    has_nan = x.dtype.kind in "fV" and bool(np.isnan(np.max(x, initial=0)))
    for tap in taps(axes):
        part, seen = best[tap.outputs], x[tap.inputs]
        better = seen > part
        if has_nan:  # the last NaN of a window wins, as nothing compares with it
            better = (better & ~np.isnan(part)) | np.isnan(seen)
        here = [a.positions(t)[o] for a, t, o in zip(axes, tap.number, tap.outputs[1:], strict=True)]
        np.copyto(part, seen, where=better)
        np.copyto(indices[tap.outputs], _flat_positions(here, axes), where=better)
    return best, indices


def _first_inside(a: Axis) -> Array:
    """The first input position inside the input that each window sees."""
    start = a.positions(0)
    behind = np.maximum(0, -(start // a.dilation))
    return np.where(start < 0, start + behind * a.dilation, start)


def _flat_positions(along: list[Array], axes: tuple[Axis, ...]) -> Array:
    flat = along[0]
    for a, here in zip(axes[1:], along[1:], strict=True):
        flat = flat[..., None] * a.size + here
    return flat


def pick(x: Array, indices: Array, rank: int) -> Array:
    """The values of `x` at `indices` into its flattened last `rank` dimensions."""
    lead = x.shape[: x.ndim - rank]
    flat = x.reshape(*lead, -1) if x.size else x.reshape(*lead, 0)
    places = indices.reshape(*lead, -1) if indices.size else indices.reshape(*lead, 0)
    return np.take_along_axis(flat, places, -1).reshape(indices.shape)


def place(g: Array, indices: Array, sizes: tuple[int, ...]) -> Array:
    """The adjoint of `pick`: values added up at `indices`, (*, counts) to (*, sizes)."""
    lead = g.shape[: g.ndim - len(sizes)]
    area, rows = int(np.prod(sizes)), int(np.prod(lead))
    flat = indices.reshape(rows, -1) if indices.size else indices.reshape(rows, 0)
    flat = (flat + (np.arange(rows) * area)[:, None]).ravel()
    out = np.bincount(flat, weights=g.ravel(), minlength=rows * area)
    return out.reshape(*lead, *sizes).astype(g.dtype, copy=False)


def average_counts(axes: tuple[Axis, ...], include_pad: bool) -> Array:
    """How many values each window averages over, shape of the output positions."""
    total = np.ones((), np.int64)
    for a in axes:
        if include_pad:
            start = a.positions(0)
            end = np.minimum(start + a.kernel, a.size + a.padding)
            counts = end - start
        else:
            counts = a.inside()
        total = total[..., None] * counts
    return total


def avg_pool(x: Array, axes: tuple[Axis, ...], divisors: Array) -> Array:
    """The sum of each window divided by its divisor."""
    sums = window_sums(x, axes)
    if x.dtype.kind in "iu":
        return np.sign(sums) * (np.abs(sums) // divisors)
    return np.divide(sums, divisors.astype(x.dtype), out=sums if sums is not x else None)


def avg_pool_back(g: Array, axes: tuple[Axis, ...], divisors: Array) -> Array:
    """The gradient of `avg_pool`."""
    return spread_windows(g / divisors.astype(g.dtype), axes)


def adaptive_bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where each of `count` even parts of `size` values begins and ends; neighbours may overlap."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def adaptive_max_pool(x: Array, counts: tuple[int, ...]) -> tuple[Array, Array]:
    """The largest value of each even part and its place in the flattened last dimensions."""
    rank = len(counts)
    sizes, lead = x.shape[x.ndim - rank :], x.shape[: x.ndim - rank]
    values = np.empty((*lead, *counts), x.dtype)
    indices = np.empty((*lead, *counts), np.int64)
    numbers = np.arange(int(np.prod(sizes))).reshape(sizes)
    bounds = [adaptive_bounds(n, c) for n, c in zip(sizes, counts, strict=True)]
    for at in itertools.product(*map(range, counts)):
        key = tuple(slice(*b[i]) for b, i in zip(bounds, at, strict=True))
        part = x[(..., *key)].reshape(*lead, -1)
        best = _last_nan_or_argmax(part)
        values[(..., *at)] = np.take_along_axis(part, best[..., None], -1)[..., 0]
        indices[(..., *at)] = numbers[key].ravel()[best]
    return values, indices


def _last_nan_or_argmax(part: Array) -> Array:
    best = part.argmax(-1)
    if part.dtype.kind not in "fV":
        return best
    nan = np.isnan(part)
    if not nan.any():
        return best
    last = part.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
    return np.where(nan.any(-1), last, best)
