"""Sparse tensors: products, sums, softmax and construction, as in ``torch.sparse``.

The tensors themselves are made by `flambeau.sparse_coo_tensor`, `flambeau.sparse_csr_tensor` and
their relatives, or by ``to_sparse()`` of a dense tensor.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from ..tensor import sparse as tensors
from ..tensor.sparse import check_sparse_tensor_invariants
from .derivatives import as_sparse_gradcheck

__all__ = [
    "addmm",
    "as_sparse_gradcheck",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "spsolve",
    "sum",
]


def _is_sparse(t: Any) -> bool:
    return isinstance(t, tensors.SparseTensor)


def mm(mat1: Tensor, mat2: Tensor, reduce: str | None = None) -> Tensor:
    """The product of two matrices (N, M) and (M, P); a sparse one's gradient has its pattern.

    Two sparse matrices give a sparse one. With a CSR matrix first, `reduce` may be "sum", "mean",
    "amax" or "amin": what becomes of the products that are added up otherwise. RuntimeError for
    shapes that do not fit.
    """
    if reduce is not None:
        return tensors.reduced_product(mat1, mat2, reduce)
    if not _is_sparse(mat1) and not _is_sparse(mat2):
        return fl.mm(mat1, mat2)
    return tensors.multiply(mat1, mat2, True)


def addmm(
    mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0
) -> Tensor:
    """``beta * mat + alpha * (mat1 @ mat2)``; a sparse matrix's gradient has its pattern."""
    if not any(_is_sparse(t) for t in (mat, mat1, mat2)):
        return fl.addmm(mat, mat1, mat2, beta=beta, alpha=alpha)
    return tensors.add_product(mat, mat1, mat2, beta, alpha, True)


def sampled_addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0
) -> Tensor:
    """``alpha * (mat1 @ mat2) + beta * input`` where the CSR matrix `input` has elements.

    The other elements of the product of the dense matrices are not computed.
    """
    return tensors.sampled_product(input, mat1, mat2, beta, alpha)


def sum(input: Tensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of a sparse tensor, over all dimensions (dense) or some (sparse where it can be).

    The gradient has the pattern of `input`.
    """
    if not _is_sparse(input):
        return fl.sum(input, dim, dtype=dtype)
    if dim is None:
        input.is_coalesced()  # the layout must be COO
        return tensors.total(input, dtype)
    return tensors.sum_along(input, dim, False, dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The softmax along `dim` of the stored elements: those that are not stored count as -inf."""
    return tensors.softmax(input, dim, dtype, False)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed in one."""
    return tensors.softmax(input, dim, dtype, True)


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: Any = None) -> Tensor:
    """The matrix of `shape` with the rows of `diagonals` (K, N) on the diagonals `offsets` (K,).

    Element ``j`` of a row stands in column ``j``; 0 is the main diagonal, positive ones lie above.
    RuntimeError for offsets that repeat or another number of them.
    """
    return tensors.diagonals(diagonals, offsets, tuple(shape), layout)


def spsolve(input: Tensor, other: Tensor) -> Tensor:
    """The solution ``x`` of ``input @ x == other`` for a square sparse matrix (SuperLU)."""
    return tensors.solved(input, other)
