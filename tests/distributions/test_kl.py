"""Kullback-Leibler divergences against PyTorch's, pair by pair, and against samples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import flambeau
import flambeau.distributions as dist
from flambeau.distributions import kl_divergence, register_kl
from tests.distributions.families import make

Make = Callable[[Any, Any], Any]
_COVARIANCE = [[1.3, -0.4], [-0.4, 0.9]]
_LOW = [[0.3], [1.0]]

MEMBERS: dict[str, list[Make]] = {
    "Bernoulli": [
        lambda d, t: d.Bernoulli(t([0.1, 0.5])),
        lambda d, t: d.Bernoulli(t([0.0, 1.0])),
        lambda d, t: d.Bernoulli(t([0.7, 0.0])),
    ],
    "Beta": [lambda d, t: d.Beta(t([0.5, 2.0]), 1.5), lambda d, t: d.Beta(t([3.0, 1.0]), 0.5)],
    "Binomial": [
        lambda d, t: d.Binomial(t([5.0, 7.0]), t([0.2, 0.6])),
        lambda d, t: d.Binomial(t([5.0, 6.0]), t([0.3, 0.9])),
    ],
    "Categorical": [
        lambda d, t: d.Categorical(t([[0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])),
        lambda d, t: d.Categorical(t([[0.5, 0.5, 0.0], [0.1, 0.0, 0.9]])),
    ],
    "Cauchy": [
        lambda d, t: d.Cauchy(t([0.0, 2.0]), 1.0),
        lambda d, t: d.Cauchy(1.0, t([0.3, 2.0])),
    ],
    "ContinuousBernoulli": [
        lambda d, t: d.ContinuousBernoulli(t([0.1, 0.5])),
        lambda d, t: d.ContinuousBernoulli(t([0.7, 0.8])),
    ],
    "Dirichlet": [
        lambda d, t: d.Dirichlet(t([0.5, 1.0, 2.0])),
        lambda d, t: d.Dirichlet(t([[3.0, 1.0, 0.2], [1.0, 1.0, 1.0]])),
    ],
    "Exponential": [lambda d, t: d.Exponential(t([0.5, 3.0])), lambda d, t: d.Exponential(t(2.0))],
    "ExponentialFamily": [
        lambda d, t: d.Wishart(t(4.0), t(_COVARIANCE)),
        lambda d, t: d.Wishart(t(5.5), t([[1.0, 0.2], [0.2, 2.0]])),
    ],
    "Gamma": [lambda d, t: d.Gamma(t([0.5, 3.0]), 1.5), lambda d, t: d.Chi2(t([1.0, 4.0]))],
    "Geometric": [lambda d, t: d.Geometric(t([0.5, 0.2])), lambda d, t: d.Geometric(t([0.9, 0.1]))],
    "Gumbel": [
        lambda d, t: d.Gumbel(t([0.5, -2.0]), 1.5),
        lambda d, t: d.Gumbel(t([0.0, 1.0]), 0.5),
    ],
    "HalfNormal": [lambda d, t: d.HalfNormal(t([0.5, 2.0])), lambda d, t: d.HalfNormal(t(1.5))],
    "Independent": [
        lambda d, t: d.Independent(d.Normal(t([[0.0, 1.0], [2.0, 3.0]]), 1.0), 1),
        lambda d, t: d.Independent(d.Normal(t([[1.0, 1.0], [0.0, 3.0]]), 2.0), 1),
    ],
    "Laplace": [
        lambda d, t: d.Laplace(t([0.5, -2.0]), 1.5),
        lambda d, t: d.Laplace(t([0.0, 1.0]), 0.5),
    ],
    "LowRankMultivariateNormal": [
        lambda d, t: d.LowRankMultivariateNormal(t([0.0, 1.0]), t(_LOW), t([1.0, 0.5])),
        lambda d, t: d.LowRankMultivariateNormal(
            t([[1.0, 1.0], [0.0, 0.0]]), t(_LOW), t([2.0, 0.3])
        ),
    ],
    "MultivariateNormal": [
        lambda d, t: d.MultivariateNormal(t([[0.0, 1.0], [2.0, 2.0]]), t(_COVARIANCE)),
        lambda d, t: d.MultivariateNormal(
            t([1.0, 0.0]), t([[[1.0, 0.2], [0.2, 2.0]], _COVARIANCE])
        ),
    ],
    "Normal": [
        lambda d, t: d.Normal(t([0.0, 2.0]), 1.0),
        lambda d, t: d.Normal(1.0, t([0.3, 2.0])),
    ],
    "OneHotCategorical": [
        lambda d, t: d.OneHotCategorical(t([[0.2, 0.8, 0.0], [0.1, 0.2, 0.7]])),
        lambda d, t: d.OneHotCategorical(t([[0.5, 0.5, 0.0], [0.1, 0.0, 0.9]])),
    ],
    "Pareto": [
        lambda d, t: d.Pareto(t([1.0, 0.2]), t([0.5, 1.5])),
        lambda d, t: d.Pareto(t([0.05, 0.7]), t([2.5, 4.0])),
    ],
    "Poisson": [lambda d, t: d.Poisson(t([0.5, 3.0])), lambda d, t: d.Poisson(t([2.0, 1.0]))],
    "TransformedDistribution": [
        lambda d, t: d.LogNormal(t([0.0, 2.0]), 1.0),
        lambda d, t: d.LogNormal(1.0, t([0.3, 2.0])),
    ],
    "Uniform": [
        lambda d, t: d.Uniform(t([0.2, 0.1]), t([0.9, 3.0])),
        lambda d, t: d.Uniform(t([0.3, -0.5]), t([0.8, 3.5])),
        lambda d, t: d.Uniform(t([-1.0, -0.5]), t([2.0, 1.5])),
    ],
}


def _pairs() -> list[tuple[str, str]]:
    torch = pytest.importorskip("torch")
    return [(a.__name__, b.__name__) for a, b in torch.distributions.kl._KL_REGISTRY]


def _members(library: Any, name: str) -> list[Any]:
    tensor = lambda values: library.tensor(values, dtype=library.float64)  # noqa: E731
    return [build(library.distributions, tensor) for build in MEMBERS[name]]


def test_divergences_are_pytorchs():
    torch = pytest.importorskip("torch")
    compared = 0
    for left, right in _pairs():
        everyone = [product(_members(lib, left), _members(lib, right)) for lib in (flambeau, torch)]
        for ours, theirs in zip(*everyone, strict=True):
            try:
                expected = torch.distributions.kl_divergence(*theirs)
            except NotImplementedError:
                with pytest.raises(NotImplementedError):
                    kl_divergence(*ours)
                continue
            found = kl_divergence(*ours).detach().numpy()
            wanted = np.broadcast_to(expected.detach().numpy(), found.shape)
            np.testing.assert_allclose(found, wanted, 1e-7, 1e-9, err_msg=f"{ours}")
            compared += 1
    assert compared > 300


def test_a_divergence_is_the_mean_of_the_log_ratio():
    flambeau.manual_seed(0)
    names = ["gamma", "normal vector", "low rank normal", "uniform", "gumbel", "laplace"]
    for name in names:
        p = make(flambeau, name)
        x = p.sample((40_000,))
        for q in (dist.Normal(0.3, 2.0), make(flambeau, "normal vector by precision")):
            try:
                exact = kl_divergence(p, q)
            except NotImplementedError:
                continue
            ratio = p.log_prob(x) - q.log_prob(x)
            error = (ratio.mean(0) - exact).abs() / (ratio.std(0) / 200)
            assert float(error.max()) < 4.5, name


def test_the_whole_unit_interval_holds_a_distribution_on_it():
    p = dist.ContinuousBernoulli(flambeau.tensor([0.2, 0.5], dtype=flambeau.float64))
    found = kl_divergence(p, dist.Uniform(0.0, 1.0)).numpy()
    np.testing.assert_allclose(found, -p.entropy().numpy(), atol=1e-12)


def test_a_gradient_flows_to_both():
    a, b = (flambeau.tensor(v, requires_grad=True) for v in (0.7, 1.9))
    kl_divergence(dist.Gamma(a, 1.0), dist.Gamma(b, 2.0)).backward()
    assert float(a.grad) != 0
    assert float(b.grad) != 0


def test_the_nearest_registered_pair_is_taken():
    class Narrow(dist.Normal):
        pass

    p = Narrow(0.0, 1.0)
    assert float(kl_divergence(p, p)) == 0.0

    @register_kl(Narrow, Narrow)
    def _of_narrow(p: Any, q: Any) -> Any:
        return flambeau.tensor(7.0)

    assert float(kl_divergence(p, p)) == 7.0
    assert float(kl_divergence(dist.Normal(0.0, 1.0), p)) == 0.0


def test_two_pairs_as_near_as_each_other_are_ambiguous():
    class Left(dist.Cauchy):
        pass

    class Right(dist.Cauchy):
        pass

    register_kl(Left, dist.Cauchy)(lambda p, q: flambeau.tensor(1.0))
    register_kl(dist.Cauchy, Right)(lambda p, q: flambeau.tensor(2.0))
    with pytest.warns(RuntimeWarning, match="Ambiguous"):
        assert float(kl_divergence(Left(0.0, 1.0), Right(0.0, 1.0))) == 1.0


def test_what_is_refused():
    with pytest.raises(NotImplementedError, match="p type Normal and q type Cauchy"):
        kl_divergence(dist.Normal(0.0, 1.0), dist.Cauchy(0.0, 1.0))
    with pytest.raises(TypeError):
        register_kl(int, dist.Normal)
    with pytest.raises(TypeError):
        register_kl(dist.Normal, "Normal")
    vector = dist.MultivariateNormal(flambeau.zeros(2), flambeau.eye(2))
    other = dist.MultivariateNormal(flambeau.zeros(3), flambeau.eye(3))
    with pytest.raises(ValueError, match="different event shapes"):
        kl_divergence(vector, other)
    with pytest.raises(NotImplementedError):
        kl_divergence(dist.LogNormal(0.0, 1.0), dist.Gumbel(0.0, 1.0))
