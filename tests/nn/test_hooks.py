"""Hooks around forward and backward: order, replacements, errors; each case on both libraries."""

from __future__ import annotations

import pytest

from flambeau import nn

CASES = []


def case(function):
    CASES.append(pytest.param(function, id=function.__name__))
    return function


def double(torch):
    class Double(torch.nn.Module):
        def forward(self, x, times=2):
            return x * times

    return Double()


def attempt(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__, str(error)


@case
def order_of_forward_hooks(torch):
    log = []
    m = double(torch)
    m.register_forward_pre_hook(lambda m, a: log.append("pre 1"))
    m.register_forward_pre_hook(lambda m, a: log.append("pre 2"), prepend=True)
    m.register_forward_hook(lambda m, a, o: log.append("post 1"))
    handle = m.register_forward_hook(lambda m, a, o: log.append("post 2"), prepend=True)
    m(1)
    handle.remove()
    handle.remove()
    m(1)
    with m.register_forward_hook(lambda m, a, o: log.append("inside")):
        m(1)
    m(1)
    return log


@case
def hooks_replace_arguments_and_results(torch):
    m = double(torch)
    m.register_forward_pre_hook(lambda m, a: a[0] + 1)
    first = m(1)
    m.register_forward_pre_hook(lambda m, a: (a[0] + 1,))
    m.register_forward_hook(lambda m, a, o: o * 10)
    return first, m(1), m(1, times=3)


@case
def keyword_arguments(torch):
    log = []
    m = double(torch)
    m.register_forward_pre_hook(lambda m, a, k: (a, {"times": k["times"] + 1}), with_kwargs=True)
    m.register_forward_hook(lambda m, a, k, o: log.append((a, k, o)), with_kwargs=True)
    m.register_forward_hook(lambda m, a, o: log.append((a, o)))
    result = m(5, times=1)
    m.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    return result, log, attempt(lambda: m(5, times=1))


@case
def hooks_that_are_always_called(torch):
    log = []

    class Failing(torch.nn.Module):
        def forward(self, x):
            raise ValueError("forward failed")

    m = Failing()
    m.register_forward_hook(lambda m, a, o: log.append("never"))
    m.register_forward_hook(lambda m, a, o: log.append(("always", o)), always_call=True)

    def bad(m, a, o):
        raise RuntimeError("silenced")

    m.register_forward_hook(bad, always_call=True)
    return attempt(lambda: m(1)), log


@case
def an_error_in_a_hook(torch):
    def bad(m, a, o):
        raise RuntimeError("hook failed")

    log = []
    m = double(torch)
    m.register_forward_hook(bad, always_call=True)
    m.register_forward_hook(lambda m, a, o: log.append(("second", o)), always_call=True)
    return attempt(lambda: m(1)), log


@case
def global_forward_hooks(torch):
    log = []
    at = torch.nn.modules.module
    m = torch.nn.Sequential(double(torch), double(torch))
    m[0].register_forward_hook(lambda m, a, o: log.append("own"))
    handles = [
        at.register_module_forward_pre_hook(lambda m, a: log.append(("pre", type(m).__name__))),
        at.register_module_forward_hook(lambda m, a, o: log.append(("post", type(m).__name__))),
        at.register_module_forward_hook(
            lambda m, a, k, o: log.append(("kwargs", k)), with_kwargs=True
        ),
    ]
    try:
        result = m(1)
    finally:
        for handle in handles:
            handle.remove()
    return result, m(1), log


@case
def full_backward_hooks(torch):
    log = []
    m = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        m.weight.fill_(2)
    m.register_full_backward_pre_hook(lambda m, g: log.append(("pre", g)))
    m.register_full_backward_hook(lambda m, gi, go: log.append(("first", gi, go)))
    m.register_full_backward_hook(lambda m, gi, go: log.append(("zeroth", gi, go)), prepend=True)
    x = torch.ones(1, 2, requires_grad=True)
    m(x).backward(torch.full((1, 1), 3.0))
    return log, x.grad, m.weight.grad


@case
def backward_hooks_replace_gradients(torch):
    m = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        m.weight.fill_(2)
    m.register_full_backward_pre_hook(lambda m, g: (g[0] * 10,))
    m.register_full_backward_hook(lambda m, gi, go: (gi[0] + go[0],))
    x = torch.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    return x.grad, m.weight.grad


@case
def backward_hooks_with_several_tensors(torch):
    class Mix(torch.nn.Module):
        def forward(self, a, number, b):
            return a * number, (a + b).detach(), b * 2

    log = []
    m = Mix()
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    first, _, _ = m(a, 3, b)
    first.sum().backward()
    plain = torch.ones(2)
    m(a, 3, plain)[0].sum().backward()
    return log, a.grad, b.grad


@case
def no_input_requires_a_gradient(torch):
    log = []
    m = torch.nn.Linear(2, 1, bias=False)
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, go)))
    m(torch.ones(1, 2)).sum().backward()
    return log, m.weight.grad


@case
def wrong_number_of_gradients(torch):
    m = torch.nn.Linear(2, 1)
    m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    x = torch.ones(1, 2, requires_grad=True)
    return attempt(lambda: m(x).sum().backward())


@case
def two_kinds_of_backward_hook(torch):
    m = double(torch)
    m.register_full_backward_hook(lambda *a: None)
    first = attempt(lambda: m.register_backward_hook(lambda *a: None))
    m = double(torch)
    m.register_backward_hook(lambda *a: None)
    return first, attempt(lambda: m.register_full_backward_hook(lambda *a: None))


@case
def global_backward_hooks(torch):
    log = []
    at = torch.nn.modules.module
    handles = [
        at.register_module_full_backward_pre_hook(lambda m, go: log.append(type(m).__name__)),
        at.register_module_full_backward_hook(lambda m, gi, go: log.append(len(gi))),
    ]
    m = torch.nn.Sequential(double(torch), double(torch))
    x = torch.ones(1, requires_grad=True)
    try:
        m(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    return log, x.grad


@case
def hooks_survive_a_deep_copy(torch):
    import copy

    log = []
    m = double(torch)
    m.register_forward_hook(lambda m, a, o: log.append(o))
    twin = copy.deepcopy(m)
    return twin(2), m(1), log


@pytest.mark.parametrize("function", CASES)
def test_same_as_torch(same, function):
    same(function)


def test_modules_without_hooks_have_no_tables():
    layer = nn.Linear(1, 1)
    assert not [name for name in layer.__dict__ if "hook" in name]
    assert len(layer._forward_hooks) == 0  # made when asked for
    assert layer._hooked


def test_the_plain_call_returns_when_the_last_global_hook_is_gone():
    nn.Identity()(1)  # whatever earlier tests left behind
    plain = nn.Module.__call__
    handle = nn.modules.module.register_module_forward_hook(lambda m, a, o: None)
    assert nn.Module.__call__ is not plain
    handle.remove()
    nn.Identity()(1)
    assert nn.Module.__call__ is plain
