"""LBFGS against PyTorch, iteration by iteration, and on Rosenbrock's valley."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau import optim
from flambeau.tensor import Parameter
from flambeau.tensor import functions as fl

torch = pytest.importorskip("torch")

OPTIONS = [
    {"lr": 0.1},
    {"lr": 0.5, "max_iter": 4, "history_size": 2},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 3},
    {"lr": 1e-3, "line_search_fn": "strong_wolfe", "max_eval": 6},
    {"lr": 30.0, "line_search_fn": "strong_wolfe"},
]


def valley(library, x, y):
    """Rosenbrock's function of every pair of neighbours, and a bowl for the second parameter."""
    a, b = x[:-1], x[1:]
    return (((b - a * a) ** 2) * 5 + (1 - a) ** 2).sum() + ((y - 2) ** 2 * (y + 3) ** 2).sum() * 0.1


def train(library, options, calls=4):
    starts = np.linspace(-1.2, 1.5, 5), np.array([[0.3, -0.4], [1.1, 4.0]])
    if library is torch:
        params = [torch.nn.Parameter(torch.from_numpy(s.copy())) for s in starts]
    else:
        params = [Parameter(fl.from_numpy(s.copy())) for s in starts]
    optimizer = (torch.optim if library is torch else optim).LBFGS(params, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = valley(library, *params)
        loss.backward()
        losses.append(float(loss.detach()))
        return loss

    for _ in range(calls):
        optimizer.step(closure)
    return losses, [p.detach().numpy() for p in params], optimizer


@pytest.mark.parametrize("options", OPTIONS)
def test_same_losses_at_every_evaluation(options):
    losses, values, mine = train(fl, options)
    expected, reference, other = train(torch, options)
    assert len(losses) == len(expected)
    np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-9)
    for value, wanted in zip(values, reference, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    state, wanted = mine.state_dict()["state"][0], other.state_dict()["state"][0]
    assert set(state) == set(wanted)
    assert state["n_iter"] == wanted["n_iter"]
    assert state["func_evals"] == wanted["func_evals"]
    assert len(state["old_dirs"]) == len(wanted["old_dirs"])


def test_minimum_is_found():
    losses, values, _ = train(fl, {"line_search_fn": "strong_wolfe"}, calls=8)
    np.testing.assert_allclose(values[0], 1.0, atol=1e-3)
    assert min(losses) < 1e-8


def test_missing_gradients_count_as_zero():
    p, q = Parameter(fl.ones(2)), Parameter(fl.ones(2))
    optimizer = optim.LBFGS([p, q], lr=0.5, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_array_equal(q.detach().numpy(), 1.0)
    assert float((p * p).sum()) < 1.0


def test_unknown_line_search():
    p = Parameter(fl.ones(2))
    optimizer = optim.LBFGS([p], line_search_fn="golden")

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optimizer.step(closure)


def test_nothing_happens_at_the_minimum():
    p = Parameter(fl.zeros(2))
    optimizer = optim.LBFGS([p])
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure)) == 0.0
    assert calls == [1]
