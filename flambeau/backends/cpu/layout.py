"""The order of an array's elements in memory, PyTorch's names for it, and copies that change it."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import devices, dtypes
from ...compiler import allocator, jit, threads
from ...compiler.kernel import UNIT, serves
from . import layout_kernels as kernels
from .indexing import WORDS, words_of

_FEW = 2048
_MANY = 65536
"""Elements of one array from which a copy of it is worth two threads."""
_WIDE = 16
"""Elements of a row from which it is copied as a row."""
_SMALL = 256
_LARGE = 1 << 18
"""Bytes from which a copy is worth two threads, and so a kernel."""
_STEPS = (0, 1, -1, 2, 3, 4)
_WHOLE, _REVERSED = slice(None), slice(None, None, -1)


Copy = Callable[[Any, Any], None]


def assign(target: Any, source: Any) -> None:
    """``target[...] = source``, of one type; the source broadcasts. They must not overlap."""
    if target.size >= _FEW and source.dtype == target.dtype:
        shape = target.shape
        if source.shape != shape:
            source = np.broadcast_to(source, shape)
        run = copier(target.dtype, shape, source.strides, target.strides)
        if run is not None and source.flags.aligned and target.flags.aligned:
            run(source, target)
            return
    target[...] = source


@functools.lru_cache(maxsize=4096)
def copier(kind: Any, shape: Any, strides: Any, to_strides: Any) -> Copy | None:
    """What copies (source, target) of these strides; None where no kernel serves.

    Both have the dtype `kind` and are aligned.
    """
    size = kind.itemsize
    if size not in WORDS or kind.kind == "O" or not kind.isnative or not jit.available():
        return None
    if any(s % size for s in (*strides, *to_strides)):
        return None
    # Dimensions as (size, step, to_step), the last in the target's memory last.
    dims: list[tuple[int, int, int]] = []
    for n, s, t in sorted(zip(shape, strides, to_strides, strict=True), key=lambda d: -abs(d[2])):
        step, to_step = s // size, t // size
        if n == 1:
            continue
        if dims and dims[-1][1] == n * step and dims[-1][2] == n * to_step:
            dims[-1] = (dims[-1][0] * n, step, to_step)
        else:
            dims.append((n, step, to_step))
    dims = dims or [(1, 1, 1)]
    n, step, to_step = dims.pop()
    word = np.empty(1, WORDS[size])
    across = next((d for d in dims if abs(d[1]) == 1 and d[0] > 1), None)
    if to_step == 1 and across is not None and across[1] == 1 and step != 1:
        if n <= 4:
            dims.remove(across)
            numbers: tuple[int, ...] = (across[0], step, across[2])
            fixed: tuple[Any, ...] = (n, across[2] == n)
            return _copier(kernels.interleave_rows, word, dims, across[0] * n, numbers, fixed)
        if across[0] >= 4:
            dims.remove(across)
            tile = 64 // max(size, 4)
            while tile > min(across[0], n):
                tile //= 2
            numbers, blocks = (across[0], n, step, across[2]), -(-across[0] // tile)
            return _copier(kernels.copy_tiles, word, dims, n * tile, numbers, (tile,), blocks)
    if not dims and step == to_step == 1:
        return _copy_all(word, n)
    part = next((p for p in (4096, 1000, 1024, 2500) if n % p == 0), n)
    if not dims and n >= 8192:  # one long row becomes many
        dims, n = [(n // part, part * step, part * to_step)], part
    numbers = (n, step, to_step)
    fixed = tuple(s if s in _STEPS else None for s in (step, to_step))
    return _copier(kernels.copy_rows, word, dims, 2 * n, numbers, fixed)


def _copier(
    kernel: Any, word: Any, dims: Any, cost: int, numbers: Any, fixed: Any, blocks: int = 1
) -> Copy:
    """A copy by `kernel`, whose items are positions of `dims` times `blocks`."""
    sizes = np.array([d[0] for d in dims] or [1], np.int64)
    steps = np.array([d[1:] for d in dims] or [(0, 0)], np.int64)
    rank, items = len(dims), math.prod(d[0] for d in dims) * blocks
    launch = kernel.prepare(word, word, sizes, steps, rank, *numbers, *fixed, as_words=True)
    split, each = threads.split, cost * UNIT

    def run(source: Any, target: Any) -> None:
        chunks, share = split(items, each) if items > 1 else (1, 1)
        launch(chunks, items, share, source, target, sizes, steps, rank, *numbers)

    return run


def _copy_all(word: Any, count: int) -> Copy:
    """A copy of `count` elements that lie one after the other in both arrays."""
    launch = kernels.copy_all.prepare(word, word, as_words=True)

    def run(source: Any, target: Any) -> None:
        chunks, share = threads.split(count, 2 * UNIT, 64)
        launch(chunks, count, share, source, target)

    return run


def contiguous(d: Any) -> Any:
    """`d` in C order: itself, or a copy."""
    if d.flags.c_contiguous:
        return d
    if d.size < _FEW:
        return np.ascontiguousarray(d)
    return _copied(d)


def _copied(d: Any) -> Any:
    allocator.prepare(d.nbytes)
    out = np.empty(d.shape, d.dtype)
    assign(out, d)
    return out


def copied(d: Any) -> Any:
    """A copy of `d`, in C order unless its elements fill their memory in another one."""
    if d.flags.c_contiguous:
        return d.copy() if d.nbytes < _LARGE else _copied(d)
    return d.copy("K") if _is_dense(d) else contiguous(d)


def _is_dense(d: Any) -> bool:
    """Whether the elements fill their memory without gaps or overlaps."""
    step = d.itemsize
    for n, s in sorted(zip(d.shape, d.strides, strict=True), key=lambda p: p[1]):
        if n != 1 and s != step:
            return False
        step *= n
    return True


def filled(shape: Any, kind: Any, value: Any) -> Any:
    """An array of the dtype `kind` filled with the number `value`, which it can hold."""
    out = np.empty(shape, kind)
    if out.nbytes < _LARGE:
        out.fill(value)
        return out
    run = _filler(kind)
    if run is None:
        out.fill(value)
    else:
        one = np.empty(1, kind)
        one.fill(value)
        run(out, one)
    return out


@functools.lru_cache(maxsize=64)
def _filler(kind: Any) -> Callable[[Any, Any], None] | None:
    """What fills a contiguous array of the dtype `kind` with a one-element array's number."""
    size = kind.itemsize
    if size not in WORDS or kind.kind == "O" or not kind.isnative or not jit.available():
        return None
    word = np.empty(1, WORDS[size])
    launch = kernels.fill.prepare(word, word, as_words=True)

    def run(out: Any, one: Any) -> None:
        count = out.size
        chunks, share = threads.split(count, size / 4 * UNIT, 64)
        launch(chunks, count, share, out, one)

    return run


def flipped(d: Any, axes: Sequence[int]) -> Any:
    """`d` with the order of its elements reversed along `axes`, in memory of its own."""
    keys = [_WHOLE] * d.ndim
    for axis in axes:
        keys[axis] = _REVERSED
    turned = d[tuple(keys)]
    return turned.copy("C") if d.size < _FEW else _copied(turned)


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
    if len(axes) == 1 and d.flags.c_contiguous and d.size:
        return _rolled_once(d, shifts[0] % d.shape[axes[0]], axes[0])
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


def _rolled_once(d: Any, shift: int, axis: int) -> Any:
    """`d`, in C order, with the last `shift` positions of `axis` before the others."""
    launch = _roller(d.itemsize) if d.size >= _FEW and d.flags.aligned else None
    if launch is None:
        lead, cut = (_WHOLE,) * axis, d.shape[axis] - shift
        return np.concatenate((d[(*lead, slice(cut, None))], d[(*lead, slice(cut))]), axis)
    allocator.prepare(d.nbytes)
    out, count = np.empty(d.shape, d.dtype), d.size
    step = math.prod(d.shape[axis + 1 :])
    chunks, share = threads.split(count, 2 * UNIT, 64)
    launch(chunks, count, share, d, out, d.shape[axis] * step, shift * step)
    return out


@functools.cache
def _roller(size: int) -> Callable[..., None] | None:
    """The launch of `roll_rows` for elements of `size` bytes; None where no kernel serves."""
    if size not in WORDS or not jit.available():
        return None
    word = np.empty(1, WORDS[size])
    return kernels.roll_rows.prepare(word, word, 1, 0, as_words=True)


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
    if d.size < _SMALL:
        outside = _outside(*d.shape[-2:], diagonal, lower)
        return np.where(outside, np.zeros((), d.dtype), d)
    words = words_of(d) if jit.available() else None
    if words is None:
        return (np.tril if lower else np.triu)(d, diagonal).astype(d.dtype, copy=False)
    words = contiguous(words)
    allocator.prepare(d.nbytes)
    out = np.empty(d.shape, words.dtype)
    rows, columns = d.shape[-2:]
    shift = max(-rows, min(diagonal, columns)) + lower
    kernels.keep_triangle(d.size // columns, 2 * columns, words, out, rows, columns, shift, lower)
    return out.view(d.dtype)


@functools.lru_cache(maxsize=64)
def _outside(rows: int, columns: int, diagonal: int, lower: bool) -> Any:
    """What is not in the `triangle` of a small matrix."""
    edge = np.arange(rows)[:, None] + max(-rows, min(diagonal, columns))
    return np.arange(columns) > edge if lower else np.arange(columns) < edge


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
    if d.size >= _FEW and d.flags.c_contiguous and d.flags.aligned:
        run = _caster(d.dtype, kind)
        if run is not None:
            return run(d)
    to_integer = d.dtype.kind in "fV" and kind.kind in "iu"
    if to_integer and dtypes.is_float8(d.dtype):
        d = d.astype(np.float32)
    if not to_integer:
        return dtypes.converted(d, kind)
    with np.errstate(invalid="ignore"):
        return d.astype(np.int64).astype(kind) if kind.itemsize < 8 else d.astype(kind)


@functools.lru_cache(maxsize=256)
def _caster(given: Any, kind: Any) -> Callable[[Any], Any] | None:
    """What casts contiguous arrays of the dtype `given` to `kind`; None without a kernel."""
    known = given.name in _CASTS and kind.name in _CASTS and given != kind
    one = np.empty(1, given)
    if not known or not serves(one):
        return None
    to_integer = given.kind in "fV" and kind.kind in "iu"
    launch = kernels.cast.prepare(one, np.empty(1, kind), to_integer)
    cost, size = max(2, (given.itemsize + kind.itemsize) / 4) * UNIT, kind.itemsize

    def run(d: Any) -> Any:
        count = d.size
        allocator.prepare(count * size)
        out = np.empty(d.shape, kind)
        chunks, share = threads.split(count, cost, 64)
        launch(chunks, count, share, d, out)
        return out

    return run


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
    if memory_format is devices.contiguous_format:
        return contiguous(d)
    if is_contiguous(d, memory_format):
        return d
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
