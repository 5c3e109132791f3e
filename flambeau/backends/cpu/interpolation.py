"""Resampling of NumPy arrays along one axis at a time: weighted sums of neighbours."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .matmul import matmul

Array = Any
# Entries of a map's matrix up to which a product with it is cheaper than following the map.
_DENSE = 1 << 18


class AxisMap(NamedTuple):
    """How one axis of ``size`` positions becomes another.

    Output ``o`` is the sum over t of ``weights[o, t] * input[places[o, t]]``; without weights there
    is one place for each output and its value is taken as it is.
    """

    axis: int
    size: int
    places: Array
    weights: Array | None


def resample(x: Array, maps: list[AxisMap]) -> Array:
    """`x` resampled along each map's axis."""
    for a in maps:
        x = _forward(x, a)
    return x


def resample_bytes(x: Array, maps: list[AxisMap]) -> Array:
    """`x` of uint8 resampled in fixed point, rounded after each axis, the last axis first."""
    for a in reversed(maps):
        if a.weights is None:
            x = _forward(x, a)
            continue
        bits = _fraction_bits(float(a.weights.max(initial=1)))
        scaled = np.trunc(a.weights * 2**bits + np.copysign(0.5, a.weights))
        fixed = a._replace(weights=scaled.astype(np.int32))
        total = _forward(x.astype(np.int32), fixed) + (1 << (bits - 1))
        x = np.clip(total >> bits, 0, 255).astype(np.uint8)
    return x


def _fraction_bits(largest: float) -> int:
    """Bits behind the point with which a weight still fits into 16 bits."""
    bits = 0
    while bits < 22 and 0.5 + largest * 2 ** (bits + 1) < 2**15:
        bits += 1
    return bits


def resample_back(g: Array, maps: list[AxisMap]) -> Array:
    """The adjoint of `resample`."""
    for a in reversed(maps):
        g = _backward(g, a)
    return g


def _along(values: Array, x: Array, axis: int) -> Array:
    return values.astype(x.dtype, copy=False).reshape((-1,) + (1,) * (-1 - axis))


def _forward(x: Array, a: AxisMap) -> Array:
    if a.weights is None:
        return x.take(a.places[:, 0], a.axis)
    if _prefers_matrix(a):
        return _times_matrix(x, a.axis, _matrix(a, x.dtype).T)
    out = x.take(a.places[:, 0], a.axis)
    out *= _along(a.weights[:, 0], x, a.axis)
    for tap in range(1, a.places.shape[1]):
        part = x.take(a.places[:, tap], a.axis)
        part *= _along(a.weights[:, tap], x, a.axis)
        out += part
    return out


def _backward(g: Array, a: AxisMap) -> Array:
    if len(a.places) * a.size > _DENSE:
        return _times_sparse(g, a)
    return _times_matrix(g, a.axis, _matrix(a, g.dtype))


def _prefers_matrix(a: AxisMap) -> bool:
    """Whether a product with a dense matrix is cheaper than a pass for every tap."""
    return a.places.shape[1] > 4 and len(a.places) * a.size <= _DENSE


def _matrix(a: AxisMap, dtype: Any) -> Array:
    """The map as a matrix (outputs, size)."""
    count = len(a.places)
    matrix = np.zeros((count, a.size), dtype)
    rows = np.arange(count)
    for tap in range(a.places.shape[1]):
        # In one tap no output occurs twice, so that nothing is lost.
        matrix[rows, a.places[:, tap]] += (
            1 if a.weights is None else a.weights[:, tap].astype(dtype)
        )
    return matrix


def _times_matrix(x: Array, axis: int, matrix: Array) -> Array:
    """`x` with `axis` contracted with the first of the matrix' axes."""
    if axis == -1:
        return matmul(x, matrix)
    lead, trail = x.shape[:axis], x.shape[axis + 1 :]
    rows = x.reshape(*lead, x.shape[axis], math.prod(trail))
    return matmul(matrix.T, rows).reshape(*lead, matrix.shape[1], *trail)


def _times_sparse(g: Array, a: AxisMap) -> Array:
    from scipy import sparse

    count, taps = a.places.shape
    ones = np.ones(1) if a.weights is None else a.weights.ravel()
    weights = np.broadcast_to(ones, count * taps).astype(g.dtype)
    columns = np.repeat(np.arange(count), taps)
    adjoint = sparse.csr_matrix((weights, (a.places.ravel(), columns)), (a.size, count))
    first = np.moveaxis(g, a.axis, 0)
    sums = adjoint @ np.ascontiguousarray(first).reshape(count, -1)
    return np.ascontiguousarray(np.moveaxis(sums.reshape(a.size, *first.shape[1:]), 0, a.axis))


# ---------------------------------------------------------------- maps
def even_mean(axis: int, size: int, count: int) -> AxisMap:
    """The means of `count` even parts, which may overlap."""
    starts = np.arange(count) * size // max(count, 1)
    ends = -(-(np.arange(count) + 1) * size // max(count, 1))
    return _mean_of(axis, size, starts, ends)


def _mean_of(axis: int, size: int, starts: Array, ends: Array) -> AxisMap:
    longest = int((ends - starts).max(initial=1))
    taps = np.arange(longest)
    places = np.minimum(starts[:, None] + taps, size - 1)
    inside = taps < (ends - starts)[:, None]
    return AxisMap(axis, size, places, inside / (ends - starts)[:, None])


def _centres(size: int, count: int, scale: float | None, align_corners: bool) -> Array:
    """The input position of the middle of each output."""
    o = np.arange(count, dtype=np.float64)
    if align_corners:
        return o * ((size - 1) / (count - 1) if count > 1 else 0.0)
    return (o + 0.5) * (1 / scale if scale else size / count) - 0.5


def nearest(axis: int, size: int, count: int, scale: float | None, exact: bool) -> AxisMap:
    """The nearest input; `exact` measures from the middle of each output."""
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    o = np.arange(count, dtype=np.float32)
    at = (o + np.float32(0.5)) * step if exact else o * step
    places = np.minimum(at.astype(np.int64), size - 1)
    return AxisMap(axis, size, places[:, None], None)


def linear(axis: int, size: int, count: int, scale: float | None, align_corners: bool) -> AxisMap:
    """Between the two nearest inputs."""
    at = np.maximum(_centres(size, count, scale, align_corners), 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = np.clip(at - low, 0, 1)
    return AxisMap(axis, size, np.stack([low, high], 1), np.stack([1 - part, part], 1))


def cubic_weights(part: Array, a: float = -0.75) -> Array:
    """Keys' cubic convolution (1981): weights (*, 4) of the neighbours for `part` in [0, 1)."""

    def near(x: Array) -> Array:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Array) -> Array:
        return ((x - 5) * x + 8) * x * a - 4 * a

    return np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)], -1)


def cubic(axis: int, size: int, count: int, scale: float | None, align_corners: bool) -> AxisMap:
    """From the four nearest inputs by a cubic."""
    at = _centres(size, count, scale, align_corners)
    low = np.floor(at)
    places = np.clip(low.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    return AxisMap(axis, size, places, cubic_weights(at - low))


def antialiased(
    axis: int, size: int, count: int, scale: float | None, align_corners: bool, cubic_: bool
) -> AxisMap:
    """Linear or cubic weights stretched over all inputs that fall into an output."""
    if align_corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / scale if scale else size / count
    reach = 2.0 if cubic_ else 1.0
    stretch = max(step, 1.0)
    support = reach * stretch
    centre = (np.arange(count) + 0.5) * step
    starts = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centre + support + 0.5).astype(np.int64), size)
    longest = int((ends - starts).max(initial=1))
    taps = np.arange(longest)
    distance = np.abs(starts[:, None] + taps - centre[:, None] + 0.5) / stretch
    weights = _cubic_kernel(distance) if cubic_ else np.maximum(0, 1 - distance)
    weights = np.where(taps < (ends - starts)[:, None], weights, 0)
    weights /= np.where(weights.sum(1) == 0, 1, weights.sum(1))[:, None]
    places = np.minimum(starts[:, None] + taps, size - 1)
    return AxisMap(axis, size, places, weights)


def _cubic_kernel(x: Array, a: float = -0.5) -> Array:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
