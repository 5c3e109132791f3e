"""Instances of the tensor's subclasses: how they are made, and what they are by default."""

from __future__ import annotations

from typing import Any

from .. import devices, dtypes
from ..autograd.grad_mode import FAST
from ..backends.meta import MetaArray
from . import core, interception
from .core import TensorCore, is_leaf_node, storage_of
from .creation import from_constructor, storage_dtype
from .interception import DisableTorchFunctionSubclass, overrides
from .shape import Size
from .tensor import Tensor


def arm_for(cls: Any) -> None:
    """Arm the functions if instances of `cls` override them."""
    if overrides(cls) or getattr(cls, "__torch_dispatch__", None) is not None:
        interception.arm()


def construct(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``cls(...)`` makes of the arguments of ``Tensor(...)``."""
    if len(args) == 1 and isinstance(args[0], TensorCore):
        return as_subclass(args[0].detach(), cls)  # type: ignore[attr-defined]
    made = from_constructor(args, dtypes.get_default_dtype(), **kwargs)
    arm_for(cls)
    made.__class__ = cls
    return made


def _check_class(cls: Any, where: str) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"{where}: cls must be a type (got {type(cls).__name__})")
    if not issubclass(cls, TensorCore):
        raise RuntimeError(
            f"{where}: {cls.__name__} is no subclass of Tensor, so it cannot be made of a tensor"
        )


def as_subclass(t: Any, cls: Any) -> Any:
    """The tensor `t` as an instance of `cls`, with the same memory and history."""
    _check_class(cls, "as_subclass")
    arm_for(cls)
    if t._gf is not None and is_leaf_node(t._gf):
        with DisableTorchFunctionSubclass():
            out = FAST["F"].view_as(t, t)
        out.__class__ = cls
        return out
    out = core.new(cls)
    out._d, out._t, out._gf, out._grad = t._d, t._t, t._gf, None
    out._s, out._v = storage_of(t), t._v
    out._view = t._view
    return out


def make_subclass(
    cls: Any,
    data: Any,
    require_grad: bool = False,
    *,
    dispatch_sizes_strides_policy: Any = None,
    dispatch_device: bool = False,
    dispatch_layout: bool = False,
    device_for_backend_keys: Any = None,
) -> Any:
    """A leaf of class `cls` over the memory of `data`."""
    _check_class(cls, "_make_subclass")
    out = as_subclass(data.detach(), cls)
    if require_grad:
        with DisableTorchFunctionSubclass():
            out.requires_grad_()
    return out


class WrappedArray(MetaArray):
    """The shape and dtype of a tensor whose values are some other object's affair."""

    def __init__(self, shape: Any, dtype: Any, strides: Any, device: Any) -> None:
        super().__init__(shape, dtype, strides)
        self.device = device


def make_wrapper_subclass(
    cls: Any,
    size: Any,
    *,
    strides: Any = None,
    storage_offset: Any = None,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = devices.strided,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    dispatch_sizes_strides_policy: Any = None,
    dispatch_device: bool = False,
    dispatch_layout: bool = False,
    storage_size: Any = None,
) -> Any:
    """A tensor of class `cls` without memory: its ``__torch_dispatch__`` says what ops do."""
    _check_class(cls, "_make_wrapper_subclass")
    if getattr(cls, "__torch_dispatch__", None) is None:
        raise RuntimeError(
            f"{cls.__name__} must define __torch_dispatch__: a wrapper has no data of its own"
        )
    interception.arm()
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    steps = None if strides is None else tuple(s * kind.itemsize for s in strides)
    out = core.new(cls)
    out._d = WrappedArray(tuple(size), kind, steps, devices.device(device or "cpu"))
    out._t = dtype or dtypes.get_default_dtype()
    out._gf = out._grad = out._s = out._view = None
    out._v = 0
    if requires_grad:
        with DisableTorchFunctionSubclass():
            out.requires_grad_()
    return out


# ---------------------------------------------------------------- the default override
def nowrap_functions() -> set[Any]:
    """Functions whose results keep their class: they hand out tensors that exist already."""
    members: Any = vars(Tensor)
    return {members[name].__get__ for name in ("_base", "grad", "_grad") if _is_property(name)}


def _is_property(name: str) -> bool:
    return isinstance(vars(Tensor).get(name), property)


def override(
    cls: Any, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> Any:
    """Run `func` outside of overrides; tensors among its results become instances of `cls`."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        result = func(*args, **(kwargs or {}))
        if func in nowrap_functions():
            return result
        return _converted(result, cls)


def _converted(result: Any, cls: Any) -> Any:
    if cls is Tensor:
        return result
    if isinstance(result, TensorCore) and not isinstance(result, cls):
        return as_subclass(result, cls)
    if isinstance(result, (tuple, list)) and not isinstance(result, Size):
        parts = [_converted(r, cls) for r in result]
        return tuple.__new__(type(result), parts) if isinstance(result, tuple) else parts
    return result


def swap_tensors(t1: Any, t2: Any) -> None:
    """Exchange two tensors: whoever holds one of them now holds what was the other."""
    for t in (t1, t2):
        if weakrefs_of(t):
            raise RuntimeError("Cannot swap a tensor that has a weak reference to it")
    parts = []
    for t in (t1, t2):
        slots = {name: _slot(name).__get__(t) for name in _SLOTS}
        parts.append((type(t), slots, dict(t.__dict__)))
    for t, (cls, slots, attributes) in zip((t1, t2), reversed(parts), strict=True):
        t.__class__ = cls
        for name, value in slots.items():
            _slot(name).__set__(t, value)
        t.__dict__.clear()
        t.__dict__.update(attributes)
        node = t._gf
        if node is not None and is_leaf_node(node):
            t._gf = core.leaf_node(t)
            t._gf.hooks = node.hooks


_SLOTS = ("_d", "_t", "_gf", "_grad", "_s", "_v", "_view")


def _slot(name: str) -> Any:
    return vars(TensorCore)[name]


def weakrefs_of(t: Any) -> list[Any]:
    """The weak references to `t`, but for that of its own node."""
    import weakref

    node = t._gf
    own = node.leaf if node is not None and is_leaf_node(node) else None
    return [r for r in weakref.getweakrefs(t) if r is not own]
