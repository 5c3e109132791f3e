"""Putting or adding values at places, some of which repeat: the same result in every run.

Values that go to one place go there in their order, however many threads there are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import jit, threads
from ...compiler.kernel import Inline, serves
from . import indexing_kernels as kernels
from .indexing import COLUMNS, FEW, index_for_kernels, is_inside, places_along, words_of

Array = Any

_PUT = 0.4
"""Nanoseconds in which a kernel puts an element."""
_COMBINE: dict[str, Inline] = {
    "sum": kernels.add,
    "prod": kernels.multiply,
    "amax": kernels.take_larger,
    "amin": kernels.take_smaller,
}


def combine_along(
    out: Array, index: Array, values: Array, d: int, reduce: str | None = None
) -> bool:
    """``out[.., index[.., k, ..], ..]`` along `d` becomes `values` there, or `reduce` of both.

    `out` is C-contiguous and changed in place; in the other dimensions the index is no larger, and
    `values` has its shape or is a single one. False, with some values put, if an index is out of
    range; `reduce` is "sum", "prod", "amax" or "amin".
    """
    if index.size < FEW or values.dtype != out.dtype:
        return not index.size or _combine_reference(out, index, values, d, reduce)
    run = _plan(out.dtype, out.shape, index.dtype, index.shape, values.size > 1, d, reduce)
    try:
        done = None if run is None else run(out, index, values)
    except TypeError:
        if out.flags.aligned and index.flags.aligned and values.flags.aligned:
            raise
        done = None
    return _combine_reference(out, index, values, d, reduce) if done is None else done


Run = Callable[[Array, Array, Array], bool]


@functools.lru_cache(maxsize=4096)
def _plan(
    dtype: Any, shape: tuple[int, ...], index_dtype: Any, sizes: tuple[int, ...], many: bool,
    d: int, reduce: str | None,
) -> Run | None:  # fmt: skip
    """The launch of `combine_along` for arrays like these; None where no kernel serves."""
    empty, size = np.empty(0, dtype), shape[d]
    target = empty if reduce else words_of(empty)
    known = _is_summed(empty) if reduce else jit.available()
    if not known or target is None or index_dtype.name not in ("int64", "int32"):
        return None
    if any(n != k for a, (n, k) in enumerate(zip(shape, sizes, strict=True)) if a != d):

        def run_flat(out: Array, index: Array, values: Array) -> bool:
            places = places_along(shape, d, index).reshape(-1)
            return is_inside(index, size) and combine_along(
                out.reshape(-1), places, values.reshape(-1), 0, reduce
            )

        return run_flat
    kind, combine = target.dtype, _COMBINE[reduce] if reduce else kernels.replace
    outer, count, width = math.prod(shape[:d]), sizes[d], math.prod(shape[d + 1 :])
    numbers: tuple[int, ...] = (size, count, count, int(many))
    if width == 1:
        items, cost, kernel = outer, _PUT * count, kernels.put_elements
    else:
        items, cost = outer * -(-width // COLUMNS), _PUT * count * min(width, COLUMNS)
        numbers, kernel = (size, count, width, COLUMNS, int(many)), kernels.put_columns
    arrays = target, np.empty(0, index_dtype), target, np.empty(0, np.int64)
    launch = kernel.prepare(*arrays, *numbers, combine)
    contiguous, split = np.ascontiguousarray, threads.split

    def run(out: Array, index: Array, values: Array) -> bool:
        wrong = np.zeros(1, np.int64)
        chunks, share = split(items, cost)
        given = contiguous(values.view(kind)), wrong
        launch(chunks, items, share, out.view(kind), contiguous(index), *given, *numbers)
        return not wrong[0]

    return run


def _combine_reference(out: Array, index: Array, values: Array, d: int, reduce: str | None) -> bool:
    if not is_inside(index, out.shape[d]):
        return False
    flat, places = out.reshape(-1), places_along(out.shape, d, index).reshape(-1)
    given = values.reshape(-1)
    if reduce is None:
        flat[places] = given
    elif reduce == "sum":
        _add_at_reference(flat, places, given)
    else:
        {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce].at(
            flat, places, given
        )
    return True


def combine_rows(
    out: Array, index: Array, rows: Array, d: int, reduce: str | None = None, skipped: int = -1
) -> bool:
    """The slices of `out` along `d` at `index` (1-d) become those of `rows`, or the sum of both.

    As `combine_along`, but kernels skip indices that are out of range, like those that are
    `skipped`, and False says that nothing was done.
    """
    if rows.size < FEW and reduce and skipped < 0 and out.flags.c_contiguous:
        spread = index.reshape(-1, *(1,) * (rows.ndim - 1 - d))
        places = places_along(out.shape, d, spread, rows.shape)
        _add_at_reference(out.reshape(-1), places.reshape(-1), rows.reshape(-1))
        return True
    size, width = out.shape[d], math.prod(out.shape[d + 1 :])
    if rows.size < FEW or not size or not (_is_summed(out) if reduce else jit.available()):
        return False
    target, given = (out, rows) if reduce else (words_of(out), words_of(rows))
    places = index_for_kernels(index)
    if target is None or places is None or not serves(target):
        return False
    given = np.ascontiguousarray(given)
    outer, count = math.prod(out.shape[:d]), index.size
    combine = _COMBINE[reduce] if reduce else kernels.replace
    if width == 1 and skipped < 0:
        wrong = np.zeros(1, np.int64)
        kernels.put_elements(
            outer, 8 * count, target, places, given, wrong, size, count, 0, 1, combine
        )
        return True
    # Looking through the indices costs, too: rows of few elements are not shared among threads.
    cost = count * width // size + 1 if width > 8 or outer > 8 else 0
    kernels.put_rows(
        outer * size, cost, target, places, given, size, count, width, width, skipped, combine
    )
    return True


def add_at(total: Array, places: Array, values: Array) -> None:
    """``total[places[i]] += values[i]`` for every i; `total` is flat and changed in place."""
    if not places.size:
        return
    if total.dtype == values.dtype and _is_summed(total):
        combine_along(total, places, values, 0, "sum")
    else:
        _add_at_reference(total, places, values)


def _add_at_reference(total: Array, places: Array, values: Array) -> None:
    if total.dtype.itemsize > 2 or total.dtype.kind in "biu":
        np.add.at(total, places, values)
    else:
        given = np.broadcast_to(values, places.shape).astype(np.float64)
        sums = np.bincount(places, given, len(total))
        total[...] = (total.astype(np.float64) + sums).astype(total.dtype)


def _is_summed(x: Array) -> bool:
    """Whether kernels add elements like those of `x` up in their own type."""
    return bool(jit.available() and x.dtype.kind in "fiu" and x.dtype.name != "float16")


def add_rows(total: Array, places: Array, rows: Array) -> None:
    """``total[places[i]] += rows[i]`` for every i along the first dimension, in place."""
    if not places.size or not rows.size:
        return
    if total.dtype == rows.dtype and combine_rows(total, places, rows, 0, "sum"):
        return
    if total.ndim == 1 or total[0].size == 1:
        flat = total.reshape(-1) if total.flags.c_contiguous else total.reshape(-1).copy()
        add_at(flat, places, rows.reshape(-1))
        total[...] = flat.reshape(total.shape)
        return
    order = np.argsort(places, kind="stable")
    ranked = places[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    if len(starts) == len(ranked):
        total[places] += rows.astype(total.dtype, copy=False)
        return
    wide = np.float32 if total.dtype.itemsize < 4 and total.dtype.kind in "fV" else rows.dtype
    sums = np.add.reduceat(rows.astype(wide, copy=False)[order], starts, axis=0)
    total[ranked[starts]] += sums.astype(total.dtype, copy=False)
