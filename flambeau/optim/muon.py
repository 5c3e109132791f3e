"""Muon."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd import no_grad
from ..dtypes import bfloat16, float32
from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_lr
from .optimizer import Optimizer, ParamsT, evaluate

__all__ = ["Muon"]

MAX_NEWTON_SCHULZ = 100


class Muon(Optimizer):
    """Muon (Jordan 2024): momentum whose matrix is made nearly orthogonal by Newton-Schulz steps.

    For matrices only (ValueError otherwise). `adjust_lr_fn` scales the rate by the matrix's shape:
    ``"original"`` (also None) by ``sqrt(max(1, rows / columns))``, ``"match_rms_adamw"`` (Moonshot
    2025) by ``0.2 * sqrt(max(rows, columns))``. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor):
            check_lr(lr)
        for name, value in (
            ("Learning rate", lr),
            ("momentum", momentum),
            ("weight decay", weight_decay),
        ):
            if not value >= 0.0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with "
                        f"size: {p.size()}"
                    )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once by their gradients; returns ``closure()`` if that is given."""
        loss = evaluate(closure)
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update_(group, p, p.grad)
        return loss

    def _update_(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = fl.zeros_like(g)
        lr, momentum = float(group["lr"]), group["momentum"]
        average = state["momentum_buffer"]
        average.lerp_(g, 1 - momentum)
        update = g.lerp(average, momentum) if group["nesterov"] else average
        update = _orthogonalize(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(update.to(p.dtype), alpha=-lr * _shape_factor(group["adjust_lr_fn"], p))


def _shape_factor(kind: str | None, p: Tensor) -> float:
    rows, columns = p.shape
    if kind == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def _orthogonalize(
    x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """The matrix `x` with its singular values moved near 1, float32 with bfloat16's precision.

    A quintic iteration of Newton and Schulz. Every sum of products is taken in float32 and rounded
    once, as in PyTorch. ValueError for 100 steps or more.
    """
    if steps >= MAX_NEWTON_SCHULZ:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    a, b, c = coefficients
    wide = x.size(0) <= x.size(1)
    y = _rounded(x if wide else x.mT)
    y = _rounded(y / _rounded(y.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(y @ y.mT)
        polynomial = _rounded(gram * b + (gram @ gram) * c)
        y = _rounded(y * a + polynomial @ y)
    return y if wide else y.mT


def _rounded(x: Tensor) -> Tensor:
    return x.to(bfloat16).to(float32)
