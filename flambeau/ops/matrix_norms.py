"""Norms, condition, rank, pseudo-inverses and least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..compiler import blas_threads
from .decompositions import adjoint, check_matrix, singular_factors
from .promotion import is_number
from .record import Array, composite, structured
from .shapes import wrap_dim


# ---------------------------------------------------------------- norms
def _matrix_dims(x: Any, dim: Any) -> tuple[int, int]:
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dim)}")
    a, b = (wrap_dim(d, x.ndim) for d in dim)
    if a == b:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return a, b


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_matrix_norm(
    m: Any,
    A: Array,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Array:
    """A norm of matrices: "fro", "nuc", 2, -2 (singular values), 1, -1, inf, -inf (sums).

    >>> A = flambeau.tensor([[3.0, 0.0], [-4.0, 0.0]])
    >>> [flambeau.linalg.matrix_norm(A, ord) for ord in ("fro", 1, flambeau.inf)]
    [tensor(5.), tensor(7.), tensor(4.)]
    """
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions. Got {A.ndim}"
        )
    a, b = _matrix_dims(A, dim)
    x = A if dtype is None else m.cast(A, dtype)
    if ord == "fro":
        return m.linalg_vector_norm(x, 2, (a, b), keepdim)
    if ord in ("nuc", 2, -2):
        values = m.linalg_svdvals(m.movedim(x, (a, b), (-2, -1)))
        fold = m.sum if ord == "nuc" else m.amax if ord == 2 else m.amin
        out = fold(values, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        summed, chosen = (a, b) if abs(ord) == 1 else (b, a)
        sums = m.sum(m.abs(x), summed, True)
        out = m.squeeze((m.amax if ord > 0 else m.amin)(sums, chosen, True), (a, b))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if not keepdim:
        return out
    for d in sorted((a, b)):
        out = m.unsqueeze(out, d)
    return out


@composite(method=False, out=True, spellings={"input": "A"})
def linalg_norm(
    m: Any,
    A: Array,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Array:
    """A vector norm, or a matrix norm where two dimensions are given (or `A` has two and `ord`).

    >>> flambeau.linalg.norm(flambeau.tensor([[1.0, -2.0], [2.0, 0.0]]))
    tensor(3.)
    >>> flambeau.linalg.norm(flambeau.tensor([5.0, -7.0]), flambeau.inf)
    tensor(7.)
    """
    if dim is not None and isinstance(dim, int):
        dim = (dim,)
    if ord is None:
        return m.linalg_vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                f"{A.ndim}D."
            )
        dim = tuple(range(A.ndim))
    if len(dim) == 2:
        return m.linalg_matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} needs two dimensions, got dim={dim}")
    return m.linalg_vector_norm(A, ord, dim, keepdim, dtype=dtype)


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_cond(m: Any, A: Array, p: Any = None) -> Array:
    """The condition number in a matrix norm (None: 2).

    >>> flambeau.linalg.cond(flambeau.tensor([[8.0, 0.0], [0.0, 2.0]])).round(decimals=3)
    tensor(4.)
    """
    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor A must have at least 2 dimensions.")
    if p in (None, 2, -2):
        values = m.linalg_svdvals(A)
        first, last = m.narrow(values, -1, 0, 1), m.narrow(values, -1, values.shape[-1] - 1, 1)
        return m.squeeze(last / first if p == -2 else first / last, -1)
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"linalg.cond(ord={p}): A must be batches of square matrices, but they are "
            f"{A.shape[-2]} by {A.shape[-1]} matrices"
        )
    return m.linalg_matrix_norm(A, p) * m.linalg_matrix_norm(m.linalg_inv(A), p)


# ---------------------------------------------------------------- rank
def _threshold(m: Any, a: Any, values: Any, atol: Any, rtol: Any) -> Any:
    """The size below which a singular value counts as zero, with a last dimension of size one."""
    largest = m.amax(values, -1, True)
    kind = m.dtype(a)
    if rtol is None:
        precision = max(a.shape[-2:]) * dtypes.finfo(kind).eps
        given = atol is not None and not (is_number(atol) and atol == 0)
        rtol = 0.0 if given and is_number(atol) else precision
        if given and not is_number(atol):
            rtol = m.where(atol > 0, 0.0, precision)
    atol = 0.0 if atol is None else atol
    rtol = rtol if is_number(rtol) else m.unsqueeze(rtol, -1)
    relative = m.mul(largest, rtol)
    if is_number(atol):
        return m.clamp_min(relative, atol)
    return m.clamp_min(relative, m.unsqueeze(atol, -1))


@composite(method=False, out=True, spellings={"input": "A"})
def linalg_matrix_rank(
    m: Any,
    A: Array,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Array:
    """The number of singular values (or eigenvalues) above a threshold, int64.

    >>> flambeau.linalg.matrix_rank(flambeau.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    check = m.constant(A)
    if tol is not None:
        atol, rtol = tol, 0.0
    values = m.abs(m.linalg_eigvalsh(check)) if hermitian else m.linalg_svdvals(check)
    if not values.shape[-1]:
        return m.sum(m.cast(values, dtypes.int64), -1)
    return m.sum(values > _threshold(m, check, values, atol, rtol), -1)


def _pseudo_gradient(m: Any, g: Any, a: Any, p: Any) -> Any:
    ph, gh = adjoint(m, p), adjoint(m, g)
    rows = gh - m.matmul(a, m.matmul(p, gh))
    columns = gh - m.matmul(m.matmul(gh, p), a)
    return (
        -m.matmul(m.matmul(ph, g), ph)
        + m.matmul(m.matmul(rows, p), ph)
        + m.matmul(ph, m.matmul(p, columns))
    )


@structured(
    method=False,
    node="LinalgPinvBackward0",
    grad={"A": lambda m, g, A, out: _pseudo_gradient(m, g, A, out)},
)
def pseudo_inverse(A: Array, threshold: Array, hermitian: bool = False) -> Array:
    """The Moore-Penrose inverse without the singular values up to `threshold`."""
    check_matrix("linalg.pinv", A)
    if not A.size:
        return np.zeros((*A.shape[:-2], A.shape[-1], A.shape[-2]), A.dtype)
    if hermitian:
        with blas_threads.for_matrices(A):
            w, v = np.linalg.eigh(A)
        keep = np.abs(w) > threshold
        inverse = np.where(keep, 1 / np.where(keep, w, 1), 0)
        return (v * inverse[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2))
    u, s, vh = singular_factors(A, False)
    keep = s > threshold
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0)
    back = np.conj(np.swapaxes(vh, -1, -2)) * inverse[..., None, :]
    return (back @ np.conj(np.swapaxes(u, -1, -2))).astype(A.dtype, copy=False)


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_pinv(
    m: Any,
    A: Array,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Array:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol * largest) count as zero.

    >>> flambeau.linalg.pinv(flambeau.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.2500]])
    """
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.pinv: The input tensor A must have at least 2 dimensions. Got {A.ndim}"
        )
    rtol = rcond if rtol is None else rtol
    check = m.constant(A)
    values = m.abs(m.linalg_eigvalsh(check)) if hermitian else m.linalg_svdvals(check)
    limit = _threshold(m, check, values, atol, rtol) if values.shape[-1] else values
    return m.pseudo_inverse(A, limit, hermitian)


@composite()
def pinverse(m: Any, input: Array, rcond: float = 1e-15) -> Array:
    """The Moore-Penrose inverse.

    >>> flambeau.pinverse(flambeau.tensor([[4.0], [0.0]]))
    tensor([[0.2500, 0.0000]])
    """
    return m.linalg_pinv(input, rcond=rcond)


@composite(
    spellings={"input": "A", "b": "B"},
    method=False,
    out=True,
    outputs=4,
    fields=("solution", "residuals", "rank", "singular_values"),
)
def linalg_lstsq(
    m: Any, A: Array, B: Array, rcond: Any = None, *, driver: str | None = None
) -> tuple[Array, Array, Array, Array]:
    """The X of least norm that minimises |A X - B|, residuals, rank and singular values.

    >>> A = flambeau.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> B = flambeau.tensor([[1.0], [3.0], [5.0]])
    >>> flambeau.linalg.lstsq(A, B).solution.round(decimals=3)
    tensor([[1.],
            [2.]])
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), "
            f"got {driver}"
        )
    if A.ndim < 2 or not B.ndim:
        raise RuntimeError(
            "torch.linalg.lstsq: input must have at least 2 dimensions and other at least 1, got "
            f"{list(A.shape)} and {list(B.shape)}"
        )
    vector = A.ndim - 1 == B.ndim
    b = m.unsqueeze(B, -1) if vector else B
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            "torch.linalg.lstsq: input.size(-2) should match other.size(-2), got "
            f"{list(A.shape)} and {list(B.shape)}"
        )
    x = m.matmul(m.linalg_pinv(A, rcond=rcond), b)
    rank = m.linalg_matrix_rank(A, rtol=rcond)
    rows, columns = A.shape[-2], A.shape[-1]
    none = m.real(m.narrow(m.reshape(x, (-1,)), 0, 0, 0))
    residuals = none
    if rows > columns and driver not in (None, "gelsy") and m.holds(m.all(m.eq(rank, columns))):
        residuals = m.sum(m.square(m.abs(m.matmul(A, x) - b)), -2)
    exact = driver in ("gelsd", "gelss")
    values = m.linalg_svdvals(m.constant(A)) if exact else m.constant(none)
    ranks = m.from_numpy(np.zeros(0, np.int64)) if driver == "gels" else rank
    return (m.squeeze(x, -1) if vector else x), residuals, ranks, values
