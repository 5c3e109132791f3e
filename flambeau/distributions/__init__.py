"""Probability distributions with PyTorch's names, shapes and random streams.

Enter here: distributions, one family a file.
"""

from __future__ import annotations

from .continuous import Beta, Dirichlet, Exponential, Gamma, Normal, Uniform
from .discrete import Bernoulli, Binomial, Categorical, Poisson
from .distribution import Distribution

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "Gamma",
    "Normal",
    "Poisson",
    "Uniform",
]
