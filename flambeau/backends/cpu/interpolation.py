"""Resampling of NumPy arrays along one axis at a time: weighted sums of neighbours."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np

from ...compiler import jit
from ...compiler.kernel import serves
from . import interpolation_kernels as kernels
from .layout import contiguous, has_channels_last
from .scatter import add_at

Array = Any


# Elements from which compiled kernels are used, and taps that are many.
_FEW, _MANY = 1024, 16


@dataclasses.dataclass(eq=False)
class AxisMap:
    """How one axis of ``size`` positions becomes another.

    Output ``o`` is the sum over t of ``weights[o, t] * input[places[o, t]]``, of places that are
    not below zero. Without weights there is one place for each output and its
    value is taken as it is.
    """

    axis: int
    size: int
    places: Array
    weights: Array | None

    @functools.cached_property
    def ragged(self) -> bool:
        """Whether outputs differ in how many inputs they see."""
        return bool((self.places < 0).any())

    @functools.cached_property
    def adjoint(self) -> AxisMap:
        """The map that takes gradients back."""
        outputs, taps = np.nonzero(self.places >= 0)
        inputs = self.places[outputs, taps]
        ranked = np.argsort(inputs, kind="stable")
        outputs, taps, inputs = outputs[ranked], taps[ranked], inputs[ranked]
        starts = np.searchsorted(inputs, inputs)
        tap = np.arange(len(inputs)) - starts
        places = np.full((self.size, int(tap.max(initial=0)) + 1), -1, np.int64)
        weights = np.zeros(places.shape)
        places[inputs, tap] = outputs
        weights[inputs, tap] = 1.0 if self.weights is None else self.weights[outputs, taps]
        return AxisMap(self.axis, len(self.places), places, weights)

    @functools.cached_property
    def before_channels(self) -> AxisMap:
        """The same map of an array whose channels come last."""
        return AxisMap(self.axis - 1, self.size, self.places, self.weights)

    @functools.cached_property
    def tables(self) -> dict[Any, tuple[Array, Array | None]]:
        """What `table` has made."""
        return {}

    def table(self, dtype: Any, by_taps: bool) -> tuple[Array, Array | None]:
        """Places in int32 and weights in `dtype` for kernels, (outputs, taps) or turned."""
        made = self.tables.get((dtype, by_taps))
        if made is None:
            tables = self.places.astype(np.int32), self.weights
            if by_taps:
                tables = tables[0].T, None if tables[1] is None else tables[1].T
            made = self.tables[dtype, by_taps] = (
                np.ascontiguousarray(tables[0]),
                None if tables[1] is None else np.ascontiguousarray(tables[1], dtype),
            )
        return made


def resample(x: Array, maps: list[AxisMap]) -> Array:
    """`x` resampled along each map's axis."""
    maps = list(maps)
    if has_channels_last(x):
        last = np.moveaxis(x, 1, -1)
        return np.moveaxis(resample(last, [a.before_channels for a in maps]), -1, 1)
    while maps:
        a = maps.pop(0)
        columns = maps[0] if maps and (a.axis, maps[0].axis) == (-2, -1) else None
        if not _serves(x, a):
            x = _forward(x, a)
        elif columns is not None and x.shape[-1] <= kernels.WIDEST and _taps(columns) <= _MANY:
            x = _planes(contiguous(x), a, maps.pop(0))
        else:
            x = _one_axis(contiguous(x), a)
    return x


def _serves(x: Array, a: AxisMap) -> bool:
    large = x.size >= _FEW or len(a.places) * x.size >= _FEW * a.size
    return x.dtype in (np.float32, np.float64) and x.size > 0 and large and jit.available()


def _taps(a: AxisMap) -> int:
    return int(a.places.shape[1])


def _planes(x: Array, rows: AxisMap, columns: AxisMap) -> Array:
    lead, (height, width) = x.shape[:-2], x.shape[-2:]
    counts = len(rows.places), len(columns.places)
    out = np.empty((*lead, *counts), x.dtype)
    cost = _taps(rows) * width + 4 * _taps(columns) * counts[1]
    kernels.resample_planes(
        math.prod(lead) * counts[0], cost, x, out, *rows.table(x.dtype, False),
        *columns.table(x.dtype, True), height, width, *counts, _taps(rows), _taps(columns),
        rows.ragged or columns.ragged,
    )  # fmt: skip
    return out


def _one_axis(x: Array, a: AxisMap) -> Array:
    lead, trail = x.shape[: x.ndim + a.axis], x.shape[x.ndim + a.axis :][1:]
    count, width, taps = len(a.places), math.prod(trail), _taps(a)
    out = np.empty((*lead, count, *trail), x.dtype)
    if width > 1:
        kernels.resample_rows(
            math.prod(lead) * count, taps * width, x, out, *a.table(x.dtype, False), a.size, count,
            width, taps, a.ragged,
        )  # fmt: skip
    else:
        few = taps <= _MANY
        kernels.resample_lines(
            math.prod(lead), 4 * taps * count, x, out, *a.table(x.dtype, few), a.size, count, taps,
            taps if few else None, a.ragged,
        )  # fmt: skip
    return out


def resample_bytes(x: Array, maps: list[AxisMap]) -> Array:
    """`x` of uint8 resampled in fixed point, rounded after each axis, the last axis first."""
    for a in reversed(maps):
        if a.weights is None:
            x = _forward(x, a)
            continue
        bits = _fraction_bits(float(a.weights.max(initial=1)))
        scaled = np.trunc(a.weights * 2**bits + np.copysign(0.5, a.weights))
        fixed = dataclasses.replace(a, weights=scaled.astype(np.int32))
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
    return resample(g, [a.adjoint for a in maps])


def _along(values: Array, x: Array, axis: int) -> Array:
    return values.astype(x.dtype, copy=False).reshape((-1,) + (1,) * (-1 - axis))


def _forward(x: Array, a: AxisMap) -> Array:
    if a.weights is None:
        return x.take(a.places[:, 0], a.axis)
    out = np.zeros((*x.shape[: a.axis], len(a.places), *x.shape[a.axis :][1:]), x.dtype)
    for tap in range(_taps(a)):
        places = a.places[:, tap]
        part = x.take(np.maximum(places, 0), a.axis)
        part *= _along(a.weights[:, tap], x, a.axis)
        if a.ragged:
            part[(..., places < 0, *(slice(None),) * (-1 - a.axis))] = 0
        out += part
    return out


# ---------------------------------------------------------------- points
def _point_operands(*arrays: Array) -> tuple[Array, ...] | None:
    """The arrays as kernels for points take them; None if those do not serve."""
    ready = tuple(map(contiguous, arrays))
    kinds = {a.dtype for a in ready if a.dtype != np.int64}
    usable = len(kinds) == 1 and kinds <= {np.dtype(np.float32), np.dtype(np.float64)}
    large = ready[-1].size >= _FEW and all(a.size for a in ready)
    return ready if usable and large and serves(*ready) else None


_POINTS = 2048
"""Points of a block."""


def find_corners(
    grid: Array, height: int, width: int, aligned: bool, border: bool, taps: int = 4
) -> tuple[Array, Array]:
    """The shares and places (N, taps, P) of the 4 pixels around each point of a grid (N, P, 2).

    With one tap it is the nearest pixel, whose share is 1; halves go to the even one. Positions are
    (x, y) from -1 to 1; the place of a pixel outside the image is -1. With `border` points outside
    are moved to it.
    """
    n, points = grid.shape[:2]
    ready = _point_operands(grid) if height * width < 2**24 else None
    if ready is not None:
        weights = np.empty((n, taps, points), grid.dtype)
        places = np.empty((n, taps, points), np.int64)
        block = min(_POINTS, points)
        kernels.find_corners(
            n * -(-points // block), 60 * block, *ready, places, weights, points, block, height,
            width, aligned, border, taps,
        )  # fmt: skip
        return weights, places
    corners = []
    for at, size in ((grid[..., 1], height), (grid[..., 0], width)):
        p = (at + 1) * ((size - 1) / 2) if aligned else ((at + 1) * size - 1) / 2
        p = np.where(p > 0, np.minimum(p, size - 1), 0) if border else p
        low = np.floor(p)
        pair = [(low, 1 - (p - low)), (low + 1, p - low)]
        corners.append(pair if taps == 4 else [(np.rint(p), np.ones_like(p))])
    places, weights = [], []
    for (y, down), (x, part) in itertools.product(*corners):
        inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
        places.append(np.where(inside, np.where(inside, y, 0) * width + np.where(inside, x, 0), -1))
        weights.append(down * part)
    return np.stack(weights, 1).astype(grid.dtype), np.stack(places, 1).astype(np.int64)


def blend_points(x: Array, places: Array, weights: Array) -> Array:
    """Sums over t of ``x[n, c, places[n, t, p]] * weights[n, t, p]``: (N, C, S) to (N, C, P).

    A place outside [0, S) is of no element.
    """
    ready = _point_operands(x, places, weights)
    (n, channels, size), (taps, points) = x.shape, places.shape[1:]
    if ready is not None and taps in (1, 4, 8, 16):
        out = np.empty((n, channels, points), x.dtype)
        kernels.blend_points(
            n * channels, 4 * taps * points, *ready, out, channels, size, points, taps
        )
        return out
    out = np.zeros((n, channels, points), x.dtype)
    for t in range(taps):
        out += _seen(x, places[:, t]) * weights[:, t, None]
    return out


def _seen(x: Array, places: Array) -> Array:
    """x[n, c, places[n, p]], zeros where a place is outside."""
    inside = ((places >= 0) & (places < x.shape[2]))[:, None]
    if not x.shape[2]:
        return np.zeros((*x.shape[:2], places.shape[1]), x.dtype)
    index = np.where(inside, places[:, None], 0)
    index = np.broadcast_to(index, (*x.shape[:2], places.shape[1]))
    return np.where(inside, np.take_along_axis(x, index, 2), 0)


def blend_points_back(g: Array, places: Array, weights: Array, size: int) -> Array:
    """The adjoint of `blend_points` for its first array: (N, C, P) to (N, C, size)."""
    (n, channels, points), taps = g.shape, places.shape[1]
    out = np.zeros((n, channels, size), g.dtype)
    ready = _point_operands(g, places, weights)
    if ready is not None:
        kernels.blend_points_back(
            n * channels, 4 * taps * points, *ready, out, channels, size, points, taps
        )
        return out
    rows = np.arange(n * channels).reshape(n, channels, 1) * size
    for t in range(taps):
        inside = ((places[:, t] >= 0) & (places[:, t] < size))[:, None]
        parts = np.where(inside, g * weights[:, t, None], 0)
        at = np.where(inside, places[:, t, None], 0) + rows if size else rows[:0]
        add_at(out.reshape(-1), at.reshape(-1), parts.reshape(-1)[: at.size])
    return out


def blend_points_shares(g: Array, x: Array, places: Array) -> Array:
    """The adjoint of `blend_points` for its weights: (N, C, P) to (N, T, P)."""
    (n, channels, points), taps = g.shape, places.shape[1]
    ready = _point_operands(g, x, places)
    out = np.empty((n, taps, points), g.dtype)
    if ready is not None:
        kernels.blend_points_shares(
            n * taps, 4 * channels * points, *ready, out, channels, x.shape[2], points, taps
        )
        return out
    for t in range(taps):
        out[:, t] = (g * _seen(x, places[:, t])).sum(1)
    return out


# ---------------------------------------------------------------- maps
@functools.lru_cache(maxsize=256)
def even_mean(axis: int, size: int, count: int) -> AxisMap:
    """The means of `count` even parts, which may overlap."""
    starts = np.arange(count) * size // max(count, 1)
    ends = -(-(np.arange(count) + 1) * size // max(count, 1))
    return _mean_of(axis, size, starts, ends)


def _mean_of(axis: int, size: int, starts: Array, ends: Array) -> AxisMap:
    longest = int((ends - starts).max(initial=1))
    taps = np.arange(longest)
    inside = taps < (ends - starts)[:, None]
    places = np.where(inside, starts[:, None] + taps, -1)
    return AxisMap(axis, size, places, inside / (ends - starts)[:, None])


def _centres(size: int, count: int, scale: float | None, align_corners: bool) -> Array:
    """The input position of the middle of each output."""
    o = np.arange(count, dtype=np.float64)
    if align_corners:
        return o * ((size - 1) / (count - 1) if count > 1 else 0.0)
    return (o + 0.5) * (1 / scale if scale else size / count) - 0.5


@functools.lru_cache(maxsize=256)
def nearest(axis: int, size: int, count: int, scale: float | None, exact: bool) -> AxisMap:
    """The nearest input; `exact` measures from the middle of each output."""
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    o = np.arange(count, dtype=np.float32)
    at = (o + np.float32(0.5)) * step if exact else o * step
    places = np.minimum(at.astype(np.int64), size - 1)
    return AxisMap(axis, size, places[:, None], None)


@functools.lru_cache(maxsize=256)
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


@functools.lru_cache(maxsize=256)
def cubic(axis: int, size: int, count: int, scale: float | None, align_corners: bool) -> AxisMap:
    """From the four nearest inputs by a cubic."""
    at = _centres(size, count, scale, align_corners)
    low = np.floor(at)
    places = np.clip(low.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    return AxisMap(axis, size, places, cubic_weights(at - low))


@functools.lru_cache(maxsize=256)
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
    inside = taps < (ends - starts)[:, None]
    weights = np.where(inside, weights, 0)
    weights /= np.where(weights.sum(1) == 0, 1, weights.sum(1))[:, None]
    places = np.where(inside, starts[:, None] + taps, -1)
    return AxisMap(axis, size, places, weights)


def _cubic_kernel(x: Array, a: float = -0.5) -> Array:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
