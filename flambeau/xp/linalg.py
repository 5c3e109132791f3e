"""Linear algebra of the array API standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .. import dtypes
from ..tensor import Tensor, functions
from .data_types import promoted
from .derivation import binary, pairs, reduce, unary
from .statistics import sum as summed

_UNARY = pairs(
    "det:linalg_det eigh:linalg_eigh eigvalsh:linalg_eigvalsh inv:linalg_inv "
    "slogdet:linalg_slogdet svdvals:linalg_svdvals"
)
_BINARY = pairs("matmul outer")
globals().update({name: unary(name, target) for name, target in _UNARY.items()})
globals().update({name: binary(name, target) for name, target in _BINARY.items()})


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangular factor of positive definite Hermitian matrices."""
    return functions.linalg_cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements, which lie along `axis`."""
    return functions.linalg_cross(*promoted(x1, x2), dim=axis)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonal of matrices, `offset` above the main one."""
    return functions.linalg_diagonal(x, offset=offset)


def matrix_norm(
    x: Tensor, /, *, keepdims: bool = False, ord: float | Literal["fro", "nuc"] | None = "fro"
) -> Tensor:
    """The norm of matrices."""
    return functions.linalg_matrix_norm(x, "fro" if ord is None else ord, keepdim=keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """Square matrices multiplied with themselves, or for negative `n` their inverses."""
    return functions.linalg_matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The number of singular values above `rtol` times the largest, as int64."""
    return functions.linalg_matrix_rank(x, rtol=rtol)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The transpose of matrices, as a view."""
    return functions.transpose(x, -2, -1)


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The pseudo-inverse; singular values up to `rtol` times the largest count as zero."""
    return functions.linalg_pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: Literal["reduced", "complete"] = "reduced") -> Any:
    """Matrices with orthonormal columns and upper triangular ones: a named tuple `Q`, `R`."""
    return functions.linalg_qr(x, mode)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The solution of ``x1 @ x = x2``; `x2` is one vector, or matrices."""
    x1, x2 = promoted(x1, x2)
    if x2.ndim > 1 and x2.shape == x1.shape[:-1]:
        x2 = x2[None]  # or it would be taken for a batch of vectors
    return functions.linalg_solve(x1, x2)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> Any:
    """The singular value decomposition: a named tuple `U`, `S`, `Vh`."""
    return functions.linalg_svd(x, full_matrices)


def tensordot(
    x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """The sum of products over pairs of axes, or the last `axes` of `x1` and the first of `x2`."""
    return functions.tensordot(*promoted(x1, x2), dims=axes)


def trace(x: Tensor, /, *, offset: int = 0, dtype: dtypes.dtype | None = None) -> Tensor:
    """The sum of the diagonal of matrices, in the type that `sum` takes."""
    return summed(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The dot product of vectors that lie along `axis`, the first conjugated."""
    x1, x2 = promoted(x1, x2)
    if not x1.dtype.inexact:
        return functions.sum(x1 * x2, axis, dtype=x1.dtype)
    return functions.linalg_vecdot(x1, x2, dim=axis)


def vector_norm(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Tensor:
    """The norm of vectors that lie along axes."""
    return reduce("linalg_vector_norm", x, axis, keepdims, ord=ord)


__all__ = [
    "cholesky",
    "cross",
    "diagonal",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "pinv",
    "qr",
    "solve",
    "svd",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
__all__ += list(_UNARY)
__all__ += list(_BINARY)
