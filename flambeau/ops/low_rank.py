"""Low-rank approximations of large matrices by random projection.

Halko, Martinsson and Tropp, "Finding structure with randomness" (2009), algorithm 4.4.
"""

from __future__ import annotations

from typing import Any

from ..generator import default_generator
from .decompositions import adjoint
from .record import Array, composite, random


@random(method=False, excuse="noise")
def gaussian_like(input: Array, columns: int) -> Array:
    """Normal numbers of the dtype of `input`: as many rows as it has columns."""
    rows = input.shape[-1]
    return default_generator.normal(rows * columns, input.dtype).reshape(rows, columns)


def _basis(m: Any, a: Any, q: int, niter: int, mean: Any) -> Any:
    """An orthonormal basis of (nearly) the range of ``a - mean``."""

    def forwards(x: Any) -> Any:
        y = m.matmul(a, x)
        return y if mean is None else y - m.matmul(mean, x)

    def backwards(x: Any) -> Any:
        y = m.matmul(adjoint(m, a), x)
        return y if mean is None else y - m.matmul(adjoint(m, mean), x)

    basis = m.linalg_qr(forwards(m.gaussian_like(m.constant(a), q)))[0]
    for _ in range(niter):
        basis = m.linalg_qr(backwards(basis))[0]
        basis = m.linalg_qr(forwards(basis))[0]
    return basis


@composite(method=False)
def svd_lowrank(m: Any, A: Array, q: int | None = 6, niter: int = 2, M: Any = None) -> Any:
    """U, S, V of rank `q` with U diag(S) V^H near A (less `M`); `niter` sharpens the basis.

    >>> A = flambeau.outer(flambeau.arange(1.0, 6.0), flambeau.tensor([1.0, 2.0, 0.0, -1.0]))
    >>> U, S, V = flambeau.svd_lowrank(A, q=1)
    >>> flambeau.allclose((U * S) @ V.T, A, atol=1e-4), U.shape, S.shape, V.shape
    (True, torch.Size([5, 1]), torch.Size([1]), torch.Size([4, 1]))
    """
    q = 6 if q is None else q
    rows, columns = A.shape[-2], A.shape[-1]
    if not 0 <= q <= min(rows, columns):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)="
            f"{min(rows, columns)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    mean = None if M is None else m.expand(M, tuple(A.shape))
    if rows < columns:
        turned = None if mean is None else adjoint(m, mean)
        v, s, u = _small_svd(m, adjoint(m, A), q, niter, turned)
        return u, s, v
    return _small_svd(m, A, q, niter, mean)


def _small_svd(m: Any, a: Any, q: int, niter: int, mean: Any) -> tuple[Any, Any, Any]:
    basis = _basis(m, a, q, niter, mean)
    small = m.matmul(adjoint(m, basis), a if mean is None else a - mean)
    u, s, vh = m.linalg_svd(small, False)
    return m.matmul(basis, u), s, adjoint(m, vh)


@composite(method=False)
def pca_lowrank(m: Any, A: Array, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """U, S, V of the principal components of the rows of A, of rank `q` (6 or less).

    >>> points = flambeau.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0], [7.0, 0.0]])
    >>> U, S, V = flambeau.pca_lowrank(points, q=1)
    >>> V[:, 0].abs().round(decimals=3)
    tensor([1., 0.])
    """
    rows, columns = A.shape[-2], A.shape[-1]
    q = min(6, rows, columns) if q is None else q
    if not 0 <= q <= min(rows, columns):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)="
            f"{min(rows, columns)}"
        )
    if not center:
        return m.svd_lowrank(A, q, niter)
    return m.svd_lowrank(A - m.mean(A, -2, True), q, niter)
