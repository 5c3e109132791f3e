"""Weights that are functions of other parameters: each case on both libraries."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau import nn

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


def symmetric(torch):
    class Symmetric(torch.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).t()

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def twice(torch):
    class Twice(torch.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    return Twice()


def square(torch):
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.bias.fill_(0.5)
    return layer


def test_registration_and_removal(same):
    def case(t):
        tools = t.nn.utils.parametrize
        layer = square(t)
        bias = layer.bias
        tools.register_parametrization(layer, "weight", symmetric(t))
        seen = [layer, type(layer).__name__, layer.weight, list(layer.state_dict())]
        seen += [tools.is_parametrized(layer), tools.is_parametrized(layer, "bias")]
        seen += [tools.type_before_parametrizations(layer).__name__, layer.bias is bias]
        layer(t.ones(1, 2)).sum().backward()
        seen.append(layer.parametrizations.weight.original.grad)
        layer.weight = t.full((2, 2), 7.0)
        seen += [layer.weight, layer.parametrizations.weight.original]
        tools.register_parametrization(layer, "weight", twice(t))
        seen += [layer, layer.weight, layer.parametrizations.weight.original]
        with tools.cached():
            seen.append(layer.weight is layer.weight)
        seen.append(layer.weight is layer.weight)
        tools.remove_parametrizations(layer, "weight")
        seen += [layer, type(layer).__name__, layer.weight, list(layer.state_dict())]
        tools.register_parametrization(layer, "weight", twice(t))
        tools.remove_parametrizations(layer, "weight", leave_parametrized=False)
        return [*seen, layer.weight, isinstance(layer.weight, t.nn.Parameter)]

    same(case)


def test_errors(same):
    def case(t):
        tools = t.nn.utils.parametrize
        layer = square(t)
        return attempt(
            lambda: tools.register_parametrization(layer, "nothing", twice(t)),
            lambda: tools.remove_parametrizations(layer, "weight"),
            lambda: tools.is_parametrized(layer, "weight"),
        )

    same(case)


def test_a_result_of_another_shape_is_refused():
    class Wide(nn.Module):
        def forward(self, x):
            return flambeau.cat([x, x])

    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="may not change the shape"):
        nn.utils.parametrize.register_parametrization(layer, "weight", Wide())
    nn.utils.parametrize.register_parametrization(layer, "weight", Wide(), unsafe=True)
    assert tuple(layer.weight.shape) == (4, 2)


def test_copies_and_pickles():
    layer = nn.utils.parametrize.register_parametrization(
        square(flambeau), "weight", twice(flambeau)
    )
    twin = copy.deepcopy(layer)
    twin.weight = flambeau.zeros(2, 2)
    assert layer.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert twin.weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)


def test_transfer(same):
    def case(t):
        tools = t.nn.utils.parametrize
        source, target = square(t), t.nn.Linear(2, 2)
        tools.register_parametrization(source, "weight", twice(t))
        tools.transfer_parametrizations_and_params(source, target)
        return [target.weight, list(target.state_dict())]

    same(case)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(same, dim):
    def case(t):
        tools = t.nn.utils
        layer = tools.weight_norm(square(t), dim=dim)
        seen = [list(layer.state_dict()), tuple(layer.weight_g.shape), layer.weight_v]
        with t.no_grad():
            layer.weight_g.mul_(2)
        out = layer(t.ones(1, 2))
        out.sum().backward()
        seen += [(out * 1000).round(), type(layer.weight).__name__]
        seen += [layer.weight_g.grad.shape, layer.weight_v.grad.shape]
        seen += attempt(lambda: tools.weight_norm(layer))
        tools.remove_weight_norm(layer)
        seen += [list(layer.state_dict()), isinstance(layer.weight, t.nn.Parameter)]
        return seen + attempt(lambda: tools.remove_weight_norm(layer))

    same(case)


def test_parametrized_weight_norm(same):
    def case(t):
        layer = t.nn.utils.parametrizations.weight_norm(square(t))
        return [layer, list(layer.state_dict()), (layer.weight * 1000).round()]

    same(case)


@pytest.mark.parametrize("new", [True, False])
def test_spectral_norm(new):
    torch = pytest.importorskip("torch")
    layers = []
    for library in (flambeau, torch):
        library.manual_seed(0)
        tools = library.nn.utils
        apply = tools.parametrizations.spectral_norm if new else tools.spectral_norm
        layers.append(apply(library.nn.ConvTranspose2d(3, 4, 2).double(), n_power_iterations=2))
    ours, theirs = layers
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert ours.state_dict()._metadata == state._metadata
    ours.load_state_dict({k: flambeau.from_numpy(v.numpy().copy()) for k, v in state.items()})
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 2, 2))
    for _ in range(2):
        a, b = ours(flambeau.from_numpy(x)), theirs(torch.from_numpy(x))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9)
    a.sum().backward()
    b.sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-10)
    for _ in range(40):
        ours(flambeau.from_numpy(x))
    matrix = ours.eval().weight.detach().numpy().transpose(1, 0, 2, 3).reshape(4, -1)
    assert np.linalg.svd(matrix)[1][0] == pytest.approx(1, rel=1e-6)


def test_removing_spectral_norm(same):
    def case(t):
        layer = t.nn.utils.spectral_norm(square(t))
        seen = [list(layer.state_dict()), type(layer.weight).__name__]
        t.nn.utils.remove_spectral_norm(layer)
        seen += [list(layer.state_dict()), layer.state_dict()._metadata]
        return seen + attempt(lambda: t.nn.utils.remove_spectral_norm(layer))

    same(case)


def rotations(L, shape, orthogonal_map, use_trivialization):
    L.manual_seed(0)
    layer = L.nn.Linear(shape[1], shape[0])
    options = {"orthogonal_map": orthogonal_map, "use_trivialization": use_trivialization}
    made = L.nn.utils.parametrizations.orthogonal(layer, "weight", **options)
    first = layer.weight.detach().clone()
    layer(L.ones(2, shape[1])).square().sum().backward()
    with L.no_grad():
        for p in layer.parameters():
            p -= 0.1 * p.grad
    turned = layer.weight.detach()
    return made is layer, str(layer), list(layer.state_dict()), first, turned


@pytest.mark.parametrize("use_trivialization", [True, False])
@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
def test_orthogonal_weights(shape, orthogonal_map, use_trivialization):
    ours = rotations(flambeau, shape, orthogonal_map, use_trivialization)
    for weight in ours[3:]:
        tall = weight if shape[0] >= shape[1] else weight.T
        assert flambeau.allclose(tall.T @ tall, flambeau.eye(min(shape)), atol=1e-5)
    torch = pytest.importorskip("torch")
    theirs = rotations(torch, shape, orthogonal_map, use_trivialization)
    assert ours[:3] == theirs[:3]
    for a, b in zip(ours[3:], theirs[3:], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


def orthogonal_refusals(L):
    orthogonal = L.nn.utils.parametrizations.orthogonal
    fixed = orthogonal(L.nn.Linear(2, 2), use_trivialization=False)
    open_ = orthogonal(L.nn.Linear(2, 2))

    def assigned(layer, value):
        layer.weight = value
        return layer.weight.detach().tolist()

    found = attempt(
        lambda: orthogonal(L.nn.Linear(2, 2), "nothing"),
        lambda: orthogonal(L.nn.Linear(2, 2), "bias"),
        lambda: orthogonal(L.nn.Linear(2, 2), orthogonal_map="qr"),
        lambda: assigned(fixed, L.eye(2)),
        lambda: assigned(open_, L.ones(3, 3)),
        lambda: np.round(assigned(open_, L.eye(2)), 5).tolist(),
        lambda: assigned(one_way(L), L.eye(2)),
    )
    return [f[0] if isinstance(f, tuple) else f for f in found]


def one_way(L):
    class Skew(L.nn.Module):
        def forward(self, x):
            return x.triu(1) - x.triu(1).T

    layer = L.nn.Linear(2, 2)
    L.nn.utils.parametrize.register_parametrization(layer, "weight", Skew())
    return layer


def test_what_orthogonal_weights_refuse():
    ours = orthogonal_refusals(flambeau)
    assert ours[-1] == "RuntimeError"
    torch = pytest.importorskip("torch")
    assert ours == orthogonal_refusals(torch)
