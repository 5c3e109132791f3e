"""Attention in tiles against PyTorch in double precision, and against the definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import flambeau
from flambeau.backends.cpu import attention as kernels
from flambeau.compiler import jit
from tests.compiler.guarded import guarded
from tests.ops.compare import normal

attend = flambeau.nn.functional.scaled_dot_product_attention


def define(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> np.ndarray:
    """The definition in double precision, of (heads, length, size) and fewer key heads."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[0] // x.shape[0], 0) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    high = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(high), 0, high))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    own=st.integers(1, 2), group=st.integers(1, 3), queries=st.integers(1, 150),
    keys=st.integers(1, 220), depth=st.integers(1, 40), width=st.integers(1, 40),
    kind=st.sampled_from(["none", "causal", "added", "bool"]), single=st.booleans(),
    layout=st.sampled_from(["rows", "heads", "steps", "wide"]),
)  # fmt: skip
def test_any_sizes_masks_and_layouts(
    own, group, queries, keys, depth, width, kind, single, layout
) -> None:
    rng = np.random.default_rng(queries * keys + depth)
    dtype = np.float32 if single else np.float64

    def make(heads: int, length: int, size: int) -> np.ndarray:
        x = rng.standard_normal((heads, length, size)).astype(dtype)
        if layout == "heads":
            return np.array(x.swapaxes(0, 1), order="C").swapaxes(0, 1)
        if layout == "steps":
            return np.repeat(x, 2, 1)[:, ::2]
        if layout == "wide":
            return np.concatenate([x, x], -1)[..., :size]
        return x

    q, k, v = make(own * group, queries, depth), make(own, keys, depth), make(own, keys, width)
    mask = None
    if kind == "added":
        mask = rng.standard_normal((queries, keys)).astype(dtype)
    elif kind == "bool":
        mask = rng.random((own * group, 1, keys)) < 0.7
    out = attend(
        *map(flambeau.from_numpy, (q, k, v)), None if mask is None else flambeau.tensor(mask),
        is_causal=kind == "causal", enable_gqa=group > 1,
    )  # fmt: skip
    truth = define(q, k, v, mask, kind == "causal")
    np.testing.assert_allclose(out.numpy(), truth, rtol=0, atol=3e-6 if single else 1e-12)


CASES = {
    "plain": ((2, 3, 70, 24), (2, 3, 130, 24), (2, 3, 130, 40), None, {}),
    "causal": ((2, 2, 150, 16), (2, 2, 150, 16), (2, 2, 150, 16), None, {"is_causal": True}),
    "long queries": ((1, 150, 8), (1, 20, 8), (1, 20, 8), None, {"is_causal": True}),
    "scale": ((3, 5, 8), (3, 4, 8), (3, 4, 8), None, {"scale": -0.3}),
    "groups": (
        (2, 4, 33, 8),
        (2, 2, 100, 8),
        (2, 2, 100, 8),
        (2, 1, 33, 100),
        {"enable_gqa": True},
    ),
    "mask": ((2, 2, 65, 8), (2, 2, 97, 8), (2, 2, 97, 8), (65, 97), {}),
    "key mask": ((2, 2, 20, 8), (2, 2, 97, 8), (2, 2, 97, 8), (2, 1, 1, 97), {}),
    "matrices": ((20, 8), (30, 8), (30, 4), (20, 1), {}),
    "broadcast": ((2, 1, 20, 8), (1, 3, 30, 8), (30, 4), (3, 1, 30), {}),
    "many dimensions": ((2, 2, 2, 20, 8), (2, 2, 2, 9, 8), (2, 2, 2, 9, 8), (2, 20, 9), {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_as_in_torch(name: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    *shapes, options = CASES[name]
    arrays = [None if s is None else normal(*s, seed=i) for i, s in enumerate(shapes)]

    def run(library: Any, kind: Any) -> list[np.ndarray]:
        given_ = [
            None if a is None else library.tensor(a.astype(kind)).requires_grad_() for a in arrays
        ]
        out = library.nn.functional.scaled_dot_product_attention(*given_, **options)
        out.backward(library.tensor(normal(*out.shape, seed=9).astype(kind)))
        return [out.detach().numpy(), *(t.grad.numpy() for t in given_ if t is not None)]

    truth = run(torch, np.float64)
    ours, theirs = run(flambeau, dtype), run(torch, dtype)
    for x, y, t in zip(ours, theirs, truth, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        eps = np.finfo(dtype).eps * (np.abs(t).max() + 1)
        assert np.abs(x - t).max() <= max(4 * np.abs(y - t).max(), 8 * eps)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: str) -> None:
    kind = getattr(flambeau, dtype)
    xs = [flambeau.tensor(normal(2, 20, 8, seed=i)).to(kind) for i in range(3)]
    exact = define(*(x.double().numpy() for x in xs), causal=True)
    out = attend(*xs, is_causal=True)
    assert out.dtype is kind
    rounded = flambeau.tensor(exact).to(kind).double().numpy()
    step = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    assert (np.abs(out.double().numpy() - rounded) <= step * np.abs(rounded) + 1e-6).all()


def test_a_query_that_sees_nothing_gets_zeros_and_gives_none() -> None:
    q, k, v = (flambeau.tensor(normal(1, 70, 8, seed=i)).requires_grad_() for i in range(3))
    mask = flambeau.ones(70, 70, dtype=flambeau.bool)
    mask[5] = False
    out = attend(q, k, v, mask)
    out.sum().backward()
    assert not out[0, 5].detach().numpy().any()
    assert not q.grad[0, 5].numpy().any()
    assert all(np.isfinite(x.grad.numpy()).all() for x in (q, k, v))


def test_the_lowest_number_as_a_mask_leaves_even_weights() -> None:
    q, k, v = (flambeau.tensor(normal(1, 3, 8, seed=i).astype(np.float32)) for i in range(3))
    out = attend(q, k, v, flambeau.full((3, 3), float(np.finfo(np.float32).min)))
    np.testing.assert_allclose(out[0].numpy(), np.tile(v[0].numpy().mean(0), (3, 1)), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_row(value: float) -> None:
    q, k, v = (normal(1, 100, 8, seed=i).astype(np.float32) for i in range(3))
    q[0, 7, 3] = value
    out = attend(*map(flambeau.tensor, (q, k, v)), is_causal=True).numpy()
    assert np.isnan(out[0, 7]).all()
    assert np.isfinite(np.delete(out[0], 7, 0)).all()


def test_large_scores_do_not_overflow() -> None:
    q, k, v = (normal(1, 100, 8, seed=i).astype(np.float32) * 300 for i in range(3))
    out = attend(*map(flambeau.tensor, (q, k, v))).numpy()
    np.testing.assert_allclose(out, define(q, k, v), rtol=1e-2, atol=1)


@pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
@pytest.mark.parametrize("causal", [False, True])
def test_threads_change_no_bit(causal: bool) -> None:
    xs = [normal(2, 3, 200, 32, seed=i).astype(np.float32) for i in range(4)]
    results = []
    before = flambeau.get_num_threads()
    try:
        for count in (1, 2, 4):
            flambeau.set_num_threads(count)
            out, sums = kernels.attention(*xs[:3], None, causal, 0.2)
            grads = kernels.attention_back(xs[3], *xs[:3], None, out, sums, causal, 0.2)
            results.append((out, *grads))
    finally:
        flambeau.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_agree_with_numpy_and_touch_nothing_else(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for queries, keys, depth, width in ((1, 1, 1, 1), (3, 97, 5, 7), (65, 200, 33, 17)):
        q, g = (rng.standard_normal((1, 4, queries, n)).astype(dtype) for n in (depth, width))
        k, v = (rng.standard_normal((1, 2, keys, n)).astype(dtype) for n in (depth, width))
        mask = rng.standard_normal((queries, keys)).astype(dtype)
        q, k, v, g, mask = map(guarded, (q, k, v, g, mask))
        out, sums = kernels.attention(q, k, v, mask, False, 0.3)
        truth, known = kernels.reference_attention(q, k, v, mask, False, 0.3)
        np.testing.assert_allclose(out, truth, atol=1e-5)
        given_ = (g, q, k, v, mask)
        ours = kernels.attention_back(*given_, guarded(out), sums, False, 0.3)
        theirs = kernels.reference_attention_back(*given_, truth, known, False, 0.3)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
def test_results_lie_as_queries_do() -> None:
    """Heads that were split off rows can be merged again without a copy."""
    rows = flambeau.tensor(normal(2, 9, 3 * 8)).view(2, 9, 3, 8).transpose(1, 2)
    assert attend(rows, rows, rows).transpose(1, 2).is_contiguous()


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        (((2, 3), (2, 4), (2, 4)), {}),
        (((2, 3), (4, 3), (5, 3)), {}),
        (((3,), (4, 3), (4, 3)), {}),
        (((4, 5, 3), (2, 5, 3), (2, 5, 3)), {}),
        (((4, 5, 3), (3, 5, 3), (3, 5, 3)), {"enable_gqa": True}),
        (((2, 5, 3), (3, 5, 3), (3, 5, 3)), {}),
        (((5, 3), (5, 3), (5, 3), (4, 5)), {}),
    ],
)
def test_sizes_that_do_not_match_are_refused(shapes: Any, options: Any) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        attend(*(flambeau.ones(*s) for s in shapes), **options)


def test_causal_and_a_mask_exclude_each_other() -> None:
    x = flambeau.ones(1, 3, 4)
    with pytest.raises(RuntimeError, match="attn_mask should not be set when is_causal"):
        attend(x, x, x, flambeau.ones(3, 3), is_causal=True)


def test_no_keys_give_zeros_and_no_queries_nothing() -> None:
    assert not attend(flambeau.ones(1, 3, 4), flambeau.ones(1, 0, 4), flambeau.ones(1, 0, 2)).any()
    assert attend(flambeau.ones(1, 0, 4), flambeau.ones(1, 5, 4), flambeau.ones(1, 5, 2)).shape == (
        1, 0, 2,
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["none", "causal", "added", "hidden"])
@pytest.mark.parametrize("queries", [1, 2])
def test_few_queries_over_many_keys(queries, kind, count):
    rng = np.random.default_rng(queries)
    for own, group, keys, depth, width in ((2, 3, 1003, 33, 20), (1, 1, 7, 5, 9), (3, 1, 4, 64, 1)):
        q = guarded(rng.standard_normal((own * group, queries, depth)))
        k = guarded(rng.standard_normal((own, keys, depth)))
        v = guarded(rng.standard_normal((own, keys, width)))
        mask = None
        if kind in ("added", "hidden"):
            mask = rng.standard_normal((1, own * group, queries, keys))
            mask[0, 0] = -np.inf if kind == "hidden" else 50.0
        flambeau.set_num_threads(count)
        out, _ = kernels.attention(
            q[None], k[None], v[None], mask, kind == "causal", 1 / math.sqrt(depth)
        )
        flambeau.set_num_threads(2)
        expected = define(q, k, v, None if mask is None else mask[0], kind == "causal")
        np.testing.assert_allclose(out[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "own"), [(1, 1), (4, 2), (3, 3)])
def test_gradients_of_few_heads_fall_into_parts(heads, own, causal):
    rng = np.random.default_rng(0)
    shapes = (1, heads, 300, 16), (1, own, 310, 16), (1, own, 310, 8)
    q, k, v = (rng.standard_normal(s) for s in shapes)
    grad = rng.standard_normal((1, heads, 300, 8))
    out, sums = kernels.reference_attention(q, k, v, None, causal, 0.25)
    found = kernels.attention_back(grad, q, k, v, None, out, sums, causal, 0.25)
    given_ = (grad, q, k, v, None, out, sums, causal, 0.25)
    expected = kernels.reference_attention_back(*given_)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    flambeau.set_num_threads(1)
    again = kernels.attention_back(*given_)
    flambeau.set_num_threads(2)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)
