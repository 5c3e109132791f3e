"""Clipping gradients, parameters as a vector, modules without initial values."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn


def with_gradients(torch):
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        for i, param in enumerate(layer.parameters()):
            param.fill_(float(i))
            param.grad = torch.full_like(param, 3.0 + i)
    layer.extra = torch.nn.Parameter(torch.ones(1))  # has no gradient
    return layer


def grads(layer):
    return [p.grad for p in layer.parameters()]


@pytest.mark.parametrize("norm", [2.0, 1, 0.5, float("inf")])
@pytest.mark.parametrize("limit", [1.0, 100.0])
def test_clip_norm(norm, limit):
    torch = pytest.importorskip("torch")
    results = []
    for library in (flambeau, torch):
        layer = with_gradients(library)
        total = library.nn.utils.clip_grad_norm_(layer.parameters(), limit, norm)
        results.append([total.item(), *(g.reshape(-1).tolist() for g in grads(layer)[:2])])
    for ours, theirs in zip(*results, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_clip_values(same):
    def case(torch):
        layer = with_gradients(torch)
        torch.nn.utils.clip_grad_value_(layer.parameters(), 3.5)
        torch.nn.utils.clip_grad_value_(layer.bias, 3.25)
        return grads(layer)

    same(case)


def test_norms_of_nothing_and_of_infinity(same):
    def infinite(torch):
        layer = with_gradients(torch)
        layer.bias.grad[0] = float("inf")
        return torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True)

    same(lambda torch: torch.nn.utils.clip_grad_norm_([], 1.0))
    same(lambda torch: torch.nn.utils.get_total_norm([torch.ones(4)]))
    assert same(infinite)[1] == "RuntimeError"
    same(lambda torch: torch.nn.utils.clip_grad_norm(with_gradients(torch).bias, 100.0))


def test_a_vector_and_back(same):
    def case(torch):
        layer = with_gradients(torch)
        weight = layer.weight
        vector = torch.nn.utils.parameters_to_vector(layer.parameters())
        torch.nn.utils.vector_to_parameters(vector.detach() + 1, layer.parameters())
        return vector, layer.state_dict(), layer.weight is weight

    same(case)
    same(lambda torch: torch.nn.utils.vector_to_parameters([1.0], []))


def test_skip_init():
    flambeau.manual_seed(0)
    expected = flambeau.rand(1).item()
    flambeau.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 3, 4)
    assert flambeau.rand(1).item() == expected
    assert not layer.weight.is_meta
    assert tuple(layer.weight.shape) == (4, 3)
    with pytest.raises(RuntimeError, match="device"):
        nn.utils.skip_init(nn.ReLU)
