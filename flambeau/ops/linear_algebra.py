"""Solving with matrices: inverses, determinants, powers, norms, least squares.

All act on the matrices in the last two dimensions. LAPACK does the work, through NumPy and SciPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compiler import blas_threads
from .decompositions import adjoint, check_infos, check_matrix
from .lu_factors import factored, permutation
from .promotion import title
from .record import Array, composite, structured
from .shape import common_shape
from .triangular import solved


# ---------------------------------------------------------------- constants of the right device
@structured(method=False, excuse="a constant")
def identity(input: Array, rows: int, columns: int) -> Array:
    """The identity matrix of the dtype of `input`, with ones on the diagonal."""
    return np.eye(rows, columns, dtype=input.dtype)


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


_SOLVE_RULES: dict[str, Any] = {
    "A": lambda m, g, A, out, B_shape, left: _matrix_gradient(
        m, _solve_gradient(m, g, A, B_shape, left), out, A, B_shape, left
    ),
    "B": lambda m, g, A, B_shape, left: _solve_gradient(m, g, A, B_shape, left),
}


def _solution(name: str, a: Array, b: Array, left: bool) -> tuple[Array, Array]:
    """X with A X = B, and LAPACK's infos: where elimination met its first zero, from one."""
    check_matrix(name, a, square=True)
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but got A of type {title(a)} "
            f"and B of type {title(b)} instead"
        )
    vector = _is_vector(a.shape, b.shape)
    if vector and not left:
        raise RuntimeError(f"{name}: Vector broadcasting is not supported for left=False.")
    b = b[..., None] if vector else b
    n = a.shape[-1]
    if b.ndim < 2 or b.shape[-2 if left else -1] != n:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(a.shape)} and {list(b.shape)})"
        )
    lead = common_shape([a.shape[:-2], b.shape[:-2]])
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    info = np.zeros(lead, np.int32)
    if not left:
        a, b = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)
    with blas_threads.for_matrices(a):
        try:
            x = np.linalg.solve(a, b)
        except np.linalg.LinAlgError:
            x, info = _solution_by_factors(np.broadcast_to(a, (*lead, n, n)), b)
    x = x if left else np.swapaxes(x, -1, -2)
    return x[..., 0] if vector else x, info


def _solution_by_factors(a: Array, b: Array) -> tuple[Array, Array]:
    """X with A X = B where some A are singular: their X hold infinities and NaNs."""
    compact, pivots, info = factored(a)
    p = permutation(pivots, a.shape[-1], a.dtype)
    half = solved(compact, np.swapaxes(p, -1, -2) @ b, upper=False, unit=True)
    return solved(compact, half, upper=True), info


def _is_singular(_: int) -> str:
    return "The solver failed because the input matrix is singular."


@structured(
    out=True,
    method=False,
    node="LinalgSolveExBackward0",
    meta=lambda A, B, left: linalg_solve.forward(_regular(A), B, left=left),
    grad=_SOLVE_RULES,
)
def linalg_solve(A: Array, B: Array, *, left: bool = True) -> Array:
    """X with A X = B (X A = B unless `left`); B holds matrices, or vectors where it fits.

    >>> A, B = flambeau.tensor([[2.0, 0.0], [1.0, 4.0]]), flambeau.tensor([2.0, 9.0])
    >>> flambeau.linalg.solve(A, B)
    tensor([1., 2.])
    """
    x, info = _solution("linalg.solve", A, B, left)
    check_infos("torch.linalg.solve", info, _is_singular)
    return x


@structured(
    out=True,
    outputs=2,
    fields=("result", "info"),
    method=False,
    node="LinalgSolveExBackward0",
    meta=lambda A, B, left, check_errors: _solution("linalg.solve", _regular(A), B, left),
    grad={
        "A": lambda m, g, A, out0, B_shape, left: _SOLVE_RULES["A"](
            m, g[0], A, out0, B_shape, left
        ),
        "B": lambda m, g, A, B_shape, left: _SOLVE_RULES["B"](m, g[0], A, B_shape, left),
    },
)
def linalg_solve_ex(
    A: Array,
    B: Array,
    *,
    left: bool = True,
    check_errors: bool = False,
) -> tuple[Array, Array]:
    """The solution of A X = B, and 0 or where elimination met its first zero (int32, from one).

    >>> A = flambeau.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> flambeau.linalg.solve_ex(A, flambeau.ones(2, 1)).info
    tensor(2, dtype=torch.int32)
    """
    x, info = _solution("linalg.solve", A, B, left)
    if check_errors:
        check_infos("torch.linalg.solve_ex", info, _is_singular)
    return x, info


# ---------------------------------------------------------------- inverses
def _inverse_gradient(m: Any, g: Any, out: Any) -> Any:
    turned = adjoint(m, out)
    return -m.matmul(turned, m.matmul(g, turned))


def _inverses(name: str, a: Array) -> tuple[Array, Array]:
    """The inverses, and LAPACK's infos: the first zero on U's diagonal, from one."""
    check_matrix(name, a, square=True)
    try:
        with blas_threads.for_matrices(a):
            return np.linalg.inv(a), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        eye = np.eye(a.shape[-1], dtype=a.dtype)
        return _solution_by_factors(a, np.broadcast_to(eye, a.shape))


def _has_zero(info: int) -> str:
    return (
        f"The diagonal element {info} is zero, the inversion could not be completed because the "
        "input matrix is singular."
    )


@structured(
    out=True,
    aliases=("inverse",),
    spellings={"A": "input"},
    node="LinalgInvExBackward0",
    meta=lambda input: linalg_inv.forward(_regular(input)),
    grad={"input": lambda m, g, out: _inverse_gradient(m, g, out)},
)
def linalg_inv(input: Array) -> Array:
    """The inverse of each square matrix; LinAlgError if one is singular.

    >>> flambeau.linalg.inv(flambeau.tensor([[2.0, 0.0], [4.0, 8.0]]))
    tensor([[ 0.5000,  0.0000],
            [-0.2500,  0.1250]])
    """
    inverse, info = _inverses("linalg.inv", input)
    check_infos("linalg.inv", info, _has_zero)
    return inverse


@structured(
    out=True,
    outputs=2,
    fields=("inverse", "info"),
    method=False,
    node="LinalgInvExBackward0",
    meta=lambda A, check_errors: _inverses("linalg.inv", _regular(A)),
    grad={"A": lambda m, g, out0: _inverse_gradient(m, g[0], out0)},
)
def linalg_inv_ex(A: Array, *, check_errors: bool = False) -> tuple[Array, Array]:
    """The inverses, and 0 or the first zero that elimination met (int32, from one).

    >>> inverse, info = flambeau.linalg.inv_ex(flambeau.tensor([[[4.0]], [[0.0]]]))
    >>> inverse[0], info
    (tensor([[0.2500]]), tensor([0, 1], dtype=torch.int32))
    """
    inverse, info = _inverses("linalg.inv", A)
    if check_errors:
        check_infos("linalg.inv_ex", info, _has_zero)
    return inverse, info


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
    spellings={"A": "input"},
    node="LinalgDetBackward0",
    grad={"input": lambda m, g, input, out: _det_gradient(m, g, input, out)},
)
def linalg_det(input: Array) -> Array:
    """The determinant of each square matrix.

    >>> flambeau.linalg.det(flambeau.tensor([[2.0, 6.0], [0.0, 5.0]]))
    tensor(10.)
    """
    check_matrix("linalg.det", input, square=True)
    with blas_threads.for_matrices(input):
        return np.asarray(np.linalg.det(input), input.dtype)


def _slogdet_gradient(m: Any, g: Any, a: Any, sign: Any) -> Any:
    weight = g[1]
    if m.dtype(a).is_complex:
        weight = m.complex(g[1], -m.imag(m.conj(g[0]) * sign))
    return m.unsqueeze(m.unsqueeze(weight, -1), -1) * adjoint(m, m.linalg_inv(a))


@structured(
    out=True,
    outputs=2,
    fields=("sign", "logabsdet"),
    result="linalg_slogdet",
    aliases=("slogdet",),
    spellings={"input": "A"},
    node="LinalgSlogdetBackward0",
    grad={"A": lambda m, g, A, out0: _slogdet_gradient(m, g, A, out0)},
)
def linalg_slogdet(A: Array) -> tuple[Array, Array]:
    """The sign (or direction) and the logarithm of the size of each determinant.

    >>> sign, logabsdet = flambeau.linalg.slogdet(flambeau.tensor([[0.0, 1.0], [2.0, 0.0]]))
    >>> sign, logabsdet
    (tensor(-1.), tensor(0.6931))
    """
    check_matrix("linalg.slogdet", A, square=True)
    with blas_threads.for_matrices(A):
        sign, size = np.linalg.slogdet(A)
    return np.asarray(sign, A.dtype), np.asarray(size, A.real.dtype)


@composite()
def logdet(m: Any, input: Array) -> Array:
    """The logarithm of each determinant; NaN where it is negative.

    >>> flambeau.logdet(flambeau.tensor([[[3.0]], [[-3.0]]]))
    tensor([1.0986,    nan])
    """
    sign, size = m.linalg_slogdet(input)
    if m.dtype(input).is_complex:
        return m.log(sign) + size
    return m.where(sign < 0, math.nan, size)


# ---------------------------------------------------------------- powers
@composite(out=True, aliases=("matrix_power",), spellings={"A": "input"})
def linalg_matrix_power(m: Any, input: Array, n: int) -> Array:
    """Each square matrix multiplied with itself; a negative power inverts first.

    >>> flambeau.linalg.matrix_power(flambeau.tensor([[1.0, 2.0], [0.0, 1.0]]), 3)
    tensor([[1., 6.],
            [0., 1.]])
    >>> flambeau.linalg.matrix_power(flambeau.tensor([[4.0]]), -2)
    tensor([[0.0625]])
    """
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
    spellings={"input": "A"},
    node="LinalgMatrixExpBackward0",
    grad={"A": lambda m, g, A: _exponential_gradient(m, g, A)},
)
def linalg_matrix_exp(A: Array) -> Array:
    """The exponential series of each square matrix (Al-Mohy and Higham, 2009).

    >>> flambeau.linalg.matrix_exp(flambeau.tensor([[0.0, 3.0], [0.0, 0.0]]))
    tensor([[1., 3.],
            [0., 1.]])
    """
    check_matrix("linalg.matrix_exp", A, square=True)
    from scipy import linalg

    if not A.size:
        return A.copy()
    wide = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64, copy=False)
    with blas_threads.for_matrices(A):
        return np.asarray(linalg.expm(wide)).astype(A.dtype, copy=False)
