"""Rprop."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_lr
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT, scalar_state

__all__ = ["Rprop"]


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation (Riedmiller and Braun 1993), for full-batch training.

    Each element has its own step size, multiplied by ``etas[1]`` while the gradient keeps its sign
    and by ``etas[0]`` when it changes, within `step_sizes`. Raises ValueError for options out of
    range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
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
        prev: Any,
        step_size: Any,
        *,
        shrink: Any,
        grow: Any,
        smallest: Any,
        largest: Any,
        maximize: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        agreement = g * prev
        factor = m.where(agreement > 0, grow, m.where(agreement < 0, shrink, 1.0))
        step_size = step_size * factor
        step_size = m.where(step_size < smallest, smallest, step_size)
        step_size = m.where(step_size > largest, largest, step_size)
        g = m.where(agreement < 0, 0.0, g)  # after a change of sign the element stays and forgets
        return p - m.sign(g) * step_size, g, step_size

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("prev", "step_size")

    def begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        lr = float(group["lr"])
        return {
            "step": scalar_state(0.0),
            "prev": fl.zeros_like(p),
            "step_size": fl.full_like(p, complex(lr, lr) if p.is_complex() else lr),
        }

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        return {
            "shrink": float(group["etas"][0]),
            "grow": float(group["etas"][1]),
            "smallest": float(group["step_sizes"][0]),
            "largest": float(group["step_sizes"][1]),
            "maximize": group["maximize"],
        }
