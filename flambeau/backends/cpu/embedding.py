"""Rows of tables: sums over bags of them, refusing and counting their indices."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ...compiler.kernel import serves
from . import embedding_kernels as kernels
from .indexing import FEW, is_inside

Array = Any


def refuse_indices(name: str, indices: Array, rows: int) -> NoReturn:
    """IndexError for the first index that lies outside [0, rows)."""
    wrong = indices[(indices < 0) | (indices >= rows)].flat[0]
    raise IndexError(f"{name}: index out of range in self: {wrong} for a table of {rows} rows")


def occurrences(indices: Array, rows: int) -> Array:
    """How often each of the `indices` occurs among them."""
    return np.bincount(indices, minlength=rows)[indices]


def sum_bags(
    table: Array, indices: Array, bounds: Array, factors: Array | None, skipped: int, mean: bool
) -> Array | None:
    """The sum (or mean) of the rows of `table` (V, D) in each bag: (B, D).

    Bag b has the `indices` (N,) from ``bounds[b]`` to ``bounds[b + 1]``, in [0, N]; those that are
    `skipped` count for nothing. None if an index is out of range.
    """
    rows, width = table.shape
    bags = len(bounds) - 1
    given = (table, indices, bounds) if factors is None else (table, indices, bounds, factors)
    if indices.size * width >= FEW and table.dtype.kind in "fV" and serves(*given):
        out, wrong = np.empty((bags, width), table.dtype), np.zeros(1, np.int64)
        cost = width * (indices.size // max(bags, 1) + 1)
        kernels.sum_bags(
            bags,
            cost,
            table,
            indices,
            bounds,
            factors,
            out,
            wrong,
            indices.size,
            rows,
            width,
            skipped,
            mean,
        )
        return None if wrong[0] else out
    if not is_inside(indices, rows):
        return None
    bounds = np.clip(bounds, 0, indices.size)
    bag = bag_numbers(bounds)
    kept = indices != skipped
    parts = table[indices] if factors is None else table[indices] * factors[:, None]
    out = np.zeros((bags, width), table.dtype)
    np.add.at(out, bag[kept], parts[kept])
    if mean:
        out /= bag_sizes(indices, bounds, skipped)[:, None].astype(out.dtype)
    return out


def bag_numbers(bounds: Array) -> Array:
    """The bag of each index."""
    return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def bag_sizes(indices: Array, bounds: Array, skipped: int) -> Array:
    """How many indices of each bag count, at least one."""
    kept = np.concatenate(([0], np.cumsum(indices != skipped)))
    return np.maximum(np.diff(kept[bounds]), 1)
