"""Pooling on NumPy arrays: the largest value and the mean of windows over the last dimensions."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...compiler.kernel import serves
from . import pooling_kernels as kernels
from .indexing import take_along
from .layout import channels_last, contiguous, has_channels_last
from .scatter import combine_along
from .windows import Axis, spread_windows, taps, window_sums

Array = Any


def lowest(dtype: Any) -> Any:
    """What is less than or equal to every value of `dtype`."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return False if dtype.kind == "b" else -np.inf


_FEW = 512


class _Geometry(NamedTuple):
    """What pooling kernels know of the windows; see `pooling_kernels`."""

    numbers: Array
    planes: int
    rows: int
    cost: int
    block: int
    taps: int | None
    stride: int | None


def _geometry(x: Array, lead: tuple[int, ...], axes: tuple[Axis, ...]) -> _Geometry | None:
    """The windows over arrays like `x` with the leading sizes `lead`; None if no kernel serves."""
    if x.size < _FEW or x.dtype.kind not in "fV" or not serves(x) or len(axes) > 3:
        return None
    three = (*[Axis(1, 1, 1, 1, 0, 1)] * (3 - len(axes)), *axes)
    last = three[2]
    block = (kernels.WIDEST - (last.kernel - 1) * last.dilation - 1) // last.stride + 1
    if block < 1 or not all(a.count and a.size for a in three):
        return None
    planes = math.prod(lead)
    cost = last.count * math.prod(a.kernel for a in axes)
    taps = last.kernel if last.kernel <= 5 and last.dilation == 1 else None
    return _Geometry(
        _numbers(three), planes, planes * three[0].count * three[1].count, cost,
        min(block, kernels.OUTPUTS), taps, last.stride if last.stride <= 4 else None,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _numbers(axes: tuple[Axis, ...]) -> Array:
    return np.array(axes, np.int64)


def _in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the results of a function of C-ordered arrays have the first one's order in memory."""

    @functools.wraps(function)
    def ordered(x: Array, *args: Any) -> Any:
        if not has_channels_last(x):
            return function(x, *args)
        found = function(contiguous(x), *args)
        return (
            tuple(map(channels_last, found)) if isinstance(found, tuple) else channels_last(found)
        )

    return ordered


def _pool_channels(
    x: Array, axes: tuple[Axis, ...], fold: Any, divisors: Array | None = None
) -> Array | None:
    """Windows of images with their channels last in memory; None if those are not such."""
    if len(axes) != 2 or x.ndim != 4 or not has_channels_last(x):
        return None
    last = np.moveaxis(x, 1, -1)
    found = _geometry(last, last.shape[:1], axes)
    if found is None:
        return None
    channels = x.shape[1]
    out = np.empty((x.shape[0], *(a.count for a in axes), channels), x.dtype)
    low = np.full(1, lowest(x.dtype) if divisors is None else 0, x.dtype)
    kernels.pool_channels(
        x.shape[0] * axes[0].count, 2 * found.cost * channels, last, divisors, out, low,
        found.numbers, channels, 0 if divisors is None else int(divisors.size > 1), fold,
    )  # fmt: skip
    return np.moveaxis(out, -1, 1)


def max_pool(x: Array, axes: tuple[Axis, ...]) -> Array:
    """The largest value of each window; NaN where a window has one."""
    found = _pool_channels(x, axes, kernels.fold_max)
    return _max_pool(x, axes) if found is None else found


@_in_order
def _max_pool(x: Array, axes: tuple[Axis, ...]) -> Array:
    x = contiguous(x)
    lead = x.shape[: x.ndim - len(axes)]
    found = _geometry(x, lead, axes)
    if found is None:
        return _max_pool_reference(x, axes)
    out = np.empty((*lead, *(a.count for a in axes)), x.dtype)
    low = np.full(1, lowest(x.dtype), x.dtype)
    kernels.max_rows(
        found.rows, found.cost, x, out, low, found.numbers, found.block, found.taps, found.stride
    )
    return out


def _max_pool_reference(x: Array, axes: tuple[Axis, ...]) -> Array:
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


@_in_order
def max_pool_indices(x: Array, axes: tuple[Axis, ...]) -> tuple[Array, Array]:
    """The largest values and where they lie in the flattened last dimensions, int64."""
    x = contiguous(x)
    found = _geometry(x, x.shape[: x.ndim - len(axes)], axes)
    if found is None:
        return _max_pool_indices_reference(x, axes)
    shape = (*x.shape[: x.ndim - len(axes)], *(a.count for a in axes))
    best, indices = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    kernels.max_rows_with_places(
        found.rows, 4 * found.cost, x, best, indices, found.numbers, found.stride
    )
    return best, indices


def _max_pool_indices_reference(x: Array, axes: tuple[Axis, ...]) -> tuple[Array, Array]:
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


@_in_order
def max_pool_back(g: Array, x: Array, best: Array, axes: tuple[Axis, ...]) -> Array:
    """The gradient of `max_pool`, whose result was `best`: it goes to the first that won."""
    x = contiguous(x)
    found = _geometry(x, x.shape[: x.ndim - len(axes)], axes) if g.dtype == x.dtype else None
    if found is not None and x.dtype.itemsize > 2:
        out = np.zeros(x.shape, g.dtype)
        cost = 5 * found.cost * found.rows // max(found.planes, 1)
        kernels.max_back_planes(
            found.planes, cost, contiguous(g), x, out, found.numbers, found.stride
        )
        return out
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
    rows = math.prod(lead)
    flat = contiguous(x).reshape(rows, math.prod(x.shape[x.ndim - rank :]))
    places = contiguous(indices).reshape(rows, math.prod(indices.shape[x.ndim - rank :]))
    found = take_along(flat, places, 1)
    if found is None:
        raise IndexError(f"an index of a pooled value lies outside a plane of {x.shape}")
    return found.reshape(indices.shape)


def place(g: Array, indices: Array, sizes: tuple[int, ...]) -> Array:
    """The adjoint of `pick`: values added up at `indices`, (*, counts) to (*, sizes)."""
    lead = g.shape[: g.ndim - len(sizes)]
    rows = math.prod(lead)
    out = np.zeros((rows, math.prod(sizes)), g.dtype)
    places = contiguous(indices).reshape(rows, math.prod(g.shape[g.ndim - len(sizes) :]))
    if not combine_along(out, places, contiguous(g).reshape(places.shape), 1, "sum"):
        raise IndexError(f"an index of a pooled value lies outside a plane of {sizes}")
    return out.reshape(*lead, *sizes)


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
    if has_channels_last(x):
        found = _pool_channels(x, axes, kernels.fold_sum, np.asarray(divisors, x.dtype))
        if found is not None:
            return found
    return _avg_pool(x, axes, divisors)


@_in_order
def _avg_pool(x: Array, axes: tuple[Axis, ...], divisors: Array) -> Array:
    x = contiguous(x)
    lead = x.shape[: x.ndim - len(axes)]
    found = _geometry(x, lead, axes)
    if found is not None:
        out = np.empty((*lead, *(a.count for a in axes)), x.dtype)
        kernels.mean_rows(
            found.rows, found.cost, x, out, np.asarray(divisors, x.dtype), found.numbers,
            found.block, int(divisors.size > 1), found.taps, found.stride,
        )  # fmt: skip
        return out
    sums = window_sums(x, axes)
    if x.dtype.kind in "iu":
        return np.sign(sums) * np.sign(divisors) * (np.abs(sums) // np.abs(divisors))
    return np.divide(sums, divisors.astype(x.dtype), out=sums if sums is not x else None)


@_in_order
def avg_pool_back(g: Array, axes: tuple[Axis, ...], divisors: Array) -> Array:
    """The gradient of `avg_pool`."""
    g = contiguous(g)
    lead = g.shape[: g.ndim - len(axes)]
    found = _geometry(g, lead, axes)
    if found is not None and g.dtype.itemsize > 2:
        out = np.zeros((*lead, *(a.size for a in axes)), g.dtype)
        kernels.spread_planes(
            found.planes, 2 * found.cost * found.rows // max(found.planes, 1), g, out,
            np.asarray(divisors, g.dtype), found.numbers, found.block, int(divisors.size > 1),
            found.taps, found.stride,
        )  # fmt: skip
        return out
    return spread_windows(g / divisors.astype(g.dtype), axes)


def adaptive_bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where each of `count` even parts of `size` values begins and ends; neighbours may overlap."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@_in_order
def adaptive_max_pool(x: Array, counts: tuple[int, ...]) -> tuple[Array, Array]:
    """The largest value of each even part and its place in the flattened last dimensions."""
    rank = len(counts)
    x = contiguous(x)
    sizes, lead = x.shape[x.ndim - rank :], x.shape[: x.ndim - rank]
    values = np.empty((*lead, *counts), x.dtype)
    indices = np.empty((*lead, *counts), np.int64)
    parts = tuple(Axis(n, c, 1, 1, 0, 1) for n, c in zip(sizes, counts, strict=True))
    found = _geometry(x, lead, parts)
    if found is not None and sizes[-1] <= kernels.OUTPUTS:
        cost = 2 * math.prod(sizes) * found.planes // found.rows
        kernels.max_parts(found.rows, cost, x, values, indices, found.numbers)
        return values, indices
    numbers = np.arange(int(np.prod(sizes))).reshape(sizes)
    bounds = [adaptive_bounds(n, c) for n, c in zip(sizes, counts, strict=True)]
    for at in itertools.product(*map(range, counts)):
        key = tuple(slice(*b[i]) for b, i in zip(bounds, at, strict=True))
        part = x[(..., *key)].reshape(*lead, numbers[key].size)
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
