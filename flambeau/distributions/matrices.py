"""Distributions over matrices: covariances and correlations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from numbers import Number
from typing import Any

from ..autograd import no_grad
from ..dtypes import finfo
from ..tensor import Size, Tensor
from ..tensor import functions as fl
from . import constraints
from .distribution import Family, Shape
from .exponential_family import ExponentialFamily
from .gamma import Beta, Chi2
from .multivariate import ByMatrix, half_log_det, only_matrix
from .utils import broadcast_all, standard_normal


class Wishart(ByMatrix, ExponentialFamily):
    """Sums of `df` outer products of normal vectors of mean 0 and the given covariance.

    Sampled by Bartlett's decomposition (1933).
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = only_matrix(
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional")
        if isinstance(df, Number):
            df = fl.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch, event = fl.broadcast_shapes(matrix.shape[:-2], df.shape), matrix.shape[-2:]
        if bool((df <= event[-1] - 1).any()):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event[-1] - 1}."
            )
        if bool((df < event[-1]).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for "
                "ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self.df = df.expand(batch)
        setattr(self, name, matrix.expand((*batch, *event)))
        self._event_shape = event  # the constraint of df asks for it
        super().__init__(batch, event, validate_args=validate_args)
        self._set_factor(name, matrix)
        self._chi2 = self._diagonal()

    def _diagonal(self) -> Chi2:
        """The distributions of the squares on the diagonal of Bartlett's factor."""
        steps = fl.arange(self._event_shape[-1], dtype=self.df.dtype, device=self.df.device)
        return Chi2(self.df.unsqueeze(-1) - steps)

    def _expanded(self, name: str, value: Any, batch_shape: Size) -> Any:
        if name == "_chi2":
            return value.expand(batch_shape + self._event_shape[-1:])
        return super()._expanded(name, value, batch_shape)

    @property
    def arg_constraints(self) -> Mapping[str, constraints.Constraint]:
        """Degrees of freedom for which the density exists, and a matrix."""
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return fl.where(factor <= 0, math.nan, factor)[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df[..., None, None] * (v.pow(2) + products)

    def _bartlett(self, sample_shape: Shape) -> Tensor:
        p = self._event_shape[-1]
        diagonal = self._chi2.rsample(sample_shape).sqrt().diag_embed()
        rows, columns = fl.tril_indices(p, p, -1, device=diagonal.device)
        below = fl.zeros_like(diagonal)
        shape = (*sample_shape, *self._batch_shape, p * (p - 1) // 2)
        below[..., rows, columns] = standard_normal(shape, diagonal)
        factor = self._factor @ (diagonal + below)
        return factor @ factor.mT

    def rsample(self, sample_shape: Shape = (), max_try_correction: int | None = None) -> Tensor:
        """Draw samples; those that came out singular are drawn anew, up to a number of times."""
        tries = max_try_correction
        if tries is None:
            tries = 3 if self._event_shape[-1] > 3 else 10
        sample_shape = Size(sample_shape)
        sample = self._bartlett(sample_shape)
        singular = self._singular(sample)
        if bool(singular.any()):
            warnings.warn("Singular sample detected.", stacklevel=2)
            for _ in range(tries):
                again = self._bartlett((int(singular.sum()),))
                sample = sample.index_put((singular,), again)
                singular = self._singular(sample)
                if not bool(singular.any()):
                    break
        return sample

    def _singular(self, sample: Tensor) -> Tensor:
        """Which of the draws of the whole batch hold a singular matrix."""
        fits = self.support.check(sample.detach())
        dims = tuple(range(-len(self._batch_shape), 0))
        return ~(fits.all(dims) if dims else fits)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        nu, p = self.df, self._event_shape[-1]
        solved = fl.cholesky_solve(value, self._factor)
        return (
            -nu * (p * math.log(2.0) / 2 + half_log_det(self._factor))
            - fl.mvlgamma(nu / 2, p)
            + (nu - p - 1) / 2 * fl.linalg_slogdet(value)[1]
            - solved.diagonal(dim1=-2, dim2=-1).sum(-1) / 2
        )

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        steps = fl.arange(p, dtype=nu.dtype, device=nu.device) / 2
        digammas = fl.digamma((nu / 2).unsqueeze(-1) - steps).sum(-1)
        return (
            (p + 1) * (p * math.log(2.0) / 2 + half_log_det(self._factor))
            + fl.mvlgamma(nu / 2, p)
            - (nu - p - 1) / 2 * digammas
            + nu * p / 2
        )

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        x, y = natural_params
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        return half * (p * math.log(2.0) - fl.linalg_slogdet(-2 * x)[1]) + fl.mvlgamma(half, p)


class LKJCholesky(Family):
    """Cholesky factors of correlation matrices R of density det(R)^(concentration - 1).

    Sampled by the onion method (Lewandowski, Kurowicka and Joe 2009).
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # Row i is sqrt(y) times a point of the sphere in i dimensions, where y is a beta number.
        dtype, device = self.concentration.dtype, self.concentration.device
        half = 0.5 * (fl.arange(dim, dtype=dtype, device=device) - 1).clamp(min=0)
        marginal = self.concentration.unsqueeze(-1) + 0.5 * (dim - 2)
        self._beta = Beta(half + 0.5, marginal - half)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def _expanded(self, name: str, value: Any, batch_shape: Size) -> Any:
        if name == "_beta":
            return value.expand(batch_shape + value.batch_shape[-1:])
        return super()._expanded(name, value, batch_shape)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            noise = standard_normal(self._extended_shape(sample_shape), y).tril(-1)
            sphere = noise / fl.linalg_norm(noise, dim=-1, keepdim=True)
            sphere[..., 0, :] = 0.0  # nothing stands in the first row, so that was 0 / 0
            w = y.sqrt() * sphere
            rest = (1 - w.pow(2).sum(-1)).clamp(min=finfo(w.dtype).tiny)
            return w + rest.sqrt().diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        n, c = self.dim, self.concentration
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = n - fl.arange(2, n + 1, dtype=diagonal.dtype, device=diagonal.device)
        order = 2 * (c - 1).unsqueeze(-1) + order
        alpha = c + 0.5 * (n - 1)
        normalizer = (
            0.5 * (n - 1) * math.log(math.pi)
            + fl.mvlgamma(alpha - 0.5, n - 1)
            - fl.lgamma(alpha) * (n - 1)
        )
        return (order * diagonal.log()).sum(-1) - normalizer
