"""Compiled reductions against NumPy in float64: shapes, axes, layouts, NaN, accuracy, threads."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.cpu import reductions
from flambeau.backends.cpu.reduction_kernels import as_it_is, over_count, root
from flambeau.compiler import jit, threads
from flambeau.compiler.expressions import trace
from flambeau.ops import reductions as ops
from flambeau.ops.extrema import amax, amin

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")

SHAPES = [
    (5000,),
    (70_000,),
    (50, 3, 40),
    (6, 30, 5, 7),
    (3000, 40),
    (40, 3000),
    (9000, 1),
    (2500, 2),
]
locate = reductions.Planned(reductions.plan_locate)
EXTREMES = {np.maximum: amax, np.minimum: amin}
NARROW = [np.float16, ml_dtypes.bfloat16]


@pytest.fixture(params=[1, 2, 3])
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def layouts(x):
    """`x` as it is, turned around, with gaps between its rows, and with dimensions of size one."""
    yield x
    yield x.T
    yield x[1:]
    if x.ndim > 1:
        yield x[:, : x.shape[1] - 1] if x.shape[1] > 1 else x
        yield np.swapaxes(x, 0, 1)
        yield x[:, None]


def cases(seed, *, offset=0.0, dtypes=(np.float32, np.float64)):
    rng = np.random.default_rng(seed)
    for shape in SHAPES:
        for dtype in dtypes:
            base = (rng.standard_normal(shape) + offset).astype(dtype)
            for x in layouts(base):
                for n in range(1, x.ndim + 1):
                    for axes in itertools.combinations(range(x.ndim), n):
                        yield x, axes, bool(rng.integers(2))


def close(found, truth, dtype, scale=1.0):
    assert found.shape == truth.shape
    tolerance = {4: 1e-5, 8: 1e-12}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(found, truth, tolerance, tolerance * scale)


def test_sums_means_and_roots_over_any_axes():
    square = trace(lambda m, x: x * x)
    compiled = 0
    for x, axes, keepdims in cases(0):
        wide = x.astype(np.float64)
        for expression, finish, truth in (
            (reductions.ITSELF, as_it_is, np.sum(wide, axes, keepdims=keepdims)),
            (reductions.ITSELF, over_count, np.mean(wide, axes, keepdims=keepdims)),
            (square, root, np.sqrt(np.sum(wide**2, axes, keepdims=keepdims))),
        ):
            found = reductions.fold(expression, (x,), axes, keepdims, None, finish)
            if found is not None:
                compiled += 1
                assert found.dtype == x.dtype
                close(found, truth, x.dtype, np.sqrt(x.size))
    assert compiled > 500


def test_the_usual_layouts_have_kernels():
    x = np.ones((60, 50, 40), np.float32)
    for axes in [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]:
        assert reductions.fold(reductions.ITSELF, (x,), axes) is not None, axes
        assert reductions.fold(reductions.ITSELF, (x.T,), axes) is not None, axes


def test_products_and_extrema_over_any_axes():
    for x, axes, keepdims in cases(1):
        close(
            ops.prod.forward(np.sign(x), axes, keepdims),
            np.prod(np.sign(x), axes, keepdims=keepdims), x.dtype,
        )  # fmt: skip
        for ufunc in (np.maximum, np.minimum):
            found = EXTREMES[ufunc].forward(x, axes, keepdims)
            np.testing.assert_array_equal(found, ufunc.reduce(x, axes, keepdims=keepdims))


def test_spreads_over_any_axes():
    compiled = 0
    for x, axes, keepdims in cases(2, offset=50):
        found = reductions.spread(x, axes, keepdims)
        if found is None:
            continue
        compiled += 1
        wide = x.astype(np.float64)
        count = np.prod([x.shape[d] for d in axes])
        close(found[0], wide.var(axes, keepdims=keepdims) * count, x.dtype, count)
        np.testing.assert_allclose(found[1], wide.mean(axes, keepdims=keepdims), 1e-6)
    assert compiled > 200


@pytest.mark.parametrize("largest", [True, False])
def test_places_of_extrema(largest):
    pick, ufunc = (np.argmax, np.maximum) if largest else (np.argmin, np.minimum)
    for x, axes, keepdims in cases(3):
        x = np.round(x, 1)  # ties
        axis = axes[0] if len(axes) == 1 else None
        values = axis is not None
        found = locate(x, axis, largest, keepdims, values)
        if found is None:
            continue
        np.testing.assert_array_equal(found[1], pick(x, axis=axis, keepdims=keepdims))
        if values:
            np.testing.assert_array_equal(found[0], ufunc.reduce(x, axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_nan_wins(axis):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, 200)).astype(np.float32)
    x[rng.integers(0, 300, 20), rng.integers(0, 200, 20)] = np.nan
    x[5, 5], x[6, 6] = np.inf, -np.inf
    axes = (0, 1) if axis is None else (axis,)
    for ufunc, pick in ((np.maximum, np.argmax), (np.minimum, np.argmin)):
        np.testing.assert_array_equal(
            EXTREMES[ufunc].forward(x, axes), ufunc.reduce(x, axes), err_msg=ufunc.__name__
        )
        places = locate(x, axis, ufunc is np.maximum, False, False)[1]
        np.testing.assert_array_equal(places, pick(x, axis))
    assert np.isnan(ops.sum.forward(x, (0, 1)))
    assert np.isnan(reductions.spread(x, (0, 1), False)[0])


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_half_precision_is_summed_wide_and_rounded_once(narrow, axes):
    x = np.random.default_rng(5).random((300, 400)).astype(narrow)
    truth = x.astype(np.float64).sum(axes)
    found = reductions.fold(reductions.ITSELF, (x,), axes)
    assert found.dtype == narrow
    np.testing.assert_array_equal(found, truth.astype(np.float32).astype(narrow))
    found = amax.forward(x, axes)
    np.testing.assert_array_equal(found, x.astype(np.float32).max(axes).astype(narrow))


def test_several_arrays_are_folded_together():
    rng = np.random.default_rng(6)
    x, y, z = (rng.standard_normal((400, 300)).astype(np.float32) for _ in range(3))
    weighted = trace(lambda m, x, y, z: m.where(x > 0, (x - y) * z, m.abs(y)))
    wide = [a.astype(np.float64) for a in (x, y, z)]
    truth = np.where(x > 0, (wide[0] - wide[1]) * wide[2], np.abs(wide[1]))
    for axes in [(0,), (1,), (0, 1)]:
        close(reductions.fold(weighted, (x, y, z), axes), truth.sum(axes), np.float32, 100)
    assert reductions.fold(weighted, (x, y.T.copy().T, z), (0,)) is None
    assert reductions.fold(weighted, (x, y, z.astype(np.float64)), (0,)) is None


def test_what_has_no_kernel_is_left_to_numpy(monkeypatch):
    x = np.ones((100, 100), np.float32)
    assert reductions.fold(trace(lambda m, x: m.zeta(x, x)), (x,), (0,)) is None
    assert reductions.fold(reductions.ITSELF, (x[:, ::2],), (0,)) is None
    assert reductions.fold(reductions.ITSELF, (x.astype(np.int64),), (0,)) is None
    assert reductions.fold(reductions.ITSELF, (np.ones((0, 9), np.float32),), (0,)) is None
    shifted = np.zeros(40_001, np.uint8)[1:].view(np.float32)
    assert reductions.fold(reductions.ITSELF, (shifted,), (0,)) is None
    assert ops.sum.forward(shifted, (0,)) == 0


def test_a_long_float_sum_loses_nothing_to_its_length():
    x = np.full(3_000_000, 0.1, np.float32)
    exact = np.float64(np.float32(0.1)) * x.size
    assert ops.sum.forward(x, (0,)) == pytest.approx(exact, rel=5e-7)
    tall = x.reshape(-1, 3)
    np.testing.assert_allclose(ops.sum.forward(tall, (0,)), exact / 3, 5e-7)


def test_a_spread_far_from_zero_keeps_its_digits():
    x = (np.random.default_rng(7).standard_normal((2000, 50)) + 1e4).astype(np.float32)
    x[0] = -1e4
    for axes in [(0,), (0, 1)]:
        truth = x.astype(np.float64).var(axes) * (x.size // 50 if axes == (0,) else x.size)
        np.testing.assert_allclose(reductions.spread(x, axes, False)[0], truth, 1e-6)


def test_results_do_not_depend_on_the_threads(thread_count):
    x = np.random.default_rng(8).standard_normal((700, 900)).astype(np.float32)
    for axes in [(0,), (1,), (0, 1)]:
        found = [
            ops.sum.forward(x, axes), reductions.spread(x, axes, False)[0],
            ops.prod.forward(x, axes), amax.forward(x, axes),
        ]  # fmt: skip
        threads.set_num_threads(1)
        alone = [
            ops.sum.forward(x, axes), reductions.spread(x, axes, False)[0],
            ops.prod.forward(x, axes), amax.forward(x, axes),
        ]  # fmt: skip
        threads.set_num_threads(thread_count)
        for a, b in zip(found, alone, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", [ops.sum, ops.mean, ops.prod, amax, amin], ids=lambda op: op.name)
def test_what_a_remembered_launch_must_not_serve(op):
    """A layout seen before: memory out of step with its elements, and dims that are no dims."""
    x = np.random.default_rng(0).uniform(0.99, 1.01, (60, 50)).astype(np.float32)
    truth = op.forward(x, 1)
    off = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    off[:] = x
    assert not off.flags.aligned
    np.testing.assert_allclose(op.forward(off, 1), truth, 1e-5)
    for dim in (1.0, (1.0,), "1"):
        with pytest.raises(TypeError):
            op.forward(x, dim)
    with pytest.raises(IndexError):
        op.forward(x, 2)


def test_sums_without_nan():
    rng = np.random.default_rng(5)
    for x, axes, keepdims in cases(5):
        holed = np.where(rng.random(x.shape) < 0.1, np.nan, x).astype(x.dtype)
        truth = np.nansum(holed.astype(np.float64), axes, keepdims=keepdims)
        close(ops.nansum.forward(holed, axes, keepdims), truth, x.dtype, np.sqrt(x.size))
