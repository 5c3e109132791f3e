"""`Variable`: the older name under which tensors took part in autograd."""

from __future__ import annotations

from typing import Any

from ..tensor.tensor import Tensor


class _VariableType(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """``Variable(data, requires_grad=False)`` is the tensor of `data`; every tensor is one."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: Any = None) -> Any:
        """The tensor over the memory of `data`, outside the tape."""
        made = Tensor() if data is None else data.detach()
        return made.requires_grad_() if requires_grad else made


__all__ = ["Variable"]
