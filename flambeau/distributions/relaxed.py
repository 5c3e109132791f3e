"""Continuous relaxations of discrete distributions, through which gradients flow.

Maddison, Mnih and Teh 2017; Jang, Gu and Poole 2017.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from . import constraints
from .categorical import Categorical
from .composition import TransformedDistribution
from .distribution import Family, Shape
from .odds import ByOdds
from .transforms import ExpTransform, SigmoidTransform
from .utils import broadcast_all, clamp_probs, probs_to_logits


class LogitRelaxedBernoulli(ByOdds, Family):
    """The log-odds of a relaxed Bernoulli number, at a `temperature`."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        odds = probs_to_logits(self.probs.expand(shape), is_binary=True)
        u = fl.rand(shape, dtype=odds.dtype, device=odds.device)
        return (probs_to_logits(u, is_binary=True) + odds) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        logits, value = broadcast_all(self.logits, value)
        gap = logits - value * self.temperature
        return self.temperature.log() + gap - 2 * gap.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """A number of (0, 1) that tends to a Bernoulli number as `temperature` falls to 0."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)

    temperature = property(attrgetter("base_dist.temperature"))
    probs = property(attrgetter("base_dist.probs"))
    logits = property(attrgetter("base_dist.logits"))


class ExpRelaxedCategorical(Family):
    """The logarithm of a relaxed one-hot vector, at a `temperature`."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    probs = property(attrgetter("_categorical.probs"))
    logits = property(attrgetter("_categorical.logits"))
    param_shape = property(attrgetter("_categorical.param_shape"))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u = clamp_probs(fl.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        gumbel = -((-(u.log())).log())
        scores = (self.logits + gumbel) / self.temperature
        return scores - scores.logsumexp(dim=-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check_value(value)
        count = self._categorical._num_events
        logits, value = broadcast_all(self.logits, value)
        temperature = fl.as_tensor(self.temperature, dtype=logits.dtype, device=logits.device)
        log_scale = fl.lgamma(fl.full_like(temperature, count)) + temperature.log() * (count - 1)
        score = logits - value * self.temperature
        return (score - score.logsumexp(dim=-1, keepdim=True)).sum(-1) + log_scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """A point of the simplex that tends to a one-hot vector as `temperature` falls to 0."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    temperature = property(attrgetter("base_dist.temperature"))
    probs = property(attrgetter("base_dist.probs"))
    logits = property(attrgetter("base_dist.logits"))
