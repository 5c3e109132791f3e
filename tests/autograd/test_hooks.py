"""Hooks on tensors, leaves and nodes: when they run, in which order, and what they may change."""

from __future__ import annotations

import gc
import weakref

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


@scripts
def hook_sees_the_gradient(L):
    a, seen = leaf(L, 1.0, 2.0), []
    b = a * 3
    b.register_hook(lambda g: seen.append(g.clone()))
    (b * b).sum().backward()
    return seen, a.grad


@scripts
def hook_replaces_the_gradient(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 3
    b.register_hook(lambda g: g * 10)
    a.register_hook(lambda g: g + 1)
    (b * b).sum().backward()
    return a.grad


@scripts
def hook_sees_the_sum_over_all_uses(L):
    a, seen = leaf(L, 1.0, 2.0), []
    b = a * 2
    b.register_hook(lambda g: seen.append(g.clone()))
    (b * 3 + b * b).sum().backward()
    return seen


@scripts
def leaf_hook_runs_once_for_each_backward(L):
    a, seen = leaf(L, 1.0), []
    a.register_hook(lambda g: seen.append(g.item()))
    (a * a + a).backward()
    (a * 5).backward()
    return seen, a.grad


@scripts
def hooks_run_in_order_and_pass_on(L):
    a, seen = leaf(L, 1.0), []

    def add(k):
        def hook(g):
            seen.append((k, g.item()))
            return g * 2

        return hook

    for k in range(3):
        a.register_hook(add(k))
    (a * 3).backward()
    return seen, a.grad


@scripts
def removed_hooks_do_not_run(L):
    a, seen = leaf(L, 1.0), []
    first = a.register_hook(lambda g: seen.append("first"))
    second = a.register_hook(lambda g: seen.append("second"))
    (a * 1).backward()
    first.remove()
    first.remove()
    (a * 1).backward()
    with second:
        (a * 1).backward()
    (a * 1).backward()
    return seen


@scripts
def a_hook_may_remove_itself(L):
    a, seen, handles = leaf(L, 1.0), [], []

    def hook(g):
        seen.append(g.item())
        handles[0].remove()

    handles.append(a.register_hook(hook))
    a.register_hook(lambda g: seen.append(-1))
    (a * 2).backward()
    (a * 2).backward()
    return seen


@scripts.raises
def hook_on_a_tensor_without_grad(L):
    L.tensor([1.0]).register_hook(lambda g: g)


@scripts
def hook_on_one_of_several_outputs(L):
    a, seen = leaf(L, 1.0, 2.0, 3.0), []
    x, y, _ = a.unbind()
    y.register_hook(lambda g: seen.append(g.item()) or g * 100)
    (x * y).backward()
    return seen, a.grad


@scripts
def hook_runs_on_the_way_to_grad(L):
    a = leaf(L, 1.0, 2.0)
    b = a * a
    b.register_hook(lambda g: g * 7)
    a.register_hook(lambda g: g - 1)
    y = b.sum()
    return L.autograd.grad(y, b, retain_graph=True), L.autograd.grad(y, a)


@scripts
def hook_under_create_graph_is_recorded(L):
    a = leaf(L, 2.0)
    b = a * a
    b.register_hook(lambda g: g * a)
    (g,) = L.autograd.grad(b, a, create_graph=True)
    (h,) = L.autograd.grad(g, a)
    return g, h


@scripts
def hook_runs_without_recording(L):
    a, seen = leaf(L, 2.0), []
    a.register_hook(lambda g: seen.append((L.is_grad_enabled(), (g * a).requires_grad)))
    (a * a).backward()
    (a * a).backward(create_graph=True)
    return seen


@scripts
def retain_grad_keeps_it(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 3
    b.retain_grad()
    b.retain_grad()
    (b * b).sum().backward()
    return b.grad, b.retains_grad, a.retains_grad


@scripts
def retained_grads_of_several_runs_are_summed(L):
    a = leaf(L, 1.0)
    b = a * 2
    b.retain_grad()
    c = b * b
    c.backward(retain_graph=True)
    first = b.grad.clone()
    c.backward()
    return first, b.grad


@scripts
def retained_grad_comes_after_hooks(L):
    a = leaf(L, 1.0)
    b = a * 2
    b.retain_grad()
    b.register_hook(lambda g: g * 10)
    (b * b).backward()
    return b.grad, a.grad


@scripts
def retain_grad_on_one_of_several_outputs(L):
    a = leaf(L, 1.0, 2.0)
    x, y = a.unbind()
    y.retain_grad()
    (x * y).backward()
    return y.grad, x.retains_grad


@scripts
def retain_grad_of_a_leaf_does_nothing(L):
    a = leaf(L, 1.0)
    a.retain_grad()
    (a * a).backward()
    return a.grad


@scripts.raises
def retain_grad_without_grad(L):
    L.tensor([1.0]).retain_grad()


@scripts
def post_hook_of_a_node(L):
    a, seen = leaf(L, 1.0, 2.0), []
    b = leaf(L, 3.0, 4.0)
    c = a * b
    c.grad_fn.register_hook(lambda gi, go: seen.append(([g.tolist() for g in gi], go[0].tolist())))
    c.sum().backward()
    return seen


@scripts
def post_hook_replaces_what_goes_on(L):
    a, b = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    c = a * b
    c.grad_fn.register_hook(lambda gi, go: (gi[0] * 10, gi[1] * 100))
    c.sum().backward()
    return a.grad, b.grad


@scripts
def pre_hook_of_a_node(L):
    a, seen = leaf(L, 1.0, 2.0), []
    c = a * a
    c.grad_fn.register_prehook(lambda go: seen.append(go[0].tolist()) or (go[0] * 2,))
    c.sum().backward()
    return seen, a.grad


@scripts
def order_of_all_kinds(L):
    a, seen = leaf(L, 1.0), []
    b = a * 2
    b.grad_fn.register_hook(lambda gi, go: seen.append("node after"))
    b.grad_fn.register_prehook(lambda go: seen.append("node before"))
    b.register_hook(lambda g: seen.append("tensor"))
    a.register_hook(lambda g: seen.append("leaf"))
    a.register_post_accumulate_grad_hook(lambda t: seen.append("accumulated"))
    (b * b).backward()
    return seen


@scripts
def node_hooks_removed(L):
    a, seen = leaf(L, 1.0), []
    b = a * 2
    after = b.grad_fn.register_hook(lambda gi, go: seen.append("after"))
    before = b.grad_fn.register_prehook(lambda go: seen.append("before"))
    after.remove()
    before.remove()
    (b * b).backward()
    return seen, a.grad


@scripts
def post_accumulate_hook(L):
    a, seen = leaf(L, 1.0, 2.0), []
    handle = a.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (a * a).sum().backward()
    (a * 3).sum().backward()
    handle.remove()
    (a * 3).sum().backward()
    return seen, a.grad


@scripts
def post_accumulate_hook_may_step_and_clear(L):
    a = leaf(L, 1.0, 2.0)

    def step(t):
        with L.no_grad():
            t -= 0.1 * t.grad
        t.grad = None

    a.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (a * a).sum().backward()
    return a, a.grad


@scripts.raises
def post_accumulate_hook_on_a_result(L):
    (leaf(L, 1.0) * 2).register_post_accumulate_grad_hook(lambda t: None)


@scripts
def post_accumulate_hook_does_not_run_for_grad(L):
    a, seen = leaf(L, 1.0), []
    a.register_post_accumulate_grad_hook(lambda t: seen.append(1))
    L.autograd.grad(a * 2, a)
    return seen


@scripts.raises
def an_error_in_a_hook_comes_out(L):
    a = leaf(L, 1.0)
    b = a * 2
    b.register_hook(lambda g: {}["missing"])
    b.backward()


@scripts
def hook_registered_before_an_in_place_change(L):
    a, seen = leaf(L, 1.0, 2.0), []
    b = a * 3
    b.register_hook(lambda g: seen.append(g.tolist()))
    b.mul_(2)
    (b * b).sum().backward()
    return seen, a.grad


@scripts
def retain_grad_before_an_in_place_change(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 3
    b.retain_grad()
    b.mul_(2)
    (b * b).sum().backward()
    return b.grad, a.grad


@scripts
def hooks_on_a_root(L):
    a, seen = leaf(L, 1.0), []
    y = a * 2
    y.register_hook(lambda g: seen.append(g.item()) or g * 5)
    y.backward()
    return seen, a.grad


@scripts
def hook_on_a_leaf_asked_for_by_inputs(L):
    a, seen = leaf(L, 1.0), []
    a.register_hook(lambda g: seen.append(g.item()) or g * 5)
    (a * 2).backward(inputs=[a])
    return seen, a.grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_unused_hooks_cost_nothing_in_the_node_class():
    a = flambeau.tensor([1.0], requires_grad=True)
    b = a * 2
    plain = type(b.grad_fn)
    b.register_hook(lambda g: g)
    assert type(b.grad_fn) is not plain
    assert type((a * 2).grad_fn) is plain


def test_a_hook_does_not_keep_the_graph_alive():
    gc.disable()
    try:
        a = flambeau.tensor([1.0], requires_grad=True)
        b = a * 2
        b.register_hook(lambda g: g * 2)
        b.retain_grad()
        node, tensor = weakref.ref(b.grad_fn), weakref.ref(b)
        del b
        assert tensor() is None
        assert node() is None
    finally:
        gc.enable()
