"""Factors of symmetric and Hermitian matrices: Cholesky's and Bunch and Kaufman's LDL.

The derivative of the Cholesky factor follows Murray, "Differentiation of the Cholesky
decomposition" (2016). All act on the matrices in the last two dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu import small_factors
from ..compiler import blas_threads
from .decompositions import adjoint, check_infos, check_matrix, each_matrix, lapack
from .promotion import title
from .record import Array, structured
from .shape import common_shape
from .triangular import check_right_hand_side, solved


# ---------------------------------------------------------------- Cholesky
def _cholesky_gradient(m: Any, g: Any, out: Any, upper: bool) -> Any:
    lower, g = (adjoint(m, out), adjoint(m, g)) if upper else (out, g)
    part = m.tril(m.matmul(adjoint(m, lower), g))
    middle = (part + adjoint(m, m.tril(part, -1))) * 0.5
    right = m.linalg_solve_triangular(lower, middle, upper=False, left=False)
    return m.linalg_solve_triangular(adjoint(m, lower), right, upper=True)


def _cholesky_factors(a: Array, upper: bool) -> tuple[Array, Array]:
    """The factors, and for each matrix the order of the first minor that is not positive."""
    # LAPACK reads one triangle; NumPy's call reads the lower one.
    source = np.conj(np.swapaxes(a, -1, -2)) if upper else a
    with blas_threads.for_matrices(a):
        try:
            lower = np.linalg.cholesky(source)
            info: Any = 0
        except np.linalg.LinAlgError:
            factor = lapack("potrf", a.dtype)
            lower, info = each_matrix(source, lambda x: factor(x, lower=True, clean=True))
    unknown = np.isnan(np.diagonal(lower, 0, -2, -1))
    if unknown.any():  # NaN is not positive, though not every LAPACK says so
        info = np.where(unknown.any(-1), unknown.argmax(-1) + 1, info)
    info = np.broadcast_to(np.asarray(info, np.int32), a.shape[:-2]).copy()
    return np.conj(np.swapaxes(lower, -1, -2)) if upper else lower, info


def _not_positive(info: int) -> str:
    return (
        "The factorization could not be completed because the input is not positive-definite (the "
        f"leading minor of order {info} is not positive-definite)."
    )


@structured(
    out=True,
    aliases=("cholesky",),
    spellings={"A": "input"},
    node="LinalgCholeskyExBackward0",
    meta=lambda input, upper: input + 0,
    grad={"input": lambda m, g, out, upper: _cholesky_gradient(m, g, out, upper)},
)
def linalg_cholesky(input: Array, upper: bool = False) -> Array:
    """L with L L^H = input, lower triangular (or its conjugate transpose with `upper`).

    >>> flambeau.linalg.cholesky(flambeau.tensor([[4.0, 2.0], [2.0, 10.0]]))
    tensor([[2., 0.],
            [1., 3.]])
    """
    check_matrix("linalg.cholesky", input, square=True)
    factors, info = _cholesky_factors(input, upper)
    check_infos("linalg.cholesky", info, _not_positive)
    return factors


@structured(
    out=True,
    outputs=2,
    fields=("L", "info"),
    method=False,
    spellings={"A": "input"},
    node="LinalgCholeskyExBackward0",
    grad={"input": lambda m, g, out0, upper: _cholesky_gradient(m, g[0], out0, upper)},
)
def linalg_cholesky_ex(
    input: Array, *, upper: bool = False, check_errors: bool = False
) -> tuple[Array, Array]:
    """The Cholesky factors, and 0 or the order of the first minor that is not positive (int32).

    >>> L, info = flambeau.linalg.cholesky_ex(flambeau.tensor([[[9.0]], [[-9.0]]]))
    >>> info
    tensor([0, 1], dtype=torch.int32)
    """
    check_matrix("linalg.cholesky_ex", input, square=True)
    factors, info = _cholesky_factors(input, upper)
    if check_errors:
        check_infos("linalg.cholesky_ex", info, _not_positive)
    return factors, info


def _factor_gradient(m: Any, both: Any, factor_: Any, upper: bool) -> Any:
    return -m.matmul(factor_, both) if upper else -m.matmul(both, factor_)


def _solve_gradient(m: Any, g: Any, out: Any, factor_: Any, upper: bool) -> Any:
    product = m.matmul(m.cholesky_solve(g, factor_, upper), adjoint(m, out))
    return _factor_gradient(m, product + adjoint(m, product), factor_, upper)


def _solved_by_factor(factor_: Array, b: Array, upper: bool) -> Array:
    """X with A X = b, where `factor_` is the Cholesky factor of A; only its triangle is read."""
    turned = np.conj(np.swapaxes(factor_, -1, -2))
    lower, higher = (turned, factor_) if upper else (factor_, turned)
    return solved(higher, solved(lower, b, upper=False), upper=True)


@structured(
    out=True,
    spellings={"input2": "L"},
    grad={
        "input": lambda m, g, L, upper: m.cholesky_solve(g, L, upper),
        "L": lambda m, g, L, out, upper: _solve_gradient(m, g, out, L, upper),
    },
)
def cholesky_solve(input: Array, L: Array, upper: bool = False) -> Array:
    """X with A X = input, where `L` is the Cholesky factor of A.

    >>> L = flambeau.tensor([[2.0, 0.0], [1.0, 3.0]])
    >>> flambeau.cholesky_solve(flambeau.tensor([[8.0], [22.0]]), L)
    tensor([[1.],
            [2.]])
    """
    if input.ndim < 2 or L.ndim < 2:
        raise RuntimeError(
            "cholesky_solve: b and u should have at least 2 dimensions, but have "
            f"{input.ndim} and {L.ndim}"
        )
    check_matrix("cholesky_solve", L, square=True)
    if input.shape[-2] != L.shape[-1]:
        raise RuntimeError(
            f"cholesky_solve: Incompatible matrix sizes: {list(input.shape)} and {list(L.shape)}"
        )
    return _solved_by_factor(L, input, upper)


def _inverse_gradient(m: Any, g: Any, out: Any, factor_: Any, upper: bool) -> Any:
    both = m.matmul(out, m.matmul(g + adjoint(m, g), out))
    return _factor_gradient(m, both, factor_, upper)


@structured(
    out=True,
    spellings={"input": "L"},
    grad={
        "L": lambda m, g, L, out, upper: _inverse_gradient(m, g, out, L, upper),
    },
)
def cholesky_inverse(L: Array, upper: bool = False) -> Array:
    """The inverse of A, where `L` is the Cholesky factor of A.

    >>> flambeau.cholesky_inverse(flambeau.tensor([[1.0, 0.0], [1.0, 1.0]]))
    tensor([[ 2., -1.],
            [-1.,  1.]])
    """
    check_matrix("cholesky_inverse", L, square=True)
    eye = np.broadcast_to(np.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return _solved_by_factor(L, eye, upper)


# ---------------------------------------------------------------- LDL
def _routine(kind: Any, hermitian: bool, stage: str) -> Any:
    """LAPACK's routine for symmetric or Hermitian matrices of the dtype `kind`."""
    return lapack(f"{'he' if hermitian and kind.kind == 'c' else 'sy'}{stage}", kind)


def _ldl_factors(a: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    """The compact factors, LAPACK's pivots and infos."""
    found = small_factors.ldl(a)
    if found is not None:
        return found
    n = a.shape[-1]
    factor = _routine(a.dtype, hermitian, "trf")

    def one(x: Array) -> tuple[Array, Array, Array]:
        if not n:
            return x.copy(), np.zeros(0, np.int32), np.zeros((), np.int32)
        compact, pivots, info = factor(np.tril(x), lower=True, lwork=64 * n)
        return compact, pivots, np.asarray(info)

    with blas_threads.for_matrices(a):
        compact, pivots, info = each_matrix(a, one)
    return np.tril(compact), pivots.astype(np.int32), info.astype(np.int32)


def _no_ldl(info: int) -> str:
    return f"D[{info},{info}] is zero, so the factorization cannot be used to solve a system."


@structured(
    spellings={"input": "A"},
    out=True,
    outputs=3,
    fields=("LD", "pivots", "info"),
    method=False,
    excuse="PyTorch has no derivative for it",
)
def linalg_ldl_factor_ex(
    A: Array, *, hermitian: bool = False, check_errors: bool = False
) -> tuple[Array, Array, Array]:
    """Unit lower triangular L and block-diagonal D in one matrix, LAPACK's pivots, and infos.

    A = L D L^T (L D L^H if `hermitian`) up to the pivots, from A's lower triangle. Pivots are int32
    and count from one; two equal negative ones mark a block of two rows (Bunch and Kaufman, 1977).

    >>> LD, pivots, info = flambeau.linalg.ldl_factor_ex(flambeau.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> LD, info
    (tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]]), tensor(0, dtype=torch.int32))
    """
    check_matrix("torch.linalg.ldl_factor_ex", A, square=True)
    compact, pivots, info = _ldl_factors(A, hermitian)
    if check_errors:
        check_infos("linalg.ldl_factor_ex", info, _no_ldl)
    return compact, pivots, info


@structured(
    spellings={"input": "A"},
    out=True,
    outputs=2,
    fields=("LD", "pivots"),
    method=False,
    meta=lambda A, hermitian: _ldl_factors(A, hermitian)[:2],
    excuse="PyTorch has no derivative for it",
)
def linalg_ldl_factor(A: Array, *, hermitian: bool = False) -> tuple[Array, Array]:
    """`linalg_ldl_factor_ex` without infos; LinAlgError where D is singular.

    >>> LD, pivots = flambeau.linalg.ldl_factor(flambeau.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> LD, pivots
    (tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]]), tensor([1, 2], dtype=torch.int32))
    """
    check_matrix("torch.linalg.ldl_factor", A, square=True)
    compact, pivots, info = _ldl_factors(A, hermitian)
    check_infos("linalg.ldl_factor", info, _no_ldl)
    return compact, pivots


def _check_ldl(ld: Array, pivots: Array, b: Array) -> None:
    check_matrix("torch.linalg.ldl_solve", ld, square=True)
    if pivots.dtype.kind not in "iu":
        raise RuntimeError(
            f"torch.linalg.ldl_solve: Expected pivots to be integers. Got {title(pivots)}"
        )
    if pivots.shape != ld.shape[:-1]:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but "
            f"got pivots with shape {list(pivots.shape)} instead"
        )
    if ld.dtype != b.dtype:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected b and A to have the same dtype, but found b of type "
            f"{title(b)} and A of type {title(ld)} instead"
        )
    check_right_hand_side("torch.linalg.ldl_solve", ld, b)
    if not _is_pivoting(pivots.astype(np.int64)):
        raise RuntimeError(
            f"torch.linalg.ldl_solve: pivots must lie between 1 and {ld.shape[-1]} in size, and "
            "negative ones must come in pairs"
        )


def _is_pivoting(pivots: Array) -> bool:
    """Whether LAPACK can follow the pivots without leaving the matrix."""
    n = pivots.shape[-1]
    if ((np.abs(pivots) < 1) | (np.abs(pivots) > n)).any():
        return False
    half = np.zeros(pivots.shape[:-1], bool)  # inside a block of two rows
    for k in range(n):
        negative = pivots[..., k] < 0
        if (half & ~negative).any():
            return False
        half = negative & ~half
    return not half.any()


@structured(
    out=True,
    method=False,
    meta=lambda LD, pivots, B, hermitian: np.zeros(
        (*common_shape([LD.shape[:-2], B.shape[:-2]]), *B.shape[-2:]), LD.dtype
    ),
    excuse="PyTorch has no derivative for it",
)
def linalg_ldl_solve(LD: Array, pivots: Array, B: Array, *, hermitian: bool = False) -> Array:
    """X with A X = B, where `LD` and `pivots` are the LDL factorization of A.

    >>> LD, pivots = flambeau.linalg.ldl_factor(flambeau.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> flambeau.linalg.ldl_solve(LD, pivots, flambeau.tensor([[8.0], [8.0]]))
    tensor([[1.],
            [2.]])
    """
    _check_ldl(LD, pivots, B)
    lead = common_shape([LD.shape[:-2], B.shape[:-2]])
    out = np.array(np.broadcast_to(B, (*lead, *B.shape[-2:])))
    if not out.size:
        return out
    ld = np.broadcast_to(LD, (*lead, *LD.shape[-2:]))
    swaps = np.broadcast_to(pivots, (*lead, pivots.shape[-1])).astype(np.intc)
    found = small_factors.ldl_solved(ld, swaps, out)
    if found is not None:
        return found
    solve = _routine(LD.dtype, hermitian, "trs")
    with blas_threads.for_matrices(LD):
        for place in np.ndindex(*lead):
            out[place] = solve(ld[place], swaps[place], out[place], lower=True)[0]
    return out
