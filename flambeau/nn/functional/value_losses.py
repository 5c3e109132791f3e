"""Losses between numbers: squared and absolute error and their kin, and likelihoods of numbers."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from ...autograd import no_grad
from ...tensor import functions as fl
from .reductions import check_reduction, reduce_loss, reduction_name

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def _warn_broadcast(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _times(loss: Tensor, weight: Tensor) -> Tensor:
    if weight.shape != loss.shape:
        raise ValueError("Weights and input must have the same size.")
    return loss * weight


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """Reduces an element-wise loss with a weight for each element; the mean is a weighted one."""
    loss = _times(loss, weight)
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduce_loss(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error ``(input - target) ** 2``, reduced; ``weight`` has the input's shape.

    >>> mse_loss(fl.tensor([1.0, 2.0]), fl.tensor([1.0, 4.0])).item()
    2.0
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    _warn_broadcast(input, target)
    if weight is not None:
        return _weighted((input - target) ** 2, weight, reduction)
    return fl.mse_loss(input, target, reduction=reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error ``|input - target|``, reduced; ``weight`` has the input's shape."""
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    _warn_broadcast(input, target)
    if weight is not None:
        return _weighted((input - target).abs(), weight, reduction)
    return fl.l1_loss(input, target, reduction=reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Quadratic below an error of ``beta``, linear with slope 1 above (Fast R-CNN, 2015).

    Raises RuntimeError for a negative ``beta``; with 0 it is `l1_loss`.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    _warn_broadcast(input, target)
    return fl.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Quadratic up to an error of ``delta``, linear with slope ``delta`` above (Huber, 1964).

    Raises RuntimeError for a ``delta`` that is not positive.
    """
    check_reduction(reduction)
    _warn_broadcast(input, target)
    if weight is None:
        return fl.huber_loss(input, target, reduction=reduction, delta=delta)
    loss = fl.huber_loss(input, target, reduction="none", delta=delta)
    return reduce_loss(_times(loss, weight), reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence of ``target`` from ``input``, which holds log-probabilities.

    With ``log_target`` the target holds logarithms too. ``reduction="batchmean"`` divides the
    sum by the batch size, which is the divergence proper; "mean" divides by all elements.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if not (input.dtype.inexact and target.dtype.inexact):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size. 'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.",
            stacklevel=2,
        )
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = fl.xlogy(target, target) - target * input
    if reduction == "batchmean":
        total = loss.sum()
        return total / input.size(0) if input.dim() else total
    return reduce_loss(loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of counts ``target`` under Poisson rates ``input``.

    ``log_input`` says that the input is the logarithm of the rate; ``full`` adds Stirling's
    approximation of ``log(target!)`` where the target is above 1.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    rate, log_rate = (input.exp(), input) if log_input else (input, (input + eps).log())
    loss = rate - target * log_rate
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of ``target`` under normals of mean ``input`` and variance ``var``.

    ``var`` has the input's shape, or that with the last dimension 1 or left out, or is a number;
    it is clamped from below at ``eps``. ``full`` adds the constant. Raises ValueError for other
    shapes and for negative variances.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = fl.full_like(input, var)
    elif (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif not (input.dim() == var.dim() and _alike_but_for_ones(input, var)):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    var = var.clone()
    with no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)


def _alike_but_for_ones(input: Tensor, var: Tensor) -> bool:
    return all(v in (n, 1) for n, v in zip(input.shape, var.shape, strict=True))
