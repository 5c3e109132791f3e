"""Householder reflections: a QR decomposition kept as vectors, and what they stand for.

A product of reflections H_1 ... H_k with H_i = I - tau_i v_i v_i^H is I - V T V^H, where T is upper
triangular: Joffrain, Low, Quintana-Orti, van de Geijn and Van Zee, "Accumulating Householder
transformations, revisited" (2006). So products take a few matrix products, and have derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler import blas_threads
from .decompositions import adjoint, each_matrix, lapack
from .lu_factors import unit_lower
from .promotion import unsupported
from .record import Array, composite, structured


@structured(
    out=True,
    outputs=2,
    fields=("a", "tau"),
    excuse="PyTorch has no derivative for it",
)
def geqrf(input: Array) -> tuple[Array, Array]:
    """LAPACK's QR, (*, M, N): R with the vectors of reflections below it, and their factors tau.

    >>> a, tau = flambeau.geqrf(flambeau.tensor([[3.0, 0.0], [0.0, 2.0]]))
    >>> a, tau
    (tensor([[3., 0.],
            [0., 2.]]), tensor([0., 0.]))
    """
    if input.ndim < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    if input.dtype.kind not in "fc" or input.dtype.itemsize < 4:
        raise unsupported("geqrf_cpu", input)
    factor = lapack("geqrf", input.dtype)

    def one(x: Array) -> tuple[Array, Array]:
        if not x.size:
            return x.copy(), np.zeros(min(x.shape), x.dtype)
        compact, tau, _, _ = factor(x, lwork=64 * x.shape[1])
        return compact, tau

    with blas_threads.for_matrices(input):
        compact, tau = each_matrix(input, one)
    return compact, tau


def _kernel(m: Any, v: Any, tau: Any) -> Any:
    """T in I - V T V^H."""
    k = tau.shape[-1]
    scale = m.unsqueeze(tau, -1)
    eye = m.identity(m.constant(v), k, k)
    inner = m.triu(m.matmul(adjoint(m, v), v), 1)
    return m.linalg_solve_triangular(
        eye + scale * inner, m.diag_embed(tau), upper=True, unitriangular=True
    )


def _check_dtypes(name: str, m: Any, first: tuple[str, Any], second: tuple[str, Any]) -> None:
    a, b = m.dtype(first[1]), m.dtype(second[1])
    if a != b:
        raise RuntimeError(
            f"{name}: Expected {first[0]} and {second[0]} to have the same dtype, but {first[0]} "
            f"has dtype {a.title} and {second[0]} has dtype {b.title}"
        )


@composite(method=True, out=True, aliases=("orgqr",), spellings={"input": "A", "input2": "tau"})
def linalg_householder_product(m: Any, A: Array, tau: Array) -> Array:
    """The first columns of the product of Householder reflections, vectors in A's columns.

    >>> A = flambeau.tensor([[3.0, 1.0], [4.0, 2.0]])
    >>> Q = flambeau.linalg.householder_product(*flambeau.geqrf(A))
    >>> flambeau.allclose(Q.T @ Q, flambeau.eye(2), atol=1e-6)
    True
    """
    name = "torch.linalg.householder_product"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    rows, columns = A.shape[-2], A.shape[-1]
    if rows < columns:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if not tau.ndim or columns < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if tuple(A.shape[:-2]) != tuple(tau.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    _check_dtypes(name, m, ("input", A), ("tau", tau))
    v = unit_lower(m, A, tau.shape[-1])
    top = m.narrow(v, -2, 0, columns)
    turned = m.matmul(m.matmul(v, _kernel(m, v, tau)), adjoint(m, top))
    return m.identity(m.constant(A), rows, columns) - turned


def _check_ormqr(m: Any, a: Any, tau: Any, other: Any, left: bool) -> None:
    for label, x in (("input", a), ("other", other)):
        if x.ndim < 2:
            raise RuntimeError(f"torch.ormqr: {label} must have at least 2 dimensions.")
    side = -2 if left else -1
    if other.shape[side] < (tau.shape[-1] if tau.ndim else 0):
        raise RuntimeError(
            f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != a.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    if not tau.ndim or tau.shape[-1] != min(other.shape[side], a.shape[-1]):
        raise RuntimeError(
            f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])"
        )
    for label, x, less in (("tau", tau, 1), ("other", other, 0)):
        if a.ndim - x.ndim != less:
            how = "one less dimension than" if less else "the same number of dimensions as"
            raise RuntimeError(
                f"torch.ormqr: Expected {label} to have {how} input, but got {label}.ndim equal to "
                f"{x.ndim} and input.ndim is equal to {a.ndim}"
            )
        if tuple(x.shape[: a.ndim - 2]) != tuple(a.shape[:-2]):
            raise RuntimeError(
                f"torch.ormqr: Expected batch dimensions of {label} to be equal to "
                f"input.shape[:-2], but got {list(x.shape[: a.ndim - 2])}"
            )
        _check_dtypes("torch.ormqr", m, ("input", a), (label, x))


@composite(out=True, spellings={"input2": "tau", "input3": "other"})
def ormqr(
    m: Any, input: Array, tau: Array, other: Array, left: bool = True, transpose: bool = False
) -> Array:
    """Q `other`, or `other` Q unless `left`, with the whole Q of `geqrf`, turned by `transpose`.

    >>> A = flambeau.tensor([[3.0], [4.0]])
    >>> a, tau = flambeau.geqrf(A)
    >>> flambeau.ormqr(a, tau, A, transpose=True).abs().round(decimals=3)
    tensor([[5.],
            [0.]])
    """
    _check_ormqr(m, input, tau, other, left)
    v = unit_lower(m, input, tau.shape[-1])
    kernel = _kernel(m, v, tau)
    kernel = adjoint(m, kernel) if transpose else kernel
    if left:
        return other - m.matmul(v, m.matmul(kernel, m.matmul(adjoint(m, v), other)))
    return other - m.matmul(m.matmul(m.matmul(other, v), kernel), adjoint(m, v))
