"""Python's operators on tensors: each resolves to its op's function when it is first used."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST
from .core import TensorCore
from .functions import newcomers
from .tensor import Tensor

_OPERANDS = (TensorCore, int, float, complex, np.number, np.bool_)


def _operator(name: str, op_name: str) -> None:
    """Give the class an operator that becomes the op's short function at its first use."""

    def first(self: Any, other: Any) -> Any:
        getattr(FAST["F"], op_name)  # derives the op
        method = _as_operator(op_name)
        setattr(Tensor, name, method)
        for tell in newcomers:
            tell(name, method)
        return method(self, other)

    setattr(Tensor, name, first)


def _as_operator(op_name: str) -> Any:
    """The op's short function, but one that leaves foreign operands to Python.

    It is the same code with another name for the general way, so it is as quick.
    """
    general = FAST[f"general_{op_name}"]

    def operand(self: Any, other: Any) -> Any:
        return general(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    FAST[f"operand_{op_name}"] = operand
    code = FAST[op_name].__code__
    names = tuple(n.replace(f"general_{op_name}", f"operand_{op_name}") for n in code.co_names)
    return FunctionType(code.replace(co_names=names), FAST, op_name)


for _name, _op in {
    "__add__": "add",
    "__radd__": "add",
    "__sub__": "sub",
    "__rsub__": "rsub",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__truediv__": "true_divide",
    "__rtruediv__": "rdivide",
    "__floordiv__": "floor_divide",
    "__rfloordiv__": "rfloor_divide",
    "__mod__": "remainder",
    "__rmod__": "rremainder",
    "__pow__": "pow",
    "__rpow__": "rpow",
    "__eq__": "eq",
    "__ne__": "ne",
    "__lt__": "lt",
    "__le__": "le",
    "__gt__": "gt",
    "__ge__": "ge",
    "__and__": "bitwise_and",
    "__rand__": "bitwise_and",
    "__or__": "bitwise_or",
    "__ror__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__rxor__": "bitwise_xor",
    "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
}.items():
    _operator(_name, _op)


def _inplace_operator(name: str, method: str) -> None:
    def first(self: Any, other: Any) -> Any:
        change = getattr(Tensor, method)  # derives the op

        def operator(self: Any, other: Any) -> Any:
            return change(self, other) if isinstance(other, _OPERANDS) else NotImplemented

        setattr(Tensor, name, operator)
        for tell in newcomers:
            tell(name, operator)
        return operator(self, other)

    setattr(Tensor, name, first)


for _name, _op in {
    "__iadd__": "add_",
    "__isub__": "sub_",
    "__imul__": "mul_",
    "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_",
    "__ipow__": "pow_",
    "__iand__": "bitwise_and_",
    "__ior__": "bitwise_or_",
    "__ixor__": "bitwise_xor_",
    "__ilshift__": "bitwise_left_shift_",
    "__irshift__": "bitwise_right_shift_",
}.items():
    _inplace_operator(_name, _op)
