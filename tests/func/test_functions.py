"""Custom operations inside transformations: against PyTorch's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tests.oracle import agree

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))


def functions(L: Any) -> dict[str, Any]:
    """One operation, with every way of being mapped."""

    class Product(L.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x.sin() * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs, output)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            x, y, _ = ctx.saved_tensors
            return g * x.cos() * y, g * x.sin()

        @staticmethod
        def jvp(ctx, tx, ty):
            x, y = ctx.saved_tensors
            out = 0
            if tx is not None:
                out = out + tx * x.cos() * y
            if ty is not None:
                out = out + ty * x.sin()
            return out

    class Generated(Product):
        generate_vmap_rule = True

    class OwnRule(Product):
        @staticmethod
        def vmap(info, in_dims, x, y):
            assert info.batch_size in (3, 4)
            x = x if in_dims[0] is None else x.movedim(in_dims[0], 0)
            y = y if in_dims[1] is None else y.movedim(in_dims[1], 0)
            return OwnRule.apply(x, y), 0

    class Two(L.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, y):
            return x * y, x + y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        def backward(ctx, g, _):
            x, y = ctx.saved_tensors
            return g * y, g * x

    class Both(OwnRule):
        generate_vmap_rule = True

    class NoPair(Product):
        @staticmethod
        def vmap(info, in_dims, x, y):
            return x

    return {
        "none": Product, "generated": Generated, "own": OwnRule, "two": Two, "both": Both,
        "no pair": NoPair,
    }  # fmt: skip


CALLS = {
    "mapped": lambda L, F, f, x, y: F.vmap(f)(x, y),
    "one shared": lambda L, F, f, x, y: F.vmap(f, (0, None))(x, y[0]),
    "other dimension": lambda L, F, f, x, y: F.vmap(f, (1, 1))(x, y),
    "gradients": lambda L, F, f, x, y: F.grad(lambda x, y: f(x, y).sum(), (0, 1))(x, y),
    "gradients per example": lambda L, F, f, x, y: F.vmap(
        F.grad(lambda x, y: f(x, y).sum(), (0, 1))
    )(x, y),
    "gradient of a mapped one": lambda L, F, f, x, y: F.grad(
        lambda x, y: F.vmap(f, (0, None))(x, y).sum(), (0, 1)
    )(x, y[0]),
    "tangents": lambda L, F, f, x, y: F.jvp(f, (x, y), (y, x)),
    "tangents per example": lambda L, F, f, x, y: F.vmap(
        lambda x, y: F.jvp(lambda x: f(x, y), (x,), (y,))
    )(x, y),
    "tangents of a mapped one": lambda L, F, f, x, y: F.jvp(F.vmap(f), (x, y), (y, x)),
    "second": lambda L, F, f, x, y: F.jacrev(F.jacrev(lambda x: f(x, y[0])))(x[0]),
    "mixed": lambda L, F, f, x, y: F.jacfwd(F.jacrev(lambda x: f(x, y[0])))(x[0]),
    "second per example": lambda L, F, f, x, y: F.vmap(
        F.jacrev(F.jacrev(lambda x: f(x, y[0])))
    )(x),
    "on the tape": lambda L, F, f, x, y: L.autograd.grad(
        F.vmap(f)(x.requires_grad_(), y.requires_grad_()).sum(), (x, y)
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["generated", "own"])
def test_as_in_torch(kind, call):
    if kind == "generated" and call in ("gradient of a mapped one", "on the tape"):
        pytest.skip("PyTorch 2.13 fails there with an assertion of its own")

    def script(L):
        F = importlib.import_module(f"{L.__name__}.func")
        return CALLS[call](L, F, functions(L)[kind].apply, L.tensor(X), L.tensor(Y))

    agree(script)


@pytest.mark.parametrize("call", ["gradient of a mapped one", "on the tape"])
def test_generated_rules_do_what_written_ones_do(call):
    import flambeau as fl

    made = [
        CALLS[call](fl, fl.func, functions(fl)[k].apply, fl.tensor(X), fl.tensor(Y))
        for k in ("generated", "own")
    ]
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-12)


def test_several_results():
    def script(L):
        F = importlib.import_module(f"{L.__name__}.func")
        f, x, y = functions(L)["two"].apply, L.tensor(X), L.tensor(Y)
        per_example = F.vmap(F.grad(lambda x, y: sum(f(x, y)).sum(), (0, 1)))(x, y)
        return F.vmap(f)(x, y), per_example, F.vmap(f, (0, None))(x, y[0])

    agree(script)


@pytest.mark.parametrize("kind", ["none", "both", "no pair"])
def test_what_cannot_be_mapped(kind):
    torch = pytest.importorskip("torch")
    import flambeau

    messages = []
    for L in (flambeau, torch):
        with pytest.raises(RuntimeError) as caught:
            L.vmap(functions(L)[kind].apply)(L.tensor(X), L.tensor(Y))
        messages.append(str(caught.value).split(" Got ")[0])
    assert messages[0] == messages[1]


def test_forward_mode_needs_a_rule():
    import flambeau

    class NoRule(flambeau.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

    with pytest.raises(NotImplementedError, match="jvp"):
        flambeau.func.jvp(NoRule.apply, (flambeau.ones(2),), (flambeau.ones(2),))


def test_vjp_is_another_name_for_backward():
    import flambeau

    class Twice(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def vjp(ctx, g):
            return g * 2

    x = flambeau.ones(2, requires_grad=True)
    Twice.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]
