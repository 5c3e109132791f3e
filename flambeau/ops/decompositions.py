"""Matrix decompositions: QR, SVD, eigenvalues; what all of them check.

The derivatives follow Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and Townsend, "Differentiating the singular value
decomposition" (2016). All act on the matrices in the last two dimensions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.cpu import small_factors
from ..compiler import blas_threads
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


def check_infos(
    name: str,
    infos: Array,
    explain: Callable[[int], str],
    kind: type[Exception] = LinAlgError,
) -> None:
    """Raise what `explain` says of the first of LAPACK's infos that is not 0."""
    failed = np.flatnonzero(infos)
    if failed.size:
        place = int(failed[0])
        where = f"(Batch element {place}): " if infos.ndim else ""
        raise kind(f"{name}: {where}{explain(int(infos.reshape(-1)[place]))}")


@functools.cache
def lapack(name: str, kind: Any) -> Callable[..., Any]:
    """LAPACK's routine `name` for matrices of the NumPy dtype `kind`."""
    from scipy.linalg import get_lapack_funcs

    found: Callable[..., Any] = get_lapack_funcs(name, dtype=kind)
    return found


def each_matrix(a: Array, function: Callable[[Array], tuple[Any, ...]]) -> tuple[Array, ...]:
    """`function` of every matrix of a batch, its results stacked."""
    lead = a.shape[:-2]
    if not lead:
        return tuple(np.asarray(part) for part in function(a))
    flat = a.reshape(math.prod(lead), *a.shape[-2:])
    # An empty batch has results of the right shapes, too.
    results = [function(x) for x in flat] or [function(np.eye(*a.shape[-2:], dtype=a.dtype))]
    parts = (np.stack(parts)[: len(flat)] for parts in zip(*results, strict=True))
    return tuple(part.reshape(*lead, *part.shape[1:]) for part in parts)


def adjoint(m: Any, x: Any) -> Any:
    """The conjugate transposes."""
    return m.conj(m.transpose(x, -2, -1))


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
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please "
            "use linalg.qr(A, mode='reduced') if you are going to require gradients"
        )
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
    out=True,
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
    """Q with orthonormal columns and upper triangular R with Q R = A.

    >>> Q, R = flambeau.linalg.qr(flambeau.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> R
    tensor([[-5.0000, -2.2000],
            [ 0.0000,  0.4000]])
    """
    check_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    found = small_factors.qr(A) if mode == "reduced" else None
    if found is not None:
        return found
    with blas_threads.for_matrices(A):
        if mode == "r":
            return np.empty(0, A.dtype), np.linalg.qr(A, "r")
        q, r = np.linalg.qr(A, mode)
    return q, r


@composite(out=True, outputs=2, fields=("Q", "R"))
def qr(m: Any, input: Array, some: bool = True) -> Any:
    """Q and R of `input`; all of Q's columns unless `some`.

    >>> flambeau.qr(flambeau.tensor([[3.0], [4.0]])).Q
    tensor([[-0.6000],
            [-0.8000]])
    """
    return m.linalg_qr(input, "reduced" if some else "complete")


# ---------------------------------------------------------------- SVD
def _gaps(m: Any, s: Any) -> Any:
    """s_j - s_i with ones on the diagonal."""
    gaps = m.unsqueeze(s, -2) - m.unsqueeze(s, -1)
    one = m.from_numpy(np.eye(s.shape[-1], dtype=bool))
    return m.where(one, 1, gaps)


def _check_gauge(m: Any, phases: Any, what: str) -> None:
    """Refuse gradients that follow the phases of vectors, which are free to turn."""
    if not m.allclose(phases, m.mul(phases, 0), 1e-2, 1e-2):
        raise RuntimeError(
            f"{what} in the complex case are specified up to multiplication by e^{{i phi}}. The "
            "specified loss function depends on this quantity, so it is ill-defined."
        )


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
    if m.dtype(u).is_complex:
        phases = m.diagonal(inner_u + inner_v, 0, -2, -1)
        _check_gauge(m, m.imag(phases), "linalg_svd_backward: The singular vectors")
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
    out=True,
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
def linalg_svd(
    A: Array, full_matrices: bool = True, *, driver: str | None = None
) -> tuple[Array, Array, Array]:
    """U, S, Vh with U diag(S) Vh = A, S real and falling; `driver` chooses on a GPU alone.

    >>> U, S, Vh = flambeau.linalg.svd(flambeau.tensor([[0.0, 2.5], [3.0, 0.0]]))
    >>> S
    tensor([3.0000, 2.5000])
    """
    check_matrix("linalg.svd", A)
    _check_driver(driver)
    return singular_factors(A, full_matrices)


def singular_factors(a: Array, full: bool) -> tuple[Array, Array, Array]:
    """U, S, Vh of every matrix; NaN for a matrix with infinities, LinAlgError for one with NaN."""
    endless = None
    if not np.isfinite(a).all():  # LAPACK may search for ever
        endless = ~np.isfinite(a).all((-2, -1), keepdims=True)
        if np.isnan(a).any():
            raise LinAlgError(
                "linalg.svd: The algorithm failed to converge because the input matrix contained "
                "non-finite values."
            )
        a = np.where(endless, np.zeros_like(a), a)
    with blas_threads.for_matrices(a):
        try:
            u, s, vh = np.linalg.svd(a, full)
        except np.linalg.LinAlgError:
            u, s, vh = each_matrix(a, lambda x: _careful_svd(x, full))
    if endless is not None:
        for part in (u, s[..., None], vh):
            np.copyto(part, np.nan, where=endless)
    return u, s, vh


def _check_driver(driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with "
            "cuSOLVER backend."
        )


def _careful_svd(x: Array, full: bool) -> tuple[Array, Array, Array]:
    """One matrix by the slower iteration, which converges where the fast one may not."""
    from scipy import linalg

    try:
        u, s, vh = linalg.svd(x, full, lapack_driver="gesvd")
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "linalg.svd: The algorithm failed to converge because the input matrix is "
            "ill-conditioned or has too many repeated singular values."
        ) from None
    return u, s, vh


@composite(method=False, out=True)
def linalg_svdvals(m: Any, A: Array, *, driver: str | None = None) -> Array:
    """The singular values, falling.

    >>> flambeau.linalg.svdvals(flambeau.tensor([[0.0, 2.5], [-4.0, 0.0]]))
    tensor([4.0000, 2.5000])
    """
    return m.linalg_svd(A, False, driver=driver)[1]


@composite(out=True, outputs=3, fields=("U", "S", "V"))
def svd(m: Any, input: Array, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S, V with U diag(S) V^H = input.

    >>> x = flambeau.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> U, S, V = flambeau.svd(x)
    >>> V.shape, flambeau.allclose(U @ S.diag() @ V.T, x)
    (torch.Size([3, 2]), True)
    """
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
    inner = m.matmul(vh, g[1])
    if m.dtype(v).is_complex:
        phases = m.imag(m.diagonal(inner, 0, -2, -1))
        _check_gauge(m, phases, "linalg_eigh_backward: The eigenvectors")
    # Eigenvectors turn: of their gradient only the skew part can be followed.
    inner = _skew(m, inner) * 0.5 / _gaps(m, w)
    zero = m.diag_embed(m.diagonal(inner, 0, -2, -1))
    middle = inner - zero + m.diag_embed(g[0])
    return m.matmul(m.matmul(v, middle), vh)


@structured(
    spellings={"input": "A"},
    out=True,
    outputs=2,
    fields=("eigenvalues", "eigenvectors"),
    result="linalg_eigh",
    method=False,
    node="LinalgEighBackward0",
    grad={"A": lambda m, g, out0, out1: _eigh_gradient(m, g, out0, out1)},
)
def linalg_eigh(A: Array, UPLO: str = "L") -> tuple[Array, Array]:
    """Eigenvalues (real, rising) and eigenvectors of Hermitian matrices, read from one triangle.

    >>> flambeau.linalg.eigh(flambeau.tensor([[0.5, 1.0], [1.0, 0.5]])).eigenvalues
    tensor([-0.5000,  1.5000])
    """
    check_matrix("linalg.eigh", A, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    try:
        with blas_threads.for_matrices(A):
            w, v = np.linalg.eigh(A, UPLO.upper())
    except np.linalg.LinAlgError:
        raise LinAlgError(
            "linalg.eigh: The algorithm failed to converge because the input matrix is "
            "ill-conditioned or has too many repeated eigenvalues."
        ) from None
    return w, v


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_eigvalsh(m: Any, A: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of Hermitian matrices, rising.

    >>> flambeau.linalg.eigvalsh(flambeau.tensor([[1.0, 2.5], [2.5, 1.0]]))
    tensor([-1.5000,  3.5000])
    """
    return m.linalg_eigh(A, UPLO)[0]


def _eig_gradient(m: Any, g: Any, w: Any, v: Any) -> Any:
    vh = adjoint(m, v)
    inner = m.matmul(vh, g[1])
    phases = m.imag(m.diagonal(inner, 0, -2, -1))
    _check_gauge(m, phases, "linalg_eig_backward: The eigenvectors")
    lengths = m.diag_embed(m.diagonal(m.real(inner), 0, -2, -1))
    across = (inner - m.matmul(m.matmul(vh, v), lengths + 0j)) / m.conj(_gaps(m, w))
    middle = across - m.diag_embed(m.diagonal(across, 0, -2, -1)) + m.diag_embed(g[0])
    return m.linalg_solve(vh, m.matmul(middle, vh))


@structured(
    spellings={"input": "A"},
    out=True,
    outputs=2,
    fields=("eigenvalues", "eigenvectors"),
    result="linalg_eig",
    method=False,
    node="LinalgEigBackward0",
    grad={"A": lambda m, g, out0, out1: _eig_gradient(m, g, out0, out1)},
)
def linalg_eig(A: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of square matrices; complex.

    >>> flambeau.linalg.eig(flambeau.tensor([[2.0, 0.0], [0.0, 5.0]])).eigenvalues
    tensor([2.+0.j, 5.+0.j])
    """
    check_matrix("linalg.eig", A, square=True)
    kind = np.result_type(A.dtype, np.complex64)
    if not np.isfinite(A).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    with blas_threads.for_matrices(A):
        w, v = np.linalg.eig(A)
    return w.astype(kind), v.astype(kind)


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_eigvals(m: Any, A: Array) -> Array:
    """The eigenvalues of square matrices; complex.

    >>> flambeau.linalg.eigvals(flambeau.tensor([[0.0, -0.5], [0.5, 0.0]]))
    tensor([0.+0.5000j, 0.-0.5000j])
    """
    return m.linalg_eig(A)[0]
