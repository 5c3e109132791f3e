"""Making sparse tensors from their indices and values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import FAST
from ...backends.sparse import BLOCKS, COMPRESSED, Compressed, Coordinates
from ..composed import with_values
from ..core import array_of, from_array, is_tensor
from . import invariants
from .tensor import TITLES


def _index_array(data: Any) -> Any:
    d = array_of(data) if is_tensor(data) else np.asarray(data)
    return d.astype(np.int64, copy=False)


def _values(data: Any, dtype: Any) -> Any:
    F = FAST["F"]
    if not is_tensor(data):
        return F.tensor(data, dtype=dtype)
    return data if dtype is None else data.to(dtype)


def _finished(out: Any, requires_grad: bool) -> Any:
    return out.requires_grad_() if requires_grad and out._gf is None else out


def _check_device(device: Any) -> None:
    if devices.resolve_device(device).type != "cpu":
        raise NotImplementedError(f"sparse tensors on the device {device} are not supported")


def empty(
    shape: tuple[int, ...], dtype: dtypes.dtype, layout: Any, requires_grad: bool = False
) -> Any:
    """A sparse tensor without any stored element."""
    kind = dtype.numpy_dtype
    raw: Any
    if layout is devices.sparse_coo:
        indices = np.empty((len(shape), 0), np.int64)
        raw = Coordinates(indices, np.empty((0,), kind), shape, True)
    else:
        if len(shape) < 2:
            raise RuntimeError(
                "torch.empty: Only batched sparse compressed (non-block) tensors are supported, "
                f"but got size {list(shape)}"
            )
        if layout in BLOCKS:
            raise RuntimeError(f"an empty tensor of layout {layout} has no block size")
        lines = shape[-2] if layout is devices.sparse_csr else shape[-1]
        batch = tuple(shape[:-2])
        ends, none = np.zeros((*batch, lines + 1), np.int64), np.empty((*batch, 0), np.int64)
        raw = Compressed(layout, ends, none, np.empty((*batch, 0), kind), shape)
    return _finished(from_array(raw), requires_grad)


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Any = None,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Any:
    """A tensor with `values` (N, *dense) at `indices` (S, N), and zeros elsewhere: layout COO.

    Values at one place count as their sum. Without `size` it is the least that holds the indices.
    With a size alone (as the first argument or by name) nothing is stored. RuntimeError where the
    sizes do not fit, and if `check_invariants` where an index is outside.

    >>> sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense().tolist()
    [[0.0, 0.0, 3.0], [4.0, 0.0, 0.0]]
    """
    _check_device(device)
    if values is None:
        shape = tuple(int(n) for n in (indices if size is None else size))
        dtype = dtype or dtypes.get_default_dtype()
        return empty(shape, dtype, devices.sparse_coo, requires_grad)
    at, v = _index_array(indices), _values(values, dtype)
    v = v.reshape(1) if not v.ndim else v
    if at.ndim != 2:
        raise RuntimeError(
            f"indices must be sparse_dim x nnz, but got: {list(at.shape)} (sparse_coo_tensor)"
        )
    if at.shape[1] != v.shape[0]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {at.shape[1]}, nnz "
            f"from values: {v.shape[0]}"
        )
    if size is None:
        for d, row in enumerate(at):
            if row.size and row.min() < 0:
                raise RuntimeError(f"found negative index {row.min()} for dim {d}")
        found = at.max(1) + 1 if at.shape[1] else np.zeros(len(at), np.int64)
        shape = (*map(int, found), *v.shape[1:])
    else:
        shape = tuple(int(n) for n in size)
    invariants.check_coordinates(at, array_of(v), shape)
    if invariants.is_checked(check_invariants):
        invariants.check_places(at, shape, bool(is_coalesced))
    pattern = Coordinates(at, array_of(v), shape, bool(is_coalesced))
    out = with_values(pattern, v, "SparseCooTensorWithDimsAndTensorsBackward0")
    return _finished(out, requires_grad)


def sparse_compressed_tensor(
    compressed_indices: Any,
    plain_indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> Any:
    """A tensor in a compressed `layout` (CSR, CSC, BSR or BSC).

    `compressed_indices` (*batch, R + 1) cut `plain_indices` (*batch, N) and `values` (*batch, N,
    *block, *dense) into rows or columns. RuntimeError for another layout and, if
    `check_invariants`, where anything does not fit.
    """
    _check_device(device)
    if layout not in COMPRESSED:
        got = "none" if layout is None else TITLES[layout]
        raise RuntimeError(
            "sparse_compressed_tensor expected sparse compressed tensor layout but got " + got
        )
    ends, plain = _kept_index(compressed_indices), _kept_index(plain_indices)
    v = _values(values, dtype)
    blocked = 2 * (layout in BLOCKS)
    if ends.ndim < 1 or plain.ndim < 1 or v.ndim < ends.ndim + blocked:
        raise RuntimeError(
            "values must have dimensionality > sum of batch and block dimensionalities "
            f"(={max(ends.ndim - 1, 0)} + {blocked}) but got {v.ndim}"
        )
    shape = _inferred(layout, ends, plain, v) if size is None else tuple(int(n) for n in size)
    pattern = Compressed(layout, ends, plain, array_of(v), shape)
    if invariants.is_checked(check_invariants):
        invariants.check_compressed(pattern)
    return _finished(with_values(pattern, v, "SparseCompressedTensorBackward0"), requires_grad)


def _kept_index(data: Any) -> Any:
    d = array_of(data) if is_tensor(data) else np.asarray(data)
    return d if d.dtype == np.int32 else d.astype(np.int64) if d.dtype.kind in "iu" else d


def _inferred(layout: Any, ends: Any, plain: Any, v: Any) -> tuple[int, ...]:
    batch = tuple(ends.shape[:-1])
    at = len(batch) + 1
    block = tuple(v.shape[at : at + 2]) if layout in BLOCKS else (1, 1)
    lines, others = ends.shape[-1] - 1, int(plain.max()) + 1 if plain.size else 0
    by_row = layout in (devices.sparse_csr, devices.sparse_bsr)
    rows, columns = (lines, others) if by_row else (others, lines)
    dense = v.shape[at + (2 if layout in BLOCKS else 0) :]
    return (*batch, rows * block[0], columns * block[1], *dense)


def diagonals(d: Any, offsets: Any, shape: Any, layout: Any) -> Any:
    """The matrix with the rows of `d` (K, N) on the diagonals `offsets` (K,); see spdiags."""
    rows = d.reshape(1, -1) if d.ndim == 1 else d
    at = array_of(offsets).reshape(-1)
    if rows.ndim != 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if layout not in (None, devices.sparse_coo, devices.sparse_csr, devices.sparse_csc):
        raise RuntimeError("Only output layouts (Sparse, SparseCsc, SparseCsr) are supported")
    if rows.shape[0] != len(at):
        raise RuntimeError(
            f"Number of diagonals ({rows.shape[0]}) does not match the number of offsets "
            f"({len(at)})"
        )
    if len(np.unique(at)) != len(at):
        raise RuntimeError("Offset tensor contains duplicate values")
    number, column = np.indices(tuple(rows.shape)).reshape(2, math.prod(rows.shape))
    row = column - at[number]
    kept = (row >= 0) & (row < shape[0]) & (column < shape[1])
    number, column, row = number[kept], column[kept], row[kept]
    picked = FAST["F"].advanced_index(rows, (number, column))
    pattern = Coordinates(
        np.stack([row, column]).astype(np.int64), array_of(picked), tuple(shape), False
    )
    out = with_values(pattern, picked, "SpdiagsBackward0")
    return out if layout in (None, devices.sparse_coo) else out.to_sparse(layout=layout)
