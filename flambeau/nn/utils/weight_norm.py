"""Weights split into direction and length, recomputed before every call."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ...tensor import Parameter
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor
    from ..modules.module import Module

__all__ = ["WeightNorm", "length_except", "remove_weight_norm", "weight_norm"]


def length_except(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm of ``v`` over all dimensions but ``dim``, which are kept; over all for None."""
    if dim is None or dim == -1:
        return fl.linalg_vector_norm(v, 2)
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    return fl.linalg_vector_norm(v, 2, others, True) if others else v.abs()


class WeightNorm:
    """The hook that computes ``name`` as ``name_g * name_v / |name_v|`` before forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight from its length and direction."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / length_except(v, self.dim))

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Splits the parameter and registers the hook."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(length_except(weight, dim).detach()))
        module.register_parameter(name + "_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Joins the two parts into one parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """Splits a parameter into its lengths along ``dim`` and its direction.

    ``name_g`` and ``name_v`` take its place (Salimans and Kingma, 2016); ``dim=None`` has one
    length for all. Raises RuntimeError when it is split already.
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undoes `weight_norm`. Raises ValueError if there is none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
