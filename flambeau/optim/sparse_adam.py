"""Adam for sparse gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd import no_grad
from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_betas, check_lr
from .optimizer import Optimizer, ParamsT, evaluate

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam (Kingma and Ba 2015) that touches only the rows a sparse gradient has.

    Averages and parameters of the other rows stay as they are. ValueError for negative options and
    sparse parameters; `step` raises RuntimeError for a dense gradient.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, defaults)
        held = [p for group in self.param_groups for p in group["params"]]
        sparse = [number for number, p in enumerate(held) if p.is_sparse]
        if sparse:
            raise ValueError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once by their gradients; returns ``closure()`` if that is given."""
        loss = evaluate(closure)
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    g = p.grad
                    if g is None:
                        continue
                    if not g.is_sparse:
                        raise RuntimeError(
                            "SparseAdam does not support dense gradients, please consider Adam "
                            "instead"
                        )
                    self._update_(group, p, (-g if group["maximize"] else g).coalesce())
        return loss

    def _update_(self, group: dict[str, Any], p: Tensor, g: Any) -> None:
        """Change `p` by its coalesced gradient `g`."""
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=fl.zeros_like(p), exp_avg_sq=fl.zeros_like(p))
        state["step"] += 1
        if not g._nnz():
            return
        first, second = group["betas"]
        values = g.values()

        def moved(name: str, towards: Tensor, beta: float) -> Tensor:
            """The average `name` where `g` has elements, moved and stored."""
            old = state[name].sparse_mask(g).values()
            change = (towards - old) * (1 - beta)
            state[name].add_(_like(g, change))
            return old + change

        mean = moved("exp_avg", values, first)
        square = moved("exp_avg_sq", values * values, second)
        corrections = 1 - first ** state["step"], 1 - second ** state["step"]
        rate = float(group["lr"]) * math.sqrt(corrections[1]) / corrections[0]
        p.add_(_like(g, mean / (square.sqrt() + group["eps"]) * -rate))


def _like(g: Any, values: Tensor) -> Tensor:
    """A sparse tensor with `values` where `g` has its."""
    return fl.sparse_coo_tensor(g.indices(), values, g.shape, is_coalesced=True)
