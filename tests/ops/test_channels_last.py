"""Convolutions of arrays with their channels last: the values of NumPy, the strides of PyTorch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import flambeau as fl
from flambeau.backends.cpu import channels_last, convolution, layout, narrow_convolution
from flambeau.compiler import jit, threads
from tests.compiler.guarded import guarded

needs_jit = pytest.mark.skipif(not jit.available(), reason="kernels need the compiler")
TYPES = [np.float32, np.float64, ml_dtypes.bfloat16, np.float16]
ROUNDING = {"float32": 2e-6, "float64": 1e-14, "bfloat16": 8e-3, "float16": 1e-3}


@pytest.fixture(params=[1, 3], autouse=True)
def thread_count(request):
    """Each test with one thread and with three."""
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(2)


def last(rng, shape, dtype):
    """An array (N, C, height, width) with its channels last in memory."""
    n, c, *size = shape
    return np.moveaxis(guarded(rng.standard_normal((n, *size, c)).astype(dtype)), -1, 1)


def describe(seed, depthwise):
    """Sizes of a convolution, drawn at random."""
    rng = np.random.default_rng(seed)
    groups = 1 if seed % 3 else 2
    channels = int(rng.choice([16, 17, 40, 700])) if groups == 1 else int(rng.choice([64, 70]))
    outputs = int(rng.choice([1, 30, 64, 65, 130])) if groups == 1 else 65
    if depthwise:
        channels, outputs, groups = 1, 1, int(rng.choice([8, 15, 16, 33, 64, 100, 600]))
    kernel = tuple(int(k) for k in rng.choice([1, 1, 2, 3, 5] if channels < 99 else [1, 2], 2))
    if depthwise and seed % 4 == 0:
        kernel = (9, 7) if seed % 8 else (1, 60)
    stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
    if seed % 2:
        stride[:] = 1
    padding = [int(rng.integers(0, d * (k - 1) + 2)) for d, k in zip(dilation, kernel, strict=True)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [s + int(rng.integers(0, 12)) for s in spans]
    n = int(rng.integers(1, 4))
    moves = tuple(stride.tolist()), tuple(padding), tuple(dilation.tolist()), groups
    return rng, (n, channels * groups, *size), (outputs * groups, channels, *kernel), moves


def close(found, expected, scale, dtype, depth):
    """Whether `found` differs from float64 numbers by rounding alone."""
    bound = ROUNDING[np.dtype(dtype).name] * scale
    if np.dtype(dtype).itemsize > 2:
        bound = bound * max(1, depth) ** 0.5
    return bool((np.abs(found.astype(np.float64) - expected) <= bound + 1e-7).all())


@needs_jit
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(24))
def test_convolutions(seed, depthwise):
    rng, x_shape, w_shape, moves = describe(seed, depthwise)
    dtype = TYPES[seed // 2 % 4]
    c = convolution._describe(x_shape, w_shape, *moves)
    x, w = last(rng, x_shape, dtype), guarded(rng.standard_normal(w_shape).astype(dtype))
    bias = guarded(rng.standard_normal(w_shape[0]).astype(dtype)) if seed % 5 else None
    g = last(rng, (x_shape[0], w_shape[0], *c.out), dtype)
    wide = [None if v is None else v.astype(np.float64) for v in (x, w, bias, g)]
    x64, w64, bias64, g64 = wide
    size = [None if v is None else np.abs(v) for v in wide]
    depth = w_shape[1] * w_shape[2] * w_shape[3]
    calls = channels_last
    if depthwise:
        assert calls.is_depthwise(c, np.dtype(dtype))
        forward, by_input = calls.depthwise_forward, calls.depthwise_backward_input
        by_weight = calls.depthwise_backward_weight
    else:
        forward, by_input, by_weight = calls.forward, calls.backward_input, calls.backward_weight
    found = forward(c, x, w, bias)
    assert layout.is_contiguous(np.moveaxis(found, 1, -1))
    expected = convolution.reference_forward(c, x64, w64, bias64)
    scale = convolution.reference_forward(c, size[0], size[1], size[2])
    assert close(found, expected, scale, dtype, depth)
    found = by_weight(c, g, x)
    expected = convolution.reference_backward_weight(c, g64, x64)
    scale = convolution.reference_backward_weight(c, size[3], size[0])
    assert close(found, expected, scale, dtype, g.size // w_shape[0])
    if depthwise or channels_last.mirrored(c) is not None:
        if not depthwise and channels_last._plan(channels_last.mirrored(c)) is None:
            return
        found = by_input(c, g, w)
        expected = convolution.reference_backward_input(c, g64, w64)
        scale = convolution.reference_backward_input(c, size[3], size[1])
        assert close(found, expected, scale, dtype, depth * w_shape[0] // w_shape[1])


TILES = [
    # channels, columns, kernel, stride, padding, dilation: what does not divide, too
    (16, 7, (7, 7), 1, 3, 1), (20, 4, (3, 5), 1, 2, 1), (33, 17, (5, 5), 2, 2, 1),
    (64, 14, (3, 3), 2, 1, 2), (40, 9, (1, 3), 3, 0, 1), (24, 8, (2, 4), 1, 9, 1),
]  # fmt: skip


@needs_jit
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("channels", "columns", "kernel", "stride", "padding", "dilation"), TILES)
def test_depthwise_tiles(channels, columns, kernel, stride, padding, dilation, dtype):
    rng = np.random.default_rng(0)
    width = (columns - 1) * stride + (kernel[1] - 1) * dilation + 1 - 2 * padding
    x = last(rng, (3, channels, 11, max(width, 1)), dtype)
    w = guarded(rng.standard_normal((channels, 1, *kernel)).astype(dtype))
    moves = (stride,) * 2, (padding,) * 2, (dilation,) * 2, channels
    c = convolution._describe(x.shape, w.shape, *moves)
    g = last(rng, (3, channels, *c.out), dtype)
    assert channels_last._fits_tiles(c)
    x64, w64, g64 = (v.astype(np.float64) for v in (x, w, g))
    sizes = [np.abs(v) for v in (x64, w64, g64)]
    found = channels_last.depthwise_forward(c, x, w, None)
    scale = convolution.reference_forward(c, *sizes[:2], None)
    assert close(found, convolution.reference_forward(c, x64, w64, None), scale, dtype, w[0].size)
    found = channels_last.depthwise_backward_input(c, g, w)
    scale = convolution.reference_backward_input(c, sizes[2], sizes[1])
    assert close(found, convolution.reference_backward_input(c, g64, w64), scale, dtype, w[0].size)


CASES = [
    ((2, 32, 9, 8), (48, 32, 1, 1), {}),
    ((2, 32, 9, 8), (48, 32, 3, 3), {"padding": 1}),
    ((2, 32, 9, 8), (48, 32, 3, 3), {"padding": 1, "stride": 2}),
    ((2, 32, 12, 12), (32, 1, 5, 5), {"padding": 2, "stride": 2, "groups": 32}),
    ((2, 3, 20, 20), (16, 3, 7, 7), {"padding": 3, "stride": 2}),
    ((2, 12, 9, 9), (12, 4, 3, 3), {"groups": 3}),
    ((2, 16, 6, 6, 6), (24, 16, 2, 2, 2), {"stride": 2}),
]


@pytest.mark.parametrize("weight_too", [False, True])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), CASES)
def test_results_and_strides_are_pytorchs(x_shape, w_shape, options, weight_too):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    name = "conv2d" if len(x_shape) == 4 else "conv3d"
    outcomes = []
    arrays = [rng.standard_normal(s).astype(np.float32) for s in (x_shape, w_shape, w_shape[:1])]
    for m in (fl, torch):
        order = m.channels_last if len(x_shape) == 4 else m.channels_last_3d
        x, w, b = (m.tensor(a) for a in arrays)
        x = x.contiguous(memory_format=order)
        w = w.contiguous(memory_format=order) if weight_too else w
        for t in (x, w, b):
            t.requires_grad_()
        y = getattr(m.nn.functional, name)(x, w, b, **options)
        grads = m.autograd.grad((y * y).sum(), (x, w, b))
        outcomes.append([t.detach() for t in (y, *grads)])
    for place, (ours, theirs) in enumerate(zip(*outcomes, strict=True)):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-4, atol=2e-3)
        if place < 2:
            assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_images_are_widened_piece_by_piece(dtype, monkeypatch):
    monkeypatch.setattr(narrow_convolution, "_PIECE", 600)
    rng = np.random.default_rng(0)
    kind = getattr(fl, dtype)
    x = fl.tensor(rng.standard_normal((5, 4, 9, 8))).to(kind).requires_grad_()
    w = fl.tensor(rng.standard_normal((6, 4, 3, 3))).to(kind).requires_grad_()
    y = fl.nn.functional.conv2d(x, w, None, 1, 1)
    y.float().square().sum().backward()
    exact = [t.detach().double().requires_grad_() for t in (x, w)]
    z = fl.nn.functional.conv2d(*exact, None, 1, 1)
    z.square().sum().backward()
    for found, expected in ((y, z), (x.grad, exact[0].grad), (w.grad, exact[1].grad)):
        error = (found.detach().double() - expected.detach()).abs().max()
        assert error < 0.02 * expected.detach().abs().max()


POOLS = {
    "max": lambda m, x: m.nn.functional.max_pool2d(x, 3, 2, 1),
    "dilated": lambda m, x: m.nn.functional.max_pool2d(x, (2, 3), 1, 1, (1, 2), ceil_mode=True),
    "indices": lambda m, x: m.nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
    "mean": lambda m, x: m.nn.functional.avg_pool2d(x, 2),
    "inner mean": lambda m, x: m.nn.functional.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False, ceil_mode=True
    ),
    "adaptive": lambda m, x: m.nn.functional.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive max": lambda m, x: m.nn.functional.adaptive_max_pool2d(x, (3, 2)),
    "nearest": lambda m, x: m.nn.functional.interpolate(x, scale_factor=2),
    "bilinear": lambda m, x: m.nn.functional.interpolate(x, (13, 30), mode="bilinear"),
    "cat": lambda m, x: m.cat([x, x * 2], 1),
}


@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("shape", [(2, 20, 9, 11), (3, 3, 24, 22)])
def test_pools_and_resampling_keep_the_order(shape, case):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape).astype(np.float32)
    values[0, 1, 2, 3] = np.nan
    outcomes = []
    for m in (fl, torch):
        x = m.tensor(values).contiguous(memory_format=m.channels_last).requires_grad_()
        y = POOLS[case](m, x)
        (grad,) = m.autograd.grad(y.nan_to_num().square().sum(), x)
        outcomes.append([y.detach(), grad])
    for place, (ours, theirs) in enumerate(zip(*outcomes, strict=True)):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)
        if not place:
            assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_pools_of_other_types(dtype):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((2, 20, 9, 11))
    for case in ("max", "mean", "inner mean", "bilinear"):
        ours, theirs = (
            POOLS[case](
                m, m.tensor(values).to(getattr(m, dtype)).contiguous(memory_format=m.channels_last)
            )
            for m in (fl, torch)
        )
        tolerance = 1e-12 if dtype == "float64" else 1e-2
        np.testing.assert_allclose(
            ours.double().numpy(), theirs.double().numpy(), rtol=tolerance, atol=tolerance
        )
