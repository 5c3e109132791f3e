"""Compiled running sums, products and extrema against NumPy, over axes, layouts and dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.cpu import scans
from flambeau.compiler import jit, threads

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")

SHAPES = [(5000,), (100_003,), (3, 2001), (20, 300), (9, 100, 7), (2, 2, 3000), (1500, 1)]
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.uint8]
WIDTHS = {np.float32: 1e-6, np.float64: 1e-12, np.float16: 1e-3, ml_dtypes.bfloat16: 8e-3}


def layouts(x):
    yield x
    yield x.T
    yield x[..., ::2]


@pytest.fixture(autouse=True, params=[1, 3])
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_products_run_along_any_axis(shape, dtype):
    base = (np.random.default_rng(1).random(shape) * 3).astype(dtype)
    kind = base.dtype if dtype in WIDTHS else np.dtype(np.int64)
    for x in layouts(base):
        for axis in range(x.ndim):
            wide = x.astype(np.float64 if dtype in WIDTHS else np.int64)
            found = scans.accumulate(x, axis, np.add, kind)
            assert found.dtype == kind
            with np.errstate(over="ignore"):
                truth = np.cumsum(wide, axis).astype(kind).astype(np.float64)
            np.testing.assert_allclose(found.astype(np.float64), truth, WIDTHS.get(dtype, 0))
            signs = np.where(wide > 1.5, 1, -1).astype(dtype if dtype != np.uint8 else np.int64)
            product = scans.accumulate(signs, axis, np.multiply, kind)
            np.testing.assert_array_equal(
                product.astype(np.float64), np.cumprod(signs.astype(np.float64), axis)
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_extrema_run_along_any_axis(shape, dtype):
    rng = np.random.default_rng(2)
    base = np.round(rng.random(shape) * 50).astype(dtype)  # with ties
    if dtype in WIDTHS:
        base[rng.random(shape) < 0.001] = np.nan
    for x in layouts(base):
        for axis in range(x.ndim):
            for ufunc in (np.maximum, np.minimum):
                values, places = scans.extremes(x, axis, ufunc)
                truth = ufunc.accumulate(x.astype(np.float64), axis)
                np.testing.assert_array_equal(values.astype(np.float64), truth)
                assert values.dtype == dtype
                taken = (x == values) | np.isnan(x.astype(np.float64))
                shape_ = [-1 if d == axis else 1 for d in range(x.ndim)]
                index = np.where(taken, np.arange(x.shape[axis]).reshape(shape_), 0)
                np.testing.assert_array_equal(places, np.maximum.accumulate(index, axis))


def test_a_long_sum_is_no_less_exact_than_in_double_precision():
    x = np.full(1_000_003, 0.1, np.float32)
    found = scans.accumulate(x, 0, np.add, x.dtype)
    np.testing.assert_allclose(found, np.cumsum(x, dtype=np.float64), 1e-7)
