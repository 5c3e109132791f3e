"""The LU decomposition with row exchanges, and systems solved by it.

All act on the matrices in the last two dimensions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import small_factors
from ..compiler import blas_threads
from .decompositions import adjoint, check_infos, check_matrix, each_matrix, lapack
from .record import Array, composite, structured


# ---------------------------------------------------------------- factors
def _square_gradient(m: Any, gl: Any, gu: Any, lower: Any, upper: Any) -> Any:
    inner = m.tril(m.matmul(adjoint(m, lower), gl), -1) + m.triu(m.matmul(gu, adjoint(m, upper)))
    right = m.linalg_solve_triangular(adjoint(m, upper), inner, upper=False, left=False)
    return m.linalg_solve_triangular(adjoint(m, lower), right, upper=True, unitriangular=True)


def _gradient(m: Any, gl: Any, gu: Any, p: Any, lower: Any, upper: Any) -> Any:
    rows, columns, k = lower.shape[-2], upper.shape[-1], lower.shape[-1]
    l1, u1 = m.narrow(lower, -2, 0, k), m.narrow(upper, -1, 0, k)
    gl1, gu1 = m.tril(m.narrow(gl, -2, 0, k), -1), m.triu(m.narrow(gu, -1, 0, k))
    if rows > k:
        l2, gl2 = m.narrow(lower, -2, k, rows - k), m.narrow(gl, -2, k, rows - k)
        below = m.linalg_solve_triangular(adjoint(m, u1), gl2, upper=False, left=False)
        gu1 = gu1 - m.triu(m.matmul(adjoint(m, l2), below))
        whole = m.cat([_square_gradient(m, gl1, gu1, l1, u1), below], -2)
    elif columns > k:
        u2, gu2 = m.narrow(upper, -1, k, columns - k), m.narrow(gu, -1, k, columns - k)
        beside = m.linalg_solve_triangular(adjoint(m, l1), gu2, upper=True, unitriangular=True)
        gl1 = gl1 - m.tril(m.matmul(beside, adjoint(m, u2)), -1)
        whole = m.cat([_square_gradient(m, gl1, gu1, l1, u1), beside], -1)
    else:
        whole = _square_gradient(m, gl1, gu1, l1, u1)
    return m.matmul(p, whole)


def _compact_gradient(m: Any, g: Any, compact: Any, pivots: Any) -> Any:
    """The gradient of A, where `g` is that of L and U in one matrix."""
    k = min(compact.shape[-2:])
    p = m.pivot_matrix(pivots, compact.shape[-2], m.constant(compact))
    lower, upper = unit_lower(m, compact, k), m.triu(m.narrow(compact, -2, 0, k))
    return _gradient(m, m.narrow(g, -1, 0, k), m.narrow(g, -2, 0, k), p, lower, upper)


def _checked(name: str, a: Array, pivot: bool) -> tuple[Array, Array, Array]:
    """`factored`, once nothing speaks against it."""
    check_matrix(name, a)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return factored(a)


def factored(a: Array) -> tuple[Array, Array, Array]:
    """LAPACK's compact LU, its pivots (int32, from one), and the first zero on U's diagonal."""
    k = min(a.shape[-2:])
    compact, pivots = small_factors.lu(a) or _factored_by_lapack(a)
    zero = np.diagonal(compact, 0, -2, -1) == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if k else np.zeros(a.shape[:-2])
    return compact, pivots, info.astype(np.int32)


def _factored_by_lapack(a: Array) -> tuple[Array, Array]:
    factor = lapack("getrf", a.dtype)

    def one(x: Array) -> tuple[Array, Array]:
        if not x.size:
            return x.copy(), np.zeros(0, np.int32)
        compact, pivots, _ = factor(x)
        return compact, pivots

    with blas_threads.for_matrices(a):
        compact, pivots = each_matrix(a, one)
    return compact, pivots.astype(np.int32) + np.int32(1)  # SciPy counts from zero


def _exchanged(order: list[int], swaps: list[int]) -> list[int]:
    """`order` after exchanging each of its first places with the place (from one) in `swaps`."""
    for i, other in enumerate(swaps):
        order[i], order[other - 1] = order[other - 1], order[i]
    return order


def permutation(pivots: Array, n: int, kind: Any) -> Array:
    """The permutation matrices P with A = P L U that LAPACK's pivots stand for."""
    found = small_factors.permutations(pivots, n, kind)
    if found is not None:
        return found
    lead = pivots.shape[:-1]
    rows = pivots.reshape(math.prod(lead), pivots.shape[-1])
    order = np.broadcast_to(np.arange(n), (len(rows), n)).copy()
    each = np.arange(len(rows))
    if len(rows) < 16:  # lists are faster than arrays of a few elements
        for place, swaps in enumerate(rows.tolist()):
            order[place] = _exchanged(list(range(n)), swaps)
    else:
        for i in range(rows.shape[1]):
            other = rows[:, i] - 1
            order[each, i], order[each, other] = order[each, other], order[each, i]
    out = np.zeros((len(rows), n, n), kind)
    out[each[:, None], order, np.arange(n)] = 1
    return out.reshape(*lead, n, n)


@structured(
    out=True,
    outputs=3,
    fields=("P", "L", "U"),
    result="linalg_lu",
    fixed=(0,),
    method=False,
    node="LinalgLuBackward0",
    grad={
        "A": lambda m, g, out0, out1, out2: _gradient(m, g[1], g[2], out0, out1, out2),
    },
)
def linalg_lu(A: Array, *, pivot: bool = True) -> tuple[Array, Array, Array]:
    """P, L, U with A = P L U: a permutation, unit lower and upper triangular.

    >>> P, L, U = flambeau.linalg.lu(flambeau.tensor([[2.0, 1.0], [4.0, 8.0]]))
    >>> L
    tensor([[1.0000, 0.0000],
            [0.5000, 1.0000]])
    >>> P @ L @ U
    tensor([[2., 1.],
            [4., 8.]])
    """
    compact, pivots, _ = _checked("linalg.lu", A, pivot)
    k = min(A.shape[-2:])
    lower = np.tril(compact[..., :, :k], -1)
    place = np.arange(k)
    lower[..., place, place] = 1
    return permutation(pivots, A.shape[-2], A.dtype), lower, np.triu(compact[..., :k, :])


def _zero_on_diagonal(info: int) -> str:
    return (
        f"U[{info},{info}] is zero and using it on lu_solve would result in a division by zero. If "
        "you still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
        "linalg.lu_factor_ex(A, pivot)"
    )


@structured(
    out=True,
    outputs=3,
    fields=("LU", "pivots", "info"),
    method=False,
    node="LinalgLuFactorExBackward0",
    grad={"A": lambda m, g, out0, out1: _compact_gradient(m, g[0], out0, out1)},
)
def linalg_lu_factor_ex(
    A: Array, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Array, Array, Array]:
    """L and U in one matrix, the row exchanges (int32, from one), and where U has its first zero.

    The last are int32, counted from one; 0 says that there is none.

    >>> LU, pivots, info = flambeau.linalg.lu_factor_ex(flambeau.tensor([[1.0, 1.0], [1.0, 1.0]]))
    >>> LU, info
    (tensor([[1., 1.],
            [1., 0.]]), tensor(2, dtype=torch.int32))
    """
    compact, pivots, info = _checked("linalg.lu_factor", A, pivot)
    if check_errors:
        check_infos("torch.linalg.lu_factor_ex", info, _zero_on_diagonal, RuntimeError)
    return compact, pivots, info


@structured(
    out=True,
    outputs=2,
    fields=("LU", "pivots"),
    method=False,
    node="LinalgLuFactorExBackward0",
    meta=lambda A, pivot: _checked("linalg.lu_factor", A, pivot)[:2],
    grad={"A": lambda m, g, out0, out1: _compact_gradient(m, g[0], out0, out1)},
)
def linalg_lu_factor(A: Array, *, pivot: bool = True) -> tuple[Array, Array]:
    """L and U in one matrix, and the row exchanges (int32, from one); U must be regular.

    >>> LU, pivots = flambeau.linalg.lu_factor(flambeau.tensor([[2.0, 1.0], [4.0, 8.0]]))
    >>> LU, pivots
    (tensor([[ 4.0000,  8.0000],
            [ 0.5000, -3.0000]]), tensor([2, 2], dtype=torch.int32))
    """
    compact, pivots, info = _checked("linalg.lu_factor", A, pivot)
    check_infos("torch.linalg.lu_factor", info, _zero_on_diagonal, RuntimeError)
    return compact, pivots


@composite(out=True, spellings={"input": "A"})
def lu(m: Any, A: Array, pivot: bool = True, get_infos: bool = False) -> Any:
    """`linalg_lu_factor` under its old name, with infos if asked; singular matrices are taken.

    >>> LU, pivots = flambeau.tensor([[1.0, 3.0], [2.0, 2.0]]).lu()
    >>> LU, pivots
    (tensor([[2.0000, 2.0000],
            [0.5000, 2.0000]]), tensor([2, 2], dtype=torch.int32))
    """
    found = m.linalg_lu_factor_ex(A, pivot=pivot)
    return found if get_infos else (found[0], found[1])


# ---------------------------------------------------------------- what factors stand for
@structured(method=False, excuse="a permutation")
def pivot_matrix(pivots: Array, n: int, like: Array) -> Array:
    """The permutation matrices that row exchanges stand for, of the dtype of `like`."""
    if pivots.size and (pivots.min() < 1 or pivots.max() > n):
        raise RuntimeError(
            "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive. Did you "
            "properly pass the result of lu_factor?"
        )
    return permutation(pivots, n, like.dtype)


def unit_lower(m: Any, compact: Any, k: int) -> Any:
    """The first `k` columns' part below the diagonal, with ones on it."""
    lower = m.tril(m.narrow(compact, -1, 0, k), -1)
    return lower + m.identity(m.constant(compact), compact.shape[-2], k)


def _check_pivots(m: Any, pivots: Any) -> None:
    kind = m.dtype(pivots)
    if kind.numpy_dtype != np.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            f"dtype, got {kind}. Note: this function is intended to be used with the output "
            "produced by torch.linalg.lu_factor"
        )


@composite(method=False, out=True, outputs=3, fields=("P", "L", "U"))
def lu_unpack(
    m: Any,
    LU_data: Array,
    LU_pivots: Array,
    unpack_data: bool = True,
    unpack_pivots: bool = True,
) -> tuple[Array, Array, Array]:
    """P, L, U from what `linalg_lu_factor` returns; what is not wanted is empty.

    >>> LU, pivots = flambeau.linalg.lu_factor(flambeau.tensor([[2.0, 1.0], [4.0, 8.0]]))
    >>> flambeau.lu_unpack(LU, pivots).U
    tensor([[ 4.,  8.],
            [ 0., -3.]])
    """
    k = min(LU_data.shape[-2:])
    none = m.narrow(m.reshape(m.constant(LU_data), (-1,)), 0, 0, 0)
    p = none
    if unpack_pivots:
        _check_pivots(m, LU_pivots)
        p = m.pivot_matrix(LU_pivots, LU_data.shape[-2], m.constant(LU_data))
    if not unpack_data:
        return p, none, none
    return p, unit_lower(m, LU_data, k), m.triu(m.narrow(LU_data, -2, 0, k))


def _check_solvable(m: Any, compact: Any, pivots: Any, b: Any, left: bool) -> None:
    if compact.ndim < 2 or compact.shape[-1] != compact.shape[-2]:
        raise RuntimeError(
            "torch.linalg.lu_solve: A must be batches of square matrices, but they are "
            f"{list(compact.shape)}"
        )
    if m.dtype(compact) != m.dtype(b):
        raise RuntimeError(
            "linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type "
            f"{m.dtype(compact).title} and B of type {m.dtype(b).title} instead"
        )
    if m.dtype(pivots).numpy_dtype != np.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    if b.ndim < 2 or b.shape[-2 if left else -1] != compact.shape[-1]:
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(compact.shape)} and {list(b.shape)})"
        )
    if tuple(pivots.shape) != tuple(compact.shape[:-1]):
        raise RuntimeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the "
            f"matrix ({list(compact.shape)} and {list(pivots.shape)})"
        )


@composite(method=False, out=True)
def linalg_lu_solve(
    m: Any,
    LU: Array,
    pivots: Array,
    B: Array,
    *,
    left: bool = True,
    adjoint: bool = False,
) -> Array:
    """X with A X = B, where `LU` and `pivots` are the factorization of A.

    X A = B unless `left`; the conjugate transpose of A takes its place with `adjoint`.

    >>> LU, pivots = flambeau.linalg.lu_factor(flambeau.tensor([[2.0, 1.0], [4.0, 8.0]]))
    >>> flambeau.linalg.lu_solve(LU, pivots, flambeau.tensor([[4.0], [20.0]]))
    tensor([[1.],
            [2.]])
    """
    _check_solvable(m, LU, pivots, B, left)
    if not left:
        turned = m.conj(m.transpose(B, -2, -1))
        x = m.linalg_lu_solve(LU, pivots, turned, adjoint=not adjoint)
        return m.conj(m.transpose(x, -2, -1))
    p = m.pivot_matrix(pivots, LU.shape[-2], m.constant(LU))
    if not adjoint:
        half = m.linalg_solve_triangular(
            LU, m.matmul(m.transpose(p, -2, -1), B), upper=False, unitriangular=True
        )
        return m.linalg_solve_triangular(LU, half, upper=True)
    turned = m.conj(m.transpose(LU, -2, -1))
    half = m.linalg_solve_triangular(turned, B, upper=False)
    return m.matmul(p, m.linalg_solve_triangular(turned, half, upper=True, unitriangular=True))


@composite(out=True, spellings={"input": "b"})
def lu_solve(m: Any, b: Array, LU_data: Array, LU_pivots: Array) -> Array:
    """X with A X = b, where the last two are the factorization of A.

    >>> LU, pivots = flambeau.linalg.lu_factor(flambeau.tensor([[0.0, 2.0], [4.0, 0.0]]))
    >>> flambeau.lu_solve(flambeau.tensor([[6.0], [4.0]]), LU, pivots)
    tensor([[1.],
            [3.]])
    """
    return m.linalg_lu_solve(LU_data, LU_pivots, b)
