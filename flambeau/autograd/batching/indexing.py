"""Batched indexing: an example's own indices are joined by the number of the example."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import dtypes
from ...ops.shapes import wrap_dim
from ...tensor import indexing
from ...tensor.core import TensorCore
from ..grad_mode import FAST
from ..levels import level_of, map_tensors, shaped_like
from .rules import Call, rule, shifted


# ---------------------------------------------------------------- t[items]
class _Places:
    """The parts of an index with batched tensors: what NumPy takes first, and tensors by dim."""

    def __init__(self, level: Any, t: Any, items: tuple[Any, ...]) -> None:
        stand_ins = [self._stand_in(level, i) for i in items]
        basic, advanced = indexing.split(shaped_like(t), tuple(stand_ins))
        self.basic = basic
        tensors = iter([i for i in items if self._is_advanced(i)])
        self.by_dim: list[Any] = []
        for entry in advanced or ():
            self.by_dim.append(next(tensors) if isinstance(entry, np.ndarray) else None)

    @staticmethod
    def _stand_in(level: Any, item: Any) -> Any:
        """Something `split` takes in the place of `item`."""
        if not isinstance(item, TensorCore) or not level_of(item):
            return item
        if item._t.title == "Bool":
            raise RuntimeError(
                "vmap: It looks like you're attempting to index by a boolean mask. The shape of "
                "the result depends on the values of each example, which we don't support; use "
                "torch.where instead."
            )
        # A batched number picks one element, and its dimension goes.
        return np.zeros(tuple(item.shape), np.int64)

    @staticmethod
    def _is_advanced(item: Any) -> bool:
        if isinstance(item, TensorCore):
            return bool(level_of(item)) or bool(item.ndim) or item._t.title == "Bool"
        return isinstance(item, (list, tuple, range, bool)) or (
            isinstance(item, np.ndarray) and item.ndim > 0
        )


def _joined(level: Any, t: Any, items: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], int, int]:
    """What is indexed with its indexed dimensions after the examples', and the tensors for them.

    Also the number of dimensions they bring, and where these belong.
    """
    F = FAST["F"]
    places = _Places(level, t, items)
    if places.basic is not None:
        t = F.basic_index(t, places.basic)
    dims = [d for d, x in enumerate(places.by_dim) if x is not None]
    tensors = [places.by_dim[d] for d in dims]
    tensors = [x if isinstance(x, TensorCore) else F.as_tensor(x) for x in tensors]
    rank = max(len(x.shape) for x in tensors)
    whole = level.unwrap(t)
    order = [0, *(d + 1 for d in dims)]
    order += [d for d in range(len(whole.shape)) if d not in order]
    whole = whole.permute(order)
    index = []
    for x in tensors:
        if level.holds(x):
            x = x.part.reshape(level.size, *[1] * (rank - len(x.shape)), *x.shape)
        index.append(x)
    examples = F.arange(level.size).reshape(level.size, *[1] * rank)
    adjacent = dims == list(range(dims[0], dims[-1] + 1))
    return whole, (examples, *index), rank, dims[0] if adjacent else 0


def gather_items(level: Any, t: Any, items: tuple[Any, ...]) -> Any:
    """``t[items]`` for each example."""
    whole, index, rank, start = _joined(level, t, items)
    out = whole[index]
    if start:
        came = list(range(1, rank + 1))
        out = out.movedim(came, [d + start for d in came])
    return level.wrap(out)


def _write(t: Any, items: tuple[Any, ...], value: Any, accumulate: bool) -> None:
    if not accumulate:
        t[items] = value
        return
    F = FAST["F"]
    places = [None if isinstance(i, slice) else F.as_tensor(i) for i in items]
    t.index_put_(places, F.as_tensor(value, dtype=t._t), accumulate=True)


def scatter_items(
    level: Any, t: Any, items: tuple[Any, ...], value: Any, accumulate: bool = False
) -> None:
    """``t[items] = value`` for each example, or ``+=`` where every index counts."""
    batched = [i for i in items if isinstance(i, TensorCore) and level_of(i)]
    if not batched:
        if not isinstance(value, TensorCore) or not level.holds(value):
            _write(level.unwrap(t), (slice(None), *items), value, accumulate)
            return
        basic, advanced = indexing.split(shaped_like(t), items)
        target = t if basic is None else FAST["F"].basic_index(t, basic)
        if advanced is None:
            target.copy_(value)
            return
        chosen = shaped_like(target)[advanced]
        value = _aligned(level, value, len(chosen.shape))
        holds = (slice(None), *advanced)
        part = level.unwrap(target)
        # NumPy puts the dimensions of indices first where a slice stands between them.
        spots = [i for i, a in enumerate(advanced) if isinstance(a, np.ndarray)]
        if spots and spots != list(range(spots[0], spots[-1] + 1)):
            rank = max(advanced[i].ndim for i in spots)
            value = value.expand(level.size, *chosen.shape)
            value = value.movedim(list(range(1, rank + 1)), list(range(rank)))
        _write(part, holds, value, accumulate)
        return
    whole, index, rank, start = _joined(level, t, items)
    if isinstance(value, TensorCore):
        came = list(np.broadcast_shapes(*(tuple(i.shape) for i in index)))[1:]
        rest = list(whole.shape[len(index) :])
        logical = [*rest[:start], *came, *rest[start:]]
        value = _aligned(level, value, len(logical)).expand(level.size, *logical)
        came_at = [d + 1 + start for d in range(rank)]
        value = value.movedim(came_at, list(range(1, rank + 1)))
    _write(whole, index, value, accumulate)


def _aligned(level: Any, value: Any, rank: int) -> Any:
    """`value` so that it can be broadcast to (size, ...) with examples of `rank`."""
    if not level.holds(value):
        return value
    missing = rank - len(value.shape)
    while missing < 0 and value.shape[0] == 1:
        value, missing = value.squeeze(0), missing + 1
    shape = (level.size, *[1] * missing, *value.shape)
    return value.part.reshape(shape) if missing else value.part


# ---------------------------------------------------------------- ops with an index of arrays
def _masked(key: Any) -> bool:
    return any(isinstance(k, np.ndarray) and k.dtype == bool for k in key)


def _adjacent(key: Any) -> bool:
    spots = [i for i, k in enumerate(key) if isinstance(k, np.ndarray)]
    return spots == list(range(spots[0], spots[-1] + 1))


@rule("advanced_index")
def advanced_index(c: Call) -> Any:
    """Arrays that index an example's dimensions."""
    key = c["key"]
    if _adjacent(key):
        return c.run(key=(slice(None), *key))
    return c.part("input").movedim(0, -1)[tuple(key)].movedim(-1, 0) if not _masked(key) else None


@rule("advanced_index_back")
def advanced_index_back(c: Call) -> Any:
    """The gradient of indexing by arrays."""
    key = c["key"]
    if not _adjacent(key):
        return None
    return c.run(key=(slice(None), *key), shape=(c.size, *c["shape"]))


# ---------------------------------------------------------------- indices as tensors
@rule("index_select")
def index_select(c: Call) -> Any:
    """Elements by number, the same for all examples or each its own."""
    rank = c.rank("input")
    if not rank:
        return None
    if not c.is_batched("index"):
        return c.run(dim=shifted(c["dim"], rank))
    dim = wrap_dim(c["dim"], rank)
    items = [slice(None)] * dim + [c["index"].reshape(-1)]
    return gather_items(c.level, c["input"], tuple(items)).part


@rule("index_select_back")
def index_select_back(c: Call) -> Any:
    """The gradient of elements by number."""
    if c.is_batched("index") or not c["shape"]:
        return None
    dim = shifted(c["dim"], len(c["shape"]))
    return c.run(dim=dim, shape=(c.size, *c["shape"]))


@rule("gather_back")
def gather_back(c: Call) -> Any:
    """The gradient of `gather`."""
    if not c["shape"]:
        return None
    return c.run_full(dim=shifted(c["dim"], len(c["shape"])), shape=(c.size, *c["shape"]))


@rule("index_add index_copy")
def index_add(c: Call) -> Any:
    """Sources added or copied to places that all examples share, or to those of each."""
    rank, x, source = c.rank("input"), c.full("input"), c.full("source")
    if not rank or not c.rank("source"):
        return None
    dim = shifted(c["dim"], rank)
    if not c.is_batched("index"):
        return c.run(input=x, source=source, dim=dim)
    n, index = x.shape[dim], c["index"]
    if not n or tuple(index.shape) not in ((source.shape[dim],), ()):
        return None
    # The rows of all examples are those of one long tensor.
    places = _own_rows(c, index.reshape(-1), n).reshape(-1)
    rows, more = x.movedim(dim, 1), source.movedim(dim, 1)
    if rows.shape[2:] != more.shape[2:]:
        return None
    out = c.run(input=_joined_rows(rows), dim=0, index=places, source=_joined_rows(more))
    return out.reshape(rows.shape).movedim(1, dim)


def _joined_rows(x: Any) -> Any:
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


@rule("index_fill_number index_fill_tensor")
def index_fill(c: Call) -> Any:
    """A value at places that all examples share, or at those of each."""
    rank, x, index = c.rank("input"), c.full("input"), c["index"]
    by_number = c.op.name == "index_fill_number"
    if not rank or not (by_number or tuple(c["value"].shape) == ()):
        return None
    dim = shifted(c["dim"], rank)
    if not c.is_batched("index") and (by_number or not c.is_batched("value")):
        return c.run(input=x, dim=dim)
    if not x.shape[dim]:
        return None
    F = FAST["F"]
    count = 1 if not index.shape else index.shape[0]
    places = _counted(c.level.unwrap(index).reshape(c.size, count), x.shape[dim])
    mask = F.scatter(F.zeros((c.size, x.shape[dim]), dtype=dtypes.bool_), 1, places, True)
    mask = mask.reshape(c.size, *[-1 if d == dim else 1 for d in range(1, rank + 1)])
    value = c["value"] if by_number else c.ready("value", rank)
    return F.where(mask, value, x)


@rule("take")
def take(c: Call) -> Any:
    """Elements by their number in an example's memory order."""
    if not c.is_batched("input"):
        return c.run()
    flat = c.level.wrap(c.part("input").reshape(c.size, -1))
    index = c["index"]
    if not c.is_batched("index"):
        return flat.part[:, index]
    count = flat.shape[0]
    return gather_items(c.level, flat, (_counted(index, count),)).part


def _counted(index: Any, count: int) -> Any:
    return map_tensors(lambda i: FAST["F"].where(i < 0, i + count, i), index)


def _own_rows(c: Call, indices: Any, rows: int) -> Any:
    """The indices of each example among the `rows` of each of them, one after the other."""
    F, indices = FAST["F"], c.level.unwrap(indices)
    if not F.holds(((indices >= 0) & (indices < rows)).all()):
        raise IndexError(f"index out of range in {c.op.name}: an index is not in [0, {rows})")
    start = F.arange(c.size).reshape(c.size, *[1] * (len(indices.shape) - 1)) * rows
    return indices + start.to(indices._t)


@rule("index_put")
def index_put(c: Call) -> Any:
    """Values at the places that tensors name, written or added."""
    items = tuple(slice(None) if i is None else i for i in c["indices"])
    if any(c.level.holds(i) and i._t.title == "Bool" for i in items):
        return None
    out = c.full("input").clone()
    scatter_items(c.level, c.level.wrap(out), items, c["values"], bool(c["accumulate"]))
    return out


@rule("put_along")
def put_along(c: Call) -> Any:
    """Elements at places along a dimension of zeros."""
    if not c["shape"]:
        return None
    return c.run_full(dim=shifted(c["dim"], len(c["shape"])), shape=(c.size, *c["shape"]))


@rule("counted_from_start one_hot_rows")
def by_element(c: Call) -> Any:
    """What becomes of each element of the only tensor."""
    return c.run()


@rule("search")
def search(c: Call) -> Any:
    """Places in sorted sequences, of which each example may have its own."""
    rank = c.rank("sorted_sequence")
    if not c.is_batched("sorted_sequence"):
        return c.run() if rank == 1 and not c.is_batched("sorter") else None
    if rank != 1:
        return c.run_full()
    values = c.full("input")
    found = c.run_full(input=values.reshape(c.size, math.prod(values.shape[1:])))
    return found.reshape(values.shape)


@rule("isin_of")
def isin(c: Call) -> Any:
    """Elements looked for among those that all examples share."""
    return None if c.is_batched("test_elements") else c.run()


# ---------------------------------------------------------------- rows by number
@rule("embedding")
def embedding(c: Call) -> Any:
    """Rows by number; each example's own weight is a part of one large one."""
    if not c.is_batched("weight"):
        return c.run()
    if c["scale_grad_by_freq"]:
        return None
    weight, padding = c.part("weight"), c["padding_idx"]
    if padding >= 0:
        F = FAST["F"]
        is_padding = (F.arange(weight.shape[1]) == padding).unsqueeze(1)
        weight = F.where(is_padding, weight.detach(), weight)
    if not c.is_batched("indices"):
        return weight.transpose(0, 1)[c["indices"]].movedim(c.rank("indices"), 0)
    rows = c["weight"].shape[0]
    return c.run(
        weight=weight.reshape(-1, weight.shape[-1]), indices=_own_rows(c, c["indices"], rows)
    )


@rule("embedding_back")
def embedding_back(c: Call) -> Any:
    """The gradients of weights of which each example has its own."""
    if c["padding_idx"] >= 0 or c["scale_grad_by_freq"]:
        return None
    rows = c["rows"]
    indices = _own_rows(c, c["indices"], rows)
    out = c.run(grad=c.full("grad"), indices=indices, rows=rows * c.size)
    return out.reshape(c.size, rows, *out.shape[1:])
