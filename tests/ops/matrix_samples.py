"""Sample calls for linear algebra; see `samples`, which takes them in."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.compare import normal as N

Call = tuple[tuple[Any, ...], dict[str, Any]]
MATRICES: dict[str, list[Call]] = {}

INF = float("inf")
SQUARE = N(4, 4) + 3 * np.eye(4)
SYMMETRIC = SQUARE @ SQUARE.T
BATCH = N(2, 3, 3) + 3 * np.eye(3)
LOWER = np.tril(SQUARE)
COMPLEX = N(3, 3) + 1j * N(3, 3, seed=1) + 3 * np.eye(3)
COMPACT, PIVOTS = SQUARE - np.diag(np.diag(SQUARE)) / 2, np.array([2, 2, 4, 4], np.int32)
BLOCKS = np.array([-2, -2, 3, 4], np.int32)


def call(*args: Any, **kwargs: Any) -> Call:
    """One sample call."""
    return args, kwargs


def add(names: str, *calls: Call) -> None:
    """Enter the calls for each of several ops."""
    for name in names.split():
        MATRICES.setdefault(name, []).extend(calls)


add("identity", call(N(3), 3, 4))

# ---------------------------------------------------------------- factors
add("linalg_cholesky linalg_cholesky_ex", call(SYMMETRIC), call(SYMMETRIC, upper=True))
add("linalg_qr qr", call(N(4, 3)), call(BATCH))
add("linalg_svd", call(N(4, 3), False), call(N(2, 3, 4), False))
add("linalg_svdvals", call(N(4, 3)), call(BATCH))
add("svd", call(N(3, 4)))
add("linalg_eigh linalg_eigvalsh", call(SYMMETRIC))
add("linalg_eigvals", call(SYMMETRIC))
add("linalg_lu linalg_lu_factor linalg_lu_factor_ex lu", call(SQUARE), call(N(4, 3)))
add("linalg_lu linalg_lu_factor linalg_lu_factor_ex lu", call(N(2, 3, 5)), call(COMPLEX))
add("linalg_ldl_factor linalg_ldl_factor_ex", call(SYMMETRIC), call(BATCH))
add("linalg_ldl_factor linalg_ldl_factor_ex", call(COMPLEX, hermitian=True), call(COMPLEX))
add("geqrf", call(N(4, 3)), call(N(2, 3, 4)), call(COMPLEX))

# ---------------------------------------------------------------- what factors stand for
add("pivot_matrix", call(PIVOTS, 4, SQUARE))
add("lu_unpack", call(COMPACT, PIVOTS))
add("linalg_lu_solve", *(call(COMPACT, PIVOTS, N(4, 2), adjoint=turned) for turned in (0, 1)))
add("linalg_lu_solve", call(COMPACT, PIVOTS, N(2, 4), left=False))
add("lu_solve", call(N(4, 2), COMPACT, PIVOTS))
add("linalg_ldl_solve", call(COMPACT, PIVOTS, N(4, 2)), call(COMPACT, BLOCKS, N(2, 4, 3)))
add("linalg_householder_product", call(N(4, 3), N(3)), call(N(2, 4, 3), N(2, 2)))
add("linalg_householder_product", call(COMPLEX, N(3) + 1j * N(3, seed=1)))
add("ormqr", call(N(4, 3), N(3), N(4, 2)), call(N(4, 3), N(3), N(2, 4), False, True))
add("ormqr", call(COMPLEX, N(3) + 1j * N(3, seed=1), COMPLEX, True, True))

# ---------------------------------------------------------------- systems
add("linalg_solve linalg_solve_ex", call(SQUARE, N(4, 2)), call(BATCH, N(2, 3)))
add("linalg_solve linalg_solve_ex", call(SQUARE, N(2, 4), left=False))
add("linalg_solve_triangular", call(LOWER, N(4, 2), upper=False))
add("linalg_solve_triangular", call(LOWER.T, N(2, 4), upper=True, left=False))
add("linalg_solve_triangular", call(BATCH, N(5, 1, 3, 2), upper=True, unitriangular=True))
add("triangular_solve", call(N(4, 2), LOWER.T))
add("cholesky_solve", call(N(4, 2), LOWER))
add("cholesky_inverse", call(LOWER))
add("linalg_inv linalg_inv_ex linalg_det linalg_slogdet", call(SQUARE), call(BATCH))
add("logdet", call(SYMMETRIC))
add("linalg_matrix_power", call(SQUARE, 3), call(SQUARE, -2), call(SQUARE, 0))
add("linalg_matrix_exp", call(BATCH))
add("linalg_tensorinv", call(N(4, 6, 8, 3), 2))
add("linalg_tensorsolve", call(N(2, 3, 6), N(2, 3)))
add("pseudo_inverse", call(N(3, 4), np.array([0])))
add("linalg_pinv pinverse", call(N(3, 4)), call(BATCH))
add("linalg_lstsq", call(N(5, 3), N(5, 2)))

# ---------------------------------------------------------------- products and norms
add("linalg_cross cross", call(N(2, 3), N(2, 3, seed=1)))
add("cross_product", call(N(2, 3), N(2, 3, seed=1), -1), call(N(3, 2), N(3, 2, seed=1), -2))
add("linalg_vecdot", call(N(2, 3), N(2, 3, seed=1)))
add("linalg_multi_dot", call([N(2, 3), N(3, 4), N(4, 2)]))
add("linalg_vander", call(N(3)), call(N(2, 3), N=4))
add("vander", call(N(3)), call(N(3), 2, True))
add("linalg_diagonal", call(N(2, 3, 3)))
add("linalg_matrix_norm", *(call(N(3, 4), o) for o in ("fro", "nuc", 1, 2, -2, INF)))
add("linalg_norm", call(N(3, 4)), call(N(3, 4), 1), call(N(3, 4), 3, 1))
add("linalg_cond", call(SQUARE), call(SQUARE, "fro"))
add("linalg_matrix_rank", call(N(3, 4)), call(SYMMETRIC, hermitian=True))
