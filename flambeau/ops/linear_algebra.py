"""Solving with matrices: inverses, determinants, powers, norms, least squares.

All act on the matrices in the last two dimensions. LAPACK does the work, through NumPy and SciPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .decompositions import adjoint, check_matrix, factor, linalg_error, permutation
from .promotion import title
from .record import Array, composite, structured
from .shape import common_shape


# ---------------------------------------------------------------- constants of the right device
@structured(method=False, excuse="a constant")
def identity(input: Array, rows: int, columns: int) -> Array:
    """The identity matrix of the dtype of `input`, with ones on the diagonal."""
    return np.eye(rows, columns, dtype=input.dtype)


@structured(method=False, excuse="a constant")
def no_errors(input: Array) -> Array:
    """A zero for each matrix of a batch, int32: all went well."""
    return np.zeros(input.shape[:-2], np.int32)


def _regular(a: Array) -> Array:
    """Identity matrices in place of `a`, for which everything can be computed."""
    return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape) if a.ndim > 1 else a


# ---------------------------------------------------------------- systems
def _is_vector(a_shape: Any, b_shape: Any) -> bool:
    """Whether the right-hand side is a vector (or a batch of vectors), as PyTorch decides."""
    return len(b_shape) == 1 or (
        len(a_shape) - 1 == len(b_shape) and tuple(b_shape) == tuple(a_shape)[:-1]
    )


def _solve_gradient(m: Any, g: Any, a: Any, b_shape: Any, left: bool) -> Any:
    return (
        m.linalg_solve(adjoint(m, a), g, left=left)
        if not _is_vector(a.shape, b_shape)
        else (m.squeeze(m.linalg_solve(adjoint(m, a), m.unsqueeze(g, -1)), -1))
    )


def _matrix_gradient(m: Any, h: Any, out: Any, a: Any, b_shape: Any, left: bool) -> Any:
    """The gradient of A, where `h` is that of B."""
    if _is_vector(a.shape, b_shape):
        h, out = m.unsqueeze(h, -1), m.unsqueeze(out, -1)
    pair = (h, adjoint(m, out)) if left else (adjoint(m, out), h)
    return -m.matmul(*pair)


@structured(
    out=True,
    method=False,
    node="LinalgSolveExBackward0",
    meta=lambda A, B, left: linalg_solve.forward(_regular(A), B, left=left),
    grad={
        "A": lambda m, g, A, out, B_shape, left: _matrix_gradient(
            m, _solve_gradient(m, g, A, B_shape, left), out, A, B_shape, left
        ),
        "B": lambda m, g, A, B_shape, left: _solve_gradient(m, g, A, B_shape, left),
    },
)
def linalg_solve(A: Array, B: Array, *, left: bool = True) -> Array:
    """X with A X = B (X A = B unless `left`); B holds matrices, or vectors where it fits."""
    check_matrix("linalg.solve", A, square=True)
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but got A of type {title(A)} "
            f"and B of type {title(B)} instead"
        )
    vector = _is_vector(A.shape, B.shape)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting is not supported for left=False.")
    b = B[..., None] if vector else B
    n = A.shape[-1]
    if b.shape[-2 if left else -1] != n:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(A.shape)} and {list(B.shape)})"
        )
    lead = common_shape([A.shape[:-2], b.shape[:-2]])
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    try:
        if left:
            x = np.linalg.solve(A, b)
        else:
            x = np.swapaxes(np.linalg.solve(np.swapaxes(A, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    except np.linalg.LinAlgError:
        raise linalg_error(
            "solve", ValueError("The solver failed because the input matrix is singular.")
        ) from None
    return x[..., 0] if vector else x


def _triangle(m: Any, x: Any, upper: bool, unit: bool) -> Any:
    return (m.triu if upper else m.tril)(x, (1 if upper else -1) if unit else 0)


def _triangular_gradient(m: Any, g: Any, a: Any, upper: bool, left: bool, unit: bool) -> Any:
    return m.linalg_solve_triangular(
        adjoint(m, a), g, upper=not upper, left=left, unitriangular=unit
    )


@structured(
    out=True,
    method=False,
    grad={
        "A": lambda m, g, A, out, upper, left, unitriangular: _triangle(
            m,
            _matrix_gradient(
                m, _triangular_gradient(m, g, A, upper, left, unitriangular), out, A,
                (0, *A.shape), left,
            ),
            upper,
            unitriangular,
        ),
        "B": lambda m, g, A, upper, left, unitriangular: _triangular_gradient(
            m, g, A, upper, left, unitriangular
        ),
    },
)  # fmt: skip
def linalg_solve_triangular(
    A: Array,
    B: Array,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Array:
    """X with A X = B (X A = B unless `left`), where only one triangle of A is read."""
    check_matrix("linalg.solve_triangular", A, square=True)
    a = (np.triu if upper else np.tril)(A)
    if unitriangular:
        place = np.arange(a.shape[-1])
        a[..., place, place] = 1
    if B.ndim < 2 or B.shape[-2 if left else -1] != a.shape[-1]:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(A.shape)} and {list(B.shape)})"
        )
    b = B
    if not left:
        a, b, upper = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not upper
    lead = common_shape([a.shape[:-2], b.shape[:-2]])
    a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    x = _substitute(a, b, upper)
    return x if left else np.swapaxes(x, -1, -2)


def _substitute(a: Array, b: Array, upper: bool) -> Array:
    """Back or forward substitution over the rows, for all matrices of a batch at once."""
    n = a.shape[-1]
    x = np.zeros(b.shape, np.result_type(a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in reversed(range(n)) if upper else range(n):
            rest = slice(i + 1, n) if upper else slice(0, i)
            known = a[..., i : i + 1, rest] @ x[..., rest, :]
            x[..., i, :] = (b[..., i, :] - known[..., 0, :]) / a[..., i, i, None]
    return x


@composite()
def triangular_solve(
    m: Any,
    input: Array,
    A: Array,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> tuple[Array, Array]:
    """X with A X = input for triangular A, and A itself."""
    a = m.transpose(A, -2, -1) if transpose else A
    x = m.linalg_solve_triangular(a, input, upper=upper != transpose, unitriangular=unitriangular)
    return x, m.clone(A)


def _solved(factor_: Array, b: Array, upper: bool) -> Array:
    """X with A X = b, where `factor_` is the Cholesky factor of A; only its triangle is read."""
    lower = np.tril(np.conj(np.swapaxes(factor_, -1, -2)) if upper else factor_)
    lead = common_shape([lower.shape[:-2], b.shape[:-2]])
    lower = np.broadcast_to(lower, (*lead, *lower.shape[-2:]))
    half = _substitute(lower, np.broadcast_to(b, (*lead, *b.shape[-2:])), False)
    return _substitute(np.conj(np.swapaxes(lower, -1, -2)), half, True)


def _factor_gradient(m: Any, both: Any, factor_: Any, upper: bool) -> Any:
    return -m.matmul(factor_, both) if upper else -m.matmul(both, factor_)


def _cholesky_solve_gradient(m: Any, g: Any, out: Any, factor_: Any, upper: bool) -> Any:
    product = m.matmul(m.cholesky_solve(g, factor_, upper), adjoint(m, out))
    return _factor_gradient(m, product + adjoint(m, product), factor_, upper)


@structured(
    grad={
        "input": lambda m, g, L, upper: m.cholesky_solve(g, L, upper),
        "L": lambda m, g, L, out, upper: _cholesky_solve_gradient(m, g, out, L, upper),
    },
)
def cholesky_solve(input: Array, L: Array, upper: bool = False) -> Array:
    """X with A X = input, where `L` is the Cholesky factor of A."""
    check_matrix("cholesky_solve", L, square=True)
    if input.ndim < 2 or input.shape[-2] != L.shape[-1]:
        raise RuntimeError(
            f"cholesky_solve: Incompatible matrix sizes: {list(input.shape)} and {list(L.shape)}"
        )
    return _solved(L, input, upper)


def _cholesky_inverse_gradient(m: Any, g: Any, out: Any, factor_: Any, upper: bool) -> Any:
    both = m.matmul(out, m.matmul(g + adjoint(m, g), out))
    return _factor_gradient(m, both, factor_, upper)


@structured(
    grad={
        "L": lambda m, g, L, out, upper: _cholesky_inverse_gradient(m, g, out, L, upper),
    },
)
def cholesky_inverse(L: Array, upper: bool = False) -> Array:
    """The inverse of A, where `L` is the Cholesky factor of A."""
    check_matrix("cholesky_inverse", L, square=True)
    eye = np.broadcast_to(np.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return _solved(L, eye, upper)


def _inverse_gradient(m: Any, g: Any, out: Any) -> Any:
    turned = adjoint(m, out)
    return -m.matmul(turned, m.matmul(g, turned))


@structured(
    out=True,
    aliases=("inverse",),
    node="LinalgInvExBackward0",
    meta=lambda input: linalg_inv.forward(_regular(input)),
    grad={"input": lambda m, g, out: _inverse_gradient(m, g, out)},
)
def linalg_inv(input: Array) -> Array:
    """The inverse of each square matrix; LinAlgError if one is singular."""
    check_matrix("linalg.inv", input, square=True)
    try:
        return np.linalg.inv(input)
    except np.linalg.LinAlgError:
        raise linalg_error(
            "inv",
            ValueError(
                "The diagonal element is zero, the inversion could not be completed "
                "because the input matrix is singular."
            ),
        ) from None


@composite(method=False)
def linalg_inv_ex(m: Any, A: Array, *, check_errors: bool = False) -> Any:
    """The inverses, and zeros (int32) that say that all went well."""
    return m.linalg_inv(A), m.no_errors(A)


@composite(method=False)
def linalg_cholesky_ex(
    m: Any, input: Array, *, upper: bool = False, check_errors: bool = False
) -> Any:
    """The Cholesky factors, and zeros (int32) that say that all went well."""
    return m.linalg_cholesky(input, upper), m.no_errors(input)


@composite(method=False)
def linalg_solve_ex(
    m: Any,
    A: Array,
    B: Array,
    *,
    left: bool = True,
    check_errors: bool = False,
) -> Any:
    """The solution of A X = B, and zeros (int32) that say that all went well."""
    return m.linalg_solve(A, B, left=left), m.no_errors(A)


# ---------------------------------------------------------------- determinants
def _det_gradient(m: Any, g: Any, a: Any, out: Any) -> Any:
    weight = m.unsqueeze(m.unsqueeze(g * m.conj(out), -1), -1)
    if not bool(m.any(m.eq(out, 0))):
        return weight * adjoint(m, m.linalg_inv(a))
    # A singular matrix has no inverse, but its cofactors: products of all singular values but one.
    u, s, vh = m.linalg_svd(a, False)
    n = s.shape[-1]
    square = m.expand(m.unsqueeze(s, -2), (*s.shape[:-1], n, n))
    others = m.prod(m.where(m.from_numpy(np.eye(n, dtype=bool)), 1, square), -1)
    turn = m.conj(m.linalg_det(m.matmul(u, vh)))
    cofactors = m.matmul(u * m.unsqueeze(others, -2), vh) * m.unsqueeze(m.unsqueeze(turn, -1), -1)
    return m.unsqueeze(m.unsqueeze(g, -1), -1) * cofactors


@structured(
    out=True,
    aliases=("det",),
    node="LinalgDetBackward0",
    grad={"input": lambda m, g, input, out: _det_gradient(m, g, input, out)},
)
def linalg_det(input: Array) -> Array:
    """The determinant of each square matrix."""
    check_matrix("linalg.det", input, square=True)
    return np.asarray(np.linalg.det(input), input.dtype)


def _slogdet_gradient(m: Any, g: Any, a: Any, sign: Any) -> Any:
    weight = g[1]
    if m.dtype(a).is_complex:
        weight = m.complex(g[1], -m.imag(m.conj(g[0]) * sign))
    return m.unsqueeze(m.unsqueeze(weight, -1), -1) * adjoint(m, m.linalg_inv(a))


@structured(
    outputs=2,
    fields=("sign", "logabsdet"),
    result="linalg_slogdet",
    aliases=("slogdet",),
    node="LinalgSlogdetBackward0",
    grad={"A": lambda m, g, A, out0: _slogdet_gradient(m, g, A, out0)},
)
def linalg_slogdet(A: Array) -> tuple[Array, Array]:
    """The sign (or direction) and the logarithm of the size of each determinant."""
    check_matrix("linalg.slogdet", A, square=True)
    sign, size = np.linalg.slogdet(A)
    return np.asarray(sign, A.dtype), np.asarray(size, A.real.dtype)


@composite()
def logdet(m: Any, input: Array) -> Array:
    """The logarithm of each determinant; NaN where it is negative."""
    sign, size = m.linalg_slogdet(input)
    if m.dtype(input).is_complex:
        return m.log(sign) + size
    return m.where(sign < 0, math.nan, size)


# ---------------------------------------------------------------- powers
@composite(out=True, aliases=("matrix_power",))
def linalg_matrix_power(m: Any, input: Array, n: int) -> Array:
    """Each square matrix multiplied with itself; a negative power inverts first."""
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are "
            f"{list(input.shape)}"
        )
    if n < 0:
        input, n = m.linalg_inv(input), -n
    if n == 0:
        return m.mul(input, 0) + m.identity(m.constant(input), input.shape[-1], input.shape[-1])
    result = None
    while True:
        if n % 2:
            result = input if result is None else m.matmul(result, input)
        n //= 2
        if not n:
            return m.clone(result) if result is input else result
        input = m.matmul(input, input)


def _exponential_gradient(m: Any, g: Any, a: Any) -> Any:
    turned, n = adjoint(m, a), a.shape[-1]
    zero = m.mul(turned, 0)
    block = m.cat([m.cat([turned, g], -1), m.cat([zero, turned], -1)], -2)
    return m.narrow(m.narrow(m.linalg_matrix_exp(block), -2, 0, n), -1, n, n)


@structured(
    aliases=("matrix_exp",),
    node="LinalgMatrixExpBackward0",
    grad={"A": lambda m, g, A: _exponential_gradient(m, g, A)},
)
def linalg_matrix_exp(A: Array) -> Array:
    """The exponential series of each square matrix (Al-Mohy and Higham, 2009)."""
    check_matrix("linalg.matrix_exp", A, square=True)
    from scipy import linalg

    if not A.size:
        return A.copy()
    wide = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64, copy=False)
    return np.asarray(linalg.expm(wide)).astype(A.dtype, copy=False)


# ---------------------------------------------------------------- LU
@structured(method=False, excuse="integers")
def lu_pivots(A: Array) -> Array:
    """LAPACK's row exchanges, int32, counted from one."""
    return factor(A)[1]


@composite(method=False)
def linalg_lu_factor(m: Any, A: Array, *, pivot: bool = True) -> Any:
    """L and U in one matrix, and the row exchanges (int32, counted from one)."""
    check = m.linalg_lu(A, pivot=pivot)
    lower, upper = check[1], check[2]
    k = lower.shape[-1]
    rows, columns = lower.shape[-2], upper.shape[-1]
    below = m.tril(m.narrow(lower, -2, 0, k), -1)
    if columns > k:
        wide = m.mul(m.narrow(upper, -1, k, columns - k), 0)
        below = m.cat([below, wide], -1)
    compact = below + upper
    if rows > k:
        compact = m.cat([compact, m.narrow(lower, -2, k, rows - k)], -2)
    return compact, m.lu_pivots(A)


@composite(method=False)
def linalg_lu_factor_ex(m: Any, A: Array, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`linalg_lu_factor`, and zeros (int32) that say that all went well."""
    compact, pivots = m.linalg_lu_factor(A, pivot=pivot)
    return compact, pivots, m.no_errors(A)


@composite()
def lu(m: Any, A: Array, pivot: bool = True, get_infos: bool = False) -> Any:
    """`linalg_lu_factor` under its old name, with infos if asked."""
    found = m.linalg_lu_factor_ex(A, pivot=pivot)
    return found if get_infos else found[:2]


@structured(method=False, excuse="a permutation")
def pivot_matrix(pivots: Array, n: int, like: Array) -> Array:
    """The permutation matrices that row exchanges stand for, of the dtype of `like`."""
    return permutation(pivots, n, like.dtype)


def _unit_lower(m: Any, compact: Any, k: int) -> Any:
    lower = m.tril(m.narrow(compact, -1, 0, k), -1)
    return lower + m.identity(m.constant(compact), compact.shape[-2], k)


@composite(method=False)
def lu_unpack(
    m: Any,
    LU_data: Array,
    LU_pivots: Array,
    unpack_data: bool = True,
    unpack_pivots: bool = True,
) -> tuple[Array, Array, Array]:
    """P, L, U from what `linalg_lu_factor` returns."""
    k = min(LU_data.shape[-2:])
    none = m.narrow(m.reshape(m.constant(LU_data), (-1,)), 0, 0, 0)
    p = m.pivot_matrix(LU_pivots, LU_data.shape[-2], m.constant(LU_data)) if unpack_pivots else none
    if not unpack_data:
        return p, none, none
    return p, _unit_lower(m, LU_data, k), m.triu(m.narrow(LU_data, -2, 0, k))


@composite(method=False)
def linalg_lu_solve(
    m: Any,
    LU: Array,
    pivots: Array,
    B: Array,
    *,
    left: bool = True,
    adjoint: bool = False,
) -> Array:
    """X with A X = B, where `LU` and `pivots` are the factorization of A."""
    p, lower, upper = m.lu_unpack(LU, pivots)
    a = m.matmul(p, m.matmul(lower, upper))
    a = m.conj(m.transpose(a, -2, -1)) if adjoint else a
    return m.linalg_solve(a, B, left=left)


@composite()
def lu_solve(m: Any, b: Array, LU_data: Array, LU_pivots: Array) -> Array:
    """X with A X = b, where the last two are the factorization of A."""
    return m.linalg_lu_solve(LU_data, LU_pivots, b)


# ---------------------------------------------------------------- reflections
@composite(method=False)
def linalg_householder_product(m: Any, A: Array, tau: Array) -> Array:
    """The first columns of the product of Householder reflections, vectors in A's columns."""
    rows, columns = A.shape[-2], A.shape[-1]
    out = m.mul(A, 0) + m.identity(m.constant(A), rows, columns)
    v = _unit_lower(m, A, columns)
    for i in reversed(range(tau.shape[-1])):
        column = m.narrow(v, -1, i, 1)
        t = m.unsqueeze(m.narrow(tau, -1, i, 1), -1)
        out = out - m.matmul(column * t, m.matmul(adjoint(m, column), out))
    return out
