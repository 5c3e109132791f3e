"""Adam."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .checks import check_betas, check_choices, check_lr, check_not_negative
from .elementwise import ElementwiseOptimizer, lerp
from .optimizer import ParamsT

__all__ = ["Adam"]


class Adam(ElementwiseOptimizer):
    """Adam (Kingma and Ba 2014), optionally AMSGrad (Reddi et al. 2018).

    `betas` are the decay rates of the averages of the gradient and of its square, `eps` is added to
    the root of the latter. `weight_decay` adds an L2 penalty, or, with `decoupled_weight_decay`,
    shrinks the parameters directly. Raises ValueError for options out of range.

    >>> w = Parameter(ones(2))
    >>> w.sum().backward()
    >>> Adam([w], lr=0.5).step()
    >>> [round(x, 4) for x in w.tolist()]
    [0.5, 0.5]
    """

    sparse_hint = ", please consider SparseAdam instead"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        _check_tensors(lr, betas, bool(foreach) and not capturable)
        check_lr(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        check_not_negative("weight_decay", weight_decay)
        check_choices(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    @staticmethod
    def rule(
        m: Any,
        p: Any,
        g: Any,
        exp_avg: Any,
        exp_avg_sq: Any,
        max_exp_avg_sq: Any = None,
        *,
        step_size: Any,
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
        """One step of one element; `correction` is the root of the second bias correction."""
        g = -g if maximize else g
        if decays == "decoupled":
            p = p * shrink
        elif decays:
            g = g + weight_decay * p
        exp_avg = lerp(exp_avg, g, weight1, late)
        exp_avg_sq = beta2 * exp_avg_sq + weight2 * g * g
        if max_exp_avg_sq is None:
            denominator = m.sqrt(exp_avg_sq) / correction + eps
            return p - step_size * exp_avg / denominator, exp_avg, exp_avg_sq
        max_exp_avg_sq = m.maximum(max_exp_avg_sq, exp_avg_sq)
        denominator = m.sqrt(max_exp_avg_sq) / correction + eps
        return p - step_size * exp_avg / denominator, exp_avg, exp_avg_sq, max_exp_avg_sq

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        averages = ("exp_avg", "exp_avg_sq")
        return (*averages, "max_exp_avg_sq") if group["amsgrad"] else averages

    def coefficients(self, group: dict[str, Any], key: float) -> dict[str, Any]:
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        late = bool(beta1 <= 0.5)
        kind = "decoupled" if group["decoupled_weight_decay"] else "penalty"
        return {
            "step_size": lr / (1 - beta1**key),
            "weight1": beta1 if late else 1 - beta1,
            "beta2": beta2,
            "weight2": 1 - beta2,
            "eps": group["eps"],
            "correction": (1 - beta2**key) ** 0.5,
            "weight_decay": decay,
            "shrink": 1 - lr * decay,
            "maximize": group["maximize"],
            "decays": kind if decay != 0 else "",
            "late": late,
        }


def _check_tensors(lr: Any, betas: tuple[Any, Any], foreach: bool) -> None:
    """Raise ValueError for the uses of tensors as options that PyTorch refuses."""
    if isinstance(lr, Tensor) and foreach:
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if isinstance(beta, Tensor):
            if foreach:
                raise ValueError(
                    f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                )
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
