"""Rows of tables on NumPy arrays: checking and counting the indices."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def check_indices(name: str, indices: Array, rows: int) -> None:
    """IndexError if any index lies outside [0, rows)."""
    if indices.size and (indices.min() < 0 or indices.max() >= rows):
        wrong = indices[(indices < 0) | (indices >= rows)].flat[0]
        raise IndexError(f"{name}: index out of range in self: {wrong} for a table of {rows} rows")


def occurrences(indices: Array, rows: int) -> Array:
    """How often each of the `indices` occurs among them."""
    return np.bincount(indices, minlength=rows)[indices]
