from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flambeau import settings
from flambeau.backends.cpu import matmul as module
from flambeau.backends.cpu import narrow_matmul
from flambeau.backends.cpu.matmul import linear, matmul
from flambeau.backends.cpu.narrow_matmul import int_matmul
from flambeau.compiler import threads

BFLOAT16 = ml_dtypes.bfloat16
HALF = [np.float16, BFLOAT16]
# Half a unit in the last place, and what float32 sums add to that.
ROUNDING = {np.float16: 2.0**-11 * 1.01, BFLOAT16: 2.0**-8 * 1.01}


@pytest.fixture(params=["native", "widened", "numpy"])
def path(request, monkeypatch):
    """The CPU's instructions for narrow numbers, float32 kernels, and no kernels at all."""
    if request.param == "widened":
        monkeypatch.setattr(narrow_matmul, "_host_has", lambda feature: feature == "f16c")
    if request.param == "numpy":
        monkeypatch.setattr(settings, "jit", False)
    module._plans.clear()
    yield request.param
    module._plans.clear()


def operand(rng, shape, dtype, turned):
    values = rng.standard_normal(shape[::-1] if turned else shape).astype(dtype)
    return values.T if turned else values


def bound(a, b, dtype):
    """How far from the exact product a sum in float32, rounded once, may be."""
    wide = [v.astype("float64") for v in (a, b)]
    magnitude = np.abs(wide[0]) @ np.abs(wide[1])
    return ROUNDING[dtype] * np.abs(wide[0] @ wide[1]) + 1e-6 * a.shape[-1] ** 0.5 * magnitude


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 5), (64, 64, 64), (33, 101, 70), (1, 300, 130), (90, 200, 1)]
)
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.usefixtures("path")
def test_half_precision(dtype, shape, turned):
    m, k, n = shape
    rng = np.random.default_rng(m + k + n)
    a, b = operand(rng, (m, k), dtype, turned[0]), operand(rng, (k, n), dtype, turned[1])
    result = matmul(a, b)
    assert result.dtype == dtype
    truth = a.astype("float64") @ b.astype("float64")
    assert (np.abs(result.astype("float64") - truth) <= bound(a, b, dtype)).all()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    ("left", "right"),
    [((6,), (6,)), ((5, 6), (6,)), ((6,), (3, 6, 4)), ((3, 5, 6), (6, 4)), ((3, 5, 7), (3, 7, 4)),
     ((2, 1, 5, 8), (3, 8, 4)), ((0, 5), (5, 3)), ((4, 0), (0, 3))],
)  # fmt: skip
@pytest.mark.usefixtures("path")
def test_ranks_of_half_precision(dtype, left, right):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(left).astype(dtype), rng.standard_normal(right).astype(dtype)
    result, truth = matmul(a, b), a.astype("float64") @ b.astype("float64")
    assert result.shape == truth.shape
    np.testing.assert_allclose(result.astype("float64"), truth, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.usefixtures("path")
def test_linear_adds_before_it_rounds(dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((2, 20, 48), (30, 48)))
    bias = (rng.standard_normal(30) * 100).astype(dtype)
    exact = x.astype("float64") @ w.T.astype("float64") + bias.astype("float64")
    for relu, truth in ((False, exact), (True, np.maximum(exact, 0))):
        result = linear(x, w, bias, relu).astype("float64")
        assert (np.abs(result - truth) <= ROUNDING[dtype] * np.abs(truth) + 1e-4).all()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.usefixtures("path")
def test_nan_and_infinity_of_half_precision(dtype):
    a, b = np.ones((9, 40), dtype), np.ones((40, 70), dtype)
    a[2, 3], a[4, 5] = np.nan, np.inf
    result = matmul(a, b).astype("float64")
    assert np.isnan(result[2]).all()
    assert np.isinf(result[4]).all()
    assert (np.delete(result, (2, 4), 0) == 40).all()


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 70), k=st.integers(1, 90), n=st.integers(1, 150),
    turned=st.tuples(st.booleans(), st.booleans()), unsigned=st.booleans(), count=st.integers(1, 3),
    few=st.sampled_from([0, 64**3]),
)  # fmt: skip
def test_integers_are_exact(m, k, n, turned, unsigned, count, few):
    rng = np.random.default_rng(m + 100 * k + 10000 * n)
    first = np.uint8 if unsigned else np.int8
    low, high = (0, 256) if unsigned else (-128, 128)
    a = rng.integers(low, high, (k, m) if turned[0] else (m, k)).astype(first)
    b = rng.integers(-128, 128, (n, k) if turned[1] else (k, n)).astype(np.int8)
    a, b = (a.T if turned[0] else a), (b.T if turned[1] else b)
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(narrow_matmul, "_FEW", few)
            result = int_matmul(a, b)
    finally:
        threads.set_num_threads(before)
    assert result.dtype == np.int32
    assert np.array_equal(result, a.astype("int64") @ b.astype("int64"))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("depth", [511, 513, 3000])
@pytest.mark.usefixtures("path")
def test_extreme_integers(sign, depth):
    a = np.full((7, depth), -128, np.int8)
    b = np.full((depth, 20), 127 if sign > 0 else -128, np.int8)
    b[::2] = -128
    truth = a.astype("int64") @ b.astype("int64")
    assert np.array_equal(int_matmul(a, b), truth)
    unsigned = np.full((7, depth), 255, np.uint8)
    assert np.array_equal(int_matmul(unsigned, b), unsigned.astype("int64") @ b.astype("int64"))


def test_integers_of_no_depth_or_no_rows():
    assert int_matmul(np.empty((3, 0), np.int8), np.empty((0, 2), np.int8)).tolist() == [[0, 0]] * 3
    assert int_matmul(np.empty((0, 4), np.int8), np.empty((4, 2), np.int8)).shape == (0, 2)
