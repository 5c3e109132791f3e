"""Putting or adding values at places, some of which repeat: the same result in every run.

Values that go to one place go there in their order, however many threads there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler import jit
from ...compiler.kernel import Inline, serves
from . import indexing_kernels as kernels
from .indexing import COLUMNS, FEW, index_for_kernels, is_inside, words_of

Array = Any

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
    if not index.size:
        return True
    if index.size < FEW or not (_is_summed(out) if reduce else jit.available()):
        return _combine_reference(out, index, values, d, reduce)
    size = out.shape[d]
    others = [(n, k) for a, (n, k) in enumerate(zip(out.shape, index.shape, strict=True)) if a != d]
    if any(n != k for n, k in others):
        if not is_inside(index, size):
            return False
        index, values = places_along(out.shape, d, index).reshape(-1), values.reshape(-1)
        out, d, size = out.reshape(-1), 0, out.size
    target, given = (out, values) if reduce else (words_of(out), words_of(values))
    places = index_for_kernels(index)
    if target is None or places is None:
        return _combine_reference(out, index, values, d, reduce)
    if not size:
        return False
    given, wrong = np.ascontiguousarray(given), np.zeros(1, np.int64)
    outer, count, width = math.prod(out.shape[:d]), index.shape[d], math.prod(out.shape[d + 1 :])
    step, combine = int(given.size > 1), _COMBINE[reduce] if reduce else kernels.replace
    if width == 1:
        kernels.put_elements(
            outer, 4 * count, target, places, given, wrong, size, count, count, step, combine
        )
    else:
        items, cost = outer * -(-width // COLUMNS), 4 * count * min(width, COLUMNS)
        kernels.put_columns(
            items, cost, target, places, given, wrong, size, count, width, COLUMNS, step, combine
        )
    return not wrong[0]


def _combine_reference(out: Array, index: Array, values: Array, d: int, reduce: str | None) -> bool:
    if not is_inside(index, out.shape[d]):
        return False
    flat, places = out.reshape(-1), places_along(out.shape, d, index).reshape(-1)
    spread = np.broadcast_to(values, index.shape).reshape(-1)
    if reduce is None:
        flat[places] = spread
    elif reduce == "sum":
        _add_at_reference(flat, places, spread)
    else:
        {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce].at(
            flat, places, spread
        )
    return True


def places_along(shape: Any, dim: int, index: Array) -> Array:
    """The flat places of the elements that `index` along `dim` names in a tensor of `shape`."""
    places = np.zeros(index.shape, np.int64)
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        here = index if axis == dim else np.arange(index.shape[axis])
        if axis != dim:
            here = here.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        places += here * step
        step *= shape[axis]
    return places


def combine_rows(
    out: Array, index: Array, rows: Array, d: int, reduce: str | None = None, skipped: int = -1
) -> bool:
    """The slices of `out` along `d` at `index` (1-d) become those of `rows`, or the sum of both.

    As `combine_along`, but indices that are out of range count for nothing, like those that are
    `skipped`, and False says that no kernel serves.
    """
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
            outer, 4 * count, target, places, given, wrong, size, count, 0, 1, combine
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
    kind = total.dtype.kind
    if kind == "c":
        for part in ("real", "imag"):
            sums = np.bincount(places, getattr(values, part), len(total))
            getattr(total, part)[...] += sums.astype(getattr(total, part).dtype)
    elif kind in "biu":
        np.add.at(total, places, values)
    elif kind == "f" and total.dtype.itemsize >= 4:
        total += np.bincount(places, values, len(total)).astype(total.dtype, copy=False)
    else:
        sums = np.bincount(places, values.astype(np.float64), len(total))
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
