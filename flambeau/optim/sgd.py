"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_choices, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT

__all__ = ["SGD"]


class SGD(ElementwiseOptimizer):
    """Stochastic gradient descent with momentum (Polyak 1964; Nesterov form: Sutskever 2013).

    ``lr`` may be a number or a 0-d tensor; `weight_decay` adds an L2 penalty. The first step of
    momentum takes the gradient itself, without `dampening`. Raises ValueError for negative options
    and for `nesterov` without a momentum or with dampening.

    >>> w = Parameter(ones(2))
    >>> (w * w).sum().backward()
    >>> SGD([w], lr=0.1).step()
    >>> w.tolist()
    [0.800000011920929, 0.800000011920929]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_not_negative("momentum", momentum)
        check_not_negative("weight_decay", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_choices(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        velocity: Any = None,
        *,
        lr: Any,
        momentum: Any,
        gain: Any,
        weight_decay: Any,
        maximize: bool,
        decays: bool,
        nesterov: bool,
        first: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        if velocity is None:
            return (p - lr * g,)
        velocity = g if first else momentum * velocity + gain * g
        return p - lr * (g + momentum * velocity if nesterov else velocity), velocity

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def state_of(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        # PyTorch makes no entry for a parameter that keeps no state.
        return self.state[p] if group["momentum"] != 0 else {}

    def advance_(self, group: dict[str, Any], p: Tensor, state: dict[str, Any]) -> bool:
        first = group["momentum"] != 0 and state.get("momentum_buffer") is None
        if first:
            state["momentum_buffer"] = fl.zeros_like(p)
        return first

    def take_sparse_(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        if group["maximize"]:
            g = -g
        if group["weight_decay"] != 0:
            g = g.add(p, alpha=float(group["weight_decay"]))
        momentum = group["momentum"]
        if momentum != 0:
            state = self.state[p]
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = g.clone()
            else:
                velocity = (velocity * momentum).add(g, alpha=1 - group["dampening"])
            state["momentum_buffer"] = velocity
            g = g.add(velocity, alpha=momentum) if group["nesterov"] else velocity
        p.add_(g, alpha=-float(group["lr"]))

    def coefficients(self, group: dict[str, Any], key: bool) -> dict[str, Any]:
        names = ("lr", "momentum", "weight_decay", "maximize", "nesterov")
        return {
            **{name: group[name] for name in names},
            "gain": 1 - group["dampening"],
            "decays": bool(group["weight_decay"] != 0),
            "first": key,
        }
