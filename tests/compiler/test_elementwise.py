"""Compiled element-wise loops and row reductions against float64 truth."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends.cpu.elementwise import Fused, fold_rows
from flambeau.compiler import jit, threads
from flambeau.compiler.expressions import trace

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled without the JIT")

FORMULAS = {
    "exp": (lambda m, x: m.exp(x), np.exp, 2),
    "log": (lambda m, x: m.log(m.abs(x)), lambda x: np.log(np.abs(x)), 2),
    "tanh": (lambda m, x: m.tanh(x), np.tanh, 4),
    "sigmoid": (lambda m, x: m.sigmoid(x), lambda x: 1 / (1 + np.exp(-x)), 3),
    "sqrt": (lambda m, x: m.sqrt(m.abs(x)), lambda x: np.sqrt(np.abs(x)), 1),
    "relu": (lambda m, x: m.where(x > 0, x, 0), lambda x: np.where(x > 0, x, 0), 0),
    "square": (lambda m, x: m.square(x) - x / 3, lambda x: x * x - x / 3, 8),
}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 88.0, 89.0, -104.0, -200.0, 1e30]


def _unused(*_arrays):
    raise AssertionError("there is a kernel for this")


def _fused(name):
    return Fused(name, trace(FORMULAS[name][0]), ["x"], _unused)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 7, 64, 1000, 100_003])
@pytest.mark.parametrize("name", FORMULAS)
def test_values(name, count, dtype):
    if name == "log" and dtype == "float64":
        pytest.skip("no polynomial for float64: NumPy computes it")
    x = (np.random.default_rng(count).standard_normal(count) * 3).astype(dtype)
    truth = FORMULAS[name][1](x.astype(np.longdouble))
    result = _fused(name)(x)
    assert result.dtype == x.dtype
    # Units in the last place of the result, and of the terms where they cancel.
    scale = np.abs(truth) + (np.abs(x) / 3 if name == "square" else 0)
    assert (np.abs(result - truth) <= FORMULAS[name][2] * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_special_values(name):
    x = np.array(SPECIAL * 10, np.float32)
    with np.errstate(all="ignore"):
        truth = FORMULAS[name][1](x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(_fused(name)(x), truth, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_broadcasting_and_threads(count):
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((300, 1000)).astype(np.float32)
    add = Fused("add", trace(lambda m, x, y: x + y * 2), ["x", "y"], _unused)
    others = [whole[0], whole[:, :1].copy(), np.full((), 3, np.float32), whole[::-1]]
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        for other in others:
            np.testing.assert_array_equal(add(whole, other), whole + other * np.float32(2))
    finally:
        threads.set_num_threads(before)


def test_truth_values_go_in_and_out():
    x = np.random.default_rng(1).standard_normal(10_000).astype(np.float32)
    less = Fused("less", trace(lambda m, x, y: x < y), ["x", "y"], _unused, is_truth=True)
    y = x[::-1].copy()
    mask = less(x, y)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, x < y)
    choose = Fused("choose", trace(lambda m, c, x, y: m.where(c, x, y)), ["c", "x", "y"], _unused)
    np.testing.assert_array_equal(choose(mask, x, y), np.where(mask, x, y))


def test_what_has_no_kernel_is_computed_by_the_reference():
    f = Fused("sine", trace(lambda m, x: m.sin(x)), ["x"], np.sin)
    x = np.linspace(0, 1, 9000, dtype=np.float32)
    np.testing.assert_array_equal(f(x), np.sin(x))
    plus = Fused("plus", trace(lambda m, x, y: x + y), ["x", "y"], np.add)
    whole = np.arange(9000)
    np.testing.assert_array_equal(plus(whole, whole), whole * 2)
    with pytest.raises(ValueError, match="broadcast"):
        plus(np.ones(9000, np.float32), np.ones(9001, np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 511), (4, 512), (2, 513), (100, 1300), (5, 0)])
def test_sums_of_rows(shape, dtype):
    x = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    truth = x.astype(np.longdouble).sum(1)
    result = fold_rows(x, "sum")
    assert result.dtype == np.float64
    assert (np.abs(result - truth) <= 8 * np.finfo(dtype).eps * np.abs(x).sum(1)).all()


@pytest.mark.parametrize("fold", ["maximum", "minimum"])
def test_extremes_of_rows(fold):
    x = np.random.default_rng(3).standard_normal((6, 1001)).astype(np.float32)
    x[1, 500], x[2, 0], x[3, -1] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(fold_rows(x, fold), getattr(np, fold).reduce(x, 1))
