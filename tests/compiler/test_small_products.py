from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flambeau import settings
from flambeau.backends.cpu import matmul as module
from flambeau.backends.cpu.matmul import add_matmul, linear, matmul, small_kernel
from flambeau.compiler import jit
from tests.compiler.guarded import guarded

needs_jit = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


@pytest.fixture(params=[True, False], ids=["jit", "numpy"])
def path(request, monkeypatch):
    monkeypatch.setattr(settings, "jit", request.param and settings.jit)
    module._plans.clear()
    yield
    module._plans.clear()


def placed(rng, rows, columns, dtype, placing):
    wide = rng.standard_normal((2 * rows + 3, 3 * columns + 7)).astype(dtype)
    if placing == "plain":
        return np.ascontiguousarray(wide[:rows, :columns])
    if placing == "turned":
        return np.ascontiguousarray(wide[:rows, :columns].T).T
    if placing == "row":  # one row for all
        return np.broadcast_to(wide[0, :columns], (rows, columns))
    if placing == "reversed":
        return wide[rows - 1 :: -1, columns - 1 :: -1][:rows, :columns]
    return wide[: 2 * rows : 2, : 3 * columns : 3]


PLACINGS = st.sampled_from(["plain", "turned", "row", "reversed", "sliced"])


@needs_jit
@hypothesis_settings(max_examples=200, deadline=None)
@given(
    m=st.integers(1, 70), k=st.integers(1, 70), n=st.integers(1, 70), places=st.tuples(
        PLACINGS, PLACINGS), dtype=st.sampled_from(DTYPES), turned=st.booleans(),
    added=st.sampled_from([None, "row", "whole"]), relu=st.booleans(),
    factors=st.sampled_from([(1.0, 1.0), (1.0, -2.0), (0.5, 1.0), (0.0, 3.0), (2.0, 0.0)]),
)  # fmt: skip
def test_the_kernel_computes_or_refuses(m, k, n, places, dtype, turned, added, relu, factors):
    rng = np.random.default_rng(m + 100 * k + 10000 * n)
    a, b = placed(rng, m, k, dtype, places[0]), placed(rng, k, n, dtype, places[1])
    d = None if added is None else rng.standard_normal((m, n) if added == "whole" else n)
    d = None if d is None else d.astype(dtype)
    beta, alpha = (1.0, 1.0) if relu else factors
    c = np.full((m, n), 7, dtype)
    given_b = b.T if turned else b
    done = small_kernel(dtype)(a, given_b, d, c, turned, added == "whole", relu, beta, alpha)
    if not done:
        assert (c == 7).all()
        return
    truth = alpha * (a.astype("float64") @ b)
    truth += 0 if d is None else beta * d
    truth = np.maximum(truth, 0) if relu else truth
    scale = (np.abs(a).astype("float64") @ np.abs(b)).max() * 3 + 3
    assert np.abs(c - truth).max() <= TOLERANCE[dtype] * scale


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_products_of_usual_layout_are_not_refused(dtype):
    a, b = np.ones((8, 8), dtype), np.ones((8, 8), dtype)
    for left in (a, a.T, np.ones((2, 4, 8), dtype)):
        for right in (b, b.T):
            for turned in (0, 1):
                c = np.empty((8, 8), dtype)
                assert small_kernel(dtype)(left, right, None, c, turned, 0, 0, 1.0, 1.0) == 1
                assert (c == 8).all()


@needs_jit
@pytest.mark.parametrize(
    ("left", "right"),
    [((4, 5), (6, 4)), ((4,), (4, 4)), ((4, 4), (4,)), ((3, 4, 4), (3, 4, 4)), ((0, 4), (4, 4)),
     ((4, 0), (0, 4)), ((400, 400), (400, 400)), ((1 << 20, 1), (1, 2))],
)  # fmt: skip
def test_what_the_kernel_refuses(left, right):
    c = np.full(16, 7, np.float32)
    arrays = np.ones(left, np.float32), np.ones(right, np.float32)
    assert small_kernel("float32")(*arrays, None, c, 0, 0, 0, 1.0, 1.0) == 0
    assert (c == 7).all()
    # Rows of a batch that do not follow each other; a stride of half an element.
    apart = np.ones((3, 4, 4), np.float32)[:, :2]
    assert small_kernel("float32")(apart, c.reshape(4, 4), None, c, 0, 0, 0, 1.0, 1.0) == 0


@needs_jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_beyond_an_operand_is_touched(dtype):
    rng = np.random.default_rng(0)
    for m, k, n in ((7, 5, 3), (6, 4, 64), (13, 9, 17), (33, 17, 5)):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        d = rng.standard_normal(n).astype(dtype)
        for turned in (0, 1):
            right = guarded(b.T if turned else b)
            c = guarded(np.zeros((m, n), dtype))
            assert small_kernel(dtype)(guarded(a), right, guarded(d), c, turned, 0, 0, 0.5, 2.0)
            np.testing.assert_allclose(c, 2 * (a @ b) + d / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("path")
def test_layers_of_any_rank(dtype):
    rng = np.random.default_rng(0)
    w, bias = rng.standard_normal((6, 8)).astype(dtype), rng.standard_normal(6).astype(dtype)
    x = rng.standard_normal((2, 3, 5, 8)).astype(dtype)
    for view in (x, x[:, :2], x[..., ::-1], x.swapaxes(0, 2), x[0, 0, 0], x[:0]):
        for added in (None, bias, np.repeat(bias, 2)[::2]):
            for relu in (False, True):
                truth = view @ w.T + (0 if added is None else added)
                truth = np.maximum(truth, 0) if relu else truth
                for _ in range(2):
                    result = linear(view, w, added, relu)
                    assert result.dtype == dtype
                    np.testing.assert_allclose(result, truth, atol=1e-4)


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
@pytest.mark.parametrize("size", [(3, 4, 5), (70, 80, 90)])
@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("factors", [(1, 1), (0.5, 1), (1, -2.0), (0, 2), (2, 0)])
@pytest.mark.usefixtures("path")
def test_sums_with_products(dtype, size, batch, factors):
    m, k, n = size
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((*batch, m, k)), rng.standard_normal((*batch, k, n))
    a, b = a.astype(dtype), b.astype(dtype)
    whole = rng.standard_normal((*batch, m, 2 * n)).astype(dtype)
    beta, alpha = factors
    rows = whole[..., :1, :]
    for d in (whole[..., :n], np.ascontiguousarray(whole[..., :n]), whole[..., ::2], rows[..., :n],
              whole.ravel()[:n], whole[..., :1], rows[..., :1]):  # fmt: skip
        truth = beta * d + alpha * (a @ b)
        for _ in range(2):
            result = add_matmul(d, a, b, beta, alpha)
            assert result.dtype == dtype
            np.testing.assert_allclose(result, truth, atol=2e-4 * k**0.5)


@pytest.mark.parametrize("size", [4, 90])
@pytest.mark.usefixtures("path")
def test_what_is_multiplied_by_zero_is_not_read(size):
    eye, nothing = np.eye(size, dtype=np.float32), np.full((size, size), np.nan, np.float32)
    for d in (nothing, nothing[0]):
        assert np.array_equal(add_matmul(d, eye, eye, 0, 1), eye)


@pytest.mark.usefixtures("path")
def test_operands_of_two_dtypes_or_without_alignment():
    raw = np.zeros(4 * 64 + 1, np.uint8)
    odd = raw[1:].view(np.float32).reshape(8, 8)
    odd[...] = np.arange(64).reshape(8, 8)
    plain = odd.copy()
    for _ in range(2):
        np.testing.assert_allclose(matmul(odd, plain), plain @ plain)
        np.testing.assert_allclose(matmul(plain, odd), plain @ plain)
        np.testing.assert_allclose(linear(plain, odd, odd[0].copy()), plain @ plain.T + plain[0])
        mixed = matmul(plain, plain.astype(np.float64))
        assert mixed.dtype == np.float64
        np.testing.assert_allclose(mixed, plain @ plain)
