"""Probability distributions with PyTorch's names, shapes and random streams.

Enter here: distributions, one field a file. What they share is in `distribution`: a family is
declared by its parameters' constraints, from which checks, expansion and printing follow.

For a seed, samples are PyTorch's, number by number, with two exceptions. `LKJCholesky` of more than
two variables draws from its density, which PyTorch's misses; `Wishart` keeps its first draws, which
PyTorch takes for singular and draws once more.
"""

from __future__ import annotations

import sys

from . import constraints as constraints
from . import kl as kl
from . import transforms as transforms
from . import utils as utils
from .categorical import (
    Categorical,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from .composition import Independent, MixtureSameFamily, TransformedDistribution
from .constraint_registry import biject_to, transform_to
from .continuous import (
    Cauchy,
    Exponential,
    GeneralizedPareto,
    Laplace,
    Normal,
    Uniform,
    VonMises,
)
from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Binomial, Geometric, NegativeBinomial, Poisson
from .distribution import Distribution
from .exponential_family import ExponentialFamily
from .gamma import Beta, Chi2, Dirichlet, FisherSnedecor, Gamma, StudentT
from .kl import kl_divergence, register_kl
from .matrices import LKJCholesky, Wishart
from .multivariate import LowRankMultivariateNormal, MultivariateNormal
from .relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from .transformed import (
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Kumaraswamy,
    LogisticNormal,
    LogNormal,
    Pareto,
    Weibull,
)
from .transforms import *  # noqa: F403

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ContinuousBernoulli",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "StudentT",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "kl_divergence",
    "register_kl",
    "transform_to",
]
__all__ += transforms.__all__

# PyTorch has a module for each family; a program may import a family from there.
_MODULES = {
    "bernoulli": "discrete",
    "beta": "gamma",
    "binomial": "discrete",
    "cauchy": "continuous",
    "chi2": "gamma",
    "dirichlet": "gamma",
    "exp_family": "exponential_family",
    "exponential": "continuous",
    "fishersnedecor": "gamma",
    "generalized_pareto": "continuous",
    "geometric": "discrete",
    "gumbel": "transformed",
    "half_cauchy": "transformed",
    "half_normal": "transformed",
    "independent": "composition",
    "inverse_gamma": "transformed",
    "kumaraswamy": "transformed",
    "laplace": "continuous",
    "lkj_cholesky": "matrices",
    "log_normal": "transformed",
    "logistic_normal": "transformed",
    "lowrank_multivariate_normal": "multivariate",
    "mixture_same_family": "composition",
    "multinomial": "categorical",
    "multivariate_normal": "multivariate",
    "negative_binomial": "discrete",
    "normal": "continuous",
    "one_hot_categorical": "categorical",
    "pareto": "transformed",
    "poisson": "discrete",
    "relaxed_bernoulli": "relaxed",
    "relaxed_categorical": "relaxed",
    "studentT": "gamma",
    "transformed_distribution": "composition",
    "uniform": "continuous",
    "von_mises": "continuous",
    "weibull": "transformed",
    "wishart": "matrices",
}
for _name, _home in _MODULES.items():
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = sys.modules[f"{__name__}.{_home}"]
