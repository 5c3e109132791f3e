"""Decompositions, systems, determinants and norms of matrices, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import agree, case, normal
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

N = normal
SQUARE = N(4, 4) + 3 * np.eye(4)
POSITIVE = SQUARE @ SQUARE.T
BATCH = N(2, 3, 3) + 3 * np.eye(3)
INF = float("inf")

PLAIN = [
    case("linalg.inv", SQUARE), case("linalg.inv", BATCH), case("linalg.det", BATCH),
    case("linalg.slogdet", BATCH), case("logdet", POSITIVE), case("linalg.cholesky", POSITIVE),
    case("linalg.cholesky", POSITIVE, upper=True), case("linalg.solve", SQUARE, N(4, 2)),
    case("linalg.solve", BATCH, N(2, 3)), case("linalg.solve", BATCH, N(3, 2)),
    case("linalg.solve", SQUARE, N(2, 4), left=False), case("linalg.solve", SQUARE, N(4)),
    case("linalg.solve_triangular", np.tril(SQUARE), N(4, 2), upper=False),
    case("linalg.solve_triangular", np.triu(SQUARE), N(2, 4), upper=True, left=False),
    case("linalg.solve_triangular", SQUARE, N(4, 2), upper=True, unitriangular=True),
    case("cholesky_solve", N(4, 2), np.tril(SQUARE)), case("cholesky_inverse", np.tril(SQUARE)),
    case("linalg.qr", N(4, 3)), case("linalg.qr", BATCH), case("linalg.qr", N(3, 5)),
    case("linalg.svdvals", N(4, 3)), case("linalg.eigvalsh", POSITIVE), case("linalg.lu", SQUARE),
    case("linalg.lu", N(5, 3)), case("linalg.lu", N(3, 5)), case("linalg.lu_factor", SQUARE),
    case("linalg.lu_factor", N(5, 3)), case("linalg.lu_factor", N(3, 5)),
    case("linalg.matrix_power", SQUARE, 5), case("linalg.matrix_power", SQUARE, -2),
    case("linalg.matrix_exp", BATCH), case("linalg.pinv", N(3, 4)), case("linalg.pinv", N(4, 3)),
    case("linalg.cross", N(4, 3), N(4, 3, seed=1)), case("linalg.vecdot", N(4, 3), N(4, 3, seed=1)),
    case("linalg.multi_dot", [N(2, 5), N(5, 3), N(3, 7), N(7)]), case("linalg.vander", N(3), N=4),
    case("linalg.tensorinv", N(4, 6, 8, 3), 2), case("linalg.tensorsolve", N(2, 3, 6), N(2, 3)),
    case("linalg.diagonal", N(2, 3, 3)),
    case("linalg.cond", SQUARE), case("linalg.cond", SQUARE, -2),
    case("linalg.matrix_rank", N(3, 4)), case("linalg.norm", N(3, 4)), case("linalg.norm", N(4), 3),
    case("linalg.norm", N(3, 4), 1), case("linalg.norm", N(2, 3, 4), "fro", (0, 2), True),
    *(case("linalg.matrix_norm", N(2, 3, 4), o) for o in ("fro", "nuc", 1, -1, 2, -2, INF, -INF)),
    case("trace", SQUARE),
]  # fmt: skip


# PyTorch fails at the second derivatives of these.
ONCE = [case("linalg.householder_product", N(4, 3), N(3))]


@pytest.mark.parametrize("made", ONCE)
def test_value_and_gradient(made) -> None:
    agree(made, order=1, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", PLAIN)
def test_value_and_two_gradients(made, layout: str) -> None:
    agree(made, layout=layout, rtol=1e-6, atol=1e-8)


def rebuilt(L, what: str, x):
    """A function of a decomposition that does not depend on the signs it is free to choose."""
    if what == "svd":
        u, s, vh = L.linalg.svd(x, full_matrices=False)
        return u[..., :1] * s[..., :1].unsqueeze(-2) ** 2 @ vh[..., :1, :] + (u @ u.mH)[..., :1]
    if what == "eigh":
        w, v = L.linalg.eigh(x + x.mH)
        return v * (w**3).unsqueeze(-2) @ v.mH
    w, v = L.linalg.eig(x)
    return (v * w.unsqueeze(-2) ** 2 @ L.linalg.inv(v)).real + (w.abs() ** 2).sum()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("what", ["svd", "eigh", "eig"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (5, 3), (3, 5)])
def test_decompositions_up_to_signs(what: str, shape: tuple[int, ...], dtype: str) -> None:
    if what != "svd" and shape[-1] != shape[-2]:
        pytest.skip("square matrices only")
    values = N(*shape) + (1j * N(*shape, seed=1) if dtype == "complex128" else 0)

    def script(L):
        x = L.from_numpy(values).requires_grad_()
        out = rebuilt(L, what, x)
        weights = L.from_numpy(N(*out.shape, seed=2))
        (g,) = L.autograd.grad((out.real * weights).sum(), x, create_graph=True)
        (h,) = L.autograd.grad((g.real * L.from_numpy(N(*shape, seed=3))).sum(), x)
        return [out, g, h]

    agree_on_script(script, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "cholesky", "solve", "qr", "lu", "pinv"])
def test_complex_gradients(name: str) -> None:
    values = BATCH + 1j * N(2, 3, 3, seed=1)

    def script(L):
        x = L.from_numpy(values).requires_grad_()
        if name == "cholesky":
            out = L.linalg.cholesky(x @ x.mH + 3 * L.eye(3))
        elif name == "solve":
            out = L.linalg.solve(x, L.from_numpy(values).mH)
        else:
            out = getattr(L.linalg, name)(x)
        parts = out if isinstance(out, tuple) else (out,)
        loss = sum((abs(p - 0.3j) ** 2 + p.real).sum() for p in parts if p.requires_grad)
        loss.backward()
        return [*parts, x.grad]

    agree_on_script(script, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rank", [2, 1, 0])
def test_determinant_of_singular_matrices_has_a_gradient(rank: int) -> None:
    values = (N(3, max(rank, 1)) @ N(max(rank, 1), 3)) * (rank > 0)

    def script(L):
        x = L.from_numpy(values).requires_grad_()
        L.linalg.det(x).backward()
        return x.grad

    agree_on_script(script, rtol=1e-6, atol=1e-9)


def test_least_squares() -> None:
    def script(L):
        a, b = L.from_numpy(N(6, 3)).requires_grad_(), L.from_numpy(N(6, 2)).requires_grad_()
        found = L.linalg.lstsq(a, b)
        (found[0] ** 2).sum().backward()
        wide = L.linalg.lstsq(L.from_numpy(N(3, 6)), L.from_numpy(N(3, 2)), driver="gelsd")
        return [found[0], found[1], a.grad, b.grad, wide[0], wide[2], wide[3]]

    agree_on_script(script, rtol=1e-7, atol=1e-9)


def test_factors_solve() -> None:
    def script(L):
        a, b = L.from_numpy(BATCH), L.from_numpy(N(2, 3, 2))
        lu, pivots = L.linalg.lu_factor(a)
        p, lower, upper = L.lu_unpack(lu, pivots)
        return [
            L.linalg.lu_solve(lu, pivots, b), L.lu_solve(b, lu, pivots), pivots, p @ lower @ upper,
            L.linalg.lu_solve(lu, pivots, b, adjoint=True), *L.linalg.inv_ex(a),
            *L.linalg.cholesky_ex(a @ a.mT), *L.triangular_solve(b, a), L.matrix_exp(a * 0),
            L.svd(a)[1], *[abs(x) for x in L.qr(a)], L.inverse(a), L.det(a), L.matrix_power(a, 2),
            L.vander(L.arange(4)), L.vander(L.tensor([0.5, 2.0]), 3, increasing=True),
        ]  # fmt: skip

    agree_on_script(script, rtol=1e-7, atol=1e-9)


def test_empty_and_names() -> None:
    def script(L):
        e = L.zeros(0, 3, 3)
        found = L.linalg.svd(L.eye(3))
        return [
            L.linalg.inv(e), L.linalg.det(e), L.linalg.det(L.zeros(0, 0)), found.S,
            L.linalg.eigh(L.eye(2)).eigenvalues, L.linalg.slogdet(L.eye(2) * 2).logabsdet,
            L.linalg.matrix_norm(e), L.linalg.solve(e, e), L.linalg.cholesky(e),
        ]  # fmt: skip

    agree_on_script(script)


REFUSED = [
    lambda L: L.linalg.inv(L.ones(2, 3)),
    lambda L: L.linalg.inv(L.ones(3)),
    lambda L: L.linalg.inv(L.ones(3, 3).long()),
    lambda L: L.linalg.solve(L.eye(3), L.ones(4)),
    lambda L: L.linalg.det(L.ones(2, 3)),
    lambda L: L.linalg.eigh(L.eye(2), UPLO="X"),
    lambda L: L.linalg.qr(L.eye(2), mode="full"),
    lambda L: L.linalg.matrix_norm(L.ones(3)),
    lambda L: L.linalg.matrix_norm(L.eye(3), 3),
    lambda L: L.linalg.cross(L.ones(2), L.ones(2)),
    lambda L: L.linalg.multi_dot([L.eye(2)]),
    lambda L: L.linalg.solve_triangular(L.eye(3), L.ones(4, 1), upper=True),
    lambda L: L.linalg.tensorinv(L.ones(2, 3), 1),
    lambda L: L.linalg.lstsq(L.ones(3, 2), L.ones(4, 1)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


SINGULAR = [
    lambda L: L.linalg.inv(L.zeros(3, 3)),
    lambda L: L.linalg.solve(L.zeros(3, 3), L.ones(3)),
    lambda L: L.linalg.cholesky(-L.eye(3)),
]


@pytest.mark.parametrize("number", range(len(SINGULAR)))
def test_what_lapack_cannot_do_has_its_own_error(number: int) -> None:
    torch = pytest.importorskip("torch")
    for library in (flambeau, torch):
        with pytest.raises(library.linalg.LinAlgError, match="could not be completed|singular"):
            SINGULAR[number](library)


@pytest.mark.parametrize("kinds", [("int64", "int64"), ("float32", "float64"), ("bool", "bool")])
def test_vecdot_refuses_integers_and_mixtures(kinds):
    for L in (flambeau, pytest.importorskip("torch")):
        x, y = (L.ones(2, dtype=getattr(L, kind)) for kind in kinds)
        with pytest.raises(RuntimeError, match="linalg.vecdot: Expected"):
            L.linalg.vecdot(x, y)
