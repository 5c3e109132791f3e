"""The checks of options that several optimizers make, with PyTorch's messages."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

__all__ = ["check_betas", "check_choices", "check_lr", "check_not_negative"]


def check_lr(lr: Any) -> None:
    """Raise ValueError unless `lr` is a number, or a tensor of one element, of at least 0."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_not_negative(what: str, value: Any) -> None:
    """Raise ValueError unless ``value >= 0``; `what` names the option."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what} value: {value}")


def check_betas(betas: tuple[Any, Any]) -> None:
    """Raise ValueError unless both decay rates lie in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_choices(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raise RuntimeError for combinations of implementation choices that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
