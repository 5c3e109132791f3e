"""Pooling on NumPy arrays: the largest value and the mean of windows over the last dimensions."""

from __future__ import annotations

import functools
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
    for place, a in enumerate(axes):  # one axis after the other, the rows' own last
        axis = x.ndim - len(axes) + place
        lead = (slice(None),) * axis
        best = np.full((*x.shape[:axis], a.count, *x.shape[axis + 1 :]), lowest(x.dtype), x.dtype)
        for tap in range(a.kernel):
            outputs, inputs = a.reach(tap)
            part = best[(*lead, outputs)]
            np.maximum(part, x[(*lead, inputs)], out=part)
        x = best
    return x


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
        here = [
            a.positions(t)[o] for a, t, o in zip(axes, tap.number, tap.outputs[1:], strict=True)
        ]
        np.copyto(part, seen, where=better)
        np.copyto(indices[tap.outputs], _flat_positions(here, axes), where=better)
    return best, indices


def max_pool_back(g: Array, x: Array, best: Array, axes: tuple[Axis, ...]) -> Array:
    """The gradient of `max_pool`, whose result was `best`: it goes to the first that won."""
    if x.dtype.kind in "fV" and bool(np.isnan(np.max(best, initial=0))):
        return place(g, max_pool_indices(x, axes)[1], x.shape[x.ndim - len(axes) :])
    out = np.zeros(x.shape, g.dtype)
    waiting = np.ones(best.shape, np.bool_)
    apart = all(a.kernel * a.dilation <= a.stride for a in axes)
    for tap in taps(axes):
        left = waiting[tap.outputs]
        won = np.equal(x[tap.inputs], best[tap.outputs])
        won &= left
        left ^= won
        if apart:
            np.multiply(g[tap.outputs], won, out=out[tap.inputs])
        else:
            part = out[tap.inputs]
            part += g[tap.outputs] * won
    return out


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


@functools.lru_cache(maxsize=1024)
def divisors(axes: tuple[Axis, ...], include_pad: bool, override: int | None) -> Array:
    """What each window's sum is divided by, one number if it is the same for all."""
    total = np.asarray(1 if override is None else override)
    if override is not None:
        return total
    for a in axes:
        if include_pad:
            start = a.positions(0)
            end = np.minimum(start + a.kernel, a.size + a.padding)
            counts = end - start
        else:
            counts = a.inside()
        total = total[..., None] * counts
    return total.flat[0].reshape(()) if total.size and (total == total.flat[0]).all() else total


def avg_pool(x: Array, axes: tuple[Axis, ...], divisors: Array) -> Array:
    """The sum of each window divided by its divisor."""
    sums = window_sums(x, axes)
    if x.dtype.kind in "iu":
        return np.sign(sums) * np.sign(divisors) * (np.abs(sums) // np.abs(divisors))
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


def fractional_max_pool(
    x: Array, kernel: tuple[int, ...], counts: tuple[int, ...], samples: Array
) -> tuple[Array, Array]:
    """The largest value of windows at pseudo-random places, and its place in the flattened plane.

    `samples` (planes, rank) shift the windows of each plane: the last axis' sample comes first in
    two dimensions, the first axis' in three.
    """
    rank = len(counts)
    sizes, lead = x.shape[x.ndim - rank :], x.shape[: x.ndim - rank]
    if rank == 2:
        samples = samples[:, ::-1]
    if not x.size:
        return np.empty((*lead, *counts), x.dtype), np.empty((*lead, *counts), np.int64)
    places: Array = 0
    for axis, (n, k, c) in enumerate(zip(sizes, kernel, counts, strict=True)):
        reach = _fractional_starts(samples[:, axis], n, k, c)[:, :, None] + np.arange(k)
        shape = [len(reach)] + [1] * (2 * rank)  # plane, windows, taps
        shape[1 + axis], shape[1 + rank + axis] = c, k
        places = places * n + reach.reshape(shape)
    flat = places.reshape(len(samples), *counts, -1)
    seen = np.take_along_axis(x.reshape(len(samples), -1), flat.reshape(len(samples), -1), 1)
    seen = seen.reshape(flat.shape)
    best = _last_nan_or_argmax(seen)[..., None]
    shape = (*lead, *counts)
    values = np.take_along_axis(seen, best, -1).reshape(shape)
    return values, np.take_along_axis(flat, best, -1).reshape(shape)


def _fractional_starts(sample: Array, size: int, kernel: int, count: int) -> Array:
    """Where the windows begin: (planes, count); the last one ends with the input."""
    wide = sample.astype(sample.dtype if sample.dtype.itemsize >= 4 else np.float32)
    starts = np.full((len(sample), count), size - kernel, np.int64)
    if count > 1:
        step = wide.dtype.type((size - kernel) / (count - 1))
        at = (np.arange(count - 1) + wide[:, None]) * step
        starts[:, :-1] = at.astype(np.int64) - (wide * step).astype(np.int64)[:, None]
    return starts
