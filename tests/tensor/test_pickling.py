"""Copying and pickling tensors with the standard library."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()
DTYPES = "bool uint8 int64 float16 bfloat16 float32 float64 complex64".split()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_types_survive(dtype, protocol):
    t = flambeau.tensor([[1, 0, 2], [3, 4, 5]]).to(getattr(flambeau, dtype))
    u = pickle.loads(pickle.dumps(t, protocol))
    assert type(u) is flambeau.Tensor
    assert (u.dtype, u.shape) == (t.dtype, t.shape)
    assert u.tolist() == t.tolist()
    u[0, 0] = 0
    assert t.tolist()[0][0] == 1


@scripts
def every_form(L):
    base = L.arange(6.0).reshape(2, 3)
    given = [
        base,
        base.t(),
        base[:, 1:],
        base[0],
        L.tensor(3.0),
        L.zeros(0, 2),
        base[None, :, None],
    ]
    return [pickle.loads(pickle.dumps(t)) for t in given], [copy.deepcopy(t) for t in given]


@scripts
def requires_grad_survives(L):
    a = L.ones(2, requires_grad=True)
    p = L.nn.Parameter(L.ones(2), requires_grad=False)
    return [
        (type(t).__name__, t.requires_grad, t.is_leaf)
        for x in (a, p)
        for t in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x))
    ]


@scripts
def strides_survive_deepcopy(L):
    t = L.arange(6.0).reshape(2, 3).t()
    return copy.deepcopy(t).stride(), copy.deepcopy(t)


@scripts.raises
def a_result_is_not_deepcopied(L):
    copy.deepcopy(L.ones(2, requires_grad=True) * 2)


@scripts
def a_detached_result_is(L):
    return copy.deepcopy((L.ones(2, requires_grad=True) * 2).detach())


@scripts
def containers_share_what_they_shared(L):
    t = L.ones(2)
    a, b = copy.deepcopy((t, t))
    c, d = pickle.loads(pickle.dumps([t, t]))
    return a is b, c is d


@scripts
def views_still_share_after_deepcopy(L):
    t = L.zeros(4)
    a, b = copy.deepcopy([t, t[1:3]])
    b.fill_(7)
    return a, b


@scripts
def views_still_share_after_pickling(L):
    t = L.zeros(4)
    a, b = pickle.loads(pickle.dumps([t, t[1:3]]))
    b.fill_(7)
    return a, b


@scripts
def devices_types_and_sizes(L):
    given = [L.device("cpu"), L.float32, L.Size([2, 3]), L.strided, L.contiguous_format]
    back = [pickle.loads(pickle.dumps(g)) for g in given]
    return [a == b for a, b in zip(given, back, strict=True)], [repr(b) for b in back]


@scripts
def a_model(L):
    L.manual_seed(0)
    m = L.nn.Sequential(L.nn.Linear(2, 3), L.nn.ReLU(), L.nn.Linear(3, 1))
    x = L.ones(1, 2)
    copies = [copy.deepcopy(m), pickle.loads(pickle.dumps(m))]
    return [c(x) - m(x) for c in copies], [len(list(c.parameters())) for c in copies]


@scripts
def backward_hooks_are_left_behind(L):
    a = L.ones(2, requires_grad=True)
    b = copy.deepcopy(a)
    a.register_hook(lambda g: g * 100)
    b.sum().backward()
    return b.grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_attributes_survive():
    t = flambeau.ones(2)
    t.note = {"k": [1]}
    for u in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert u.note == {"k": [1]}
        assert u.note is not t.note


def test_a_subclass_survives():
    p = flambeau.nn.Parameter(flambeau.ones(2))
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(q) is flambeau.nn.Parameter
        assert q.requires_grad
        assert q.tolist() == [1.0, 1.0]
