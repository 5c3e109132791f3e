"""Losses over classes: cross-entropy in its forms, and hinge losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...dtypes import int64
from ...tensor import functions as fl
from .activations import logsigmoid
from .reductions import check_reduction, reduce_loss, reduction_name

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "soft_margin_loss",
]


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood ``-weight[y] * input[n, y]`` of the target classes.

    Args:
        input: log-probabilities (N, C), (C,) or (N, C, d1, ...).
        target: int64 classes (N,), () or (N, d1, ...).
        weight: (C,), one for each class; the mean is over the weights of the targets.
        ignore_index: a target that counts for nothing.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    return fl.nll_loss(input, target, weight=weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of logits with classes or with class probabilities.

    Args:
        input: logits (N, C), (C,) or (N, C, d1, ...).
        target: int64 classes (N,), () or (N, d1, ...), or probabilities in the input's shape.
        weight: (C,), one for each class.
        ignore_index: a target class that counts for nothing.
        label_smoothing: mass in [0, 1] spread evenly over the classes (Szegedy et al., 2016).

    >>> cross_entropy(fl.zeros(2, 4), fl.tensor([0, 3])).item() == fl.tensor(4.0).log().item()
    True
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    return fl.cross_entropy_loss(input, target, weight, reduction, ignore_index, label_smoothing)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy ``-(y log p + (1 - y) log(1 - p))`` of probabilities, logs kept above -100.

    Raises ValueError when input and target differ in shape.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    return fl.binary_cross_entropy(input, target, weight=weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    ``pos_weight`` multiplies the part of the positive targets; it broadcasts against the input.
    Raises ValueError when input and target differ in shape.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    return fl.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Logistic loss ``log(1 + exp(-target * input))`` with targets 1 and -1."""
    reduction = reduction_name(size_average, reduce, reduction)
    return reduce_loss((-target * input).exp().log1p(), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the classes of the binary cross-entropy of logits (N, C) with targets 0 and 1."""
    reduction = reduction_name(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    loss = loss.sum(dim=input.dim() - 1) / input.size(input.dim() - 1)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return reduce_loss(loss, reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss ``sum_j max(0, margin - x[y] + x[j])^p / C`` over the classes j other than y.

    ``input`` is (N, C) or (C,), ``target`` int64 (N,) or (). Raises ValueError for p other
    than 1 and 2, RuntimeError for a target that does not fit.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    scores = input if input.dim() == 2 else input.reshape(1, -1)
    count, classes = scores.shape
    if target.dim() > 1 or target.numel() != count:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of "
            f"input samples (batch size). Expected target size [{count}], but got "
            f"{list(target.shape)}. Input has shape {list(input.shape)}."
        )
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
        )
    if target.dtype is not int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype}")
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(
            f"expected scalar type {input.dtype.title} but found {weight.dtype.title}"
        )
    labels = target if target.dim() else target.reshape(1)
    loss = fl.class_margins(scores, labels, weight, p, float(margin), reduction)
    return loss.squeeze(0) if reduction == "none" and not target.dim() else loss


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss of every target class against every other class, divided by the class count.

    ``input`` and the int64 ``target`` are (N, C) or (C,); a row's targets end at its first -1.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    check_reduction(reduction)
    if target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    if input.dim() > 2 or (input.dim() and not input.size(-1)):
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )
    if target.dtype is not int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.title}")
    if input.dim() > 1:
        return fl.listed_margins(input, target, reduction)
    loss = fl.listed_margins(input.reshape(1, -1), target.reshape(1, -1), reduction)
    return loss.squeeze(0) if reduction == "none" else loss
