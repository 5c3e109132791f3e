"""Nested tensors give, print and refuse what PyTorch's do; their gradients are the members' own."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau as fl

pytestmark = pytest.mark.filterwarnings("ignore")

EXPRESSIONS = """
n ; s ; g.shape ; n.shape ; n.size(0) ; n.size(1) ; n.size(2) ; s.size(0) ; s.size(2) ; n.dim() ; s.dim() ; len(n)
n.values() ; n.offsets() ; n.lengths() ; n._get_max_seqlen() ; n._get_min_seqlen() ; n._ragged_idx ; n.is_nested
s.is_nested ; n.layout ; s.layout ; n.numel() ; s.numel() ; n.stride() ; n.unbind() ; s.unbind() ; n[0] ; s[0] ; n[-1]
n + 1 ; n * 2 ; 3 - n ; n + n ; n * L.ones(3) ; n + L.ones(2, 1, 3) ; n / L.ones(1, 3) ; n.sin() ; n.relu() ; n.exp()
-n ; n.pow(2) ; n.clamp(0, 1) ; n > 3 ; n == n ; L.where(n > 3, n, -n) ; n.masked_fill(n > 3, 0.0) ; n.abs()
n.sum() ; n.sum(1) ; n.sum(2) ; n.sum(-1, keepdim=True) ; n.sum(1, keepdim=True) ; n.mean() ; n.mean(1) ; n.mean(-1)
n.softmax(-1) ; n.softmax(1) ; n.log_softmax(-1) ; n.amax(1) ; n.max() ; n.any() ; n.all() ; n.prod(-1) ; n.argmax(-1)
n.to(L.float64) ; n.float() ; n.detach() ; n.clone() ; n.contiguous() ; n.is_contiguous() ; L.zeros_like(n) ; L.ones_like(n)
n.transpose(1, 2) ; n.unsqueeze(-1) ; n.unsqueeze(1) ; n.reshape(2, -1, 3) ; n.view(2, -1, 3, 1) ; n.reshape(2, -1, 1, 3)
g.transpose(1, 2) ; g.unflatten(-1, [2, 4]) ; g.flatten(2) ; n.select(0, 1) ; n.select(2, 0) ; n[..., 0] ; n.chunk(3, -1)
n.chunk(2) ; n.split(1, -1) ; L.cat([n, n], -1) ; L.stack([n, n], -1)
n @ L.ones(3, 2) ; Fn.linear(n, L.ones(2, 3), L.ones(2)) ; Fn.layer_norm(n, (3,)) ; Fn.dropout(n, 0.0) ; Fn.rms_norm(n, (3,))
Fn.embedding(L.nested.nested_tensor([[1, 2], [3]], layout=L.jagged), L.arange(10.0).reshape(5, 2))
L.bmm(n, L.ones(2, 3, 2)) ; n.transpose(1, 2) @ n
Fn.scaled_dot_product_attention(g.transpose(1, 2), g.transpose(1, 2), g.transpose(1, 2))
L.nested.to_padded_tensor(n, 0.0) ; n.to_padded_tensor(-1.0, output_size=(2, 4, 3)) ; s.to_padded_tensor(0.0) ; n.to_padded_tensor(0.0, output_size=(2, 1, 3))
L.nested.as_nested_tensor([a, b]) ; L.nested.as_nested_tensor([a, b], layout=L.jagged)
L.nested.as_nested_tensor(L.ones(2, 3, 4), layout=L.jagged) ; L.nested.as_nested_tensor(L.ones(2, 3, 4))
L.nested.narrow(L.arange(24.0).reshape(2, 4, 3), 1, L.tensor([0, 1]), L.tensor([2, 3]), layout=L.jagged)
L.nested.narrow(L.arange(24.0).reshape(2, 4, 3), 1, 1, 2, layout=L.jagged).contiguous()
L.nested.masked_select(L.arange(6.0).reshape(2, 3), L.tensor([[True, False, True], [False, True, False]]))
L.nested.nested_tensor_from_jagged(v, lengths=L.tensor([2, 3])) ; L.nested.nested_tensor_from_jagged(v, o)
L.nested.nested_tensor_from_jagged(v, o, lengths=L.tensor([1, 2]))
L.nested.nested_tensor_from_jagged(L.ones(3, 5), o, jagged_dim=2)
L.nested.nested_tensor([]) ; L.nested.nested_tensor([[1, 2], [3]], layout=L.jagged) ; L.nested.nested_tensor([[1, 2], [3]])
L.nested.nested_tensor([a, L.ones(2, 4)], layout=L.jagged) ; L.nested.nested_tensor([a, b], dtype=L.float64, requires_grad=True)
L.nested.nested_tensor([a, b], layout=L.jagged, dtype=L.float64, requires_grad=True)
s + s ; s * 2 ; s + 1 ; s.sin() ; s.relu() ; s.softmax(-1) ; s.transpose(1, 2) ; Fn.linear(s, L.ones(2, 3)) ; s.values()
s @ L.nested.nested_tensor([a.t(), b.t()]) ; Fn.dropout(s, 0.0) ; s.clone() ; s.detach() ; s.to(L.float64) ; s.contiguous()
s.sum(-1, keepdim=True) ; L.rand_like(n).shape ; n.type() ; n.is_leaf ; list(n)
"""

REFUSED = """
s.shape ; s.size(1) ; n + m ; n + L.ones(5, 3) ; n.sum(0) ; n.sum((1, 2)) ; n.softmax(0) ; n.unsqueeze(0) ; n.item()
n.numpy() ; n.tolist() ; bool(n) ; n.select(1, 0) ; n[1:] ; n[:, 0] ; n.squeeze() ; n.matmul(n.transpose(1, 2)) ; n.T
n.cumsum(1) ; L.cat([n, n]) ; L.stack([n, n]) ; s.sum(-1) ; s.offsets() ; L.nested.as_nested_tensor(n)
L.nested.to_padded_tensor(L.ones(2, 2), 0) ; L.nested.nested_tensor_from_jagged(v) ; L.nested.nested_tensor(a)
L.nested.nested_tensor([], layout=L.jagged) ; L.nested.nested_tensor([a, L.ones(2)], layout=L.jagged)
L.nested.nested_tensor([a, b.double()], layout=L.jagged) ; L.nested.nested_tensor([a, b], layout=L.sparse_coo)
L.nested.narrow(L.ones(2, 4, 3), 1, L.tensor([0, 1]), L.tensor([2, 3])) ; s.to_padded_tensor(0.0, output_size=(2, 1, 3))
"""


def names(L: Any) -> dict[str, Any]:
    a, b = L.arange(6.0).reshape(2, 3), L.arange(9.0).reshape(3, 3) + 10
    o, v = L.tensor([0, 2, 5]), L.arange(15.0).reshape(5, 3)
    jagged = [L.nested.nested_tensor([a, b], layout=L.jagged) for _ in range(2)]
    g = L.nested.nested_tensor_from_jagged(L.arange(160.0).reshape(5, 4, 8).sin(), o)
    found = {"a": a, "b": b, "o": o, "v": v, "n": jagged[0], "m": jagged[1], "g": g}
    return {"L": L, "Fn": L.nn.functional, "s": L.nested.nested_tensor([a, b]), **found}


def outcome(L: Any, expression: str) -> tuple[Any, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = eval(expression, names(L))
            nested = getattr(value, "is_nested", False)
            values = [t.detach().double().numpy() for t in value.unbind()] if nested else []
        except Exception as error:
            return ("raises", type(error).__name__)
    # Which number a ragged size has depends on how many were made before.
    return ("gives", re.sub(r"\bj\d+", "j", repr(value)), values)


def _listed(text: str) -> list[str]:
    return [e.strip() for line in text.splitlines() for e in line.split(" ; ") if e.strip()]


@pytest.mark.parametrize("expression", _listed(EXPRESSIONS))
def test_expressions_give_what_pytorch_gives(expression: str) -> None:
    torch = pytest.importorskip("torch")
    expected = outcome(torch, expression)
    assert expected[0] == "gives"
    found = outcome(fl, expression)
    assert found[:2] == expected[:2]
    for mine, theirs in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("expression", _listed(REFUSED))
def test_expressions_fail_as_pytorch_does(expression: str) -> None:
    torch = pytest.importorskip("torch")
    expected = outcome(torch, expression)
    assert expected[0] == "raises"
    assert outcome(fl, expression) == expected


# ---------------------------------------------------------------- gradients
def _double(x: Any, rng: Any) -> Any:
    return fl.tensor(rng.standard_normal(x)).requires_grad_()


FUNCTIONS = {
    "arithmetic": lambda n, w: (n * 2 + n.sin()) / (n.exp() + 1) - w[0],
    "product": lambda n, w: n @ w,
    "linear": lambda n, w: fl.nn.functional.linear(n, w.t()),
    "sum of members": lambda n, w: n.sum(1) * w[0],
    "sum of rows": lambda n, w: n.sum(-1) * 3,
    "mean": lambda n, w: n.mean(1),
    "softmax along the ragged dimension": lambda n, w: n.softmax(1) * w[0],
    "softmax": lambda n, w: n.log_softmax(-1) * w[0],
    "norm": lambda n, w: fl.nn.functional.layer_norm(n, (3,), w[0], w[1]),
    "padding": lambda n, w: n.to_padded_tensor(0.5).sin(),
    "transposed": lambda n, w: n.transpose(1, 2).unsqueeze(1).transpose(1, 3),
    "by member": lambda n, w: n.transpose(1, 2) @ n,
    "attention": lambda n, w: fl.nn.functional.scaled_dot_product_attention(n, n * 2, n @ w),
    "broadcast to members": lambda n, w: n * w[:2].unsqueeze(1),
    "split and joined": lambda n, w: fl.cat(n.split([1, 2], -1)[::-1], -1) * w[0],
}


@pytest.mark.parametrize("layout", ["jagged", "strided"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_agree_with_finite_differences(name: str, layout: str) -> None:
    if layout == "strided" and name not in ("product", "linear", "arithmetic", "by member"):
        pytest.skip("for jagged tensors")
    rng = np.random.default_rng(3)
    parts = [_double((k, 3), rng) for k in (2, 1, 3)][: 2 if "members" in name else 3]
    weight = _double((3, 3), rng)

    def function(w: Any, *members: Any) -> Any:
        nested = fl.nested.as_nested_tensor(list(members), layout=getattr(fl, layout))
        if layout == "strided" and name == "arithmetic":
            return (nested * 2 + nested.sin()).unbind()
        out = FUNCTIONS[name](nested, w)
        return out.unbind() if out.is_nested else out

    assert fl.autograd.gradcheck(function, (weight, *parts))


def test_a_nested_leaf_has_a_nested_gradient_that_adds_up() -> None:
    n = fl.nested.nested_tensor(
        [fl.ones(2, 3), fl.ones(1, 3)], layout=fl.jagged, requires_grad=True
    )
    for count in (1, 2):
        (n * 3).sum().backward()
        assert n.grad.is_nested
        assert n.grad.shape == n.shape
        np.testing.assert_array_equal(n.grad.values().numpy(), np.full((3, 3), 3.0 * count))


def test_second_derivatives() -> None:
    rng = np.random.default_rng(5)
    parts = [_double((k, 2), rng) for k in (2, 3)]

    def function(*members: Any) -> Any:
        return (fl.nested.as_nested_tensor(list(members), layout=fl.jagged).sin() ** 2).values()

    assert fl.autograd.gradgradcheck(function, tuple(parts))


# ---------------------------------------------------------------- what members are
def test_values_are_shared_and_sizes_belong_to_offsets() -> None:
    values, offsets = fl.arange(10.0).reshape(5, 2), fl.tensor([0, 2, 5])
    a, b = (fl.nested.nested_tensor_from_jagged(values, offsets) for _ in range(2))
    assert a.shape == b.shape
    assert a.shape != fl.nested.nested_tensor_from_jagged(values, offsets.clone()).shape
    values[0, 0] = 7.0
    assert a[0][0, 0].item() == 7.0
    assert (a + b)[0][0, 0].item() == 14.0


@pytest.mark.parametrize(
    ("offsets", "lengths"),
    [([0, 3, 2], None), ([0, 2, 6], None), ([-1, 2], None), ([0, 2, 5], [3, 1]), ([0, 2], [-1])],
)
def test_offsets_outside_of_the_values_are_refused(offsets: Any, lengths: Any) -> None:
    sizes = None if lengths is None else fl.tensor(lengths)
    with pytest.raises(RuntimeError, match="nested_tensor_from_jagged"):
        fl.nested.nested_tensor_from_jagged(fl.ones(5, 2), fl.tensor(offsets), sizes)


def test_empty_members() -> None:
    n = fl.nested.nested_tensor([fl.zeros(0, 2), fl.ones(2, 2)], layout=fl.jagged)
    assert n.sum(1).tolist() == [[0.0, 0.0], [2.0, 2.0]]
    assert n.to_padded_tensor(5.0)[0].tolist() == [[5.0, 5.0], [5.0, 5.0]]


@pytest.mark.parametrize("layout", ["jagged", "strided"])
def test_copies_and_pickles(layout: str) -> None:
    parts = [fl.arange(4.0).reshape(2, 2), fl.ones(1, 2)]
    n = fl.nested.nested_tensor(parts, layout=getattr(fl, layout), requires_grad=True)
    for twin in (copy.deepcopy(n), pickle.loads(pickle.dumps(n))):
        assert twin.requires_grad
        assert twin.layout is n.layout
        assert [t.tolist() for t in twin.unbind()] == [t.tolist() for t in n.unbind()]


def test_a_module_runs_on_jagged_tensors_as_on_each_member() -> None:
    fl.manual_seed(0)
    nn = fl.nn
    net = nn.Sequential(
        nn.Linear(3, 8), nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.0), nn.Linear(8, 2)
    )
    parts = [fl.randn(4, 3), fl.randn(1, 3)]
    out = net(fl.nested.nested_tensor(parts, layout=fl.jagged))
    for mine, part in zip(out.unbind(), parts, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), net(part).detach().numpy(), atol=1e-6)
    out.values().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
