"""Kernels of softmax, norms and cross-entropy: against float64, against NumPy's way, and alike.

The yardstick for accuracy is NumPy's own float32 result: a kernel may be no further from the truth
than a few units, or than twice as far as that.
"""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau.backends.cpu import batch_norm, cross_entropy, normalization, softmax
from flambeau.backends.cpu.precision import NARROW
from tests.ops.compare import integers, normal

SHAPES = [
    ((5,), 0),
    ((3, 1), 1),
    ((7, 100), 1),
    ((2, 5000), 1),
    ((100, 7), 0),
    ((3, 10, 70), 1),
    ((2, 4, 3, 5), 1),
    ((2, 300, 130), 1),
]
HALVES = sorted(NARROW, key=str)


def without_kernels(monkeypatch, *modules):
    for module in modules:
        monkeypatch.setattr(module, "serves", lambda *arrays: False)


def both_ways(monkeypatch, module, function, *args):
    """What `function` gives with kernels and without."""
    fast = function(*args)
    without_kernels(monkeypatch, module)
    return fast, function(*args)


def near(found, truth, reference, dtype):
    """No further from the truth than the reference, give or take a few units of the dtype."""
    unit = 2.0**-7 if dtype in HALVES and dtype != np.float16 else np.finfo(dtype).eps
    found, truth, reference = (np.asarray(a, np.longdouble) for a in (found, truth, reference))
    scale = np.max(np.abs(truth), initial=1e-30)
    allowed = 2 * np.max(np.abs(reference - truth), initial=0) + 4 * float(unit) * scale
    assert np.max(np.abs(found - truth), initial=0) <= allowed


@pytest.mark.parametrize("dtype", [np.float32, np.float64, *HALVES])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_softmax_and_its_kin(monkeypatch, shape, axis, dtype):
    x, g = ((normal(*shape, seed=s) * 6).astype(dtype) for s in (0, 1))
    wide, wide_g = x.astype(np.longdouble), g.astype(np.longdouble)
    e = np.exp(wide - wide.max(axis, keepdims=True))
    p = e / e.sum(axis, keepdims=True)
    lse = np.log(e.sum(axis)) + wide.max(axis)
    for function, args, truth in (
        (softmax.softmax, (x, axis), p),
        (softmax.log_softmax, (x, axis), wide - np.expand_dims(lse, axis)),
        (softmax.logsumexp, (x, (axis,), False), lse),
        (softmax.softmax_back, (g, p.astype(dtype), axis), None),
        (softmax.log_softmax_back, (g, np.log(p).astype(dtype), axis), None),
    ):
        if truth is None:
            y = args[1].astype(np.longdouble)
            if function is softmax.softmax_back:
                truth = y * (wide_g - (wide_g * y).sum(axis, keepdims=True))
            else:
                truth = wide_g - np.exp(y) * wide_g.sum(axis, keepdims=True)
        with monkeypatch.context() as patch:
            fast, slow = both_ways(patch, softmax, function, *args)
        assert fast.dtype == slow.dtype == dtype
        assert fast.shape == slow.shape
        near(fast, truth, slow, dtype)


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_of_what_is_not_finite(monkeypatch, axis):
    x = np.array([[0, 1, -np.inf], [-np.inf] * 3, [np.inf, 1, 2], [np.nan, 1, 2]], np.float32)
    x = np.ascontiguousarray(np.repeat(x, 9, 1) if axis else np.repeat(x, 9, 1).T)
    for function in (softmax.softmax, softmax.log_softmax):
        with monkeypatch.context() as patch, np.errstate(all="ignore"):
            fast, slow = both_ways(patch, softmax, function, x, axis)
        np.testing.assert_allclose(fast, slow, 1e-5)
    with np.errstate(all="ignore"):
        fast, slow = both_ways(monkeypatch, softmax, softmax.logsumexp, x, (axis,), True)
    np.testing.assert_allclose(fast, slow, 1e-5)


def test_logsumexp_over_several_axes(monkeypatch):
    x = normal(3, 4, 5, 6).astype(np.float32)
    for axes in ((1, 2), (2, 3), (0, 1), (0, 2), (0, 1, 2, 3)):
        with monkeypatch.context() as patch:
            fast, slow = both_ways(patch, softmax, softmax.logsumexp, x, axes, False)
        np.testing.assert_allclose(fast, slow, 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, *HALVES])
@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (70, 33), (3, 5000), (2000, 5)])
@pytest.mark.parametrize(("affine", "centred"), [(True, True), (False, True), (True, False)])
def test_norms_of_rows(monkeypatch, shape, affine, centred, dtype):
    x, g = (normal(*shape, seed=s).astype(dtype) for s in (0, 1))
    weight, bias = (
        (normal(shape[1], seed=s).astype(dtype) for s in (2, 3)) if affine else (None,) * 2
    )
    wide = x.astype(np.float64)
    truths = normalization.norm_rows(wide, *widened(weight, bias), 1e-3, centred)
    with monkeypatch.context() as patch:
        fast, slow = both_ways(
            patch, normalization, normalization.norm_rows, x, weight, bias, 1e-3, centred
        )
    for found, reference, truth in zip(fast, slow, truths, strict=True):
        if truth is not None:
            near(found, truth, reference, dtype)
    back = (*fast[1:], weight, (affine, affine))
    truths = normalization.norm_rows_back(
        g.astype(np.float64), wide, *widened(*fast[1:], weight), (affine, affine)
    )
    with monkeypatch.context() as patch:
        fast, slow = both_ways(patch, normalization, normalization.norm_rows_back, g, x, *back)
    for found, reference, truth in zip(fast, slow, truths, strict=True):
        assert (found is None) == (truth is None)
        if truth is not None:
            near(found, truth, reference, dtype)


def widened(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("dtype", [np.float32, *HALVES])
@pytest.mark.parametrize("shape", [(2, 6, 4), (1, 6, 1), (3, 6, 5000)])
@pytest.mark.parametrize("affine", [True, False])
def test_norms_of_groups(monkeypatch, shape, affine, dtype):
    x, g = (normal(*shape, seed=s).astype(dtype) for s in (0, 1))
    weight, bias = (normal(6, seed=s).astype(dtype) for s in (2, 3)) if affine else (None,) * 2
    truths = normalization.norm_groups(x.astype(np.float64), 3, *widened(weight, bias), 1e-3)
    with monkeypatch.context() as patch:
        fast, slow = both_ways(
            patch, normalization, normalization.norm_groups, x, 3, weight, bias, 1e-3
        )
    for found, reference, truth in zip(fast, slow, truths, strict=True):
        near(found, truth, reference, dtype)
    mean, rstd = fast[1:]
    truths = normalization.norm_groups_back(
        g.astype(np.float64), x.astype(np.float64), 3, *widened(mean, rstd, weight)
    )
    with monkeypatch.context() as patch:
        back = (g, x, 3, mean, rstd, weight)
        fast, slow = both_ways(patch, normalization, normalization.norm_groups_back, *back)
    for found, reference, truth in zip(fast, slow, truths, strict=True):
        near(found, truth, reference, dtype)


CHANNELS = [
    (2, 3),
    (700, 5),
    (4, 300),
    (6, 3, 4),
    (600, 3, 4),
    (2, 3, 9, 9),
    (3, 2, 5000),
    (2, 5, 1),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", CHANNELS)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(monkeypatch, shape, training, last):
    x, g = ((normal(*shape, seed=s) * 2 + at).astype(np.float32) for s, at in ((0, 40), (1, 0)))
    if last:
        x, g = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, g))
    weight, bias = (normal(shape[1], seed=s).astype(np.float32) for s in (2, 3))

    def run(dtype):
        running = [np.full(shape[1], v, dtype) for v in (39.0, 3.0)]
        given = x.astype(dtype), weight.astype(dtype), bias.astype(dtype), *running
        forward = batch_norm.batch_norm(*given, training, 0.3, 1e-3)
        back = batch_norm.batch_norm_back(
            g.astype(dtype), given[0], given[1], *forward[1:], not training
        )
        return *forward, *running, *back

    truths, fast = run(np.float64), run(np.float32)
    without_kernels(monkeypatch, batch_norm)
    for found, reference, truth in zip(fast, run(np.float32), truths, strict=True):
        near(found, truth, reference, np.float32)
    assert fast[0].strides == x.strides
    assert fast[5].strides == x.strides


@pytest.mark.parametrize("dtype", HALVES)
def test_batch_norm_in_half_precision(dtype):
    x = normal(4, 3, 10, 10).astype(dtype)
    running = [np.full(3, v, dtype) for v in (0.0, 1.0)]
    out, mean, rstd = batch_norm.batch_norm(x, None, None, *running, True, 0.5, 1e-5)
    wide = x.astype(np.float64)
    assert out.dtype == dtype
    assert mean.dtype == rstd.dtype == np.float32
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(wide.var((0, 2, 3)) + 1e-5), 1e-5)
    np.testing.assert_allclose(running[0].astype(np.float64), mean / 2, rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, *HALVES])
@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (3, 5000), (2, 7, 3), (3, 5, 200)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(monkeypatch, shape, weighted, smoothing, dtype):
    x = (normal(*shape) * 3).astype(dtype)
    classes = shape[1]
    target = integers(classes, shape[0], *shape[2:])
    target.reshape(-1)[1::4] = -7
    weight = (np.abs(normal(classes)) + 0.1).astype(dtype) if weighted else None
    given = (target, weight, -7, smoothing, True)
    truth = cross_entropy.cross_entropy(x.astype(np.float64), target, *widened(weight), *given[2:])
    with monkeypatch.context() as patch:
        fast, slow = both_ways(patch, cross_entropy, cross_entropy.cross_entropy, x, *given)
    counts = target != -7
    near(fast.lse[counts], truth.lse[counts], slow.lse[counts], dtype)
    near(fast.losses, truth.losses, slow.losses, dtype)
    near(fast.total, truth.total, slow.total, dtype)
    near(fast.mass, truth.mass, slow.mass, dtype)
    for g in (np.asarray(1.5), normal(*target.shape, seed=5)):
        back = (target, weight, -7, smoothing, 3.0)
        wide = (g, x.astype(np.float64), truth.lse, target, *widened(weight), *back[2:])
        truth_back = cross_entropy.cross_entropy_back(*wide)
        args = (g.astype(dtype), x, fast.lse, *back)
        with monkeypatch.context() as patch:
            found, reference = both_ways(
                patch, cross_entropy, cross_entropy.cross_entropy_back, *args
            )
        assert found.dtype == dtype
        near(found, truth_back, reference, dtype)


@pytest.mark.parametrize("shape", [(9, 4), (2, 4, 100)])
@pytest.mark.parametrize("wrong", [4, -1, -100, 2**62])
def test_targets_that_are_no_classes_are_refused(shape, wrong):
    target = np.zeros((shape[0], *shape[2:]), np.int64)
    target.reshape(-1)[5] = wrong
    x = flambeau.tensor(np.ones(shape, np.float32))
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        F.cross_entropy(x, flambeau.tensor(target), ignore_index=3)


def test_an_ignored_row_counts_for_nothing_whatever_it_holds():
    x = flambeau.tensor([[1.0, 2.0], [float("nan"), 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, flambeau.tensor([0, -100]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log1p(np.e), rel=1e-6)
    assert x.grad[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("threads", [2, 4])
def test_results_do_not_depend_on_the_threads(threads):
    found = []
    before = flambeau.get_num_threads()
    try:
        for count in (1, threads):
            flambeau.set_num_threads(count)
            found.append(everything())
    finally:
        flambeau.set_num_threads(before)
    for one, many in zip(*found, strict=True):
        np.testing.assert_array_equal(one, many)


def everything():
    """Results of every kernel, of arrays large enough for several threads."""
    x, g = (normal(512, 300, seed=s).astype(np.float32) for s in (0, 1))
    image, gradient = (a.reshape(8, 16, 30, 40) for a in (x, g))
    target = integers(300, 512)
    for axis in (0, 1):
        yield softmax.softmax(x, axis)
        yield softmax.log_softmax(x, axis)
        yield softmax.logsumexp(x, (axis,), False)
        yield softmax.softmax_back(g, x, axis)
        yield softmax.log_softmax_back(g, x, axis)
    _, mean, rstd = rows = normalization.norm_rows(x, x[0], x[1], 1e-5, True)
    yield from rows
    yield from normalization.norm_rows_back(g, x, mean, rstd, x[0], (True, True))
    flat = image.reshape(8, 16, -1), gradient.reshape(8, 16, -1)
    _, mean, rstd = groups = normalization.norm_groups(flat[0], 4, None, None, 1e-5)
    yield from groups
    yield from normalization.norm_groups_back(flat[1], flat[0], 4, mean, rstd, None)
    for a, b in ((image, gradient), (x, g), (x.reshape(-1, 16), g.reshape(-1, 16))):
        _, mean, rstd = batches = batch_norm.batch_norm(a, None, None, None, None, True, 0.1, 1e-5)
        yield from batches
        yield from batch_norm.batch_norm_back(b, a, None, mean, rstd, False)
    losses, lse, total, mass = cross_entropy.cross_entropy(x, target, None, -100, 0.1, True)
    yield from (losses, lse, total, mass)
    yield cross_entropy.cross_entropy_back(np.float32(1), x, lse, target, None, -100, 0.1, 5.0)
    first, second = (flambeau.tensor(a).requires_grad_() for a in (x, g))
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits):
        value = loss(first, second)
        value.backward()
        yield value.detach().numpy()
    yield first.grad.numpy()
    yield second.grad.numpy()


def test_gradients_of_another_shape_are_no_reading_beyond_an_array():
    y = softmax.softmax(normal(4, 6).astype(np.float32), 1)
    one = softmax.softmax_back(np.ones((1, 6), np.float32), y, 1)
    np.testing.assert_allclose(one, np.zeros((4, 6)), atol=1e-6)
    x, target = flambeau.tensor(normal(4, 5)), flambeau.tensor(integers(5, 4))
    short = flambeau.zeros(3, dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="lse of shape"):
        flambeau.cross_entropy_back(short.sum(), x, target, None, short, None, -100, 0.0)
    with pytest.raises(RuntimeError, match="Expected a gradient of shape"):
        flambeau.row_norm_back(short, x, None, None, short, (5,), False)
    with pytest.raises(RuntimeError, match="mean should contain 5 elements"):
        flambeau.batch_norm_back(x, x, None, short, short, False)
