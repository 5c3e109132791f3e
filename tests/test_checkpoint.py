"""Checkpoints: the same gradients as without, the same random numbers, PyTorch's refusals."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest

import flambeau as fl
from flambeau.utils import checkpoint as ours


def network():
    fl.manual_seed(0)
    return fl.nn.Sequential(
        fl.nn.Linear(4, 5), fl.nn.Dropout(0.5), fl.nn.Tanh(), fl.nn.Linear(5, 3)
    ).double()


def gradients(run, net, *tensors):
    """Result and gradients of ``run(net)``, from the same random numbers."""
    fl.manual_seed(5)
    out = run()
    out.sin().sum().backward()
    found = [out, *(t.grad for t in tensors), *(p.grad for p in net.parameters())]
    for t in (*tensors, *net.parameters()):
        t.grad = None
    return [t.detach().numpy() for t in found]


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradients_are_those_without(use_reentrant):
    net = network()
    x = fl.arange(8.0, dtype=fl.float64).reshape(2, 4).requires_grad_()
    plain = gradients(lambda: net(x) * 2, net, x)
    spared = gradients(lambda: ours.checkpoint(net, x, use_reentrant=use_reentrant) * 2, net, x)
    for a, b in zip(plain, spared, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_a_function_uses_is_followed():
    net = network()
    leaf = fl.linspace(0.1, 0.4, 4, dtype=fl.float64).requires_grad_()
    x = fl.arange(8.0, dtype=fl.float64).reshape(2, 4).requires_grad_()

    def f(pair, scale=1.0):
        h = (pair["x"] * outer).clone()
        h[0].mul_(scale)
        first, second = net(h).unbind(0)
        return first, {"rest": [second.sin() * first, None]}

    def run(wrapped):
        first, more = wrapped({"x": x}, scale=3.0)
        return first + more["rest"][0]

    outer = leaf * 2
    plain = gradients(lambda: run(f), net, x, leaf)
    outer = leaf * 2
    spared = gradients(
        lambda: run(lambda *a, **k: ours.checkpoint(f, *a, use_reentrant=False, **k)), net, x, leaf
    )
    for a, b in zip(plain, spared, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_random_numbers_on_request():
    x = fl.ones(1000, requires_grad=True)

    def drop(a):
        return fl.nn.functional.dropout(a, 0.5)

    fl.manual_seed(1)
    out = ours.checkpoint(drop, x, use_reentrant=False)
    out.sum().backward()
    assert np.array_equal(x.grad.numpy(), out.detach().numpy())
    x.grad = None
    out = ours.checkpoint(drop, x, use_reentrant=False, preserve_rng_state=False)
    out.sum().backward()
    assert not np.array_equal(x.grad.numpy(), out.detach().numpy())


def test_second_derivatives_and_nesting():
    x = fl.tensor([0.3, 0.4], dtype=fl.float64, requires_grad=True)

    def f(a):
        def inner(b):
            return (b.sin() * b).exp()

        return ours.checkpoint(inner, a, use_reentrant=False) * a

    def g(a):
        return ours.checkpoint(f, a, use_reentrant=False)

    assert fl.autograd.gradcheck(g, (x,))
    assert fl.autograd.gradgradcheck(g, (x,))
    (partial,) = fl.autograd.grad(g(x).sum(), x)
    (expected,) = fl.autograd.grad(((x.sin() * x).exp() * x).sum(), x)
    np.testing.assert_allclose(partial.numpy(), expected.numpy(), rtol=1e-14)


def test_nothing_is_kept_in_between():
    kept = []

    def f(a):
        hidden = a.exp()
        kept.append(weakref.ref(hidden))
        return hidden.sin()

    x = fl.ones(3, requires_grad=True)
    out = ours.checkpoint(f, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    out.sum().backward()
    assert len(kept) == 2


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_sequences(use_reentrant):
    net = fl.nn.Sequential(*[fl.nn.Linear(4, 4) for _ in range(5)]).double()
    x = fl.ones(2, 4, dtype=fl.float64, requires_grad=True)
    plain = gradients(lambda: net(x), net, x)
    for steps in (net, list(net)):
        spared = gradients(
            lambda s=steps: ours.checkpoint_sequential(s, 2, x, use_reentrant=use_reentrant), net, x
        )
        for a, b in zip(plain, spared, strict=True):
            np.testing.assert_array_equal(a, b)


def test_contexts_surround_both_runs():
    entered = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *_):
            entered.append("out")

    x = fl.ones(2, requires_grad=True)
    contexts = Context("forward"), Context("again")
    out = ours.checkpoint(fl.sin, x, use_reentrant=False, context_fn=lambda: contexts)
    out.sum().backward()
    assert entered == ["forward", "out", "again", "out"]


def test_a_graph_is_used_once():
    x = fl.ones(2, requires_grad=True)
    out = ours.checkpoint(fl.sin, x, use_reentrant=False).sum()
    out.backward(retain_graph=True)
    out.backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.backward()


def test_a_changed_function_is_noticed():
    calls = []

    def fickle(a):
        calls.append(1)
        return (a if len(calls) == 1 else a[:1]).sin()

    x = fl.ones(2, requires_grad=True)
    with pytest.raises(ours.CheckpointError, match="metadata"):
        ours.checkpoint(fickle, x, use_reentrant=False).sum().backward()


CALLS = {
    "plain": lambda c, lib, x, y: c.checkpoint(lib.sin, x, use_reentrant=False),
    "no gradient": lambda c, lib, x, y: c.checkpoint(lib.sin, y, use_reentrant=False),
    "no gradient, reentrant": lambda c, lib, x, y: c.checkpoint(lib.sin, y, use_reentrant=True),
    "not said": lambda c, lib, x, y: c.checkpoint(lib.sin, x),
    "keywords": lambda c, lib, x, y: c.checkpoint(lib.sin, x, k=1, use_reentrant=True),
    "debug": lambda c, lib, x, y: c.checkpoint(lib.sin, x, debug=True, use_reentrant=True),
    "check": lambda c, lib, x, y: c.checkpoint(
        lib.sin, x, use_reentrant=False, determinism_check="some"
    ),
    "sequence": lambda c, lib, x, y: c.checkpoint_sequential([lib.sin], 1, x, a=1),
    "cut off": lambda c, lib, x, y: (
        c.checkpoint(lambda a: a.detach(), x, use_reentrant=True).sum().backward()
    ),
    "not a tuple": lambda c, lib, x, y: c.detach_variable(x),
    "validity": lambda c, lib, x, y: c.check_backward_validity([y]),
}


@pytest.mark.parametrize("name", CALLS)
def test_warnings_and_errors_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.utils.checkpoint")
    found = []
    for lib, module in ((fl, ours), (torch, theirs)):
        x, y = lib.ones(2, requires_grad=True), lib.ones(2)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                CALLS[name](module, lib, x, y)
                error = None
            except Exception as e:
                error = type(e)
        found.append((error, len(seen)))
    assert found[0] == found[1]
