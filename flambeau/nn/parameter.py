"""Tensors that modules own: `Parameter`, `Buffer`, and both before their shape is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tensor import Buffer, Parameter, Tensor
from ..tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


class UninitializedTensorMixin:
    """A tensor that has a dtype and a device, but no shape until `materialize` is called."""

    __slots__ = ()
    cls_to_become: type

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Gives the tensor its shape and memory, whose values are undefined."""
        data = fl.empty(
            tuple(shape),
            device=self.device if device is None else device,
            dtype=self.dtype if dtype is None else dtype,
        )
        self.__class__ = self.cls_to_become
        self.data = data

    @property
    def shape(self) -> Any:
        """There is none yet: RuntimeError."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def share_memory_(self) -> Any:
        """Impossible before there is memory: RuntimeError."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        kind: Any = type(self)
        twin = kind(self.requires_grad, self.device, self.dtype)
        memo[id(self)] = twin
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, self.device, self.dtype)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A `Parameter` of a lazy module whose shape is not known yet."""

    __slots__ = ()
    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        empty = fl.empty(0, device=device, dtype=dtype)
        return Parameter.__new__(cls, empty, requires_grad)  # type: ignore[arg-type]

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        return None


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer of a lazy module whose shape is not known yet."""

    __slots__ = ()
    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        empty = fl.empty(0, device=device, dtype=dtype)
        made = Parameter.__new__(cls, empty, requires_grad)  # type: ignore[arg-type]
        made.persistent = persistent
        return made

    def __init__(
        self,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> None:
        return None


def is_lazy(param: Any) -> bool:
    """Whether the tensor still waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)
