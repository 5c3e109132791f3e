"""Samples against the distribution they are drawn from, and densities against integrals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import flambeau
from flambeau import distributions as dist

COUNT = 4000

CONTINUOUS: dict[str, tuple[Any, Any]] = {
    "beta": (lambda: dist.Beta(0.5, 2.0), scipy.stats.beta(0.5, 2.0)),
    "cauchy": (lambda: dist.Cauchy(1.0, 2.0), scipy.stats.cauchy(1.0, 2.0)),
    "chi2": (lambda: dist.Chi2(flambeau.tensor(3.0)), scipy.stats.chi2(3.0)),
    "exponential": (lambda: dist.Exponential(2.0), scipy.stats.expon(scale=0.5)),
    "fisher": (lambda: dist.FisherSnedecor(3.0, 7.0), scipy.stats.f(3.0, 7.0)),
    "gamma": (lambda: dist.Gamma(0.7, 2.0), scipy.stats.gamma(0.7, scale=0.5)),
    "generalized pareto": (
        lambda: dist.GeneralizedPareto(1.0, 2.0, 0.3),
        scipy.stats.genpareto(0.3, 1.0, 2.0),
    ),
    "gumbel": (lambda: dist.Gumbel(1.0, 2.0), scipy.stats.gumbel_r(1.0, 2.0)),
    "half cauchy": (lambda: dist.HalfCauchy(2.0), scipy.stats.halfcauchy(scale=2.0)),
    "half normal": (lambda: dist.HalfNormal(2.0), scipy.stats.halfnorm(scale=2.0)),
    "inverse gamma": (lambda: dist.InverseGamma(3.0, 2.0), scipy.stats.invgamma(3.0, scale=2.0)),
    "laplace": (lambda: dist.Laplace(1.0, 2.0), scipy.stats.laplace(1.0, 2.0)),
    "log normal": (lambda: dist.LogNormal(0.3, 0.5), scipy.stats.lognorm(0.5, scale=np.exp(0.3))),
    "normal": (lambda: dist.Normal(1.0, 2.0), scipy.stats.norm(1.0, 2.0)),
    "pareto": (lambda: dist.Pareto(2.0, 3.0), scipy.stats.pareto(3.0, scale=2.0)),
    "student": (lambda: dist.StudentT(3.0, 1.0, 2.0), scipy.stats.t(3.0, 1.0, 2.0)),
    "uniform": (lambda: dist.Uniform(-1.0, 2.0), scipy.stats.uniform(-1.0, 3.0)),
    "von mises": (lambda: dist.VonMises(0.0, flambeau.tensor(2.0)), scipy.stats.vonmises(2.0)),
    "weibull": (lambda: dist.Weibull(2.0, 1.5), scipy.stats.weibull_min(1.5, scale=2.0)),
}
DISCRETE: dict[str, tuple[Any, Any]] = {
    "bernoulli": (lambda: dist.Bernoulli(0.3), scipy.stats.bernoulli(0.3)),
    "binomial": (lambda: dist.Binomial(9, flambeau.tensor(0.3)), scipy.stats.binom(9, 0.3)),
    "geometric": (lambda: dist.Geometric(0.3), scipy.stats.geom(0.3, loc=-1)),
    "negative binomial": (
        lambda: dist.NegativeBinomial(3.5, flambeau.tensor(0.4)),
        scipy.stats.nbinom(3.5, 0.6),
    ),
    "poisson": (lambda: dist.Poisson(4.0), scipy.stats.poisson(4.0)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_samples_and_densities(name):
    build, reference = CONTINUOUS[name]
    flambeau.manual_seed(7)
    p = build()
    x = p.sample((COUNT,)).numpy().astype(np.float64)
    assert scipy.stats.kstest(x, reference.cdf).pvalue > 1e-3
    at = flambeau.from_numpy(x[:50])
    np.testing.assert_allclose(p.log_prob(at).numpy(), reference.logpdf(x[:50]), 1e-4, 1e-5)
    if name != "von mises":  # its entropy has no formula there
        expected = float(reference.entropy())
        if type(p).entropy is not dist.Distribution.entropy:
            np.testing.assert_allclose(float(p.entropy()), expected, 1e-4)
    try:
        found = p.cdf(at).numpy()
    except NotImplementedError:
        return
    np.testing.assert_allclose(found, reference.cdf(x[:50]), 1e-4, 1e-5)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_samples_and_probabilities(name):
    build, reference = DISCRETE[name]
    flambeau.manual_seed(7)
    p = build()
    x = p.sample((COUNT,)).numpy().astype(int)
    values = np.arange(x.max() + 1)
    probabilities = reference.pmf(values)
    at = flambeau.from_numpy(values.astype(np.float32))
    if name != "bernoulli" or x.max() == 1:
        np.testing.assert_allclose(p.log_prob(at).exp().numpy(), probabilities, 1e-4, 1e-6)
    common = probabilities * COUNT > 8
    observed = np.append(np.bincount(x)[common], np.isin(x, values[~common]).sum())
    expected = np.append(probabilities[common], 1 - probabilities[common].sum()) * COUNT
    kept = expected > 1e-6
    assert scipy.stats.chisquare(observed[kept], expected[kept]).pvalue > 1e-3


INTERVALS: dict[str, tuple[Any, float, float]] = {
    "continuous bernoulli": (lambda: dist.ContinuousBernoulli(0.2), 0.0, 1.0),
    "continuous bernoulli near a half": (lambda: dist.ContinuousBernoulli(0.4999), 0.0, 1.0),
    "kumaraswamy": (lambda: dist.Kumaraswamy(2.0, 3.0), 1e-6, 1 - 1e-6),
    "relaxed bernoulli": (
        lambda: dist.RelaxedBernoulli(flambeau.tensor(0.7), flambeau.tensor(0.3)),
        1e-6,
        1 - 1e-6,
    ),
    "mixture": (
        lambda: dist.MixtureSameFamily(
            dist.Categorical(flambeau.tensor([0.3, 0.7])),
            dist.Normal(flambeau.tensor([0.0, 3.0]), flambeau.tensor([1.0, 0.5])),
        ),
        -8.0,
        8.0,
    ),
}


@pytest.mark.parametrize("name", INTERVALS)
def test_densities_integrate_to_1_and_give_the_moments(name):
    build, low, high = INTERVALS[name]
    p = build()

    def density(x: float) -> float:
        return float(p.log_prob(flambeau.tensor(x, dtype=flambeau.float64)).exp())

    np.testing.assert_allclose(scipy.integrate.quad(density, low, high)[0], 1.0, 2e-3)
    flambeau.manual_seed(7)
    x = np.sort(p.sample((COUNT,)).numpy().astype(np.float64))
    grid = np.linspace(low, high, 2001)
    values = p.log_prob(flambeau.from_numpy(grid)).exp().numpy()
    cumulated = scipy.integrate.cumulative_trapezoid(values, grid, initial=0)
    tested = scipy.stats.kstest(x, lambda v: np.interp(v, grid, cumulated / cumulated[-1]))
    assert tested.pvalue > 1e-3
    if name != "relaxed bernoulli":
        mean = scipy.integrate.quad(lambda v: v * density(v), low, high)[0]
        np.testing.assert_allclose(float(p.mean), mean, 1e-5)
        square = scipy.integrate.quad(lambda v: (v - mean) ** 2 * density(v), low, high)[0]
        np.testing.assert_allclose(float(p.variance), square, 1e-4)


@pytest.mark.parametrize(
    "build",
    [
        lambda: dist.MultivariateNormal(
            flambeau.tensor([1.0, 2.0]), flambeau.tensor([[2.0, 0.5], [0.5, 1.0]])
        ),
        lambda: dist.LowRankMultivariateNormal(
            flambeau.tensor([1.0, 2.0]),
            flambeau.tensor([[1.0], [0.5]]),
            flambeau.tensor([0.4, 0.3]),
        ),
        lambda: dist.Dirichlet(flambeau.tensor([0.5, 2.0, 1.0])),
        lambda: dist.Multinomial(6, flambeau.tensor([0.2, 0.5, 0.3])),
        lambda: dist.OneHotCategorical(flambeau.tensor([0.2, 0.5, 0.3])),
        lambda: dist.Wishart(flambeau.tensor(5.0), flambeau.tensor([[2.0, 0.5], [0.5, 1.0]])),
    ],
)
def test_moments_of_samples_of_vectors(build):
    flambeau.manual_seed(3)
    p = build()
    x = p.sample((COUNT,))
    error = (p.variance / COUNT).sqrt()
    assert float(((x.mean(0) - p.mean) / error).abs().max()) < 4
    assert float((x.var(0) / p.variance - 1).abs().max()) < 0.15


@pytest.mark.parametrize(("dim", "concentration"), [(2, 0.5), (3, 2.0), (4, 1.0)])
def test_correlations_of_lkj_samples(dim, concentration):
    flambeau.manual_seed(3)
    factor = dist.LKJCholesky(dim, concentration).sample((COUNT,))
    correlations = (factor @ factor.mT).numpy().astype(np.float64)
    # each correlation is a beta number, moved to [-1, 1]
    shape = concentration - 1 + dim / 2
    reference = scipy.stats.beta(shape, shape, -1, 2)
    for i in range(dim):
        for j in range(i):
            assert scipy.stats.kstest(correlations[:, i, j], reference.cdf).pvalue > 1e-3
