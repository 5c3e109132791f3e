"""Kernels for batches of small matrices against LAPACK, and what they make of singular ones."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import small_factors
from flambeau.compiler import jit
from flambeau.ops import lu_factors, symmetric_factors, triangular

pytest.importorskip("scipy")
pytestmark = pytest.mark.skipif(not jit.available(), reason="kernels are off")

KINDS = [np.float32, np.float64]


def tolerance(kind: type) -> dict[str, float]:
    return {"rtol": 2e-3, "atol": 2e-4} if kind is np.float32 else {"rtol": 1e-9, "atol": 1e-11}


def numbers(rng: np.random.Generator, kind: type, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 4), (1, 1), (32, 32), (5, 9), (9, 5), (1, 7), (7, 1)])
def test_lu_is_lapacks(kind: type, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    a = numbers(rng, kind, 2, 3, *shape)
    for source in (
        a,
        a[:, ::2],
        a[:0],
        np.swapaxes(np.swapaxes(a, -1, -2).copy(), -1, -2),
        a[0, 0],
    ):
        if not source.size:
            assert small_factors.lu(source) is None
            continue
        found = small_factors.lu(source)
        assert found is not None
        compact, pivots = lu_factors._factored_by_lapack(source)
        np.testing.assert_array_equal(found[1], pivots)
        np.testing.assert_allclose(found[0], compact, **tolerance(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8), (2, 2), (32, 32), (5, 16), (16, 5), (1, 32), (32, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_qr_is_lapacks(scale: float, shape: tuple[int, int], kind: type) -> None:
    a = numbers(np.random.default_rng(sum(shape)), kind, 3, 16, *shape) * kind(scale)
    turned = np.swapaxes(np.swapaxes(a, -1, -2).copy(), -1, -2)
    for source in (a, a[:, ::2], turned, a[0] if a[0, 0].size < 64 else a[0, 0]):
        found = small_factors.qr(source)
        assert found is not None
        for ours, theirs in zip(found, np.linalg.qr(source), strict=True):
            assert ours.dtype == kind
            assert ours.shape == theirs.shape
            bound = 200 * np.finfo(kind).eps * np.abs(theirs).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)


def test_qr_of_deficient_and_of_few_numbers() -> None:
    a = np.random.default_rng(0).normal(size=(4, 6, 6))
    a[0, :, 0], a[1, :, 3], a[2] = 0.0, a[1, :, 1], 0.0
    found = small_factors.qr(a)
    assert found is not None
    q, r = found
    np.testing.assert_allclose(q @ r, a, atol=1e-14)
    np.testing.assert_allclose(
        np.swapaxes(q, -1, -2) @ q, np.broadcast_to(np.eye(6), q.shape), atol=1e-14
    )
    np.testing.assert_array_equal(r, np.triu(r))
    np.testing.assert_array_equal(q[2], np.eye(6))
    a[3, 2, 1] = np.nan
    unknown = small_factors.qr(a)
    assert unknown is not None
    assert np.isnan(unknown[1][3, 1:, 1:]).any()
    assert small_factors.qr(a[0]) is None


def test_lu_of_singular_matrices_goes_on_as_lapack_does() -> None:
    a = np.stack([np.ones((3, 3)), np.zeros((3, 3)), np.diag([0.0, 1, 0]), np.eye(3)[::-1]])
    found = small_factors.lu(a)
    assert found is not None
    compact, pivots = lu_factors._factored_by_lapack(a)
    np.testing.assert_array_equal(found[0], compact)
    np.testing.assert_array_equal(found[1], pivots)
    np.testing.assert_array_equal(lu_factors.factored(a)[2], [2, 1, 1, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 32])
def test_ldl_is_lapacks(kind: type, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    a = numbers(rng, kind, 40, n, n)
    place = np.arange(n)
    a[::2, place, place] *= kind(0.01)  # blocks of two rows
    a[1] = 0
    a[3, :, 0] = 0
    found = small_factors.ldl(a)
    assert found is not None
    monkeypatch.setattr(small_factors, "ldl", lambda a: None)
    compact, pivots, infos = symmetric_factors._ldl_factors(a, False)
    np.testing.assert_array_equal(found[1], pivots)
    np.testing.assert_array_equal(found[2], infos)
    assert n == 1 or (pivots < 0).any()
    np.testing.assert_allclose(found[0], compact, **tolerance(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3, 32])
@pytest.mark.parametrize("columns", [1, 5])
def test_substitution_is_blas(
    kind: type, n: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n + columns)
    a = numbers(rng, kind, 2, 1, n, n) / 4 + np.eye(n, dtype=kind)
    b = numbers(rng, kind, 3, columns, n)
    for source, upper, left, unit in [
        (a, False, True, False), (a, True, True, True), (np.swapaxes(a, -1, -2), True, True, False),
        (a, True, False, False), (a, False, False, True),
    ]:  # fmt: skip
        right = np.swapaxes(b, -1, -2) if left else b
        found = triangular.solved(source, right, upper=upper, left=left, unit=unit)
        with monkeypatch.context() as patch:
            patch.setattr(small_factors, "substituted", lambda *_: None)
            expected = triangular.solved(source, right, upper=upper, left=left, unit=unit)
        assert found.shape == expected.shape == (2, *right.shape)
        np.testing.assert_allclose(found, expected, **tolerance(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_permutations_are_numpys(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    for n, k, lead in ((1, 1, (3,)), (5, 3, (2, 20)), (32, 32, ()), (4, 4, (17,))):
        pivots = np.minimum(np.arange(k) + 1 + rng.integers(0, n, (*lead, k)), n).astype(np.int32)
        found = lu_factors.permutation(pivots, n, np.dtype(kind))
        with monkeypatch.context() as patch:
            patch.setattr(small_factors, "permutations", lambda *_: None)
            expected = lu_factors.permutation(pivots, n, np.dtype(kind))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 3), (5, 1), (32, 4)])
def test_ldl_solutions_are_lapacks(
    kind: type, n: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n)
    a = numbers(rng, kind, 20, 1, n, n)
    place = np.arange(n)
    a[::2, ..., place, place] *= kind(0.01)  # blocks of two rows
    a = a + np.swapaxes(a, -1, -2)
    compact, pivots, _ = symmetric_factors._ldl_factors(a, False)
    b = numbers(rng, kind, 3, n, columns)
    found = symmetric_factors.linalg_ldl_solve.forward(compact, pivots, b)
    monkeypatch.setattr(small_factors, "ldl_solved", lambda *_: None)
    expected = symmetric_factors.linalg_ldl_solve.forward(compact, pivots, b)
    assert found.shape == expected.shape == (20, 3, n, columns)
    scale = np.abs(expected).max(axis=(-1, -2), keepdims=True)
    error = np.abs(found - expected) / scale
    assert error.max() < (1e-2 if kind is np.float32 else 1e-9)
    assert np.median(error) < (1e-6 if kind is np.float32 else 1e-14)


def test_zeros_on_the_diagonal_give_infinities() -> None:
    a, b = np.zeros((5, 2, 2)), np.ones((5, 2, 1))
    x = triangular.solved(a, b, upper=False)
    np.testing.assert_array_equal(x[:, 0], np.full((5, 1), np.inf))
    assert np.isnan(x[:, 1]).all()


def test_inputs_are_not_changed_and_threads_do_not_matter() -> None:
    rng = np.random.default_rng(7)
    a, b = numbers(rng, np.float64, 500, 12, 12), numbers(rng, np.float64, 500, 12, 2)
    kept, count = (a.copy(), b.copy()), flambeau.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            found = small_factors.lu(a), small_factors.ldl(a)
            results.append([*found[0], *found[1], small_factors.substituted(a, b, True, False)])
    finally:
        flambeau.set_num_threads(count)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


def test_kernels_are_their_own_python() -> None:
    rng = np.random.default_rng(3)
    a, b = numbers(rng, np.float64, 2, 4, 4), numbers(rng, np.float64, 2, 4, 3)
    compact, order = a.copy().reshape(-1), np.zeros(8, np.int32)
    small_factors.eliminated.python(2, compact, order, 4, 4)
    np.testing.assert_allclose(compact.reshape(2, 4, 4), small_factors.lu(a)[0], rtol=1e-12)
    x = b.copy().reshape(-1)
    small_factors.triangular_solved.python(2, a.reshape(-1), x, 4, 3, 1, 0)
    np.testing.assert_allclose(
        x.reshape(2, 4, 3), small_factors.substituted(a, b, True, False), rtol=1e-9
    )
