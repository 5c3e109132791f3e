"""Forward mode: tangents against PyTorch's, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fl
from flambeau.autograd import forward_ad, gradcheck
from tests.oracle import Scripts, agree

scripts = Scripts()

RNG = np.random.default_rng(3)
X, T = RNG.uniform(0.5, 1.5, (2, 3)), RNG.uniform(-1, 1, (2, 3))
Y, U = RNG.uniform(0.5, 1.5, 3), RNG.uniform(-1, 1, 3)


def fwd(L):
    import importlib

    return importlib.import_module(f"{L.__name__}.autograd.forward_ad")


def derive(L, f, *pairs):
    """The primal and the tangent of ``f`` of the dual tensors made of `pairs`."""
    ad = fwd(L)
    with ad.dual_level():
        duals = [
            L.tensor(p) if t is None else ad.make_dual(L.tensor(p), L.tensor(t)) for p, t in pairs
        ]
        out = f(*duals)
        parts = [ad.unpack_dual(o) for o in (out if isinstance(out, (tuple, list)) else [out])]
        return [(p.primal, p.tangent) for p in parts]


CASES = {
    "mul": lambda L, x, y: x * y,
    "number on the left": lambda L, x, y: 2.0 / x - y,
    "pow": lambda L, x, y: x**y + x**2,
    "unary": lambda L, x, y: x.sin() + y.exp().tanh(),
    "parameter": lambda L, x, y: L.nn.functional.leaky_relu(x - 1, 0.3) * y,
    "where": lambda L, x, y: L.where(x > 1, x * y, y),
    "clamp": lambda L, x, y: x.clamp(0.8, 1.2) * y,
    "view": lambda L, x, y: x.t()[1:].reshape(-1) * 2,
    "index": lambda L, x, y: (x[0], x[:, 1], x[L.tensor([1, 0])], x[x > 1]),
    "expand": lambda L, x, y: y.expand(2, 3) * x,
    "matmul": lambda L, x, y: (x @ y, x @ x.t()),
    "softmax": lambda L, x, y: x.softmax(1) * y,
    "log_softmax": lambda L, x, y: L.nn.functional.log_softmax(x * y, 0),
    "layer_norm": lambda L, x, y: L.nn.functional.layer_norm(x, (3,), y),
    "sum and mean": lambda L, x, y: (x.sum(0), x.mean(), y.prod(), x.var(1)),
    "cat and stack": lambda L, x, y: (L.cat([x, x * 2]), L.stack([y, y * y]), L.cat([x[0], y])),
    "list with a constant": lambda L, x, y: L.cat([y, L.ones(2, dtype=L.float64), y]),
    "unbind": lambda L, x, y: x.unbind(0),
    "split": lambda L, x, y: x.split(2, 1),
    "max": lambda L, x, y: (x.max(1).values, x.max(), L.maximum(x, y)),
    "sort": lambda L, x, y: x.sort(1).values,
    "norm": lambda L, x, y: (x.norm(), y.abs().sqrt()),
    "cumsum": lambda L, x, y: (x.cumsum(1), y.cumprod(0)),
    "cross_entropy": lambda L, x, y: L.nn.functional.cross_entropy(x, L.tensor([2, 0])),
    "linear": lambda L, x, y: L.nn.functional.linear(x, x, y[:2]),
    "comparison": lambda L, x, y: (x > y).double() * x,
    "detached": lambda L, x, y: x * y.detach(),
    "dtype": lambda L, x, y: x.float() * y.float(),
}


@pytest.mark.parametrize("name", CASES)
def test_tangents_as_in_torch(name):
    agree(lambda L: derive(L, lambda x, y: CASES[name](L, x, y), (X, T), (Y, U)))


@pytest.mark.parametrize("name", ["mul", "pow", "softmax", "matmul", "cat and stack", "where"])
def test_one_input_is_an_ordinary_tensor(name):
    agree(lambda L: derive(L, lambda x, y: CASES[name](L, x, y), (X, T), (Y, None)))


@scripts
def unpack_of_an_ordinary_tensor(L):
    with fwd(L).dual_level():
        parts = fwd(L).unpack_dual(L.ones(2))
    return parts.primal, parts.tangent


@scripts.raises
def make_dual_outside_a_level(L):
    fwd(L).make_dual(L.ones(2), L.ones(2))


@scripts.raises
def make_dual_of_integers(L):
    with fwd(L).dual_level():
        fwd(L).make_dual(L.ones(2, dtype=L.int64), L.ones(2))


@scripts.raises
def make_dual_of_other_shapes(L):
    with fwd(L).dual_level():
        fwd(L).make_dual(L.ones(2), L.ones(3))


@scripts.raises
def levels_do_not_nest(L):
    try:
        with fwd(L).dual_level(), fwd(L).dual_level():
            pass
    finally:
        if L is fl:
            assert forward_ad._level == -1


@scripts.raises
def level_that_was_not_entered(L):
    fwd(L).exit_dual_level()


@scripts
def facts_of_a_dual(L):
    ad = fwd(L)
    with ad.dual_level():
        d = ad.make_dual(L.ones(2, 3), L.zeros(2, 3))
        y = d.t() * 2
        return (
            list(d.shape), d.dtype, d.dim(), d.numel(), d.requires_grad, d.size(1),
            list(y.shape), d.is_floating_point(), len(d),
        )  # fmt: skip


@scripts
def in_place_on_a_dual(L):
    ad = fwd(L)
    with ad.dual_level():
        d = ad.make_dual(L.tensor([1.0, 2.0]), L.tensor([3.0, 4.0]))
        e = d * 1
        e.mul_(d).add_(1)
        return tuple(ad.unpack_dual(e))


@scripts
def reverse_over_forward(L):
    ad = fwd(L)
    a = L.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with ad.dual_level():
        y = (ad.make_dual(a, L.tensor([1.0, 0.0, 2.0])) ** 3).sin()
        tangent = ad.unpack_dual(y).tangent
    return tangent, L.autograd.grad(tangent.sum(), a)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.reshape(3, 2) @ x,
        lambda x: fl.nn.functional.gelu(x),
        lambda x: fl.nn.functional.conv1d(
            x.view(1, 2, 3), x.view(2, 1, 3)[:, :, :2].expand(2, 2, 2)
        ),
        lambda x: x.std(1),
        lambda x: fl.stack([x, x.sin()]).flatten(),
        lambda x: fl.nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x.logsumexp(0),
        lambda x: fl.nn.functional.pad(x, (1, 1)),
        lambda x: x.cumprod(1),
        lambda x: fl.where(x > 1, x, x * x),
    ],
)
def test_tangents_by_finite_differences(f):
    x = fl.tensor(X, requires_grad=True)
    assert gradcheck(f, (x,), check_forward_ad=True, check_backward_ad=False)


def test_reverse_over_forward_of_a_structured_op():
    def derivative(x):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, fl.tensor(T))
            return forward_ad.unpack_dual(dual.softmax(1)).tangent

    assert gradcheck(derivative, (fl.tensor(X, requires_grad=True),))


def test_duals_die_with_their_level():
    with forward_ad.dual_level():
        forward_ad.make_dual(fl.ones(1), fl.ones(1))
    assert forward_ad.unpack_dual(fl.ones(1)).tangent is None
