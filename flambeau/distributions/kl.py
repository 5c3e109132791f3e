"""Kullback-Leibler divergences: E_p[log p(x) - log q(x)], by the pair of families.

Between different families, that is -entropy(p) - E_p[log q(x)]: for each family of q one function,
which asks p for the moments that log q needs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .categorical import Categorical, OneHotCategorical
from .composition import Independent, TransformedDistribution
from .continuous import Cauchy, Exponential, Laplace, Normal, Uniform
from .continuous_bernoulli import ContinuousBernoulli
from .discrete import Bernoulli, Binomial, Geometric, Poisson
from .distribution import Distribution
from .exponential_family import ExponentialFamily, bregman_terms
from .gamma import Beta, Dirichlet, Gamma
from .multivariate import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    half_log_det,
    low_rank_distance,
    low_rank_log_det,
    squared_distance,
)
from .transformed import Gumbel, HalfNormal, Pareto
from .utils import euler_constant, sum_rightmost

Divergence = Callable[[Any, Any], Tensor]

_registry: dict[tuple[type, type], Divergence] = {}
_found: dict[tuple[type, type], Divergence | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """A decorator that enters the divergence of `type_p` from `type_q` and of their subclasses."""
    if not (isinstance(type_p, type) and issubclass(type_p, Distribution)):
        raise TypeError(f"Expected type_p to be a Distribution subclass but got {type_p}")
    if not (isinstance(type_q, type) and issubclass(type_q, Distribution)):
        raise TypeError(f"Expected type_q to be a Distribution subclass but got {type_q}")

    def enter(divergence: Divergence) -> Divergence:
        _registry[type_p, type_q] = divergence
        _found.clear()
        return divergence

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The divergence of `p` from `q`, for each of the batch.

    NotImplementedError for a pair of families that none is registered for.
    """
    pair = type(p), type(q)
    if pair not in _found:
        _found[pair] = _nearest(*pair)
    divergence = _found[pair]
    if divergence is None:
        raise NotImplementedError(
            "No KL(p || q) is implemented for p type "
            f"{pair[0].__name__} and q type {pair[1].__name__}"
        )
    return divergence(p, q)


def _nearest(type_p: type, type_q: type) -> Divergence | None:
    """The divergence that is registered for the nearest ancestors, those of p first."""
    up_p, up_q = type_p.__mro__, type_q.__mro__
    distances = {
        (up_p.index(a), up_q.index(b)): f
        for (a, b), f in _registry.items()
        if a in up_p and b in up_q
    }
    if not distances:
        return None
    by_p, by_q = min(distances), min(distances, key=lambda d: (d[1], d[0]))
    if distances[by_p] is not distances[by_q]:
        names = [f"{up_p[i].__name__}, {up_q[j].__name__}" for i, j in (by_p, by_q)]
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}): the registered "
            f"({names[0]}) and ({names[1]}) both fit. Please register_kl"
            f"({up_p[by_p[0]].__name__}, {up_q[by_q[1]].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return distances[by_p]


def _register(ps: tuple[type, ...], qs: tuple[type, ...], divergence: Divergence) -> None:
    for p in ps:
        for q in qs:
            register_kl(p, q)(divergence)


# ---------------------------------------------------------------- the same family
@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    ones = p.probs * (fl.softplus(-q.logits) - fl.softplus(-p.logits))
    zeros = (1 - p.probs) * (fl.softplus(q.logits) - fl.softplus(p.logits))
    ones = fl.where(p.probs == 0, 0.0, fl.where(q.probs == 0, math.inf, ones))
    return ones + fl.where(p.probs == 1, 0.0, fl.where(q.probs == 1, math.inf, zeros))


@register_kl(Binomial, Binomial)
def _binomials(p: Binomial, q: Binomial) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    each = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return fl.where(p.total_count > q.total_count, math.inf, p.total_count * each)


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    each = fl.where(p.probs == 0, 0.0, fl.where(q.probs == 0, math.inf, each))
    return each.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categoricals(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoullis(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    norms = p._log_norm() + (-p.probs).log1p() - q._log_norm() - (-q.probs).log1p()
    return p.mean * (p.logits - q.logits) + norms


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norms = fl.lgamma(total) - fl.lgamma(b.sum(-1)) - (fl.lgamma(a) - fl.lgamma(b)).sum(-1)
    mean_logs = fl.digamma(a) - fl.digamma(total).unsqueeze(-1)
    return norms + ((a - b) * mean_logs).sum(-1)


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Tensor:
    return _dirichlets(p._dirichlet, q._dirichlet)


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    norms = b * (p.rate / q.rate).log() + fl.lgamma(b) - fl.lgamma(a)
    return norms + (a - b) * fl.digamma(a) + (q.rate - p.rate) * (a / p.rate)


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Gumbel, q: Gumbel) -> Tensor:
    ratio, gap = p.scale / q.scale, (q.loc - p.loc) / q.scale
    tail = (gap + fl.lgamma(1 + ratio)).exp()
    return -ratio.log() - gap + ratio * euler_constant + tail - (1 + euler_constant)


@register_kl(Geometric, Geometric)
def _geometrics(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Normal, Normal)
def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normals(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, gap = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + gap / q.scale + ratio * (-gap / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Cauchy, q: Cauchy) -> Tensor:
    """Chyzak and Nielsen 2019."""
    apart = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return apart.log() - (4 * p.scale * q.scale).log()


@register_kl(Pareto, Pareto)
def _paretos(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    inside = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return fl.where(p.scale < q.scale, math.inf, inside)


@register_kl(Poisson, Poisson)
def _poissons(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    inside = ((q.high - q.low) / (p.high - p.low)).log()
    return fl.where((q.low > p.low) | (q.high < p.high), math.inf, inside)


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_families(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """The Bregman divergence of the log normalizer (Nielsen and Nock 2010)."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed "
            "using Bregman divergences"
        )
    at = q._natural_params
    normalizer, products = bregman_terms(p, at)
    total = q._log_normalizer(*at) - normalizer
    for product in products:
        total = total - sum_rightmost(product, product.dim() - total.dim())
    return total


# ---------------------------------------------------------------- distributions of distributions
@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("the transforms of p and q differ")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("p and q reinterpret different numbers of dimensions")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


# ---------------------------------------------------------------- normal vectors
def _normal_vectors(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event "
            "shapes cannot be computed"
        )
    distance = _distance_by(q, q.loc - p.loc)
    gap = _log_det(q) - _log_det(p)
    return 0.5 * (gap + _trace_by(q, p) + distance - p.event_shape[0])


def _log_det(p: Any) -> Tensor:
    if isinstance(p, MultivariateNormal):
        return 2 * half_log_det(p._factor)
    return low_rank_log_det(p._factor, p._diag, p._capacitance)


def _distance_by(q: Any, x: Tensor) -> Tensor:
    if isinstance(q, MultivariateNormal):
        return squared_distance(q._factor, x)
    return low_rank_distance(q._factor, q._diag, q._capacitance, x)


def _trace_by(q: Any, p: Any) -> Tensor:
    """The trace of inv(covariance of q) @ covariance of p."""
    diag = None if isinstance(p, MultivariateNormal) else p._diag
    if isinstance(q, MultivariateNormal):
        trace = _squares(_solved(q._factor, p._factor))
        if diag is not None:
            trace = trace + _squares(_solved(q._factor, diag.sqrt().diag_embed()))
        return trace
    inner = _solved(q._capacitance, q._factor.mT / q._diag.unsqueeze(-2))
    trace = _squares(p._factor / q._diag.sqrt().unsqueeze(-1)) - _squares(inner @ p._factor)
    if diag is not None:
        trace = trace + (diag / q._diag).sum(-1) - _squares(inner * diag.sqrt().unsqueeze(-2))
    return trace


def _solved(factor: Tensor, matrix: Tensor) -> Tensor:
    return fl.linalg_solve_triangular(factor, matrix, upper=False)


def _squares(matrix: Tensor) -> Tensor:
    return matrix.pow(2).sum([-2, -1])


_NORMAL_VECTORS = (MultivariateNormal, LowRankMultivariateNormal)
_register(_NORMAL_VECTORS, _NORMAL_VECTORS, _normal_vectors)


# ---------------------------------------------------------------- what log q needs of p
def _mean_log(p: Any) -> Tensor:
    """E[log x]."""
    if isinstance(p, Beta):
        return fl.digamma(p.concentration1) - fl.digamma(p.concentration1 + p.concentration0)
    if isinstance(p, Exponential):
        return -p.rate.log() - euler_constant
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (_x_log_x(p.high) - _x_log_x(p.low)) / (p.high - p.low) - 1


def _x_log_x(x: Tensor) -> Tensor:
    return fl.xlogy(x, x)


def _mean_exp(p: Any, rate: Tensor) -> Tensor:
    """E[exp(-rate x)]."""
    if isinstance(p, Exponential):
        return p.rate / (p.rate + rate)
    if isinstance(p, Gamma):
        return (1 + rate / p.rate).pow(-p.concentration)
    if isinstance(p, Normal):
        return (0.5 * (p.scale * rate).pow(2) - p.loc * rate).exp()
    return ((-p.low * rate).exp() - (-p.high * rate).exp()) / ((p.high - p.low) * rate)


def _unless_outside(p: Any, low: Any, high: Any, divergence: Tensor) -> Tensor:
    """`divergence`, but infinity where p, if uniform or on [0, 1], reaches outside the bounds."""
    if isinstance(p, Uniform):
        return fl.where((p.low < low) | (p.high > high), math.inf, divergence)
    if isinstance(p, (Beta, ContinuousBernoulli)) and isinstance(low, Tensor):
        return fl.where((low > 0) | (high < 1), math.inf, divergence)
    return divergence


def _to_normal(p: Any, q: Normal) -> Tensor:
    square = q.scale.pow(2)
    spread = p.variance + (p.mean - q.loc).pow(2)
    return -p.entropy() + 0.5 * (2 * math.pi * square).log() + 0.5 * spread / square


def _to_exponential(p: Any, q: Exponential) -> Tensor:
    divergence = -p.entropy() - q.rate.log() + q.rate * p.mean
    return _unless_outside(p, 0, math.inf, divergence)


def _to_gamma(p: Any, q: Gamma) -> Tensor:
    norm = fl.lgamma(q.concentration) - q.concentration * q.rate.log()
    divergence = -p.entropy() + norm - (q.concentration - 1) * _mean_log(p) + q.rate * p.mean
    return _unless_outside(p, 0, math.inf, divergence)


def _to_gumbel(p: Any, q: Gumbel) -> Tensor:
    tail = (q.loc / q.scale).exp() * _mean_exp(p, q.scale.reciprocal())
    return -p.entropy() + (p.mean - q.loc) / q.scale + tail + q.scale.log()


def _to_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    divergence = -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._log_norm()
    return _unless_outside(p, 0, 1, divergence)


def _to_uniform(p: Any, q: Uniform) -> Tensor:
    return _unless_outside(p, q.low, q.high, -p.entropy() + (q.high - q.low).log())


@register_kl(Uniform, Beta)
def _uniform_to_beta(p: Uniform, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    norm = fl.lgamma(a) + fl.lgamma(b) - fl.lgamma(a + b)
    mean_log_rest = (_x_log_x(1 - p.low) - _x_log_x(1 - p.high)) / (p.high - p.low) - 1
    divergence = -p.entropy() + norm - (a - 1) * _mean_log(p) - (b - 1) * mean_log_rest
    return _unless_outside(p, 0, 1, divergence)


@register_kl(Uniform, Pareto)
def _uniform_to_pareto(p: Uniform, q: Pareto) -> Tensor:
    norm = q.alpha.log() + q.alpha * q.scale.log()
    divergence = -p.entropy() - norm + (q.alpha + 1) * _mean_log(p)
    return _unless_outside(p, q.scale, math.inf, divergence)


@register_kl(Normal, Laplace)
def _normal_to_laplace(p: Normal, q: Laplace) -> Tensor:
    gap = p.loc - q.loc
    z = gap / p.scale
    near = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z.pow(2)).exp()
    distance = near + gap * fl.erf(math.sqrt(0.5) * z)
    return -p.entropy() + (2 * q.scale).log() + distance / q.scale


@register_kl(Bernoulli, Poisson)
def _bernoulli_to_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


def _infinite(p: Any, q: Any) -> Tensor:
    """p has values that q has not."""
    shape = fl.broadcast_shapes(p.batch_shape, q.batch_shape)
    return fl.full(shape, math.inf, dtype=p.mean.dtype, device=p.mean.device)


_ON_UNIT = (Beta, ContinuousBernoulli)
_ON_LINE = (Gumbel, Laplace, Normal)
_register((Uniform, *_ON_UNIT, Exponential, Gamma, Gumbel, Laplace, Pareto), (Normal,), _to_normal)
_register((Uniform, *_ON_UNIT, Gamma, Pareto), (Exponential,), _to_exponential)
_register((Uniform, Beta, Exponential, Pareto), (Gamma,), _to_gamma)
_register((Uniform, Exponential, Gamma, Normal), (Gumbel,), _to_gumbel)
_register((Uniform, Beta), (ContinuousBernoulli,), _to_continuous_bernoulli)
_register(_ON_UNIT, (Uniform,), _to_uniform)
_register(_ON_UNIT, (Pareto,), _infinite)
_register((Exponential, Gamma), (*_ON_UNIT, Pareto, Uniform), _infinite)
_register(_ON_LINE, (*_ON_UNIT, Exponential, Gamma, Pareto, Uniform), _infinite)
_register((Pareto,), (*_ON_UNIT, Uniform), _infinite)
_register((Poisson,), (Bernoulli, Binomial), _infinite)

__all__ = ["kl_divergence", "register_kl"]
