"""Counting: how often numbers occur, in bins or one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.cpu.counting import count_numbers
from .promotion import is_number, title, unsupported, widened
from .record import Array, Arrays, composite, shape_from_values, structured

_BINCOUNT = "bincount only supports 1-d non-negative integral inputs."


@structured(meta=shape_from_values, excuse="counts")
def bincount(input: Array, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each number occurs in a 1-d tensor of non-negative integers, or their weights.

    >>> flambeau.bincount(flambeau.tensor([0, 2, 2, 3]))
    tensor([1, 0, 2, 1])
    >>> flambeau.bincount(flambeau.tensor([0, 2, 2]), weights=flambeau.tensor([0.5, 1.0, 0.25]))
    tensor([0.5000, 0.0000, 1.2500])
    """
    if input.ndim != 1 or input.dtype.kind not in "iu":
        raise RuntimeError(_BINCOUNT)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    try:
        out = count_numbers(input, weights, minlength)
    except ValueError:
        raise RuntimeError(_BINCOUNT) from None
    if weights is None:
        return out.astype(np.int64, copy=False)
    return out.astype(np.float32 if weights.dtype == np.float32 else np.float64)


@structured(out=True, excuse="counts")
def histc(input: Array, bins: int = 100, min: float = 0, max: float = 0) -> Array:
    """How many elements fall into each of `bins` equal bins from `min` to `max`.

    >>> flambeau.histc(flambeau.tensor([0.5, 1.5, 1.75, 4.0]), bins=4, min=0, max=4)
    tensor([1., 2., 0., 1.])
    """
    if input.dtype.kind in "biuc":
        raise unsupported("histogram_cpu", input)
    if bins <= 0:
        raise RuntimeError("torch.histc(): bins must be > 0")
    lo, hi = float(min), float(max)
    x = widened(input).reshape(-1)
    if lo == hi and x.size:
        lo, hi = float(x.min()), float(x.max())
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise RuntimeError(f"torch.histc(): range of [{lo}, {hi}] is not finite")
    if lo == hi:
        lo, hi = lo - 1, hi + 1
    if lo > hi:
        raise RuntimeError("torch.histc(): max must be larger than min")
    inside = x[(x >= lo) & (x <= hi)]
    place = ((inside.astype(np.float64) - lo) / (hi - lo) * bins).astype(np.int64)
    counts = np.bincount(np.minimum(place, bins - 1), minlength=bins)
    return counts.astype(input.dtype)


def _check_histogram(points: Array, edges: Arrays, weight: Array | None) -> None:
    """Refuse what holds no points of floating-point coordinates in as many dimensions as edges."""
    if points.dtype.kind in "biuc":
        raise unsupported("histogramdd", points)
    for d, given in enumerate(edges):
        if given.ndim != 1:
            raise RuntimeError(
                "torch.histogramdd: bins tensor should have one dimension, but got "
                f"{given.ndim} dimensions in the bins tensor for dimension {d}"
            )
        if given.dtype != points.dtype:
            raise RuntimeError(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but "
                f"got input with dtype {points.dtype} and bins for dimension {d} with dtype "
                f"{given.dtype}"
            )
        _check_bins(len(given) - 1, d)
    if weight is None:
        return
    if weight.dtype != points.dtype:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor "
            f"should have the same dtype, but got input({points.dtype}), and weight({weight.dtype})"
        )
    if weight.shape != points.shape[:-1]:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the "
            "input tensor excluding its innermost dimension, but got input with shape "
            f"{list(points.shape)} and weight with shape {list(weight.shape)}"
        )


def _check_bins(bins: int, d: int) -> None:
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension {d}")


def _first_larger(edges: Array, x: Array) -> Array:
    """Where a binary search for the first edge above each `x` ends, be the edges sorted or not."""
    first, count = np.zeros(x.shape, np.intp), np.full(x.shape, len(edges))
    while count.any():
        half = count >> 1
        middle = np.minimum(first + half, len(edges) - 1)
        beyond = (count > 0) & ~(x < edges[middle])
        first = np.where(beyond, middle + 1, first)
        count = np.where(beyond, count - half - 1, half)
    return first


@structured(method=False, outputs=0, excuse="counts")
def histogram_grid(
    input: Array, edges: Arrays, weight: Array | None = None, density: bool = False
) -> tuple[Array, ...]:
    """Counts of points (in rows) in the cells between neighbouring edges, and the edges.

    Points beyond the outer edges are left out; the last cell holds both of its edges.
    """
    _check_histogram(input, edges, weight)
    points = widened(input).reshape(math.prod(input.shape[:-1]), input.shape[-1])
    bounds = [widened(given) for given in edges]
    sizes = [len(given) - 1 for given in edges]
    inside, place = np.ones(len(points), bool), np.zeros(len(points), np.intp)
    for given, x, size in zip(bounds, points.T, sizes, strict=True):
        inside &= (x >= given[0]) & (x <= given[-1])
        place = place * size + np.minimum(_first_larger(given, x) - 1, size - 1)
    weights = None if weight is None else widened(weight).reshape(-1)[inside]
    counted = np.bincount(place[inside], weights, math.prod(sizes)).reshape(sizes)
    hist = counted.astype(points.dtype)
    if density:
        with np.errstate(divide="ignore", invalid="ignore"):
            hist /= hist.sum()
            for d, given in enumerate(bounds):
                hist /= np.diff(given).reshape(-1, *[1] * (len(sizes) - 1 - d))
    return (hist.astype(input.dtype, copy=False), *edges)


@structured(method=False, excuse="bin edges")
def histogram_edges(
    input: Array, bins: int, range: Sequence[float] | None = None, dimension: int = 0
) -> Array:
    """The edges of `bins` equal bins over `range`, or over all of `input`."""
    _check_bins(bins, dimension)
    if range is not None:
        lo, hi = range
    else:
        lo, hi = (float(input.min()), float(input.max())) if input.size else (0.0, 1.0)
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise RuntimeError(
            f"torch.histogramdd: dimension {dimension}'s range [{lo}, {hi}] is not finite"
        )
    if lo > hi:
        raise RuntimeError(
            f"torch.histogramdd: min should not exceed max, but got min {lo} max {hi} for "
            f"dimension {dimension}"
        )
    if lo == hi:
        lo, hi = lo - 0.5, hi + 0.5
    return np.linspace(lo, hi, bins + 1).astype(input.dtype)


def _check_range(range: Sequence[float] | None, count: int) -> None:
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(
            f"torch.histogramdd: for a {count}-dimensional histogram range should have "
            f"{2 * count} elements, but got {len(range)}"
        )


@composite(out=True, outputs=2, fields=("hist", "bin_edges"))
def histogram(
    m: Any,
    input: Array,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Any = None,
    density: bool = False,
) -> Any:
    """Counts in `bins` (a number, or the edges), and the edges.

    >>> hist, edges = flambeau.histogram(flambeau.tensor([0.5, 1.5, 1.75]), 2, range=(0.0, 2.0))
    >>> hist, edges
    (tensor([1., 2.]), tensor([0., 1., 2.]))
    """
    _check_range(range, 1)
    edges = m.histogram_edges(input, bins, range) if is_number(bins) else bins
    return m.histogram_grid(m.unsqueeze(input, -1), [edges], weight, density)


@composite(outputs=2, fields=("hist", "bin_edges"))
def histogramdd(
    m: Any,
    input: Array,
    bins: Any,
    range: Sequence[float] | None = None,
    weight: Any = None,
    density: bool = False,
) -> tuple[Array, tuple[Array, ...]]:
    """Counts of points (the last dimension holds coordinates) in a grid of bins, and its edges.

    >>> points = flambeau.tensor([[0.0, 1.0], [0.25, 0.0], [1.0, 1.0]])
    >>> flambeau.histogramdd(points, bins=[2, 2]).hist
    tensor([[1., 1.],
            [0., 1.]])
    """
    if input.ndim < 2:
        raise RuntimeError(
            "torch.histogramdd: input tensor should have at least 2 dimensions, but got "
            f"{input.ndim}"
        )
    count = input.shape[-1]
    _check_range(range, count)
    listed = [bins] * count if is_number(bins) else list(bins)
    if len(listed) != count:
        raise RuntimeError(
            f"torch.histogramdd: expected {count} sequences of bin edges for a {count}-dimensional "
            f"histogram but got {len(listed)}"
        )
    edges = []
    for i, b in enumerate(listed):
        column = m.select(input, -1, i)
        span = None if range is None else tuple(range[2 * i : 2 * i + 2])
        edges.append(m.histogram_edges(column, b, span, i) if is_number(b) else b)
    hist, *found = m.histogram_grid(input, edges, weight, density)
    return hist, tuple(found)


@structured(method=False, outputs=0, excuse="indices")
def unravel_places(indices: Array, shape: Sequence[int]) -> tuple[Array, ...]:
    """The coordinates of flat places in a tensor of `shape`."""
    if indices.dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {title(indices)}")
    rest, parts = indices, []
    for n in reversed(shape):
        parts.append(np.asarray(rest % max(n, 1)).astype(np.int64))
        rest = rest // max(n, 1)
    return tuple(reversed(parts))


@composite(method=False)
def unravel_index(m: Any, indices: Array, shape: Any) -> tuple[Array, ...]:
    """The coordinates of flat `indices` in a tensor of `shape`, a tensor for each dimension.

    >>> flambeau.unravel_index(flambeau.tensor([1, 5]), (2, 3))
    (tensor([0, 1]), tensor([1, 2]))
    """
    sizes = (shape,) if is_number(shape) else tuple(int(n) for n in shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    return m.unravel_places(indices, sizes)
