"""Adadelta."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .checks import check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT

__all__ = ["Adadelta"]


class Adadelta(ElementwiseOptimizer):
    """Adadelta (Zeiler 2012): steps in the units of the parameters, whatever the gradient's.

    `rho` is the decay rate of both averages of squares. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_not_negative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        square_avg: Any,
        acc_delta: Any,
        *,
        lr: Any,
        rho: Any,
        weight: Any,
        eps: Any,
        weight_decay: Any,
        maximize: bool,
        decays: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        square_avg = rho * square_avg + weight * g * g
        delta = m.sqrt(acc_delta + eps) / m.sqrt(square_avg + eps) * g
        acc_delta = rho * acc_delta + weight * delta * delta
        return p - lr * delta, square_avg, acc_delta

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        names = ("lr", "rho", "eps", "weight_decay", "maximize")
        return {
            **{name: group[name] for name in names},
            "weight": 1 - group["rho"],
            "decays": bool(group["weight_decay"] != 0),
        }
