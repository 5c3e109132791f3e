"""Choosing elements by truth values: compiled for many of them, NumPy for few."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...compiler import allocator, jit
from ...compiler.kernel import serves
from . import selection_kernels as kernels
from .indexing import words_of

Array = Any

_FEW = 2048
_BLOCK = 1 << 13


def where(condition: Array, a: Array, b: Array) -> Array:
    """`a` where `condition` (bool) holds, else `b`; all broadcast.

    One of `a` and `b` may be a number, which takes the other's type.
    """
    if isinstance(b, np.ndarray):
        a = _beside(a, b)
    elif isinstance(a, np.ndarray):
        b = _beside(b, a)
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return np.where(condition, a, b)
    shape = condition.shape
    if not ((a.shape == shape or not a.ndim) and (b.shape == shape or not b.ndim)):
        shape = np.broadcast_shapes(shape, a.shape, b.shape)
    if math.prod(shape) < _FEW or a.dtype != b.dtype or condition.dtype != bool:
        return np.where(condition, a, b)
    x, y = words_of(a), words_of(b)
    if x is None or y is None or not jit.available():
        return np.where(condition, a, b)
    plan = _plan(shape, *((v.shape, v.strides) for v in (condition, x, y)), x.itemsize)
    if plan is None:
        return np.where(condition, a, b)
    rows, columns, sizes, steps, moves = plan
    allocator.prepare(rows * columns * x.itemsize)
    out = np.empty(shape, x.dtype)
    kernels.choose(rows, columns, condition, x, y, out, sizes, steps, columns, len(sizes), *moves)
    return out.view(a.dtype)


def _beside(number: Any, x: Array) -> Any:
    """A number as a 0-d array of the type of `x`, if that holds it; else as it is."""
    fits = isinstance(number, int) or (isinstance(number, float) and x.dtype.kind in "fV")
    return np.asarray(number, x.dtype) if fits and x.dtype.kind != "b" else number


@functools.lru_cache(maxsize=256)
def _plan(shape: Any, c: Any, a: Any, b: Any, size: int) -> Any:
    """Rows, columns, outer sizes, steps and moves for `choose`; None if rows are too short."""
    steps = []
    for (dims, strides), itemsize in ((c, 1), (a, size), (b, size)):
        lead = (0,) * (len(shape) - len(dims))
        if any(s % itemsize for s in strides):
            return None
        here = [0 if n == 1 else s // itemsize for n, s in zip(dims, strides, strict=True)]
        steps.append((*lead, *here))
    sizes: list[int] = []
    columns, inner = 1, [0, 0, 0]
    kept: list[list[int]] = [[], [], []]
    for axis in range(len(shape) - 1, -1, -1):
        n = shape[axis]
        if n == 1:
            continue
        here = [s[axis] for s in steps]
        if columns == 1:
            columns, inner = n, here
        elif not sizes and here == [i * columns for i in inner]:
            columns *= n
        elif sizes and here == [k[0] * sizes[0] for k in kept]:
            sizes[0] *= n
        else:
            sizes.insert(0, n)
            for k, s in zip(kept, here, strict=True):
                k.insert(0, s)
    if any(i not in (0, 1) for i in inner) or (sizes and columns < 16):
        return None
    if not sizes:  # one long row becomes many
        part = next((p for p in (4096, 1000, 1024, 512) if columns % p == 0), columns)
        sizes, kept = [columns // part], [[i * part] for i in inner]
        columns = part
    numbers = np.array(sizes, np.int64), np.array(kept, np.int64)
    return math.prod(sizes), columns, *numbers, tuple(inner)


def _starts(mask: Array, total: int, block: int) -> tuple[Array, int]:
    """Where the true elements of each block go among all, and how many there are."""
    blocks = -(-total // block)
    counts = np.empty(blocks, np.int64)
    kernels.count_true(blocks, block // 4 + 1, mask, counts, total, block)
    ends = np.cumsum(counts)
    return ends - counts, int(ends[-1])


def _serves(mask: Array, *arrays: Array | None) -> bool:
    if mask.size < _FEW or any(a is None for a in arrays):
        return False
    return serves(mask, *arrays)


def masked_select(x: Array, mask: Array) -> Array:
    """The elements of `x` where `mask`, of its shape, holds: 1-d."""
    words = words_of(x)
    if not _serves(mask, words):
        return x[mask]
    starts, count = _starts(mask, mask.size, _BLOCK)
    allocator.prepare(count * x.itemsize)
    out = np.empty(count, words.dtype)
    kernels.compress(len(starts), 4 * _BLOCK, words, mask, starts, out, mask.size, _BLOCK)
    return out.view(x.dtype)


def put_at(x: Array, key: tuple[Any, ...], value: Array) -> None:
    """``x[key] = value``, compiled where the key is one mask of the shape of `x`, value a number.

    ValueError or IndexError where NumPy refuses shapes or indices.
    """
    mask = key[0] if len(key) == 1 else None
    alike = mask.__class__ is np.ndarray and mask.dtype == bool and mask.shape == x.shape
    if alike and value.ndim == 0 and value.dtype == x.dtype:
        words, new = words_of(x), words_of(value)
        if _serves(mask, words, new) and not np.may_share_memory(x, mask):
            blocks = -(-x.size // _BLOCK)
            kernels.fill_where(blocks, 2 * _BLOCK, words, mask, new, x.size, _BLOCK)
            return
    x[key] = value


def masked_put(x: Array, mask: Array, source: Array) -> Array | None:
    """A copy of `x` with the elements of the vector `source`, in order, where `mask` holds.

    None if the source has too few.
    """
    words, given = words_of(np.ascontiguousarray(x)), words_of(np.ascontiguousarray(source))
    if not _serves(mask, words, given) or not source.size:
        need = int(np.count_nonzero(mask))
        if need > source.size:
            return None
        out = x.copy()
        out[mask] = source[:need]
        return out
    starts, count = _starts(mask, mask.size, _BLOCK)
    if count > source.size:
        return None
    out = np.empty(x.shape, words.dtype)
    kernels.expand(
        len(starts), 4 * _BLOCK, words, mask, starts, given, out, mask.size, _BLOCK, source.size - 1
    )
    return out.view(x.dtype)


def nonzero(x: Array) -> Array:
    """The coordinates of the elements that are not zero, in rows, int64."""
    if not x.ndim:
        return np.argwhere(x)
    if x.size < _FEW or x.ndim > 64 or x.dtype.kind == "c" or not serves(x):
        places = x.nonzero()
        out = np.empty((places[0].size, x.ndim), np.int64)
        for axis, place in enumerate(places):
            out[:, axis] = place
        return out
    sizes, columns = x.shape[:-1], x.shape[-1]
    starts, count = _starts(x, x.size, columns)
    allocator.prepare(count * 8 * x.ndim)
    out = np.empty((count, x.ndim), np.int64)
    kernels.coordinates(
        len(starts), 4 * columns, x, starts, np.array((*sizes, 1), np.int64), out, columns, x.ndim
    )
    return out
