"""Elements taken from places given by index: compiled for many of them, NumPy for few.

The functions say None where a number of the index is out of range.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import allocator, jit, threads
from ...compiler.kernel import serves
from . import indexing_kernels as kernels

Array = Any

FEW = 256
"""Elements below which NumPy is as fast as a compiled kernel."""
_FEW_OF_A_VECTOR = 2048
_FEW_OF_ROWS, _LONG_ROW = 1 << 17, 16
"""Elements below which NumPy is faster where rows are at least so long: it copies them whole."""
_TAKE = 0.4
"""Nanoseconds in which a kernel takes an element."""
RUN, COLUMNS = 4096, 64
"""Elements of a long row that are an item, and columns of a block that stays in the cache."""
_UNSIGNED = {np.dtype(np.int64): np.dtype(np.uint64), np.dtype(np.int32): np.dtype(np.uint32)}
WORDS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
"""The integers of an element's bytes."""


def words_of(x: Array) -> Array | None:
    """`x` seen as integers of its elements' size; None where there are no such integers."""
    kind = WORDS.get(x.dtype.itemsize)
    usable = kind is not None and x.dtype.kind != "O" and x.dtype.isnative and x.flags.aligned
    return x.view(kind) if usable else None


def index_for_kernels(index: Array) -> Array | None:
    """`index` as kernels take it; None if its numbers are of another type."""
    if index.dtype != np.int64 and index.dtype != np.int32:
        return None
    index = np.ascontiguousarray(index)
    return index if serves(index) else None


def _prepared(x: Array, index: Array, total: int) -> tuple[Array, Array] | None:
    """The words of `x` and the index, for `total` elements to take; None where NumPy is better."""
    if total < FEW or (not x.flags.c_contiguous and x.size > 4 * total):
        return None
    places = index_for_kernels(index)
    words = None if places is None else words_of(x)
    return None if words is None else (np.ascontiguousarray(words), places)


def is_inside(index: Array, size: int, wrap: bool = False) -> bool:
    """Whether all of `index` is in [0, size); with `wrap` in [-size, size)."""
    if not index.size:
        return True
    unsigned = None if wrap else _UNSIGNED.get(index.dtype)
    if unsigned is None:
        return bool(index.min() >= (-size if wrap else 0) and index.max() < size)
    return bool(np.maximum.reduce(index.view(unsigned), None) < size)


def places_along(
    shape: tuple[int, ...], d: int, index: Array, sizes: tuple[int, ...] | None = None
) -> Array:
    """The flat places of the elements that `index` along `d` names in a tensor of `shape`.

    `sizes` is the shape of the result, by default that of the index, which broadcasts to it.
    """
    sizes = index.shape if sizes is None else sizes
    first, step = (_few_starts if math.prod(sizes) < FEW else _starts)(shape, d, sizes)
    places = index.astype(np.int64, copy=False)
    if step != 1:
        places = places * step
    return places if first is None else places + first


def _starts(shape: tuple[int, ...], d: int, sizes: tuple[int, ...]) -> tuple[Array | None, int]:
    """The places that index 0 along `d` names (None: only 0), and how far apart indices lie."""
    first, step, along = None, 1, 1
    for axis in range(len(shape) - 1, -1, -1):
        if axis == d:
            along = step
        elif sizes[axis] > 1:
            here = (np.arange(sizes[axis]) * step).reshape(-1, *(1,) * (len(shape) - 1 - axis))
            first = here if first is None else here + first
        step *= shape[axis]
    return first, along


_few_starts = functools.lru_cache(maxsize=256)(_starts)


def _take_few(x: Array, index: Array, d: int | None, wrap: bool) -> Array | None:
    """``x.take(index, d)``, which looks itself whether an index is beyond either end."""
    if not wrap and index.size and np.minimum.reduce(index, None) < 0:
        return None
    try:
        return x.take(index, d)
    except IndexError:
        return None


def take_along(x: Array, index: Array, d: int) -> Array | None:
    """The elements of `x` at `index` along `d`; their shapes agree in the other dimensions."""
    total = index.size
    if x.ndim == 1 and total < _FEW_OF_A_VECTOR:
        return _take_few(x, index, None, False)
    straight = x.flags.c_contiguous
    if total >= FEW and (straight or x.size <= 4 * total):
        run = _plan_along(x.dtype, x.shape, index.dtype, index.shape, d)
        if run is not None and index.flags.aligned and x.flags.aligned:
            return run(x, index)
    if not is_inside(index, x.shape[d]):
        return None
    return x.take(places_along(x.shape, d, index)) if straight else np.take_along_axis(x, index, d)


@functools.lru_cache(maxsize=4096)
def _plan_along(
    dtype: Any, shape: tuple[int, ...], index_dtype: Any, sizes: tuple[int, ...], d: int
) -> Callable[[Array, Array], Array | None] | None:
    """The launch of `take_along` for arrays like these; None where no kernel serves."""
    words, size = words_of(np.empty(0, dtype)), shape[d]
    if words is None or not jit.available() or index_dtype.name not in ("int64", "int32"):
        return None
    if not size:
        return lambda x, index: None
    total, kind = math.prod(sizes), words.dtype
    outer, count, width = math.prod(shape[:d]), sizes[d], math.prod(shape[d + 1 :])
    items, last = outer * -(-width // COLUMNS), (size, count, width, COLUMNS)
    cost, kernel, statics = _TAKE * count * min(width, COLUMNS), kernels.take_columns, ()
    if width == 1:
        kernel, statics = kernels.take_elements, (False,)
        items, last = outer, (size, count, total, size, count)
        if outer == 1:
            items, last = -(-total // RUN), (size, RUN, total, 0, RUN)
        cost = _TAKE * last[1]
    wrong = np.empty(1, np.int64)
    launch = kernel.prepare(words, np.empty(0, index_dtype), words, wrong, *last, *statics)
    contiguous, split, empty = np.ascontiguousarray, threads.split, np.empty

    def run(x: Array, index: Array) -> Array | None:
        allocator.prepare(total * x.itemsize)
        out, wrong = empty(sizes, dtype), np.zeros(1, np.int64)
        chunks, share = split(items, cost)
        given = contiguous(x.view(kind)), contiguous(index), out.view(kind)
        launch(chunks, items, share, *given, wrong, *last)
        return None if wrong[0] else out

    return run


def take_rows(x: Array, index: Array, d: int, wrap: bool = False) -> Array | None:
    """The slices of `x` along `d` at `index`, whose dimensions take the place of `d`.

    With `wrap` negative indices count from the end.
    """
    size = x.shape[d]
    shape = (*x.shape[:d], *index.shape, *x.shape[d + 1 :])
    total = math.prod(shape)
    few = total < _FEW_OF_ROWS and math.prod(x.shape[d + 1 :]) >= _LONG_ROW
    ready = None if few or not size else _prepared(x, index, total)
    if ready is None:
        return _take_few(x, index, d, wrap)
    source, places = ready
    allocator.prepare(total * x.itemsize)
    out, wrong = np.empty(shape, source.dtype), np.zeros(1, np.int64)
    outer, width = math.prod(x.shape[:d]), math.prod(x.shape[d + 1 :])
    if width == 1:
        _take_elements(source, places, out, wrong, size, outer, wrap)
    else:
        kernels.take_rows(
            outer * places.size, width, source, places, out, wrong, size, places.size, width, wrap
        )
    return None if wrong[0] else out.view(x.dtype)


def _take_elements(
    x: Array, index: Array, out: Array, wrong: Array, size: int, outer: int, wrap: bool
) -> None:
    """The elements that all of `outer` vectors have at one index."""
    count, span, step = out.size // outer, size, 0
    if outer > 4 and size < 2**31 and is_inside(index, size, wrap):
        index = index.astype(np.int32)  # which processors gather with twice as fast
    if outer == 1:
        outer, count, span, step = -(-out.size // RUN), RUN, 0, RUN
    kernels.take_elements(
        outer, 2 * count, x, index, out, wrong, size, count, out.size, span, step, wrap
    )


def flat_places(indices: list[Array], sizes: tuple[int, ...]) -> Array | None:
    """The numbers of the elements at ``[indices]`` of an array of `sizes`, int64.

    Negative indices count from the end; all have one shape.
    """
    ready = [index_for_kernels(i) for i in indices] if indices[0].size >= FEW else [None]
    if any(i is None for i in ready):
        if not all(is_inside(i, n, True) for i, n in zip(indices, sizes, strict=True)):
            return None
        wrapped = [np.where(i < 0, i + n, i) for i, n in zip(indices, sizes, strict=True)]
        places = np.zeros(indices[0].shape, np.int64)
        for i, n in zip(wrapped, sizes, strict=True):
            places = places * n + i
        return places
    places, wrong = np.empty(indices[0].shape, np.int64), np.zeros(1, np.int64)
    for axis, (i, n) in enumerate(zip(ready, sizes, strict=True)):
        kernels.add_coordinate(places.size, 4, i, places, wrong, n, axis == 0)
    return None if wrong[0] else places
