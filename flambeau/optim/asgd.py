"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT, scalar_state

__all__ = ["ASGD"]


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    The rate falls as ``lr / (1 + lambd * lr * t) ** alpha``; from step `t0` on, ``state["ax"]``
    averages the parameters. Raises ValueError for a negative `lr` or `weight_decay`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_not_negative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
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
        ax: Any,
        *,
        eta: Any,
        shrink: Any,
        mu: Any,
        weight_decay: Any,
        maximize: bool,
        decays: bool,
        averages: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        p = p * shrink - eta * g
        return p, ax + (p - ax) * mu if averages else p

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax",)

    def begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        return {
            "step": scalar_state(0.0),
            "eta": scalar_state(float(group["lr"])),
            "mu": scalar_state(1.0),
            "ax": fl.zeros_like(p),
        }

    def advance_(
        self, group: dict[str, Any], p: Tensor, state: dict[str, Any]
    ) -> tuple[float, float]:
        """Count the step; returns its rate and averaging weight, and leaves the next one's."""
        now = float(state["eta"]), float(state["mu"])
        step = float(super().advance_(group, p, state))  # type: ignore[arg-type]
        lr = float(group["lr"])
        eta = lr / (1 + group["lambd"] * lr * step) ** group["alpha"]
        state["eta"].copy_(scalar_state(eta))
        state["mu"].copy_(scalar_state(1 / max(1.0, step - group["t0"])))
        return now

    def coefficients(self, group: dict[str, Any], key: tuple[float, float]) -> dict[str, Any]:
        eta, mu = key
        return {
            "eta": eta,
            "mu": mu,
            "shrink": 1 - group["lambd"] * eta,
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
            "decays": bool(group["weight_decay"] != 0),
            "averages": mu != 1,
        }
