"""Distributions to compare: for each name a constructor, called with a library and its tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Make = Callable[[Any, Any], Any]

_A = [[1.3, -0.4, 0.2], [-0.4, 0.9, 0.1], [0.2, 0.1, 0.7]]
_B = [[0.5, 0.1, 0.0], [0.1, 1.5, -0.3], [0.0, -0.3, 2.0]]
_L = np.linalg.cholesky(np.array([_A, _B])).tolist()
_W = [[0.3, 1.0], [-0.7, 0.2], [0.5, 0.5]]
_PROBS = [[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]
_LOGITS = [[0.2, -0.3, 0.5], [-1.0, 2.0, 0.0]]


def _transformed(d: Any, t: Any) -> Any:
    steps = [d.SigmoidTransform(), d.AffineTransform(1.0, -2.0)]
    return d.TransformedDistribution(d.Normal(t([0.5, -1.0]), t([1.0, 0.5])), steps)


def _mixture(d: Any, t: Any, event: bool) -> Any:
    loc, scale = t([[0.0, 1.0, -2.0], [3.0, 0.5, 1.0]]), t([[1.0, 0.5, 2.0], [0.3, 1.0, 1.0]])
    components = d.Normal(loc, scale)
    if not event:
        return d.MixtureSameFamily(d.Categorical(t(_PROBS)), components)
    vectors = d.Independent(d.Normal(loc, scale), 1)
    return d.MixtureSameFamily(d.Categorical(t([0.4, 0.6])), vectors)


FAMILIES: dict[str, Make] = {
    "bernoulli": lambda d, t: d.Bernoulli(t([0.1, 0.5, 0.9])),
    "bernoulli of logits": lambda d, t: d.Bernoulli(logits=t([-1.0, 0.0, 2.0])),
    "beta": lambda d, t: d.Beta(t([0.5, 2.0]), t([1.5, 3.0])),
    "binomial": lambda d, t: d.Binomial(t([10.0, 100.0]), t([0.3, 0.7])),
    "binomial of logits": lambda d, t: d.Binomial(7, logits=t([0.3, -2.0])),
    "categorical": lambda d, t: d.Categorical(t(_PROBS)),
    "categorical of logits": lambda d, t: d.Categorical(logits=t(_LOGITS)),
    "cauchy": lambda d, t: d.Cauchy(t([0.0, 2.0]), t([1.0, 0.5])),
    "chi2": lambda d, t: d.Chi2(t([1.0, 5.0, 0.3])),
    "continuous bernoulli": lambda d, t: d.ContinuousBernoulli(t([0.1, 0.4995, 0.5, 0.9])),
    "continuous bernoulli of logits": lambda d, t: d.ContinuousBernoulli(logits=t([-1.0, 2.0])),
    "dirichlet": lambda d, t: d.Dirichlet(t([[0.5, 2.0, 1.0], [3.0, 3.0, 0.2], [0.5, 0.4, 0.9]])),
    "exponential": lambda d, t: d.Exponential(t([0.5, 2.0, 7.0])),
    "fisher": lambda d, t: d.FisherSnedecor(t([2.0, 5.0, 3.0]), t([5.0, 3.0, 1.5])),
    "gamma": lambda d, t: d.Gamma(t([0.3, 1.0, 4.5]), t([1.0, 2.0, 0.5])),
    "generalized pareto": lambda d, t: d.GeneralizedPareto(
        t([0.0, 1.0, 2.0, 0.0]), t([1.0, 2.0, 0.5, 1.0]), t([0.3, 0.0, -0.4, 1.5])
    ),
    "geometric": lambda d, t: d.Geometric(t([0.1, 0.6, 1.0])),
    "geometric of logits": lambda d, t: d.Geometric(logits=t([-1.0, 1.0])),
    "gumbel": lambda d, t: d.Gumbel(t([0.0, 2.0]), t([1.0, 0.5])),
    "half cauchy": lambda d, t: d.HalfCauchy(t([1.0, 0.5])),
    "half normal": lambda d, t: d.HalfNormal(t([1.0, 0.5])),
    "independent": lambda d, t: d.Independent(
        d.Normal(t([[0.0, 1.0], [2.0, 3.0]]), t([[1.0, 0.5], [1.0, 2.0]])), 1
    ),
    "inverse gamma": lambda d, t: d.InverseGamma(t([0.7, 1.5, 4.0]), t([1.0, 2.0, 0.5])),
    "kumaraswamy": lambda d, t: d.Kumaraswamy(t([0.5, 2.0, 3.0]), t([1.5, 3.0, 1.2])),
    "laplace": lambda d, t: d.Laplace(t([0.0, 2.0]), t([1.0, 0.5])),
    "lkj": lambda d, t: d.LKJCholesky(3, t([0.7, 2.0])),
    "log normal": lambda d, t: d.LogNormal(t([0.0, 0.5]), t([1.0, 0.5])),
    "logistic normal": lambda d, t: d.LogisticNormal(t([[0.0, 0.5], [1.0, -1.0]]), t([1.0, 0.5])),
    "low rank normal": lambda d, t: d.LowRankMultivariateNormal(
        t([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]), t(_W), t([0.5, 1.0, 2.0])
    ),
    "mixture": lambda d, t: _mixture(d, t, False),
    "mixture of vectors": lambda d, t: _mixture(d, t, True),
    "multinomial": lambda d, t: d.Multinomial(5, t(_PROBS)),
    "multinomial of logits": lambda d, t: d.Multinomial(3, logits=t(_LOGITS)),
    "normal vector": lambda d, t: d.MultivariateNormal(t([0.0, 1.0, 2.0]), t([_A, _B])),
    "normal vector by precision": lambda d, t: d.MultivariateNormal(
        t([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), precision_matrix=t(_B)
    ),
    "normal vector by factor": lambda d, t: d.MultivariateNormal(
        t([0.0, 1.0, 2.0]), scale_tril=t(_L)
    ),
    "negative binomial": lambda d, t: d.NegativeBinomial(t([2.5, 10.0]), t([0.3, 0.7])),
    "negative binomial of logits": lambda d, t: d.NegativeBinomial(3.0, logits=t([-1.0, 0.5])),
    "normal": lambda d, t: d.Normal(t([0.0, 1.0, -2.0]), t([1.0, 0.5, 3.0])),
    "one hot": lambda d, t: d.OneHotCategorical(t(_PROBS)),
    "one hot straight through": lambda d, t: d.OneHotCategoricalStraightThrough(logits=t(_LOGITS)),
    "pareto": lambda d, t: d.Pareto(t([1.0, 0.5, 2.0]), t([0.5, 1.5, 4.0])),
    "poisson": lambda d, t: d.Poisson(t([0.0, 3.0, 50.0])),
    "relaxed bernoulli": lambda d, t: d.RelaxedBernoulli(t(0.7), t([0.1, 0.6])),
    "relaxed one hot": lambda d, t: d.RelaxedOneHotCategorical(t(0.7), logits=t(_LOGITS)),
    "student": lambda d, t: d.StudentT(t([0.7, 1.5, 6.0]), t([0.0, 1.0, 2.0]), t([1.0, 2.0, 0.5])),
    "transformed": _transformed,
    "uniform": lambda d, t: d.Uniform(t([0.0, -1.0]), t([2.0, 5.0])),
    "von mises": lambda d, t: d.VonMises(t([0.0, 1.0, -2.0]), t([1.0, 1e-6, 30.0])),
    "weibull": lambda d, t: d.Weibull(t([1.0, 0.5]), t([1.5, 3.0])),
    "wishart": lambda d, t: d.Wishart(t([4.0, 7.5]), t([_A, _B])),
    "wishart by precision": lambda d, t: d.Wishart(t(5.0), precision_matrix=t(_A)),
    "wishart by factor": lambda d, t: d.Wishart(t(5.0), scale_tril=t(_L)),
}
"""By name; together they hold every family, each parameterization and shapes of batches."""


def make(library: Any, name: str, dtype: str = "float64") -> Any:
    """The distribution `name` of a library, parameters in `dtype`."""
    kind = getattr(library, dtype)
    return FAMILIES[name](library.distributions, lambda values: library.tensor(values, dtype=kind))
