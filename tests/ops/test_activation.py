"""Activations, softmax and dropout against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from tests.ops.compare import agree, case, integers, normal, refuse

N, P = normal, "nn.functional."
# None of these lies on a kink.
X = np.array(
    [-30.0, -7.1, -3.3, -2.4, -1.2, -0.7, -0.3, -0.01, 0.01, 0.2, 0.6, 1.3, 2.9, 3.4, 25.0]
)
SMOOTH = [
    case(P + "gelu", X),
    case(P + "gelu", X, approximate="tanh"),
    case(P + "silu", X),
    case(P + "mish", X),
    case(P + "elu", X, alpha=1.3),
    case(P + "selu", X),
    case(P + "celu", X, alpha=0.7),
    case(P + "softplus", X),
    case(P + "softplus", X, beta=2.0, threshold=5.0),
    case(P + "logsigmoid", X),
    case(P + "softsign", X),
    case(P + "tanhshrink", X),
    case(P + "glu", N(3, 6)),
    case(P + "glu", N(4, 3), dim=0),
    case(P + "softmax", N(3, 5), dim=1),
    case(P + "softmax", N(3, 5, 2), dim=0),
    case(P + "softmin", N(3, 5), dim=-1),
    case(P + "log_softmax", N(3, 5), dim=1),
    case(P + "log_softmax", N(3, 5, 2), dim=-2),
    case("logsumexp", N(3, 5, 2), (0, 2)),
    case("logsumexp", N(3, 5), 1, keepdim=True),
]
KINKED = [
    case(P + "relu", X),
    case(P + "relu6", X),
    case(P + "hardtanh", X, -1.1, 0.8),
    case(P + "hardsigmoid", X),
    case(P + "hardswish", X),
    case(P + "hardshrink", X, 0.4),
    case(P + "softshrink", X, 0.4),
    case(P + "leaky_relu", X, 0.2),
    case(P + "threshold", X, 0.1, 20.0),
    case(P + "prelu", N(2, 3, 4), N(3, seed=1)),
    case(P + "prelu", N(5), N(1, seed=1)),
    case(P + "rrelu", X, 0.1, 0.4),
]


@pytest.mark.parametrize("made", SMOOTH + KINKED)
def test_activation(made):
    order = 1 if made.path.endswith("hardsigmoid") else 2  # PyTorch has no second derivative
    agree(made, order=order, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("made", SMOOTH + KINKED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activation_in_other_dtypes(made, dtype):
    near = 1e-5 if dtype == "float32" else 3e-2
    agree(made, dtype=dtype, order=1, rtol=near, atol=near)


EXTREMES = np.array([-np.inf, -1e30, -0.0, 0.0, 1e30, np.inf, np.nan])


@pytest.mark.parametrize("made", [p for p in SMOOTH + KINKED if p.values[0].args[0] is X])
def test_infinities_and_nan(made):
    agree(made._replace(args=(EXTREMES, *made.args[1:])), order=0)


@pytest.mark.parametrize("name", ["relu", "relu6", "hardtanh", "hardsigmoid", "hardswish",
                                  "hardshrink", "softshrink", "leaky_relu"])  # fmt: skip
def test_the_slope_at_a_kink_is_pytorchs(name):
    kinks = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0])
    agree(case(P + name, kinks).values[0], order=1)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "rows",
    [
        [[1e4, 0.0, -1e4], [1e30, 1e30, 0.0]],
        [[-np.inf, 0.0, 1.0], [-np.inf, -np.inf, 3.0]],
        [[-np.inf, -np.inf, -np.inf], [np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0]],
    ],
)
def test_softmax_does_not_overflow(name, rows):
    agree(case(P + name, np.array(rows), dim=1).values[0], order=0)


def test_softmax_of_scalars_empties_and_dtypes():
    agree(case(P + "softmax", N(), dim=0).values[0])
    agree(case(P + "softmax", N(0, 3), dim=1).values[0], order=1)
    agree(case(P + "softmax", N(3, 0), dim=1).values[0], order=1)
    agree(case(P + "softmax", N(2, 3), dim=1, dtype=None).values[0])
    out = F.softmax(flambeau.zeros(2, dtype=flambeau.float16), 0, dtype=flambeau.float64)
    assert out.dtype == flambeau.float64
    agree(case("logsumexp", np.full((2, 3), -np.inf), 1).values[0], order=0)
    agree(case("logsumexp", np.full((2, 3), np.inf), 1).values[0], order=0)
    agree(case("logsumexp", integers(5, 2, 3), 1).values[0], rtol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        case(P + "glu", N(3, 5)),
        case(P + "glu", N()),
        case(P + "softmax", N(3, 5), dim=2),
        case(P + "prelu", N(2, 3), N(2)),
        case(P + "prelu", N(2, 3), N(3, 1)),
        case(P + "hardtanh", N(2), 1.0, -1.0),
        case(P + "softshrink", N(2), -1.0),
        case(P + "gelu", N(2), approximate="none at all"),
        case(P + "rrelu", N(2), 0.5, 0.1),
        case(P + "dropout", N(2), 1.5),
        case(P + "dropout1d", N(2), 0.5),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)


@pytest.mark.parametrize("name", ["relu_", "leaky_relu_", "elu_", "selu_", "celu_", "hardtanh_"])
def test_in_place(name):
    for order in (True, False):
        x = flambeau.tensor(X).requires_grad_(order)
        y = x * 1
        out = getattr(F, name)(y)
        assert out is y
        np.testing.assert_array_equal(y.detach().numpy(), getattr(F, name[:-1])(x).detach().numpy())
        if order:
            first = flambeau.autograd.grad(out.sum(), x)[0]
            again = flambeau.autograd.grad(getattr(F, name[:-1])(x).sum(), x)[0]
            np.testing.assert_array_equal(first.numpy(), again.numpy())


# ---------------------------------------------------------------- random ones
RANDOM = [
    ("dropout", (5, 7), {"p": 0.3}),
    ("dropout", (4,), {"p": 0.9}),
    ("dropout1d", (3, 4, 2), {"p": 0.4}),
    ("dropout2d", (3, 4, 2, 2), {"p": 0.4}),
    ("dropout3d", (3, 4, 2, 2, 1), {"p": 0.4}),
    ("alpha_dropout", (5, 7), {"p": 0.3, "training": True}),
    ("feature_alpha_dropout", (5, 7, 2), {"p": 0.3, "training": True}),
    ("rrelu", (5, 7), {"lower": 0.1, "upper": 0.7, "training": True}),
    ("dropout", (3,), {"p": 1.0}),
    ("dropout", (3,), {"p": 0.0}),
    ("dropout", (3,), {"p": 0.5, "training": False}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "shape", "kwargs"), RANDOM)
def test_the_same_seed_draws_what_pytorch_draws(name, shape, kwargs, dtype):
    torch = pytest.importorskip("torch")
    seen = []
    for library in (flambeau, torch):
        library.manual_seed(7)
        x = library.tensor(normal(*shape)).to(getattr(library, dtype)).requires_grad_()
        out = getattr(library.nn.functional, name)(x, **kwargs)
        (out * out).sum().backward()
        after = library.rand(3)
        seen.append([np.array(t.tolist()) for t in (out.detach(), x.grad, after)])
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_masks_are_drawn_in_memory_order():
    torch = pytest.importorskip("torch")
    seen = []
    for library in (flambeau, torch):
        library.manual_seed(3)
        x = library.ones(4, 6).t()
        seen.append(np.array(library.nn.functional.dropout(x, 0.5).tolist()))
    np.testing.assert_array_equal(*seen)


def test_dropout_keeps_the_mean():
    flambeau.manual_seed(0)
    out = F.dropout(flambeau.ones(100_000), 0.2)
    values = set(out.tolist())
    assert len(values) == 2
    assert float(out.mean()) == pytest.approx(1, abs=0.01)
    assert math.isclose(max(values), 1.25, rel_tol=1e-6)


def test_dropout_outside_training_is_the_input():
    x = flambeau.ones(3)
    assert flambeau.dropout(x, 0.5, False) is x
