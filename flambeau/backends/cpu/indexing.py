"""Elements taken from places given by index: compiled for many of them, NumPy for few.

The functions say None where a number of the index is out of range.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler import allocator
from ...compiler.kernel import serves
from . import indexing_kernels as kernels

Array = Any

FEW = 256
"""Elements below which NumPy is as fast as a compiled kernel."""
_FEW_OF_A_VECTOR = 2048
_FEW_OF_ROWS, _LONG_ROW = 1 << 17, 16
"""Elements below which NumPy is faster where rows are at least so long: it copies them whole."""
RUN, COLUMNS = 4096, 64
"""Elements of a long row that are an item, and columns of a block that stays in the cache."""
_WORDS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def words_of(x: Array) -> Array | None:
    """`x` seen as integers of its elements' size; None where there are no such integers."""
    kind = _WORDS.get(x.dtype.itemsize)
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
    return not index.size or bool(index.min() >= (-size if wrap else 0) and index.max() < size)


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
    size = x.shape[d]
    if x.ndim == 1 and index.size < _FEW_OF_A_VECTOR:
        return _take_few(x, index, None, False)
    ready = _prepared(x, index, index.size)
    if ready is None:
        return np.take_along_axis(x, index, d) if is_inside(index, size) else None
    source, places = ready
    allocator.prepare(index.size * x.itemsize)
    out, wrong = np.empty(index.shape, source.dtype), np.full(1, not size, np.int64)
    outer, count, width = math.prod(x.shape[:d]), index.shape[d], math.prod(x.shape[d + 1 :])
    if not size:
        return None
    if width == 1:
        _take_elements(source, places, out, wrong, size, outer, False, False)
    else:
        items = outer * -(-width // COLUMNS)
        kernels.take_columns(
            items, count * COLUMNS, source, places, out, wrong, size, count, width, COLUMNS
        )
    return None if wrong[0] else out.view(x.dtype)


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
        _take_elements(source, places, out, wrong, size, outer, True, wrap)
    else:
        kernels.take_rows(
            outer * places.size, width, source, places, out, wrong, size, places.size, width, wrap
        )
    return None if wrong[0] else out.view(x.dtype)


def _take_elements(
    x: Array, index: Array, out: Array, wrong: Array,
    size: int, outer: int, shared: bool, wrap: bool,
) -> None:  # fmt: skip
    count, span, step = out.size // outer, size, 0
    if shared and outer > 4 and size < 2**31 and is_inside(index, size, wrap):
        index = index.astype(np.int32)  # which processors gather with twice as fast
    if outer == 1:
        outer, count, span, step = -(-out.size // RUN), RUN, 0, RUN
    elif not shared:
        step = count
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
