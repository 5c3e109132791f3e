"""Normalization against PyTorch: values, both derivatives, running statistics."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import agree, case, normal, refuse, uniform

N, U, F = normal, uniform, "nn.functional."


def stats(channels):
    """Running statistics: no gradient goes through them in training."""
    return normal(channels, seed=8), uniform(channels, seed=9)


def layer(shape, normalized, *, weight=True, bias=True, **kwargs):
    given = dict(kwargs)
    if weight:
        given["weight"] = normal(*normalized, seed=1)
    if bias:
        given["bias"] = normal(*normalized, seed=2)
    return case(F + "layer_norm", normal(*shape), tuple(normalized), **given)


CASES = [
    layer((4, 5), (5,)),
    layer((2, 3, 4), (3, 4), eps=0.1),
    layer((2, 3, 4), (4,), weight=False, bias=False),
    layer((2, 3, 4), (4,), bias=False),
    layer((0, 3), (3,)),
    case(F + "rms_norm", N(4, 5), (5,), N(5, seed=1)),
    case(F + "rms_norm", N(2, 3, 4), (3, 4), eps=0.2),
    case(F + "group_norm", N(2, 6, 4), 3, N(6, seed=1), N(6, seed=2)),
    case(F + "group_norm", N(2, 6, 2, 3), 2, eps=0.1),
    case(F + "instance_norm", N(2, 3, 4, 4), weight=N(3, seed=1), bias=N(3, seed=2)),
    case(F + "local_response_norm", N(2, 6, 3), 3),
    case(F + "normalize", N(3, 4)),
]
BATCHES = [
    ((6, 3), True, True),
    ((4, 3, 5), True, True),
    ((2, 3, 4, 5), True, False),
    ((2, 3, 2, 2, 2), True, True),
    ((2, 3, 4, 5), False, True),
    ((5, 3), False, False),
]


@pytest.mark.parametrize("made", CASES)
def test_norm(made):
    agree(made, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("made", CASES)
def test_norm_in_single_precision_of_other_layouts(made):
    agree(made, dtype="float32", layout="reversed", order=1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("made", [CASES[0], CASES[5], CASES[7]])
def test_half_precision(made):
    agree(made, dtype="bfloat16", order=1, rtol=3e-2, atol=6e-2)


@pytest.mark.parametrize(("shape", "training", "affine"), BATCHES)
def test_batch_norm(shape, training, affine):
    kwargs = {"training": training, "eps": 0.01}
    if affine:
        kwargs |= {"weight": N(shape[1], seed=1), "bias": N(shape[1], seed=2)}
    if training:
        made = case(F + "batch_norm", N(*shape), None, None, **kwargs)
        agree(made.values[0], rtol=1e-6, atol=1e-8)
    else:
        check_fixed(shape, kwargs)


def check_fixed(shape, kwargs):
    torch = pytest.importorskip("torch")
    results = []
    for library in (flambeau, torch):
        mean, var = (library.tensor(s) for s in stats(shape[1]))
        x = library.tensor(N(*shape)).requires_grad_()
        given = {
            k: library.tensor(v).requires_grad_() if isinstance(v, np.ndarray) else v
            for k, v in kwargs.items()
        }
        out = library.nn.functional.batch_norm(x, mean, var, **given)
        leaves = [x, *(v for v in given.values() if hasattr(v, "grad"))]
        loss = (out * out.detach().sin() + out**3).sum()
        first = library.autograd.grad(loss, leaves, create_graph=True)
        second = library.autograd.grad(sum((g**2).sum() for g in first), leaves)
        results.append([np.array(t.tolist()) for t in (out, *first, *second)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0])
def test_running_statistics_move(momentum):
    torch = pytest.importorskip("torch")
    found = []
    for library in (flambeau, torch):
        mean, var = (library.tensor(s) for s in stats(3))
        for i in range(3):
            x = library.tensor(normal(4, 3, 2, seed=i))
            library.nn.functional.batch_norm(x, mean, var, training=True, momentum=momentum)
        found.append((np.array(mean.tolist()), np.array(var.tolist())))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)


def test_the_result_is_normal():
    x = flambeau.tensor(normal(50, 3, 7) * 5 + 3)
    out = flambeau.nn.functional.batch_norm(x, None, None, training=True, eps=0.0).numpy()
    np.testing.assert_allclose(out.mean((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(out.var((0, 2)), 1)


def test_large_offsets_do_not_spoil_the_variance():
    x = (normal(64, 4, 16) + 1000).astype(np.float32)
    out = flambeau.nn.functional.batch_norm(flambeau.tensor(x), None, None, training=True).numpy()
    wide = x.astype(np.float64)
    truth = (wide - wide.mean((0, 2), keepdims=True)) / np.sqrt(
        wide.var((0, 2), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(out, truth, atol=2e-4)


@pytest.mark.parametrize(
    "made",
    [
        case(F + "batch_norm", N(4, 3), *stats(2)),
        case(F + "batch_norm", N(4, 3), None, None, training=True, weight=N(2)),
        case(F + "batch_norm", N(1, 3), None, None, training=True),
        case(F + "layer_norm", N(4, 5), (4,)),
        case(F + "layer_norm", N(4, 5), ()),
        case(F + "layer_norm", N(4, 5), (5,), N(4)),
        case(F + "group_norm", N(2, 6, 4), 4),
        case(F + "group_norm", N(2, 6, 4), 3, N(5)),
        case(F + "rms_norm", N(4, 5), (4,)),
        case(F + "instance_norm", N(2, 3, 1)),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)


def test_saved_input_must_not_change():
    x = flambeau.tensor(normal(4, 3)).requires_grad_()
    y = x * 1
    out = flambeau.nn.functional.layer_norm(y, (3,))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0)])
def test_no_values_move_no_statistics(shape):
    mean, var = flambeau.full((3,), 2.0), flambeau.full((3,), 5.0)
    out = flambeau.nn.functional.batch_norm(flambeau.zeros(shape), mean, var, training=True)
    assert out.shape == shape
    assert mean.tolist() == [2.0] * 3
    assert var.tolist() == [5.0] * 3
