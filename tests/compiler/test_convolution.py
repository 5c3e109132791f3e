from __future__ import annotations

import math
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flambeau import settings
from flambeau.backends.cpu import (
    convolution_plans,
    convolution_source,
    narrow_convolution,
    winograd_plans,
)
from flambeau.backends.cpu.convolution import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
)
from flambeau.compiler import jit, threads
from flambeau.compiler.filtering import find_line
from tests.compiler.guarded import guarded

needs_jit = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
EPSILON = {"float32": 1e-6, "float64": 2e-15}


@pytest.fixture(params=[True, False], ids=["jit", "numpy"])
def path(request, monkeypatch):
    monkeypatch.setattr(settings, "jit", request.param and settings.jit)


def all_three(x, w, bias, g, moves):
    """Output, gradient of the input, gradient of the weight."""
    return (
        conv_forward(x, w, bias, *moves),
        conv_backward_input(g, w, x.shape, *moves),
        conv_backward_weight(g, x, w.shape, *moves),
    )


def truth_of(x, w, bias, g, moves):
    """The same by the definition, in float64, pixel by pixel of the kernel, without our code."""
    stride, padding, dilation, groups = moves
    x, w, g = (v.astype("float64") for v in (x, w, g))
    margins = [(0, 0), (0, 0), *((p, p) for p in padding)]
    wide = np.pad(x, margins)
    y, dwide, dw = np.zeros(g.shape), np.zeros(wide.shape), np.zeros(w.shape)
    cg, mg = w.shape[1], w.shape[0] // groups
    for position in np.ndindex(*w.shape[2:]):
        region = tuple(
            slice(k * d, k * d + s * (o - 1) + 1, s)
            for k, d, s, o in zip(position, dilation, stride, g.shape[2:], strict=True)
        )
        for group in range(groups):
            ins, outs = slice(group * cg, (group + 1) * cg), slice(group * mg, (group + 1) * mg)
            piece, tap = wide[(slice(None), ins, *region)], w[(outs, slice(None), *position)]
            y[:, outs] += np.einsum("mc,nc...->nm...", tap, piece)
            dwide[(slice(None), ins, *region)] += np.einsum("mc,nm...->nc...", tap, g[:, outs])
            flat = [v.reshape(*v.shape[:2], -1) for v in (g[:, outs], piece)]
            dw[(outs, slice(None), *position)] = np.einsum("nmp,ncp->mc", *flat)
    inside = (..., *(slice(p, p + e) for p, e in zip(padding, x.shape[2:], strict=True)))
    if bias is not None:
        y += bias.astype("float64").reshape(-1, *[1] * (x.ndim - 2))
    return y, dwide[inside], dw


def make(rng, x_shape, w_shape, moves, dtype, with_bias=True):
    stride, padding, dilation, _ = moves
    out = [
        (e + 2 * p - d * (k - 1) - 1) // s + 1
        for e, k, s, p, d in zip(x_shape[2:], w_shape[2:], stride, padding, dilation, strict=True)
    ]
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    bias = rng.standard_normal(w_shape[0]).astype(dtype) if with_bias else None
    g = rng.standard_normal((x_shape[0], w_shape[0], *out)).astype(dtype) if min(out) > 0 else None
    return x, w, bias, g


def check(results, truths, dtype, depths):
    for result, truth, depth in zip(results, truths, depths, strict=True):
        assert result.shape == truth.shape
        assert result.dtype == dtype
        scale = np.abs(truth).max(initial=0) or 1
        error = np.abs(result - truth).max(initial=0)
        assert error <= EPSILON[np.dtype(dtype).name] * (4 + math.sqrt(depth)) * scale


def compare(rng, x_shape, w_shape, moves, dtype="float32", with_bias=True):
    x, w, bias, g = make(rng, x_shape, w_shape, moves, dtype, with_bias)
    depths = (w[0].size, w[:, 0].size, g[:, 0].size)
    check(all_three(x, w, bias, g, moves), truth_of(x, w, bias, g, moves), dtype, depths)


@st.composite
def cases(draw):
    nd = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    sizes = st.integers(1, (70, 26, 9)[nd - 1])

    def each(strategy):
        return tuple(draw(strategy) for _ in range(nd))

    x = (draw(st.integers(1, 6)), groups * draw(st.integers(1, 9)), *each(sizes))
    outputs = groups * draw(st.sampled_from([1, 2, 3, 5, 18, 70]))
    w = (outputs, x[1] // groups, *each(st.integers(1, 5 if nd < 3 else 3)))
    moves = (
        each(st.sampled_from([1, 1, 1, 2, 3])), each(st.integers(0, 3)),
        each(st.sampled_from([1, 1, 2, 3])), groups,
    )  # fmt: skip
    return x, w, moves


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    case=cases(), dtype=st.sampled_from(["float32", "float64"]), with_bias=st.booleans(),
    count=st.integers(1, 2),
)  # fmt: skip
def test_any_convolution(case, dtype, with_bias, count):
    x, w, moves = case
    _, padding, dilation, _ = moves
    assume(
        all(
            e + 2 * p >= d * (k - 1) + 1
            for e, k, p, d in zip(x[2:], w[2:], padding, dilation, strict=True)
        )
    )
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        compare(np.random.default_rng(1), x, w, moves, dtype, with_bias)
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("kernel", [(5, 5), (7, 3), (3, 7), (16, 1), (1, 17), (4, 4)])
@pytest.mark.parametrize("height", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@needs_jit
def test_depthwise_rows_below_each_other(height, kernel, dtype):
    rng = np.random.default_rng(0)
    for groups, padding, dilation in ((3, 0, (1, 1)), (4, 1, (1, 2)), (2, 3, (2, 1))):
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        size = max(1, height + spans[0] - 1 - 2 * padding), spans[1] + 17
        moves = ((1, 1), (padding, padding), dilation, groups)
        compare(rng, (2, groups, *size), (groups, 1, *kernel), moves, dtype)


FILTERED = [
    # taps, stride, dilation
    ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((3, 3), (1, 1), (2, 2)),
    ((5, 5), (1, 1), (1, 1)), ((4, 4), (2, 2), (1, 1)), ((1, 3), (1, 4), (1, 1)),
    ((3, 1), (2, 1), (1, 1)), ((2, 2), (1, 1), (1, 3)), ((2, 5), (3, 3), (1, 1)),
    ((3,), (1,), (1,)), ((5,), (2,), (1,)), ((3,), (1,), (4,)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1)), ((3, 3, 2), (2, 2, 1), (1, 1, 1)),
    ((2, 3, 3), (1, 1, 1), (2, 2, 2)),
]  # fmt: skip


@hypothesis_settings(max_examples=120, deadline=None)
@given(
    images=st.integers(1, 6), channels=st.integers(1, 70), outputs=st.integers(1, 70),
    size=st.tuples(st.integers(5, 12), st.integers(7, 25), st.integers(13, 25)),
    padding=st.tuples(*[st.integers(0, 3)] * 3), kind=st.sampled_from(FILTERED),
    dtype=st.sampled_from(["float32", "float64"]), by_rows=st.booleans(),
)  # fmt: skip
def test_minimal_filtering_of_any_size(
    images, channels, outputs, size, padding, kind, dtype, by_rows
):
    taps, stride, dilation = kind
    nd = len(taps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd_plans, "pays", lambda f, dtype: True)
        patch.setattr(winograd_plans, "pays_weight", lambda f, dtype: set(f.periods) == {1})
        patch.setattr(winograd_plans, "goes_by_rows", lambda panels, filters: by_rows)
        forget_plans()
        moves = (stride, padding[-nd:], dilation, 1)
        if nd == 3:
            images, channels, outputs = min(images, 2), min(channels, 20), min(outputs, 20)
        rng = np.random.default_rng(1)
        compare(rng, (images, channels, *size[-nd:]), (outputs, channels, *taps), moves, dtype)
    forget_plans()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", range(1, 10))
def test_lines_of_minimal_filtering(taps, stride):
    rng = np.random.default_rng(taps)
    line = find_line(taps, stride)
    d, g = rng.standard_normal(line.reads), rng.standard_normal(taps)

    def add_up(terms, values):
        return sum(factor * values[i] for i, factor in terms)

    sums = np.zeros(len(line.parts))
    for product in line.products:
        sums[product.position] += add_up(product.inputs, d) * add_up(product.taps, g)
    for o, terms in enumerate(line.outputs):
        assert math.isclose(
            add_up(terms, sums), g @ d[stride * o : stride * o + taps], abs_tol=1e-12
        )
    assert len(line.products) <= taps * len(line.outputs)
    if (taps, stride) == (3, 1):
        assert len(line.products) == 4


def forget_plans():
    for module in (convolution_plans, convolution_source):
        for plan in vars(module).values():
            if hasattr(plan, "cache_clear"):
                plan.cache_clear()


NAMED = {
    "first layer": ((2, 3, 30, 30), (16, 3, 7, 7), ((2, 2), (3, 3), (1, 1), 1)),
    "one channel": ((5, 1, 28, 28), (6, 1, 5, 5), ((1, 1), (2, 2), (1, 1), 1)),
    "1x1": ((2, 40, 14, 14), (70, 40, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    "1x1 stride": ((2, 20, 15, 14), (24, 20, 1, 1), ((2, 2), (0, 0), (1, 1), 1)),
    "deep": ((2, 96, 7, 7), (100, 96, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "few tiles": ((2, 128, 7, 7), (300, 128, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "strided": ((2, 20, 27, 28), (70, 20, 3, 3), ((2, 2), (1, 1), (1, 1), 1)),
    "five": ((3, 20, 14, 14), (40, 20, 5, 5), ((1, 1), (2, 2), (1, 1), 1)),
    "even": ((3, 20, 16, 16), (20, 20, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "valid": ((2, 20, 13, 18), (20, 20, 3, 3), ((1, 1), (0, 0), (1, 1), 1)),
    "depthwise": ((2, 20, 15, 15), (20, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 20)),
    "depthwise of many taps": ((2, 20, 15, 18), (40, 1, 5, 4), ((1, 1), (2, 1), (1, 2), 20)),
    "depthwise stride": ((2, 20, 15, 15), (40, 1, 3, 3), ((2, 2), (1, 1), (1, 1), 20)),
    "grouped": ((2, 32, 12, 12), (32, 4, 3, 3), ((1, 1), (1, 1), (1, 1), 8)),
    "dilated": ((2, 20, 20, 20), (20, 20, 3, 3), ((1, 1), (2, 2), (2, 2), 1)),
    "patches": ((2, 3, 32, 32), (24, 3, 8, 8), ((8, 8), (0, 0), (1, 1), 1)),
    "stride beyond the kernel": ((2, 4, 17, 17), (5, 4, 2, 2), ((3, 4), (1, 0), (1, 1), 1)),
    "long taps": ((1, 2, 400), (3, 2, 390), ((1,), (3,), (1,), 1)),
    "sequence": ((3, 20, 200), (30, 20, 5), ((1,), (2,), (1,), 1)),
    "volume": ((2, 5, 9, 10, 11), (12, 5, 3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1), 1)),
    "volume stride": ((2, 4, 9, 8, 7), (6, 2, 3, 2, 3), ((2, 1, 3), (1, 0, 1), (1, 2, 1), 2)),
    "odd rows": ((5, 16, 23, 8), (16, 16, 3, 3), ((1, 1), (1, 0), (1, 1), 1)),
    "wide": ((1, 70, 20, 33), (130, 70, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    "padding beyond the kernel": ((2, 3, 4, 4), (4, 3, 2, 2), ((1, 1), (5, 5), (1, 1), 1)),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("path")
def test_convolutions_by_name(name, dtype):
    compare(np.random.default_rng(0), *NAMED[name], dtype)


@pytest.mark.parametrize("name", NAMED)
def test_no_further_from_the_truth_than_torch(name):
    torch = pytest.importorskip("torch")
    x_shape, w_shape, moves = NAMED[name]
    x, w, _, g = make(np.random.default_rng(0), x_shape, w_shape, moves, "float32")
    stride, padding, dilation, groups = moves

    def by_torch(dtype):
        a, b, c = (torch.from_numpy(v).to(dtype) for v in (x, w, g))
        back = torch.ops.aten.convolution_backward(
            c, a, b, None, stride, padding, dilation, False, [0] * len(stride), groups,
            [True, True, False],
        )  # fmt: skip
        y = torch.ops.aten.convolution(
            a, b, None, stride, padding, dilation, False, [0] * len(stride), groups
        )
        return [v.numpy() for v in (y, *back[:2])]

    triples = zip(all_three(x, w, None, g, moves), by_torch(torch.float32),
                  by_torch(torch.float64), strict=True)  # fmt: skip
    for ours, theirs, truth in triples:
        floor = 1e-7 * np.abs(truth).max()
        assert np.abs(ours - truth).max() <= 4 * np.abs(theirs - truth).max() + floor


@pytest.mark.usefixtures("path")
def test_arrays_of_any_strides():
    rng = np.random.default_rng(0)
    moves = NAMED["valid"][2]
    x, w, bias, g = make(rng, *NAMED["valid"], "float32")
    truths = all_three(x, w, bias, g, moves)
    sparse = [np.repeat(v, 2, axis=-1)[..., ::2] for v in (x, w, g)]
    last = [np.ascontiguousarray(v.transpose(0, 2, 3, 1)) for v in (x, w, g)]
    turned = [v.transpose(0, 3, 1, 2) for v in last]
    for a, b, c in (sparse, turned):
        assert not a.flags.c_contiguous
        for result, truth in zip(all_three(a, b, bias, c, moves), truths, strict=True):
            assert np.allclose(result, truth, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.usefixtures("path")
def test_bound_of_zero(name):
    x, w, bias, _ = make(np.random.default_rng(0), *NAMED[name], "float32")
    moves = NAMED[name][2]
    x[0, 0, ..., 0] = np.nan
    plain, bound = conv_forward(x, w, bias, *moves), conv_forward(x, w, bias, *moves, relu=True)
    assert (plain < 0).any()
    assert np.isnan(plain).any()
    assert np.array_equal(bound, np.maximum(plain, 0), equal_nan=True)


@pytest.mark.parametrize("name", ["even", "strided", "dilated", "depthwise", "volume stride"])
@needs_jit
def test_images_go_by_pieces(name, monkeypatch):
    """Pieces of a few images add up to the whole."""
    monkeypatch.setattr(convolution_plans, "_PIECE", 10_000)
    monkeypatch.setattr(convolution_plans, "_NEAR", 10_000)
    forget_plans()
    (images, *sizes), w_shape, moves = NAMED[name]
    used = []
    plan = convolution_plans._plan_forward
    monkeypatch.setattr(
        convolution_plans, "_plan_forward", lambda c, *a: (used.append(c), plan(c, *a))[1]
    )
    compare(np.random.default_rng(0), (8 * images, *sizes), w_shape, moves)
    assert used[0].x[0] < 8 * images
    forget_plans()


@pytest.mark.parametrize(
    ("x", "w"), [((0, 3, 8, 8), (4, 3, 3, 3)), ((2, 3, 8, 8), (0, 3, 3, 3)),
                 ((2, 0, 8, 8), (4, 0, 3, 3))],
)  # fmt: skip
@pytest.mark.usefixtures("path")
def test_extents_of_zero(x, w):
    moves = ((1, 1), (1, 1), (1, 1), 1)
    x, w = np.ones(x, "float32"), np.ones(w, "float32")
    bias = np.arange(w.shape[0], dtype="float32")
    y = conv_forward(x, w, bias, *moves)
    assert y.shape == (x.shape[0], w.shape[0], 8, 8)
    assert np.array_equal(y, np.broadcast_to(bias[:, None, None], y.shape))
    assert not conv_backward_input(y, w, x.shape, *moves).any()
    assert not conv_backward_weight(y, x, w.shape, *moves).any()


@pytest.mark.usefixtures("path")
def test_sizes_that_do_not_fit_are_refused():
    x, w = np.ones((2, 4, 8, 8), "float32"), np.ones((6, 4, 3, 3), "float32")
    plain = ((1, 1), (0, 0), (1, 1))
    with pytest.raises(RuntimeError, match="channels"):
        conv_forward(x[:, :3], w, None, *plain, 1)
    with pytest.raises(RuntimeError, match="groups=4"):
        conv_forward(x, w[:, :1], None, *plain, 4)
    with pytest.raises(RuntimeError, match="does not fit"):
        conv_forward(x[:, :, :2], w, None, *plain, 1)
    with pytest.raises(RuntimeError, match="dimensions"):
        conv_forward(x[0], w, None, *plain, 1)
    with pytest.raises(RuntimeError, match=r"gradient of shape \(2, 6, 6, 6\)"):
        conv_backward_input(np.ones((2, 6, 8, 8), "float32"), w, x.shape, *plain, 1)
    with pytest.raises(RuntimeError, match=r"gradient of shape \(2, 6, 6, 6\)"):
        conv_backward_weight(np.ones((2, 6, 8, 8), "float32"), x, w.shape, *plain, 1)


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.usefixtures("path")
def test_narrow_floats_are_rounded_once(name, dtype, pairs, monkeypatch):
    if not pairs:  # a CPU without an instruction for them
        monkeypatch.setattr(narrow_convolution, "_has_pairs", lambda: False)
    arrays = [v.astype(dtype) for v in make(np.random.default_rng(0), *NAMED[name], "f")]
    moves = NAMED[name][2]
    truths = truth_of(*arrays, moves)
    scales = truth_of(*map(np.abs, arrays), moves)
    unit = 0.505 * float(np.spacing(dtype(1)))
    for result, truth, scale in zip(all_three(*arrays, moves), truths, scales, strict=True):
        assert result.dtype == dtype
        assert (np.abs(result - truth) <= unit * np.abs(truth) + 2e-6 * scale + 1e-7).all()


@needs_jit
@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
@pytest.mark.parametrize("name", NAMED)
def test_nothing_beyond_narrow_arrays_is_touched(name):
    wide = make(np.random.default_rng(0), *NAMED[name], "f")
    arrays, moves = [v.astype(ml_dtypes.bfloat16) for v in wide], NAMED[name][2]
    truths = all_three(*arrays, moves)
    for result, truth in zip(all_three(*map(guarded, arrays), moves), truths, strict=True):
        assert np.array_equal(result, truth)


@pytest.mark.parametrize("dtype", [np.int64, np.complex128])
@pytest.mark.usefixtures("path")
def test_other_types(dtype):
    rng = np.random.default_rng(0)
    moves = NAMED["grouped"][2]
    x, w, bias, g = (np.round(9 * v) for v in make(rng, *NAMED["grouped"], "float64"))
    truths = truth_of(x, w, bias, g, moves)
    for result, truth in zip(
        all_three(*(v.astype(dtype) for v in (x, w, bias, g)), moves), truths, strict=True
    ):
        assert result.dtype == dtype
        assert np.array_equal(result, truth)


@pytest.mark.parametrize("name", ["even", "depthwise", "first layer"])
@pytest.mark.usefixtures("path")
def test_nan_reaches_what_it_touches(name):
    x_shape, w_shape, moves = NAMED[name]
    x, w, _, g = make(np.random.default_rng(0), x_shape, w_shape, moves, "float32")
    x[0, 0, 5, 5] = np.nan
    y = conv_forward(x, w, None, *moves)
    spread = math.ceil(w.shape[2] / moves[0][0])
    columns = np.isnan(y[0, 0]).any(0).nonzero()[0]
    assert 0 < len(columns) <= spread + 1
    assert not np.isnan(y[1:]).any()
    hit = np.isnan(conv_backward_weight(g, x, w.shape, *moves))
    assert hit[0].any()
    if moves[-1] == 1:
        assert not hit[:, 1:].any()
    else:
        assert not hit[1:].any()


@needs_jit
@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
@pytest.mark.parametrize("name", NAMED)
def test_nothing_beyond_an_array_is_touched(name):
    x_shape, w_shape, moves = NAMED[name]
    arrays = make(np.random.default_rng(0), x_shape, w_shape, moves, "float32")
    x, w, bias, g = map(guarded, arrays)
    truths = all_three(*arrays, moves)
    for result, truth in zip(all_three(x, w, bias, g, moves), truths, strict=True):
        assert np.array_equal(result, truth)


@needs_jit
def test_every_kernel_runs(monkeypatch):
    """The shapes above reach each compiled kernel, and none falls back to NumPy unnoticed."""
    used = set()

    def watch(module, finder):
        original = getattr(module, finder)

        def spy(name, *others):
            used.add(name)
            return original(name, *others)

        monkeypatch.setattr(module, finder, spy)

    for users in (convolution_plans, convolution_source):
        watch(users, "find_kernel")
    watch(winograd_plans, "_find_kernel")
    try:
        forget_plans()
        for name in NAMED:
            compare(np.random.default_rng(0), *NAMED[name])
    finally:
        forget_plans()
    assert used >= {
        "conv_forward", "conv_weight", "conv_turn", "conv_copy", "direct_forward_single",
        "direct_forward_padded",
        "direct_weight_single", "conv_split_2", "conv_split_4", "winograd", "winograd_filter",
        "winograd_input", "winograd_rows", "filtering_weight", "filtering_result",
    }  # fmt: skip
