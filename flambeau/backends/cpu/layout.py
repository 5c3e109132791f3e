"""The order of an array's elements in memory, PyTorch's names for it, and copies that change it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import devices, dtypes
from ...compiler import allocator, jit
from ...compiler.kernel import serves
from . import layout_kernels as kernels
from .indexing import words_of

_FEW = 2048
_MANY = 65536
"""Elements of one array from which a copy of it is worth two threads."""
_WIDE = 16
"""Elements of a row from which it is copied as a row."""
_SMALL = 256
_STEPS = (0, 1, -1, 2, 3, 4)


class _Plan(NamedTuple):
    """How to copy from one arrangement to another; see `layout_kernels`."""

    kernel: Any
    items: int
    cost: int
    sizes: Any
    steps: Any
    rank: int
    facts: tuple[Any, ...]


def assign(target: Any, source: Any) -> None:
    """``target[...] = source``, of one type; the source broadcasts. They must not overlap."""
    if target.size >= _FEW and target.dtype == source.dtype and jit.available():
        x, out = words_of(source), words_of(target)
        if x is not None and out is not None:
            if x.shape != out.shape:
                x = np.broadcast_to(x, out.shape)
            plan = _plan(out.shape, x.strides, out.strides, out.itemsize)
            if plan is not None:
                k, items, cost, sizes, steps, rank, facts = plan
                k(items, cost, x, out, sizes, steps, rank, *facts)
                return
    target[...] = source


@functools.lru_cache(maxsize=1024)
def _plan(shape: Any, strides: Any, to_strides: Any, itemsize: int) -> _Plan | None:
    """The plan of a copy; None if there is none because the strides are odd."""
    if any(s % itemsize for s in (*strides, *to_strides)):
        return None
    # Dimensions as (size, step, to_step), the last in the target's memory last.
    dims: list[tuple[int, int, int]] = []
    for n, s, t in sorted(zip(shape, strides, to_strides, strict=True), key=lambda d: -abs(d[2])):
        step, to_step = s // itemsize, t // itemsize
        if n == 1:
            continue
        if dims and dims[-1][1] == n * step and dims[-1][2] == n * to_step:
            dims[-1] = (dims[-1][0] * n, step, to_step)
        else:
            dims.append((n, step, to_step))
    dims = dims or [(1, 1, 1)]
    n, step, to_step = dims.pop()
    across = next((d for d in dims if abs(d[1]) == 1 and d[0] > 1), None)
    if to_step == 1 and across is not None and across[1] == 1 and step != 1:
        if n <= 4:
            dims.remove(across)
            facts = (across[0], step, across[2], n, across[2] == n)
            return _made(kernels.interleave_rows, dims, across[0] * n, facts)
        if across[0] >= 4:
            return _tiles(dims, across, n, step, itemsize)
    if not dims and n >= 8192 and step == to_step == 1:  # one long row becomes many
        part = next((p for p in (4096, 1000, 1024, 2500) if n % p == 0), n)
        dims, n = [(n // part, part, part)], part
    facts = (n, step, to_step, *(s if s in _STEPS else None for s in (step, to_step)))
    return _made(kernels.copy_rows, dims, 2 * n, facts)


def _tiles(dims: Any, across: Any, columns: int, step: int, itemsize: int) -> _Plan:
    rows = across[0]
    dims = [d for d in dims if d is not across]
    size = 64 // max(itemsize, 4)
    while size > min(rows, columns):
        size //= 2
    facts = (rows, columns, step, across[2], size)
    made = _made(kernels.copy_tiles, dims, columns * size, facts)
    return made._replace(items=made.items * -(-rows // size))


def _made(kernel: Any, dims: Any, cost: int, facts: tuple[Any, ...]) -> _Plan:
    sizes = np.array([d[0] for d in dims] or [1], np.int64)
    steps = np.array([d[1:] for d in dims] or [(0, 0)], np.int64)
    return _Plan(kernel, math.prod(d[0] for d in dims), cost, sizes, steps, len(dims), facts)


def contiguous(d: Any) -> Any:
    """`d` in C order: itself, or a copy."""
    if d.flags.c_contiguous:
        return d
    if d.size < _FEW:
        return np.ascontiguousarray(d)
    allocator.prepare(d.nbytes)
    out = np.empty(d.shape, d.dtype)
    assign(out, d)
    return out


def joined(arrays: Sequence[Any], axis: int) -> Any:
    """Arrays of one type, one after the other along `axis`; ValueError if their sizes differ."""
    first = arrays[0]
    if first.ndim > 3 and all(map(has_channels_last, arrays)):
        order = (0, *range(2, first.ndim), 1)
        turned = joined([a.transpose(order) for a in arrays], order.index(axis % first.ndim))
        return np.moveaxis(turned, -1, 1)
    if first.size < _MANY // 4 or first.size * len(arrays) < _MANY:
        return np.concatenate(arrays, axis)
    if not -first.ndim <= axis < first.ndim:
        return np.concatenate(arrays, axis)  # which says so
    axis %= first.ndim
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    if any(a.shape[:axis] != before or a.shape[axis + 1 :] != after for a in arrays):
        return np.concatenate(arrays, axis)  # which says what does not fit
    total = sum(a.shape[axis] for a in arrays)
    allocator.prepare(math.prod(before) * total * math.prod(after) * first.itemsize)
    out = np.empty((*before, total, *after), first.dtype)
    if _join_rows(arrays, out, axis):
        return out
    start = 0
    for a in arrays:
        stop = start + a.shape[axis]
        assign(out[(slice(None),) * axis + (slice(start, stop),)], a)
        start = stop
    return out


def _join_rows(arrays: Sequence[Any], out: Any, axis: int) -> bool:
    """Join arrays whose rows are long enough in one launch; False: they are not."""
    words = words_of(out)
    if words is None or not jit.available():
        return False
    step, start, table = math.prod(out.shape[axis + 1 :]), 0, []
    for a in arrays:
        width = a.shape[axis] * step
        if width < _WIDE or not (a.flags.c_contiguous and a.flags.aligned and a.dtype == out.dtype):
            if width == 0:
                continue
            return False
        table += [a.__array_interface__["data"][0], width, start]
        start += width
    kernels.join_rows(words.size, 2, words, np.array(table, np.int64), len(table) // 3, start)
    return True


def rolled(d: Any, shifts: Sequence[int], axes: Sequence[int]) -> Any:
    """`d` shifted around by `shifts` along `axes`."""
    total: dict[int, int] = {}
    for shift, axis in zip(shifts, axes, strict=True):
        total[axis] = total.get(axis, 0) + shift
    allocator.prepare(d.nbytes)
    out = np.empty(d.shape, d.dtype)
    if not d.size:
        return out
    ways = [[(slice(None), slice(None))] for _ in range(d.ndim)]
    for axis, shift in total.items():
        cut = shift % d.shape[axis]
        if cut:
            ways[axis] = [
                (slice(None, -cut), slice(cut, None)), (slice(-cut, None), slice(None, cut)),
            ]  # fmt: skip
    for pairs in itertools.product(*ways):
        assign(out[tuple(to for _, to in pairs)], d[tuple(here for here, _ in pairs)])
    return out


def repeated(d: Any, times: Sequence[int]) -> Any:
    """`d` repeated ``times`` along its dimensions; as many `times` as dimensions, or more."""
    sizes = (1,) * (len(times) - d.ndim) + d.shape
    shape = tuple(r * n for r, n in zip(times, sizes, strict=True))
    allocator.prepare(math.prod(shape) * d.itemsize)
    out = np.empty(shape, d.dtype)
    if out.size:
        split = [n for pair in zip(times, sizes, strict=True) for n in pair]
        wide = d.reshape([n for size in sizes for n in (1, size)])
        assign(out.reshape(split), wide)
    return out


def triangle(d: Any, diagonal: int, lower: bool) -> Any:
    """The lower (or upper) triangle of each matrix of `d`, up to (or from) `diagonal`."""
    words = words_of(d) if d.size >= _SMALL and jit.available() else None
    if words is None:
        return (np.tril if lower else np.triu)(d, diagonal).astype(d.dtype, copy=False)
    words = contiguous(words)
    allocator.prepare(d.nbytes)
    out = np.empty(d.shape, words.dtype)
    rows, columns = d.shape[-2:]
    shift = max(-rows, min(diagonal, columns)) + lower
    kernels.keep_triangle(d.size // columns, 2 * columns, words, out, rows, columns, shift, lower)
    return out.view(d.dtype)


def reshaped(d: Any, shape: tuple[int, ...]) -> Any:
    """`d` in another shape: a view where that is possible, else a copy."""
    if d.size < _FEW or d.flags.c_contiguous:
        return d.reshape(shape)
    try:
        return d.reshape(shape, copy=False)
    except ValueError:
        return contiguous(d).reshape(shape)


_CASTS = frozenset(
    ("float16", "bfloat16", "float32", "float64", "bool", "uint8", "uint16", "uint32")
) | {f"int{n}" for n in (8, 16, 32, 64)}


def cast(d: Any, kind: Any) -> Any:
    """A copy of `d` with elements of the NumPy dtype `kind`.

    Floats out of an integer's range wrap through int64.
    """
    to_integer = d.dtype.kind in "fV" and kind.kind in "iu"
    known = d.size >= _FEW and d.dtype.name in _CASTS and kind.name in _CASTS
    if known and d.dtype != kind and serves(d):
        allocator.prepare(d.size * kind.itemsize)
        out = np.empty(d.shape, kind)
        kernels.cast(d.size, 2, d, out, to_integer)
        return out
    if to_integer and dtypes.is_float8(d.dtype):
        d = d.astype(np.float32)
    if not to_integer:
        return dtypes.converted(d, kind)
    with np.errstate(invalid="ignore"):
        return d.astype(np.int64).astype(kind) if kind.itemsize < 8 else d.astype(kind)


def _dense_in(d: Any, order: tuple[int, ...]) -> bool:
    step = d.dtype.itemsize
    for axis in order:
        if d.shape[axis] != 1 and d.strides[axis] != step:
            return False
        step *= d.shape[axis]
    return True


def is_contiguous(d: Any, memory_format: Any = devices.contiguous_format) -> bool:
    """Whether the elements of `d` lie in memory in the order of `memory_format`."""
    if memory_format in (devices.contiguous_format, devices.preserve_format):
        return bool(d.flags.c_contiguous)
    rank = 4 if memory_format is devices.channels_last else 5
    return d.ndim == rank and _dense_in(d, (1, *range(rank - 1, 1, -1), 0))


def has_channels_last(d: Any) -> bool:
    """Whether `d` (N, C, *size) has its channels last in memory, and is not in C order, too."""
    return (
        d.ndim in (4, 5)
        and not d.flags.c_contiguous
        and bool(d.transpose(0, *range(2, d.ndim), 1).flags.c_contiguous)
    )


def channels_last(d: Any) -> Any:
    """`d` (N, C, *size) with its channels last in memory: itself, or a copy."""
    return np.moveaxis(contiguous(np.moveaxis(d, 1, -1)), -1, 1)


def with_format(d: Any, memory_format: Any) -> Any:
    """`d` in the memory order of `memory_format` (itself if it is so already)."""
    if is_contiguous(d, memory_format):
        return d
    if memory_format is devices.contiguous_format:
        return contiguous(d)
    rank = 4 if memory_format is devices.channels_last else 5
    if d.ndim != rank:
        raise RuntimeError(
            f"required rank {rank} tensor to use {memory_format} format, got {d.ndim} dimensions"
        )
    return channels_last(d)


def in_memory_order(d: Any) -> Any:
    """A view of `d` with its dimensions in the order in which they lie in memory."""
    if d.flags.c_contiguous:
        return d
    return d.transpose(sorted(range(d.ndim), key=lambda axis: -d.strides[axis]))
