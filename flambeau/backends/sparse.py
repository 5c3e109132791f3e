"""Sparse arrays: coordinates (COO), and compressed rows or columns of elements or blocks.

`Coordinates` holds int64 `indices` (S, N) and `values` (N, *dense). `Compressed` holds, for each
place of the leading batch dimensions, `ends` (R + 1,) that cut `indices` (N,) and `values`
(N, *block, *dense) into rows (csr, bsr) or columns (csc, bsc). The scheme is that of SciPy; it is
described in Saad, Iterative Methods for Sparse Linear Systems (2003), section 3.4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices
from .composed import ComposedArray
from .cpu.scatter import add_rows

Array = Any

ROWS = (devices.sparse_csr, devices.sparse_bsr)
BLOCKS = (devices.sparse_bsr, devices.sparse_bsc)
COMPRESSED = (devices.sparse_csr, devices.sparse_csc, *BLOCKS)


def places(indices: Array, sizes: tuple[int, ...]) -> Array:
    """The numbers in row-major order of the elements at `indices` (S, N) of a box of `sizes`.

    RuntimeError for an index outside.
    """
    found = np.zeros(indices.shape[1], np.int64)
    for d, (row, n) in enumerate(zip(indices, sizes, strict=True)):
        if row.size and (int(row.min()) < 0 or int(row.max()) >= n):
            wrong = int(row.min()) if int(row.min()) < 0 else int(row.max())
            if wrong < 0:
                raise RuntimeError(f"found negative index {wrong} for dim {d}")
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {d}, size is {n} but found index "
                f"{wrong}"
            )
        found *= n
        found += row
    return found


def coordinates(numbers: Array, sizes: tuple[int, ...]) -> Array:
    """The indices (S, N) of the elements with these row-major `numbers`: undoes `places`."""
    found = np.empty((len(sizes), len(numbers)), np.int64)
    rest = numbers
    for d in reversed(range(len(sizes))):
        rest, found[d] = np.divmod(rest, max(sizes[d], 1))
    return found


class SparseArray(ComposedArray):
    """The base of both kinds."""

    def elements(self) -> Array:
        """The indices (S, N) of the stored elements, in the order of `flat_values`."""
        raise NotImplementedError

    def flat_values(self) -> Array:
        """The values as one row for each column of `elements`: (N, *dense)."""
        raise NotImplementedError

    @property
    def sparse_sizes(self) -> tuple[int, ...]:
        """The sizes of the dimensions that `elements` has indices for."""
        raise NotImplementedError

    def to_dense(self) -> Array:
        """A dense array of the same values; those at one place are added up."""
        sparse = self.sparse_sizes
        dense = self.shape[len(sparse) :]
        out = np.zeros((math.prod(sparse), *dense), self.dtype)
        self._add_rows(out, self.flat_values())
        return out.reshape(self.shape)

    def _add_rows(self, out: Array, rows: Array) -> None:
        at = places(self.elements(), self.sparse_sizes)
        if out.dtype == np.bool_:
            np.logical_or.at(out, at, rows)
        elif self.is_unique:
            out[at] += rows
        else:
            add_rows(out, at, np.ascontiguousarray(rows))

    @property
    def is_unique(self) -> bool:
        """Whether no place is known to occur twice."""
        return True

    def added_to(self, dense: Array, factor: Any = 1) -> None:
        rows = self.flat_values()
        rows = rows if factor == 1 else (rows * factor).astype(rows.dtype)
        rows = rows.astype(dense.dtype, copy=False)
        shape = (math.prod(self.sparse_sizes), *self.shape[len(self.sparse_sizes) :])
        if dense.flags.c_contiguous:
            self._add_rows(dense.reshape(shape), rows)
            return
        total = np.zeros(shape, dense.dtype)
        self._add_rows(total, rows)
        dense += total.reshape(dense.shape)


class Coordinates(SparseArray):
    """Values with the indices of their places; `coalesced`: sorted, none twice."""

    layout = devices.sparse_coo

    def __init__(
        self, indices: Array, values: Array, shape: tuple[int, ...], coalesced: bool
    ) -> None:
        self.indices, self.values = indices, values
        self.shape, self.coalesced = tuple(shape), coalesced or indices.shape[1] < 2

    @property
    def count(self) -> int:
        """The number of stored values."""
        return int(self.indices.shape[1])

    @property
    def is_unique(self) -> bool:
        return self.coalesced

    @property
    def sparse_sizes(self) -> tuple[int, ...]:
        return self.shape[: self.indices.shape[0]]

    def elements(self) -> Array:
        return self.indices

    def flat_values(self) -> Array:
        return self.values

    def with_values(self, values: Array) -> Coordinates:
        return Coordinates(self.indices, values, self.shape, self.coalesced)

    def shares_pattern(self, other: Any) -> bool:
        if not isinstance(other, Coordinates) or self.shape != other.shape:
            return False
        return self.indices is other.indices or (
            self.coalesced and other.coalesced and np.array_equal(self.indices, other.indices)
        )

    def merged(self) -> tuple[Coordinates, Array]:
        """The coalesced pattern (without values), and the place there of each value here."""
        sizes = self.sparse_sizes
        numbers, at = np.unique(places(self.indices, sizes), return_inverse=True)
        empty = np.empty((len(numbers), *self.values.shape[1:]), self.dtype)
        return Coordinates(coordinates(numbers, sizes), empty, self.shape, True), at.reshape(-1)

    def coalesce(self) -> Coordinates:
        """The same array with sorted places, the values at each added up."""
        if self.coalesced:
            return self
        pattern, at = self.merged()
        total = np.zeros(pattern.values.shape, self.dtype)
        if self.dtype == np.bool_:
            np.logical_or.at(total, at, self.values)
        else:
            add_rows(total, at, np.ascontiguousarray(self.values))
        return pattern.with_values(total)

    def added(self, other: Any, factor: Any = 1) -> Any:
        other = to_coordinates(other)
        right = other.values if factor == 1 else (other.values * factor).astype(other.dtype)
        dtype = np.result_type(self.dtype, other.dtype) if self.dtype != other.dtype else self.dtype
        if self.shares_pattern(other):
            return self.with_values(np.add(self.values, right, dtype=dtype))
        joined = Coordinates(
            np.concatenate([self.indices, other.indices], 1),
            np.concatenate([self.values.astype(dtype), right.astype(dtype)]),
            self.shape,
            False,
        )
        return joined.coalesce() if self.coalesced and other.coalesced else joined


class Compressed(SparseArray):
    """Rows or columns (`layout`) of elements or blocks; see the module's docstring."""

    def __init__(
        self, layout: Any, ends: Array, indices: Array, values: Array, shape: tuple[int, ...]
    ) -> None:
        self.layout, self.ends, self.indices = layout, ends, indices
        self.values, self.shape = values, tuple(shape)

    @property
    def count(self) -> int:
        """The number of stored values (or blocks) for each place of the batch."""
        return int(self.indices.shape[-1])

    @property
    def batch(self) -> tuple[int, ...]:
        """The sizes of the batch dimensions."""
        return tuple(self.ends.shape[:-1])

    @property
    def block(self) -> tuple[int, int]:
        """The sizes of a block: (1, 1) for single elements."""
        if self.layout not in BLOCKS:
            return (1, 1)
        at = len(self.batch) + 1
        return tuple(self.values.shape[at : at + 2])  # type: ignore[return-value]

    @property
    def is_by_row(self) -> bool:
        """Whether rows are compressed, not columns."""
        return self.layout in ROWS

    @property
    def sparse_sizes(self) -> tuple[int, ...]:
        return self.shape[: len(self.batch) + 2]

    @property
    def _dense(self) -> tuple[int, ...]:
        return self.shape[len(self.batch) + 2 :]

    def elements(self) -> Array:
        ends, plain = self.ends.reshape(-1, self.ends.shape[-1]), self.indices
        count, groups = self.count, len(ends)
        plain = plain.reshape(groups, count)
        wrong = (ends[:, 0] != 0) | (ends[:, -1] != count) | (np.diff(ends) < 0).any(-1)
        if wrong.any():
            raise RuntimeError("the compressed indices of a sparse tensor do not fit its values")
        lines = np.tile(np.arange(ends.shape[1] - 1), groups)
        lines = np.repeat(lines, np.diff(ends).reshape(-1))
        major, minor = (lines, plain.reshape(-1))
        rows, columns = (major, minor) if self.is_by_row else (minor, major)
        of_batch = np.repeat(np.arange(groups), count)
        high, wide = self.block
        if (high, wide) != (1, 1):
            shape = (len(rows), high, wide)
            rows = np.broadcast_to((rows * high)[:, None, None] + np.arange(high)[:, None], shape)
            columns = np.broadcast_to((columns * wide)[:, None, None] + np.arange(wide), shape)
            of_batch = np.broadcast_to(of_batch[:, None, None], shape)
        found = [*coordinates(of_batch.reshape(-1), self.batch), rows.reshape(-1)]
        return np.stack([*found, columns.reshape(-1)]).astype(np.int64, copy=False)

    def flat_values(self) -> Array:
        return self.values.reshape(-1, *self._dense)

    def with_values(self, values: Array) -> Compressed:
        return Compressed(self.layout, self.ends, self.indices, values, self.shape)

    def shares_pattern(self, other: Any) -> bool:
        if not isinstance(other, Compressed) or self.layout is not other.layout:
            return False
        if self.shape != other.shape or self.block != other.block:
            return False
        return (self.ends is other.ends and self.indices is other.indices) or (
            np.array_equal(self.ends, other.ends) and np.array_equal(self.indices, other.indices)
        )

    def added(self, other: Any, factor: Any = 1) -> Any:
        if not self.shares_pattern(other):
            if isinstance(other, Coordinates):
                return to_coordinates(self).added(other, factor)
            total = to_coordinates(self).coalesce().added(to_coordinates(other).coalesce(), factor)
            return compress(total.indices, total.values, self.shape, self.layout, self.block)
        right = other.values if factor == 1 else other.values * factor
        return self.with_values((self.values + right).astype(self.dtype, copy=False))


def to_coordinates(x: Any) -> Coordinates:
    """A sparse array as coordinates."""
    if isinstance(x, Coordinates):
        return x
    at = x.elements()
    # By rows and without blocks, compressed indices come in order.
    return Coordinates(at, x.flat_values(), x.shape, x.layout is devices.sparse_csr)


def compress(
    indices: Array, values: Array, shape: tuple[int, ...], layout: Any, block: tuple[int, int]
) -> Compressed:
    """The compressed form of `values` (N, *dense) at distinct `indices` (S, N), S at least 2."""
    pattern, at = compressed_pattern(indices, shape, layout, block, values.dtype)
    flat = np.zeros((pattern.flat_values().shape[0], *values.shape[1:]), values.dtype)
    flat[at] = values
    return pattern.with_values(flat.reshape(pattern.values.shape))


def compressed_pattern(
    indices: Array, shape: tuple[int, ...], layout: Any, block: tuple[int, int], dtype: Any
) -> tuple[Compressed, Array]:
    """The pattern (values are empty) that holds `indices`, and where each stands in flat values.

    RuntimeError if the places of a batch have different numbers of values or the sizes of a block
    do not divide those of the matrix.
    """
    sparse = shape[: len(indices)]
    batch, (rows, columns) = sparse[:-2], sparse[-2:]
    high, wide = block
    by_row = layout in ROWS
    places(indices, sparse)
    number = places(indices[:-2], batch)
    tall, broad = rows // high, columns // wide
    row, column = indices[-2] // high, indices[-1] // wide
    lines, others = (tall, broad) if by_row else (broad, tall)
    line, other = (row, column) if by_row else (column, row)
    keys, at = np.unique((number * lines + line) * max(others, 1) + other, return_inverse=True)
    line_of, plain = np.divmod(keys, max(others, 1))
    groups = math.prod(batch)
    counts = np.bincount(line_of, minlength=groups * lines).reshape(groups, lines)
    totals = counts.sum(1)
    if groups and (totals != totals[0]).any():
        raise RuntimeError("Expect the same number of specified elements per batch.")
    count = int(totals[0]) if groups else 0
    ends = np.zeros((groups, lines + 1), np.int64)
    np.cumsum(counts, 1, out=ends[:, 1:])
    inner = (high, wide) if layout in BLOCKS else ()
    values = np.empty((*batch, count, *inner, *shape[len(sparse) :]), dtype)
    made = Compressed(
        layout, ends.reshape(*batch, lines + 1), plain.reshape(*batch, count), values, shape
    )
    inside = (indices[-2] % high) * wide + indices[-1] % wide
    return made, at.reshape(-1) * (high * wide) + inside


# ---------------------------------------------------------------- gradients of look-ups
def row_places(indices: Array, padding_idx: int) -> tuple[Array, Array | None]:
    """Where the gradients of looked-up rows stand (1, N), and which of them count (None: all)."""
    flat = indices.reshape(-1).astype(np.int64, copy=False)
    if padding_idx < 0:
        return flat[None], None
    kept = np.flatnonzero(flat != padding_idx)
    return flat[kept][None], kept


def element_places(index: Array, dim: int, ndim: int) -> Array:
    """Where the gradients of elements gathered at `index` along `dim` stand: (ndim, N)."""
    if not ndim:
        return np.empty((0, index.size), np.int64)
    grid = np.indices(index.shape).reshape(index.ndim, -1).astype(np.int64, copy=False)
    grid[dim % ndim] = index.reshape(-1)
    return grid


__all__ = [
    "BLOCKS",
    "COMPRESSED",
    "ROWS",
    "Compressed",
    "Coordinates",
    "SparseArray",
    "compress",
    "compressed_pattern",
    "coordinates",
    "element_places",
    "places",
    "row_places",
    "to_coordinates",
]
