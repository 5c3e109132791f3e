"""Members, slices and shapes of nested tensors, and their padded form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd.grad_mode import FAST
from ...backends.nested import Jagged, RaggedSize
from ...ops.shapes import wrap_dim
from ..composed import values_of, with_values
from ..core import array_of, from_array
from .tensor import NestedTensor, members

RULES: dict[str, Callable[..., Any]] = {}


def _with(raw: Any, values: Any, ragged: int | None = None) -> Any:
    moved = raw.moved(array_of(values), raw.ragged if ragged is None else ragged)
    return with_values(moved, values)


def _inside(x: Any, dim: int, name: str, extra: int = 0) -> int:
    """`dim` counted from the front; RuntimeError for the batch dimension."""
    d = wrap_dim(dim, x.ndim + extra)
    if d == 0:
        raise RuntimeError(f"{name}(): not supported for NestedTensor on dim=0")
    return d


# ---------------------------------------------------------------- members
def _unbind(input: Any, dim: int = 0) -> Any:
    if wrap_dim(dim, input.ndim) != 0:
        raise RuntimeError("unbind(): only supported for NestedTensor on dim=0")
    F, raw, values = FAST["F"], array_of(input), values_of(input)
    d = raw.ragged - 1
    starts, counts = raw.offsets[:-1], raw.counts
    return tuple(
        F.narrow(values, d, int(start), int(count))
        for start, count in zip(starts, counts, strict=True)
    )


def select(x: Any, dim: int, index: int) -> Any:
    """Member number `index`, or a slice of all members along another dimension."""
    d = wrap_dim(dim, x.ndim)
    if d == 0:
        found = members(x)
        if not -len(found) <= index < len(found):
            raise IndexError(
                f"index {index} is out of bounds for dimension 0 with size {len(found)}"
            )
        return found[index]
    raw = array_of(x)
    if not isinstance(raw, Jagged) or d == raw.ragged:
        raise RuntimeError("select(): not supported for NestedTensor on ragged dim")
    return _with(raw, FAST["F"].select(values_of(x), d - 1, index), raw.ragged - (d < raw.ragged))


def indexed(x: Any, index: Any) -> Any:
    """``x[...]`` with integers, whole slices and ``...``."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(i is Ellipsis for i in items):
        at = next(n for n, i in enumerate(items) if i is Ellipsis)
        items[at : at + 1] = [slice(None)] * (x.ndim - len(items) + 1)
    if len(items) > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    if isinstance(items[0], slice) and all(i == slice(None) for i in items if isinstance(i, slice)):
        d = 0
        for i in items:
            if isinstance(i, slice):
                d += 1
            else:
                x = select(x, d, i)
        return x
    if isinstance(items[0], slice):
        raise RuntimeError("slice(): not supported for NestedTensor on dim=0")
    first = select(x, 0, items[0])
    return first if len(items) == 1 else first[tuple(items[1:])]


def _basic_index(input: Any, key: Any) -> Any:
    return indexed(input, key)


# ---------------------------------------------------------------- order and sizes of dimensions
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    if a == b:
        return input
    if 0 in (a, b):
        raise RuntimeError("Transpose is not supported on the batch dimension for jagged NT")
    raw = array_of(input)
    ragged = {a: b, b: a}.get(raw.ragged, raw.ragged)
    return _with(raw, FAST["F"].transpose(values_of(input), a - 1, b - 1), ragged)


def _permute(input: Any, dims: Any) -> Any:
    order = [wrap_dim(d, input.ndim) for d in dims]
    if order[0] != 0:
        raise ValueError("Permute is not supported on the batch dimension for jagged NT")
    raw = array_of(input)
    values = FAST["F"].permute(values_of(input), [d - 1 for d in order[1:]])
    return _with(raw, values, order.index(raw.ragged))


def _unsqueeze(input: Any, dim: int) -> Any:
    d = _inside(input, dim, "unsqueeze", 1)
    raw = array_of(input)
    return _with(raw, FAST["F"].unsqueeze(values_of(input), d - 1), raw.ragged + (d <= raw.ragged))


def _squeeze(input: Any, dim: Any = None) -> Any:
    if dim is None:
        raise NotImplementedError("aten.squeeze.default is not implemented for jagged tensors")
    d = _inside(input, dim, "squeeze")
    raw = array_of(input)
    if d == raw.ragged or input.shape[d] != 1:
        return input
    return _with(raw, FAST["F"].squeeze(values_of(input), d - 1), raw.ragged - (d < raw.ragged))


def _reshape(input: Any, shape: Any) -> Any:
    from .packed import compacted

    x = compacted(input)
    raw = array_of(x)
    wanted = list(shape)
    batch, size = len(raw.offsets) - 1, x.shape[raw.ragged]
    marks = [i for i, n in enumerate(wanted) if isinstance(n, RaggedSize)]
    if not marks:
        marks = [i for i, n in enumerate(wanted) if not isinstance(n, RaggedSize) and n == -1]
    right = len(marks) == 1 and len(wanted) > 1 and wanted[0] == batch
    if not right or (isinstance(wanted[marks[0]], RaggedSize) and wanted[marks[0]] != size):
        raise RuntimeError(
            f"view(): cannot view shape {tuple(x.shape)} as {tuple(wanted)}: the batch must stay "
            "first and one dimension ragged"
        )
    ragged = marks[0]
    before, after = (
        [n for n in s[1:at] if n != 1] for s, at in ((list(x.shape), raw.ragged), (wanted, ragged))
    )
    if before != after:
        raise RuntimeError(
            f"view(): cannot view shape {tuple(x.shape)} as {tuple(wanted)}: what lies outside the "
            "ragged dimension cannot be changed"
        )
    inner = [*wanted[1:ragged], int(raw.offsets[-1]), *wanted[ragged + 1 :]]
    return _with(raw, FAST["F"].reshape(values_of(x), inner), ragged)


def _expand(input: Any, size: Any, implicit: bool = False) -> Any:
    raw = array_of(input)
    wanted = list(size)
    if len(wanted) != raw.ndim or wanted[0] not in (-1, len(raw.offsets) - 1):
        raise RuntimeError("expand(): only the dimensions of a jagged tensor's values can grow")
    wanted[raw.ragged] = raw.values.shape[raw.ragged - 1]
    return _with(raw, FAST["F"].expand(values_of(input), wanted[1:]))


def _narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    d = _inside(input, dim, "narrow")
    raw = array_of(input)
    if d == raw.ragged:
        raise RuntimeError("narrow(): not supported for NestedTensor on ragged dim")
    return _with(raw, FAST["F"].narrow(values_of(input), d - 1, start, length))


def _split_at(input: Any, sizes: Any, dim: int) -> Any:
    from .packed import from_members

    raw, F = array_of(input), FAST["F"]
    d = wrap_dim(dim, input.ndim)
    if d == 0:
        found, starts = members(input), np.cumsum([0, *sizes])
        groups = [found[a : a + n] for a, n in zip(starts, sizes, strict=False)]
        return tuple(from_members(g, raw.ragged) for g in groups)
    if d == raw.ragged:
        raise RuntimeError("split(): not supported for NestedTensor on ragged dim")
    return tuple(_with(raw, v) for v in F.split(values_of(input), list(sizes), d - 1))


def _cat(tensors: Any, dim: int = 0) -> Any:
    first = tensors[0]
    if not all(isinstance(t, NestedTensor) for t in tensors):
        raise RuntimeError("cat(): nested and dense tensors cannot be joined")
    d = _inside(first, dim, "cat")
    raw = array_of(first)
    same = all(array_of(t).offsets is raw.offsets for t in tensors)
    if d == raw.ragged or not same or any(array_of(t).ragged != raw.ragged for t in tensors):
        raise RuntimeError("cat(): expected jagged tensors of the same members, not the ragged dim")
    return _with(raw, FAST["F"].cat([values_of(t) for t in tensors], d - 1))


def _stack(tensors: Any, dim: int = 0) -> Any:
    first = tensors[0]
    d = _inside(first, dim, "stack", 1)
    return _cat([_unsqueeze(t, d) for t in tensors], d)


# ---------------------------------------------------------------- padding
def padded(x: Any, padding: float, output_size: Any = None) -> Any:
    """The members of `x` filled up with `padding` to the largest or to `output_size`."""
    F, raw = FAST["F"], array_of(x)
    jagged = isinstance(raw, Jagged)
    if not jagged and not raw.sizes:
        return F.zeros((0,), dtype=x.dtype)
    sizes = _largest(raw)
    count = len(raw.offsets) - 1 if jagged else len(raw.sizes)
    if output_size is not None:
        wanted = [int(n) for n in output_size]
        if len(wanted) != x.ndim or wanted[0] not in (-1, count):
            raise RuntimeError(
                f"to_padded_tensor: output_size {wanted} does not go with {count} members of "
                f"{x.ndim - 1} dimensions"
            )
        chosen = [n if w == -1 else w for w, n in zip(wanted[1:], sizes, strict=True)]
        if jagged:  # members that are longer are cut
            sizes[raw.ragged - 1] = min(sizes[raw.ragged - 1], chosen[raw.ragged - 1])
        if any(c < n for c, n in zip(chosen, sizes, strict=True)):
            raise RuntimeError(
                "Value in output_size is less than NestedTensor padded size. Truncation is not "
                "supported."
            )
        sizes = chosen
    packed = jagged and raw.ragged == 1 and raw.lengths is None
    if packed and list(raw.values.shape[1:]) == sizes[1:] and raw.counts.max(initial=0) <= sizes[0]:
        return _padded_rows(x, padding, sizes)
    filled = []
    for m in members(x):
        if jagged:
            d = raw.ragged - 1
            m = F.narrow(m, d, 0, min(m.shape[d], sizes[d]))
        sides = [s for n, c in zip(m.shape[::-1], sizes[::-1], strict=True) for s in (0, c - n)]
        filled.append(F.constant_pad_nd(m, sides, padding) if any(sides) else m)
    return F.stack(filled)


def _largest(raw: Any) -> list[int]:
    """The largest size of the members in each of their dimensions."""
    if not isinstance(raw, Jagged):
        return [max(column) for column in zip(*raw.sizes, strict=True)]
    sizes = list(raw.values.shape)
    sizes[raw.ragged - 1] = int(raw.counts.max(initial=0))
    return sizes


def _padded_rows(x: Any, padding: float, sizes: list[int]) -> Any:
    """The padded form of members packed along their first dimension, none of them longer."""
    F, raw = FAST["F"], array_of(x)
    counts, start = raw.counts, int(raw.offsets[0])
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    places = np.arange(total) + np.repeat(np.arange(len(counts)) * sizes[0] - ends + counts, counts)
    rows = F.narrow(values_of(x), 0, start, total)
    blank = F.full((len(counts) * sizes[0], *sizes[1:]), padding, dtype=x.dtype)
    return blank.index_copy(0, from_array(places), rows).reshape(len(counts), *sizes)


RULES.update(
    unbind=_unbind,
    basic_index=_basic_index,
    transpose=_transpose,
    permute=_permute,
    unsqueeze=_unsqueeze,
    squeeze=_squeeze,
    reshape=_reshape,
    view_as_size=lambda input, size: _reshape(input, size),
    expand=_expand,
    narrow=_narrow,
    split_at=_split_at,
    cat=_cat,
    stack=_stack,
)
