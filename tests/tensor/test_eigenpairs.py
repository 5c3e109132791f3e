"""Eigenpairs by products alone (lobpcg), against SciPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

import flambeau
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script


def matrix(m: int, dtype: str = "float64", seed: int = 0, lead: tuple[int, ...] = ()) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*lead, m, m)).astype(dtype)
    if x.dtype.kind == "c":
        x = x + 1j * rng.standard_normal((*lead, m, m)).astype(dtype)
    return x @ np.conj(np.swapaxes(x, -1, -2)) / m + np.eye(m, dtype=dtype)


def check(a: np.ndarray, values, vectors, k: int, largest: bool, b=None, rtol: float = 1e-6):
    """Compare with LAPACK's eigenvalues, and see that the pairs are eigenpairs."""
    exact = linalg.eigh(a, b, eigvals_only=True)
    exact = exact[::-1][:k] if largest else exact[:k]
    np.testing.assert_allclose(values.numpy(), exact, rtol)
    v = vectors.numpy()
    weighted = v if b is None else b @ v
    np.testing.assert_allclose(a @ v, weighted * values.numpy(), atol=3e3 * rtol)
    np.testing.assert_allclose(np.conj(v.T) @ weighted, np.eye(k), atol=1e2 * rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("m", "k"), [(3, 1), (12, 4), (40, 5), (100, 3)])
def test_pairs(m: int, k: int, largest: bool, dtype: str) -> None:
    flambeau.manual_seed(1)
    a = matrix(m, dtype)
    pairs = flambeau.lobpcg(flambeau.from_numpy(a), k, largest=largest, tol=1e-5)
    check(a, *pairs, k, largest, rtol=1e-4 if dtype == "float32" else 1e-6)


@pytest.mark.parametrize("largest", [True, False])
def test_generalized_problems_and_preconditioners(largest: bool) -> None:
    flambeau.manual_seed(1)
    a, b = matrix(50), matrix(50, seed=1)
    given = [flambeau.from_numpy(x) for x in (a, b, np.linalg.inv(a))]
    pairs = flambeau.lobpcg(given[0], 3, B=given[1], iK=given[2], largest=largest)
    check(a, *pairs, 3, largest, b)


def test_a_good_preconditioner_saves_steps() -> None:
    a = np.diag(np.arange(1.0, 301)) + 0.01 * matrix(300)
    steps = []
    for inverse in (None, flambeau.from_numpy(np.linalg.inv(a))):
        flambeau.manual_seed(1)
        seen: list[int] = []
        flambeau.lobpcg(
            flambeau.from_numpy(a), 2, iK=inverse, largest=False,
            tracker=lambda state, seen=seen: seen.append(state.ivars["istep"]),
        )  # fmt: skip
        steps.append(len(seen))
    assert steps[1] < steps[0] / 2


def test_batches_and_first_guesses() -> None:
    a = matrix(20, lead=(2, 3))
    x = np.random.default_rng(5).standard_normal((20, 4))
    values, vectors = flambeau.lobpcg(flambeau.from_numpy(a), X=flambeau.from_numpy(x), k=2)
    assert tuple(values.shape) == (2, 3, 2)
    assert tuple(vectors.shape) == (2, 3, 20, 2)
    for place in np.ndindex(2, 3):
        check(a[place], values[place], vectors[place], 2, True)


def test_a_tracker_sees_each_step_and_stops_the_search() -> None:
    seen = []

    def tracker(state) -> None:
        seen.append((state.ivars["istep"], state.tvars["rerr"].shape, state.X.shape))
        state.bvars["force_stop"] = state.ivars["istep"] == 2

    flambeau.lobpcg(flambeau.from_numpy(matrix(40)), 2, tracker=tracker, tol=0.0)
    assert seen == [(i, (2,), (40, 2)) for i in range(3)]
    seen.clear()
    flambeau.lobpcg(flambeau.from_numpy(matrix(40)), 2, tracker=tracker, niter=1, tol=0.0)
    assert len(seen) == 2


def test_values_and_gradients_as_in_torch() -> None:
    def script(L):
        a = L.from_numpy(matrix(12)).requires_grad_()
        values, vectors = L.lobpcg(a, 2, X=L.from_numpy(matrix(12)[:, :2]), tol=1e-10)
        loss = (values**2).sum() + (vectors**2).sum(1)[:3].prod()
        (g,) = L.autograd.grad(loss, a)
        return [values, vectors.abs(), g + g.mT]

    agree_on_script(script, rtol=1e-5, atol=1e-6)


def test_second_derivatives_are_those_of_all_eigenpairs() -> None:
    a = flambeau.from_numpy(matrix(9)).requires_grad_()

    def second(values):
        (g,) = flambeau.autograd.grad((values**3).sum(), a, create_graph=True)
        return flambeau.autograd.grad((g**2).sum(), a)[0]

    found = second(flambeau.lobpcg(a, 2, largest=False, tol=1e-12)[0])
    exact = second(flambeau.linalg.eigvalsh(a)[:2])
    np.testing.assert_allclose(found.numpy(), exact.numpy(), 1e-8, 1e-8)


REFUSED = [
    lambda L: L.lobpcg(L.eye(5), k=2),
    lambda L: L.lobpcg(L.eye(6, requires_grad=True), B=L.eye(6))[0].sum().backward(),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


def test_matrices_that_are_not_square_are_refused() -> None:
    with pytest.raises(AssertionError, match="A must be square"):
        flambeau.lobpcg(flambeau.ones(3, 4))
