"""Parts, joins and sums of sparse tensors: ops that change where the values stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import FAST
from ...backends.sparse import BLOCKS, COMPRESSED, Compressed, Coordinates, places
from ...ops.shapes import wrap_dim
from ..composed import record, renamed, values_of, with_values
from ..core import array_of, from_array
from .layouts import coalesce, elements, settled
from .tensor import SparseTensor, unsupported

RULES: dict[str, Callable[..., Any]] = {}

_FLIPPED = {
    devices.sparse_csr: devices.sparse_csc,
    devices.sparse_csc: devices.sparse_csr,
    devices.sparse_bsr: devices.sparse_bsc,
    devices.sparse_bsc: devices.sparse_bsr,
}


def _placed(at: Any, values: Any, shape: Any, coalesced: bool = False) -> Any:
    """The tensor in coordinates with the dense tensor `values` at the indices `at`."""
    return with_values(Coordinates(at, array_of(values), tuple(shape), coalesced), values)


def _coordinates(x: Any, op: str) -> tuple[Any, Any, int]:
    """The indices, values and number of sparse dimensions of a tensor in coordinates."""
    if x.layout is not devices.sparse_coo:
        raise unsupported(op, x.layout)
    x = settled(x)
    raw = array_of(x)
    return raw.indices, values_of(x), len(raw.indices)


def empty_like(x: Any) -> Any:
    """A tensor of the same kind, in which nothing is stored."""
    raw = array_of(x)
    if raw.layout is devices.sparse_coo:
        none = np.empty((len(raw.indices), 0), np.int64)
        return from_array(Coordinates(none, raw.values[:0].copy(), raw.shape, True))
    at = len(raw.batch)
    cut = (slice(None),) * at + (slice(0, 0),)
    ends = np.zeros_like(raw.ends)
    return from_array(
        Compressed(raw.layout, ends, raw.indices[cut].copy(), raw.values[cut].copy(), raw.shape)
    )


# ---------------------------------------------------------------- order of the dimensions
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    if a == b:
        return _alias(input)
    if input.layout in COMPRESSED:
        out = _transposed_array(array_of(input), a, b)
    else:
        sparse_dim = input.sparse_dim()
        if max(a, b) >= sparse_dim:
            raise RuntimeError(
                "sparse transpose: transposed dimensions must be sparse Got sparse_dim: "
                f"{sparse_dim}, d0: {a}, d1: {b}"
            )
        order = list(range(input.ndim))
        order[a], order[b] = b, a
        out = _permuted_array(array_of(input), order)
    rule = (input, lambda g: FAST["F"].transpose(g, a, b))
    return record(from_array(out), "TransposeBackward0", [rule])


def _alias(x: Any) -> Any:
    raw = array_of(x)
    return record(from_array(raw.with_values(raw.values)), "AliasBackward0", [(x, lambda g: g)])


def _transposed_array(raw: Any, a: int, b: int) -> Any:
    """The compressed array with its two sparse dimensions exchanged: rows become columns."""
    at = len(raw.batch)
    if {a, b} != {at, at + 1}:
        raise RuntimeError(
            "transpose(): can only transpose the two sparse dimensions of a compressed tensor"
        )
    shape = list(raw.shape)
    shape[a], shape[b] = shape[b], shape[a]
    values = raw.values
    if raw.layout in BLOCKS:
        values = values.swapaxes(at + 1, at + 2)
    return Compressed(_FLIPPED[raw.layout], raw.ends, raw.indices, values, shape)


def _permuted_array(raw: Any, order: list[int]) -> Any:
    sparse_dim = len(raw.indices)
    front, back = order[:sparse_dim], order[sparse_dim:]
    if sorted(front) != list(range(sparse_dim)):
        raise RuntimeError(
            "permute(sparse_coo): permuting between sparse and dense dimensions is not supported"
        )
    values = raw.values.transpose(0, *[d - sparse_dim + 1 for d in back])
    shape = tuple(raw.shape[d] for d in order)
    return Coordinates(raw.indices[front], values, shape, False)


def _permute(input: Any, dims: Any) -> Any:
    order = [wrap_dim(d, input.ndim) for d in dims]
    if sorted(order) != list(range(input.ndim)):
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(order)}"
        )
    if order == list(range(input.ndim)):
        return _alias(input)
    if input.layout in COMPRESSED:
        raise unsupported("permute", input.layout)
    back = tuple(np.argsort(order).tolist())
    rule = (input, lambda g: FAST["F"].permute(g, back))
    return record(from_array(_permuted_array(array_of(input), order)), "PermuteBackward0", [rule])


def _t(input: Any) -> Any:
    if input.ndim > 2:
        raise RuntimeError(
            "t() expects a tensor with <= 2 sparse and 0 dense dimensions, but self is "
            f"{input.ndim}D"
        )
    return renamed(_transpose(input, 0, 1), "TBackward0") if input.ndim == 2 else _alias(input)


def _unsqueeze(input: Any, dim: int) -> Any:
    if input.layout in COMPRESSED:
        raise RuntimeError(f"unsqueeze: tensors of layout {input.layout} do not have strides")
    d = wrap_dim(dim, input.ndim + 1)
    at, values, sparse_dim = _coordinates(input, "unsqueeze")
    shape = [*input.shape[:d], 1, *input.shape[d:]]
    if d > sparse_dim:
        return _placed(at, values.unsqueeze(d - sparse_dim + 1), shape)
    return _placed(np.insert(at, d, 0, axis=0), values, shape)


# ---------------------------------------------------------------- parts
def _taken(x: Any, dim: int, places_: Any, op: str) -> Any:
    """The slices of `x` along `dim` whose numbers are in the array `places_`, in that order."""
    at, values, sparse_dim = _coordinates(x, op)
    size = x.shape[dim]
    wrong = (places_ < 0) | (places_ >= size)
    if wrong.any():
        raise IndexError(f"{op}(): index out of range for dimension {dim} of size {size}")
    shape = list(x.shape)
    shape[dim] = len(places_)
    if dim >= sparse_dim:
        part = FAST["F"].index_select(values, dim - sparse_dim + 1, from_array(places_))
        return _placed(at, part, shape)
    order = np.argsort(at[dim], kind="stable")
    ranked = at[dim][order]
    starts = np.searchsorted(ranked, places_, "left")
    counts = np.searchsorted(ranked, places_, "right") - starts
    number = np.repeat(np.arange(len(places_)), counts)
    offset = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[starts[number] + offset]
    moved = at[:, chosen]
    moved[dim] = number
    return _placed(moved, FAST["F"].index_select(values, 0, from_array(chosen)), shape)


def _index_select(input: Any, dim: int, index: Any) -> Any:
    if input.layout in COMPRESSED:
        raise unsupported("index_select", input.layout)
    if isinstance(index, SparseTensor) or index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    numbers = array_of(index).reshape(-1).astype(np.int64)
    return _taken(input, wrap_dim(dim, input.ndim), numbers, "index_select")


def _narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    d, first = wrap_dim(dim, input.ndim), int(start)
    first += input.shape[d] if first < 0 else 0
    if not 0 <= first <= first + length <= input.shape[d]:
        raise RuntimeError(
            f"start ({first}) + length ({length}) exceeds dimension size ({input.shape[d]})."
        )
    return _taken(input, d, np.arange(first, first + length), "narrow")


def select(x: Any, dim: int, index: int) -> Any:
    """The slice number `index` along `dim`; dense where no sparse dimension is left."""
    d = wrap_dim(dim, x.ndim)
    size = x.shape[d]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(x.shape)} at "
            f"dimension {d}"
        )
    if x.layout in COMPRESSED:
        x = x.to_sparse()
    at, values, sparse_dim = _coordinates(x, "select")
    index += size if index < 0 else 0
    shape = [*x.shape[:d], *x.shape[d + 1 :]]
    F = FAST["F"]
    if d >= sparse_dim:
        return _placed(at, F.select(values, d - sparse_dim + 1, index), shape)
    kept = np.flatnonzero(at[d] == index)
    part = F.index_select(values, 0, from_array(kept))
    if sparse_dim == 1:
        return part.sum(0, dtype=part.dtype)
    return _placed(np.delete(at[:, kept], d, axis=0), part, shape)


def indexed(x: Any, index: Any) -> Any:
    """``x[...]`` with integers, None, whole slices and ``...``."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(i is Ellipsis for i in items):
        at = next(n for n, i in enumerate(items) if i is Ellipsis)
        used = sum(i is not None and i is not Ellipsis for i in items)
        items[at : at + 1] = [slice(None)] * (x.ndim - used)
    if sum(i is not None for i in items) > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    d = 0
    for i in items:
        if i is None:
            x, d = FAST["F"].unsqueeze(x, d), d + 1
        elif isinstance(i, slice) and i == slice(None):
            d += 1
        elif isinstance(i, slice):
            raise unsupported("as_strided", x.layout)
        elif hasattr(i, "__index__") and not isinstance(i, bool) and not getattr(i, "ndim", 0):
            x = select(x, d, i.__index__()) if isinstance(x, SparseTensor) else x.select(d, i)
        else:
            raise unsupported("index", x.layout)
    return x


def _unbind(input: Any, dim: int = 0) -> Any:
    return tuple(select(input, dim, i) for i in range(input.shape[wrap_dim(dim, input.ndim)]))


# ---------------------------------------------------------------- joins
def _cat(tensors: Any, dim: int = 0) -> Any:
    for number, t in enumerate(tensors):
        if not isinstance(t, SparseTensor):
            raise RuntimeError(
                f"Concatenating sparse tensors, but a dense tensor was found at position {number}."
            )
    first = tensors[0]
    d = wrap_dim(dim, first.ndim)
    parts = [_coordinates(t, "cat") for t in tensors]
    sparse_dim = parts[0][2]
    for t, (_, _, found) in zip(tensors, parts, strict=True):
        others = [n for a, n in enumerate(t.shape) if a != d]
        if found != sparse_dim or others != [n for a, n in enumerate(first.shape) if a != d]:
            raise RuntimeError(
                "All tensors must have the same shape and the same number of sparse dimensions "
                f"except in dimension {d}: got {list(first.shape)} and {list(t.shape)}"
            )
    ends = np.cumsum([t.shape[d] for t in tensors])
    shape = list(first.shape)
    shape[d] = int(ends[-1])
    F = FAST["F"]
    moved, filled = [], []
    for (at, values, _), t, end in zip(parts, tensors, ends, strict=True):
        start = int(end) - t.shape[d]
        if d < sparse_dim:
            at = at.copy()
            at[d] += start
        else:
            axis = d - sparse_dim + 1
            sides = list(values.shape)
            pieces = []
            for width in (start, shape[d] - int(end)):
                sides[axis] = width
                pieces.append(F.zeros(tuple(sides), dtype=values.dtype))
            values = F.cat([pieces[0], values, pieces[1]], axis)
        moved.append(at)
        filled.append(values)
    return renamed(_placed(np.concatenate(moved, 1), F.cat(filled), shape), "CatBackward0")


def _stack(tensors: Any, dim: int = 0) -> Any:
    d = wrap_dim(dim, tensors[0].ndim + 1)
    return renamed(_cat([_unsqueeze(t, d) for t in tensors], d), "StackBackward0")


# ---------------------------------------------------------------- reductions
def total(x: Any, dtype: Any = None) -> Any:
    """The sum of all elements, a 0-d dense tensor whose gradient reaches stored elements only."""
    return values_of(settled(x)).sum(dtype=dtype)


def _sum(input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        shape = tuple(input.shape)
        out = total(input.detach(), dtype)
        out = out.reshape((1,) * input.ndim) if keepdim else out
        rule = (input, lambda g: g.reshape(()).expand(shape))
        return record(out, "SumBackward0", [rule])
    if dtype is None and not input.dtype.inexact:
        dtype = dtypes.int64
    every = {wrap_dim(d, input.ndim) for d in (dim if isinstance(dim, (tuple, list)) else [dim])}
    if len(every) == input.ndim and keepdim and input.layout is devices.sparse_coo:
        return sum_along(input, dim, False, dtype).reshape((1,) * input.ndim)
    return sum_along(input, dim, keepdim, dtype)


def sum_along(x: Any, dim: Any, keepdim: bool = False, dtype: Any = None) -> Any:
    """The sums along some dimensions; sparse as long as a sparse dimension is left."""
    dims = dim if isinstance(dim, (tuple, list)) else [dim]
    chosen = sorted({wrap_dim(d, x.ndim) for d in dims})
    layout = x.layout
    if layout in COMPRESSED:
        if not keepdim:
            raise RuntimeError(
                "reduction operations on CSR tensors with keepdim=False is unsupported"
            )
        x = x.to_sparse()
    at, values, sparse_dim = _coordinates(x, "sum")
    inner = [d - sparse_dim + 1 for d in chosen if d >= sparse_dim]
    gone = [d for d in chosen if d < sparse_dim]
    dtype = x.dtype if dtype is None else dtype
    values = values.sum(inner, keepdim, dtype=dtype) if inner else values.to(dtype)
    shape = [1 if d in chosen else n for d, n in enumerate(x.shape) if keepdim or d not in chosen]
    if len(gone) == sparse_dim and not keepdim:
        return values.sum(0)
    if keepdim:
        at = at.copy()
        at[gone] = 0
    else:
        at = np.delete(at, gone, axis=0)
    out = _placed(at, values, shape, x.is_coalesced() and not gone)
    out = renamed(_merged(out), "SparseSumBackward0")
    return out if layout not in COMPRESSED else out.to_sparse(layout=layout)


def _merged(x: Any) -> Any:
    """`x` coalesced, with a gradient for each of the values that were at one place."""
    raw = array_of(x)
    if raw.coalesced:
        return x
    pattern, place = raw.merged()
    values = _added_up(values_of(x), place, pattern.count)
    return with_values(pattern, values)


def _added_up(values: Any, place: Any, count: int) -> Any:
    F = FAST["F"]
    start = F.zeros((count, *values.shape[1:]), dtype=values.dtype)
    return F.index_add(start, 0, from_array(np.asarray(place)), values)


def _any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if dim is not None:
        raise unsupported("any", input.layout)
    return FAST["F"].any(values_of(coalesce(input)))


def _vector_norm(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    if dim is not None or keepdim or (x.layout in COMPRESSED and len(array_of(x).batch)):
        raise unsupported("linalg_vector_norm", x.layout)
    return FAST["F"].linalg_vector_norm(values_of(coalesce(x)), ord, dtype=dtype)


def softmax(x: Any, dim: int, dtype: Any, log: bool) -> Any:
    """The softmax (or its logarithm) along `dim` of the stored elements alone."""
    F = FAST["F"]
    if x.layout is not devices.sparse_coo:
        raise unsupported("_sparse_softmax", x.layout)
    d = wrap_dim(dim, x.ndim)
    x = coalesce(x if dtype is None else x.to(dtype))
    raw = array_of(x)
    at, values = elements(x)
    label = "SparseLogSoftmaxBackward0" if log else "SparseSoftmaxBackward0"
    if d >= len(at):
        function = F.log_softmax if log else F.softmax
        return renamed(with_values(raw, function(values, d - len(at) + 1)), label)
    sizes = raw.sparse_sizes
    others = places(np.delete(at, d, axis=0), sizes[:d] + sizes[d + 1 :])
    groups, group = np.unique(others, return_inverse=True)
    number = from_array(group.reshape(-1))
    top = np.full((len(groups), *values.shape[1:]), -np.inf, raw.dtype)
    np.maximum.at(top, group.reshape(-1), raw.values)
    shifted = values - F.index_select(from_array(top), 0, number)
    powers = F.exp(shifted)
    sums = F.index_select(_added_up(powers, group.reshape(-1), len(groups)), 0, number)
    return renamed(with_values(raw, shifted - sums.log() if log else powers / sums), label)


RULES.update(
    basic_index=lambda input, key: indexed(input, key),
    transpose=_transpose,
    permute=_permute,
    t=_t,
    numpy_T=_t,
    unsqueeze=_unsqueeze,
    index_select=_index_select,
    narrow=_narrow,
    unbind=_unbind,
    cat=_cat,
    stack=_stack,
    sum=_sum,
    any=_any,
    linalg_vector_norm=_vector_norm,
)
