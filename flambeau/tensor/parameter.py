"""Parameters and buffers: tensors that a Module registers by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from . import core, printing
from .core import from_array
from .tensor import Tensor


class Parameter(Tensor):
    """A tensor that a Module registers when it is assigned as an attribute.

    `data` (any shape) is shared, not copied; `requires_grad` is on by default.
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        out = core.new(cls)
        source = from_array(np.empty((0,), dtypes.get_default_dtype().numpy_dtype))
        if data is not None:
            source = data
        out._d, out._t, out._v, out._s = source._d, source._t, 0, None
        out._gf = out._grad = out._view = None
        if requires_grad:
            out.requires_grad_()
        return out

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        return None

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + printing.render(self)


class Buffer(Tensor):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute."""

    __slots__ = ()

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        out = Parameter.__new__(Buffer, data, False)  # type: ignore[arg-type]
        out.__dict__["persistent"] = persistent
        return out

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        return None
