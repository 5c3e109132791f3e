"""Rows of tables on NumPy arrays: adding rows up by index."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def check_indices(name: str, indices: Array, rows: int) -> None:
    """IndexError if any index lies outside [0, rows)."""
    if indices.size and (indices.min() < 0 or indices.max() >= rows):
        wrong = indices[(indices < 0) | (indices >= rows)].flat[0]
        raise IndexError(f"{name}: index out of range in self: {wrong} for a table of {rows} rows")


def add_rows(values: Array, indices: Array, rows: int) -> Array:
    """A table (rows, D) of zeros to whose rows at `indices` (N,) the `values` (N, D) are added."""
    out = np.zeros((rows, values.shape[1]), values.dtype)
    if not indices.size:
        return out
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if starts.size == indices.size:
        out[indices] = values
    else:
        out[ordered[starts]] = np.add.reduceat(values[order], starts, 0)
    return out


def occurrences(indices: Array, rows: int) -> Array:
    """How often each of the `indices` occurs among them."""
    return np.bincount(indices, minlength=rows)[indices]
