"""Outer and cross products by kernels and by NumPy: NumPy's own, computed in float64."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import vector_products
from flambeau.compiler import threads
from tests.compiler.guarded import guarded


@pytest.mark.parametrize("few", [1, 10**9])
@pytest.mark.parametrize("seed", range(20))
def test_cross(seed, few, monkeypatch):
    monkeypatch.setattr(vector_products, "_FEW", few)
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    axis = int(rng.integers(0, rank))
    sizes = rng.integers(1, {1: 9, 2: 3000, 3: 60, 4: 13}[rank], rank)
    sizes[axis] = 3
    x, y = (guarded(rng.standard_normal(sizes).astype(np.float32)) for _ in "xy")
    if seed % 3 == 1:
        x = np.broadcast_to(x[..., :1], x.shape)
    if seed % 3 == 2:
        y = np.asfortranarray(y)
    threads.set_num_threads(1 + seed % 3)
    found = vector_products.cross(x, y, axis)
    threads.set_num_threads(2)
    exact = np.cross(x.astype(float), y.astype(float), axis=axis)
    scale = np.abs(x).max() * np.abs(y).max()
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() <= 1e-7 * scale if few == 1 else 4e-7 * scale


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.complex64])
def test_other_dtypes(kind):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, (800, 3, 2)).astype(kind) for _ in "xy")
    found = vector_products.cross(x, y, 1)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.cross(x, y, axis=1))


def test_of_nothing_and_of_one_direction():
    assert flambeau.linalg.cross(flambeau.ones(0, 3), flambeau.ones(0, 3)).shape == (0, 3)
    x = flambeau.randn(2000, 3)
    assert not flambeau.linalg.cross(x, x).any()
    x[7, 1] = float("nan")
    found = flambeau.linalg.cross(x, flambeau.ones(2000, 3))
    assert found.isnan().sum() == 2


def test_dtypes_and_shapes_meet():
    x = flambeau.ones(4, 1, 3, dtype=flambeau.int32)
    y = flambeau.rand(5, 3, dtype=flambeau.float64).unsqueeze(0)
    found = flambeau.linalg.cross(x, y)
    assert found.dtype is flambeau.float64
    np.testing.assert_allclose(found.numpy(), np.cross(x.numpy(), y.numpy()))
    for kind in (flambeau.float16, flambeau.bfloat16):
        a, b = flambeau.randn(50, 3, dtype=kind), flambeau.randn(50, 3, dtype=kind)
        exact = np.cross(a.double().numpy(), b.double().numpy())
        found = flambeau.linalg.cross(a, b)
        assert found.dtype is kind
        np.testing.assert_allclose(found.double().numpy(), exact, atol=0.05)


def test_gradients_sum_back_over_what_was_repeated():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 1)), rng.standard_normal((3, 700))
    x = flambeau.tensor(a, requires_grad=True)
    y = flambeau.tensor(b, requires_grad=True)
    flambeau.linalg.cross(x, y, dim=0).pow(2).sum().backward()
    g = 2 * np.cross(a, b, axis=0)
    np.testing.assert_allclose(x.grad.numpy(), np.cross(b, g, axis=0).sum(1, keepdims=True))
    np.testing.assert_allclose(y.grad.numpy(), np.cross(g, a, axis=0))


def test_vmap():
    x, y = flambeau.randn(6, 4, 3), flambeau.randn(4, 3)
    found = flambeau.func.vmap(flambeau.linalg.cross, (0, None))(x, y)
    exact = np.cross(x.numpy(), np.broadcast_to(y.numpy(), x.shape))
    np.testing.assert_allclose(found.numpy(), exact, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1), (60, 70), (1, 5000), (5000, 1), (0, 3), (331, 257)])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_outer(sizes, kind):
    rng = np.random.default_rng(0)
    x, y = ((rng.standard_normal(2 * n) * 9).astype(kind)[::2] for n in sizes)
    if x.size > 3 and kind is not np.int16:
        x[2] = np.nan
    np.testing.assert_array_equal(vector_products.outer(x, y), np.multiply.outer(x, y))


def test_outer_of_other_dtypes_and_its_gradients():
    x = flambeau.tensor([1, 2], dtype=flambeau.int32)
    y = flambeau.tensor([0.5, float("nan"), 3.0], dtype=flambeau.bfloat16)
    found = flambeau.outer(x, y)
    assert found.dtype is flambeau.bfloat16
    assert str(found.tolist()) == "[[0.5, nan, 3.0], [1.0, nan, 6.0]]"
    rng = np.random.default_rng(0)
    a, b, g = rng.random(80), rng.random(90), rng.random((80, 90))
    u, v = (flambeau.tensor(w, requires_grad=True) for w in (a, b))
    (flambeau.outer(u, v) * flambeau.from_numpy(g)).sum().backward()
    np.testing.assert_allclose(u.grad.numpy(), g @ b)
    np.testing.assert_allclose(v.grad.numpy(), a @ g)
