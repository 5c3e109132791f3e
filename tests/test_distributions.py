"""Distributions against PyTorch's: samples for a seed, densities, moments."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
import flambeau.distributions

torch = pytest.importorskip("torch")


def _cases(library):
    d, t = library.distributions, library.tensor
    return {
        "normal": d.Normal(t([0.0, 1.0, -2.0]), t([1.0, 0.5, 3.0])),
        "uniform": d.Uniform(t([0.0, -1.0]), t([2.0, 5.0])),
        "exponential": d.Exponential(t([0.5, 2.0, 7.0])),
        "gamma": d.Gamma(t([0.3, 1.0, 4.5]), t([1.0, 2.0, 0.5])),
        "beta": d.Beta(t([0.5, 2.0]), t([1.5, 3.0])),
        "dirichlet": d.Dirichlet(t([[0.5, 2.0, 1.0], [3.0, 3.0, 0.2]])),
        "bernoulli": d.Bernoulli(t([0.1, 0.5, 0.9])),
        "bernoulli logits": d.Bernoulli(logits=t([-1.0, 0.0, 2.0])),
        "binomial": d.Binomial(t([10.0, 100.0]), t([0.3, 0.7])),
        "poisson": d.Poisson(t([0.0, 3.0, 50.0])),
        "categorical": d.Categorical(t([[0.2, 0.3, 0.5], [1.0, 1.0, 2.0]])),
        "categorical logits": d.Categorical(logits=t([[0.2, -0.3, 0.5]])),
    }


NAMES = list(_cases(torch))


def _drawn(library, name):
    library.manual_seed(12)
    return _cases(library)[name].sample((7,))


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_pytorchs_for_the_same_seed(name):
    ours, theirs = _drawn(flambeau, name), _drawn(torch, name)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_pytorchs(name):
    value = _drawn(torch, name)
    ours = _cases(flambeau)[name].log_prob(flambeau.from_numpy(value.numpy()))
    theirs = _cases(torch)[name].log_prob(value)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["mean", "variance", "stddev"])
def test_moments_are_pytorchs(name, what):
    ours, theirs = (getattr(_cases(library)[name], what) for library in (flambeau, torch))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("binomial", "poisson")])
def test_entropy_is_pytorchs(name):
    ours, theirs = (_cases(library)[name].entropy() for library in (flambeau, torch))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_gradients_flow_through_reparameterised_samples():
    mean = flambeau.tensor([1.0, 2.0], requires_grad=True)
    scale = flambeau.tensor([0.5, 1.5], requires_grad=True)
    flambeau.manual_seed(3)
    sample = flambeau.distributions.Normal(mean, scale).rsample((5,))
    sample.sum().backward()
    noise = (sample.detach() - mean.detach()) / scale.detach()
    assert mean.grad.tolist() == [5.0, 5.0]
    np.testing.assert_allclose(scale.grad.numpy(), noise.sum(0).numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda d, t: d.Normal(t([0.0]), t([-1.0])),
        lambda d, t: d.Bernoulli(t([1.5])),
        lambda d, t: d.Bernoulli(),
        lambda d, t: d.Gamma(t([0.0]), t([1.0])),
        lambda d, t: d.Uniform(t([1.0]), t([0.0])),
        lambda d, t: d.Dirichlet(t(1.0)),
    ],
)
def test_bad_parameters_are_refused_as_by_pytorch(make):
    with pytest.raises(ValueError):
        make(torch.distributions, torch.tensor)
    with pytest.raises(ValueError):
        make(flambeau.distributions, flambeau.tensor)
