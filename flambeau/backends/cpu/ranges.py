"""Evenly spaced numbers: compiled for many of them, else NumPy."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...compiler import allocator, jit, threads
from ...compiler.kernel import UNIT, kernel
from ...compiler.language import F64, Array, T, f64, simd

_FEW = 2048
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@kernel
def space(first: int, last: int, out: Array[T], ends: Array[F64], count: int) -> None:
    """`count` numbers from a low end to a high one, in steps: the numbers of `ends`.

    Both halves are counted from their own end.
    """
    low, high, step = ends[0], ends[1], ends[2]
    half, top = count // 2, count - 1
    for j in simd(first, min(last, half)):
        out[j] = T(low + step * f64(j))
    for j in simd(max(first, half), last):
        out[j] = T(high - step * f64(top - j))


def linspace(low: Any, high: Any, count: int, kind: Any) -> Any:
    """`count` numbers of the dtype `kind` from `low` to `high`, both included.

    Those in float32 are rounded once, from float64.
    """
    work = kind if kind.kind in "fc" and kind.itemsize >= 4 else _DOUBLE
    low, high = work.type(low), work.type(high)
    step = (high - low) / work.type(count - 1) if count > 1 else work.type(0)
    if count >= _FEW and kind in (_SINGLE, _DOUBLE) and jit.available():
        return _spaced(count, kind, (float(low), float(high), float(step)), count)
    if work == _SINGLE:
        work, low, high, step = _DOUBLE, float(low), float(high), float(step)
    out = np.arange(count, dtype=_DOUBLE).astype(work, copy=False)
    half = count // 2
    below, above = out[:half], out[half:]
    below *= step
    below += low
    np.subtract(count - 1, above, out=above)
    above *= step
    np.subtract(high, above, out=above)
    return out.astype(kind, copy=False)


def steps_from(start: float, step: float, count: int, kind: Any) -> Any:
    """The numbers ``start + step * i`` for i below `count`, rounded from float64 to `kind`."""
    if count >= _FEW and kind in (_SINGLE, _DOUBLE) and jit.available():
        return _spaced(count, kind, (start, 0.0, step), 2 * count)
    out = np.arange(count, dtype=_DOUBLE)
    out *= step
    out += start
    return out.astype(kind, copy=False)


def _spaced(size: int, kind: Any, ends: tuple[float, float, float], count: int) -> Any:
    """The first `size` of what `space` makes."""
    allocator.prepare(size * kind.itemsize)
    out = np.empty(size, kind)
    chunks, share = threads.split(size, 10 * UNIT, 64)
    _spacer(kind)(chunks, size, share, out, np.array(ends), count)
    return out


@functools.cache
def _spacer(kind: Any) -> Any:
    return space.prepare(np.empty(1, kind), np.empty(3), 0)
