"""Windows that slide over the last dimensions of NumPy arrays.

A window has taps: tap ``t`` of the output position ``o`` reads the input position
``o * stride - padding + t * dilation``. Kernels go over the taps of all axes and treat all output
positions at once; positions outside the input are cut off, so that nothing is ever padded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Axis(NamedTuple):
    """How windows slide along one axis."""

    size: int
    count: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    def reach(self, tap: int) -> tuple[slice, slice]:
        """The outputs for which `tap` lies inside the input, and where it lies there."""
        shift = tap * self.dilation - self.padding
        first = max(0, -(shift // self.stride)) if shift < 0 else 0
        last = (self.size - 1 - shift) // self.stride + 1 if self.size > shift else 0
        last = min(self.count, last)
        if first >= last:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + shift
        stop = start + (last - first - 1) * self.stride + 1
        return slice(first, last), slice(start, stop, self.stride)

    def positions(self, tap: int) -> Array:
        """The input position of `tap` for each output; it may lie outside."""
        return np.arange(self.count) * self.stride + (tap * self.dilation - self.padding)

    def inside(self) -> Array:
        """How many taps lie inside the input, for each output."""
        counts = np.zeros(self.count, np.int64)
        for tap in range(self.kernel):
            counts[self.reach(tap)[0]] += 1
        return counts


class Tap(NamedTuple):
    """One tap of all axes: its number, the outputs that see it and the inputs they see."""

    number: tuple[int, ...]
    outputs: tuple[Any, ...]
    inputs: tuple[Any, ...]


def taps(axes: tuple[Axis, ...]) -> Iterator[Tap]:
    """Every combination of taps that any output can see."""
    for number in itertools.product(*(range(a.kernel) for a in axes)):
        reach = [a.reach(t) for a, t in zip(axes, number, strict=True)]
        if all(o.stop > o.start for o, _ in reach):
            yield Tap(number, (..., *(o for o, _ in reach)), (..., *(i for _, i in reach)))


def window_sums(x: Array, axes: tuple[Axis, ...]) -> Array:
    """The sum of each window, one axis after the other."""
    for place, a in enumerate(axes):
        axis = x.ndim - len(axes) + place
        if (a.kernel, a.stride, a.padding) == (1, 1, 0) and a.count == a.size:
            continue
        out = np.zeros((*x.shape[:axis], a.count, *x.shape[axis + 1 :]), x.dtype)
        lead = (slice(None),) * axis
        for tap in range(a.kernel):
            outputs, inputs = a.reach(tap)
            out[(*lead, outputs)] += x[(*lead, inputs)]
        x = out
    return x


def spread_windows(g: Array, axes: tuple[Axis, ...]) -> Array:
    """The adjoint of `window_sums`: each value added to every place its window covers."""
    for place, a in enumerate(axes):
        axis = g.ndim - len(axes) + place
        if (a.kernel, a.stride, a.padding) == (1, 1, 0) and a.count == a.size:
            continue
        out = np.zeros((*g.shape[:axis], a.size, *g.shape[axis + 1 :]), g.dtype)
        lead = (slice(None),) * axis
        for tap in range(a.kernel):
            outputs, inputs = a.reach(tap)
            out[(*lead, inputs)] += g[(*lead, outputs)]
        g = out
    return g


def unfold(x: Array, axes: tuple[Axis, ...]) -> Array:
    """Windows as columns: (*, sizes) to (*, kernels, counts), with zeros outside the input."""
    lead = x.shape[: x.ndim - len(axes)]
    kernels, counts = tuple(a.kernel for a in axes), tuple(a.count for a in axes)
    whole = all(a.padding == 0 for a in axes)
    columns = (np.empty if whole else np.zeros)((*lead, *kernels, *counts), x.dtype)
    for tap in taps(axes):
        at = (slice(None),) * len(lead) + tap.number + tap.outputs[1:]
        columns[at] = x[tap.inputs]
    return columns


def fold(columns: Array, axes: tuple[Axis, ...]) -> Array:
    """The adjoint of `unfold`: columns added up to an array (*, sizes)."""
    lead = columns.shape[: columns.ndim - 2 * len(axes)]
    out = np.zeros((*lead, *(a.size for a in axes)), columns.dtype)
    for tap in taps(axes):
        at = (slice(None),) * len(lead) + tap.number + tap.outputs[1:]
        out[tap.inputs] += columns[at]
    return out
