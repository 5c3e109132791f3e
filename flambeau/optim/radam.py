"""RAdam."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .checks import check_betas, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer, lerp
from .optimizer import ParamsT

__all__ = ["RAdam"]


class RAdam(ElementwiseOptimizer):
    """RAdam (Liu et al. 2020): Adam that adapts its step only once the variance is bounded.

    Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        exp_avg: Any,
        exp_avg_sq: Any,
        *,
        lr: Any,
        weight1: Any,
        beta2: Any,
        weight2: Any,
        eps: Any,
        first_correction: Any,
        rectification: Any,
        weight_decay: Any,
        shrink: Any,
        maximize: bool,
        decays: str,
        late: bool,
        adapts: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        if decays == "decoupled":
            p = p * shrink
        elif decays:
            g = g + weight_decay * p
        exp_avg = lerp(exp_avg, g, weight1, late)
        exp_avg_sq = beta2 * exp_avg_sq + weight2 * g * g
        move = exp_avg / first_correction * lr
        if adapts:
            move = move * (rectification / (m.sqrt(exp_avg_sq) + eps))
        return p - move, exp_avg, exp_avg_sq

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        correction = 1 - beta2**key
        longest = 2 / (1 - beta2) - 1  # the length of the approximated simple moving average
        length = longest - 2 * key * beta2**key / correction
        adapts = bool(length > 5.0)
        rectification: Any = 0.0
        if adapts:
            numerator = (length - 4) * (length - 2) * longest
            rectification = (numerator / ((longest - 4) * (longest - 2) * length)) ** 0.5
            rectification = rectification * correction**0.5
        late = bool(beta1 <= 0.5)
        kind = "decoupled" if group["decoupled_weight_decay"] else "penalty"
        return {
            "lr": lr,
            "weight1": beta1 if late else 1 - beta1,
            "beta2": beta2,
            "weight2": 1 - beta2,
            "eps": group["eps"],
            "first_correction": 1 - beta1**key,
            "rectification": rectification,
            "weight_decay": decay,
            "shrink": 1 - lr * decay,
            "maximize": group["maximize"],
            "decays": kind if decay != 0 else "",
            "late": late,
            "adapts": adapts,
        }
