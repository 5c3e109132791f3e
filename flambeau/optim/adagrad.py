"""Adagrad."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_choices, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer
from .optimizer import ParamsT, scalar_state

__all__ = ["Adagrad"]


class Adagrad(ElementwiseOptimizer):
    """Adagrad (Duchi, Hazan and Singer 2011).

    The sum of squared gradients starts at `initial_accumulator_value`; the learning rate falls as
    ``lr / (1 + t * lr_decay)``. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_not_negative("lr_decay", lr_decay)
        check_not_negative("weight_decay", weight_decay)
        check_not_negative("initial_accumulator_value", initial_accumulator_value)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_choices(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        # PyTorch makes this optimizer's state at once, and programs move or share it before a step.
        for group in self.param_groups:
            for p in group["params"]:
                self.state_of(group, p)

    def share_memory(self) -> None:
        """Put the sums of squares into memory that processes can share."""
        for state in self.state.values():
            state["sum"].share_memory_()

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        total: Any,
        *,
        lr: Any,
        eps: Any,
        weight_decay: Any,
        maximize: bool,
        decays: bool,
    ) -> tuple[Any, ...]:
        """One step of one element."""
        g = -g if maximize else g
        g = g + weight_decay * p if decays else g
        total = total + g * g
        return p - lr * g / (m.sqrt(total) + eps), total

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        start = complex(start, start) if p.is_complex() else start
        return {"step": scalar_state(0.0), "sum": fl.full_like(p, start)}

    def take_sparse_(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        state = self.state_of(group, p)
        options = self.coefficients(group, self.advance_(group, p, state))
        g = (-g if group["maximize"] else g).coalesce()
        total = state["sum"]
        total.add_(g * g)
        spread = total.sparse_mask(g).values().sqrt() + options["eps"]
        change = fl.sparse_coo_tensor(g.indices(), g.values() / spread, g.shape, is_coalesced=True)
        p.add_(change, alpha=-float(options["lr"]))

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        return {
            "lr": group["lr"] / (1 + (key - 1) * group["lr_decay"]),
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
            "maximize": group["maximize"],
            "decays": bool(group["weight_decay"] != 0),
        }
