"""Sparse gradients of look-ups, as tensors: for derivatives that are recorded themselves."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import FAST
from ...backends.sparse import Coordinates, element_places, row_places
from ..composed import with_values
from ..core import array_of, from_array


def rows_at(rows: Any, indices: Any, shape: Any, padding_idx: int) -> Any:
    """A sparse tensor of `shape` (V, D) with `rows` (*, D) added at `indices` (*)."""
    at, kept = row_places(array_of(indices), padding_idx)
    flat = rows.reshape(-1, shape[1])
    if kept is not None:
        flat = FAST["F"].index_select(flat, 0, from_array(kept))
    return with_values(Coordinates(at, array_of(flat), tuple(shape), False), flat)


def elements_at(values: Any, dim: int, index: Any, shape: Any) -> Any:
    """A sparse tensor of `shape` with `values` added at `index` along `dim`."""
    at = element_places(array_of(index), dim, len(shape))
    flat = values.reshape(-1)
    return with_values(Coordinates(at, array_of(flat), tuple(shape), False), flat)
