"""NAdam."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_betas, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer, lerp
from .optimizer import ParamsT, scalar_state

__all__ = ["NAdam"]


class NAdam(ElementwiseOptimizer):
    """NAdam (Dozat 2016): Adam with Nesterov's momentum, which warms up by `momentum_decay`.

    Raises ValueError for options out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_not_negative("momentum_decay", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
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
        grad_size: Any,
        average_size: Any,
        weight1: Any,
        beta2: Any,
        weight2: Any,
        eps: Any,
        correction: Any,
        weight_decay: Any,
        shrink: Any,
        maximize: bool,
        decays: str,
        late: bool,
    ) -> tuple[Any, ...]:
        """One step of one element; the two sizes weigh the gradient and its average."""
        g = -g if maximize else g
        if decays == "decoupled":
            p = p * shrink
        elif decays:
            g = g + weight_decay * p
        exp_avg = lerp(exp_avg, g, weight1, late)
        exp_avg_sq = beta2 * exp_avg_sq + weight2 * g * g
        denominator = m.sqrt(exp_avg_sq / correction) + eps
        p = p - grad_size * g / denominator - average_size * exp_avg / denominator
        return p, exp_avg, exp_avg_sq

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        averages = {name: fl.zeros_like(p) for name in self.buffers(group)}
        return {"step": scalar_state(0.0), "mu_product": scalar_state(1.0), **averages}

    def advance_(
        self, group: dict[str, Any], p: Tensor, state: dict[str, Any]
    ) -> tuple[float, float]:
        step = float(super().advance_(group, p, state))  # type: ignore[arg-type]
        product = state["mu_product"]
        product *= _momentum(group, step)
        return step, float(product)

    def coefficients(self, group: dict[str, Any], key: tuple[float, float]) -> dict[str, Any]:
        step, product = key
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        now, then = _momentum(group, step), _momentum(group, step + 1)
        late = bool(beta1 <= 0.5)
        kind = "decoupled" if group["decoupled_weight_decay"] else "penalty"
        return {
            "grad_size": lr * (1 - now) / (1 - product),
            "average_size": lr * then / (1 - product * then),
            "weight1": beta1 if late else 1 - beta1,
            "beta2": beta2,
            "weight2": 1 - beta2,
            "eps": group["eps"],
            "correction": 1 - beta2**step,
            "weight_decay": decay,
            "shrink": 1 - lr * decay,
            "maximize": group["maximize"],
            "decays": kind if decay != 0 else "",
            "late": late,
        }


def _momentum(group: dict[str, Any], step: float) -> float:
    """The momentum coefficient of a step, which rises towards ``beta1``."""
    rise: float = group["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
    return rise
