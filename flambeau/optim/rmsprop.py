"""RMSprop."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .checks import check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer, lerp
from .optimizer import ParamsT

__all__ = ["RMSprop"]


class RMSprop(ElementwiseOptimizer):
    """RMSprop (Hinton's lecture 6e, 2012), optionally centred (Graves 2013) and with momentum.

    `alpha` is the decay rate of the average of squared gradients; `centered` divides by an estimate
    of the gradient's standard deviation instead of its root mean square. Raises ValueError for
    negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_not_negative("momentum", momentum)
        check_not_negative("weight_decay", weight_decay)
        check_not_negative("alpha", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        square_avg: Any,
        *rest: Any,
        lr: Any,
        alpha: Any,
        weight: Any,
        move: Any,
        eps: Any,
        weight_decay: Any,
        momentum: Any,
        maximize: bool,
        decays: bool,
        centered: bool,
        moves: bool,
        late: bool,
    ) -> tuple[Any, ...]:
        """One step of one element; `rest` holds the velocity and the average, where used."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        square_avg = alpha * square_avg + weight * g * g
        kept: tuple[Any, ...] = ()
        spread = square_avg
        if centered:
            grad_avg = lerp(rest[-1], g, move, late)
            spread = square_avg - grad_avg * grad_avg
            kept = (grad_avg,)
        direction = g / (m.sqrt(spread) + eps)
        if moves:
            direction = momentum * rest[0] + direction
            kept = (direction, *kept)
        return p - lr * direction, square_avg, *kept

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        velocity = ("momentum_buffer",) if group["momentum"] > 0 else ()
        return ("square_avg", *velocity, *(("grad_avg",) if group["centered"] else ()))

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        alpha, late = group["alpha"], bool(group["alpha"] <= 0.5)
        names = ("lr", "alpha", "eps", "weight_decay", "momentum", "maximize", "centered")
        return {
            **{name: group[name] for name in names},
            "weight": 1 - alpha,
            "move": alpha if late else 1 - alpha,
            "decays": bool(group["weight_decay"] != 0),
            "moves": bool(group["momentum"] > 0),
            "late": late,
        }
