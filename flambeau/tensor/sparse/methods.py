"""The methods of `Tensor` and the functions of `flambeau` that are about sparse layouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import FAST
from ...backends.sparse import COMPRESSED, ROWS, Coordinates
from ..composed import ComposedTensor, values_of, with_values
from ..core import array_of, from_array
from . import layouts, products
from .construction import sparse_compressed_tensor, sparse_coo_tensor
from .layouts import coalesce as _merged
from .tensor import TITLES, SparseTensor, unsupported


def _expect(t: Any, name: str, kinds: tuple[Any, ...], wanted: str) -> Any:
    if not isinstance(t, SparseTensor) or t.layout not in kinds:
        raise RuntimeError(
            f"{name} expected sparse {wanted} tensor layout but got {TITLES[t.layout]}"
        )
    return array_of(t)


_COO = (devices.sparse_coo,)
_BY_COLUMN = tuple(k for k in COMPRESSED if k not in ROWS)


# ---------------------------------------------------------------- parts
def indices(self: Any) -> Any:
    """The indices (S, N) of a coalesced tensor in coordinates."""
    raw = _expect(self, "indices", _COO, "coordinate")
    if not raw.coalesced:
        raise RuntimeError(
            "Cannot get indices on an uncoalesced tensor, please call .coalesce() first"
        )
    return from_array(raw.indices)


def values(self: Any) -> Any:
    """The values: (N, *dense) of a coalesced tensor in coordinates, else (*batch, N, ...)."""
    if not isinstance(self, ComposedTensor):
        raise RuntimeError(f"values expected sparse tensor layout but got {TITLES[self.layout]}")
    if not getattr(array_of(self), "is_unique", True):
        raise RuntimeError(
            "Cannot get values on an uncoalesced tensor, please call .coalesce() first"
        )
    return values_of(self)


def _indices(self: Any) -> Any:
    if self.layout is not devices.sparse_coo:
        raise unsupported("_indices", self.layout)
    return from_array(array_of(self).indices)


def _values(self: Any) -> Any:
    if self.layout is not devices.sparse_coo:
        raise unsupported("_values", self.layout)
    return from_array(array_of(self).values)


def _nnz(self: Any) -> int:
    """The number of stored values (for each place of the batch)."""
    if not isinstance(self, SparseTensor):
        raise unsupported("_nnz", self.layout)
    return int(array_of(self).count)


def crow_indices(self: Any) -> Any:
    """Where each row begins and ends (*batch, R + 1), in CSR and BSR."""
    return from_array(_expect(self, "crow_indices", ROWS, "row compressed").ends)


def col_indices(self: Any) -> Any:
    """The column of each value or block (*batch, N), in CSR and BSR."""
    return from_array(_expect(self, "col_indices", ROWS, "row compressed").indices)


def ccol_indices(self: Any) -> Any:
    """Where each column begins and ends (*batch, C + 1), in CSC and BSC."""
    return from_array(_expect(self, "ccol_indices", _BY_COLUMN, "column compressed").ends)


def row_indices(self: Any) -> Any:
    """The row of each value or block (*batch, N), in CSC and BSC."""
    return from_array(_expect(self, "row_indices", _BY_COLUMN, "column compressed").indices)


def sparse_dim(self: Any) -> int:
    """The number of dimensions that indices are stored for; 0 for a dense tensor."""
    if not isinstance(self, SparseTensor):
        return 0
    return 2 if self.layout in COMPRESSED else len(array_of(self).indices)


def dense_dim(self: Any) -> int:
    """The number of dimensions of each stored value; all of a dense tensor's."""
    if not isinstance(self, SparseTensor):
        return int(self.ndim)
    return int(self.ndim) - len(array_of(self).sparse_sizes)


def coalesce(self: Any) -> Any:
    """This tensor with sorted indices of which none repeats; itself if it is so."""
    _expect(self, "coalesce", _COO, "coordinate")
    return _merged(self)


def is_coalesced(self: Any) -> bool:
    """Whether the indices are known to be sorted and distinct."""
    return bool(_expect(self, "is_coalesced", _COO, "coordinate").coalesced)


# ---------------------------------------------------------------- layouts
def to_dense(
    self: Any, dtype: dtypes.dtype | None = None, *, masked_grad: bool | None = None
) -> Any:
    """This tensor with all its elements stored; itself if it is dense.

    The gradient of a sparse tensor stands where it has elements, or is dense if not `masked_grad`.
    """
    if not isinstance(self, SparseTensor):
        return self if dtype is None else self.to(dtype)
    if dtype is not None:
        raise RuntimeError("dtype argument is not supported by sparse_to_dense")
    return layouts.to_dense(self, masked_grad)


def to_sparse(
    self: Any,
    sparse_dim: int | None = None,
    *,
    layout: Any = None,
    blocksize: Any = None,
    dense_dim: int | None = None,
) -> Any:
    """This tensor in a sparse `layout` (COO), with `sparse_dim` dimensions indexed (all)."""
    layout = devices.sparse_coo if layout is None else layout
    if layout is devices.strided:
        if isinstance(self, SparseTensor):
            return layouts.to_dense(self)
        raise RuntimeError(
            "to_sparse: conversion from Strided to Strided is not supported: the tensor is dense"
        )
    if sparse_dim is None:
        return layouts.to_layout(self, layout, blocksize, dense_dim)
    if isinstance(self, SparseTensor):
        if self.layout is not layout or self.sparse_dim() != sparse_dim:
            raise RuntimeError(
                f"to_sparse: conversion from {TITLES[self.layout]} to {TITLES[layout]} with "
                "sparse_dim argument !=self.sparse_dim() is not supported"
            )
        return self
    if layout is not devices.sparse_coo:
        raise RuntimeError(f"to_sparse: sparse_dim does not go with the layout {layout}")
    return layouts.from_dense(self, sparse_dim)


def to_sparse_coo(self: Any) -> Any:
    """This tensor in coordinates."""
    return to_sparse(self)


def _checked(self: Any, layout: Any, dense_dim: int | None) -> Any:
    if dense_dim is not None and isinstance(self, SparseTensor) and self.layout is not layout:
        raise RuntimeError(
            f"conversion from {TITLES[self.layout]} to {TITLES[layout]} with dense_dim argument "
            "given is not supported"
        )
    return self


def to_sparse_csr(self: Any, dense_dim: int | None = None) -> Any:
    """This tensor with compressed rows; the last `dense_dim` dimensions stay dense."""
    _checked(self, devices.sparse_csr, dense_dim)
    return layouts.to_layout(self, devices.sparse_csr, None, dense_dim)


def to_sparse_csc(self: Any, dense_dim: int | None = None) -> Any:
    """This tensor with compressed columns."""
    _checked(self, devices.sparse_csc, dense_dim)
    return layouts.to_layout(self, devices.sparse_csc, None, dense_dim)


def to_sparse_bsr(self: Any, blocksize: Any, dense_dim: int | None = None) -> Any:
    """This tensor with compressed rows of blocks of `blocksize`, which must divide its sizes."""
    _checked(self, devices.sparse_bsr, dense_dim)
    return layouts.to_layout(self, devices.sparse_bsr, tuple(blocksize), dense_dim)


def to_sparse_bsc(self: Any, blocksize: Any, dense_dim: int | None = None) -> Any:
    """This tensor with compressed columns of blocks of `blocksize`."""
    _checked(self, devices.sparse_bsc, dense_dim)
    return layouts.to_layout(self, devices.sparse_bsc, tuple(blocksize), dense_dim)


def sparse_mask(self: Any, mask: Any) -> Any:
    """The elements of this tensor at the places of the sparse tensor `mask`."""
    if not isinstance(mask, SparseTensor):
        raise NotImplementedError(
            f"sparse_mask: expected a sparse mask, got a tensor of layout {TITLES[mask.layout]}"
        )
    return layouts.masked(self, mask)


# ---------------------------------------------------------------- resizing
def sparse_resize_(self: Any, size: Any, sparse_dim: int, dense_dim: int) -> Any:
    """Give this tensor in coordinates another size in place; what is stored stays."""
    raw = _expect(self, "sparse_resize_", _COO, "coordinate")
    shape = tuple(int(n) for n in size)
    if sparse_dim + dense_dim != len(shape):
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, "
            f"sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
        )
    if not raw.count:
        return sparse_resize_and_clear_(self, shape, sparse_dim, dense_dim)
    held = (len(raw.indices), raw.values.ndim - 1)
    hint = (
        "\nYou could try the following options:\n1. If you need an empty sparse tensor of this "
        "size, call `x = torch.sparse_coo_tensor(size)`.\n2. If you need to resize this tensor, "
        "use `x.sparse_resize_and_clear_(...)`."
    )
    for kind, before, after in zip(("sparse", "dense"), held, (sparse_dim, dense_dim), strict=True):
        if before != after:
            raise RuntimeError(
                f"changing the number of {kind} dimensions (from {before} to {after}) on a "
                f"non-empty sparse tensor is not supported.{hint}"
            )
    parts = (("sparse", slice(0, sparse_dim)), ("dense", slice(sparse_dim, None)))
    for kind, part in parts:
        old, new = list(raw.shape[part]), list(shape[part])
        if any(n < m for n, m in zip(new, old, strict=True)):
            raise RuntimeError(
                f"shrinking the size of {kind} dimensions (from {old} to {new}) on a non-empty "
                f"sparse tensor is not supported.{hint}"
            )
    kept = raw.values
    if shape[sparse_dim:] != kept.shape[1:]:
        kept = np.zeros((raw.count, *shape[sparse_dim:]), raw.dtype)
        kept[tuple(slice(n) for n in raw.values.shape)] = raw.values
    raw.assign(Coordinates(raw.indices, kept, shape, raw.coalesced))
    return self


def sparse_resize_and_clear_(self: Any, size: Any, sparse_dim: int, dense_dim: int) -> Any:
    """Give this tensor in coordinates another size in place, and nothing stored."""
    raw = _expect(self, "sparse_resize_and_clear_", _COO, "coordinate")
    shape = tuple(int(n) for n in size)
    none = np.empty((sparse_dim, 0), np.int64)
    empty = np.empty((0, *shape[sparse_dim:]), raw.dtype)
    raw.assign(Coordinates(none, empty, shape, True))
    return self


def resize_as_sparse_(self: Any, the_template: Any) -> Any:
    """Give this tensor the size of another one in coordinates, in place."""
    dims = (the_template.sparse_dim(), the_template.dense_dim())
    return sparse_resize_(self, the_template.shape, *dims)


# ---------------------------------------------------------------- products
def smm(input: Any, mat2: Any) -> Any:
    """``input @ mat2`` of a sparse and a dense matrix, in coordinates."""
    return products.sparse_product(input, mat2)


def _stored(result: Any, out: Any) -> Any:
    """`result`, put into the sparse tensor `out` if there is one."""
    return result if out is None else out.change(out, result, "out")


def hspmm(mat1: Any, mat2: Any, *, out: Any = None) -> Any:
    """``mat1 @ mat2`` with one sparse dimension: only the rows that are not empty."""
    return _stored(products.rows_product(mat1, mat2), out)


def dsmm(input: Any, mat2: Any) -> Any:
    """``input @ mat2``."""
    return FAST["F"].mm(input, mat2)


hsmm = dsmm


def sspaddmm(
    input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)`` of a sparse `input`, in coordinates."""
    product = products.sparse_product(mat1, mat2)
    if input.layout is not devices.sparse_coo or input.shape != product.shape:
        raise RuntimeError(
            f"sspaddmm: expected a sparse tensor of shape {list(product.shape)}, got layout "
            f"{TITLES[input.layout]} and shape {list(input.shape)}"
        )
    left, right = array_of(input), array_of(product)
    at = np.concatenate([left.indices, right.indices], 1)
    both = FAST["F"].cat([values_of(input) * beta, values_of(product) * alpha])
    return _stored(with_values(Coordinates(at, array_of(both), left.shape, False), both), out)


def to_padded_tensor(self: Any, padding: float, output_size: Any = None) -> Any:
    """The members of a nested tensor filled up to one size; an error for any other."""
    raise NotImplementedError("to_padded_tensor: expected a nested tensor, got one that is not")


# ---------------------------------------------------------------- construction
def _compressed_form(name: str, layout: Any, ends: str, plain: str) -> Any:
    source = (
        f"def {name}({ends}, {plain}, values, size=None, *, dtype=None, device=None, "
        "pin_memory=False, requires_grad=False, check_invariants=None):\n"
        f"    return make({ends}, {plain}, values, size, dtype=dtype, layout=layout, "
        "device=device, pin_memory=pin_memory, requires_grad=requires_grad, "
        "check_invariants=check_invariants)\n"
    )
    space = {"make": sparse_compressed_tensor, "layout": layout, "__name__": __name__}
    exec(source, space)
    made: Any = space[name]
    made.__doc__ = f"A tensor of layout {layout}; see `sparse_compressed_tensor`."
    return made


_BY_ROWS, _BY_COLUMNS = ("crow_indices", "col_indices"), ("ccol_indices", "row_indices")
sparse_csr_tensor = _compressed_form("sparse_csr_tensor", devices.sparse_csr, *_BY_ROWS)
sparse_csc_tensor = _compressed_form("sparse_csc_tensor", devices.sparse_csc, *_BY_COLUMNS)
sparse_bsr_tensor = _compressed_form("sparse_bsr_tensor", devices.sparse_bsr, *_BY_ROWS)
sparse_bsc_tensor = _compressed_form("sparse_bsc_tensor", devices.sparse_bsc, *_BY_COLUMNS)

__all__ = ["sparse_compressed_tensor", "sparse_coo_tensor"]
