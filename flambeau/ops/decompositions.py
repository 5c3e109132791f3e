"""Matrix decompositions: Cholesky, QR, SVD, eigenvalues, LU.

The derivatives follow Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and Townsend, "Differentiating the singular value
decomposition" (2016). All act on the matrices in the last two dimensions.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..errors import LinAlgError
from .promotion import title
from .record import Array, composite, structured


def check_matrix(name: str, a: Array, square: bool = False) -> None:
    """Refuse what holds no (square) matrices of float32, float64 or complex numbers."""
    if a.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor A must have at least 2 dimensions, got shape {list(a.shape)}"
        )
    if square and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {a.shape[-2]} by "
            f"{a.shape[-1]} matrices"
        )
    if a.dtype.kind not in "fc" or a.dtype.itemsize < 4:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {title(a)}"
        )


def linalg_error(name: str, error: Exception) -> Exception:
    """PyTorch's exception (a RuntimeError) for what LAPACK could not do."""
    return LinAlgError(f"linalg.{name}: {error}")


def adjoint(m: Any, x: Any) -> Any:
    """The conjugate transposes."""
    return m.conj(m.transpose(x, -2, -1))


# ---------------------------------------------------------------- Cholesky
def _cholesky_gradient(m: Any, g: Any, out: Any, upper: bool) -> Any:
    lower, g = (adjoint(m, out), adjoint(m, g)) if upper else (out, g)
    part = m.tril(m.matmul(adjoint(m, lower), g))
    middle = (part + adjoint(m, m.tril(part, -1))) * 0.5
    right = m.linalg_solve_triangular(lower, middle, upper=False, left=False)
    return m.linalg_solve_triangular(adjoint(m, lower), right, upper=True)


@structured(
    out=True,
    aliases=("cholesky",),
    node="LinalgCholeskyExBackward0",
    meta=lambda input, upper: input + 0,
    grad={"input": lambda m, g, out, upper: _cholesky_gradient(m, g, out, upper)},
)
def linalg_cholesky(input: Array, upper: bool = False) -> Array:
    """L with L L^H = input, lower triangular (or its conjugate transpose with `upper`)."""
    check_matrix("linalg.cholesky", input, square=True)
    # LAPACK reads one triangle; NumPy's call reads the lower one.
    source = np.conj(np.swapaxes(input, -1, -2)) if upper else input
    try:
        lower = np.linalg.cholesky(source)
    except np.linalg.LinAlgError:
        raise linalg_error(
            "cholesky",
            ValueError(
                "The factorization could not be completed because the input is not "
                "positive-definite"
            ),
        ) from None
    return np.conj(np.swapaxes(lower, -1, -2)) if upper else lower


# ---------------------------------------------------------------- QR
def _qr_square(m: Any, g: Any, h: Any, q: Any, r: Any) -> Any:
    """The gradient where R is square: `g` and `h` are those of Q and R."""
    inner = m.triu(m.matmul(h, adjoint(m, r)) - m.matmul(adjoint(m, q), g))
    folded = inner + adjoint(m, inner)
    middle = m.diagonal(folded, 0, -2, -1)
    folded = folded - m.diag_embed(middle) * 0.5
    return m.linalg_solve_triangular(
        adjoint(m, r), g + m.matmul(q, folded), upper=False, left=False
    )


def _qr_gradient(m: Any, g: Any, q: Any, r: Any, mode: str) -> Any:
    if mode != "reduced" and q.shape[-1] > r.shape[-1]:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    rows, columns = q.shape[-2], r.shape[-1]
    if rows >= columns:
        return _qr_square(m, g[0], g[1], q, r)
    # R = [U V] with U square: the last columns of A are Q V.
    u, v = m.narrow(r, -1, 0, rows), m.narrow(r, -1, rows, columns - rows)
    gu, gv = (
        m.narrow(g[1], -1, 0, rows),
        m.narrow(g[1], -1, rows, columns - rows),
    )
    last = m.matmul(q, gv)
    tail = m.matmul(q, v)
    first = _qr_square(m, g[0] + m.matmul(tail, adjoint(m, gv)), gu, q, u)
    return m.cat([first, last], -1)


@structured(
    outputs=2,
    fields=("Q", "R"),
    result="linalg_qr",
    method=False,
    node="LinalgQrBackward0",
    grad={
        "A": lambda m, g, out0, out1, mode: _qr_gradient(m, g, out0, out1, mode),
    },
)
def linalg_qr(A: Array, mode: str = "reduced") -> tuple[Array, Array]:
    """Q with orthonormal columns and upper triangular R with Q R = A."""
    check_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    if mode == "r":
        return np.empty(0, A.dtype), np.linalg.qr(A, "r")
    q, r = np.linalg.qr(A, mode)
    return q, r


@composite()
def qr(m: Any, input: Array, some: bool = True) -> Any:
    """Q and R of `input`; all of Q's columns unless `some`."""
    return m.linalg_qr(input, "reduced" if some else "complete")


# ---------------------------------------------------------------- SVD
def _gaps(m: Any, s: Any) -> Any:
    """s_j - s_i with ones on the diagonal."""
    gaps = m.unsqueeze(s, -2) - m.unsqueeze(s, -1)
    one = m.from_numpy(np.eye(s.shape[-1], dtype=bool))
    return m.where(one, 1, gaps)


def _skew(m: Any, x: Any) -> Any:
    return x - adjoint(m, x)


def _svd_gradient(m: Any, g: Any, u: Any, s: Any, vh: Any, full: bool, shape: Any) -> Any:
    k = s.shape[-1]
    if full and not (u.shape[-1] == k and vh.shape[-2] == k):
        u, vh = m.narrow(u, -1, 0, k), m.narrow(vh, -2, 0, k)
        g = [m.narrow(g[0], -1, 0, k), g[1], m.narrow(g[2], -2, 0, k)]
    gu, gs, gvh = g
    v, gv = adjoint(m, vh), adjoint(m, gvh)
    if not bool(m.any(m.ne(gu, 0))) and not bool(m.any(m.ne(gvh, 0))):
        # Singular values alone have a derivative even where some of them are equal.
        return m.matmul(u * m.unsqueeze(gs, -2), vh)
    inner_u, inner_v = m.matmul(adjoint(m, u), gu), m.matmul(vh, gv)
    gaps = _gaps(m, m.square(s))
    row, column = m.unsqueeze(s, -2), m.unsqueeze(s, -1)
    middle = (_skew(m, inner_u) / gaps) * row + column * (_skew(m, inner_v) / gaps)
    if m.dtype(u).is_complex:
        phase = m.imag(m.diagonal(inner_u, 0, -2, -1)) / s
        middle = middle - m.diag_embed(m.diagonal(middle, 0, -2, -1))
        middle = middle + m.diag_embed(m.complex(gs, phase))
    else:
        middle = middle + m.diag_embed(gs)
    out = m.matmul(m.matmul(u, middle), vh)
    rows, columns = shape[-2], shape[-1]
    if rows > k:
        rest = gu - m.matmul(u, inner_u)
        out = out + m.matmul(rest / row, vh)
    if columns > k:
        rest = adjoint(m, gv - m.matmul(v, inner_v))
        out = out + m.matmul(u, rest / column)
    return out


@structured(
    outputs=3,
    fields=("U", "S", "Vh"),
    result="linalg_svd",
    method=False,
    node="LinalgSvdBackward0",
    grad={
        "A": lambda m, g, out0, out1, out2, full_matrices, A_shape: _svd_gradient(
            m, g, out0, out1, out2, full_matrices, tuple(A_shape)
        )
    },
)
def linalg_svd(A: Array, full_matrices: bool = True) -> tuple[Array, Array, Array]:
    """U, S, Vh with U diag(S) Vh = A, S real and falling."""
    check_matrix("linalg.svd", A)
    try:
        u, s, vh = np.linalg.svd(A, full_matrices)
    except np.linalg.LinAlgError as error:
        raise linalg_error("svd", error) from None
    return u, s, vh


@composite(method=False)
def linalg_svdvals(m: Any, A: Array) -> Array:
    """The singular values, falling."""
    return m.linalg_svd(A, False)[1]


@composite()
def svd(m: Any, input: Array, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S, V with U diag(S) V^H = input."""
    u, s, vh = m.linalg_svd(input, not some)
    if not compute_uv:
        rows, columns = input.shape[-2], input.shape[-1]
        lead = tuple(input.shape[:-2])
        zero = m.mul(m.reshape(m.sum(m.constant(u)), (1,) * (len(lead) + 2)), 0)
        u = m.expand(zero, (*lead, rows, rows))
        vh = m.expand(zero, (*lead, columns, columns))
    return u, s, adjoint(m, vh)


# ---------------------------------------------------------------- eigenvalues
def _eigh_gradient(m: Any, g: Any, w: Any, v: Any) -> Any:
    vh = adjoint(m, v)
    # Eigenvectors turn: of their gradient only the skew part can be followed.
    inner = _skew(m, m.matmul(vh, g[1])) * 0.5 / _gaps(m, w)
    zero = m.diag_embed(m.diagonal(inner, 0, -2, -1))
    middle = inner - zero + m.diag_embed(g[0])
    return m.matmul(m.matmul(v, middle), vh)


@structured(
    outputs=2,
    fields=("eigenvalues", "eigenvectors"),
    result="linalg_eigh",
    method=False,
    node="LinalgEighBackward0",
    grad={"A": lambda m, g, out0, out1: _eigh_gradient(m, g, out0, out1)},
)
def linalg_eigh(A: Array, UPLO: str = "L") -> tuple[Array, Array]:
    """Eigenvalues (real, rising) and eigenvectors of Hermitian matrices, read from one triangle."""
    check_matrix("linalg.eigh", A, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    try:
        w, v = np.linalg.eigh(A, UPLO.upper())
    except np.linalg.LinAlgError as error:
        raise linalg_error("eigh", error) from None
    return w, v


@composite(method=False)
def linalg_eigvalsh(m: Any, A: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of Hermitian matrices, rising."""
    return m.linalg_eigh(A, UPLO)[0]


def _eig_gradient(m: Any, g: Any, w: Any, v: Any) -> Any:
    vh = adjoint(m, v)
    inner = m.matmul(vh, g[1])
    lengths = m.diag_embed(m.diagonal(m.real(inner), 0, -2, -1))
    across = (inner - m.matmul(m.matmul(vh, v), lengths + 0j)) / m.conj(_gaps(m, w))
    middle = across - m.diag_embed(m.diagonal(across, 0, -2, -1)) + m.diag_embed(g[0])
    return m.linalg_solve(vh, m.matmul(middle, vh))


@structured(
    outputs=2,
    fields=("eigenvalues", "eigenvectors"),
    result="linalg_eig",
    method=False,
    node="LinalgEigBackward0",
    grad={"A": lambda m, g, out0, out1: _eig_gradient(m, g, out0, out1)},
)
def linalg_eig(A: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of square matrices; complex."""
    check_matrix("linalg.eig", A, square=True)
    kind = np.result_type(A.dtype, np.complex64)
    if not np.isfinite(A).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    w, v = np.linalg.eig(A)
    return w.astype(kind), v.astype(kind)


@composite(method=False)
def linalg_eigvals(m: Any, A: Array) -> Array:
    """The eigenvalues of square matrices; complex."""
    return m.linalg_eig(A)[0]


# ---------------------------------------------------------------- LU
def _lu_square(m: Any, gl: Any, gu: Any, lower: Any, upper: Any) -> Any:
    inner = m.tril(m.matmul(adjoint(m, lower), gl), -1) + m.triu(m.matmul(gu, adjoint(m, upper)))
    right = m.linalg_solve_triangular(adjoint(m, upper), inner, upper=False, left=False)
    return m.linalg_solve_triangular(adjoint(m, lower), right, upper=True, unitriangular=True)


def _lu_gradient(m: Any, g: Any, p: Any, lower: Any, upper: Any) -> Any:
    gl, gu = g[1], g[2]
    rows, columns, k = lower.shape[-2], upper.shape[-1], lower.shape[-1]
    l1, u1 = m.narrow(lower, -2, 0, k), m.narrow(upper, -1, 0, k)
    gl1, gu1 = m.tril(m.narrow(gl, -2, 0, k), -1), m.triu(m.narrow(gu, -1, 0, k))
    if rows > k:
        l2, gl2 = m.narrow(lower, -2, k, rows - k), m.narrow(gl, -2, k, rows - k)
        below = m.linalg_solve_triangular(adjoint(m, u1), gl2, upper=False, left=False)
        gu1 = gu1 - m.triu(m.matmul(adjoint(m, l2), below))
        whole = m.cat([_lu_square(m, gl1, gu1, l1, u1), below], -2)
    elif columns > k:
        u2, gu2 = m.narrow(upper, -1, k, columns - k), m.narrow(gu, -1, k, columns - k)
        beside = m.linalg_solve_triangular(adjoint(m, l1), gu2, upper=True, unitriangular=True)
        gl1 = gl1 - m.tril(m.matmul(beside, adjoint(m, u2)), -1)
        whole = m.cat([_lu_square(m, gl1, gu1, l1, u1), beside], -1)
    else:
        whole = _lu_square(m, gl1, gu1, l1, u1)
    return m.matmul(p, whole)


def _each_matrix(a: Array, function: Any) -> tuple[Array, ...]:
    """`function` of every matrix of a batch, its results stacked."""
    lead = a.shape[:-2]
    results = [function(x) for x in a.reshape(-1, *a.shape[-2:])]
    return tuple(np.stack(r).reshape(*lead, *r[0].shape) for r in zip(*results, strict=True))


def factor(a: Array) -> tuple[Array, Array]:
    """LAPACK's compact LU and its pivots (int32, counted from one), for every matrix."""
    from scipy import linalg

    k = min(a.shape[-2:])
    if not a.size:
        return a.copy(), np.zeros((*a.shape[:-2], k), np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a singular matrix has a factorization all the same

        def one(x: Array) -> tuple[Array, Array]:
            compact, pivots = linalg.lu_factor(x, check_finite=False)
            return compact, pivots.astype(np.int32) + 1

        compact, pivots = _each_matrix(a, one)
    return compact.astype(a.dtype, copy=False), pivots


def permutation(pivots: Array, n: int, kind: Any) -> Array:
    """The permutation matrices P with A = P L U that LAPACK's pivots stand for."""
    lead = pivots.shape[:-1]
    rows = pivots.reshape(math.prod(lead), pivots.shape[-1])
    out = np.zeros((len(rows), n, n), kind)
    for matrix, swaps in zip(out, rows, strict=True):
        order = np.arange(n)
        for i, other in enumerate(swaps - 1):
            order[i], order[other] = order[other], order[i]
        matrix[order, np.arange(n)] = 1
    return out.reshape(*lead, n, n)


@structured(
    outputs=3,
    fields=("P", "L", "U"),
    result="linalg_lu",
    fixed=(0,),
    method=False,
    node="LinalgLuBackward0",
    grad={"A": lambda m, g, out0, out1, out2: _lu_gradient(m, g, out0, out1, out2)},
)
def linalg_lu(A: Array, *, pivot: bool = True) -> tuple[Array, Array, Array]:
    """P, L, U with A = P L U: a permutation, unit lower and upper triangular."""
    check_matrix("linalg.lu", A)
    if not pivot:
        raise RuntimeError("linalg.lu: LU without pivoting is not implemented on the CPU")
    compact, pivots = factor(A)
    k = min(A.shape[-2:])
    lower = np.tril(compact[..., :, :k], -1)
    place = np.arange(k)
    lower[..., place, place] = 1
    return permutation(pivots, A.shape[-2], A.dtype), lower, np.triu(compact[..., :k, :])
