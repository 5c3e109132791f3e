"""Copying and pickling sparse tensors with the standard library."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ... import devices
from ...backends.sparse import Compressed, Coordinates
from ..core import TensorCore, array_of, from_array
from ..parameter import Parameter
from .invariants import check_compressed, check_coordinates, check_places
from .rendering import index_arrays


def rebuild(
    layout: Any,
    indices: Any,
    values: Any,
    shape: Any,
    coalesced: bool,
    is_parameter: bool,
    attributes: dict[str, Any],
) -> Any:
    """Make a sparse tensor again from what `reduce` returned."""
    d, first = array_of(values), array_of(indices[0])
    if layout is devices.sparse_coo:
        out = from_array(Coordinates(first, d, shape, coalesced))
    else:
        out = from_array(Compressed(layout, first, array_of(indices[1]), d, shape))
    if is_parameter:
        out = out.as_parameter(values.requires_grad)
    out.__dict__.update(attributes)
    return out.requires_grad_() if values.requires_grad else out


def parts_of(t: Any) -> tuple[Any, ...]:
    """Layout, index tensors, values, shape and whether a sparse tensor is coalesced."""
    raw = array_of(t)
    values = from_array(raw.values)
    if t.requires_grad:
        values.requires_grad_()
    indices = tuple(from_array(a) for a in index_arrays(raw))
    return raw.layout, indices, values, raw.shape, bool(getattr(raw, "coalesced", False))


def reduce(t: Any) -> Any:
    """The pickle recipe of a leaf tensor."""
    if not t.is_leaf:
        raise RuntimeError(
            "Pickling a tensor that has history is not supported: detach() it first."
        )
    return rebuild, (*parts_of(t), isinstance(t, Parameter), dict(t.__dict__))


def deepcopy(t: Any, memo: dict[int, Any]) -> Any:
    """A copy with indices and values of its own; ``grad`` and attributes are kept."""
    if id(t) in memo:
        return memo[id(t)]
    if not t.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment."
        )
    layout, indices, values, shape, coalesced = parts_of(t)
    parts = [copy.deepcopy(i, memo) for i in indices]
    kept = copy.deepcopy(values, {})
    out = rebuild(layout, parts, kept, shape, coalesced, isinstance(t, Parameter), {})
    memo[id(t)] = out
    if t._grad is not None:
        out._grad = copy.deepcopy(t._grad, memo)
    out.__dict__.update(copy.deepcopy(t.__dict__, memo))
    return out


def from_parts(layout: Any, parts: Any, fail: Any) -> tuple[Any, Any]:
    """A sparse tensor of the parts in a file, and its check; see `sparse_from_parts`."""
    in_coordinates = layout is devices.sparse_coo
    count = 2 if in_coordinates else 3
    tensors, shape = parts[:count], parts[count]
    plain = all(isinstance(t, TensorCore) and t.layout is devices.strided for t in tensors)
    sized = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not plain or not sized or any(t.dtype.inexact for t in tensors[:-1]):
        raise fail("the parts of a sparse tensor are not indices, values and a size")
    arrays = [array_of(t) for t in tensors]
    if any(not isinstance(a, np.ndarray) for a in arrays):
        raise fail("a sparse tensor has parts without data")
    try:
        if in_coordinates:
            check_coordinates(arrays[0], arrays[1], shape)
            coalesced = parts[3] is True
            at = arrays[0].astype(np.int64, copy=False)
            raw: Any = Coordinates(at, arrays[1], shape, coalesced)
        else:
            raw = Compressed(layout, arrays[0], arrays[1], arrays[2], shape)
    except (RuntimeError, ValueError, IndexError) as error:
        raise fail(f"the parts of a sparse tensor do not fit: {error}") from None

    def check() -> None:
        try:
            if in_coordinates:
                check_places(arrays[0], shape, raw.coalesced and raw.count > 1)
            else:
                check_compressed(raw)
        except (RuntimeError, ValueError, IndexError) as error:
            raise fail(f"the parts of a sparse tensor do not fit: {error}") from None

    return from_array(raw), check


__all__ = ["deepcopy", "from_parts", "parts_of", "rebuild", "reduce"]
