"""The tape as a reader sees it: names of nodes, their edges, leaves at the end."""

from __future__ import annotations

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


NAMED = {
    "add": lambda L, a: a + a,
    "sub": lambda L, a: a - a,
    "mul": lambda L, a: a * a,
    "scalar mul": lambda L, a: a * 2,
    "div": lambda L, a: a / a,
    "neg": lambda L, a: -a,
    "pow": lambda L, a: a**2,
    "exp": lambda L, a: a.exp(),
    "log": lambda L, a: a.log(),
    "sum": lambda L, a: a.sum(),
    "mean": lambda L, a: a.mean(),
    "relu": lambda L, a: a.relu(),
    "sigmoid": lambda L, a: a.sigmoid(),
    "tanh": lambda L, a: a.tanh(),
    "softmax": lambda L, a: a.softmax(0),
    "log_softmax": lambda L, a: a.log_softmax(0),
    "view": lambda L, a: a.view(2, 1),
    "t": lambda L, a: a.view(2, 1).t(),
    "transpose": lambda L, a: a.view(2, 1).transpose(0, 1),
    "permute": lambda L, a: a.view(2, 1).permute(1, 0),
    "unsqueeze": lambda L, a: a.unsqueeze(0),
    "expand": lambda L, a: a.expand(3, 2),
    "clone": lambda L, a: a.clone(),
    "cat": lambda L, a: L.cat([a, a]),
    "stack": lambda L, a: L.stack([a, a]),
    "slice": lambda L, a: a[0:1],
    "select": lambda L, a: a[0],
    "select, then slice": lambda L, a: a.view(2, 1)[0, 1:],
    "slice, then select": lambda L, a: a.view(2, 1)[1:, 0],
    "all of a dimension": lambda L, a: a.view(2, 1)[..., 0:1],
    "new dimension": lambda L, a: a[0, None],
    "everything": lambda L, a: a[...],
    "squeeze": lambda L, a: a.view(2, 1).squeeze(),
    "squeeze dim": lambda L, a: a.view(2, 1).squeeze(1),
    "sum dim": lambda L, a: a.sum(0),
    "mean dim": lambda L, a: a.mean(0),
    "linear": lambda L, a: L.nn.functional.linear(a.view(1, 2), a.view(1, 2), a[:1]),
    "linear without bias": lambda L, a: L.nn.functional.linear(a.view(1, 2), a.view(1, 2)),
    "matrix product": lambda L, a: a.view(2, 1) @ a.view(1, 2),
    "matrix and vector": lambda L, a: a.view(1, 2) @ a,
    "batch of products": lambda L, a: a.view(1, 2, 1) @ a.view(1, 1, 2),
    "mse_loss": lambda L, a: L.nn.functional.mse_loss(a, a.detach()),
    "l1_loss": lambda L, a: L.nn.functional.l1_loss(a, a.detach(), reduction="sum"),
    "smooth_l1_loss": lambda L, a: L.nn.functional.smooth_l1_loss(a, a.detach()),
    "cross_entropy": lambda L, a: L.nn.functional.cross_entropy(a.view(1, 2), L.tensor([1])),
    "nll_loss": lambda L, a: L.nn.functional.nll_loss(a.view(1, 2), L.tensor([1])),
    "logistic loss": lambda L, a: L.nn.functional.binary_cross_entropy_with_logits(a, a.detach()),
    "max_pool2d": lambda L, a: L.nn.functional.max_pool2d(a.view(1, 1, 1, 2), (1, 2)),
    "avg_pool2d": lambda L, a: L.nn.functional.avg_pool2d(a.view(1, 1, 1, 2), (1, 2)),
    "conv2d": lambda L, a: L.nn.functional.conv2d(a.view(1, 1, 1, 2), a.view(1, 1, 1, 2)),
    "layer_norm": lambda L, a: L.nn.functional.layer_norm(a, (2,)),
    "batch_norm": lambda L, a: L.nn.functional.batch_norm(a.view(2, 1), None, None, training=True),
    "unbind": lambda L, a: a.unbind()[0],
    "split": lambda L, a: a.split(1)[0],
    "dot": lambda L, a: a.dot(a),
    "clamp": lambda L, a: a.clamp(0, 1),
    "sqrt": lambda L, a: a.sqrt(),
    "abs": lambda L, a: a.abs(),
    "sin": lambda L, a: a.sin(),
    "where": lambda L, a: L.where(a > 0, a, a),
    "to": lambda L, a: a.double(),
    "gather": lambda L, a: a.gather(0, L.tensor([1])),
    "index_select": lambda L, a: a.index_select(0, L.tensor([1])),
    "max dim": lambda L, a: a.max(0).values,
    "max": lambda L, a: a.max(),
    "prod": lambda L, a: a.prod(),
    "cumsum": lambda L, a: a.cumsum(0),
    "gelu": lambda L, a: L.nn.functional.gelu(a),
    "in place": lambda L, a: (a * 1).add_(1),
    "view changed": lambda L, a: _changed(a * 1),
    "masked_fill": lambda L, a: a.masked_fill(a > 0, 1.0),
}


def _changed(b):
    b[0].mul_(2)
    return b


@pytest.mark.parametrize("name", NAMED)
def test_the_name_of_the_node(name):
    agree(
        lambda L: NAMED[name](L, leaf(L, 1.0, 2.0)).grad_fn.name().removeprefix("torch::autograd::")
    )


@scripts
def edges_lead_to_the_inputs_nodes(L):
    a, b = leaf(L, 1.0), L.tensor([2.0])
    c = a * 2
    y = c * b
    edges = y.grad_fn.next_functions
    last = c.grad_fn.next_functions[0]
    return (
        [(n is c.grad_fn if n is not None else None, i) for n, i in edges],
        last[0].name().removeprefix("torch::autograd::"),
        last[0].variable is a,
        last[1],
    )


@scripts
def edges_of_several_outputs(L):
    x, y = leaf(L, 1.0, 2.0).unbind()
    z = x * y
    return [i for _, i in z.grad_fn.next_functions], x.grad_fn is y.grad_fn, y.output_nr


@scripts
def a_leaf_ends_the_walk(L):
    a = leaf(L, 1.0)
    node = (a * 2).grad_fn.next_functions[0][0]
    return len(node.next_functions), a.grad_fn is None


@scripts
def walking_a_network(L):
    w, x = leaf(L, 1.0, 2.0), L.tensor([3.0, 4.0])
    y = ((w * x).tanh() + w).sum()
    names, stack = [], [y.grad_fn]
    while stack:
        n = stack.pop()
        names.append(n.name().removeprefix("torch::autograd::"))
        stack.extend(e for e, _ in n.next_functions if e is not None)
    return names


@scripts
def metadata_is_kept(L):
    n = (leaf(L, 1.0) * 2).grad_fn
    n.metadata["note"] = 3
    return n.metadata["note"]


@scripts
def results_without_grad_have_no_node(L):
    return (L.ones(1) * 2).grad_fn is None


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_the_repr_of_a_node_names_it():
    text = repr((leaf(flambeau, 1.0) * 2).grad_fn)
    assert text.startswith("<MulBackward0 object at 0x")
