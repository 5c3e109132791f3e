"""`autograd.graph`: hooks on what is saved, edges, hooks on several gradients."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.autograd import graph as ours
from tests.oracle import Scripts, agree

scripts = Scripts()


def graph(L: Any) -> Any:
    return importlib.import_module(f"{L.__name__}.autograd.graph")


def same(x: Any) -> Any:
    return x


@scripts
def what_is_packed_and_unpacked(L):
    calls, x = [], L.tensor([1.0, 2.0], requires_grad=True)

    def pack(t):
        calls.append(("pack", tuple(t.shape)))
        return t

    def unpack(t):
        calls.append("unpack")
        return t

    with graph(L).saved_tensors_hooks(pack, unpack):
        y = (x * x.exp()).sum()
    y.backward(retain_graph=True)
    y.backward()
    return calls, x.grad


@scripts
def unpacked_values_count(L):
    x = L.tensor([1.0, 2.0], requires_grad=True)
    with graph(L).saved_tensors_hooks(lambda t: t * 3, same):
        y = (x * x).sum() + x.exp().sum() + L.cat([x, x]).softmax(0)[0]
    y.backward()
    return x.grad


@scripts
def kept_as_arrays(L):
    z = L.tensor([1.0, 2.0], requires_grad=True)
    with graph(L).saved_tensors_hooks(lambda t: t.detach().numpy().copy(), L.from_numpy):
        y = (z.exp() * z).softmax(0)[0] + L.nn.functional.layer_norm(z, (2,)).pow(2)[1]
        (a,) = L.autograd.grad(y, z, create_graph=True)
        (b,) = L.autograd.grad(a.sum(), z)
    return a, b


@scripts
def through_layers(L):
    F = L.nn.functional
    x = L.linspace(-1, 1, 32).reshape(1, 2, 4, 4).requires_grad_()
    w = L.linspace(-1, 1, 36).reshape(2, 2, 3, 3).requires_grad_()
    with graph(L).save_on_cpu():
        y = F.max_pool2d(F.conv2d(x, w).relu(), 2).tanh().flatten(1)
        y = F.linear(y, w.reshape(18, 2)[:2]).log_softmax(1).sum()
    y.backward()
    return x.grad, w.grad


@scripts
def the_innermost_hooks_count(L):
    seen, x = [], L.ones(2, requires_grad=True)
    hooks = graph(L).saved_tensors_hooks
    with hooks(lambda t: seen.append("outer") or t, same):
        x.exp()
        with hooks(lambda t: seen.append("inner") or t, same):
            x.exp()
        x.exp()
    x.exp()
    return seen


@scripts
def what_a_function_saves(L):
    calls, x = [], L.ones(2, requires_grad=True)

    class Square(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    with graph(L).saved_tensors_hooks(lambda t: calls.append(1) or t, lambda t: t * 3):
        y = Square.apply(x).sum()
    return L.autograd.grad(y, x), calls


@scripts.raises
def a_second_backward(L):
    x = L.ones(2, requires_grad=True)
    with graph(L).saved_tensors_hooks(same, same):
        y = (x * x.exp()).sum()
    y.backward()
    y.backward()


@scripts.raises
def unpacking_no_tensor(L):
    x = L.ones(2, requires_grad=True)
    with graph(L).saved_tensors_hooks(same, lambda t: 3):
        y = x * x
    y.sum().backward()


@scripts.raises
def packing_that_changes_its_tensor(L):
    x = L.ones(2, requires_grad=True)
    with graph(L).saved_tensors_hooks(lambda t: t.add_(1), same):
        x.exp()


@scripts.raises
def hooks_where_they_are_disabled(L):
    with graph(L).disable_saved_tensors_hooks("no!"), graph(L).saved_tensors_hooks(same, same):
        pass


@scripts
def edges(L):
    x = L.ones(2, requires_grad=True)
    edge, z = graph(L).get_gradient_edge, x * 2
    several = x.unbind()
    return [
        type(edge(x)).__name__, edge(x)._fields, edge(z).output_nr, edge(several[1]).output_nr,
        edge(z).node is z.grad_fn, isinstance(z.grad_fn, graph(L).Node),
        L.autograd.grad(edge(z.sum()), x, retain_graph=True),
        L.autograd.grad(edge(z), x, grad_outputs=L.ones(2) * 3, retain_graph=True),
        L.autograd.grad((z * z).sum(), edge(z)),
        L.autograd.grad((several[0] * several[1]).sum(), [edge(several[1]), x]),
    ]  # fmt: skip


@scripts.raises
def an_edge_of_a_constant(L):
    graph(L).get_gradient_edge(L.ones(2))


def gradients_together(L, mode):
    a, b, c = (L.ones(2, requires_grad=True) for _ in range(3))
    d, got = a * b, []

    def note(found):
        several = found if mode == "all" else [None]
        got.append([None if g is None else g.tolist() for g in several])

    handle = graph(L).register_multi_grad_hook((a, b, c, d), note, mode=mode)
    (d * 2).sum().backward()
    (a * b * 3).sum().backward()
    ((a + b) * c).sum().backward()
    handle.remove()
    (a * c).sum().backward()
    return got


@scripts
def all_gradients(L):
    return gradients_together(L, "all")


@scripts
def any_gradient(L):
    return gradients_together(L, "any")


@scripts.raises
def another_mode(L):
    graph(L).register_multi_grad_hook([L.ones(2, requires_grad=True)], same, mode="some")


@scripts.raises
def a_hook_on_a_constant(L):
    graph(L).register_multi_grad_hook([L.ones(2)], same)


@scripts
def changes_of_what_was_saved(L):
    with graph(L).allow_mutation_on_saved_tensors() as context:
        a = L.ones(2, requires_grad=True)
        b = a.clone()
        out = (b**2).sum() + b.exp().sum()
        b.sin_()
        out.backward()
    return a.grad, type(context).__name__


@scripts.raises
def changes_and_a_later_backward(L):
    with graph(L).allow_mutation_on_saved_tensors():
        a = L.ones(2, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
    out.backward()


@scripts.raises
def nested_permissions(L):
    allow = graph(L).allow_mutation_on_saved_tensors
    with allow(), allow():
        pass


@scripts
def versions(L):
    v = L.ones(2)
    graph(L).increment_version(v)
    graph(L).increment_version([v, v])
    return v._version


@scripts
def variables(L):
    v = L.autograd.Variable(L.ones(2), requires_grad=True)
    (v * 3).sum().backward()
    return v.grad, isinstance(v, L.autograd.Variable), type(v).__name__, isinstance(3, L.Tensor)


@scripts
def members_of_a_function(L):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    node = Double.apply(L.ones(2, requires_grad=True)).grad_fn
    node.metadata["note"] = 1
    return node.name(), node.metadata, node.requires_grad, len(node.next_functions)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_nothing_is_kept_that_was_packed_away():
    import gc
    import weakref

    x = fl.ones(3, requires_grad=True)
    inner = x * 2
    with ours.saved_tensors_hooks(lambda t: None, lambda _: fl.ones(3)):
        y = (inner * inner).sum()
    alive = weakref.ref(inner._d.base if inner._d.base is not None else inner)
    del inner
    gc.collect()
    assert alive() is None
    y.backward()
    assert x.grad.tolist() == [4, 4, 4]


def test_other_threads_save_as_ever():
    import threading

    x, packed, done = fl.ones(2, requires_grad=True), [], []

    def record():
        y = x.exp().sum()
        done.append(fl.autograd.grad(y, x)[0])

    with ours.saved_tensors_hooks(lambda t: packed.append(1) or t, same):
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
    assert not packed
    np.testing.assert_allclose(done[0].numpy(), np.exp(1), 1e-6)


def test_no_trace_of_hooks_remains():
    from flambeau.autograd.grad_mode import FAST

    with pytest.raises(ValueError, match="on purpose"), ours.saved_tensors_hooks(same, same):
        raise ValueError("on purpose")
    assert FAST["TRACE"] is None


def test_hooks_in_anomaly_mode():
    x = fl.zeros(1, requires_grad=True)
    with fl.autograd.detect_anomaly(), ours.saved_tensors_hooks(same, same):
        y = (x.sqrt() * x).sum()
        with pytest.raises(RuntimeError, match="nan values"):
            y.backward()
    assert x.grad is None
