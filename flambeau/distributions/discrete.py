"""Discrete distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import no_grad
from ..dtypes import finfo
from ..tensor import Tensor
from ..tensor import functions as fl
from .distribution import Distribution, anything, broadcast, unit


def _logits_of(probs: Tensor, is_binary: bool) -> Tensor:
    eps = finfo(probs.dtype).eps
    clamped = probs.clamp(min=eps, max=1 - eps)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class Bernoulli(Distribution):
    """One with probability `probs` (or ``sigmoid(logits)``), else zero."""

    checks = {"probs": ("between 0 and 1", unit)}

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        if probs is not None:
            (self.probs,) = broadcast(probs)
            self.logits = _logits_of(self.probs, True)
        else:
            (self.logits,) = broadcast(logits)
            self.probs = self.logits.sigmoid()
        super().__init__(self.probs.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return fl.bernoulli(self.probs.expand(self._shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return (
            value * self.logits
            - fl.maximum(self.logits, fl.zeros_like(self.logits))
            - ((-self.logits.abs()).exp().log1p())
        )

    def entropy(self) -> Tensor:
        p = self.probs
        return -(fl.xlogy(p, p) + fl.xlogy(1 - p, 1 - p))


class Binomial(Distribution):
    """Successes in `total_count` trials of probability `probs`."""

    checks = {"probs": ("between 0 and 1", unit)}

    def __init__(self, total_count: Any, probs: Any, validate_args: bool | None = None) -> None:
        self.total_count, self.probs = broadcast(total_count, probs)
        super().__init__(self.probs.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._shape(sample_shape)
        return fl.binomial(self.total_count.expand(shape), self.probs.detach().expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        n, p = self.total_count, self.probs
        choose = fl.lgamma(n + 1) - fl.lgamma(value + 1) - fl.lgamma(n - value + 1)
        return choose + fl.xlogy(value, p) + fl.xlogy(n - value, 1 - p)


class Poisson(Distribution):
    """Counts of mean `rate`."""

    checks = {"rate": ("nonnegative", lambda x: x >= 0)}

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast(rate)
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return fl.poisson(self.rate.detach().expand(self._shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return fl.xlogy(value, self.rate) - self.rate - fl.lgamma(value + 1)


class Categorical(Distribution):
    """One of the choices along the last dimension of `probs` (or ``softmax(logits)``)."""

    checks = {"probs": ("nonnegative", lambda x: x >= 0), "logits": ("real", anything)}

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        given = probs if probs is not None else logits
        if given.dim() < 1:
            raise ValueError("Categorical needs at least one dimension of choices.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
            self.logits = _logits_of(self.probs, False)
        else:
            self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)
            self.probs = fl.softmax(self.logits, -1)
        super().__init__(tuple(given.shape)[:-1], (), validate_args)

    @property
    def mean(self) -> Tensor:
        return fl.full(self.batch_shape, float("nan"), dtype=self.probs.dtype)

    variance = mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        count = 1
        for n in sample_shape:
            count *= n
        rows = self.probs.detach().reshape(-1, self.probs.size(-1))
        drawn = fl.multinomial(rows, count, True)
        return drawn.t().reshape(self._shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        index = value.long().unsqueeze(-1)
        shape = fl.broadcast_shapes(tuple(index.shape)[:-1], self.batch_shape)
        logits = self.logits.expand(*shape, self.logits.size(-1))
        return logits.gather(-1, index.expand(*shape, 1)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.logits * self.probs).sum(-1)
