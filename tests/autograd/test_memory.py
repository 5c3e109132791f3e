"""Life and death of the graph, of saved arrays and of gradients: reference counts alone decide."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import flambeau as fl
from tests.oracle import Scripts, agree

scripts = Scripts()


@pytest.fixture(autouse=True)
def no_garbage_collector():
    """A cycle would keep what these tests watch alive."""
    gc.disable()
    yield
    gc.enable()


def leaf(*shape, dtype=None):
    return fl.ones(*shape, dtype=dtype or fl.float32, requires_grad=True)


def _convolution(a):
    x = a.view(1, 1, 2, 2)
    return fl.nn.functional.conv2d(x, x)


def _view_changed(a):
    b = a * 1
    b[0].mul_(3)
    return b


class Cube(fl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        out = x**3
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx, g):
        x, _ = ctx.saved_tensors
        return g * 3 * x * x


GRAPHS = {
    "mul": lambda a: a * a,
    "saved output": lambda a: a.exp().sigmoid(),
    "softmax": lambda a: a.softmax(0),
    "matmul": lambda a: a @ a,
    "layer_norm": lambda a: fl.nn.functional.layer_norm(a, [2]),
    "view": lambda a: a.t().reshape(-1)[1:],
    "split": lambda a: sum(a.split(1)),
    "sort": lambda a: a.sort(0).values,
    "max": lambda a: a.max(0).values,
    "cat": lambda a: fl.cat([a, a * 2]),
    "index": lambda a: a[fl.tensor([0, 1, 1])],
    "in place": lambda a: (a * 1).mul_(a).exp_(),
    "changed view": _view_changed,
    "function": Cube.apply,
    "convolution": _convolution,
    "loss": lambda a: fl.nn.functional.cross_entropy(a, fl.tensor([0, 1])),
    "chain": lambda a: ((a * 2 + 1).tanh() / 3 - a).relu().mean(),
}


def watched(y):
    """Weak references to a tensor, its array and every node it leads to."""
    refs, stack, seen = [weakref.ref(y), weakref.ref(y._d)], [y._gf], set()
    while stack:
        n = stack.pop()
        if id(n) in seen or n.name() == "AccumulateGrad":
            continue
        seen.add(id(n))
        refs.append(weakref.ref(n))
        stack.extend(e for e in n.edges() if e is not None)
    return refs


@pytest.mark.parametrize("name", GRAPHS)
def test_an_unused_graph_dies_with_its_output(name):
    a = leaf(2, 2)
    y = GRAPHS[name](a)
    refs = watched(y)
    del y
    assert [r() for r in refs] == [None] * len(refs)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_dies_with_its_output_after_backward(name):
    a = leaf(2, 2)
    y = GRAPHS[name](a).sum()
    refs = watched(y)
    y.backward()
    del y
    assert [r() for r in refs] == [None] * len(refs)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_with_second_derivatives_dies(name):
    a = leaf(2, 2)
    y = GRAPHS[name](a).sum()
    (g,) = fl.autograd.grad(y, a, create_graph=True)
    if g.requires_grad:
        (h,) = fl.autograd.grad(g.sum(), a, allow_unused=True)
        del h
    refs = [weakref.ref(y), weakref.ref(y._gf), weakref.ref(g)]
    del y, g
    assert [r() for r in refs] == [None] * len(refs)


def test_backward_frees_what_was_saved():
    a = leaf(100)
    middle = a * 2
    saved = weakref.ref(middle._d)
    y = (middle * middle).sum()
    del middle
    assert saved() is not None
    y.backward()
    assert saved() is None


def test_retain_graph_keeps_what_was_saved():
    a = leaf(100)
    middle = a * 2
    saved = weakref.ref(middle._d)
    y = (middle * middle).sum()
    del middle
    y.backward(retain_graph=True)
    assert saved() is not None
    y.backward()
    assert saved() is None


def test_what_is_not_needed_is_not_saved():
    a, w = leaf(100), fl.ones(100)
    middle = a * 2
    not_saved = weakref.ref(middle._d)
    y = middle * w + 1
    del middle
    assert not_saved() is None
    y.sum().backward()


def test_a_leaf_is_not_kept_by_its_node():
    a = leaf(3)
    node, gone = a._gf, weakref.ref(a)
    del a
    assert gone() is None
    assert node.variable is None


def test_backward_of_a_dead_leaf_passes():
    a, b = leaf(3), leaf(3)
    y = (a + b).sum()
    del a
    y.backward()
    assert b.grad.tolist() == [1.0] * 3


def test_a_failing_backward_leaves_no_cycle():
    a = leaf(3)
    b = a * 2
    y = (b * b).sum()
    b.add_(1)
    refs = watched(y)
    try:
        y.backward()
    except RuntimeError:
        pass
    del y
    assert refs[0]() is None


def test_the_error_of_a_hook_leaves_no_cycle():
    a = leaf(3)
    y = (a * 2).sum()
    y.register_hook(lambda g: 1 / 0)
    refs = watched(y)
    with pytest.raises(ZeroDivisionError) as caught:
        y.backward()
    del caught
    del y
    assert refs[0]() is None


# ---------------------------------------------------------------- gradients of leaves
def shares(*tensors):
    """The pairs of tensors that share memory."""
    found = []
    for i, x in enumerate(tensors):
        for y in tensors[:i]:
            if np.shares_memory(x._d, y._d):
                found.append((x, y))
    return found


def test_gradients_never_share_memory():
    a, b = leaf(1000), leaf(1000)
    (a + b).backward(seed := fl.ones(1000))
    assert not shares(a.grad, b.grad, seed, a.detach(), b.detach())


def test_the_gradient_given_is_not_taken_over():
    a, seed = leaf(3), fl.ones(3)
    a.backward(seed)
    a.grad.mul_(5)
    assert seed.tolist() == [1.0] * 3
    (a + 0).backward(seed)
    a.grad.mul_(5)
    assert seed.tolist() == [1.0] * 3


def test_a_gradient_is_not_a_saved_array():
    a, w = leaf(3), fl.full((3,), 2.0)
    y = (a * w).sum()
    y.backward(retain_graph=True)
    a.grad.zero_()
    assert w.tolist() == [2.0] * 3
    y.backward()
    assert a.grad.tolist() == [2.0] * 3


@pytest.mark.parametrize(
    "f",
    [
        lambda a: a.clone(),
        lambda a: a + 0,
        lambda a: a.view(3, 1).squeeze(1),
        lambda a: a.reshape(3),
        lambda a: a.exp(),
        lambda a: fl.cat([a, a]),
        lambda a: a.expand(2, 3),
        lambda a: a[:2],
        lambda a: a.t(),
        lambda a: a.double(),
    ],
)
def test_no_gradient_shares_memory_with_anything(f):
    a = leaf(3)
    y = f(a)
    seed = fl.ones(y.shape, dtype=y.dtype)
    y.backward(seed, retain_graph=True)
    first = a.grad
    a.grad = None
    y.backward(seed)
    held = [first, a.grad, seed, a.detach()]
    assert not shares(*held)


@scripts
def accumulation_is_in_place(L):
    a = L.ones(3, requires_grad=True)
    (a * 2).sum().backward()
    held = a.grad
    (a * 3).sum().backward()
    return a.grad is held, held


@scripts
def accumulation_is_in_place_for_viewed_gradients(L):
    a = L.ones(3, requires_grad=True)
    (a * 2).sum().backward()
    held, part = a.grad, a.grad[0]
    (a * 3).sum().backward()
    return a.grad is held, part, held


@scripts
def accumulation_is_in_place_for_assigned_gradients(L):
    a = L.ones(3, requires_grad=True)
    bucket = L.zeros(5)
    a.grad = bucket[1:4]
    (a * 3).sum().backward()
    return bucket


@scripts
def accumulation_counts_as_a_change(L):
    a = L.ones(3, requires_grad=True)
    (a * 2).sum().backward()
    before = a.grad._version
    (a * 2).sum().backward()
    return before, a.grad._version


@scripts
def accumulation_under_create_graph_is_not_in_place(L):
    a = L.ones(3, requires_grad=True)
    (a**3).sum().backward(create_graph=True)
    held = a.grad
    (a**3).sum().backward(create_graph=True)
    return a.grad is held, held.detach(), a.grad.detach()


@scripts
def cleared_gradients_are_new_objects(L):
    a = L.ones(3, requires_grad=True)
    (a * 2).sum().backward()
    held = a.grad
    a.grad = None
    (a * 3).sum().backward()
    return held, a.grad


@scripts
def gradient_of_a_transposed_leaf(L):
    a = L.arange(6.0).view(2, 3).t().requires_grad_()
    (a * a).sum().backward()
    (a * a).sum().backward()
    return a.grad


# ---------------------------------------------------------------- copies of leaves
@scripts
def deepcopy_of_a_leaf(L):
    a = L.ones(3, requires_grad=True)
    (a * 2).sum().backward()
    b = copy.deepcopy(a)
    (b * 5).sum().backward()
    return b.requires_grad, b.is_leaf, a.grad, b.grad, b is a


@scripts.raises
def deepcopy_of_a_result(L):
    copy.deepcopy(L.ones(3, requires_grad=True) * 2)


@scripts
def deepcopy_keeps_sharing(L):
    a = L.ones(3)
    first, second = copy.deepcopy([a, a])
    first.add_(1)
    return first is second, second, a


@scripts
def deepcopy_of_a_parameter(L):
    p = L.nn.Parameter(L.ones(3), requires_grad=False)
    q = copy.deepcopy(p)
    return type(q).__name__, q.requires_grad, q


@scripts
def pickle_of_a_leaf(L):
    a = L.arange(6.0).view(2, 3).requires_grad_()
    b = pickle.loads(pickle.dumps(a))
    return b, b.requires_grad, b.is_leaf, b.grad is None


@scripts
def shallow_copy(L):
    a = L.ones(3, requires_grad=True)
    b = copy.copy(a)
    with L.no_grad():
        b.add_(1)
    return a, b.requires_grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)
