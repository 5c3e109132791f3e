"""Adamax."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .checks import check_betas, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer, lerp
from .optimizer import ParamsT

__all__ = ["Adamax"]


class Adamax(ElementwiseOptimizer):
    """Adamax (Kingma and Ba 2014): Adam with the largest recent gradient for the mean square.

    Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        check_not_negative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        exp_avg: Any,
        exp_inf: Any,
        *,
        step_size: Any,
        weight: Any,
        beta2: Any,
        eps: Any,
        weight_decay: Any,
        maximize: bool,
        decays: bool,
        late: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        exp_avg = lerp(exp_avg, g, weight, late)
        exp_inf = m.maximum(beta2 * exp_inf, m.abs(g) + eps)
        return p - step_size * exp_avg / exp_inf, exp_avg, exp_inf

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        late = bool(beta1 <= 0.5)
        return {
            "step_size": group["lr"] / (1 - beta1**key),
            "weight": beta1 if late else 1 - beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
            "decays": bool(group["weight_decay"] != 0),
            "late": late,
        }
