"""Making nested tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices
from ...autograd.grad_mode import FAST
from ...backends.nested import Jagged, Parts
from ..composed import with_values
from ..core import TensorCore, array_of, from_array
from .packed import from_members
from .parts import from_parts
from .tensor import NestedTensor


def rebuild(cls: Any, state: Any, requires_grad: bool, attributes: dict[str, Any]) -> Any:
    """A nested tensor over an array of class `cls` with these parts; what pickling needs."""
    raw = object.__new__(cls)
    raw.__dict__.update(state)
    out = from_array(raw)
    out.__dict__.update(attributes)
    return out.requires_grad_() if requires_grad else out


def _checked(layout: Any) -> Any:
    if layout not in (None, devices.strided, devices.jagged):
        raise RuntimeError(f"Specified layout is unsupported for nested tensors: {layout}")
    return devices.strided if layout is None else layout


def _varying(tensors: list[Any]) -> int:
    """The number, in the whole, of the dimension in which the members differ (1 if none does)."""
    if not tensors:
        raise RuntimeError("Cannot construct a nested tensor from an empty tensor list")
    if len({t.ndim for t in tensors}) != 1:
        raise RuntimeError(
            "When constructing a nested tensor, all tensors in list must have the same dim"
        )
    if len({t.dtype for t in tensors}) != 1:
        raise RuntimeError(
            "When constructing a nested tensor, all tensors in list must have the same dtype"
        )
    if not tensors[0].ndim:
        raise RuntimeError("Cannot construct a nested tensor from a list of zero-dim tensors")
    columns = zip(*(t.shape for t in tensors), strict=True)
    found = [d for d, sizes in enumerate(columns) if len(set(sizes)) > 1]
    if len(found) > 1:
        raise RuntimeError(
            "When constructing a nested tensor with layout=torch.jagged, the members may differ in "
            f"one dimension only, got the shapes {[list(t.shape) for t in tensors]}"
        )
    return found[0] + 1 if found else 1


def joined(tensors: Any, layout: Any) -> Any:
    """The nested tensor of a list of dense tensors, through which gradients flow."""
    if _checked(layout) is devices.jagged:
        return from_members(list(tensors), _varying(list(tensors)))
    if not tensors:
        dtype = FAST["F"].zeros(0)
        return from_array(Parts(array_of(dtype), []))
    if len({t.ndim for t in tensors}) != 1:
        raise RuntimeError(
            "All Tensors given to nested_tensor must have the same dimension: got "
            f"{[t.ndim for t in tensors]}"
        )
    return from_parts(list(tensors))


def nested_tensor(
    tensor_list: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """A nested tensor, a leaf, that copies a list of tensors (or of lists of numbers)."""
    F = FAST["F"]
    _checked(layout)
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError(
            "Only lists (List[Tensor] and List[List...[Scalar]]) are accepted in nested_tensor"
        )
    devices.resolve_device(device)
    members = [t.detach() if isinstance(t, TensorCore) else F.tensor(t) for t in tensor_list]
    members = [t if dtype is None else t.to(dtype) for t in members]
    made = joined(members, layout).detach()
    return made.requires_grad_() if requires_grad else made


def as_nested_tensor(ts: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> Any:
    """A nested tensor of a list of tensors, or of the rows of a tensor; gradients flow to them."""
    _checked(layout)
    devices.resolve_device(device)
    if isinstance(ts, NestedTensor):
        if ts.layout is not (layout or devices.strided):
            raise RuntimeError(
                "as_nested_tensor(): Converting between nested tensor layouts is not supported"
            )
        return ts if dtype is None else ts.to(dtype)
    if isinstance(ts, TensorCore):
        ts = list(FAST["F"].unbind(ts, 0))
    elif not isinstance(ts, (list, tuple)) or not all(isinstance(t, TensorCore) for t in ts):
        raise TypeError(
            "as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of "
            f"tensors, got {type(ts).__name__}"
        )
    return joined([t if dtype is None else t.to(dtype) for t in ts], layout)


def from_jagged(values: Any, offsets: Any, lengths: Any, jagged_dim: int | None) -> Any:
    """The jagged tensor over packed `values`; see `nested_tensor_from_jagged`."""
    if offsets is None and lengths is None:
        raise RuntimeError(
            "nested_tensor_from_jagged(): At least one of offsets or lengths is required."
        )
    ragged = 1 if jagged_dim is None else jagged_dim
    if not 1 <= ragged <= values.ndim:
        raise RuntimeError(f"nested_tensor_from_jagged(): jagged_dim {ragged} is not a dimension")
    counts = None if lengths is None else array_of(lengths).astype(np.int64, copy=False)
    if offsets is None:
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        counts = None
    else:
        ends = array_of(offsets)
        ends = ends if ends.dtype == np.int64 else ends.astype(np.int64)
    check_members(ends, counts, values.shape[ragged - 1])
    return with_values(Jagged(array_of(values), ends, ragged, counts), values)


def check_members(ends: Any, counts: Any, size: int) -> None:
    """RuntimeError unless the members lie one after the other inside of `size` places."""
    if ends.ndim != 1 or not ends.size or (np.diff(ends) < 0).any() or ends[0] < 0:
        raise RuntimeError("nested_tensor_from_jagged(): offsets must not fall, from 0 or more")
    if ends[-1] > size:
        raise RuntimeError(
            f"nested_tensor_from_jagged(): the offsets end at {int(ends[-1])}, the values at {size}"
        )
    if counts is None:
        return
    if counts.shape != (len(ends) - 1,) or (counts < 0).any() or (counts > np.diff(ends)).any():
        raise RuntimeError("nested_tensor_from_jagged(): lengths do not go with the offsets")


def narrowed(x: Any, dim: int, start: Any, length: Any, layout: Any) -> Any:
    """Each row of `x` from its `start` on, of its `length`; see `flambeau.nested.narrow`."""
    if _checked(layout) is not devices.jagged:
        if isinstance(start, TensorCore) or isinstance(length, TensorCore):
            raise RuntimeError("start and length must be integers for the strided layout NT impl")
        return joined([m.narrow(dim - 1, start, length) for m in FAST["F"].unbind(x, 0)], layout)
    if dim != 1:
        raise RuntimeError("jagged layout only supports dim=1")
    rows, width = x.shape[0], x.shape[1]
    starts, counts = (
        np.broadcast_to(array_of(t) if isinstance(t, TensorCore) else t, (rows,)).astype(np.int64)
        for t in (start, length)
    )
    if (starts < 0).any() or (counts < 0).any() or (starts + counts > width).any():
        raise RuntimeError(f"narrow(): start and length leave dimension 1 of size {width}")
    if not rows:
        raise RuntimeError("narrow(): expected at least one row")
    ends = np.append(starts + np.arange(rows) * width, 0)
    ends[-1] = ends[-2] + counts[-1]
    values = x.flatten(0, 1)
    return with_values(Jagged(array_of(values), ends, 1, counts), values)


def masked(x: Any, mask: Any) -> Any:
    """The elements of each row of `x` where `mask` holds, as a jagged tensor."""
    F = FAST["F"]
    if mask.layout is not devices.strided or isinstance(mask, NestedTensor):
        raise RuntimeError("mask must be a dense tensor")
    whole = F.broadcast_to(mask, tuple(x.shape)) if x.ndim >= mask.ndim else mask
    x = F.broadcast_to(x, tuple(whole.shape))
    counts = array_of(whole).reshape(whole.shape[0], -1).sum(1)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = F.masked_select(x, whole)
    return with_values(Jagged(array_of(values), ends, 1), values)
