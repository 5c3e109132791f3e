"""Factors of matrices, what LAPACK says of them, and what is made of them, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import normal as N
from tests.oracle import FAILING, Scripts
from tests.oracle import agree as agree_on_script

BATCH = N(2, 3, 3) + 3 * np.eye(3)
COMPLEX = N(2, 4, 4) + 1j * N(2, 4, 4, seed=1)
SINGULAR = np.stack([np.eye(3), np.ones((3, 3)), np.diag([1.0, 0, 2])])
INDEFINITE = np.stack(
    [np.eye(3), np.diag([1.0, -1, 2]), np.array([[4.0, 2, 1], [2, 1, 1], [1, 1, 1]])]
)
NAN = float("nan")
scripts = Scripts()


# ---------------------------------------------------------------- infos
@scripts
def infos_of_singular_matrices(L):
    a = L.from_numpy(SINGULAR)
    b = L.from_numpy(N(3, 3, 2))
    found = [L.linalg.inv_ex(a), L.linalg.solve_ex(a, b), L.linalg.lu_factor_ex(a)]
    return [[f[0][0], f[-1]] for f in found] + [L.linalg.inv_ex(a[0]), found[2].LU]


@scripts
def infos_of_indefinite_matrices(L):
    a = L.from_numpy(INDEFINITE)
    found = L.linalg.cholesky_ex(a), L.linalg.cholesky_ex(a, upper=True)
    return [[f.L[0], f.info] for f in found] + [L.linalg.cholesky_ex(a[1]).info]


@scripts
def gradients_through_infos(L):
    a = L.from_numpy(BATCH).requires_grad_()
    positive = a @ a.mT
    parts = [
        L.linalg.inv_ex(a).inverse, L.linalg.cholesky_ex(positive, upper=True).L,
        L.linalg.solve_ex(a, L.from_numpy(N(2, 3)))[0], L.linalg.lu_factor_ex(a).LU,
    ]  # fmt: skip
    return L.autograd.grad(sum((p**3).sum() for p in parts), a)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 3, 3)])
def test_lu_in_one_matrix_has_both_gradients(shape: tuple[int, ...]) -> None:
    def script(L):
        a = L.from_numpy(N(*shape)).requires_grad_()
        out = L.linalg.lu_factor(a)[0]
        (g,) = L.autograd.grad((out * L.from_numpy(N(*shape, seed=2))).sum(), a, create_graph=True)
        return [out, g, *L.autograd.grad((g**2).sum(), a)]

    agree_on_script(script, rtol=1e-7, atol=1e-9)


MESSAGES = [
    lambda L: L.linalg.inv(L.from_numpy(SINGULAR)),
    lambda L: L.linalg.inv(L.ones(2, 2)),
    lambda L: L.linalg.inv_ex(L.from_numpy(SINGULAR), check_errors=True),
    lambda L: L.linalg.solve(L.from_numpy(SINGULAR), L.from_numpy(N(3, 3))),
    lambda L: L.linalg.solve_ex(L.zeros(2, 2), L.ones(2), check_errors=True),
    lambda L: L.linalg.cholesky(L.from_numpy(INDEFINITE)),
    lambda L: L.linalg.cholesky(-L.eye(3)),
    lambda L: L.linalg.cholesky_ex(L.from_numpy(INDEFINITE), check_errors=True),
    lambda L: L.linalg.lu_factor(L.ones(2, 2)),
    lambda L: L.linalg.lu_factor_ex(L.from_numpy(SINGULAR), check_errors=True),
    lambda L: L.linalg.svd(L.full((2, 3), NAN)),
    lambda L: L.linalg.cholesky(L.full((2, 2), NAN)),
]


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_what_lapack_cannot_do_is_said_as_by_torch(number: int) -> None:
    torch = pytest.importorskip("torch")
    said = []
    for library in (flambeau, torch):
        with pytest.raises(RuntimeError) as caught:
            MESSAGES[number](library)
        said.append((isinstance(caught.value, library.linalg.LinAlgError), str(caught.value)))
    assert said[0][0] == said[1][0]
    assert said[0][1].startswith(said[1][1])


@scripts
def numbers_that_are_not_finite(L):
    a = L.full((2, 2), NAN)
    return [
        L.linalg.det(a), L.linalg.inv(a), L.linalg.qr(a), L.linalg.lu(a), L.linalg.solve(a, a),
        L.linalg.lu_factor(a), L.linalg.eigh(a), L.linalg.eigvalsh(a), L.linalg.slogdet(a)[1],
    ]  # fmt: skip


# ---------------------------------------------------------------- LDL
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 70])
def test_ldl(n: int, hermitian: bool, dtype: str) -> None:
    values = N(3, n, n) + (1j * N(3, n, n, seed=1) if dtype.startswith("complex") else 0)
    values[1] *= np.tri(n, k=-1)  # a diagonal of zeros needs blocks of two rows
    values[1] += n * np.eye(n)[::-1]
    wide = dtype in ("float64", "complex128")

    def script(L):
        a = L.from_numpy(values).to(getattr(L, dtype))
        b = L.from_numpy(N(3, n, 2)).to(a.dtype)
        found = L.linalg.ldl_factor_ex(a, hermitian=hermitian)
        x = L.linalg.ldl_solve(found.LD, found.pivots, b, hermitian=hermitian)
        return [*found, *L.linalg.ldl_factor(a, hermitian=hermitian), x]

    tolerance = 1e-8 if wide else 1e-2
    agree_on_script(script, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("hermitian", [False, True])
def test_ldl_solves(hermitian: bool) -> None:
    lower = np.tril(COMPLEX, -1)
    turned = np.swapaxes(lower, -1, -2)
    diagonal = np.real(COMPLEX) * np.eye(4) if hermitian else COMPLEX * np.eye(4)
    a = lower + (np.conj(turned) if hermitian else turned) + diagonal
    b = N(5, 1, 4, 3) + 0j
    factors = flambeau.linalg.ldl_factor(flambeau.from_numpy(a), hermitian=hermitian)
    x = flambeau.linalg.ldl_solve(*factors, flambeau.from_numpy(b), hermitian=hermitian)
    np.testing.assert_allclose(x.numpy(), np.linalg.solve(a, b), 1e-9, 1e-9)


@pytest.mark.parametrize("pivots", [[0, 2, 3], [1, 2, 4], [1, 2, -3], [-2, 2, 3], [-9, -9, 3]])
def test_pivots_that_lead_out_of_the_matrix_are_refused(pivots: list[int]) -> None:
    with pytest.raises(RuntimeError, match="pivots must lie between 1 and 3"):
        flambeau.linalg.ldl_solve(
            flambeau.eye(3), flambeau.tensor(pivots, dtype=flambeau.int32), flambeau.ones(3, 1)
        )
    if pivots[-1] != -3 and pivots[0] >= 0:
        with pytest.raises(RuntimeError, match="pivots passed to lu_unpack must be between"):
            flambeau.lu_unpack(flambeau.eye(3), flambeau.tensor(pivots, dtype=flambeau.int32))


# ---------------------------------------------------------------- reflections
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4), (0, 3, 2), (3, 0), (40, 33)])
def test_reflections(shape: tuple[int, ...], dtype: str) -> None:
    values = N(*shape) + (1j * N(*shape, seed=1) if dtype == "complex128" else 0)
    rows = shape[-2]

    def script(L):
        a, tau = L.geqrf(L.from_numpy(values))
        c = L.from_numpy(N(*shape[:-2], rows, 2)).to(a.dtype)
        tall = a[..., : min(shape[-2:])]
        whole = L.eye(rows, dtype=a.dtype).expand(*shape[:-2], rows, rows)
        out = [a, tau, L.orgqr(tall, tau), L.linalg.householder_product(tall, tau)]
        for turn in (False, True):
            out.append(L.ormqr(a, tau, c, transpose=turn))
            out.append(a.ormqr(tau, c.mT, left=False, transpose=turn))
        q = L.ormqr(a, tau, whole)
        return [*out, q.mH @ q]

    agree_on_script(script, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("left", [True, False])
def test_reflections_have_gradients(left: bool) -> None:
    def script(L):
        a = L.from_numpy(COMPLEX[:, :, :3]).requires_grad_()
        tau = L.from_numpy(N(2, 3) + 1j * N(2, 3, seed=1)).requires_grad_()
        c = L.from_numpy(COMPLEX).requires_grad_()
        out = L.ormqr(a, tau, c, left)
        return L.autograd.grad((out.abs() ** 2 + out.real).sum(), [a, tau, c])

    agree_on_script(script, rtol=1e-8, atol=1e-8)


# ---------------------------------------------------------------- vectors free to turn
def _turning(what: str, L, x):
    if what == "svd":
        return L.linalg.svd(x, full_matrices=False)[0]
    return getattr(L.linalg, what)(x + x.mH if what == "eigh" else x)[1]


@pytest.mark.parametrize("what", ["svd", "eigh", "eig"])
def test_losses_that_follow_phases_are_refused(what: str) -> None:
    torch = pytest.importorskip("torch")
    for library in (flambeau, torch):
        x = library.from_numpy(COMPLEX).requires_grad_()
        loss = (_turning(what, library, x) * library.from_numpy(N(2, 4, 4, seed=3))).imag.sum()
        with pytest.raises(RuntimeError, match=f"{what}_backward: .* in the complex case"):
            loss.backward()


@pytest.mark.parametrize("what", ["svd", "eigh", "eig"])
def test_losses_that_do_not_are_followed(what: str) -> None:
    def script(L):
        x = L.from_numpy(COMPLEX).requires_grad_()
        (_turning(what, L, x).abs() ** 3).sum().backward()
        return x.grad

    agree_on_script(script, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------- systems with factors
@scripts
def systems_with_factors(L):
    c = L.linalg.cholesky(L.from_numpy(COMPLEX @ np.conj(np.swapaxes(COMPLEX, 1, 2))))
    a, b = L.from_numpy(COMPLEX), L.from_numpy(N(3, 1, 4, 2)).to(L.complex128)
    lu, pivots = L.linalg.lu_factor(a)
    return [
        L.linalg.lu_solve(lu, pivots, b), L.linalg.lu_solve(lu, pivots, b, adjoint=True),
        L.linalg.lu_solve(lu, pivots, b.mT, left=False),
        L.linalg.lu_solve(lu, pivots, b.mT, left=False, adjoint=True),
        L.cholesky_solve(b, a), L.cholesky_solve(b, a, upper=True),
        L.cholesky_inverse(c), L.cholesky_inverse(c.mH, True), L.cholesky_inverse(c[0]),
        L.lu_unpack(lu, pivots, unpack_data=False), L.lu_unpack(lu, pivots, True, False),
    ]  # fmt: skip


@pytest.mark.parametrize("lead", [(), (2,), (300,), (0,)])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_triangular_systems(lead: tuple[int, ...], unit: bool, upper: bool, dtype: str) -> None:
    a = N(*lead, 5, 5) + 4 * np.eye(5)
    a[..., 2, 2] = 4

    def script(L):
        t, b = (L.from_numpy(x).to(getattr(L, dtype)) for x in (a, N(2, *[1] * len(lead), 5, 3)))
        way = {"upper": upper, "unitriangular": unit}
        return [
            L.linalg.solve_triangular(t, b, **way),
            L.linalg.solve_triangular(t.mT, b.mT, left=False, **way),
            L.linalg.solve_triangular(t[..., :0, :0], b[..., :0, :], **way),
            L.triangular_solve(b, t, upper, True, unit).solution,
        ]

    agree_on_script(script, rtol=1e-4, atol=1e-5)


@scripts
def many_small_matrices(L):
    a = L.from_numpy(N(40, 5, 4))
    found = L.linalg.lu(a)
    return [*found, found.P @ found.L @ found.U - a, *L.linalg.lu_factor(a)]


@scripts
def a_zero_on_the_diagonal_is_divided_by(L):
    a = L.tensor([[1.0, 2], [0, 0]])
    return [
        L.linalg.solve_triangular(a, L.ones(2, 1), upper=True),
        L.linalg.solve_triangular(a.expand(9, 2, 2), L.ones(2, 1), upper=True),
    ]


# ---------------------------------------------------------------- without elements
EMPTY = [(0, 0), (2, 0, 0), (0, 3, 3)]


@pytest.mark.parametrize("shape", EMPTY)
def test_empty_square_matrices(shape: tuple[int, ...]) -> None:
    def script(L):
        a = L.zeros(shape)
        names = "inv inv_ex det slogdet cholesky cholesky_ex eigh eigvalsh eig eigvals svd svdvals"
        names += " qr lu lu_factor lu_factor_ex ldl_factor ldl_factor_ex pinv matrix_rank"
        lu, pivots = L.linalg.lu_factor(a)
        ld, blocks = L.linalg.ldl_factor(a)
        b = L.zeros(*shape[:-1], 2)
        return [
            [getattr(L.linalg, n)(a) for n in names.split()], L.matrix_exp(a),
            L.linalg.matrix_power(a, 3), L.linalg.matrix_power(a, -1), L.geqrf(a), L.logdet(a),
            L.linalg.solve(a, b), L.linalg.lu_solve(lu, pivots, b), L.cholesky_solve(b, a),
            L.linalg.ldl_solve(ld, blocks, b), L.cholesky_inverse(a), L.lu_unpack(lu, pivots),
            L.linalg.solve_triangular(a, b, upper=True), L.linalg.lstsq(a, b).solution,
        ]  # fmt: skip

    agree_on_script(script)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (2, 0, 3), (0, 2, 3)])
def test_empty_oblong_matrices(shape: tuple[int, ...]) -> None:
    def script(L):
        a = L.zeros(shape)
        names = "svd svdvals qr lu lu_factor lu_factor_ex pinv matrix_rank"
        return [[getattr(L.linalg, n)(a) for n in names.split()], L.geqrf(a)]

    agree_on_script(script)


# ---------------------------------------------------------------- names, outputs and refusals
@scripts
def results_have_names(L):
    a, b = L.from_numpy(BATCH), L.from_numpy(N(2, 3, 2))
    lu = L.linalg.lu_factor_ex(a)
    return [
        L.linalg.lstsq(a, b).solution, L.lu_unpack(lu.LU, lu.pivots).L, L.qr(a).R.abs(),
        L.svd(a).S, L.triangular_solve(b, a).cloned_coefficient, L.geqrf(a).tau,
        L.linalg.lu(a).P, L.slogdet(a).logabsdet, L.histogram(b.flatten(), 3).hist,
        L.histogramdd(b, 2).bin_edges, L.linalg.ldl_factor(a).pivots,
    ]  # fmt: skip


def test_arguments_have_two_names() -> None:
    """One is PyTorch's own, the other stands in its documentation."""
    x = flambeau.from_numpy(BATCH)
    names = "det inv slogdet cholesky matrix_exp eigh eigvalsh eig pinv cond norm matrix_rank"
    for name in names.split():
        function = getattr(flambeau.linalg, name)
        plain = function(x @ x.mT)
        for word in ("A", "input"):
            found = function(**{word: x @ x.mT})
            pairs = zip(plain, found, strict=True) if isinstance(found, tuple) else [(plain, found)]
            for a, b in pairs:
                assert flambeau.equal(a, b)
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            function()
    assert flambeau.equal(flambeau.linalg.matrix_power(A=x, n=2), flambeau.matrix_power(x, 2))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'n'"):
        flambeau.linalg.matrix_power(A=x)


@pytest.mark.parametrize("name", "lu_factor_ex qr svd eigh slogdet ldl_factor_ex inv_ex lu".split())
def test_outputs_are_resized_and_keep_their_dtype(name: str) -> None:
    a = flambeau.from_numpy(BATCH)
    plain = getattr(flambeau.linalg, name)(a)
    outs = tuple(flambeau.empty(0, dtype=p.dtype) for p in plain)
    found = getattr(flambeau.linalg, name)(a, out=outs)
    assert type(found) is type(plain)
    for a_plain, given, made in zip(plain, outs, found, strict=True):
        assert made is given
        np.testing.assert_array_equal(a_plain.numpy(), given.numpy())
    outs = tuple(p.to(flambeau.complex128) for p in plain)
    with pytest.raises(RuntimeError, match="dtype"):
        getattr(flambeau.linalg, name)(a, out=outs)


REFUSED = [
    lambda L: L.linalg.ldl_factor(L.ones(3, 2)),
    lambda L: L.linalg.ldl_factor_ex(L.ones(3)),
    lambda L: L.linalg.ldl_factor(L.ones(3, 3).long()),
    lambda L: L.linalg.ldl_solve(L.eye(3), L.ones(3), L.ones(3, 2)),
    lambda L: L.linalg.ldl_solve(L.eye(3), L.ones(2).int(), L.ones(3, 2)),
    lambda L: L.linalg.ldl_solve(L.eye(3), L.ones(3).int(), L.ones(2, 2)),
    lambda L: L.linalg.ldl_solve(L.eye(3), L.ones(3).int(), L.ones(3, 2).double()),
    lambda L: L.geqrf(L.ones(3)),
    lambda L: L.geqrf(L.ones(3, 3).long()),
    lambda L: L.ormqr(L.ones(4, 3), L.ones(3), L.ones(3, 3)),
    lambda L: L.ormqr(L.ones(4, 3), L.ones(2), L.ones(4, 3)),
    lambda L: L.ormqr(L.ones(4, 3), L.ones(5), L.ones(4, 3)),
    lambda L: L.ormqr(L.ones(4, 3), L.ones(3), L.ones(2, 4, 3)),
    lambda L: L.ormqr(L.ones(4, 3), L.ones(3), L.ones(4, 3).double()),
    lambda L: L.orgqr(L.ones(2, 3), L.ones(2)),
    lambda L: L.orgqr(L.ones(4, 3), L.ones(4)),
    lambda L: L.orgqr(L.ones(4, 3), L.ones(3).double()),
    lambda L: L.linalg.lu(L.eye(3), pivot=False),
    lambda L: L.lu_unpack(L.eye(3), L.ones(3)),
    lambda L: L.lu_unpack(L.eye(3), L.tensor([1, 2, 7], dtype=L.int32)),
    lambda L: L.linalg.lu_solve(L.eye(3), L.ones(3).int(), L.ones(2, 1)),
    lambda L: L.linalg.svd(L.eye(3), driver="gesvd"),
    lambda L: L.cross(L.ones(2, 2), L.ones(2, 2)),
    lambda L: L.linalg.qr(L.eye(3, requires_grad=True), mode="r")[1].sum().backward(),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


@pytest.mark.parametrize("script", scripts.cases)
def test_script(script) -> None:
    agree_on_script(script, rtol=1e-6, atol=1e-8)
