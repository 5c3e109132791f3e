"""PyTorch's old constructors: ``FloatTensor(2, 3)``, ``LongTensor([1, 2])``..."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from .core import TensorCore
from .creation import from_constructor
from .functions import publish


class TensorType:
    """An old-style constructor such as ``FloatTensor``: a dtype, called like `Tensor`."""

    def __init__(self, dtype: dtypes.dtype, name: str) -> None:
        self.dtype, self.__name__, self.__module__ = dtype, name, "torch"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return from_constructor(args, self.dtype, **kwargs)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, TensorCore) and value._t is self.dtype

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


for _dtype in dtypes.ALL:
    if _dtype.numpy_dtype is not None and _dtype not in dtypes.FLOAT8:
        _name = f"{_dtype.title}Tensor"
        publish(TensorType(_dtype, _name), _name)
