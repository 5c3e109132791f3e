"""Exponential families: densities exp(<t(x), eta> - A(eta) + k(x))."""

from __future__ import annotations

from typing import Any

from ..autograd import enable_grad, grad
from ..tensor import Tensor
from .distribution import Distribution, Family


class ExponentialFamily(Distribution):
    """A distribution of density exp(<t(x), eta> - A(eta) + k(x)).

    Subclasses give the natural parameters eta (`_natural_params`), the log normalizer A
    (`_log_normalizer`) and the mean of the carrier measure k (`_mean_carrier_measure`).
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy as a Bregman divergence of the log normalizer (Nielsen and Nock 2010)."""
        carrier = -self._mean_carrier_measure
        normalizer, products = bregman_terms(self)
        total = carrier + normalizer
        for p in products:
            total = total - p.reshape((*self._batch_shape, -1)).sum(-1)
        return total


class ExponentialFamilyMember(Family, ExponentialFamily):
    """An exponential family of this library."""


def bregman_terms(p: Any, at: tuple[Tensor, ...] | None = None) -> tuple[Tensor, list[Tensor]]:
    """The log normalizer of `p`, and its gradient times the natural parameters (less `at`)."""
    with enable_grad():
        own = [x.detach().requires_grad_() for x in p._natural_params]
        normalizer = p._log_normalizer(*own)
        gradients = grad(normalizer.sum(), own, create_graph=True)
    if at is None:
        return normalizer, [x * g for x, g in zip(own, gradients, strict=True)]
    return normalizer, [(b - a) * g for a, b, g in zip(own, at, gradients, strict=True)]
