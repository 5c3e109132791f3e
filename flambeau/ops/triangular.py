"""Systems with triangular matrices."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.cpu import small_factors
from ..compiler import blas_threads
from .decompositions import adjoint, check_matrix
from .record import Array, composite, structured
from .shape import common_shape


def _both_triangles(m: Any, x: Any, upper: bool, unit: bool) -> Any:
    return (m.triu if upper else m.tril)(x, (1 if upper else -1) if unit else 0)


def _right_gradient(m: Any, g: Any, a: Any, upper: bool, left: bool, unit: bool) -> Any:
    return m.linalg_solve_triangular(
        adjoint(m, a), g, upper=not upper, left=left, unitriangular=unit
    )


def _matrix_gradient(m: Any, g: Any, a: Any, out: Any, upper: bool, left: bool, unit: bool) -> Any:
    back, turned = _right_gradient(m, g, a, upper, left, unit), adjoint(m, out)
    pair = (back, turned) if left else (turned, back)
    return _both_triangles(m, -m.matmul(*pair), upper, unit)


@structured(
    spellings={"input": "A"},
    out=True,
    method=False,
    grad={
        "A": lambda m, g, A, out, upper, left, unitriangular: _matrix_gradient(
            m, g, A, out, upper, left, unitriangular
        ),
        "B": lambda m, g, A, upper, left, unitriangular: _right_gradient(
            m, g, A, upper, left, unitriangular
        ),
    },
)
def linalg_solve_triangular(
    A: Array,
    B: Array,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Array:
    """X with A X = B (X A = B unless `left`), where only one triangle of A is read.

    >>> A, B = flambeau.tensor([[2.0, 0.0], [1.0, 4.0]]), flambeau.tensor([[2.0], [9.0]])
    >>> flambeau.linalg.solve_triangular(A, B, upper=False)
    tensor([[1.],
            [2.]])
    """
    check_matrix("linalg.solve_triangular", A, square=True)
    check_right_hand_side("linalg.solve_triangular", A, B, left)
    return solved(A, B.astype(A.dtype, copy=False), upper=upper, left=left, unit=unitriangular)


def check_right_hand_side(name: str, a: Array, b: Array, left: bool = True) -> None:
    """Refuse a right-hand side whose matrices do not fit."""
    if b.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor B must have at least 2 dimensions, got shape {list(b.shape)}"
        )
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({list(a.shape)} and {list(b.shape)})"
        )


def solved(a: Array, b: Array, *, upper: bool, left: bool = True, unit: bool = False) -> Array:
    """X with A X = B (X A = B unless `left`) for batches of triangular matrices, unchecked.

    A zero on the diagonal gives infinities and NaNs, no error.
    """
    if not left:
        turned = solved(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), upper=not upper, unit=unit)
        return np.swapaxes(turned, -1, -2)
    lead = common_shape([a.shape[:-2], b.shape[:-2]])
    n, count = a.shape[-1], math.prod(lead)
    a = np.broadcast_to(a, (*lead, n, n))
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    if not b.size:
        return np.zeros(b.shape, b.dtype)
    found = small_factors.substituted(a, b, upper, unit)
    if found is not None:
        return found
    with blas_threads.for_matrices(a):
        if count > n:
            return _substituted(a, b, upper, unit)
        solve = _trsm(a.dtype)
        out = np.empty(b.shape, b.dtype)
        for place in np.ndindex(*lead):
            out[place] = solve(1.0, a[place], b[place], lower=not upper, diag=unit)
    return out


@functools.cache
def _trsm(kind: Any) -> Callable[..., Array]:
    """BLAS's solver of triangular systems for the NumPy dtype `kind`."""
    from scipy.linalg import get_blas_funcs

    found: Callable[..., Array] = get_blas_funcs("trsm", dtype=kind)
    return found


def _substituted(a: Array, b: Array, upper: bool, unit: bool) -> Array:
    """Back or forward substitution over the rows, for all matrices of a batch at once."""
    n = a.shape[-1]
    x = np.zeros(b.shape, b.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in reversed(range(n)) if upper else range(n):
            rest = slice(i + 1, n) if upper else slice(0, i)
            known = a[..., i : i + 1, rest] @ x[..., rest, :]
            row = b[..., i, :] - known[..., 0, :]
            x[..., i, :] = row if unit else row / a[..., i, i, None]
    return x


@composite(out=True, outputs=2, fields=("solution", "cloned_coefficient"))
def triangular_solve(
    m: Any,
    input: Array,
    A: Array,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> tuple[Array, Array]:
    """X with A X = input for triangular A, and A itself.

    >>> A = flambeau.tensor([[1.0, 2.0], [0.0, 4.0]])
    >>> flambeau.triangular_solve(flambeau.tensor([[5.0], [4.0]]), A).solution
    tensor([[3.],
            [1.]])
    """
    a = m.transpose(A, -2, -1) if transpose else A
    x = m.linalg_solve_triangular(a, input, upper=upper != transpose, unitriangular=unitriangular)
    return x, m.clone(A)
