"""Copying and pickling tensors with the standard library."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from . import core
from .core import from_array
from .memory import address, root_of
from .storage import INFERENCE, Storage


def rebuild(
    cls: type, array: Any, dtype_name: str, requires_grad: bool, attributes: dict[str, Any]
) -> Any:
    """Make a tensor of class `cls` again from what `reduce` returned."""
    from .. import dtypes
    from .subclassing import arm_for

    arm_for(cls)
    out = core.new(cls)
    plain = from_array(array.view(dtypes.named_dtype(dtype_name).numpy_dtype))
    out._d, out._t, out._v = plain._d, plain._t, 0
    out._gf = out._grad = out._s = out._view = None
    if requires_grad:
        out.requires_grad_()
    out.__dict__.update(attributes)
    return out


def reduce(t: Any) -> Any:
    """The pickle recipe of a leaf tensor."""
    if not t.is_leaf:
        raise RuntimeError(
            "Pickling a tensor that has history is not supported: detach() it first."
        )
    d = t._d
    if d.dtype.kind == "V" or d.dtype.isbuiltin != 1:
        d = np.ascontiguousarray(d).view(f"u{d.dtype.itemsize}")
    return (rebuild, (type(t), d, t._t.name, t.requires_grad, dict(t.__dict__)))


def _copied(d: Any, memo: dict[int, Any]) -> Any:
    """A copy of the array `d`, inside the copy of the buffer that it is a view of."""
    root = root_of(d)
    if root is not d and not root.flags.forc:
        return d.copy(order="K")
    copied = memo.get(id(root))
    if copied is None:
        copied = memo[id(root)] = root.copy(order="K")
    if root is d:
        return copied
    # A flat view: the buffer of an array must be contiguous in the usual order.
    flat = copied.reshape(-1, order="A")
    return np.ndarray(d.shape, d.dtype, flat, address(d) - address(root), d.strides)


def deepcopy(t: Any, memo: dict[int, Any], graded: bool = True) -> Any:
    """A copy with memory of its own; strides, class, attributes and (`graded`) ``grad`` are kept.

    Tensors that share memory share it in the copies too, when they are copied together.
    """
    if id(t) in memo:
        return memo[id(t)]
    if not t.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment."
        )
    out = core.new(type(t))
    out._d = t._d
    if isinstance(t._d, np.ndarray):
        out._d = t._d.copy(order="K") if t._s is None else _copied(t._d, memo)
    out._t, out._v = t._t, t._v
    out._gf = out._grad = out._s = out._view = None
    if t._s is not None and t._s is not INFERENCE:
        out._s = memo.setdefault(id(t._s), Storage(t._s.version))
    if t.requires_grad:
        out.requires_grad_()
    memo[id(t)] = out
    if graded and t._grad is not None:
        out._grad = copy.deepcopy(t._grad, memo)
    out.__dict__.update(copy.deepcopy(t.__dict__, memo))
    return out
