"""Backward inside backward, and in several threads at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


@scripts
def backward_of_another_graph_in_a_hook(L):
    a, b = leaf(L, 1.0, 2.0), leaf(L, 3.0)
    inner = b * b
    y = a * 2
    y.register_hook(lambda g: inner.backward() if b.grad is None else None)
    (y * y).sum().backward()
    return a.grad, b.grad


@scripts
def grad_of_the_same_graph_in_a_hook(L):
    a, seen = leaf(L, 1.0, 2.0), []
    b = a * 2
    c = (b * b).sum()

    def hook(g):
        if not seen:
            seen.append(None)
            seen[0] = L.autograd.grad(c, a, retain_graph=True)[0]

    b.register_hook(hook)
    c.backward(retain_graph=True)
    return a.grad, seen


@scripts
def gradients_already_on_their_way_survive(L):
    a, seen = leaf(L, 1.0), []
    b = a * 2
    left, right = b * 3, b * 5

    def hook(g):
        if not seen:
            seen.append(0)
            seen[0] = L.autograd.grad(right, a, retain_graph=True)[0]

    left.register_hook(hook)
    right.register_hook(lambda g: None)
    (left * right).backward(retain_graph=True)
    return a.grad, seen


@scripts
def checkpointing(L):
    class Checkpoint(L.autograd.Function):
        @staticmethod
        def forward(ctx, f, x):
            ctx.f = f
            ctx.save_for_backward(x)
            with L.no_grad():
                return f(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            inner = x.detach().requires_grad_()
            with L.enable_grad():
                y = ctx.f(inner)
            L.autograd.backward(y, g)
            return None, inner.grad

    a, w = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    y = a
    for _ in range(4):
        y = Checkpoint.apply(lambda t: (t * w).tanh(), y)
    y.sum().backward()
    return a.grad, w.grad


@scripts
def three_levels_deep(L):
    a = leaf(L, 2.0)
    values = []

    def nested(depth):
        y = a * a

        def hook(g):
            if depth:
                with L.enable_grad():
                    nested(depth - 1)
            return g * 2

        y.register_hook(hook)
        values.append(L.autograd.grad(y, a)[0].item())

    nested(3)
    return values


@scripts
def an_error_in_an_inner_run(L):
    a, seen = leaf(L, 1.0), []
    y, inner = a * 2, leaf(L, 1.0) * 3
    inner.register_hook(lambda g: {}["missing"])

    def hook(g):
        try:
            inner.backward()
        except KeyError:
            seen.append("caught")

    y.register_hook(hook)
    (y * y).backward()
    return a.grad, seen


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def run_in_threads(count, work):
    failures = []

    def guarded(k):
        try:
            work(k)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures


def test_threads_with_graphs_of_their_own():
    results = {}

    def work(k):
        for _ in range(20):
            a = flambeau.tensor([1.0 + k, 2.0], requires_grad=True)
            y = a
            for _ in range(30):
                y = y * 1.1 + a
            y.sum().backward()
            results.setdefault(k, []).append(a.grad.tolist())

    run_in_threads(4, work)
    factor = 1.1**30 + sum(1.1**i for i in range(30))
    for found in results.values():
        np.testing.assert_allclose(found, factor, rtol=1e-5)


def test_threads_that_share_part_of_a_graph():
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    shared = (a * a).exp()
    found = {}

    def work(k):
        for _ in range(50):
            (g,) = flambeau.autograd.grad((shared * (k + 1)).sum(), a, retain_graph=True)
            found.setdefault(k, []).append(g.numpy())

    run_in_threads(4, work)
    values = a.detach().numpy()
    expected = 2 * values * np.exp(values**2)
    for k, grads in found.items():
        np.testing.assert_allclose(grads, [(k + 1) * expected] * 50, rtol=1e-5)


def test_threads_that_accumulate_into_one_leaf():
    a = flambeau.zeros(3, requires_grad=True)

    def work(_):
        for _ in range(50):
            (a * 2).sum().backward()

    run_in_threads(4, work)
    assert a.grad.tolist() == [400.0] * 3
