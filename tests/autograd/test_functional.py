"""`autograd.functional`: values and errors as PyTorch's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tests.oracle import check_error, differences, observe

X = np.array([0.5, 2.0])
square = lambda x: x**2  # noqa: E731


def ones(L: Any) -> Any:
    return L.ones(2, dtype=L.float64)


CASES = [
    lambda L, af, x: af.vjp(square, x),
    lambda L, af, x: af.vjp(square, x, (x, x)),
    lambda L, af, x: af.vjp(square, x, L.ones(3)),
    lambda L, af, x: af.vjp(lambda x: 3, x),
    lambda L, af, x: af.vjp(square, 3),
    lambda L, af, x: af.vjp(square, (x, 3)),
    lambda L, af, x: af.vjp(lambda x: L.ones(2), x, L.ones(2), strict=True),
    lambda L, af, x: af.vjp(lambda x: L.ones(2), x, L.ones(2)),
    lambda L, af, x: af.vjp(lambda x, y: x * 2, (x, x), ones(L), strict=True),
    lambda L, af, x: af.vjp(lambda x: x * 2, (x,), ones(L), create_graph=True, strict=True),
    lambda L, af, x: af.jvp(lambda x: L.ones(2), x, L.ones(2), strict=True),
    lambda L, af, x: af.jvp(square, x),
    lambda L, af, x: af.jvp(square, x, ones(L)),
    lambda L, af, x: af.jvp(lambda x: x.sum(), x),
    lambda L, af, x: af.jacobian(square, x, strict=True, vectorize=True),
    lambda L, af, x: af.jacobian(square, x, create_graph=True),
    lambda L, af, x: af.jacobian(lambda x, y: (x * y, y), (x, x.detach()), strict=True),
    lambda L, af, x: af.jacobian(lambda x, y: (x * y, y), (x, x.detach())),
    lambda L, af, x: af.jacobian(lambda x, y: (x * y, y), (x, x.detach()), vectorize=True),
    lambda L, af, x: af.jacobian(
        lambda x, y: (x * y, y.sum()), (x, x.detach()), vectorize=True, strategy="forward-mode"
    ),
    lambda L, af, x: af.jacobian(
        square, x, vectorize=True, strategy="forward-mode", create_graph=True
    ),
    lambda L, af, x: af.jacobian(square, x, strategy="forward-mode"),
    lambda L, af, x: af.jacobian(square, x, strategy="zz", vectorize=True),
    lambda L, af, x: af.hessian(square, x),
    lambda L, af, x: af.hessian(lambda x: (x**3).sum(), x),
    lambda L, af, x: af.hessian(lambda x: x.sum(), x, strict=True),
    lambda L, af, x: af.hessian(lambda x: x.sum(), x),
    lambda L, af, x: af.hessian(lambda x, y: (x * y * y).sum(), (x, x)),
    lambda L, af, x: af.hessian(lambda x, y: (x * y * y).sum(), (x, x), vectorize=True),
    lambda L, af, x: af.hvp(lambda x: (x**3).sum(), x, ones(L)),
    lambda L, af, x: af.vhp(lambda x: (x**3).sum(), x, ones(L)),
    lambda L, af, x: af.vhp(lambda x: x**3, x, ones(L)),
    lambda L, af, x: af.vhp(lambda x: (x**3).sum(), x),
    lambda L, af, x: af.hvp(lambda x: (x).sum(), x, ones(L)),
    lambda L, af, x: af.hvp(lambda x: (x).sum(), x, ones(L), strict=True),
    lambda L, af, x: af.vhp(lambda x: (x).sum(), x, ones(L), strict=True),
    lambda L, af, x: af.hessian(
        lambda x: (x**3).sum(), x, vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    lambda L, af, x: af.jvp(square, (x,), (x, x)),
    lambda L, af, x: af.vjp(lambda x: (x, x), x, x),
    lambda L, af, x: af.vjp(lambda x: (x, x), x),
    lambda L, af, x: af.jacobian(lambda x: L.outer(x, x), x.exp(), create_graph=True),
    lambda L, af, x: af.hessian(lambda a, b: (a @ b) ** 2, (x, x.exp()), create_graph=True),
    lambda L, af, x: L.autograd.grad(af.jacobian(square, x.exp(), create_graph=True).sum(), x),
    lambda L, af, x: L.autograd.grad(
        af.vjp(lambda y: y**3, x.exp(), ones(L), create_graph=True)[1].sum(), x
    ),
    lambda L, af, x: L.autograd.grad(
        af.jvp(lambda y: y**3, x.exp(), ones(L), create_graph=True)[1].sum(), x
    ),
    lambda L, af, x: [t.requires_grad for t in af.vjp(square, x, ones(L))],
    lambda L, af, x: [t.requires_grad for t in af.vjp(square, x, ones(L), create_graph=True)],
]


@pytest.mark.parametrize("call", CASES, ids=range(len(CASES)))
def test_as_in_torch(call):
    torch = pytest.importorskip("torch")
    import flambeau

    def script(L):
        home = importlib.import_module(f"{L.__name__}.autograd.functional")
        return call(L, home, L.tensor(X, requires_grad=True))

    ours, theirs = observe(script, flambeau)[0], observe(script, torch)[0]
    if isinstance(theirs, Exception):
        check_error(ours, theirs)
        assert str(ours) == str(theirs)
    else:
        found = [] if isinstance(ours, Exception) else differences(ours, theirs, 1e-7, 1e-9)
        assert not isinstance(ours, Exception), ours
        assert not found


def test_vectorized_rows_are_those_one_by_one():
    import flambeau as fl
    from flambeau.autograd.functional import hessian, jacobian

    x = fl.tensor(np.linspace(-1, 1, 12).reshape(3, 4))
    f = lambda x: (fl.softmax(x, 1).cumsum(0), x.sum() * x[0])  # noqa: E731
    plain = jacobian(f, x)
    for kwargs in ({}, {"strategy": "forward-mode"}):
        for a, b in zip(plain, jacobian(f, x, vectorize=True, **kwargs), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-12, 1e-14)
    g = lambda x: fl.logsumexp(x.flatten() ** 2, 0)  # noqa: E731
    plain = hessian(g, x)
    for strategy in ("reverse-mode", "forward-mode"):
        found = hessian(g, x, vectorize=True, outer_jacobian_strategy=strategy)
        np.testing.assert_allclose(plain.numpy(), found.detach().numpy(), 1e-10, 1e-13)
