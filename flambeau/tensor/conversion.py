"""Changing dtype, device and memory order: ``to``, ``float()``, ``contiguous()``, ``clone()``..."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..backends.meta import MetaArray
from . import core
from .core import TensorCore, bump, ndarray
from .core import storage_of as storage_record
from .creation import sizes, storage_dtype
from .functions import publish
from .memory import array_over, with_format
from .methods import method
from .storages import StorageBase, row_major, set_from

_ROW_MAJOR = devices.contiguous_format


@method
def to(
    self: Any,
    *args: Any,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
    other: Any = None,
) -> Any:
    """This tensor with another dtype or device; itself if nothing changes and not `copy`."""
    for arg in args:
        if isinstance(arg, dtypes.dtype):
            dtype = arg
        elif isinstance(arg, TensorCore):
            dtype, device = arg._t, arg.device  # type: ignore[attr-defined]
        elif isinstance(arg, (str, devices.device)):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            raise TypeError(f"to() received an invalid argument of type {arg.__class__.__name__}")
    if other is not None:
        dtype, device = other._t, other.device
    out = self
    if device is not None and (device != "cpu" or self._d.__class__ is not ndarray):
        out = _move(out, devices.resolve_device(device))
    if dtype is not None and dtype is not out._t:
        storage_dtype(dtype)
        out = FAST["F"].to_dtype(out, dtype)
    if copy and out is self:
        out = out.clone()
    return out if memory_format is None else out.contiguous(memory_format=memory_format)


def _move(t: Any, where: devices.device) -> Any:
    if where == t.device:
        return t
    if where.type == "meta":
        from ..backends.meta import MetaArray
        from .core import from_array

        return from_array(MetaArray.like(t._d))
    raise NotImplementedError(
        f"Cannot copy out of {t.device} tensor; no data! (asked for device {where})"
    )


def _named(name: str, dtype: dtypes.dtype) -> None:
    def convert(self: Any, memory_format: Any = None) -> Any:
        return to(self, dtype)

    convert.__name__ = name
    convert.__doc__ = f"This tensor as {dtype}."
    method(convert)


for _name, _dtype in dtypes.ALIASES.items():
    _named(_name, _dtype)
for _name, _dtype in {
    "byte": dtypes.uint8,
    "char": dtypes.int8,
    "bfloat16": dtypes.bfloat16,
}.items():
    _named(_name, _dtype)


@method
def type(self: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The tensor's type name, or the tensor as another type."""
    if dtype is None:
        return f"torch.{_TYPE_NAMES.get(self._t, self._t.title)}Tensor"
    if isinstance(dtype, str):
        short = dtype.removeprefix("torch.").removesuffix("Tensor")
        by_title = {t.title: t for t in dtypes.ALL}
        if short not in by_title:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = by_title[short]
    if dtype is core.Tensor:
        dtype = dtypes.get_default_dtype()
    # A constructor such as `FloatTensor` stands for its dtype.
    return to(self, dtype if isinstance(dtype, dtypes.dtype) else getattr(dtype, "dtype", dtype))


_TYPE_NAMES = {dtypes.bool_: "Bool"}


@method
def type_as(self: Any, other: Any) -> Any:
    """This tensor with the dtype of `other`."""
    return to(self, other._t)


@method
def cpu(self: Any, memory_format: Any = None) -> Any:
    """This tensor in the CPU's memory."""
    return _move(self, devices.CPU)


@method
def cuda(
    self: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Any:
    """This tensor in a GPU's memory; RuntimeError where there is none."""
    return _move(self, devices.resolve_device("cuda" if device is None else device))


@method
def contiguous(self: Any, memory_format: Any = _ROW_MAJOR) -> Any:
    """This tensor with its elements in the order of `memory_format`; itself if they are."""
    if memory_format is _ROW_MAJOR and self._d.__class__ is ndarray:
        if self._d.flags.c_contiguous:
            return self
    elif self.is_contiguous(memory_format=memory_format):
        return self
    return FAST["F"].clone(self, memory_format=memory_format)


@method
def pin_memory(self: Any, device: Any = None) -> Any:
    """This tensor: all CPU memory is alike without a GPU."""
    return self


@method
def is_pinned(self: Any, device: Any = None) -> bool:
    """Whether the memory is pinned: never."""
    return False


@method
def share_memory_(self: Any) -> Any:
    """This tensor, its memory moved to where forked processes share it."""
    self.untyped_storage().share_memory_()
    return self


@publish
@method
def get_device(input: Any) -> int:
    """The GPU's number, -1 on the CPU."""
    return -1


@publish
@method
def is_same_size(input: Any, other: Any) -> bool:
    """Whether both tensors have the same shape."""
    return bool(input.shape == other.shape)


@method
def is_set_to(self: Any, tensor: Any) -> bool:
    """Whether both tensors look at the same memory in the same way."""
    return bool(
        self.data_ptr() == tensor.data_ptr()
        and self._d.shape == tensor._d.shape
        and self._d.strides == tensor._d.strides
    )


@method
def set_(
    self: Any, source: Any = None, storage_offset: Any = None, size: Any = None, stride: Any = None
) -> Any:
    """Make this tensor look at the memory of `source`, a tensor or a storage.

    With an offset in elements, a size and strides it looks at a part, and a storage that is too
    small grows. Without a source it is left with no elements.
    """
    if self._gf is not None and is_grad_enabled():
        raise RuntimeError("set_(): the derivative for 'set_' is not implemented")
    if source is None:
        self._d = np.empty(0, self._d.dtype)
    elif not isinstance(source, (TensorCore, StorageBase)):
        raise TypeError(
            "set_(): argument 'source' must be Tensor or Storage, not "
            f"{builtins.type(source).__name__}"
        )
    elif isinstance(source, TensorCore) and storage_offset is not None and size is None:
        raise TypeError("set_(): a tensor with an offset needs a size too")
    else:
        set_from(self, source, storage_offset, size, stride)
    if isinstance(source, TensorCore):
        self._s = storage_record(source)
    self._view = None
    bump(self)
    return self


@method
def resize_(self: Any, *size: Any, memory_format: Any = None) -> Any:
    """Give this tensor another size in place; new elements are uninitialised.

    Tensors that share the memory go on sharing it.
    """
    if self._gf is not None:
        raise RuntimeError("cannot resize variables that require grad")
    shape = sizes(size)
    if self._d.__class__ is not ndarray:
        self._d = MetaArray(shape, self._d.dtype)
        return self
    if shape != self._d.shape:
        unit = self._d.itemsize
        start = self.storage_offset() * unit
        count = math.prod(shape)
        storage = self.untyped_storage()
        if count and start + count * unit > storage.nbytes():
            storage.resize_(start + count * unit)
        steps = tuple(s * unit for s in row_major(shape))
        self._d = array_over(storage.content, self._t.numpy_dtype, start, shape, steps)
    if memory_format not in (None, _ROW_MAJOR, devices.preserve_format):
        self._d = with_format(np.empty(shape, self._d.dtype), memory_format)
    return self


@method
def resize_as_(self: Any, the_template: Any, *, memory_format: Any = None) -> Any:
    """Give this tensor the size of another one in place."""
    return resize_(self, tuple(the_template._d.shape))


publish(resize_as_, "resize_as_")


@method
def where(self: Any, condition: Any, other: Any) -> Any:
    """This tensor's elements where `condition` holds, those of `other` elsewhere."""
    return FAST["F"].where(condition, self, other)


@method
def map_(self: Any, tensor: Any, callable: Any) -> Any:
    """Replace every element by ``callable(element, element of tensor)``."""
    array = np.broadcast_to(tensor._d, self._d.shape)
    values = [callable(a.item(), b.item()) for a, b in zip(self._d.flat, array.flat, strict=True)]
    self._d[...] = np.asarray(values).reshape(self._d.shape)
    return self


@method
def apply_(self: Any, callable: Any) -> Any:
    """Replace every element by ``callable(element)``."""
    self._d[...] = np.asarray([callable(a.item()) for a in self._d.flat]).reshape(self._d.shape)
    return self


@publish
def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, TensorCore)


@publish
def numel(input: Any) -> int:
    """The number of elements of `input`."""
    return int(input.numel())


@publish
def is_floating_point(input: Any) -> bool:
    """Whether the dtype of `input` is a floating-point one."""
    return bool(input._t.is_floating_point)


@publish
def is_complex(input: Any) -> bool:
    """Whether the dtype of `input` is complex."""
    return bool(input._t.is_complex)


@publish
def is_nonzero(input: Any) -> bool:
    """Whether the only element of `input` is not zero."""
    return bool(input)


_OPERANDS = (("tensor", "other"), ("scalar", "tensor"), ("scalar1", "scalar2"))


@publish
def result_type(*operands: Any, **named: Any) -> dtypes.dtype:
    """The dtype of an operation on two operands, each a tensor or a number.

    By name they are `tensor` and `other`, `scalar` and `tensor`, or `scalar1` and `scalar2`.
    TypeError for other names or another number of operands.
    """
    from .apply import operand

    for names in _OPERANDS:
        rest = names[len(operands) :]
        if named.keys() == set(rest):
            operands += tuple(named[name] for name in rest)
            break
    if len(operands) != 2:
        given = [x.__class__.__name__ for x in operands] + [f"{name}=..." for name in named]
        raise TypeError(f"result_type() expected two tensors or numbers, got ({', '.join(given)})")
    return dtypes.result_dtype([operand(x) for x in operands])


def _question(name: str) -> None:
    """Publish the tensor's method `name`, which answers a question, as a function."""

    def ask(input: Any) -> bool:
        return bool(getattr(input, name)())

    ask.__name__ = name
    ask.__doc__ = f"``input.{name}()``."
    publish(ask)


for _name in ("is_conj", "is_neg", "is_inference", "is_signed"):
    _question(_name)
