"""Parameters and buffers: tensors that a Module registers by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from . import core, pickling, printing
from .core import from_array
from .interception import disabled, overrides
from .tensor import Tensor


class _ParameterClass(type):
    """Lets tensors of other classes be parameters, where `Parameter` was called on one of them."""

    def __instancecheck__(cls, instance: object) -> bool:
        if super().__instancecheck__(instance):
            return True
        return cls is Parameter and getattr(instance, "_is_param", False) is True


def _of_own_class(data: Any, requires_grad: bool) -> Any:
    """A tensor of a class that overrides functions stays of its class, and is marked."""
    made = data.detach().requires_grad_(requires_grad)
    if type(made) is not type(data):
        raise RuntimeError(
            f"Creating a Parameter from an instance of type {type(data).__name__} requires that "
            "detach() returns an instance of the same type, but return type "
            f"{type(made).__name__} was found instead."
        )
    made._is_param = True
    return made


class Parameter(Tensor, metaclass=_ParameterClass):
    """A tensor that a Module registers when it is assigned as an attribute.

    `data` (any shape) is shared, not copied; `requires_grad` is on by default.
    """

    __slots__ = ()
    __torch_function__ = disabled  # type: ignore[assignment]

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        if cls is Parameter and data is not None and overrides(type(data)):
            return _of_own_class(data, requires_grad)
        out = core.new(cls)
        source = from_array(np.empty((0,), dtypes.get_default_dtype().numpy_dtype))
        if data is not None:
            source = data
            if hasattr(data, "as_parameter"):
                return data.as_parameter(requires_grad)
        out._d, out._t, out._v, out._s = source._d, source._t, 0, None
        out._gf = out._grad = out._view = None
        if requires_grad:
            out.requires_grad_()
        return out

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        return None

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return pickling.deepcopy(self, memo, graded=False)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + printing.render(self)


class Buffer(Tensor):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute."""

    __slots__ = ()
    __torch_function__ = disabled  # type: ignore[assignment]

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        out = Parameter.__new__(Buffer, data, False)  # type: ignore[arg-type]
        out.__dict__["persistent"] = persistent
        return out

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        return None
