"""Distributions that are given by probabilities or by log-odds."""

from __future__ import annotations

from typing import Any

from ..tensor import Size, Tensor
from .distribution import Distribution
from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


def one_of(probs: Any, logits: Any) -> str:
    """Which of the two is given; ValueError unless one is."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return "logits" if probs is None else "probs"


class ByOdds(Distribution):
    """Given by `probs` or `logits`, which `_given` names; the other one is computed when read."""

    _given: str
    _is_binary = True

    def _take(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keep the parameter that is given; `others` in its shape, to which they add theirs."""
        self._given = one_of(probs, logits)
        *rest, param = broadcast_all(*others, probs if logits is None else logits)
        setattr(self, self._given, param)
        return rest

    @lazy_property
    def logits(self) -> Tensor:
        """The log-odds, or for more than two choices the logarithms of `probs`."""
        return probs_to_logits(self.probs, is_binary=self._is_binary)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits, is_binary=self._is_binary)

    @property
    def _param(self) -> Tensor:
        return self.logits if self._given == "logits" else self.probs

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()
