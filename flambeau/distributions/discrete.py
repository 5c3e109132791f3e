"""Discrete distributions of one number."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..dtypes import finfo
from ..tensor import Tensor
from ..tensor import functions as fl
from . import constraints
from .distribution import Family, Shape
from .exponential_family import ExponentialFamilyMember
from .gamma import Gamma
from .odds import ByOdds
from .utils import broadcast_all, lazy_property


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The cross entropy of `target`, the probability of 1, and the log-odds `logits`."""
    logits, target = broadcast_all(logits, target)
    return fl.binary_cross_entropy_with_logits(logits, target, reduction="none")


def all_numbers(count: int, like: Family, expand: bool, **options: Any) -> Tensor:
    """0 to `count` - 1 along a new first dimension before those of the batch of `like`."""
    ones = (1,) * len(like.batch_shape)
    values = fl.arange(count, **options).reshape((-1, *ones))
    return values.expand((-1, *like.batch_shape)) if expand else values


class Bernoulli(ByOdds, ExponentialFamilyMember):
    """One with probability `probs` (or ``sigmoid(logits)``), else zero."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return fl.where(self.probs == 0.5, math.nan, mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fl.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        return -cross_entropy(self.logits, value)

    def entropy(self) -> Tensor:
        return cross_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return all_numbers(2, self, expand, dtype=self._param.dtype, device=self._param.device)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (fl.logit(self.probs),)

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        return natural_params[0].exp().log1p()


class Geometric(ByOdds, Family):
    """How many trials of probability `probs` fail before one succeeds."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)
        if self._validate_args and self._given == "probs" and not bool((self.probs > 0).all()):
            invalid = self.probs[~(self.probs > 0)]
            raise ValueError(
                f"Expected parameter probs ({type(self.probs).__name__} of shape "
                f"{tuple(self.probs.shape)}) of distribution {self!r} to be positive but found "
                f"invalid values:\n{invalid}"
            )

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return fl.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            tiny = finfo(self.probs.dtype).tiny
            u = self.probs.new_empty(shape).uniform_(tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        value, probs = broadcast_all(value, self.probs)
        # 0 failures of probability 0: 0 * log(0) counts as 0
        failing = fl.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-failing).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return cross_entropy(self.logits, self.probs) / self.probs


class Binomial(ByOdds, Family):
    """Successes in `total_count` trials of probability `probs`."""

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.size(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """Whole numbers up to `total_count`."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return fl.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        n, x = self.total_count, self.logits
        choose = fl.lgamma(n + 1) - fl.lgamma(value + 1) - fl.lgamma(n - value + 1)
        # n log(1 + exp(x)), in a form that does not overflow
        normalizer = n * x.clamp(min=0) + n * (-x.abs()).exp().log1p()
        return value * x + choose - normalizer

    def entropy(self) -> Tensor:
        self._one_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = 1 + self._one_count("enumerate_support")
        return all_numbers(count, self, expand, dtype=self._param.dtype, device=self._param.device)

    def _one_count(self, asked: str) -> int:
        most = self.total_count.max()
        if not bool((self.total_count == most).all()):
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{asked}`.")
        return int(most)


class NegativeBinomial(ByOdds, Family):
    """Successes of probability `probs` before `total_count` failures, which may be a fraction."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    @lazy_property
    def _gamma(self) -> Gamma:
        return Gamma(self.total_count, (-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fl.poisson(self._gamma.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        n, x = self.total_count, self.logits
        choose = fl.lgamma(n + value) - fl.lgamma(1.0 + value) - fl.lgamma(n)
        choose = choose.masked_fill(n + value == 0.0, 0.0)
        return n * fl.logsigmoid(-x) + value * fl.logsigmoid(x) + choose


class Poisson(ExponentialFamilyMember):
    """Counts of mean `rate`."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    variance = mean

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fl.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        rate, value = broadcast_all(self.rate, value)
        return fl.xlogy(value, rate) - rate - fl.lgamma(value + 1)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.rate.log(),)

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        return natural_params[0].exp()
