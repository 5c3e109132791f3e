"""The continuous Bernoulli distribution (Loaiza-Ganem and Cunningham 2019)."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from . import constraints
from .discrete import cross_entropy
from .distribution import Shape
from .exponential_family import ExponentialFamilyMember
from .odds import ByOdds, one_of
from .utils import broadcast_all, clamp_probs


class ContinuousBernoulli(ByOdds, ExponentialFamilyMember):
    """Numbers of [0, 1] with density proportional to ``probs**x * (1 - probs)**(1 - x)``.

    Near probs = 0.5, between `lims`, the exact formulas divide by 0; there, Taylor's are used.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._given = one_of(probs, logits)
        if self._given == "probs":
            (self.probs,) = broadcast_all(probs)
            checks = self._validate_args if validate_args is None else validate_args
            if checks and not bool(self.arg_constraints["probs"].check(self.probs).all()):
                raise ValueError(f"The parameter probs has invalid values: {self.probs}")
            self.probs = clamp_probs(self.probs)
        else:
            (self.logits,) = broadcast_all(logits)
        self._lims = lims
        super().__init__(self._param.size(), validate_args=validate_args)

    def _exact_or_taylor(self) -> tuple[Tensor, Tensor]:
        """Where the exact formulas hold, and probabilities for them: harmless ones elsewhere."""
        low, high = self._lims
        exact = (self.probs <= low) | (self.probs > high)
        return exact, fl.where(exact, self.probs, low)

    def _log_norm(self) -> Tensor:
        """The logarithm of the constant that makes the density integrate to 1."""
        exact, p = self._exact_or_taylor()
        odds = ((-p).log1p() - p.log()).abs().log()
        below = fl.where(p <= 0.5, p, 0.0)
        above = fl.where(p >= 0.5, p, 1.0)
        gap = fl.where(p <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())
        x = (self.probs - 0.5).pow(2)
        return fl.where(exact, odds - gap, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        exact, p = self._exact_or_taylor()
        mean = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        x = self.probs - 0.5
        return fl.where(exact, mean, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def variance(self) -> Tensor:
        exact, p = self._exact_or_taylor()
        variance = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2)
        variance = variance + 1.0 / ((-p).log1p() - p.log()).pow(2)
        x = (self.probs - 0.5).pow(2)
        return fl.where(exact, variance, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(fl.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        return -cross_entropy(self.logits, value) + self._log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        self._check_value(value)
        exact, p = self._exact_or_taylor()
        inside = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = fl.where(exact, inside, value)
        return fl.where(value <= 0.0, 0.0, fl.where(value >= 1.0, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        exact, p = self._exact_or_taylor()
        top = (-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()
        return fl.where(exact, top / (p.log() - (-p).log1p()), value)

    def entropy(self) -> Tensor:
        log0, log1 = (-self.probs).log1p(), self.probs.log()
        return self.mean * (log0 - log1) - self._log_norm() - log0

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        x = natural_params[0]
        low, high = self._lims[0] - 0.5, self._lims[1] - 0.5
        exact = (x <= low) | (x > high)
        safe = fl.where(exact, x, low)
        taylor = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return fl.where(exact, safe.expm1().abs().log() - safe.abs().log(), taylor)
