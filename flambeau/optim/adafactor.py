"""Adafactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import no_grad
from ..dtypes import finfo
from ..tensor import Tensor
from ..tensor import functions as fl
from .optimizer import Optimizer, ParamsT, evaluate, scalar_state

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern 2018): Adam without momentum in sublinear memory.

    The averages of squared gradients of a matrix (its last two dimensions) are kept as one row and
    one column. `eps` bounds the averages (None: the dtype's epsilon) and the size of the
    parameters; `d` clips the update's root mean square. Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once by their gradients; returns ``closure()`` if that is given.

        Raises RuntimeError for complex parameters.
        """
        loss = evaluate(closure)
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update_(group, p, p.grad)
        return loss

    def _update_(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state = self.state[p]
        if not state:
            state.update(_first_state(p))
        state["step"] += 1
        step, lr = float(state["step"]), float(group["lr"])
        eps1, eps2 = group["eps"]
        eps1 = finfo(p.dtype).eps if eps1 is None else eps1
        g = -g if group["maximize"] else g
        size = max(eps2, _root_mean_square(p)) * min(lr, 1 / step**0.5)
        if group["weight_decay"] != 0:
            p.mul_(1 - lr * group["weight_decay"])
        variance = _averaged_square_(state, g, step ** group["beta2_decay"], eps1)
        update = variance.clamp(min=eps1 * eps1).rsqrt() * g
        p.add_(update, alpha=-size / max(1.0, _root_mean_square(update) / group["d"]))


def _first_state(p: Tensor) -> dict[str, Any]:
    state: dict[str, Any] = {"step": scalar_state(0.0)}
    if p.dim() > 1:
        rows, columns = list(p.shape), list(p.shape)
        rows[-1] = columns[-2] = 1
        state["row_var"] = fl.zeros(rows, dtype=p.dtype, device=p.device)
        state["col_var"] = fl.zeros(columns, dtype=p.dtype, device=p.device)
    else:
        state["variance"] = fl.zeros_like(p)
    return state


def _averaged_square_(state: dict[str, Any], g: Tensor, weight: float, eps: float) -> Tensor:
    """Take the square of `g` into the averages; returns the estimate they give for each element."""
    square = g * g
    if "variance" in state:
        variance: Tensor = state["variance"]
        return variance.lerp_(square, weight)
    row, column = state["row_var"], state["col_var"]
    row.lerp_(square.mean(-1, keepdim=True), weight)
    column.lerp_(square.mean(-2, keepdim=True), weight)
    return row * column / row.mean(-2, keepdim=True).clamp(min=eps)


def _root_mean_square(x: Tensor) -> float:
    return float((x * x).sum()) ** 0.5 / max(x.numel(), 1) ** 0.5
