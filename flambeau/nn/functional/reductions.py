"""How a loss is reduced: ``none``, ``mean`` or ``sum``, and the two old flags for it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["check_reduction", "reduce_loss", "reduction_name"]


def reduction_name(
    size_average: bool | None, reduce: bool | None, reduction: str, warn: bool = True
) -> str:
    """The reduction meant by the old flags where they are given, else ``reduction``."""
    if size_average is None and reduce is None:
        return reduction
    total = "sum" if size_average is False else "mean"
    chosen = "none" if reduce is False else total
    if warn:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{chosen}' instead.",
            stacklevel=3,
        )
    return chosen


def check_reduction(reduction: str) -> None:
    """ValueError for an unknown reduction."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """The loss itself, its mean or its sum."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    check_reduction(reduction)
    return loss
