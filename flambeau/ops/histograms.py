"""Counting: how often numbers occur, in bins or one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .promotion import is_number, title, widened
from .record import Array, Arrays, composite, shape_from_values, structured


@structured(meta=shape_from_values, excuse="counts")
def bincount(input: Array, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each number occurs in a 1-d tensor of non-negative integers, or their weights."""
    if input.ndim != 1 or input.dtype.kind not in "iu" or (input.size and input.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    out = np.bincount(input, weights, minlength)
    if weights is None:
        return out.astype(np.int64)
    return out.astype(np.float32 if weights.dtype == np.float32 else np.float64)


@structured(out=True, excuse="counts")
def histc(input: Array, bins: int = 100, min: float = 0, max: float = 0) -> Array:
    """How many elements fall into each of `bins` equal bins from `min` to `max`."""
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


@structured(
    outputs=2, fields=("hist", "bin_edges"), result="histogram", excuse="counts", method=False
)
def histogram_of(
    input: Array, edges: Array, weight: Array | None = None, density: bool = False
) -> tuple[Array, Array]:
    """Counts (or summed weights, or densities) between neighbouring edges, and the edges."""
    flat = None if weight is None else weight.reshape(-1)
    hist, _ = np.histogram(input.reshape(-1), edges, weights=flat, density=density)
    return hist.astype(input.dtype), edges


@structured(method=False, excuse="bin edges")
def histogram_edges(input: Array, bins: int, range: Sequence[float] | None = None) -> Array:
    """The edges of `bins` equal bins over `range`, or over all of `input`."""
    if bins <= 0:
        raise RuntimeError("torch.histogram(): bins must be > 0")
    lo, hi = range or ((float(input.min()), float(input.max())) if input.size else (0.0, 1.0))
    if lo == hi:
        lo, hi = lo - 0.5, hi + 0.5
    if lo > hi:
        raise RuntimeError("torch.histogram(): max should be larger than min")
    return np.linspace(lo, hi, bins + 1).astype(input.dtype)


@composite()
def histogram(
    m: Any,
    input: Array,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Any = None,
    density: bool = False,
) -> Any:
    """Counts in `bins` (a number, or the edges), and the edges."""
    edges = m.histogram_edges(input, bins, range) if is_number(bins) else bins
    return m.histogram_of(input, edges, weight, density)


@structured(method=False, outputs=0, excuse="counts")
def histogram_grid(
    input: Array, edges: Arrays, weight: Array | None = None, density: bool = False
) -> tuple[Array, ...]:
    """Counts of points (in rows) in the cells between neighbouring edges, and the edges."""
    points = input.reshape(-1, input.shape[-1])
    flat = None if weight is None else weight.reshape(-1)
    hist, _ = np.histogramdd(points, list(edges), weights=flat, density=density)
    return (hist.astype(input.dtype), *edges)


@composite()
def histogramdd(
    m: Any,
    input: Array,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Any = None,
    density: bool = False,
) -> tuple[Array, tuple[Array, ...]]:
    """Counts of points (the last dimension holds coordinates) in a grid of bins, and its edges."""
    if input.ndim < 2:
        raise RuntimeError(
            "torch.histogramdd: input tensor should have at least 2 dimensions, but got "
            f"{input.ndim}"
        )
    count = input.shape[-1]
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
        edges.append(m.histogram_edges(column, b, span) if is_number(b) else b)
    hist, *found = m.histogram_grid(input, edges, weight, density)
    return hist, tuple(found)


@structured(method=False, outputs=0, excuse="indices")
def unravel_places(indices: Array, shape: Sequence[int]) -> tuple[Array, ...]:
    """The coordinates of flat places in a tensor of `shape`."""
    if indices.dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {title(indices)}")
    bound = math.prod(shape)
    if indices.size and not -bound <= indices.min() <= indices.max() < bound:
        raise RuntimeError(f"unravel_index(): a flat index lies outside a tensor of shape {shape}")
    rest, parts = indices, []
    for n in reversed(shape):
        parts.append(np.asarray(rest % max(n, 1)).astype(np.int64))
        rest = rest // max(n, 1)
    return tuple(reversed(parts))


@composite(method=False)
def unravel_index(m: Any, indices: Array, shape: Any) -> tuple[Array, ...]:
    """The coordinates of flat `indices` in a tensor of `shape`, a tensor for each dimension."""
    sizes = (shape,) if is_number(shape) else tuple(int(n) for n in shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    return m.unravel_places(indices, sizes)
